"""One trial: a Ray Train run around the worker's loop, inside Ray Tune's actor."""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path
from typing import Any

import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from xlray.config import Execution
from xlray.jobs import read_job

# Read by Ray Train where `fit` is called and passed on to its controller and workers. The health check bounds how soon a
# trial starts, reports and ends (2 s by default: 8 s per trial); the print patch would show every line twice.
TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}
# For every process of a sweep: no noise, and no network but Ray's.
WORKER_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",
    "GLOO_LOG_LEVEL": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}


def worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs: the phases of a job, with a report for each finished rung.

    Transformers and DeepSpeed are imported here and not above: the trial's actor and Train's controller need neither.

    Args:
        config: `job`, the path of the job's document.
    """
    from xlray.train import run_phases

    job = read_job(Path(config["job"]))
    run_phases(job, lambda metrics: ray.train.report({**metrics, "trial_name": job.name}))


def fit(job: Path, execution: Execution, name: str, callbacks: list[Any] | None = None) -> None:
    """Run the job on a fresh worker group and wait; a crashed group is restarted and goes on from the store.

    Args:
        name: of the Train run; never reused, since Train would resume from its own snapshot under the same name.
        callbacks: Ray Train callbacks of the run.

    Raises:
        ray.train.TrainingFailedError: the workers failed more often than `execution.max_failures`.
    """
    os.environ.update(TRAIN_ENVIRONMENT)
    resources: dict[str, float] = {"CPU": execution.cpus_per_worker}
    if execution.gpus_per_worker:
        resources["GPU"] = execution.gpus_per_worker
    with tempfile.TemporaryDirectory(prefix="xlray-train-") as scratch:  # Train's own files; ours lie in the store
        trainer = TorchTrainer(
            worker,
            train_loop_config={"job": str(job)},
            torch_config=TorchConfig(backend="nccl" if execution.gpus_per_worker else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=execution.num_workers,
                use_gpu=execution.gpus_per_worker > 0,
                resources_per_worker=resources,
                placement_strategy="PACK",
            ),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=scratch,
                callbacks=callbacks or [],
                failure_config=ray.train.FailureConfig(max_failures=execution.max_failures),
            ),
        )
        trainer.fit()


def run_trial(config: dict[str, Any]) -> None:
    """The function that Ray Tune runs: the trial's Train run, whose reports are forwarded to Tune.

    Args:
        config: `trial_id` and `jobs`, the folder of the sweep's job documents.
    """
    from ray.tune.integration.ray_train import TuneReportCallback

    path = Path(config["jobs"]) / f"{config['trial_id']}.json"
    job = read_job(path)
    fit(path, job.execution, f"{job.name}-{uuid.uuid4().hex[:6]}", [TuneReportCallback()])
