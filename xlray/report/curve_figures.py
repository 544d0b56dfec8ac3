"""Figures of scaling curves: scores over the number of tasks and over the number of examples, fits with bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xlray.analysis import WITHOUT_TATOEBA, Curve
from xlray.report.curve_tables import missing_of
from xlray.report.drawing import COLOURS, GREY, WIDTH, Drawing, draw, log_examples, spell
from xlray.report.score_figures import few
from xlray.report.tables import number
from xlray.storage.cells import cell_in_words, source_in_words

MARKERS = "osD^v"
MOST_CELLS = 3  # cells with a curve of their own in a panel


def task_curves(curves: Sequence[Curve]) -> Drawing:
    """The best curve over the number of tasks, a panel for each outcome."""
    name, title = "task_curves", "Scaling curves over the number of tasks"
    drawn = [curve for curve in curves if curve.fits]
    if not drawn:
        return Drawing(name, title, "", "", missing=missing_of(curves))
    caption = (
        "Points are means with intervals, lines the shape with the smallest error on a size left out (named in the table), "
        "bands its pointwise intervals. Dotted and pale: past the largest size, extrapolation."
    )
    return _panels(name, title, caption, drawn, "Intermediate tasks (number)", logarithmic=False)


def example_curves(curves: Sequence[Curve]) -> Drawing:
    """The best curve over the examples, a panel for each outcome, for the largest cells."""
    name, title = "example_curves", "Scaling curves over the number of examples"
    fitted = [curve for curve in curves if curve.fits]
    if not fitted:
        return Drawing(name, title, "", "", missing=missing_of(curves) if curves else "trials at five rungs")
    cells = sorted({curve.source for curve in fitted}, key=lambda cell: (-_size(cell), cell))[:MOST_CELLS]
    caption = (
        f"Mean of a cell at every rung, whose targets train on equally many examples; the {len(cells)} largest cells. Lines "
        "and bands as over the number of tasks; the table has the other cells."
    )
    drawn = [curve for curve in fitted if curve.source in cells]
    return _panels(name, title, caption, drawn, "Intermediate examples (log scale)", logarithmic=True)


def _size(cell: str) -> int:
    return int(cell.split("-", 1)[0])


def _panels(name: str, title: str, caption: str, curves: Sequence[Curve], label: str, logarithmic: bool) -> Drawing:
    by_outcome: dict[str, list[Curve]] = {}
    for curve in curves:
        by_outcome.setdefault(curve.outcome, []).append(curve)
    sources = sorted({curve.source for curve in curves})
    looks = {s: (COLOURS[n % len(COLOURS)], MARKERS[n % len(MARKERS)]) for n, s in enumerate(sources)}
    columns = min(2, len(by_outcome))
    lines = -(-len(by_outcome) // columns)

    def paint(figure: Figure) -> None:
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes, (outcome, found) in zip(panels, by_outcome.items(), strict=False):
            for curve in found:
                _draw_curve(axes, curve, looks[curve.source])
            axes.set(title="without Tatoeba" if outcome == WITHOUT_TATOEBA else outcome)
            axes.yaxis.set_major_locator(MaxNLocator(5))
            sizes = few(
                sorted({int(size) for curve in found for size in curve.sizes}), 4 if logarithmic else 7, logarithmic
            )
            if logarithmic:
                log_examples(axes, sizes)
                axes.tick_params(axis="x", labelsize=7)
            else:
                axes.set_xticks(sizes)
        for axes in panels[len(by_outcome) :]:
            axes.remove()
        for axes in panels[max(0, len(by_outcome) - columns) : len(by_outcome)]:
            axes.set_xlabel(label)
        handles, labels = panels[0].get_legend_handles_labels()
        (beyond,) = panels[0].plot([], [], ":", color=GREY)
        figure.legend([*handles, beyond], [*labels, "extrapolation"], loc="outside lower center", ncols=3, fontsize=8)
        figure.supylabel("Headline metric on dev (%)", fontsize=9)

    svg, pdf = draw(paint, WIDTH, 1.75 * lines + 0.6)
    said = "; ".join(_spoken(curve) for curve in curves)
    return Drawing(name, title, caption, f"{title}. {said}.", svg, pdf)


def _draw_curve(axes: Any, curve: Curve, look: tuple[str, str]) -> None:
    colour, marker = look
    x, y, low, high = (np.array(values) for values in (curve.x, curve.y, curve.low, curve.high))
    beyond = np.array(curve.extrapolated)
    inside = ~beyond
    last = np.flatnonzero(inside)[-1:]  # the two parts meet at the largest size
    outside = np.concatenate([last, np.flatnonzero(beyond)])
    axes.plot(x[inside], y[inside], color=colour, zorder=3)
    axes.plot(x[outside], y[outside], ":", color=colour, zorder=3)
    axes.fill_between(x[inside], low[inside], high[inside], color=colour, alpha=0.16, linewidth=0)
    axes.fill_between(x[outside], low[outside], high[outside], color=colour, alpha=0.06, linewidth=0)
    values = [mean.value for mean in curve.means]
    axes.plot(curve.sizes, values, marker, color=colour, markersize=4, zorder=4, label=_pool_or_cell(curve))
    ends = [(s, m.low, m.high) for s, m in zip(curve.sizes, curve.means, strict=True) if m.low is not None]
    if ends:
        axes.vlines(*zip(*ends, strict=True), color=colour, linewidth=1.2, alpha=0.7, zorder=2)


def _pool_or_cell(curve: Curve) -> str:
    return source_in_words(curve.source) if curve.axis == "num_tasks" else cell_in_words(curve.source, "no task")


def _spoken(curve: Curve) -> str:
    means: Mapping[float, str] = {s: spell(m) for s, m in zip(curve.sizes, curve.means, strict=True)}
    points = ", ".join(f"{number(size, digits=0)}: {text}" for size, text in means.items())
    return f"{curve.outcome}, {_pool_or_cell(curve)}: {curve.fits[0].model} {curve.fits[0].formula}; means {points}"
