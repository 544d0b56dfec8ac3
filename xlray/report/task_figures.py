"""Figures of single tasks and of cost: forest plots, task x target matrix, device-hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from xlray.analysis import (
    ChainContributions,
    Contributions,
    Estimate,
    Interactions,
    SideBySide,
    side_by_side,
)
from xlray.report.cost_tables import Costs
from xlray.report.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
    Drawing,
    draw,
    forest,
    signed_points,
    spell,
)
from xlray.report.tables import number
from xlray.report.task_tables import NO_RUNG, task_of

MOST_PAIRS = 20
DIVERGING = LinearSegmentedColormap.from_list("harm_help", [VERMILION, "#ffffff", BLUE])


def contribution_forest(ridge: Contributions | None, chains: Sequence[ChainContributions], rung: int) -> Drawing:
    """Forest plot of the tasks' contributions, by regression and by chains where these go in steps of one task."""
    name, title = "contributions", "Ranking of the intermediate tasks"
    pairs = side_by_side(ridge.estimates if ridge else (), chains)
    if not pairs:
        return Drawing(name, title, "", "", missing=ridge.missing if ridge else NO_RUNG)
    order = pairs[::-1]
    both = any(pair.chains for pair in order)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, pair in enumerate(order):
            if pair.regression:
                forest(axes, place + 0.16 * both, pair.regression)
            if pair.chains:
                forest(axes, place - 0.16, pair.chains, ORANGE, "s")
        axes.set_yticks(range(len(order)), [pair.task for pair in order])
        signed_points(axes)
        label = "Ranking (shrunken points)" + (", gain by chains (points)" if both else "")
        axes.set(xlabel=label, ylim=(-0.6, len(order) - 0.4))
        if both:
            axes.plot([], [], "o", color=GREY, markersize=4.5, label="ranking by regression")
            axes.plot([], [], "s", color=ORANGE, markersize=4.5, label="chains")
            figure.legend(loc="outside lower center", ncols=2, fontsize=8)

    svg, pdf = draw(paint, WIDTH, 0.9 + (0.26 if both else 0.2) * len(order))
    caption = f"After {rung:,} examples. Ranking by ridge regression: shrunken values, without intervals."
    caption += " Chains: the mean gain at which a task enters, with its interval." if both else ""
    said = "; ".join(f"{pair.task} {_both(pair)}" for pair in pairs)
    return Drawing(name, title, caption, f"Ranking of the tasks for accuracy on dev in points: {said}.", svg, pdf)


def _both(pair: SideBySide) -> str:
    parts = [spell(pair.regression, True, 2)] if pair.regression else []
    parts += [f"by chains {spell(pair.chains, True, 2)}"] if pair.chains else []
    return ", ".join(parts)


