"""From the journal and the store to a sweep's tables. Reads finished phases only; test scores stay sealed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlray.analysis.results import ITEMS, PHASES, SCORES, SETTING, STEPS, trials_schema
from xlray.config.sweep import Trial
from xlray.data.shortfalls import SHORTFALLS_FILE, shortfalls
from xlray.phases.curves import MOST_ROWS, STEPS_FILE, read_curve, thinned
from xlray.phases.spec import Spec, TrainSpec, phase_hash, phase_name
from xlray.phases.store import Store
from xlray.plan.exposure import exposure, rung_tokens
from xlray.plan.trials import SweepPlan
from xlray.storage.files import write_atomically
from xlray.storage.parquet import to_table, write_table
from xlray.storage.standings import Standing, accuracy_name, accuracy_of, standings
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

MOST_STEPS = 1_000_000  # rows of all training curves in one table
LEAST_STEPS = 10  # of one curve, however many there are


def write_shortfalls(plan: SweepPlan, storage: Storage) -> None:
    """Write `results/data.json`: what the sweep's data lack."""
    path = sweep_folder(storage, plan.sweep.name) / SHORTFALLS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(shortfalls(plan.sources), indent=1, ensure_ascii=False))
    storage.send(path)


def write_results(plan: SweepPlan, store: Store) -> None:
    """Write `results/{scores,trials,phases,items,steps}.parquet` from what is finished now, and `results/data.json`."""
    directory = sweep_folder(store.storage, plan.sweep.name)
    write_shortfalls(plan, store.storage)
    known = standings(directory.journal.read()).trials
    specs = plan.all_specs()
    finished = store.finished(specs.values())
    records = {key: store.done(spec)["record"] for key, spec in specs.items() if key in finished}
    found = [spec for key, spec in specs.items() if key in finished]
    store.bring_tables(found, ("scores.parquet", "items.parquet", STEPS_FILE))
    trials = {t.trial_id: t for t in plan.trials}
    scores, items = _scores(plan, store, trials, records)
    tables = {
        "scores": to_table(scores, SCORES),
        "trials": with_axes(
            to_table(
                [_trial_row(plan, t, known.get(t.trial_id, Standing()), records) for t in plan.trials],
                trials_schema(plan.sweep.evaluated),
            ),
            plan,
        ),
        "phases": to_table(phase_rows(plan, records), PHASES),
        "items": items,
        "steps": steps_table(plan, store, [spec for spec in found if isinstance(spec, TrainSpec)]),
    }
    for name, table in tables.items():
        (directory / "results").mkdir(parents=True, exist_ok=True)
        write_table(directory / "results" / f"{name}.parquet", table)
    directory.send()


def _place(plan: SweepPlan, trial: Trial, index: int) -> dict[str, Any]:
    return {
        "sweep": plan.sweep.name,
        "trial_id": trial.trial_id,
        "cell": trial.cell,
        "num_tasks": len(trial.config.tasks),
        "tasks": list(trial.config.tasks),
        "seed": trial.config.seed,
        "rung": plan.sweep.intermediate.rungs[index],
        "rung_index": index,
        "role": trial.role,
        "source": trial.subset.source,
    }


def _scores(
    plan: SweepPlan, store: Store, trials: Mapping[str, Trial], records: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], pa.Table]:
    rows: list[dict[str, Any]] = []
    items: list[pa.Table] = []
    read: dict[str, tuple[list[dict[str, Any]], pa.Table]] = {}
    for trial_id, phases in plan.phases.items():
        for index, rung in enumerate(phases.rungs):
            place = _place(plan, trials[trial_id], index)
            for key, spec in ((phase_hash(spec), spec) for spec in rung.targets):
                if key not in records:
                    continue
                if key not in read:
                    folder = store.folder(spec)
                    found = pq.read_table(folder / "scores.parquet").to_pylist()
                    read[key] = (found, pq.read_table(folder / "items.parquet"))
                seen = spec.num_examples if isinstance(spec, TrainSpec) else 0
                rows += [{**place, "num_examples": seen, "phase": phase_name(spec), **row} for row in read[key][0]]
                items.append(_with_place(read[key][1], place))
    return rows, pa.concat_tables(items) if items else ITEMS.empty_table()


def _with_place(items: pa.Table, place: Mapping[str, Any]) -> pa.Table:
    size = len(items)
    columns = []
    for field in ITEMS:
        if field.name in items.column_names:
            columns.append(items[field.name].cast(pa.string()) if field.name == "statistic" else items[field.name])
        else:
            columns.append(pa.chunked_array([pa.repeat(pa.scalar(place[field.name], field.type), size)]))
    table = pa.table(columns, names=ITEMS.names)
    return table.set_column(
        ITEMS.get_field_index("statistic"), ITEMS.field("statistic"), table["statistic"].dictionary_encode()
    ).unify_dictionaries()


