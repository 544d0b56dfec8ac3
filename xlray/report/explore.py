"""What the report's section "Explore" draws: every trial with its scores, as plain values by column, of bounded size."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from xlray.analysis import WITHOUT_TATOEBA, Estimate, Point
from xlray.analysis.points import ESTIMATED_ROLES
from xlray.analysis.results import SETTING, axis_fields, searched_space
from xlray.report.evidence import Evidence, target_names
from xlray.report.training_curves import shuffled, training_data
from xlray.storage.cells import cell_in_words
from xlray.storage.standings import accuracy_name
from xlray.tasks.languages import language_name

MOST_CURVES = 1_000  # trials with their scores at every rung; of the others the page holds those at the last one
LOG_FACTOR = 10
DIGITS = 2  # of scores, in percent
FACTS = ("chain", "examples_per_task", "num_distinct", "effective_tasks", "translated")  # of a trial, beside its axes


def explore_data(e: Evidence) -> dict[str, Any]:
    """The trials of a sweep for a page that draws, filters and compares them.

    Returns:
        `outcomes` (key and title), `language` (of the targets), `rungs` (examples), `rung` (index of the answer's, or of the
        last one that was reached), `axes` (fields that vary), `log` (those of them on a logarithmic scale), `searched` (those
        that are searched in a domain of numbers), `tasks`, `cells`, `cell_names` (in words), `statuses`, `level` of the
        intervals, `groups` (what trials of all seeds share), `trials` by column, `training` (see `training_data`), and
        `means`: (outcome, cell, rung index, mean, low, high) of estimates.
        `trials["scores"]` has for each outcome a list by rung of each trial (None where it was not scored); where there are
        more than `MOST_CURVES` trials, of some only the number at the last rung that they reached.
        `{}` before a trial has been scored.
    """
    points: dict[str, list[Point]] = {}
    for point in e.points:
        if not point.diverged:  # its scores were not measured
            points.setdefault(point.trial_id, []).append(point)
    if not points:
        return {}
    rows = _rows(e, points)
    reached = [point for curve in points.values() for point in curve]
    titles = {accuracy_name(code): f"{language_name(code)} accuracy" for code in e.results.languages}
    titles[WITHOUT_TATOEBA] = "without Tatoeba"
    known = {outcome for point in reached for outcome, value in point.scores.items() if math.isfinite(value)}
    outcomes = [name for name in (*titles, *target_names(reached)) if name in known]
    rungs = {point.rung_index: point.rung for point in reached}
    axes = axis_fields(e.definition)
    tasks = sorted({task for row in rows for task in row["tasks"]})
    last, scores = _scores(rows, points, outcomes, sorted(rungs))
    groups, members = _groups(rows, axes, {task: place for place, task in enumerate(tasks)})
    cells = list(dict.fromkeys(row["cell"] for row in sorted(rows, key=lambda row: (len(row["tasks"]), row["cell"]))))
    status = [e.statuses.get(row["trial_id"], row.get("status") or "") for row in rows]
    statuses = sorted(set(status))
    return {
        "outcomes": [[name, titles.get(name, name)] for name in outcomes],
        "rungs": [rungs[index] for index in sorted(rungs)],
        "rung": sorted(rungs).index(e.rung_index) if e.rung_index in rungs else max(0, len(rungs) - 1),
        "language": e.language,
        "axes": axes,
        "log": _log_fields(e.definition),
        "searched": [name for name, domain in searched_space(e.definition).items() if domain["type"] != "Choice"],
        "tasks": tasks,
        "cells": cells,
        "cell_names": [cell_in_words(cell, "no task") for cell in cells],
        "statuses": statuses,
        "level": next((estimate.level for estimate in e.estimates), 0.95),
        "groups": groups,
        "trials": {
            "id": [row["trial_id"] for row in rows],
            "group": members,
            "seed": [row.get("seed") for row in rows],
            "status": [statuses.index(name) for name in status],
            "degenerate": [place for place, row in enumerate(rows) if row.get("degenerate")],
            "hours": _hours(e, rows),
            "last": last,
            "scores": scores,
        },
        "training": training_data(e.results, {row["trial_id"]: place for place, row in enumerate(rows)}),
        "means": _means(e.estimates, outcomes, cells, [rungs[index] for index in sorted(rungs)]),
    }


def _log_fields(definition: Mapping[str, Any]) -> list[str]:
    """Fields that are drawn on a logarithmic scale: searched on one, or varied over a factor of `LOG_FACTOR` or more."""
    found = [name for name, domain in searched_space(definition).items() if domain.get("log")]
    for axis in definition.get("vary") or ():
        for name, values in zip(axis["fields"], zip(*axis["rows"], strict=True), strict=True):
            numbers = all(isinstance(value, int | float) and value > 0 for value in values)
            found += [name] if numbers and max(values) >= LOG_FACTOR * min(values) else []
    return found


def as_json(data: Mapping[str, Any]) -> str:
    """The data as an element `script` may hold them: no character of it ends the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def with_curves(cells: Sequence[str], names: Sequence[str], most: int = MOST_CURVES) -> list[bool]:
    """Which trials keep their scores at every rung, given the cell and the id of each: all, or the same share of each cell.

    Which ones of a cell has nothing to do with their order, in which every so many-th might be of the same seed.
    """
    if len(cells) <= most:
        return [True] * len(cells)
    members: dict[str, list[str]] = {}
    for cell, name in zip(cells, names, strict=True):
        members.setdefault(cell, []).append(name)
    kept = {n for inside in members.values() for n in shuffled(inside)[: max(1, len(inside) * most // len(cells))]}
    return [name in kept for name in names]


def _rows(e: Evidence, points: Mapping[str, Sequence[Point]]) -> list[dict[str, Any]]:
    """What is known of each trial, also of those that have no row yet; by cell, tasks and seed."""
    found = {entry["trial_id"]: entry for entry in e.journal if entry.get("event") == "created"}
    found = {trial: entry for trial, entry in found.items() if trial in e.statuses}
    for trial, curve in points.items():
        found[trial] = {**found.get(trial, {}), **{name: getattr(curve[-1], name) for name in _OF_POINT}}
    for row in e.results.trials.to_pylist():
        found[row["trial_id"]] = {**found.get(row["trial_id"], {}), **{k: v for k, v in row.items() if v is not None}}
    rows = [{**row, "cell": _group_of(row), "tasks": list(row.get("tasks") or ())} for row in found.values()]
    return sorted(
        rows, key=lambda row: (len(row["tasks"]), row["cell"], row["tasks"], row.get("seed") or 0, row["trial_id"])
    )


def _group_of(row: Mapping[str, Any]) -> str:
    """What a trial is drawn with: its cell; every proposal of a search has one of its own, so without the values."""
    cell, setting = str(row.get("cell") or ""), row.get(SETTING) or row.get("label")
    return cell.removesuffix(f" {setting}") if setting and row.get("role") not in ESTIMATED_ROLES else cell


_OF_POINT = ("trial_id", "role", "cell", "source", "tasks", "seed", "degenerate")


def _groups(
    rows: Sequence[Mapping[str, Any]], axes: Sequence[str], places: Mapping[str, int]
) -> tuple[dict[str, list[Any]], list[int]]:
    """What trials of different seeds share, by column, and the place of each trial among it."""
    names = ("role", "source", *(name for name in (*FACTS, *axes) if any(row.get(name) is not None for row in rows)))
    found: dict[str, int] = {}
    columns: dict[str, list[Any]] = {name: [] for name in ("cell", "tasks", *names)}
    members = []
    for row in rows:
        values = [row["cell"], [places[task] for task in row["tasks"]], *(_short(row.get(name)) for name in names)]
        key = json.dumps(values)
        if key not in found:
            found[key] = len(found)
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
        members.append(found[key])
    return columns, members


def _short(value: Any) -> Any:
    """A value as JSON can hold it, in few digits if it is a measured number."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else json.loads(json.dumps(value, default=str))


def _hours(e: Evidence, rows: Sequence[Mapping[str, Any]]) -> list[float]:
    """Device-hours of the phases that each trial computed."""
    ledger = (
        e.results.phases.select(["trial_id", "device_hours"]).group_by("trial_id").aggregate([("device_hours", "sum")])
    )
    ledger = ledger.filter(pc.is_valid(ledger["device_hours_sum"]))
    spent = dict(zip(ledger["trial_id"].to_pylist(), ledger["device_hours_sum"].to_pylist(), strict=True))
    return [_short(float(spent.get(row["trial_id"], 0.0))) for row in rows]


def _scores(
    rows: Sequence[Mapping[str, Any]],
    points: Mapping[str, Sequence[Point]],
    outcomes: Sequence[str],
    rungs: Sequence[int],
) -> tuple[list[int], dict[str, list[Any]]]:
    """The last rung of each trial (-1 before the first), and of each outcome its list by rung up to it, or its number there."""
    scores: dict[str, list[Any]] = {outcome: [] for outcome in outcomes}
    last, kept = [], with_curves([row["cell"] for row in rows], [row["trial_id"] for row in rows])
    for row, whole in zip(rows, kept, strict=True):
        curve = {point.rung_index: point for point in points.get(row["trial_id"], ())}
        reached = [index for index in rungs if index <= max(curve, default=-1)]
        last.append(len(reached) - 1)
        for outcome in outcomes:
            values = [_score(curve.get(index), outcome) for index in reached]
            scores[outcome].append(values if whole or not values else values[-1])
    return last, scores


def _score(point: Point | None, outcome: str) -> float | None:
    value = point.scores.get(outcome, math.nan) if point else math.nan
    return round(value, DIGITS) if math.isfinite(value) else None


def _means(
    estimates: Sequence[Estimate], outcomes: Sequence[str], cells: Sequence[str], rungs: Sequence[int]
) -> list[list[Any]]:
    """Means of cells with their intervals: places of outcome, cell and rung, then the three numbers."""
    places = {f"mean/{outcome}/{cell}": (n, m) for n, outcome in enumerate(outcomes) for m, cell in enumerate(cells)}
    found = {}
    for estimate in estimates:
        if estimate.name in places and estimate.rung in rungs:
            ends = (None if end is None else round(end, DIGITS) for end in (estimate.low, estimate.high))
            key = (*places[estimate.name], rungs.index(estimate.rung))
            found[key] = [*key, round(estimate.value, DIGITS), *ends]
    return [found[key] for key in sorted(found)]
