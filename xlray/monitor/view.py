"""A sweep as it stands, as one value that terminals and pages draw, and that is sent to clients far from it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from xlray.tasks.languages import language_name

KNOWN_SHARE = 0.05  # of the steps, before a rate is worth believing
ORDER = {"running": 0, "failed": 1, "finished": 1, "stopped": 1, "paused": 2, "interrupted": 2, "created": 2}
WORDS = {"created": "waiting"}
STATUSES = (
    "waiting",
    "running",
    "paused",
    "interrupted",
    "finished",
    "stopped",
    "failed",
    "dropped",
)  # as they are told


@dataclass(frozen=True)
class Row:
    """A trial as it stands.

    Attributes:
        status: created, running, paused, interrupted, finished, stopped, failed or dropped (the sweep has it no more).
        phase: label of the phase that runs, or "".
        done: steps done of that phase, of `steps`.
        rungs: number of rungs reported.
        rung: examples at the last one, or None.
        accuracy: mean of the headlines in the sweep's language at the last rung, in percent; None if there is none or it is no
            number.
        scores: each target's headline at the last rung.
        others: the mean in each further language of the sweep.
        degenerate: why the numbers of phases up to the last rung mean nothing, or "".
        reason: why it was stopped or paused, or "".
        error: last line of it.
        attempts: times it was started.
        values: of the sweep's axes, by field.
    """

    trial_id: str
    title: str
    status: str
    role: str
    cell: str
    tasks: tuple[str, ...]
    seed: int
    phase: str = ""
    done: int = 0
    steps: int = 0
    rungs: int = 0
    rung: int | None = None
    accuracy: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    others: Mapping[str, float | None] = field(default_factory=dict)
    degenerate: str = ""
    reason: str = ""
    error: str = ""
    attempts: int = 0
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_tasks(self) -> int:
        return len(self.tasks)


@dataclass(frozen=True)
class View:
    """What is drawn of a sweep.

    Attributes:
        state: planned, running, interrupted, failed or finished.
        stage: for people, such as "running trials".
        targets: names of the target tasks, in the order of the definition.
        languages: that they are evaluated in, that of the headline first.
        done: steps, of `total` that are known of; without those that were stored when the sweep was first looked at.
        has_more: open trials have steps that are not counted in `total`.
        elapsed_s: seconds since the driver took over.
        left_s: seconds left, or None if that cannot be said yet.
        counts: trials by status.
        rows: trials; which ones depends on who draws.
    """

    name: str
    question: str
    state: str
    stage: str
    targets: tuple[str, ...]
    languages: tuple[str, ...]
    num_rungs: int
    done: int
    total: int
    has_more: bool
    elapsed_s: float
    left_s: float | None
    counts: Mapping[str, int]
    rows: tuple[Row, ...]

    @property
    def language(self) -> str:
        """The name of the language of the headline."""
        return language_name(self.languages[0])

    @property
    def num_trials(self) -> int:
        return sum(self.counts.values())


def from_document(found: Mapping[str, Any]) -> View:
    """A view from `dataclasses.asdict` of it, by way of JSON.

    Raises:
        KeyError, TypeError: it is not.
    """
    rows = tuple(Row(**{**row, "tasks": tuple(row["tasks"])}) for row in found["rows"])
    lists = {name: tuple(found[name]) for name in ("targets", "languages")}
    return View(**{**found, **lists, "rows": rows})


def summary_line(counts: Mapping[str, int]) -> str:
    """`2 running, 5 finished, 1 stopped, 4 waiting`."""
    order = ("running", "finished", "stopped", "failed", "paused", "interrupted", "created")
    said = (f"{counts[status]} {WORDS.get(status, status)}" for status in order if counts.get(status))
    return ", ".join(said) or "no trials yet"


def shown_status(status: str, state: str) -> str:
    """How a trial's status is told: one that was running when nobody runs the sweep any more is interrupted."""
    return "interrupted" if status == "running" and state != "running" else WORDS.get(status, status)


def last_line(text: str) -> str:
    """What says why, of an error."""
    return (text.strip().splitlines() or [""])[-1][:300]


def time_left_s(elapsed_s: float, done: int, total: int) -> float | None:
    """Seconds until `total` steps are done, at the rate of the `done` ones; None until 5 % are.

    Elapsed time includes the starts of trials and evaluations, so these are in the rate.
    """
    if done >= total:
        return 0.0
    if done <= 0 or done < KNOWN_SHARE * total:
        return None
    return elapsed_s * (total - done) / done


def clock(seconds: float | None) -> str:
    """`1:02:03` or `2:03`; a dash for what is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "\u2013"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
