"""What the orchestration of a sweep costs: a trial that does nothing; planning, opening and deciding among many."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xlray import mini
from xlray.bench import machine
from xlray.canonical import require
from xlray.config import Stopping, Sweep
from xlray.forecast import summary
from xlray.journal import append, read_journal
from xlray.plan import plan_sweep
from xlray.scheduler import decide, standings
from xlray.store import Store
from xlray.subsets import random_subsets

SEEDS = 10


def bench_scheduler(num_trials: int = 64, num_finished: int = 10_000, concurrency: int = 2) -> dict[str, Any]:
    """Trials with no-op training through xlray beside as many bare Ray Train runs, and the costs of a large sweep.

    Both sides start the same worker group per trial on the same Ray, as many at a time, report once and end; the bare
    side is one `TorchTrainer.fit` per task of Ray. Ray's own start is counted on neither side.

    Args:
        num_trials: run on each side; 0 leaves Ray out.
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
        from xlray.bench_queue import both_sides  # loads Ray

        seconds = both_sides(num_trials, concurrency)
        for name, took in seconds.items():
            rows.append({"name": f"{num_trials} no-op trials, {name}", "seconds": took, "cpu_seconds": None})
        ratios["xlray/bare_ray_train"] = seconds["xlray"] / seconds["bare_ray_train"]
    versions = {name: version(name) for name in ("xlray", "ray", "torch")}
    return {"bench": "scheduler", "machine": machine(), "versions": versions, "rows": rows, "ratios": ratios}


def large_sweep(num_trials: int) -> list[dict[str, Any]]:
    """Seconds of planning a sweep, of opening it with all trials finished, of one append and of one decision."""
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
        root = Path(name)
        with _measured(rows, "generating and reading the data alone, as for a plan of five trials"):
            plan_sweep(replace(sweep, explore=sweep.explore[:5], seeds=(0,)), None, root)
        with _measured(rows, f"plan of {num_trials:,} trials"):
            planned = plan_sweep(sweep, None, root)
        with _measured(rows, "its forecast, schedule included"):
            summary(planned, Store(root))
        journal = root / "journal"
        journal.mkdir()
        entries = list(_entries(planned.trials, len(sweep.intermediate.rungs)))
        (journal / "000000.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        with _measured(rows, f"opening: {len(entries):,} journal entries of {num_trials:,} finished trials"):
            found = standings(read_journal(journal))
        trial = planned.trials[0]
        place = ("another", trial.cell, "explore", 0)
        rows.append(_repeated("one rung decision", lambda: decide(found, *place, 50.0, False, Stopping(), 2)))
        entry = next(e for e in entries if e["event"] == "rung")
        rows.append(_repeated("one journal append, flushed to disk", lambda: append(journal, entry)))
    return rows


def _entries(trials: Any, num_rungs: int) -> Iterator[dict[str, Any]]:
    for number, trial in enumerate(trials):
        place = {"trial_id": trial.trial_id, "cell": trial.cell, "role": trial.role}
        yield {"event": "created", **place, "tasks": list(trial.config.tasks), "seed": trial.config.seed, "time": 0.0}
        yield {"event": "running", "trial_id": trial.trial_id, "attempt": 1, "time": 0.0}
        for index in range(num_rungs):
            made = {"decision": "continue", "reason": "above the cut", "cutoff": 40.0, "probability": 1.0}
            score = {"score": 40.0 + number % 997 / 50, "fi_accuracy": 41.0, "degenerate": "", "scores": {}}
            yield {"event": "rung", **place, "rung_index": index, "rung": index, **made, **score, "time": 0.0}
        yield {"event": "finished", "trial_id": trial.trial_id, "time": 0.0}


@contextmanager
def _measured(rows: list[dict[str, Any]], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    rows.append({"name": name, "seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu})


def _repeated(name: str, call: Callable[[], Any], times: int = 200) -> dict[str, Any]:
    """Medians of single calls."""
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {"name": name, "seconds": statistics.median(walls), "cpu_seconds": statistics.median(cpus)}
