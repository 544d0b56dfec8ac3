"""Which values of a sweep's axes are best in each cell, and how much the others lose."""

from __future__ import annotations

from collections.abc import Sequence

from xlray.analysis import Choice
from xlray.report.tables import Cell, CellName, Precise, Signed, Table


def values(choices: Sequence[Choice], headline: str) -> Table:
    """Every population at every point of the grid, the deepest rung first, the best values first.

    Args:
        headline: the outcome that is the mean of the targets.
    """
    rows: list[tuple[Cell, ...]] = []
    for choice in sorted(choices, key=lambda choice: -choice.rung_index):
        best = choice.means[choice.best]
        rows += [
            (
                choice.rung,
                CellName(choice.population),
                setting,
                Precise(mean),
                Signed(mean - best, 2),
                Precise(choice.accuracy[setting]) if setting in choice.accuracy else None,
                choice.counts[setting],
            )
            for setting, mean in choice.means.items()
        ]
    columns = (
        ("rung", "Rung (examples)"),
        ("cell", "Cell"),
        ("values", "Values"),
        ("signal", "Chosen by (%)"),
        ("loss", "Below the best (points)"),
        (headline, f"{headline} (%)"),
        ("num_seeds", "Seeds scored here"),
    )
    note = (
        "Means over subsets and seeds of the signal that values are chosen by. Where many lose little, the optimum is flat. "
        "A seed is scored at the values that are best by the other seeds, so that what was chosen is not what is scored."
    )
    return Table(
        "values", "Values of the axes", note, columns, tuple(rows), "" if rows else "axes: the sweep varies nothing"
    )
