"""What the cells differ in beside number and source of tasks: evenness, passes over the data, tokens, translations."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from xlray.analysis import Point, compared_cells, without_controls
from xlray.report.evidence import Evidence
from xlray.report.tables import number
from xlray.storage.cells import cell_in_words
from xlray.tasks.pools import shared_origins

ALIKE = 1.25  # cells whose largest and smallest value have a smaller ratio are not mentioned
TENS = 10  # from here on one digit behind the point is enough
MEASURED = ("effective number of tasks per task", "passes over the data", "million tokens", "% of examples translated")


@dataclass(frozen=True)
class CellExposure:
    """Means over the trials of a cell at a rung, weighted as its scores are; None where a trial's is not known.

    Attributes:
        effective_tasks: exp of the entropy of the mixture.
        passes: examples of the rung over different examples of the tasks.
        tokens: of the intermediate training behind the rung, cooldown included, in millions.
        translated: percent of the mixture.
    """

    effective_tasks: float | None
    passes: float | None
    tokens: float | None
    translated: float | None


def cell_exposure(trials: Mapping[str, Mapping[str, Any]], points: Sequence[Point]) -> CellExposure:
    """What the trials of these points were trained on.

    Args:
        trials: rows of the table of trials, by id.
        points: of one cell at one rung.
    """
    rows = [(point, trials.get(point.trial_id, {})) for point in points]
    tokens = [(row.get("rung_tokens") or [])[point.rung_index :][:1] for point, row in rows]
    weights = [1.0 if point.weight is None else point.weight for point in points]
    return CellExposure(
        effective_tasks=_mean([row.get("effective_tasks") for _, row in rows], weights),
        passes=_mean([point.rung / n if (n := row.get("num_distinct")) else None for point, row in rows], weights),
        tokens=_mean([found[0] / 1e6 if found and found[0] is not None else None for found in tokens], weights),
        translated=_mean([None if (s := row.get("translated")) is None else 100 * s for _, row in rows], weights),
    )


def _mean(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known, weights) if known and len(known) == len(values) else None


def exposure_cautions(evidence: Evidence) -> list[str]:
    """What differs between compared cells beside what they are named for, and subsets in which tasks share examples."""
    trials = {row["trial_id"]: row for row in evidence.results.trials.to_pylist()}
    here = [point for point in without_controls(evidence.tuned_here) if point.num_tasks]
    found: dict[str, CellExposure] = {}
    for cell, size in {point.cell: point.num_tasks for point in here}.items():
        exposure = cell_exposure(trials, [point for point in here if point.cell == cell])
        tasks = exposure.effective_tasks
        found[cell] = replace(exposure, effective_tasks=None if tasks is None else tasks / size)
    pairs = compared_cells({point.cell: (point.num_tasks, point.source) for point in here})
    rows = {cell: astuple(exposure) for cell, exposure in found.items()}
    parts = [_furthest(name, {c: row[i] for c, row in rows.items()}, pairs) for i, name in enumerate(MEASURED)]
    subsets = {(point.cell, point.tasks) for point in here}
    shared = {(cell, tasks): pairs for cell, tasks in sorted(subsets) if (pairs := shared_origins(tasks))}
    cautions = []
    if any(parts):
        cautions.append(
            "Cells differ in more than number and source of tasks, and a difference between them may be due to that: "
            f"{'; '.join(filter(None, parts))}."
        )
    if shared:
        (cell, _), origins = next(iter(shared.items()))
        cautions.append(
            f"In {len(shared):,} of {len(subsets):,} subsets tasks are made of the same examples, such as "
            f"{' and '.join(origins[0])} among {cell_in_words(cell)}: they are fewer tasks than are counted."
        )
    return cautions


def _furthest(name: str, values: Mapping[str, float | None], pairs: Sequence[tuple[str, str]]) -> str:
    """A quantity in the compared cells that differ most in it; "" where all are alike or not known."""
    widest, said = ALIKE, ""
    for pair in pairs:
        known = sorted((value, cell) for cell in pair if (value := values[cell]) is not None)
        if len(known) < 2:
            continue
        (low, first), (high, second) = known
        ratio = math.inf if low == 0 < high else high / low if low else 1.0
        if ratio > widest:
            digits = 1 if high >= TENS else 2
            widest, said = (
                ratio,
                f"{name} {number(low, digits=digits)} ({cell_in_words(first)}) "
                f"to {number(high, digits=digits)} ({cell_in_words(second)})",
            )
    return said
