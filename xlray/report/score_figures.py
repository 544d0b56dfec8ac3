"""Figures of scores: by number of tasks, by target, over the rungs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xlray.analysis import WITHOUT_TATOEBA, Estimate, Point, estimable, headline_of
from xlray.report.drawing import BLACK, BLUE, COLOURS, GREY, WIDTH, Drawing, draw, log_examples, spell
from xlray.report.evidence import dev_of, target_names
from xlray.report.tables import number
from xlray.storage.cells import cell_in_words, source_in_words

MAX_VECTOR_LINES = 300
DASHES = (0, (3, 1.5))
MARKS = {"stopped": "x", "failed": "s"}
TWO_SIZES = "trials with at least two different numbers of tasks that have finished the same rung"


def _means(estimates: Sequence[Estimate], outcome: str, rung: int) -> dict[str, Estimate]:
    start = f"mean/{outcome}/"
    return {e.name.removeprefix(start): e for e in estimates if e.rung == rung and e.name.startswith(start)}


def _sources(points: Sequence[Point]) -> dict[str, str]:
    """Pool of tasks to colour; the control belongs to every pool."""
    names = sorted({point.source for point in points if point.num_tasks})
    return {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)} or {"": BLUE}


def _line_of(points: Sequence[Point], source: str) -> dict[int, str]:
    """Number of tasks to cell, for one pool and the control."""
    return {
        p.num_tasks: p.cell for p in sorted(points, key=lambda p: p.num_tasks) if p.source == source or not p.num_tasks
    }


def _means_with_band(axes: Any, sizes: Sequence[int], found: Sequence[Estimate], colour: str, label: str) -> None:
    """Means joined by a line; their intervals as bars, and as a band between neighbours that both have one."""
    axes.plot(sizes, [e.value for e in found], color=colour, label=label, marker="o", markersize=5, zorder=4)
    low = np.array([np.nan if e.low is None else e.low for e in found])
    high = np.array([np.nan if e.high is None else e.high for e in found])
    axes.vlines(sizes, low, high, color=colour, linewidth=2, alpha=0.8, zorder=3)
    axes.fill_between(sizes, low, high, color=colour, alpha=0.12, linewidth=0)  # NaN leaves a gap


def accuracy_by_num_tasks(points: Sequence[Point], estimates: Sequence[Estimate], rung_index: int | None) -> Drawing:
    """Every trial as a point and the mean of each cell with its interval."""
    name, title = "by_num_tasks", "Accuracy by number of intermediate tasks"
    here = estimable(points, rung_index) if rung_index is not None else []
    if len({p.num_tasks for p in here}) < 2:
        return Drawing(name, title, "", "", missing=TWO_SIZES)
    used = {p.trial_id for p in here}
    others = [p for p in points if p.rung_index == rung_index and p.trial_id not in used]
    means = _means(estimates, headline_of(here), here[0].rung)
    seeds = {seed: place for place, seed in enumerate(sorted({p.seed for p in points}), start=1)}
    sources = _sources(here + others)
    many = len(here) + len(others) > MAX_VECTOR_LINES

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        step = 0.05 * max(p.num_tasks for p in here) / len(seeds)
        for group, filled in ((here, True), (others, False)):
            for source, colour in [*sources.items(), ("", BLACK)]:
                inside = [p for p in group if (p.source if p.num_tasks else "") == source]
                x = [p.num_tasks + seeds[p.seed] * step for p in inside]
                y = [p.accuracy for p in inside]
                face = colour if filled else "white"
                look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "rasterized": many}
                axes.plot(x, y, "o", markersize=3.5, zorder=2, alpha=0.2 if many else 0.7, **look)
        for source, colour in sources.items():
            cells = {size: cell for size, cell in _line_of(here, source).items() if cell in means}
            label = "mean and interval" if len(sources) == 1 else source_in_words(source)
            _means_with_band(axes, list(cells), [means[cell] for cell in cells.values()], colour, label)
        axes.plot([], [], "o", markersize=3.5, color=GREY, label="one trial")
        if others:
            axes.plot([], [], "o", markersize=3.5, color=GREY, markerfacecolor="white", label="not in the mean")
        axes.set(xlabel="Intermediate tasks (number)", ylabel=f"{headline_of(here)} on dev (%)")
        axes.set_xticks(few(sorted({p.num_tasks for p in here})))
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)

    svg, pdf = draw(paint, WIDTH, 3.5)
    values = "; ".join(f"{cell_in_words(cell, 'no task')}: {spell(mean)}" for cell, mean in means.items())
    caption = (
        f"Mean of the targets' headline metrics on {dev_of(here)} after {here[0].rung:,} intermediate examples. "
        "Points are trials (shifted by seed); bars and band are intervals over subsets and seeds."
    )
    alt = f"{dev_of(here)} accuracy against number of intermediate tasks after {here[0].rung:,} examples. {values}."
    return Drawing(name, title, caption, alt, svg, pdf)


def few(sizes: Sequence[int], most: int = 10, logarithmic: bool = False) -> list[int]:
    """At most so many of the sizes in ascending order, first and last among them, so that labels do not touch."""
    where = np.log(np.maximum(sizes, 1)) if logarithmic else np.asarray(sizes)
    gap, last = (where[-1] - where[0]) / (2 * most), len(sizes) - 1
    kept = [0]
    for place in range(1, len(sizes)):
        if where[place] - where[kept[-1]] >= gap and (where[last] - where[place] >= gap or place == last):
            kept.append(place)
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), most)).round().astype(int))
    return [sizes[kept[place]] for place in chosen]


def targets_by_num_tasks(points: Sequence[Point], estimates: Sequence[Estimate], rung_index: int | None) -> Drawing:
    """One panel per target: means of the cells on dev with their band."""
    name, title = "by_target", "Each target by number of intermediate tasks"
    here = estimable(points, rung_index) if rung_index is not None else []
    if len({p.num_tasks for p in here}) < 2:
        return Drawing(name, title, "", "", missing=TWO_SIZES)
    targets = [*target_names(here), WITHOUT_TATOEBA]
    means = {target: _means(estimates, target, here[0].rung) for target in targets}
    sources, sizes = _sources(here), sorted({p.num_tasks for p in here})
    columns = min(2, len(targets))
    lines = -(-len(targets) // columns)

    def paint(figure: Figure) -> None:
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for axes, target in zip(panels, targets, strict=False):
            for source, colour in sources.items():
                line = _line_of(here, source)
                known = {size: means[target][cell] for size, cell in line.items() if cell in means[target]}
                label = source_in_words(source) if len(sources) > 1 else "mean and interval"
                _means_with_band(axes, list(known), list(known.values()), colour, label)
            axes.set(title="without Tatoeba" if target == WITHOUT_TATOEBA else target, xticks=few(sizes, 6))
            axes.yaxis.set_major_locator(MaxNLocator(5))
        for axes in panels[len(targets) :]:
            axes.remove()
        for axes in panels[max(0, len(targets) - columns) : len(targets)]:
            axes.set_xlabel("Intermediate tasks")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
        figure.supylabel(f"Headline metric on {dev_of(here)} (%)", fontsize=9)

    svg, pdf = draw(paint, WIDTH, 1.5 * lines + 0.5)
    values = []
    for target in targets:
        values.append(
            f"{target}: "
            + ", ".join(f"{spell(mean)} with {cell_in_words(cell, 'no task')}" for cell, mean in means[target].items())
        )
    caption = (
        f"Headline metric of each target on {dev_of(here)} after {here[0].rung:,} intermediate examples; bars and band are "
        "intervals over subsets and seeds. Scales differ between panels; the table has English dev and the majority answer."
    )
    return Drawing(name, title, caption, f"{dev_of(here)} score by number of tasks. {'; '.join(values)}.", svg, pdf)


def _palette(number_of: int) -> list[Any]:
    """As many colours, from black for no task on; a ramp where there are too many to tell apart by name."""
    shades = mpl.colormaps["viridis"].resampled(number_of + 1)
    ramp = [shades(place) for place in range(number_of)]
    return [BLACK, *COLOURS][:number_of] if number_of <= len(COLOURS) + 1 else ramp


def colours_of_sizes(points: Sequence[Point]) -> dict[int, Any]:
    """Number of tasks to its colour."""
    sizes = sorted({point.num_tasks for point in points})
    return dict(zip(sizes, _palette(len(sizes)), strict=True))


def learning_curves(points: Sequence[Point], estimates: Sequence[Estimate], statuses: Mapping[str, str]) -> Drawing:
    """Accuracy of each trial over the rungs, means of cells over them; stopped trials end in a cross."""
    name, title = "learning_curves", "Accuracy over the rungs"
    rungs = sorted({p.rung for p in points})
    if len(rungs) < 2:
        return Drawing(name, title, "", "", missing="trials that have finished at least two rungs")
    curves: dict[str, list[Point]] = {}
    for point in points:
        curves.setdefault(point.trial_id, []).append(point)
    cells = list(dict.fromkeys(p.cell for p in sorted(points, key=lambda p: (p.num_tasks, p.cell))))
    palette = _palette(len(cells))
    means = [_means(estimates, headline_of(points), rung) for rung in rungs]
    faint = len(curves) > 40

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        look: dict[str, Any] = {"rasterized": len(curves) > MAX_VECTOR_LINES}
        for colour, cell in zip(palette, cells, strict=False):
            for role, style in (("measure", "-"), ("explore", DASHES)):
                inside = [
                    c for c in curves.values() if c[0].cell == cell and (c[0].role == "measure") == (role == "measure")
                ]
                lines = [[(p.rung, p.accuracy) for p in curve] for curve in inside]
                shade, alpha = (GREY, 0.2) if faint else (colour, 0.8)
                axes.add_collection(LineCollection(lines, colors=[shade], linestyles=[style], alpha=alpha, **look))
                for status, mark in MARKS.items():
                    ends = [c[-1] for c in inside if statuses.get(c[0].trial_id) == status]
                    x, y = [p.rung for p in ends], [p.accuracy for p in ends]
                    axes.plot(x, y, mark, markersize=5, color=shade if faint else colour, alpha=0.8, **look)
            known = [(rung, found[cell].value) for rung, found in zip(rungs, means, strict=True) if cell in found]
            if known:
                axes.plot(*zip(*known, strict=True), "-o", color=colour, linewidth=2.2, markersize=4, zorder=5)
            axes.plot([], [], "-o", color=colour, markersize=4, label=cell_in_words(cell, "no task"))
        log_examples(axes, rungs)
        axes.autoscale_view()
        axes.set(xlabel="Intermediate examples seen (log scale)", ylabel=f"{headline_of(points)} on dev (%)")
        axes.plot([], [], linestyle=DASHES, color=GREY, label="explore")
        for status, mark in MARKS.items():
            if status in statuses.values():
                axes.plot([], [], mark, color=GREY, markersize=5, label=status)
        figure.legend(loc="outside lower center", ncols=3, fontsize=7.5)

    svg, pdf = draw(paint, WIDTH, 3.5 + 0.15 * (len(cells) // 3))
    stopped = sum(statuses.get(trial) == "stopped" for trial in curves)
    caption = (
        "Thin: one line per trial, dashed for explore; a cross marks where one was stopped, a square where it failed. "
        "Thick: means of cells over trials that no score kept. Early rungs may train the targets on fewer examples, so "
        "compare within a rung."
    )
    alt = f"{dev_of(points)} accuracy of {len(curves)} trials at {len(rungs)} rungs, {stopped} of them stopped early."
    for rung in rungs:
        values = [p.accuracy for p in points if p.rung == rung]
        alt += f" At {rung:,} examples {len(values)} trials from {number(min(values))} to {number(max(values))}."
    return Drawing(name, title, caption, alt, svg, pdf)
