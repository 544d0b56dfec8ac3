"""One trial: a Ray Train run around the worker's loop, inside Ray Tune's actor."""

from __future__ import annotations

import json
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import ray.train
import ray.tune
import ray.util

from xlray.config.execution import Execution
from xlray.plan.failures import MAX_RETRIES, classify
from xlray.plan.jobs import Job, read_job
from xlray.plan.rung_report import rung_line
from xlray.storage.files import write_atomically
from xlray.storage.storage import arrive
from xlray.sweep.prometheus import worker_gauges
from xlray.sweep.ray_patches import ProcessGroup, StartedWorkers, Trainer, is_asked_to_stop, preemption_context

# Read by Ray Train where `fit` is called and passed on to its workers. The health check bounds how soon a
# trial starts, reports and ends (2 s by default: 8 s per trial); the print patch would show every line twice.
TRAIN_ENVIRONMENT = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "120",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
}
# No noise, and no network but Ray's.
WORKER_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "PYTHONWARNINGS": "ignore",
    "GLOO_LOG_LEVEL": "error",
    "TORCH_CPP_LOG_LEVEL": "ERROR",
}

# Packs differ in size: fixed segments that fit one would be left half empty by the next.
GPU_ENVIRONMENT = {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
# A step on a CPU frees its tensors and asks for as many again: glibc keeps that memory, in huge pages, instead of giving it
# back to the system, which would have to clear it each time. Read when a process starts.
CPU_ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",  # one tunable: glibc hands on no more than the first to a process's children
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}
GPU_SETTINGS = {"PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"}  # either name, old and new
# LD_PRELOAD brings another allocator.
CPU_SETTINGS = {*CPU_ENVIRONMENT, "MALLOC_MMAP_THRESHOLD_", "MALLOC_ARENA_MAX", "LD_PRELOAD"}

LOOK_EVERY_S = 1.0
LAST_SAVE_BEFORE_S = 5.0  # the node is due, beside the time that saving takes
NODE_LOST_WITHIN_S = 20.0  # a node whose processes end is known to be gone at once to after some seconds


def worker(config: dict[str, Any]) -> None:
    """What each Ray Train worker runs: the phases of a job, with a report for each finished rung.

    Torch and what builds on it are imported here and not above: the trial's actor needs none of it.

    Args:
        config: `job`, the address of the job's document, and `stop`, the key under which the driver asks to stop.
    """
    from xlray.training.train import run_phases

    job = read_job(arrive(config["job"]))
    place = {"trial_name": job.name, "placement_group": ray.util.get_current_placement_group().id.hex()}

    def report(metrics: dict[str, Any]) -> None:
        ray.train.report({**metrics, **place})

    if ray.train.get_context().get_world_rank() > 0:
        run_phases(job, report)
        return

    def report_and_say(metrics: dict[str, Any]) -> None:
        say(rung_line(metrics, len(job.phases.rungs), job.languages))
        report(metrics)

    asked = watch(config["stop"], worker_gauges(job))
    run_phases(job, report_and_say, asked, say, Notice(preemption_context()))


class Notice:
    """Says when a state should be saved because a node of this group is being taken away.

    At once when Ray has announced it, and once more shortly before the node is due, with time left for a save that takes
    twice as long as the slowest one seen. Ray's own question would make all ranks wait for one another at every step.
    """

    def __init__(self, context: Any, now: Callable[[], float] = time.time) -> None:
        """
        Args:
            context: Ray Train's `PreemptionContext` of this worker.
        """
        self.context = context
        self.now = now
        self.info: Any = None
        self.asked_at = math.inf
        self.slowest_s = 0.0  # between two questions: a step, with a save if there was one
        self.is_last = False

    def __call__(self) -> bool:
        """Whether to save now; asked once per step, and true once for each save that is due."""
        now = self.now()
        info, self.slowest_s = self.context.preemption_info, max(self.slowest_s, now - self.asked_at)
        self.asked_at = now
        if info is not None and info is not self.info:
            self.info, self.is_last, self.slowest_s = info, False, 0.0
            say(
                f"node(s) {', '.join(node[:8] for node in info.preempted_node_ids)} will be reclaimed: saving the state"
            )
            return True
        if info is None or self.is_last or info.deadline_ms is None:
            return False
        self.is_last = now >= info.deadline_ms / 1000 - LAST_SAVE_BEFORE_S - 2 * self.slowest_s
        return self.is_last


def say(line: str) -> None:
    """A line of the worker's log, which Ray's dashboard shows on the page of its actor."""
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


def watch(key: str, measure: Callable[[], None]) -> Callable[[], bool]:
    """A function that says, at no cost, whether the driver has asked to stop; a thread checks once a second.

    Args:
        measure: called as often by the same thread, to set gauges.
    """
    asked = threading.Event()

    def look() -> None:
        while not is_asked_to_stop(key):
            measure()
            time.sleep(LOOK_EVERY_S)
        asked.set()

    threading.Thread(target=look, name="xlray-stop", daemon=True).start()
    return asked.is_set


