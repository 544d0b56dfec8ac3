"""What a sweep will cost, before it is run. Nothing is started."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xlray.config.axes import short_value, worded
from xlray.config.execution import Execution
from xlray.config.recipes import Encoder, Pretraining
from xlray.data.shortfalls import shortfalls
from xlray.errors import BudgetError, InputError
from xlray.phases.spec import Spec, TrainSpec
from xlray.phases.store import Store
from xlray.plan.costs import Cost, Rates, phase_cost, rates_of
from xlray.plan.memory import GIB, ModelShape, table
from xlray.plan.power import detectable_effects
from xlray.plan.rung_report import measured_by
from xlray.plan.search import with_proposed, with_stand_ins
from xlray.plan.sharing import ASSUMED_GPU_BYTES, gpu_bytes, limit_bytes, plan_shape, predicted_bytes, with_sharing
from xlray.plan.simulate import Schedule, play, recorded, synthetic, timeline_svg
from xlray.plan.trials import SweepPlan
from xlray.storage.standings import is_cut, standings
from xlray.storage.sweep_folder import SweepFolder, sweep_folder


@dataclass(frozen=True)
class Terms:
    """What a user says about the machines and the money.

    Attributes:
        devices: of the cluster; None takes what the trials need that run at one time: `max_concurrent_trials`, or one.
        price_per_hour: of one device.
        device_tflops: sustained by a device where nothing was measured; None takes an assumption.
        budget_hours: device-hours that may be spent.
        gpu_gib: memory of a GPU of the cluster, where trials share it; None takes this machine's, or an assumption.
    """

    devices: int | None = None
    price_per_hour: float | None = None
    device_tflops: float | None = None
    budget_hours: float | None = None
    gpu_gib: float | None = None

    def __post_init__(self) -> None:
        for name, option in (("devices", "--devices"), ("price_per_hour", "--price-per-hour")):
            require_positive(getattr(self, name), option)
        for name, option in (("device_tflops", "--device-tflops"), ("budget_hours", "--budget-hours")):
            require_positive(getattr(self, name), option)
        require_positive(self.gpu_gib, "--gpu-gib")

    def gpu_memory(self) -> tuple[int, str]:
        """Bytes of a GPU, and where the number is from."""
        if self.gpu_gib is not None:
            return int(self.gpu_gib * GIB), "as given"
        found = gpu_bytes()
        return (found, "of this machine") if found is not None else (ASSUMED_GPU_BYTES, "assumed")

    def devices_of(self, execution: Execution) -> int:
        """Devices of the cluster."""
        if self.devices is not None:
            return self.devices
        return math.ceil((execution.max_concurrent_trials or 1) * execution.max_workers * execution.device_share)


def require_positive(value: float | None, option: str) -> None:
    """Raise `InputError` unless the number that was given with an option is finite and above 0."""
    if value is not None and not 0 < value < math.inf:
        raise InputError(f"{option}: a number above 0 must be given, but got {value}.")


def steps_of(spec: Spec) -> int:
    """Optimizer steps of a phase."""
    return spec.num_steps if isinstance(spec, TrainSpec) else 0


@dataclass(frozen=True)
class Forecast:
    """A plan with what its phases cost.

    Attributes:
        directory: the sweep's folder in the storage.
        over: status of each trial that has ended, which has nothing left to do.
        left: phases that are to be computed, by hash, unless trials are stopped before them.
        records: what the store says of the phases that are finished, by hash.
        costs: by hash.
        seconds: device-seconds, by hash.
        schedule: the rest of the sweep, played with synthetic scores.
        full: the same from nothing, with all that a sweep saves but its stored phases.
    """

    plan: SweepPlan
    directory: SweepFolder
    over: Mapping[str, str]
    left: frozenset[str]
    records: Mapping[str, Mapping[str, Any]]
    costs: Mapping[str, Cost]
    rates: Rates
    seconds: Mapping[str, float]
    schedule: Schedule
    full: Schedule

    @property
    def devices(self) -> int:
        """Devices of the cluster that the schedule uses."""
        execution = self.plan.sweep.execution
        return math.ceil(self.schedule.num_slots * execution.max_workers / execution.workers_per_device)


def forecast(plan: SweepPlan, store: Store, terms: Terms) -> Forecast:
    """Cost every phase and play the schedule, with stand-ins for the trials that a search will propose."""
    directory = sweep_folder(store.storage, plan.sweep.name)
    journal = directory.journal.read()
    plan = with_stand_ins(with_proposed(plan, journal), journal)
    plan = with_sharing(plan, lambda: terms.gpu_memory()[0])
    specs = plan.all_specs()
    finished = store.finished(specs.values())
    records = {key: store.done(spec)["record"] for key, spec in specs.items() if key in finished}
    shapes = {encoder: ModelShape(start.architecture) for encoder, start in plan.starts.items()}
    by_encoder = plan.specs_by_encoder()
    costs = {key: phase_cost(s, shapes[encoder]) for encoder in by_encoder for key, s in by_encoder[encoder].items()}
    rates = rates_of(plan, costs, records, terms.device_tflops)
    seconds = {key: rates.seconds(spec, costs[key]) for key, spec in specs.items()}
    devices = terms.devices_of(plan.sweep.execution)
    over = ended_trials(plan, journal, finished)
    rest = replace(plan, trials=tuple(trial for trial in plan.trials if trial.trial_id not in over))
    open_specs = {spec.key for trial in rest.trials for spec in plan.phases[trial.trial_id]}
    left = open_specs.union(spec.key for spec in plan.shared if rest.trials) - records.keys()
    schedule = play(rest, costs, seconds, devices, records)
    full = play(plan, costs, seconds, devices, (), synthetic) if records else schedule
    return Forecast(plan, directory, over, frozenset(left), records, costs, rates, seconds, schedule, full)


def ended_trials(plan: SweepPlan, journal: Sequence[Mapping[str, Any]], finished: Collection[str]) -> dict[str, str]:
    """Status of the trials that have finished or were stopped and whose phases are stored, as a driver would find them.

    Not among them are trials that go on: those whose phases are others than those that their scores were read from, those that
    the sweep has more rungs for by now, and those that were stopped but are measured now.
    """
    found, roles = {}, {trial.trial_id: trial.role for trial in plan.trials}
    for trial_id, standing in standings(journal).trials.items():
        phases = plan.phases.get(trial_id)
        if standing.status not in ("finished", "stopped") or phases is None or not standing.current:
            continue
        if roles[trial_id] == "measure" and is_cut(standing):
            continue
        if any(entry.get("phases") != measured_by(phases, index) for index, entry in standing.current.items()):
            continue
        scored = [index for index, entry in standing.current.items() if entry.get("reason") != "diverged"]
        needed = phases if standing.status == "finished" else phases.up_to(max(scored)) if scored else ()
        if all(spec.key in finished for spec in needed):
            found[trial_id] = standing.status
    return found


def summary(plan: SweepPlan, store: Store, terms: Terms | None = None) -> dict[str, Any]:
    """What `xlray plan` prints, in the shape that other programs rely on; see `document`."""
    terms = terms or Terms()
    return document(forecast(plan, store, terms), terms)


def document(found: Forecast, terms: Terms) -> dict[str, Any]:
    """The forecast as plain values.

    `naive_steps` counts the same trial-size pairs trained each from scratch with full targets, nothing shared; `saved`
    says what of that is not done and why, in steps. Targets that are trained on fewer examples at early rungs (`probes`)
    are stated apart and are no part of `steps_ratio`. What early stopping saves is what it saved in one play of the
    schedule with invented scores. Hours, tokens and cost are of what is not stored yet, under that play.
    """
    plan = found.plan
    uses = Counter(key for phases in plan.phases.values() for key in {spec.key for spec in phases})
    steps = sum(cost.steps for cost in found.costs.values())
    naive, probes, trunk = naive_steps(plan)
    saved = {
        "trunk": trunk,
        "sharing": sum(found.costs[spec.key].steps for phases in plan.phases.values() for spec in phases)
        - sum(found.costs[key].steps for key in uses),
        "stopping": steps - found.full.steps,
    }
    new = found.left
    hours = found.schedule.busy_s / 3600
    detectable = detectable_effects(plan, found.directory)
    return {
        "name": plan.sweep.name,
        "trials": len(plan.trials),
        "ended": dict(Counter(found.over.values())),
        "cells": dict(Counter(trial.cell for trial in plan.trials)),
        "phases": {"new": len(new), "shared": sum(n - 1 for n in uses.values()), "stored": len(found.records)},
        "steps": steps,
        "remaining_steps": sum(found.costs[key].steps for key in new),
        "expected_steps": found.schedule.steps,
        "naive_steps": naive,
        "steps_ratio": (naive - sum(saved.values())) / naive if naive else 1.0,
        "saved": {**saved, "probes": probes},
        "tokens": round(math.fsum(found.costs[key].tokens for key in new)),
        "num_parameters": num_parameters(plan, plan.widest),
        "device_hours": hours,
        "device_hours_at_most": math.fsum(found.seconds[key] for key in new) / 3600,
        "device_hours_source": found.rates.source,
        "devices": found.devices,
        "sharing": sharing(plan, terms),
        "wall_hours": found.schedule.wall_s / 3600,
        "price_per_hour": terms.price_per_hour,
        "cost": None if terms.price_per_hour is None else hours * terms.price_per_hour,
        "budget_hours": terms.budget_hours,
        "storage_bytes": round(math.fsum(found.costs[key].bytes for key in new)),
        "memory": memory_table(found),
        "minimum_detectable_effect": detectable["points"],
        "detectable": detectable,
        "sources": plan.sweep.places,
        "lowered_caps": {
            pair: {"cap": cap, "designed": designed} for pair, (cap, designed) in sorted(plan.sources.lowered.items())
        },
        "languages": list(plan.sweep.evaluated),
        **shortfalls(plan.sources),
        "assumed_sizes": sorted(plan.sources.assumed),
        "trial_list": [_trial_row(trial) for trial in plan.trials],
        **_axes(plan),
    }


def num_parameters(plan: SweepPlan, encoder: Encoder | Pretraining) -> int:
    """Parameters of an encoder of the plan, without heads."""
    return ModelShape(plan.starts[encoder].architecture).num_parameters


def _axes(plan: SweepPlan) -> dict[str, Any]:
    """Of each axis its fields, and a row of their values for each place on it; what is searched; trials of each population.

    Where encoders vary, their parameters, too: the memory is of the one with the most.
    """
    search = plan.sweep.search
    found: dict[str, Any] = {}
    if plan.sweep.axes:
        axes = plan.sweep.axes
        found["axes"] = [{"fields": list(a.fields), "values": [list(map(worded, row)) for row in a.rows]} for a in axes]
    if len(plan.starts) > 1:
        found["encoders"] = {short_value(encoder): num_parameters(plan, encoder) for encoder in plan.starts}
        found["memory_encoder"] = short_value(plan.widest)
    if search is not None and search.space:
        found["space"] = {name: domain.words for name, domain in search.space.items()}
    return {**found, "populations": dict(Counter(trial.population for trial in plan.trials))} if found else {}


def memory_table(found: Forecast) -> list[dict[str, Any]]:
    """Memory of one worker with the widest encoder by ZeRO stage, offload and checkpointing; see `memory.table`."""
    plan, sweep = found.plan, found.plan.sweep
    own = plan.specs_by_encoder()[plan.widest]
    records = (record for key, record in found.records.items() if key in own)
    return table(plan_shape(plan), sweep.precision, sweep.execution, records)


def sharing(plan: SweepPlan, terms: Terms) -> dict[str, Any] | None:
    """How many trials share a GPU, what each may take of its memory and is predicted to take; None where none share."""
    execution = plan.sweep.execution
    if execution.device_share == 1:
        return None
    device_bytes, source = terms.gpu_memory()
    limit = limit_bytes(execution, device_bytes)
    return {
        "trials_per_gpu": execution.workers_per_device,
        "gpu_bytes": device_bytes,
        "gpu_bytes_source": source,
        "limit_bytes": limit,
        "predicted_bytes": predicted_bytes(plan_shape(plan), plan.sweep.precision, execution, limit),
    }


def simulation(plan: SweepPlan, store: Store, terms: Terms) -> tuple[dict[str, Any], str]:
    """A whole sweep played from nothing with the scores of its journal where it has them, invented ones elsewhere.

    Returns:
        what came of it, and the timeline as an SVG.
    """
    found = forecast(plan, store, terms)
    entries = found.directory.journal.read()
    devices = terms.devices_of(found.plan.sweep.execution)
    schedule = play(found.plan, found.costs, found.seconds, devices, (), recorded(entries))
    rest = document(replace(found, full=schedule, schedule=schedule), terms)
    known = sum(len(standing.current) for standing in standings(entries).trials.values())
    shown = ("trials", "cells", "devices", "wall_hours", "device_hours", "naive_steps", "steps_ratio", "saved")
    return {
        "name": plan.sweep.name,
        **{key: rest[key] for key in (*shown, "device_hours_source")},
        "steps": schedule.steps,
        "utilisation": schedule.utilisation,
        "reached": {plan.sweep.intermediate.rungs[i]: n for i, n in sorted(schedule.reached.items())},
        "scores": f"{known} from the journal, the others invented" if known else "invented",
    }, timeline_svg(schedule, found.plan)


def _trial_row(trial: Any) -> dict[str, Any]:
    return {
        "trial_id": trial.trial_id,
        "role": trial.role,
        "cell": trial.cell,
        "seed": trial.config.seed,
        "source": trial.subset.source,
        "chain": trial.subset.chain,
        "tasks": list(trial.config.tasks),
        "examples_per_task": trial.subset.examples_per_task,
        "caps": dict(trial.config.caps),
        **({"values": dict(trial.values)} if trial.label else {}),
    }


def over_budget(found: Mapping[str, Any]) -> BudgetError | None:
    """The error of a `summary` that expects more device-hours than its budget, or None."""
    budget, hours = found["budget_hours"], found["device_hours"]
    if budget is None or hours <= budget:
        return None
    return BudgetError(
        f"--budget-hours {budget:g}: the sweep may take that many device-hours, but {hours:,.2f} are expected "
        f"({found['device_hours_source']})."
    )


def naive_steps(plan: SweepPlan) -> tuple[int, int, int]:
    """Steps with each size of each trial from scratch and full targets, nothing shared.

    Returns:
        these steps; how many of them smaller targets at early rungs save; how many one trunk per trial saves.
    """
    naive = sum(steps_of(spec) for spec in plan.shared)
    probes = saved = 0
    for trial in plan.trials:
        full = {t.task: t.num_examples // t.batch_size for t in trial.config.targets}
        trunk = 0
        for spec in plan.phases[trial.trial_id]:
            own = steps_of(spec)
            if spec.kind == "trunk":
                saved += trunk
                trunk += own
                own = trunk
            elif isinstance(spec, TrainSpec) and spec.kind == "target":
                probes += full[spec.data[0].task] - own
                own = full[spec.data[0].task]
            naive += own
    return naive, probes, saved
