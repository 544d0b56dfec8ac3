"""The same sweep run with its overlapping examples kept, or left out: differences with and without them side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlray.analysis import (
    FI_ACCURACY,
    Estimate,
    Sampling,
    cell_differences,
    collect_points,
    estimable,
    item_variances,
)
from xlray.errors import InputError
from xlray.evidence import Evidence
from xlray.journal import read_journal
from xlray.results import load_results
from xlray.sweep_folder import read_definition

FIELD = "drop_overlap"
ANY = ("name", "question", "execution", "own_tasks", "sources", FIELD)  # fields in which siblings may differ


def find_sibling(directory: Path, definition: Mapping[str, Any]) -> Path | None:
    """The folder of a sweep beside this one that differs from it in `drop_overlap` alone; None if there is none.

    A definition that cannot be read is another sweep's trouble, and no sibling.
    """
    if not definition:
        return None
    for folder in sorted(directory.resolve().parent.iterdir()):
        if folder == directory.resolve() or not (folder / "sweep.json").exists():
            continue
        try:
            other = read_definition(folder)
        except InputError:
            continue
        if _kept(other) != _kept(definition) and _rest(other) == _rest(definition):
            return folder
    return None


def with_other_overlap(evidence: Evidence, sampling: Sampling) -> tuple[Estimate, ...]:
    """Differences of the sibling at the rung of the answer, named `robustness/<with or without>_overlap/<pair>`."""
    folder = find_sibling(evidence.results.directory, evidence.definition)
    if folder is None or not (folder / "results" / "scores.parquet").exists():
        return ()
    results = load_results(folder)
    points = collect_points(results, read_journal(folder / "journal"))
    index = next((point.rung_index for point in points if point.rung == evidence.rung), None)
    here = [] if index is None else estimable(points, index)
    if not here:
        return ()
    items = item_variances(results, here).get(here[0].rung_index)
    variant = "with_overlap" if _kept(read_definition(folder)) else "without_overlap"
    found = cell_differences(here, FI_ACCURACY, sampling, items)
    return tuple(dataclasses.replace(e, name=f"robustness/{variant}/{e.name.split('/', 2)[2]}") for e in found)


def _kept(definition: Mapping[str, Any]) -> bool:
    return not definition.get(FIELD, True)


def _rest(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key not in ANY}
