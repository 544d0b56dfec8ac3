"""A sweep under way as a terminal shows it, whoever draws it: the driver itself, or a client far from it that was sent it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xlray.monitor.view import WORDS, View, clock, summary_line
from xlray.tasks.languages import language_name

HEADER_LINES = 7  # name, question, bar, head and rules of the table, a line below
MOST_ROWS = 120  # higher than terminals are
STYLES = {
    "running": "bold cyan",
    "finished": "green",
    "stopped": "yellow",
    "failed": "bold red",
    "paused": "dim cyan",
    "interrupted": "dim",
    "created": "dim",
}


def short_names(tasks: Sequence[str]) -> dict[str, str]:
    """Names without the beginning up to `_` that all of them share, for heads of columns."""
    start = tasks[0].rpartition("_")[0] + "_" if len(tasks) > 1 else ""
    cut = len(start) if all(task.startswith(start) for task in tasks) else 0
    return {task: task[cut:] for task in tasks}


def percent(value: float | None) -> str:
    """One decimal, or nothing."""
    return "" if value is None or math.isnan(value) else f"{value:.1f}"


def draw(view: View, width: int, height: int, note: str = "") -> RenderableType:
    """The whole view, as wide and high as the terminal.

    Args:
        note: said beside the stage, such as that the connection is lost.
    """
    ends = 0 < view.total == view.done and not view.has_more  # the last evaluation and the report are left
    left = ("  ", "finishing") if ends else ("  left ", clock(view.left_s))
    head = Text.assemble((f"{view.name}  ", "bold"), (view.stage, "cyan"), (f"  {note}" if note else "", "yellow"))
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(view.total, 1), completed=view.done, width=max(10, min(40, width - 62))),
        f"{view.done:,} of {f'at least {view.total:,}' if view.has_more else f'{view.total:,}'} steps",
        Text.assemble("elapsed ", (clock(view.elapsed_s), "bold"), left[0], (left[1], "bold")),
    )
    parts: list[RenderableType] = [head]
    if view.question:
        parts.append(Text(view.question, style="italic", overflow="ellipsis", no_wrap=True))
    most = height - HEADER_LINES
    parts += [bar, "", trial_table(view, width, most)]
    hidden = view.num_trials - min(len(view.rows), max(1, most))
    parts.append(Text(f"{summary_line(view.counts)}{f'  ({hidden} not shown)' if hidden > 0 else ''}", style="dim"))
    return Group(*parts)


def trial_table(view: View, width: int, most: int) -> Table:
    """The trials as they stand; columns that a narrow terminal has no room for are left out.

    Args:
        width: of the terminal, in characters.
        most: rows that fit.
    """
    places, steps, phases = width >= 140, width >= 112, width >= 92
    table = Table(box=None, padding=(0, 1), header_style="bold", show_edge=False)
    table.add_column("trial", no_wrap=True, min_width=21)
    for name in ("role", "cell") if places else ():
        table.add_column(name, no_wrap=True)
    table.add_column("state", no_wrap=True, min_width=8)
    if phases:
        table.add_column("phase", no_wrap=True, min_width=22 if steps else 12)
    if steps:
        table.add_column("step", justify="right", no_wrap=True, min_width=7)
    names = short_names(view.targets)
    first, *others = map(language_name, view.languages)
    for name in ("rung", first, *(names[task] for task in view.targets), *others):
        table.add_column(name, justify="right", no_wrap=True, min_width=4, style="bold" if name == first else "")
    for s in view.rows[: max(1, most)]:
        place = [s.role, s.cell] if places else []
        trained = s.steps > 0 and s.done == s.steps
        phase = [s.phase.replace("target", "evaluate", 1) if trained else s.phase] if phases else []
        step = [f"{s.done}/{s.steps}" if s.steps else ""] if steps else []
        table.add_row(
            s.title,
            *place,
            Text(WORDS.get(s.status, s.status), STYLES.get(s.status, "")),
            *phase,
            *step,
            f"{s.rungs}/{view.num_rungs}",
            percent(s.accuracy),
            *(percent(s.scores.get(t)) for t in view.targets),
            *(percent(s.others.get(language)) for language in view.languages[1:]),
        )
    return table