def _trial_row(plan: SweepPlan, trial: Trial, standing: Standing, records: Mapping[str, Any]) -> dict[str, Any]:
    last = standing.last
    phases = plan.phases[trial.trial_id]
    specs = {phase_hash(spec): spec for spec in phases}
    finished = [records[key] for key in specs if key in records]
    versions = {spec.kind: spec.method_version for key, spec in specs.items() if key in records}
    shown = exposure(phases.rungs, [name for name in trial.config.tasks if plan.sources.task(name).translated])
    return {
        "sweep": plan.sweep.name,
        "trial_id": trial.trial_id,
        "status": standing.status,
        "role": trial.role,
        "cell": trial.cell,
        "num_tasks": len(trial.config.tasks),
        "tasks": list(trial.config.tasks),
        "source": trial.subset.source,
        "chain": trial.subset.chain,
        "position": trial.subset.position,
        "seed": trial.config.seed,
        "last_rung": last.get("rung"),
        "degenerate": any(record["degenerate"] for record in finished),
        "error": standing.error,
        "execution": _recorded(finished, "execution"),
        "method_versions": json.dumps(versions, sort_keys=True),
        **{accuracy_name(language): last.get(accuracy_name(language)) for language in plan.sweep.evaluated},
        accuracy_name(plan.sweep.language): accuracy_of(last),
        "versions": _recorded(finished, "versions"),
        "examples_per_task": trial.subset.examples_per_task,
        "design": trial.subset.design,
        "rung_tokens": rung_tokens(phases.rungs, records),
        **(asdict(shown) if shown is not None else {}),
    }


def with_axes(trials: pa.Table, plan: SweepPlan) -> pa.Table:
    """The table of trials with the values of axes: in words, and a column for each field that varies or is searched.

    Null where a field changes nothing of a trial (one without tasks has no intermediate learning rate), or was not searched
    for it.
    """
    fields = [name for axis in plan.sweep.axes for name in axis.fields]
    fields += plan.sweep.search.space if plan.sweep.search is not None else ()
    if fields:
        trials = trials.append_column(SETTING, pa.array([trial.label for trial in plan.trials], pa.string()))
    for name in fields:
        values = [dict(trial.values).get(name) for trial in plan.trials]
        trials = trials.append_column(name, pa.array(values))
    return trials


def _recorded(records: Sequence[Mapping[str, Any]], field: str) -> str | None:
    """What finished phases were computed with, as a JSON list of the different values; None if it is not recorded."""
    values = sorted({json.dumps(record[field], sort_keys=True) for record in records if record.get(field)})
    return f"[{', '.join(values)}]" if values else None


def phase_rows(plan: SweepPlan, records: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The cost ledger: of each finished phase a row for every trial that needs it.

    What this sweep computed is charged once, as computed: to the trial that did it, or, where a job before all trials or
    a trial that is no longer in the sweep did, to the first that needs it. To the others it is shared.

    Args:
        records: what was recorded of finished phases, by hash.
    """
    needed: dict[str, Iterable[Spec]] = {"": plan.shared, **plan.phases}
    found = [
        (key, spec, trial_id)
        for trial_id, phases in needed.items()
        for key, spec in {phase_hash(spec): spec for spec in phases}.items()
        if key in records
    ]
    payers: dict[str, str] = {}
    for key, _, trial_id in found:
        if key not in payers or records[key]["trial_id"] == trial_id:
            payers[key] = trial_id
    return [
        _phase_row(spec, records[key], trial_id, plan.sweep.name, payers[key] == trial_id)
        for key, spec, trial_id in found
    ]


def _phase_row(spec: Spec, record: Mapping[str, Any], trial_id: str, sweep: str, pays: bool) -> dict[str, Any]:
    here = record["sweep"] == sweep
    mine = here and pays
    status = "computed" if mine else "shared" if here else "stored"
    return {
        "phase": phase_name(spec),
        "kind": spec.kind,
        "status": status,
        "num_steps": record["num_steps"],
        "num_tokens": record["num_tokens"] if mine else 0,
        "device_hours": record["device_seconds"] / 3600 if mine else 0.0,
        "trial_id": trial_id,
        "num_executed_steps": record["num_executed_steps"] if mine else 0,
        "num_repeated_steps": record["num_repeated_steps"] if mine else 0,
        "degenerate": bool(record["degenerate"]),
        "padding_ratio": record.get("padding_ratio"),  # of phases that train
    }


def steps_table(plan: SweepPlan, store: Store, specs: Sequence[TrainSpec]) -> pa.Table:
    """The training curves of finished phases, once each; those that earlier versions stored have none.

    Ten thousand trials have some hundred thousand phases: where there are many, each gives fewer rows.
    """
    rungs = _first_rungs(plan)
    num_rows = min(MOST_ROWS, max(LEAST_STEPS, MOST_STEPS // max(1, len(specs))))
    tables = []
    for spec in specs:
        curve = thinned(read_curve(store, spec), num_rows)
        task = spec.data[0].task if spec.kind == "target" else ""
        place = {"phase": phase_name(spec), "kind": spec.kind, "task": task, "rung": rungs.get(phase_hash(spec))}
        columns = [
            pa.repeat(pa.scalar(place[f.name], f.type), len(curve)) if f.name in place else curve[f.name] for f in STEPS
        ]
        tables.append(pa.table(columns, schema=STEPS))
    return pa.concat_tables(tables) if tables else STEPS.empty_table()


def _first_rungs(plan: SweepPlan) -> dict[str, int]:
    """The first rung that needs each phase of a trial, in examples, by the phase's hash."""
    found: dict[str, int] = {}
    for phases in plan.phases.values():
        for rung in phases.rungs:
            for spec in rung.phases:
                found.setdefault(spec.key, rung.num_examples)
    return found
