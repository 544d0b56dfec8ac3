"""What `xlray submit` and `logs` show of a job: its log as it comes and, on a terminal, its sweep as a table that moves."""

from __future__ import annotations

import sys
import threading
import time
import urllib.parse
from collections.abc import Callable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from xlray.cluster.ray_dashboard import SNAPSHOT_SUFFIX, RayUnreachableError, ask
from xlray.monitor.live import SHOWN_EVERY_S, is_tick, moving
from xlray.monitor.table import draw
from xlray.monitor.view import View, from_document

LATE_S = 15.0  # after which what is shown is said to be old


def fetch_view(place: str, job_id: str) -> View | None:
    """How far the sweep of a job is; None where its driver has not said so yet.

    Raises:
        RayUnreachableError: nobody answers.
    """
    node = ask(place, f"/api/jobs/{job_id}").get("driver_node_id") or ""
    query = {"node_id": node, "filename": f"job-driver-{job_id}{SNAPSHOT_SUFFIX}", "lines": -1}
    try:
        return from_document(ask(place, f"/api/v0/logs/file?{urllib.parse.urlencode(query)}"))
    except (RayUnreachableError, KeyError, TypeError):
        return None


class Screen:
    """Prints a log as it comes, lines of failure to stderr, as where the command runs here. A context.

    Attributes:
        job_id: of the job that is shown; may change while it is.
        has_said_why: whether a line of failure was printed.
    """

    def __init__(self, job_id: str, fetch: Callable[[str], View | None], console: Console | None = None) -> None:
        self.job_id = job_id
        self.has_said_why = False
        self._fetch = fetch
        self._rest = ""
        self._console = console or Console()
        self._view: tuple[float, View] | None = None
        self._ended = threading.Event()
        self._live: Live | None = None

    def __enter__(self) -> Screen:
        if self._console.is_terminal:
            # Erased at the end: the log ends with the table of results.
            self._live = moving(self._console, self.renderable, transient=True)
            self._live.start()
            threading.Thread(target=self._keep_fetching, name="xlray-following", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._rest:
            self._print(self._rest)
        self._stop()

    def __call__(self, piece: str) -> None:
        """Take a piece of the log."""
        *lines, self._rest = (self._rest + piece).split("\n")
        for line in lines:
            self._print(line)

    def renderable(self) -> RenderableType:
        """The table as of the last view; nothing before the first."""
        if self._view is None:
            return Text("")
        age = time.monotonic() - self._view[0]
        return draw(self._view[1], *self._console.size, note=f"as of {age:.0f} s ago" if age > LATE_S else "")

    def _keep_fetching(self) -> None:
        while not self._ended.wait(SHOWN_EVERY_S):
            try:
                view = self._fetch(self.job_id)
            except RayUnreachableError:
                continue
            if view is not None and (self._view is None or view != self._view[1]):  # that of a driver that died stays
                self._view = (time.monotonic(), view)

    def _stop(self) -> None:
        self._view = None  # what is erased at the end must be as high as what is drawn last
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _print(self, line: str) -> None:
        is_failure = line.startswith("xlray: ")
        self.has_said_why = self.has_said_why or is_failure
        if self._live is not None and not is_failure:
            if self._view is None or not is_tick(line):
                self._console.print(line, markup=False, highlight=False, soft_wrap=True)
            return
        self._stop()
        print(line, file=sys.stderr if is_failure else sys.stdout, flush=True)
