"""Tables of sizes: the two by two, every difference between cells, and the curves."""

from __future__ import annotations

from collections.abc import Sequence

from xlray.analysis import WITHOUT_TATOEBA, Curve, Estimate, Point, cell_pairs, find_two_by_two, headline_of
from xlray.report.evidence import dev_of, target_names
from xlray.report.score_tables import as_p_value, with_interval
from xlray.report.tables import Cell, CellName, Effect, Precise, Signed, Table
from xlray.report.warnings import count

AXES = {"num_tasks": "tasks", "num_examples": "examples"}


COMPARED: tuple[tuple[str, str], ...] = (
    ("difference", "Difference (points)"),
    ("interval", "Interval"),
    ("p_value", "p"),
    ("p_holm", "p (Holm)"),
    ("standardised", "In SD of a trial"),
    ("num_seeds", "Seeds"),
    ("num_subsets", "Subsets"),
    ("num_trials", "Trials"),
)


def two_by_two(here: Sequence[Point], estimates: Sequence[Estimate]) -> Table:
    """Both main effects and the interaction at the rung of the answer."""
    rung, design = (here[0].rung if here else 0), find_two_by_two(here)
    known = {e.name: e for e in estimates if e.rung == rung}
    rows: list[tuple[Cell, ...]] = []
    for outcome in [headline_of(here), WITHOUT_TATOEBA, *target_names(here)] if design else []:
        for name in design.contrasts() if design else ():
            e = known.get(f"factor/{outcome}/{name}")
            rows += [(outcome, Effect(name), *_compared(e))] if e is not None else []
    columns = (("outcome", f"Score on {dev_of(here)}"), ("effect", "Effect"), *COMPARED)
    note = (
        f"After {rung:,} intermediate examples, over the seeds that all four cells have. Main effects are means over the other "
        "factor; the interaction is what more tasks gain from one source, less what they gain from the other. Holm's p-values "
        f"hold at once for the three effects on {headline_of(here)}, and for those on all targets. Planned."
    )
    missing = "" if rows else "two numbers of tasks, each from the same two sources, with a common seed"
    return Table("two_by_two", "Number of tasks by source", note, columns, tuple(rows), missing)


def _compared(e: Estimate) -> tuple[Cell, ...]:
    """The cells of `COMPARED`."""
    standardised = None if e.standardised is None else Signed(e.standardised, 2)
    tests = (as_p_value(e.p_value), as_p_value(e.p_holm), standardised)
    return (*with_interval(e, True, 2), *tests, e.num_seeds, e.num_subsets, e.num_trials)


def differences(here: Sequence[Point], estimates: Sequence[Estimate]) -> Table:
    """Every pair of cells at the rung of the answer."""
    rung = here[0].rung if here else 0
    known = {e.name: e for e in estimates if e.rung == rung}
    rows: list[tuple[Cell, ...]] = []
    for outcome in [headline_of(here), WITHOUT_TATOEBA, *target_names(here)] if here else []:
        for more, fewer in reversed(cell_pairs(here)):
            e = known.get(f"difference/{outcome}/{more} - {fewer}")
            if e is not None:
                rows.append((outcome, CellName(more), CellName(fewer), *_compared(e)))
    columns = (
        ("outcome", f"Score on {dev_of(here)}"),
        ("more", "Cell"),
        ("fewer", "Instead of"),
        *COMPARED,
    )
    made = [e for name, e in known.items() if name.startswith("difference/") and e.p_holm is not None]
    headline = headline_of(here)
    mean, targets = (sum(e.name.startswith(f"difference/{headline}/") == m for e in made) for m in (True, False))
    note = f"After {rung:,} intermediate examples, over the seeds that both cells have."
    if mean:
        note += " Intervals and p are of one comparison by itself. Holm's p-values hold at once for the "
        note += f"{count(mean, 'comparison')} of {headline}{f', and for the {targets:,} of the targets' if targets else ''}."
    note += " They are exploratory: planned was the two by two." if find_two_by_two(here) else ""
    missing = "" if rows else "two cells at one rung with a common seed"
    return Table("differences", "Differences between cells", note, columns, tuple(rows), missing)


def fits(curves: Sequence[Curve]) -> Table:
    """Every shape that was fitted to every curve, best first, and where the knee would be."""
    rows: list[tuple[Cell, ...]] = []
    for curve in curves:
        for place, fit in enumerate(curve.fits):
            knee = with_interval(curve.knee) if fit.model == "knee" else (None, None)
            best = "best" if place == 0 else ""
            what = (curve.outcome, AXES[curve.axis], CellName(curve.source), len(curve.sizes))
            rows.append((*what, fit.model, fit.formula, Precise(fit.held_out_error), best, *knee))
    columns = (
        ("outcome", "Score on dev"),
        ("axis", "Over"),
        ("source", "Pool or cell"),
        ("num_sizes", "Sizes"),
        ("model", "Shape"),
        ("what", "Formula (percent)"),
        ("held_out_error", "Error on a size left out (points)"),
        ("best", "Drawn"),
        ("knee", "Knee at"),
        ("knee_interval", "Interval"),
    )
    note = (
        "Each shape is fitted to the means of all sizes but one and judged by its error on that one; the one with the "
        "smallest error is drawn. Nothing but the interval of a difference says that a size is better than another."
    )
    missing = "" if rows else missing_of(curves)
    return Table("curves", "Shapes of the curves", note, columns, tuple(rows), missing)


def missing_of(curves: Sequence[Curve]) -> str:
    """What the curves lack, said once for all that lack the same."""
    said = dict.fromkeys(curve.missing for curve in curves if curve.missing)
    return "; or ".join(said) or "trials with at least five different numbers of tasks at one rung"
