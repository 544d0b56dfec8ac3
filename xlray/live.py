"""The live view of a sweep under way: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from xlray.progress import TrialState, Watch, Work, clock, time_left_s, with_created, with_phases

PLAIN_EVERY_S = 20.0
REFRESH_PER_S = 2.0
HEADER_LINES = 7  # name, question, bar, head and rules of the table, a line below
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
STAGES = {
    "planned": "starting",
    "tokenizer": "training the tokenizer",
    "prepare": "preparing the data",
    "tokenise": "tokenising",
    "pretrain": "pre-training the encoder",
    "trials": "running trials",
}


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


def trial_table(states: Sequence[TrialState], work: Work, width: int, most: int) -> Table:
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
    names = short_names(work.targets)
    for name in ("rung", "Finnish", *(names[task] for task in work.targets)):
        table.add_column(name, justify="right", no_wrap=True, min_width=4, style="bold" if name == "Finnish" else "")
    for s in shown_first(states, most):
        place = [s.trial.role, s.trial.cell] if places else []
        status = "waiting" if s.status == "created" else s.status
        trained = s.steps > 0 and s.done == s.steps
        phase = [s.phase.replace("target", "evaluate", 1) if trained else s.phase] if phases else []
        step = [f"{s.done}/{s.steps}" if s.steps else ""] if steps else []
        table.add_row(
            s.trial.title,
            *place,
            Text(status, STYLES.get(s.status, "")),
            *phase,
            *step,
            f"{s.rungs}/{work.num_rungs}",
            percent(s.fi_accuracy),
            *(percent(s.scores.get(t)) for t in work.targets),
        )
    return table


def summary_line(states: Sequence[TrialState]) -> str:
    """`2 running, 5 finished, 1 stopped, 4 waiting`."""
    counts = {status: sum(s.status == status for s in states) for status in ORDER}
    words = {
        "running": "running",
        "finished": "finished",
        "stopped": "stopped",
        "failed": "failed",
        "paused": "paused",
        "interrupted": "interrupted",
        "created": "waiting",
    }
    return ", ".join(f"{counts[k]} {word}" for k, word in words.items() if counts[k]) or "no trials yet"


def _nobody() -> Callable[..., None]:
    return lambda _: None


class LiveView:
    """The listener of a run: give it to `sweep.run(listener=...)` and use it as a context.

    Attributes:
        journal: entries of earlier runs, then those of this one.
    """

    def __init__(self, console: Console, watch: Watch, journal: Sequence[Mapping[str, Any]], started: float) -> None:
        self.console = console
        self.watch = watch
        self.journal: list[Mapping[str, Any]] = list(journal)
        self.started = started
        self.stage = "planned"
        self.detail = ""
        self.rate_from = started  # time and steps from which the rate is measured: those of the stage
        self.rate_done = 0
        self._live: Live | None = None
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        # Ray Tune pickles its callbacks to where nobody reads them; a terminal cannot be pickled.
        return _nobody, ()

    def __enter__(self) -> LiveView:
        if self.console.is_terminal:
            self._live = Live(
                console=self.console,
                get_renderable=self.renderable,
                refresh_per_second=REFRESH_PER_S,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="crop",
            )
            self._live.start()
        else:
            self._ticker = threading.Thread(target=self._tick, name="xlray-live", daemon=True)
            self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._live is not None:
            self._live.stop()
        if self._ticker is not None:
            self._ticker.join(timeout=5)

    def __call__(self, entry: Mapping[str, Any]) -> None:
        """Take one entry of the journal, or one stage."""
        event = entry["event"]
        if event == "stage":
            self._enter_stage(entry)
        else:
            self.journal.append({**entry, "time": entry.get("time", time.time())})
        if event == "created":
            self.watch.work = with_created(self.watch.work, entry)
        elif event == "running" and "trial_id" in entry:
            self.watch.work = with_phases(self.watch.work, entry["trial_id"])
        line = self.describe(entry)
        if line and (self._live is None or event in ("failed", "retried", "halted")):
            self.console.print(
                f"[{clock(time.time() - self.started)}] {line}", markup=False, highlight=False, soft_wrap=True
            )

    def follow(self, work: Work, journal: Sequence[Mapping[str, Any]]) -> None:
        """Take the journal as another process has written it."""
        self.watch.work = work
        for entry in journal[len(self.journal) :]:
            self(entry)

    def _enter_stage(self, entry: Mapping[str, Any]) -> None:
        self.stage = entry["stage"]
        self.detail = f" {entry['task']} {entry['split']}" if self.stage == "tokenise" else ""
        if self.stage in ("pretrain", "trials"):
            self.rate_from, self.rate_done = time.time(), self.watch.steps(self.states())[0]

    def states(self) -> tuple[TrialState, ...]:
        """Every trial as it stands."""
        return self.watch.states(list(self.journal))

    def time_left(self, done: int, total: int) -> float | None:
        """Seconds left at the rate of this stage."""
        return time_left_s(time.time() - self.rate_from, done - self.rate_done, total - self.rate_done)

    def describe(self, entry: Mapping[str, Any]) -> str:
        """One line for people about an event; "" for one that says nothing by itself."""
        if entry["event"] == "stage":
            return f"{STAGES.get(self.stage, self.stage)}{self.detail}"
        trial = next((t for t in self.watch.work.trials if t.trial_id == entry.get("trial_id")), None)
        title = trial.title if trial else str(entry.get("trial_id") or entry.get("job", ""))
        if entry["event"] == "rung":
            names = short_names(self.watch.work.targets)
            each = ", ".join(f"{names.get(t, t)} {percent(v) or '-'}" for t, v in entry.get("scores", {}).items())
            action = {"stop": "stopped", "pause": "paused"}.get(str(entry.get("decision")))
            stop = f", {action}: {entry.get('reason', '')}" if action else ""
            rungs = f"rung {entry['rung_index'] + 1}/{self.watch.work.num_rungs} ({entry['rung']:,} examples)"
            return f"{title}: {rungs}: Finnish {percent(entry.get('fi_accuracy')) or '-'} % ({each}){stop}"
        if entry["event"] in ("failed", "retried"):
            lines = str(entry.get("error", "")).strip().splitlines() or ["no reason known"]
            what = "failed" if entry["event"] == "failed" else f"tried again ({entry.get('kind', '')})"
            return f"{title}: {what}: {lines[-1][:300]}"
        if entry["event"] == "halted":
            return str(entry["text"])
        if entry["event"] == "promoted":
            return f"{title}: promoted beyond rung {entry['rung_index'] + 1}/{self.watch.work.num_rungs}"
        return "" if entry["event"] in ("created", "opened", "closed", "phase") else f"{title}: {entry['event']}"

    def renderable(self) -> RenderableType:
        """The whole view, as wide and high as the terminal."""
        work, states = self.watch.work, self.states()
        done, total = self.watch.steps(states)
        width, height = self.console.size
        more = any(
            not trial.phases for trial in work.trials
        )  # to an onlooker the phases of a trial that waits are unknown
        ends = total > 0 and done == total and not more  # the last evaluation and the report are left
        time_left = None if more else self.time_left(done, total)
        left = ("  ", "finishing") if ends else ("  left ", clock(time_left))
        head = Text.assemble((f"{work.name}  ", "bold"), (f"{STAGES.get(self.stage, self.stage)}{self.detail}", "cyan"))
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(total, 1), completed=done, width=max(10, min(40, width - 62))),
            f"{done:,} of {f'at least {total:,}' if more else f'{total:,}'} steps",
            Text.assemble("elapsed ", (clock(time.time() - self.started), "bold"), left[0], (left[1], "bold")),
        )
        parts: list[RenderableType] = [head]
        if work.question:
            parts.append(Text(work.question, style="italic", overflow="ellipsis", no_wrap=True))
        most = height - HEADER_LINES
        parts += [bar, "", trial_table(states, work, width, most)]
        hidden = len(states) - most
        not_shown = f"  ({hidden} not shown)" if hidden > 0 else ""
        parts.append(Text(f"{summary_line(states)}{not_shown}", style="dim"))
        return Group(*parts)

    def _tick(self) -> None:
        while not self._ended.wait(PLAIN_EVERY_S):
            states = self.states()
            done, total = self.watch.steps(states)
            elapsed, left = clock(time.time() - self.started), clock(self.time_left(done, total))
            running = "; ".join(f"{s.trial.title} {s.phase}".strip() for s in states if s.status == "running")
            self.console.print(
                f"[{elapsed}] {done:,} of {total:,} steps, left {left}; "
                f"{summary_line(states)}{'; ' + running if running else ''}",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )


@contextlib.contextmanager
def diverted(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send what this process and its libraries print to a file; yields the real stdout and stderr.

    Libraries print below Python, and from threads and child processes, so the file descriptors are moved.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        outputs = tuple(stack.enter_context(os.fdopen(os.dup(number), "w", encoding="utf-8")) for number in (1, 2))
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        try:
            yield outputs[0], outputs[1]
        finally:
            for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
                stream.flush()
                outputs[number - 1].flush()
                os.dup2(outputs[number - 1].fileno(), number)
