"""No-op trials through xlray's queue, and as bare Ray Train runs: the same worker groups, the same number at a time."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchConfig, TorchTrainer

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Encoder, Intermediate, Subset, Target
from xlray.config.sweep import Sweep, Trial
from xlray.data.records import Sources
from xlray.phases.spec import DataSpec, EvaluationSpec, Phases, RetrievalSpec, Rung
from xlray.phases.store import Store
from xlray.plan.jobs import Prepared, read_job
from xlray.plan.trials import Start, SweepPlan
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage
from xlray.sweep.driver import LEASE_TTL_S, Driver
from xlray.sweep.ray_session import ray_session
from xlray.sweep.train_run import ReportToTune, fit, worker_resources
from xlray.sweep.tune import tune

RUNG = 64


def no_op(config: dict[str, Any]) -> None:
    """A worker that reports one rung and is done."""
    place = {"rung_index": 0, "rung": RUNG, "trial_name": Path(config["job"]).stem}
    ray.train.report({**place, "score": 1.0, "fi_accuracy": 1.0, "degenerate": "", "diverged": False})


def no_op_trial(config: dict[str, Any]) -> None:
    """What Ray Tune runs instead of `xlray.sweep.train_run.run_trial`: the same, with a worker that does nothing."""
    path = f"{config['jobs']}/{config['trial_id']}.json"
    fit(path, read_job(Path(path)).execution, config["run"], config["stop"], [ReportToTune()], no_op)


def both_sides(num_trials: int, concurrency: int) -> dict[str, float]:
    """Seconds of the trials through xlray's queue and as bare runs, in halves that take turns on one Ray.

    Two runs that are not counted come first, so that neither side waits for the first imports. Then bare, xlray, xlray,
    bare: what drifts on the machine meets both sides alike.
    """
    execution = Execution(max_concurrent_trials=concurrency)
    halves = (num_trials - num_trials // 2, num_trials // 2)
    found = {"xlray": 0.0, "bare_ray_train": 0.0}
    with tempfile.TemporaryDirectory(prefix="xlray-bench-") as name, ray_session(execution, None):
        bare_runs(1, 1, execution)
        queued_runs(1, execution, Path(name) / "warm")
        for half, order in zip(halves, (("bare_ray_train", "xlray"), ("xlray", "bare_ray_train")), strict=True):
            for side in order if half else ():
                if side == "xlray":
                    found[side] += queued_runs(half, execution, Path(name) / str(half) / order[0])
                else:
                    found[side] += bare_runs(half, concurrency, execution)
    return found


def queued_runs(num_trials: int, execution: Execution, root: Path) -> float:
    """Seconds that a sweep of no-op trials takes, from the opening of its journal to the end of its queue."""
    sweep = Sweep(
        "no-op",
        Encoder("none", "0"),
        measure=(Subset(()),),
        seeds=tuple(range(num_trials)),
        intermediate=Intermediate((RUNG,), warmup_examples=0),
        targets=(Target("none"),),
        execution=execution,
    )
    plan = _plan(sweep, sweep.trials())
    storage = Storage(root)
    driver = Driver(plan, Store(storage), lambda _: None, Leases(storage, "bench", LEASE_TTL_S))
    driver.directory.path.mkdir(parents=True)
    started = time.perf_counter()
    driver.open([])
    tune(driver, execution.max_concurrent_trials or 1, {sweep.encoder: Prepared(8, 0, {})}, no_op_trial)
    took = time.perf_counter() - started
    ended = [standing.status for name, standing in driver.found.trials.items() if name in driver.trials]
    if ended != ["finished"] * num_trials:
        raise RuntimeError(f"no-op trials must finish, but ended as {ended}.")
    return took


def _plan(sweep: Sweep, trials: Sequence[Trial]) -> SweepPlan:
    """One phase per trial, which is never stored."""
    data = DataSpec("none", "retrieval", "all/fi", "none", 1, 8)
    evaluation = EvaluationSpec(data, "fi", "dev", False, True)
    phases: dict[str, Phases] = {}
    for trial in trials:
        spec = RetrievalSpec(trial.trial_id, (evaluation,), None, "fp32", 1)
        phases[trial.trial_id] = Phases((Rung(sweep.intermediate.rungs[0], targets=(spec,)),))
    return SweepPlan(sweep, tuple(trials), {sweep.encoder: Start(Architecture())}, phases, Sources(None))


def bare_runs(num_runs: int, concurrency: int, execution: Execution) -> float:
    """Seconds that as many Ray Train runs take by themselves, `concurrency` at a time, each started by a task."""
    started = time.perf_counter()
    task = ray.remote(num_cpus=0)(_bare_run)
    waiting, running = list(range(num_runs)), list[Any]()
    while waiting or running:
        while waiting and len(running) < concurrency:
            running.append(task.remote(worker_resources(execution), waiting.pop()))
        done, running = ray.wait(running)
        ray.get(done)
    return time.perf_counter() - started


def _bare_run(resources: dict[str, float], number: int) -> None:
    with tempfile.TemporaryDirectory(prefix="xlray-bench-") as scratch:
        TorchTrainer(
            no_op,
            train_loop_config={"job": f"{number}.json"},
            torch_config=TorchConfig(backend="gloo"),
            scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker=resources),
            run_config=ray.train.RunConfig(name=f"bare-{number}-{time.time_ns()}", storage_path=scratch),
        ).fit()