def group_forest(groups: Mapping[str, Sequence[Estimate]], missing: str, rung: int) -> Drawing:
    """Mean places of groups of tasks in the ranking, a panel for each attribute."""
    name, title = "groups", "Ranking by kind, language family, script and size"
    if not groups:
        return Drawing(name, title, "", "", missing=missing or NO_RUNG)

    def paint(figure: Figure) -> None:
        heights = [len(estimates) + 1 for estimates in groups.values()]
        panels = figure.subplots(len(groups), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
        for axes, (attribute, estimates) in zip(panels, groups.items(), strict=True):
            axes.axvline(0, color=BLACK, linewidth=1)
            for place, estimate in enumerate(reversed(estimates)):
                forest(axes, place, estimate)
            labels = [f"{e.name.split('/', 2)[2]} ({e.num_subsets})" for e in reversed(estimates)]
            axes.set_yticks(range(len(estimates)), [label.replace("_", " ") for label in labels], fontsize=8)
            axes.set(title=f"by {attribute}", ylim=(-0.6, len(estimates) - 0.4))
        signed_points(panels[-1])
        panels[-1].set_xlabel("Mean ranking (shrunken points of accuracy)")

    svg, pdf = draw(paint, WIDTH, 0.9 + sum(0.19 * len(estimates) + 0.3 for estimates in groups.values()))
    caption = (
        f"Mean of the ranking's shrunken values after {rung:,} examples; in brackets the number of tasks of the group."
    )
    said = "; ".join(f"{e.name.split('/', 1)[1]}: {spell(e, True, 2)}" for found in groups.values() for e in found)
    return Drawing(name, title, caption, f"Mean ranking of groups of tasks in shrunken points. {said}.", svg, pdf)


def pair_forest(pairs: Interactions, rung: int) -> Drawing:
    """The pairs of tasks with the strongest evidence of an interaction."""
    name, title = "pairs", "Interactions of two tasks"
    if not pairs.estimates:
        return Drawing(name, title, "", "", missing=pairs.missing)
    order = pairs.estimates[:MOST_PAIRS][::-1]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, e in enumerate(order):
            sure = e.p_holm is not None and e.p_holm < 0.05
            forest(axes, place, e, (BLUE if e.value > 0 else VERMILION) if sure else GREY, "o" if sure else "D")
        axes.set_yticks(
            range(len(order)), [e.name.split("/", 2)[2].replace(" x ", " \u00d7 ") for e in order], fontsize=8
        )
        signed_points(axes)
        # On the right, as names of pairs leave it little room.
        axes.set_xlabel("Beyond the sum of both (points of accuracy)", loc="right")
        axes.set_ylim(-0.6, len(order) - 0.4)

    svg, pdf = draw(paint, WIDTH, 0.9 + 0.2 * len(order))
    caption = (
        f"The {len(order)} of {len(pairs.estimates):,} identified pairs with the smallest p-values, after {rung:,} examples. "
        "Coloured: below 0.05 after Holm's correction over all of them. An interval is of one pair by itself."
    )
    said = "; ".join(f"{e.name.split('/', 2)[2]} {spell(e, True, 2)}" for e in reversed(order))
    return Drawing(name, title, caption, f"What pairs of tasks add beyond their sum, in points: {said}.", svg, pdf)


def transfer_matrix(effects: Mapping[str, Contributions], rung: int) -> Drawing:
    """Heat map: how each target ranks the intermediate tasks."""
    name, title = "transfer", "From each intermediate task to each target"
    known = {outcome: {task_of(e): e for e in found.estimates} for outcome, found in effects.items() if found.estimates}
    if not known:
        missing = next((found.missing for found in effects.values() if found.missing), "estimates of single tasks")
        return Drawing(name, title, "", "", missing=missing)
    first = next(iter(known.values()))  # that of the mean, where there is one
    tasks = sorted(first, key=lambda task: -first[task].value)
    values = np.array([[known[o][t].value if t in known[o] else np.nan for o in known] for t in tasks])
    edge = float(np.nanmax(np.abs(values))) or 1.0
    digits = 1 if edge >= 2 else 2

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        image = axes.imshow(values, cmap=DIVERGING, vmin=-edge, vmax=edge, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                shade = "white" if abs(value) > 0.75 * edge else BLACK
                text = number(value, signed=True, digits=digits)
                cell = axes.text(column, row, text, ha="center", va="center", fontsize=7.5, color=shade)
                cell.set_in_layout(False)  # it is inside, and measuring hundreds takes seconds
        axes.set_xticks(range(len(known)), [outcome.replace("_", "\n") for outcome in known], fontsize=8)
        axes.set_yticks(range(len(tasks)), tasks, fontsize=8)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axes, location="bottom", fraction=0.04, pad=0.02, aspect=40)
        bar.set_label("Ranking (shrunken points on dev)", fontsize=8)
        bar.outline.set_visible(False)

    svg, pdf = draw(paint, WIDTH, 1.35 + 0.21 * len(tasks))
    caption = f"Ridge coefficients of each task for each target after {rung:,} examples, in points shrunk towards 0."
    rows = []
    for task in tasks:
        cells = [f"{o} {number(known[o][task].value, True, digits)}" for o in known if task in known[o]]
        rows.append(f"{task}: {', '.join(cells)}")
    alt = f"Ranking of each task for each target in shrunken points. {'; '.join(rows)}."
    return Drawing(name, title, caption, alt, svg, pdf)


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
            ("one trunk", costs.trunk, PURPLE),
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
