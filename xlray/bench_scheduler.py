"""What the orchestration of a sweep costs: planning, opening and deciding among many trials."""

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


def bench_scheduler(num_finished: int = 10_000) -> dict[str, Any]:
    """The costs of a large sweep.

    Args:
        num_finished: trials of the sweep that is planned, opened and decided in.

    Returns:
        `{bench, machine, versions, rows, ratios}`; there is nothing to compare with yet, so no ratio.
    """
    require(num_finished >= SEEDS, f"finished >= {SEEDS}", num_finished, "bench scheduler")
    versions = {name: version(name) for name in ("xlray", "ray", "torch")}
    rows = large_sweep(num_finished)
    return {"bench": "scheduler", "machine": machine(), "versions": versions, "rows": rows, "ratios": {}}


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