def worker_environment(execution: Execution) -> dict[str, str]:
    """For every process of a sweep; where the user has set anything of the allocator, all of it is left to them."""
    ours, theirs = (GPU_ENVIRONMENT, GPU_SETTINGS) if execution.gpus_per_worker else (CPU_ENVIRONMENT, CPU_SETTINGS)
    return WORKER_ENVIRONMENT if theirs & os.environ.keys() else WORKER_ENVIRONMENT | ours


def worker_resources(execution: Execution) -> dict[str, float]:
    """What each worker of a trial asks of Ray."""
    resources: dict[str, float] = {"CPU": execution.cpus_per_worker}
    if execution.gpus_per_worker:
        resources["GPU"] = execution.gpu_share
    return resources


class ReportToTune(ray.train.UserCallback):  # type: ignore[misc]
    """Forwards the reports of rank 0 to Tune's session in this process; waits until Tune has them.

    Ray's own callback for this starts an actor, since it expects the controller in another process.
    """

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Ray Train's hook: called when all workers have reported."""
        ray.tune.report(metrics[0])


def write_places(job: Job, run: str, workers: list[dict[str, Any]]) -> None:
    """Write down where a run's processes are, beside the trial's progress: Ray's dashboard knows no trials.

    Args:
        run: name of the Train run.
        workers: as `StartedWorkers` tells of them.
    """
    here, path = ray.get_runtime_context(), job.progress.with_suffix(".ray.json")
    place = {"run": run, "job_id": here.get_job_id(), "actor_id": here.get_actor_id(), "workers": workers}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({**place, "node_id": here.get_node_id(), "pid": os.getpid()}))
    job.storage.send_small(path)


def fit(
    job: str,
    execution: Execution,
    name: str,
    stop: str,
    callbacks: list[Any] | None = None,
    loop: Callable[[dict[str, Any]], None] = worker,
) -> None:
    """Run the job on a fresh worker group and wait.

    Args:
        job: address of the job's document.
        name: of the Train run, and its id with the autoscaler; never reused, since Train would resume from its own
            snapshot under the same name.
        stop: key under which the driver asks the workers to stop.
        callbacks: Ray Train callbacks of the run.
        loop: what each worker runs.

    Raises:
        ray.train.TrainingFailedError: a worker failed. What follows is the driver's decision; only a node that was
            drained in time is replaced here, since the run then continues.
    """
    os.environ.update(TRAIN_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="xlray-train-") as scratch:  # Train's own files; ours lie in the store
        trainer = Trainer(
            loop,
            train_loop_config={"job": job, "stop": stop},
            backend_config=ProcessGroup("nccl" if execution.gpus_per_worker else "gloo"),
            scaling_config=ray.train.ScalingConfig(
                num_workers=execution.num_workers,
                use_gpu=execution.gpus_per_worker > 0,
                resources_per_worker=worker_resources(execution),
                placement_strategy="PACK",
            ),
            run_config=ray.train.RunConfig(
                name=name,
                storage_path=scratch,
                callbacks=callbacks or [],
                failure_config=ray.train.FailureConfig(max_failures=0, max_preemption_failures=MAX_RETRIES["node"]),
            ),
        )
        trainer.set_run_id(name)
        trainer.fit()


def run_trial(config: dict[str, Any]) -> None:
    """The function that Ray Tune runs: the job's Train run, whose reports are forwarded to Tune.

    Args:
        config: `trial_id`, `run`, `stop`, and `jobs`, the address of the folder of the sweep's job documents.
    """
    address = f"{config['jobs']}/{config['trial_id']}.json"
    job, run, before = read_job(arrive(address)), config["run"], nodes_up()
    callbacks = [ReportToTune(), StartedWorkers(partial(write_places, job, run))]
    try:
        fit(address, job.execution, run, config["stop"], callbacks)
    except ray.train.TrainingFailedError as error:
        lost = nodes_lost(before) if classify(str(error)) == "process" else set()
        if lost:
            raise RuntimeError(f"a node was lost: {', '.join(sorted(lost))}") from error
        raise


def nodes_up() -> set[str]:
    """Ids of the nodes that are up."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def nodes_lost(before: set[str], within_s: float = NODE_LOST_WITHIN_S) -> set[str]:
    """Which of these nodes are gone, waiting for the first one for a while.

    The peers of a worker whose node dies see a broken connection before Ray knows of the node. Nobody waits where there
    is no node but this one.
    """
    end = time.monotonic() + within_s
    while len(before) > 1 and not before - nodes_up() and time.monotonic() < end:
        time.sleep(LOOK_EVERY_S)
    return before - nodes_up()
