"""Which values of a sweep's axes are best in each cell, how much the others lose, and which fields matter."""

from __future__ import annotations

from collections.abc import Sequence

from xlray.analysis import Choice, Importance, MainEffect
from xlray.report.tables import Cell, CellName, Interval, Precise, PValue, Signed, Table


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


def main_effects(found: Sequence[MainEffect], missing: Sequence[str]) -> Table:
    """Every value of every axis against the mean over its values."""
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            CellName(effect.population),
            effect.axis,
            effect.value,
            Signed(effect.estimate.value, 2),
            Interval(effect.estimate.low, effect.estimate.high, 2),
            None if effect.estimate.p_value is None else PValue(effect.estimate.p_value),
            effect.estimate.num_seeds,
        )
        for effect in found
    )
    columns = (
        ("cell", "Cell"),
        ("axis", "Axis"),
        ("value", "Value"),
        ("effect", "Against the mean of its values (points)"),
        ("interval", "Interval"),
        ("p_value", "p"),
        ("num_seeds", "Seeds"),
    )
    note = (
        "The mean of the targets at each value of an axis, averaged over the values of the others, less its mean over all "
        "values of the axis. Intervals are over other subsets and seeds; p-values are not corrected for the number of values."
    )
    more = f" Without one: {'; '.join(missing)}." if missing and rows else ""
    return Table("main_effects", "Main effects of axes", note + more, columns, rows, "" if rows else "; ".join(missing))


def importance(found: Importance) -> Table:
    """Every field with its share of what scores differ by."""
    rows: tuple[tuple[Cell, ...], ...] = tuple((name, Precise(100 * share, 1)) for name, share in found.shares.items())
    if rows:
        rest = max(0.0, 1 - sum(found.shares.values()))
        rows = (*rows, ("interactions of fields", Precise(100 * rest, 1)))
    left_out = ", ".join(f"{number} {reason}" for reason, number in found.left_out.items())
    note = (
        "Share of the variance of scores over the whole space that a field explains alone, by Optuna's functional ANOVA (a "
        f"random forest), from {found.num_trials} trials that ran to the last rung"
        f"{f' (left out: {left_out})' if left_out else ''}. Trials count whatever their role, so that this describes a "
        "search and estimates nothing: where few trials ran, or a search tried one corner of the space, another search may "
        "rank the fields otherwise."
    )
    columns = (("field", "Field"), ("share", "Share (%)"))
    return Table("importance", "Importance of fields", note, columns, rows, found.missing)
