"""The report's figures: one consistent style, safe for colour-blind eyes, the same bytes for the same data."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from xlray.analysis import ENGLISH, FI_ACCURACY, Contributions, Estimate, Point, estimable
from xlray.summaries import target_names
from xlray.tables import number

# Okabe and Ito (2008), without yellow (too pale for lines on white).
BLACK, BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE = (
    "#000000",
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
)
COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
GREY = "#767676"
MAX_VECTOR_LINES = 300
STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "xlray",  # ids must not depend on the run
    "pdf.fonttype": 42,
}


@dataclass(frozen=True)
class Drawing:
    """A figure ready to be written.

    Attributes:
        alt: what the figure shows, in words and numbers.
        missing: what the data lack for it; then `svg` and `pdf` are empty.
    """

    name: str
    title: str
    caption: str
    alt: str
    svg: bytes = b""
    pdf: bytes = b""
    missing: str = ""


def _draw(paint: Callable[[Figure], None], width: float, height: float) -> tuple[bytes, bytes]:
    out = []
    for canvas, kind in ((FigureCanvasSVG, "svg"), (FigureCanvasPdf, "pdf")):
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(width, height), layout="constrained")
            paint(figure)
            buffer = io.BytesIO()
            dates: Mapping[str, Any] = {"Date": None} if kind == "svg" else {"CreationDate": None}
            canvas(figure).print_figure(buffer, format=kind, metadata=dates, dpi=150)
            out.append(buffer.getvalue())
    return out[0], out[1]


def _means(estimates: Sequence[Estimate], outcome: str, rung: int) -> dict[str, Estimate]:
    start = f"mean/{outcome}/"
    return {e.name.removeprefix(start): e for e in estimates if e.rung == rung and e.name.startswith(start)}


def _error_bars(
    axes: Any, x: Sequence[float], found: Sequence[Estimate], colour: str, label: str, **style: Any
) -> None:
    """Means joined by a line, with bars for those that have an interval."""
    axes.plot(x, [e.value for e in found], color=colour, label=label, marker="o", zorder=4, **style)
    for place, estimate in zip(x, found, strict=True):
        if estimate.low is not None and estimate.high is not None:
            axes.vlines(place, estimate.low, estimate.high, color=colour, linewidth=2, alpha=0.8, zorder=3)


def _sources(points: Sequence[Point]) -> dict[str, str]:
    """Pool of tasks to colour; the control belongs to every pool."""
    names = sorted({point.source for point in points if point.num_tasks})
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)} or {"": BLUE}


def _line_of(points: Sequence[Point], source: str) -> dict[int, str]:
    """Number of tasks to cell, for one pool and the control."""
    return {
        p.num_tasks: p.cell for p in sorted(points, key=lambda p: p.num_tasks) if p.source == source or not p.num_tasks
    }


def accuracy_by_num_tasks(points: Sequence[Point], estimates: Sequence[Estimate], rung_index: int | None) -> Drawing:
    """Every trial as a point and the mean of each cell with its interval."""
    name, title = "by_num_tasks", "Finnish accuracy by number of intermediate tasks"
    here = estimable(points, rung_index) if rung_index is not None else []
    if rung_index is None or len({p.num_tasks for p in here}) < 2:
        missing = "trials with at least two different numbers of tasks that have finished the same rung"
        return Drawing(name, title, "", "", missing=missing)
    others = [p for p in points if p.rung_index == rung_index and p not in here]
    means = _means(estimates, FI_ACCURACY, here[0].rung)
    seeds = sorted({p.seed for p in points})
    sources = _sources(here + others)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        step = 0.012 * max(p.num_tasks for p in here)
        for group, filled in ((here, True), (others, False)):
            for point in group:
                colour = sources.get(point.source, BLACK) if point.num_tasks else BLACK
                x = point.num_tasks + (seeds.index(point.seed) + 1) * step
                axes.plot(
                    x,
                    point.scores[FI_ACCURACY],
                    "o",
                    markersize=4,
                    color=colour,
                    alpha=0.75,
                    markerfacecolor=colour if filled else "white",
                    zorder=2,
                )
        for source, colour in sources.items():
            cells = {size: cell for size, cell in _line_of(here, source).items() if cell in means}
            label = "mean and interval" if len(sources) == 1 else f"{source}: mean and interval"
            _error_bars(axes, list(cells), [means[cell] for cell in cells.values()], colour, label, markersize=6)
        axes.plot([], [], "o", markersize=4, color=GREY, label="one trial")
        if others:
            axes.plot(
                [], [], "o", markersize=4, color=GREY, markerfacecolor="white", label="explore trial, not in the mean"
            )
        axes.set(
            xlabel="Intermediate tasks", ylabel="fi_accuracy on dev (%)", xticks=sorted({p.num_tasks for p in here})
        )
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)

    svg, pdf = _draw(paint, 5.0, 3.6)
    values = "; ".join(f"cell {cell}: {_spell(mean)}" for cell, mean in means.items())
    caption = (
        f"Mean of the targets' headline metrics on Finnish dev after {here[0].rung:,} intermediate examples. "
        "Points are trials (shifted by seed), bars percentile bootstrap intervals over subsets and seeds."
    )
    alt = f"Finnish dev accuracy against number of intermediate tasks after {here[0].rung:,} examples. {values}."
    return Drawing(name, title, caption, alt, svg, pdf)


def _spell(estimate: Estimate, signed: bool = False) -> str:
    interval = ""
    if estimate.low is not None and estimate.high is not None:
        interval = f", interval {number(estimate.low, signed)} to {number(estimate.high, signed)}"
    return number(estimate.value, signed) + interval


def targets_by_num_tasks(
    points: Sequence[Point], estimates: Sequence[Estimate], majority: Mapping[str, float], rung_index: int | None
) -> Drawing:
    """One panel per target: Finnish dev, English dev, majority answer."""
    name, title = "by_target", "Each target by number of intermediate tasks"
    here = estimable(points, rung_index) if rung_index is not None else []
    if len({p.num_tasks for p in here}) < 2:
        missing = "trials with at least two different numbers of tasks that have finished the same rung"
        return Drawing(name, title, "", "", missing=missing)
    targets = target_names(here)
    sources = _sources(here)
    columns = min(2, len(targets))
    lines = -(-len(targets) // columns)

    def paint(figure: Figure) -> None:
        panels = list(figure.subplots(lines, columns, squeeze=False, sharex=True).flat)
        for axes, task in zip(panels, targets, strict=False):
            for source, colour in sources.items():
                suffix = f", {source}" if len(sources) > 1 else ""
                for outcome, language, style in (
                    (task, "Finnish", {}),
                    (f"{task}{ENGLISH}", "English", {"alpha": 0.55}),
                ):
                    means = _means(estimates, outcome, here[0].rung)
                    cells = {size: cell for size, cell in _line_of(here, source).items() if cell in means}
                    shade = colour if language == "Finnish" else GREY
                    extra = {} if language == "Finnish" else {"linestyle": ":", **style}
                    if cells:
                        found = [means[cell] for cell in cells.values()]
                        _error_bars(axes, list(cells), found, shade, f"{language} dev{suffix}", markersize=4, **extra)
            if task in majority:
                axes.axhline(majority[task], color=BLACK, linestyle="--", linewidth=1, label="majority answer")
            axes.set(title=task, xticks=sorted({p.num_tasks for p in here}))
        for axes in panels[len(targets) :]:
            axes.remove()
        handles = dict(
            pair[::-1] for axes in figure.axes for pair in zip(*axes.get_legend_handles_labels(), strict=True)
        )
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8)
        for axes in panels[len(targets) - columns : len(targets)]:
            axes.set_xlabel("Intermediate tasks")
        figure.supylabel("Headline metric (%)", fontsize=9)

    svg, pdf = _draw(paint, 5.0, 1.9 * lines + 0.6)
    values = []
    for task in targets:
        found = _means(estimates, task, here[0].rung)
        values.append(f"{task}: " + ", ".join(f"{number(mean.value)} in cell {cell}" for cell, mean in found.items()))
    caption = (
        f"Headline metric of each target after {here[0].rung:,} intermediate examples, with intervals. "
        "Training is in English; the gap between the lines is what is lost on the way to Finnish."
    )
    return Drawing(name, title, caption, "Finnish dev score by number of tasks. " + "; ".join(values) + ".", svg, pdf)


def learning_curves(points: Sequence[Point], statuses: Mapping[str, str]) -> Drawing:
    """Finnish accuracy of each trial over the rungs; stopped trials end in a cross."""
    name, title = "learning_curves", "Finnish accuracy over the rungs"
    rungs = sorted({p.rung for p in points})
    if len(rungs) < 2:
        return Drawing(name, title, "", "", missing="trials that have finished at least two rungs")
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.trial_id, []).append(point)
    cells = list(dict.fromkeys(p.cell for p in sorted(points, key=lambda p: (p.num_tasks, p.cell))))
    plain = [cell for cell in cells if cell != "0"]
    shades = mpl.colormaps["cividis"].resampled(max(len(plain), 2))
    palette = COLOURS if len(plain) <= len(COLOURS) else [shades(n) for n in range(len(plain))]
    colours = {"0": BLACK, **dict(zip(plain, palette, strict=False))}
    many = len(curves) > MAX_VECTOR_LINES

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for trial, curve in curves.items():
            x, y = [p.rung for p in curve], [p.scores[FI_ACCURACY] for p in curve]
            line = "-" if curve[0].role == "measure" else "--"
            look: dict[str, Any] = {"color": colours[curve[0].cell], "rasterized": many}
            axes.plot(x, y, line, linewidth=1.2, alpha=0.8, marker="o", markersize=3, **look)
            if statuses.get(trial) in ("stopped", "failed"):
                end = "x" if statuses[trial] == "stopped" else "s"
                axes.plot(x[-1], y[-1], end, markersize=8, markeredgewidth=1.8, **look)
        axes.set_xscale("log")
        axes.set(xticks=rungs, xlabel="Intermediate examples seen (log scale)", ylabel="fi_accuracy on dev (%)")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        for cell in cells:
            axes.plot([], [], "-", color=colours[cell], label=f"cell {cell}")
        axes.plot([], [], "--", color=GREY, label="explore")
        axes.plot([], [], "x", color=GREY, markersize=8, markeredgewidth=1.8, label="stopped")
        if "failed" in statuses.values():
            axes.plot([], [], "s", color=GREY, label="failed")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=8)

    svg, pdf = _draw(paint, 5.0, 3.8 + 0.16 * (len(cells) // 3))
    stopped = sum(statuses.get(trial) == "stopped" for trial in curves)
    caption = (
        "One line per trial: solid for measure, dashed for explore trials; a cross marks where one was stopped. "
        "Early rungs may train the targets on fewer examples, so compare within a rung."
    )
    alt = f"Finnish dev accuracy of {len(curves)} trials at {len(rungs)} rungs, {stopped} of them stopped early."
    for rung in rungs:
        values = [p.scores[FI_ACCURACY] for p in points if p.rung == rung]
        alt += f" At {rung:,} examples {len(values)} trials from {number(min(values))} to {number(max(values))}."
    return Drawing(name, title, caption, alt, svg, pdf)


def contribution_forest(found: Contributions, rung: int) -> Drawing:
    """Forest plot of the tasks' contributions."""
    name, title = "contributions", "Contribution of each intermediate task"
    if not found.estimates:
        return Drawing(name, title, "", "", missing=found.missing or "estimates")
    order = sorted(found.estimates, key=lambda e: e.value)
    labels = [e.name.rsplit("/", 1)[1] for e in order]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, estimate in enumerate(order):
            clear = estimate.low is not None and estimate.high is not None and estimate.low * estimate.high > 0
            colour = (BLUE if estimate.value > 0 else VERMILION) if clear else GREY
            if estimate.low is not None and estimate.high is not None:
                axes.hlines(place, estimate.low, estimate.high, color=colour, linewidth=2)
            axes.plot(estimate.value, place, "o" if clear else "D", color=colour, markersize=6 if clear else 4.5)
        axes.set_yticks(range(len(order)), labels)
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, signed=value != 0)))
        axes.set(xlabel="Effect on fi_accuracy (points)", ylim=(-0.6, len(order) - 0.4))

    svg, pdf = _draw(paint, 5.0, 0.9 + 0.24 * len(order))
    caption = (
        f"Ridge coefficients after {rung:,} examples with bootstrap intervals over subsets and seeds. "
        "Round and coloured: the interval leaves out 0 (no correction for the number of tasks)."
    )
    values = "; ".join(f"{label} {_spell(e, signed=True)}" for label, e in zip(labels[::-1], order[::-1], strict=True))
    alt = f"Effect of each task on Finnish dev accuracy in points: {values}."
    return Drawing(name, title, caption, alt, svg, pdf)
