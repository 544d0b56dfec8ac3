"""What the orchestration of a sweep costs: a trial that does nothing; planning, opening and deciding among many."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xlray import mini
from xlray.bench.turns import machine
from xlray.canonical import canonical_json
from xlray.config.subsets import random_subsets
from xlray.config.sweep import Stopping, Sweep, Trial
from xlray.errors import require
from xlray.phases.store import Store
from xlray.plan.asha import Report, decide
from xlray.plan.forecast import summary
from xlray.plan.rung_report import measured_by
from xlray.plan.trials import SweepPlan, plan_sweep
from xlray.storage.journal import JOURNAL_FILE
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage
from xlray.sweep.driver import LEASE_TTL_S, Driver

SEEDS = 10
REPETITIONS = 200


def bench_scheduler(num_trials: int = 64, num_finished: int = 10_000, concurrency: int = 2) -> dict[str, Any]:
    """Trials with no-op training through xlray beside as many bare Ray Train runs, and the costs of a large sweep.

    Both sides start the same worker group per trial on the same Ray, as many at a time, report once and end; the bare
    side is one `TorchTrainer.fit` per task of Ray. Ray's own start is counted on neither side.

    Args:
        num_trials: run on each side; 0 skips Ray.
        num_finished: trials of the sweep that is planned, opened and decided in; 0 leaves it out.
        concurrency: trials at a time.

    Returns:
        `{bench, machine, versions, rows, ratios}`; the ratio is that of the times, below 1 is better for xlray.
    """
    require(num_trials >= 0, "trials >= 0", num_trials, "bench scheduler")
    require(num_finished == 0 or num_finished >= SEEDS, f"finished is 0 or >= {SEEDS}", num_finished, "bench scheduler")
    require(concurrency >= 1, "concurrency >= 1", concurrency, "bench scheduler")
    rows = large_sweep(num_finished) if num_finished else []
    ratios: dict[str, float] = {}
    if num_trials:
        from xlray.bench.queue import both_sides  # loads Ray

        seconds = both_sides(num_trials, concurrency)
        for name, took in seconds.items():
            rows.append({"name": f"{num_trials} no-op trials, {name}", "seconds": took, "cpu_seconds": None})
        ratios["xlray/bare_ray_train"] = seconds["xlray"] / seconds["bare_ray_train"]
    versions = {name: version(name) for name in ("xlray", "ray", "torch")}
    return {"bench": "scheduler", "machine": machine(), "versions": versions, "rows": rows, "ratios": ratios}


def large_sweep(num_trials: int) -> list[dict[str, Any]]:
    """Seconds of planning a sweep, of opening it with its trials finished, of one report, append and decision."""
    pool = [name for name, task in mini.MINI_TASKS.items() if task.role == "intermediate"]
    sweep = Sweep(
        "large",
        mini.ENCODER,
        explore=random_subsets(pool, 8, num_trials // SEEDS, seed=1),
        seeds=tuple(range(SEEDS)),
        intermediate=mini.INTERMEDIATE,
        targets=mini.TARGETS,
    )
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="xlray-bench-") as name:
        storage = Storage(Path(name))
        with _measured(rows, "generating and reading the data alone, as for a plan of five trials"):
            plan_sweep(replace(sweep, explore=sweep.explore[:5], seeds=(0,)), None, storage)
        with _measured(rows, f"plan of {num_trials:,} trials"):
            planned = plan_sweep(sweep, None, storage)
        with _measured(rows, "its forecast, schedule included"):
            summary(planned, Store(storage))
        open_trials = planned.trials[: min(REPETITIONS, num_trials // 2)]
        driver = _driver_of_finished(planned, planned.trials[len(open_trials) :], storage)
        text = f"{num_trials - len(open_trials):,} finished trials, {len(planned.all_specs()):,} phases"
        with _measured(rows, f"opening a sweep with {text}"):
            driver.open(driver.directory.journal.read())
        trial = iter(open_trials)
        result = {"rung": 1, "rung_index": 0, "score": 50.0, "fi_accuracy": 50.0, "degenerate": "", "diverged": False}
        report = Report("another", planned.trials[0].cell, "explore", 0, 50.0)
        for text, call in (
            ("one rung report: decided, journalled", lambda: driver.on_rung(next(trial).trial_id, result)),
            ("one decision", lambda: decide(driver.found, report, Stopping(), 2)),
            ("one journal append, flushed to disk", lambda: driver.directory.journal.append(driver.journal[0])),
        ):
            rows.append(_repeated(text, call, len(open_trials)))
    return rows


def _driver_of_finished(planned: SweepPlan, finished: Sequence[Trial], storage: Storage) -> Driver:
    """A driver that has not been opened yet, of a sweep in whose storage and journal some trials are finished."""
    driver = Driver(planned, Store(storage), lambda _: None, Leases(storage, "bench", LEASE_TTL_S))
    (driver.directory / "journal").mkdir(parents=True)
    lines = (json.dumps(entry) + "\n" for entry in _entries(finished, planned))
    (driver.directory / "journal" / JOURNAL_FILE).write_text("".join(lines))
    specs = {spec.key: spec for trial in finished for spec in planned.phases[trial.trial_id]}
    for spec in [*planned.shared, *specs.values()]:
        folder = driver.store.folder(spec)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(canonical_json(spec))
        (folder / "DONE").touch()
    return driver


def _entries(trials: Sequence[Trial], planned: SweepPlan) -> Iterator[dict[str, Any]]:
    bases = [planned.sweep.basis(index) for index in range(len(planned.sweep.intermediate.rungs))]
    for number, trial in enumerate(trials):
        place = {"trial_id": trial.trial_id, "cell": trial.cell, "role": trial.role}
        yield {"event": "created", **place, "tasks": list(trial.config.tasks), "seed": trial.config.seed, "time": 0.0}
        yield {"event": "running", "trial_id": trial.trial_id, "attempt": 1, "time": 0.0}
        for index, rung in enumerate(planned.sweep.intermediate.rungs):
            made = {"decision": "continue", "reason": "above the cut", "cutoff": 40.0, "probability": 1.0}
            score = {"score": 40.0 + number % 997 / 50, "fi_accuracy": 41.0, "degenerate": "", "scores": {}}
            score |= {"basis": bases[index], "phases": measured_by(planned.phases[trial.trial_id], index)}
            yield {"event": "rung", **place, "rung_index": index, "rung": rung, **made, **score, "time": 0.0}
        yield {"event": "finished", "trial_id": trial.trial_id, "time": 0.0}


@contextmanager
def _measured(rows: list[dict[str, Any]], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    rows.append({"name": name, "seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu})


def _repeated(name: str, call: Callable[[], Any], times: int) -> dict[str, Any]:
    """Medians of single calls."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"name": name, "seconds": statistics.median(walls), "cpu_seconds": statistics.median(cpus)}
