"""A sweep under way as a terminal shows it, whoever draws it: the driver itself, or a client far from it that was sent it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xlray.monitor.progress import TrialState, TrialWork, clock

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
ORDER = {"running": 0, "failed": 1, "finished": 1, "stopped": 1, "paused": 2, "interrupted": 2, "created": 2}
WORDS = {"created": "waiting"}


@dataclass(frozen=True)
class Snapshot:
    """What is drawn of a sweep.

    Attributes:
        stage: for people, such as "running trials".
        targets: names of the target tasks.
        done: steps, of `total` that are known of.
        has_more: trials that wait have steps that are not counted in `total`.
        elapsed_s: seconds since the command was started.
        left_s: seconds left, or None if that cannot be said yet.
        counts: trials by status, in words.
        num_trials: of which `states` holds those that are shown first.
        states: without their phases.
    """

    name: str
    question: str
    stage: str
    targets: tuple[str, ...]
    num_rungs: int
    done: int
    total: int
    has_more: bool
    elapsed_s: float
    left_s: float | None
    counts: str
    num_trials: int
    states: tuple[TrialState, ...]


def from_document(found: Mapping[str, Any]) -> Snapshot:
    """A snapshot from `dataclasses.asdict` of it, by way of JSON.

    Raises:
        KeyError, TypeError: it is not.
    """
    states = tuple(
        TrialState(**{**state, "trial": TrialWork(**{**state["trial"], "phases": ()})}) for state in found["states"]
    )
    return Snapshot(**{**found, "targets": tuple(found["targets"]), "states": states})


def rows_of(states: Sequence[TrialState]) -> tuple[TrialState, ...]:
    """The states that a snapshot holds."""
    return tuple(replace(s, trial=replace(s.trial, phases=())) for s in shown_first(states, MOST_ROWS))


def short_names(tasks: Sequence[str]) -> dict[str, str]:
    """Names without the beginning up to `_` that all of them share, for heads of columns."""
    start = tasks[0].rpartition("_")[0] + "_" if len(tasks) > 1 else ""
    cut = len(start) if all(task.startswith(start) for task in tasks) else 0
    return {task: task[cut:] for task in tasks}


def percent(value: float | None) -> str:
    """One decimal, or nothing."""
    return "" if value is None or math.isnan(value) else f"{value:.1f}"


def shown_first(states: Sequence[TrialState], most: int) -> list[TrialState]:
    """The trials that fit: those that run, then those that ended last, then those that wait."""
    ranked = sorted(states, key=lambda s: (ORDER.get(s.status, 2), -s.changed if s.status != "created" else 0.0))
    return ranked[: max(1, most)]


def summary_line(states: Sequence[TrialState]) -> str:
    """`2 running, 5 finished, 1 stopped, 4 waiting`."""
    order = ("running", "finished", "stopped", "failed", "paused", "interrupted", "created")
    counts = {status: sum(s.status == status for s in states) for status in order}
    said = (f"{number} {WORDS.get(status, status)}" for status, number in counts.items() if number)
    return ", ".join(said) or "no trials yet"


def draw(shot: Snapshot, width: int, height: int, note: str = "") -> RenderableType:
    """The whole view, as wide and high as the terminal.

    Args:
        note: said beside the stage, such as that the connection is lost.
    """
    ends = 0 < shot.total == shot.done and not shot.has_more  # the last evaluation and the report are left
    left = ("  ", "finishing") if ends else ("  left ", clock(None if shot.has_more else shot.left_s))
    head = Text.assemble((f"{shot.name}  ", "bold"), (shot.stage, "cyan"), (f"  {note}" if note else "", "yellow"))
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(shot.total, 1), completed=shot.done, width=max(10, min(40, width - 62))),
        f"{shot.done:,} of {f'at least {shot.total:,}' if shot.has_more else f'{shot.total:,}'} steps",
        Text.assemble("elapsed ", (clock(shot.elapsed_s), "bold"), left[0], (left[1], "bold")),
    )
    parts: list[RenderableType] = [head]
    if shot.question:
        parts.append(Text(shot.question, style="italic", overflow="ellipsis", no_wrap=True))
    most = height - HEADER_LINES
    parts += [bar, "", trial_table(shot, width, most)]
    hidden = shot.num_trials - min(len(shot.states), max(1, most))
    parts.append(Text(f"{shot.counts}{f'  ({hidden} not shown)' if hidden > 0 else ''}", style="dim"))
    return Group(*parts)


def trial_table(shot: Snapshot, width: int, most: int) -> Table:
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
    names = short_names(shot.targets)
    for name in ("rung", "Finnish", *(names[task] for task in shot.targets)):
        table.add_column(name, justify="right", no_wrap=True, min_width=4, style="bold" if name == "Finnish" else "")
    for s in shown_first(shot.states, most):
        place = [s.trial.role, s.trial.cell] if places else []
        trained = s.steps > 0 and s.done == s.steps
        phase = [s.phase.replace("target", "evaluate", 1) if trained else s.phase] if phases else []
        step = [f"{s.done}/{s.steps}" if s.steps else ""] if steps else []
        table.add_row(
            s.trial.title,
            *place,
            Text(WORDS.get(s.status, s.status), STYLES.get(s.status, "")),
            *phase,
            *step,
            f"{s.rungs}/{shot.num_rungs}",
            percent(s.fi_accuracy),
            *(percent(s.scores.get(t)) for t in shot.targets),
        )
    return table
