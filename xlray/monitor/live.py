"""The live view of a sweep under way: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.live import Live

from xlray.monitor.lasting import Lasting
from xlray.monitor.progress import TrialState, Watch, Work, clock, time_left_s, with_created, with_phases
from xlray.monitor.table import Snapshot, draw, percent, rows_of, short_names, summary_line
from xlray.storage.files import write_atomically

PLAIN_EVERY_S = 20.0
REFRESH_PER_S = 2.0
SHOWN_EVERY_S = 2.0  # to clients that look on, through a file
TICK = re.compile(r"\[[\d:]+\] [\d,]+ of [\d,]+ steps, left ")
STAGES = {
    "lease": "waiting up to a minute: another driver had this sweep, and may still be running",
    "planned": "starting",
    "tokenizer": "training the tokenizer",
    "machines": "waiting for the cluster's machines to join",
    "prepare": "preparing the data",
    "tokenise": "tokenising",
    "pretrain": "pre-training the encoder",
    "trials": "running trials",
}


def _nobody() -> Callable[..., None]:
    return lambda _: None


def moving(console: Console, renderable: Callable[[], RenderableType], transient: bool = False) -> Live:
    """A part of a terminal that is drawn again and again; what is printed goes above it."""
    return Live(
        console=console,
        get_renderable=renderable,
        refresh_per_second=REFRESH_PER_S,
        transient=transient,
        redirect_stdout=False,
        redirect_stderr=False,
        vertical_overflow="crop",
    )


class LiveView:
    """The listener of a run: give it to `sweep.run(listener=...)` and use it as a context.

    Attributes:
        journal: entries of earlier runs, then those of this one.
        file: where clients that look on find a `Snapshot`, kept up to date; or None.
    """

    def __init__(
        self,
        console: Console,
        watch: Watch,
        journal: Sequence[Mapping[str, Any]],
        started: float,
        file: Path | None = None,
    ) -> None:
        self.console = console
        self.watch = watch
        self.journal: list[Mapping[str, Any]] = list(journal)
        self.started = started
        self.file = file
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
            self._live = moving(self.console, self.renderable)
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
        if line and (self._live is None or event in ("failed", "retried", "halted", "note")):
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
            what = "failed" if entry["event"] == "failed" else f"retried ({entry.get('kind', '')})"
            return f"{title}: {what}: {lines[-1][:300]}"
        if entry["event"] in ("halted", "note"):
            return str(entry["text"])
        if entry["event"] == "promoted":
            return f"{title}: promoted beyond rung {entry['rung_index'] + 1}/{self.watch.work.num_rungs}"
        if entry["event"] == "outdated":
            return f"{title}: its inputs have changed since it reported; what it reported is read or computed again"
        if entry["event"] == "dropped":
            return f"{title}: no longer in the sweep; what was computed stays stored"
        return "" if entry["event"] in ("created", "opened", "closed", "phase") else f"{title}: {entry['event']}"

    def snapshot(self) -> Snapshot:
        """The sweep as it stands."""
        work, states = self.watch.work, self.states()
        done, total = self.watch.steps(states)
        return Snapshot(
            name=work.name,
            question=work.question,
            stage=f"{STAGES.get(self.stage, self.stage)}{self.detail}",
            targets=work.targets,
            num_rungs=work.num_rungs,
            done=done,
            total=total,
            has_more=any(not trial.phases for trial in work.trials),  # to an onlooker those of a trial that waits
            elapsed_s=time.time() - self.started,
            left_s=self.time_left(done, total),
            counts=summary_line(states),
            num_trials=len(states),
            states=rows_of(states),
        )

    def renderable(self) -> RenderableType:
        """The whole view, as wide and high as the terminal."""
        return draw(self.snapshot(), *self.console.size)

    def _tick(self) -> None:
        printed = time.monotonic()
        while not self._ended.wait(PLAIN_EVERY_S if self.file is None else SHOWN_EVERY_S):
            shot = self.snapshot()
            if self.file is not None:
                self._show(shot)
            if time.monotonic() - printed >= PLAIN_EVERY_S - SHOWN_EVERY_S:
                printed = time.monotonic()
                running = "; ".join(f"{s.trial.title} {s.phase}".strip() for s in shot.states if s.status == "running")
                line = f"[{clock(shot.elapsed_s)}] {shot.done:,} of {shot.total:,} steps, left {clock(shot.left_s)}; "
                line += f"{shot.counts}{'; ' + running if running else ''}"
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, shot: Snapshot) -> None:
        assert self.file is not None
        with contextlib.suppress(OSError):  # a convenience, on the disk of Ray's own logs
            write_atomically(self.file, json.dumps(dataclasses.asdict(shot)))


def is_tick(line: str) -> bool:
    """Whether a line of plain progress says only what a table says, too."""
    return TICK.match(line) is not None


@contextlib.contextmanager
def diverted(log: Path) -> Iterator[tuple[TextIO, TextIO]]:
    """Send what this process and its libraries print to a file; yields the real stdout and stderr.

    Libraries print below Python, and from threads and child processes, so the file descriptors are moved. Where the
    real ones go away, what runs continues.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as stack:
        said = {1: sys.stdout.encoding, 2: sys.stderr.encoding}
        real = [
            stack.enter_context(os.fdopen(os.dup(number), "w", encoding=said[number], errors="backslashreplace"))
            for number in (1, 2)
        ]
        outputs = [cast(TextIO, Lasting(stream, print)) for stream in real]
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
