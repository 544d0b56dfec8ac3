"""What Ray adds to a trial: a Tune trial around Ray Train beside `torchrun`, with the same loop over the same job."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xlray.bench.data import LABELS, make_records
from xlray.bench.turns import document
from xlray.config.execution import Execution
from xlray.data.tokenization import load_vocabulary, prepare
from xlray.data.tokenizer import train_tokenizer
from xlray.errors import require
from xlray.mini import ENCODER
from xlray.phases.spec import DataSpec, Phases, TrainSpec, data_key
from xlray.phases.store import Store
from xlray.plan.jobs import Job, read_job, write_job
from xlray.storage.storage import Storage

NUM_EXAMPLES, BATCH_SIZE, MAX_LENGTH, VOCAB_SIZE = 64, 16, 64, 1_000
PACKAGES = ("xlray", "ray", "torch", "transformers", "deepspeed")


def bench_overhead(repetitions: int = 5) -> dict[str, Any]:
    """Seconds from the start of a trial to its first step, and from its stored result to its end.

    Both sides run `train.run_phases` over a job of one short training phase with one worker: `torchrun` starts it as a
    process, xlray as a Tune trial on a Ray that is up, whose workers are forked, as in a sweep. The sides take turns after
    one that does not count.

    Returns:
        `{bench, machine, versions, rows, ratios}`; `ratios["xlray/torchrun"]` is that of the medians to the first step,
        below 1 is better for xlray.

    Raises:
        InputError: no repetitions.
    """
    from xlray.sweep.fork_server import worker_forks
    from xlray.sweep.ray_session import ray_session

    require(repetitions > 0, "repetitions > 0", repetitions, "bench overhead")
    os.environ.setdefault("RAY_worker_niceness", "0")  # as torchrun's processes have; Ray's own is 15
    sides: dict[str, Callable[[Path], None]] = {"xlray": _tune_trial, "torchrun": _torchrun}
    times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    execution, folder = Execution(), tempfile.TemporaryDirectory(prefix="xlray-bench-")
    with folder as name, ray_session(execution, None), worker_forks(execution, None) as forks:
        assert forks is not None and forks.wait()
        jobs = iter(_jobs(Path(name), len(sides) * (repetitions + 1)))
        for number in range(repetitions + 1):
            for side, run in sides.items():
                measured = _timed(run, next(jobs))
                if number:
                    times[side].append(measured)
    rows = [_row(side, found) for side, found in times.items()]
    ours, theirs = rows
    found = {"xlray/torchrun": ours["first_step_seconds"] / theirs["first_step_seconds"]}
    return document("overhead", PACKAGES, rows, {**found, "xlray/torchrun_total": ours["seconds"] / theirs["seconds"]})


def _jobs(folder: Path, number: int) -> list[Path]:
    """Job documents that differ by their seed alone, so that no turn finds its phase stored."""
    records = make_records(NUM_EXAMPLES)
    train_tokenizer(records, VOCAB_SIZE).save(str(folder / "tokenizer.json"))
    vocabulary, storage = load_vocabulary(folder / "tokenizer.json"), Storage(folder)
    data = DataSpec("bench", "classification", "train/en", "bench", NUM_EXAMPLES, MAX_LENGTH, labels=LABELS)
    prepared = {data_key(data): str(prepare(storage, data, records, vocabulary))}
    architecture = {**vars(ENCODER.architecture), "vocab_size": vocabulary.size}
    paths = []
    for seed in range(number):
        spec = TrainSpec(
            "pretrain",
            "none",
            (data,),
            NUM_EXAMPLES,
            BATCH_SIZE,
            1e-4,
            "warmup_linear",
            seed,
            0.1,
            1.0,
            "fp32",
            1,
            architecture=architecture,
        )
        name = f"job-{seed}"
        phases = Phases(shared=(spec,))
        sizes = (vocabulary.size, vocabulary.mask)
        job = Job(name, "bench", storage, Execution(), phases, prepared, {}, *sizes, folder / "progress" / name)
        paths.append(folder / f"{name}.json")
        write_job(paths[-1], job)
    return paths


def _timed(run: Callable[[Path], None], job: Path) -> tuple[float, float, float]:
    """Seconds to the first step, from the stored result to the end, and in all."""
    started = time.time()
    run(job)
    ended = time.time()
    read = read_job(job)
    done = Store(read.storage).done(next(iter(read.phases)))
    return done["record"]["first_step_at"] - started, ended - done["time"], ended - started


def _row(name: str, times: list[tuple[float, float, float]]) -> dict[str, Any]:
    first, last, whole = (list(column) for column in zip(*times, strict=True))
    return {
        "name": name,
        "first_step_seconds": statistics.median(first),
        "end_seconds": statistics.median(last),
        "seconds": statistics.median(whole),
        "times": first,
    }


def _tune_trial(job: Path) -> None:
    import ray.tune

    from xlray.sweep.train_run import run_trial

    config = {"trial_id": job.stem, "run": f"{job.stem}-1", "stop": f"bench/{job.stem}", "jobs": str(job.parent)}
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(run_trial, {"CPU": 0, "trial_driver": 1}),
        param_space=config,
        run_config=ray.tune.RunConfig(name=job.stem, storage_path=str(job.parent / "tune"), verbose=0),
    )
    if error := tuner.fit()[0].error:
        raise error


def _torchrun(job: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    subprocess.run([*command, "-m", "xlray.bench.overhead", str(job)], check=True, stdout=sys.stderr)


def loop(path: str) -> None:
    """What each process of `torchrun` runs: what Ray Train's worker runs, without Ray."""
    import torch.distributed

    from xlray.training.train import run_phases

    torch.distributed.init_process_group("gloo")
    run_phases(read_job(Path(path)), lambda _: None)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    loop(sys.argv[1])
