"""What a sweep will cost, before it is run. Pure: no framework, nothing is started."""

from __future__ import annotations

from typing import Any

from xlray.phases import Spec, TrainSpec, phase_hash
from xlray.plan import SweepPlan
from xlray.store import Store


def steps_of(spec: Spec) -> int:
    """Optimizer steps of a phase."""
    return spec.num_steps if isinstance(spec, TrainSpec) else 0


def summary(plan: SweepPlan, store: Store) -> dict[str, Any]:
    """What `xlray plan` prints, in the shape that other programs rely on.

    `naive_steps` counts the same trial-size pairs trained each from scratch, one trunk per size, nothing shared;
    device hours are those that the store has measured per step for phases of the same kind, else None.
    """
    specs = plan.all_specs()
    uses: dict[str, int] = {}
    for phases in plan.phases.values():
        for key in {phase_hash(p.spec) for p in phases}:
            uses[key] = uses.get(key, 0) + 1
    stored = {key for key, spec in specs.items() if store.has(spec)}
    steps = sum(steps_of(spec) for key, spec in specs.items())
    remaining = sum(steps_of(spec) for key, spec in specs.items() if key not in stored)
    naive, untrunked = naive_steps(plan)
    shared_away = sum((n - 1) * steps_of(specs[key]) for key, n in uses.items())
    hours = _device_hours(plan, store, stored)
    cells: dict[str, int] = {}
    for trial in plan.trials:
        cells[trial.cell] = cells.get(trial.cell, 0) + 1
    return {
        "name": plan.sweep.name,
        "trials": len(plan.trials),
        "cells": cells,
        "phases": {
            "new": len(specs.keys() - stored),
            "shared": sum(n - 1 for n in uses.values()),
            "stored": len(stored),
        },
        "steps": steps,
        "remaining_steps": remaining,
        "naive_steps": naive,
        "steps_ratio": steps / naive if naive else 1.0,
        "saved": {"trunk": naive - untrunked, "sharing": shared_away, "stopping": None},
        "device_hours": hours,
        "storage_bytes": sum(f.stat().st_size for f in store.root.rglob("*") if f.is_file()),
        "minimum_detectable_effect": None,
        "missing_test_sets": sorted(plan.sources.missing),
        "overlapping_examples": dict(sorted(plan.sources.overlapping.items())),
        "skipped_examples": {
            split: {"number": len(bad), "first": bad[0]} for split, bad in plan.sources.skipped.items()
        },
    }


def naive_steps(plan: SweepPlan) -> tuple[int, int]:
    """(steps with each size of each trial from scratch, steps with one trunk per trial), nothing shared."""
    before = sum(steps_of(spec) for spec in plan.shared)
    naive = with_trunk = before
    for phases in plan.phases.values():
        trunk = 0
        for planned in phases:
            own = steps_of(planned.spec)
            if planned.spec.kind == "trunk":
                trunk += own
                naive += trunk
            else:
                naive += own
            with_trunk += own
    return naive, with_trunk


def _device_hours(plan: SweepPlan, store: Store, stored: set[str]) -> float | None:
    """Remaining device-hours at the rate of the stored phases of each kind; None until every kind was seen."""
    seconds: dict[str, float] = {}
    steps: dict[str, int] = {}
    specs = plan.all_specs()
    for key in stored:
        record = store.done(specs[key])["record"]
        seconds[specs[key].kind] = seconds.get(specs[key].kind, 0.0) + float(record.get("device_seconds", 0.0))
        steps[specs[key].kind] = steps.get(specs[key].kind, 0) + max(1, steps_of(specs[key]))
    total = 0.0
    for key, spec in specs.items():
        if key not in stored:
            if not steps.get(spec.kind):
                return None
            total += seconds[spec.kind] / steps[spec.kind] * max(1, steps_of(spec))
    return total / 3600
