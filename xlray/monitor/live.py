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
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console, RenderableType
from rich.live import Live

from xlray.monitor.lasting import Lasting
from xlray.monitor.reader import Reader
from xlray.monitor.table import MOST_ROWS, draw, percent, short_names
from xlray.monitor.view import View, clock, last_line, summary_line
from xlray.storage.files import write_atomically
from xlray.storage.standings import accuracy_name, accuracy_of
from xlray.tasks.languages import language_name

PLAIN_EVERY_S = 20.0
REFRESH_PER_S = 2.0
SHOWN_EVERY_S = 2.0  # to clients that look on, through a file
TICK = re.compile(r"\[[\d:]+\] [\d,]+ of [\d,]+ steps, left ")


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
        reader: of the sweep.
        started: of the command, in seconds UTC.
        file: where clients that look on find a `View`, kept up to date; or None.
    """

    def __init__(self, console: Console, reader: Reader, started: float, file: Path | None = None) -> None:
        self.console = console
        self.reader = reader
        self.started = started
        self.file = file
        self._lock = threading.Lock()  # of the reader: the terminal is drawn in a thread of its own
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
        """Take one entry of the journal as it is written, or one stage."""
        with self._lock:
            self.reader.take({"time": time.time(), **entry})
        self._print(entry)

    def follow(self) -> None:
        """Take what another process has written to the journal."""
        with self._lock:
            entries = self.reader.refresh()
        for entry in entries:
            self._print(entry)

    def _print(self, entry: Mapping[str, Any]) -> None:
        line = self.describe(entry)
        if line and (self._live is None or entry["event"] in ("failed", "retried", "halted", "note")):
            self.console.print(
                f"[{clock(time.time() - self.started)}] {line}", markup=False, highlight=False, soft_wrap=True
            )

    def describe(self, entry: Mapping[str, Any]) -> str:
        """One line for people about an event; "" for one that says nothing by itself."""
        if entry["event"] == "stage":
            return self.reader.stage_text
        title = self.reader.following.title(str(entry.get("trial_id") or entry.get("job", "")))
        if entry["event"] == "rung":
            names = short_names(self.reader.targets)
            each = ", ".join(f"{names.get(t, t)} {percent(v) or '-'}" for t, v in entry.get("scores", {}).items())
            action = {"stop": "stopped", "pause": "paused"}.get(str(entry.get("decision")))
            stop = f", {action}: {entry.get('reason', '')}" if action else ""
            rungs = f"rung {entry['rung_index'] + 1}/{self.reader.num_rungs} ({entry['rung']:,} examples)"
            first, *others = self.reader.languages
            means = [f"{language_name(first)} {percent(accuracy_of(entry)) or '-'} % ({each})"]
            means += [f"{language_name(code)} {percent(entry.get(accuracy_name(code))) or '-'} %" for code in others]
            return f"{title}: {rungs}: {', '.join(means)}{stop}"
        if entry["event"] in ("failed", "retried"):
            what = "failed" if entry["event"] == "failed" else f"retried ({entry.get('kind', '')})"
            return f"{title}: {what}: {last_line(str(entry.get('error', ''))) or 'no reason known'}"
        if entry["event"] in ("halted", "note"):
            return str(entry["text"])
        if entry["event"] == "promoted":
            return f"{title}: promoted beyond rung {entry['rung_index'] + 1}/{self.reader.num_rungs}"
        if entry["event"] == "outdated":
            return f"{title}: its inputs have changed since it reported; what it reported is read or computed again"
        if entry["event"] == "dropped":
            return f"{title}: no longer in the sweep; what was computed stays stored"
        return "" if entry["event"] in ("created", "opened", "closed", "phase") else f"{title}: {entry['event']}"

    def view(self) -> View:
        """The sweep as it stands, with the trials that are shown first."""
        with self._lock:
            return self.reader.view(lambda followed: followed.shown_first(MOST_ROWS))

    def renderable(self) -> RenderableType:
        """The whole view, as wide and high as the terminal."""
        return draw(self.view(), *self.console.size)

    def _tick(self) -> None:
        printed = time.monotonic()
        while not self._ended.wait(PLAIN_EVERY_S if self.file is None else SHOWN_EVERY_S):
            view = self.view()
            if self.file is not None:
                self._show(view)
            if time.monotonic() - printed >= PLAIN_EVERY_S - SHOWN_EVERY_S:
                printed = time.monotonic()
                running = "; ".join(f"{s.title} {s.phase}".strip() for s in view.rows if s.status == "running")
                line = f"[{clock(view.elapsed_s)}] {view.done:,} of {view.total:,} steps, left {clock(view.left_s)}; "
                line += f"{summary_line(view.counts)}{'; ' + running if running else ''}"
                self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _show(self, view: View) -> None:
        assert self.file is not None
        with contextlib.suppress(OSError):  # a convenience, on the disk of Ray's own logs
            write_atomically(self.file, json.dumps(dataclasses.asdict(view)))


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
