"""Figures of single tasks and of cost: forest plot, task x target matrix, device-hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from xlray.analysis import FI_ACCURACY, Contributions, Estimate
from xlray.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION, WIDTH, Drawing, draw, spell
from xlray.ledger import Costs
from xlray.summaries import task_of
from xlray.tables import number

DIVERGING = LinearSegmentedColormap.from_list("harm_help", [VERMILION, "#ffffff", BLUE])


def leaves_out_zero(estimate: Estimate) -> bool:
    """Whether the interval is on one side of 0."""
    return estimate.low is not None and estimate.high is not None and estimate.low * estimate.high > 0


def contribution_forest(found: Contributions | None, rung: int) -> Drawing:
    """Forest plot of the tasks' contributions."""
    name, title = "contributions", "Contribution of each intermediate task"
    if found is None or not found.estimates:
        return Drawing(name, title, "", "", missing=found.missing if found else "a rung with all targets scored")
    order = sorted(found.estimates, key=lambda e: e.value)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, estimate in enumerate(order):
            clear = leaves_out_zero(estimate)
            colour = (BLUE if estimate.value > 0 else VERMILION) if clear else GREY
            if estimate.low is not None and estimate.high is not None:
                axes.hlines(place, estimate.low, estimate.high, color=colour, linewidth=2)
            axes.plot(estimate.value, place, "o" if clear else "D", color=colour, markersize=6 if clear else 4.5)
        axes.set_yticks(range(len(order)), [task_of(e) for e in order])
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value, signed=value != 0)))
        axes.set(xlabel="Effect on fi_accuracy (points)", ylim=(-0.6, len(order) - 0.4))

    svg, pdf = draw(paint, WIDTH, 0.9 + 0.22 * len(order))
    caption = (
        f"Ridge coefficients after {rung:,} examples with intervals over subsets and seeds. "
        "Round and coloured: the interval leaves out 0 (no correction for the number of tasks)."
    )
    values = "; ".join(f"{task_of(e)} {spell(e, signed=True, digits=2)}" for e in reversed(order))
    alt = f"Effect of each task on Finnish dev accuracy in points: {values}."
    return Drawing(name, title, caption, alt, svg, pdf)


def transfer_matrix(effects: Mapping[str, Contributions], rung: int) -> Drawing:
    """Heat map: what each intermediate task adds to each target."""
    name, title = "transfer", "From each intermediate task to each target"
    known = {outcome: {task_of(e): e for e in found.estimates} for outcome, found in effects.items() if found.estimates}
    if not known:
        missing = next((found.missing for found in effects.values() if found.missing), "estimates of single tasks")
        return Drawing(name, title, "", "", missing=missing)
    first = known.get(FI_ACCURACY) or next(iter(known.values()))
    tasks = sorted(first, key=lambda task: -first[task].value)
    values = np.array([[known[o][t].value if t in known[o] else np.nan for o in known] for t in tasks])
    edge = float(np.nanmax(np.abs(values))) or 1.0
    digits = 1 if edge >= 2 else 2

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(values, cmap=DIVERGING, vmin=-edge, vmax=edge, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                clear = leaves_out_zero(known[list(known)[column]][tasks[row]])
                shade = "white" if abs(value) > 0.75 * edge else BLACK
                weight = "bold" if clear else "normal"
                text = number(value, signed=True, digits=digits)
                axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=shade, fontweight=weight)
        axes.set_xticks(range(len(known)), [outcome.replace("_", "\n") for outcome in known], fontsize=8)
        axes.set_yticks(range(len(tasks)), tasks, fontsize=8)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, location="bottom", fraction=0.04, pad=0.02, aspect=40)
        bar.set_label("Effect on dev (points)", fontsize=8)
        bar.outline.set_visible(False)

    svg, pdf = draw(paint, WIDTH, 1.35 + 0.21 * len(tasks))
    caption = (
        f"Ridge coefficients of each task for each target after {rung:,} examples, in points. Bold: the interval leaves "
        "out 0 (no correction for the number of cells)."
    )
    rows = []
    for task in tasks:
        cells = [f"{o} {number(known[o][task].value, True, digits)}" for o in known if task in known[o]]
        rows.append(f"{task}: {', '.join(cells)}")
    return Drawing(name, title, caption, f"Effect of each task on each target in points. {'; '.join(rows)}.", svg, pdf)


def cost_bars(costs: Costs) -> Drawing:
    """Device-hours spent and saved as two bars."""
    name, title = "device_hours", "Device-hours spent and saved"
    if not any((costs.spent, costs.shared, costs.stored)):
        return Drawing(name, title, "", "", missing="a finished phase with its cost")
    bars = {
        "spent": [
            ("useful", costs.useful, BLUE),
            ("stopped", costs.stopped, ORANGE),
            ("failed", costs.failed, VERMILION),
        ],
        "saved": [
            ("sharing", costs.shared, GREEN),
            ("stored before", costs.stored, SKY),
            ("early stopping", costs.stopping or 0.0, GREY),
        ],
    }
    hours = max(sum(value for _, value, _ in parts) for parts in bars.values())
    unit, factor = ("device-hours", 1.0) if hours >= 1 else ("device-minutes", 60.0)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        for place, (kind, parts) in enumerate(bars.items()):
            left = 0.0
            for label, value, colour in parts:
                hatch = "" if kind == "spent" else "////"
                look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0}
                axes.barh(place, value * factor, left=left, height=0.6, label=f"{kind}: {label}", **look)
                left += value * factor
        axes.set_yticks(range(len(bars)), list(bars))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set(xlabel=f"{unit.capitalize()}")
        figure.legend(loc="outside lower center", ncols=2, fontsize=8)

    svg, pdf = draw(paint, WIDTH, 2.2)
    caption = "Spent is measured. Saved is an estimate: nobody ran it; the note of the table says how it is made."
    said = [f"{kind} {label} {number(value * factor, digits=2)}" for kind, p in bars.items() for label, value, _ in p]
    return Drawing(name, title, caption, f"{unit.capitalize()}: {', '.join(said)}.", svg, pdf)
