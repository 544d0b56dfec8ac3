"""Figures of how far conclusions depend on what they were made with: orders of trials, variants of the differences."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xlray.analysis import Estimate, Point, headline_of
from xlray.analysis.selection import ENGLISH_DEV, MIN_TRIALS, PIVOT_DEV, selection_scores
from xlray.report.drawing import BLACK, COLOURS, WIDTH, Drawing, draw, forest, spell
from xlray.report.reliability_tables import VARIANTS
from xlray.report.score_figures import MAX_VECTOR_LINES, colours_of_sizes
from xlray.report.score_tables import find_estimate
from xlray.report.tables import number
from xlray.storage.cells import cell_in_words

LABELS = {ENGLISH_DEV: "English dev, mean (%)", PIVOT_DEV: "Pivot dev, mean (%)"}


def orders(points: Sequence[Point], here: Sequence[Point], estimates: Sequence[Estimate]) -> Drawing:
    """Accuracy at the rung of the answer against earlier rungs and against other signals, a point per trial."""
    name, title = "orders", "Rank correlations of the trials"
    found: list[tuple[str, list[tuple[Point, float]], Estimate | None]] = []
    rung = here[0].rung if here else 0
    late = {p.trial_id: p for p in here}
    for early in sorted({p.rung for p in points if p.rung < rung}):
        before = [(late[p.trial_id], p.accuracy) for p in points if p.rung == early and p.trial_id in late]
        e = find_estimate(estimates, f"rank_correlation/{headline_of(here)}/{early} - {rung}", rung)
        found.append((f"After {early:,} examples (%)", before, e))
    for signal, label in LABELS.items():
        beside = [(p, score) for p in here if (score := selection_scores(p).get(signal)) is not None]
        found.append((label, beside, find_estimate(estimates, f"rank_correlation/{signal}/{headline_of(here)}", rung)))
    found = [panel for panel in found if len(panel[1]) >= MIN_TRIALS]
    if not found:
        missing = "at least four trials at two rungs, or dev scores in other languages"
        return Drawing(name, title, "", "", missing=missing)
    columns = min(2, len(found))
    lines = -(-len(found) // columns)
    colours = colours_of_sizes(here)

    def paint(figure: Figure) -> None:
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes, (label, pairs, e) in zip(panels, found, strict=False):
            for size, colour in colours.items():
                inside = [(x, p.accuracy) for p, x in pairs if p.num_tasks == size]
                if inside:
                    rasterized = len(pairs) > MAX_VECTOR_LINES
                    axes.plot(
                        *zip(*inside, strict=True), "o", markersize=3, alpha=0.6, color=colour, rasterized=rasterized
                    )
            axes.set(xlabel=label, title="" if e is None else f"Spearman {number(e.value, digits=2)}")
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.yaxis.set_major_locator(MaxNLocator(5))
        for axes in panels[len(found) :]:
            axes.remove()
        for size, colour in colours.items():
            panels[0].plot([], [], "o", markersize=4, color=colour, label=f"{size} tasks" if size != 1 else "1 task")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
        figure.supylabel(f"{headline_of(here)} on dev after {rung:,} examples (%)", fontsize=9)

    svg, pdf = draw(paint, WIDTH, 1.9 * lines + 0.6)
    caption = (
        "One point per trial that may be estimated from; what was stopped before has no point. Above: rank correlation, "
        "whose interval is in the table."
    )
    said = "; ".join(f"{label.lower()}: {len(pairs)} trials, Spearman {_said(e)}" for label, pairs, e in found)
    return Drawing(name, title, caption, f"{headline_of(here)} after {rung:,} examples against {said}.", svg, pdf)


def _said(estimate: Estimate | None) -> str:
    return "not estimated" if estimate is None else spell(estimate, digits=2)


def robustness(estimates: Sequence[Estimate], pairs: Sequence[tuple[str, str]]) -> Drawing:
    """The main differences with and without what might have made them.

    Args:
        pairs: (cell, instead of) to be shown.
    """
    name, title = "robustness", "The main differences, with and without"
    known = {e.name: e for e in estimates}
    rows: list[tuple[str, list[tuple[str, Estimate]]]] = []
    for more, fewer in pairs:
        variants = [(v, known.get(f"robustness/{v}/{more} - {fewer}")) for v in VARIANTS]
        there = [(variant, e) for variant, e in variants if e is not None]
        if there:
            rows.append((f"{cell_in_words(more)}\nagainst {cell_in_words(fewer)}", there))
    if not rows:
        return Drawing(name, title, "", "", missing="two cells at one rung with a common seed")
    rows.reverse()
    shown = [variant for variant in VARIANTS if any(variant == v for _, there in rows for v, _ in there)]
    shapes = (
        (COLOURS[0], "o"),
        (COLOURS[1], "s"),
        (COLOURS[2], "D"),
        (COLOURS[4], "^"),
        (COLOURS[3], "v"),
        (COLOURS[3], "v"),
    )
    looks = dict(zip(VARIANTS, shapes, strict=True))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, (_, there) in enumerate(rows):
            for variant, e in there:
                shift = min(0.17, 0.7 / len(shown)) * ((len(shown) - 1) / 2 - shown.index(variant))
                forest(axes, place + shift, e, *looks[variant])
        for variant in shown:
            colour, marker = looks[variant]
            axes.plot([], [], marker, color=colour, markersize=4.5, label=VARIANTS[variant].lower())
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set(xlabel="Difference in accuracy (points)", ylim=(-0.6, len(rows) - 0.4))
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)

    svg, pdf = draw(paint, WIDTH, 1.2 + 0.48 * len(rows))
    caption = "The main differences with their intervals, and again without possible confounders."
    said = "; ".join(
        f"{' '.join(label.split())}: " + ", ".join(f"{VARIANTS[v].lower()} {spell(e, True)}" for v, e in there)
        for label, there in rows[::-1]
    )
    return Drawing(name, title, caption, f"Differences in points. {said}.", svg, pdf)
