"""All that a report says something about: a sweep's tables, journal and definition, and the estimates they allow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlray.analysis import (
    FI_ACCURACY,
    WITHOUT_TATOEBA,
    Estimate,
    Point,
    Sampling,
    all_estimates,
    collect_points,
    estimable,
    item_variances,
)
from xlray.journal import read_journal, read_lines
from xlray.results import UNSEALED_FILE, Results, load_results
from xlray.shortfalls import SHORTFALLS_FILE
from xlray.standings import standings
from xlray.sweep_folder import read_definition

ENDED = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Evidence:
    """All that the report says something about.

    Attributes:
        definition: `sweep.json`; {} if it is not there.
        statuses: trial to what became of it, by the journal.
        rung_index: the last rung from which something may be estimated, or None.
        rung: its examples.
        here: the points of that rung from which it is estimated.
        majority: target to what always giving the most frequent answer scores; see `Results.majority`.
        unsealings: entries of `unsealed.jsonl`, one for each opening of the test data.
        data: `results/data.json`, what the data lack; {} if it is not there.
    """

    results: Results
    definition: Mapping[str, Any]
    journal: Sequence[Mapping[str, Any]]
    statuses: Mapping[str, str]
    points: tuple[Point, ...]
    estimates: tuple[Estimate, ...]
    rung_index: int | None
    rung: int
    here: tuple[Point, ...]
    majority: Mapping[str, float]
    unsealings: Sequence[Mapping[str, Any]]
    data: Mapping[str, Any]


def collect_evidence(directory: Path | str, sampling: Sampling | None = None) -> Evidence:
    """Read a sweep's folder, finished or not, and estimate what it allows.

    Raises:
        InputError: the folder is no sweep's, or a file in it cannot be read.
    """
    sampling = sampling or Sampling()
    results = load_results(directory)
    journal = read_journal(results.directory / "journal")
    statuses = _statuses(results, journal)
    results = _of_now(results, statuses)
    points = collect_points(results, journal)
    usable = [index for index in {point.rung_index for point in points} if estimable(points, index)]
    # The deepest rung with two cells, for the question is about differences; else the deepest with anything.
    compared = [index for index in usable if len({point.cell for point in estimable(points, index)}) > 1]
    rung_index = max(compared or usable, default=None)
    here = estimable(points, rung_index) if rung_index is not None else []
    points_used = [point for point in points if rung_index is not None and point.rung_index <= rung_index]
    return Evidence(
        results=results,
        definition=read_definition(results.directory),
        journal=journal,
        statuses=statuses,
        points=points,
        estimates=all_estimates(points_used, sampling, item_variances(results, points_used)),
        rung_index=rung_index,
        rung=here[0].rung if here else 0,
        here=tuple(here),
        majority=results.majority(),
        unsealings=read_lines(results.directory / UNSEALED_FILE),
        data=_data(results.directory / SHORTFALLS_FILE),
    )


def _data(path: Path) -> Mapping[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def target_names(points: Sequence[Point]) -> list[str]:
    """The target tasks, in the order of their names."""
    names = {name for point in points for name in point.scores}
    return sorted(name for name in names if name not in (FI_ACCURACY, WITHOUT_TATOEBA) and "@" not in name)


def _statuses(results: Results, journal: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Status of every trial. The journal is written first, so what it says last of a trial beats the table."""
    found = {row["trial_id"]: row["status"] or "created" for row in results.trials.to_pylist()}
    trials = {entry["trial_id"] for entry in journal if "trial_id" in entry}
    found |= {name: s.status for name, s in standings(journal).trials.items() if name in trials}
    return {name: status for name, status in found.items() if status != "dropped"}


def _of_now(results: Results, statuses: Mapping[str, str]) -> Results:
    """The tables without the trials that were dropped since they were written."""
    members = pa.array(list(statuses), pa.string())
    trials, scores = (t.filter(pc.is_in(t["trial_id"], members)) for t in (results.trials, results.scores))
    return dataclasses.replace(results, trials=trials, scores=scores)


def num_planned(definition: Mapping[str, Any]) -> int | None:
    """Trials of the definition: seeds times different subsets; None if it does not say."""
    subsets = [*(definition.get("measure") or ()), *(definition.get("explore") or ())]
    seeds = definition.get("seeds")
    if not seeds or not subsets or not all(isinstance(subset, Mapping) for subset in subsets):
        return None
    return len(seeds) * len({subset_key(definition, subset) for subset in subsets})


def subset_key(definition: Mapping[str, Any], subset: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a subset of the definition a trial of its own, whatever it is listed under: tasks and sizes."""
    intermediate = definition.get("intermediate")
    size = intermediate.get("examples_per_task") if isinstance(intermediate, Mapping) else None
    caps = tuple(sorted(map(tuple, subset.get("caps") or ())))
    return tuple(sorted(subset.get("tasks", ()))), caps, subset.get("examples_per_task") or size


def num_rungs(definition: Mapping[str, Any]) -> int:
    """Rungs of the definition; 0 if it does not say."""
    intermediate = definition.get("intermediate")
    rungs = intermediate.get("rungs") if isinstance(intermediate, Mapping) else None
    return len(rungs) if isinstance(rungs, list) else 0
