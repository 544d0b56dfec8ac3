"""Training curves of the trials that run, from the points that their workers log: bounded in trials and in points."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from xlray.errors import InputError, RemoteError
from xlray.monitor.progress import PhaseWork, Watch
from xlray.phases.curves import CURVE, POINTS_FILE, STEPS_FILE, LogPoint, read_points
from xlray.storage.parquet import read_table

MOST_JOBS = 24  # of an answer
MOST_POINTS = 60  # of a phase
METRICS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "padding_ratio")

Line = list[tuple[int, float | None]]


class Curves:
    """The curves of phases, each read again only where its file has changed; one thread at a time may use it."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self._finished: dict[Path, pa.Table] = {}
        self._running: dict[Path, tuple[tuple[int, int], list[LogPoint]]] = {}

    def line(self, phase: PhaseWork, metric: str) -> Line:
        """(step, value) of a phase, finished or under way; steps count from the beginning of the order of examples.

        Args:
            metric: one of `METRICS`.

        Returns:
            At most `MOST_POINTS`, evenly spread; None for what is not finite, [] where nothing is logged (yet, or here).
        """
        if phase.folder in self.watch.finished:
            curve = self._of_finished(phase.folder)
            values = list(zip(curve["step"].to_pylist(), curve[metric].to_pylist(), strict=True))
        else:
            points = self._of_running(phase.folder / "attempt" / POINTS_FILE)
            values = [(point.step, _value(point, metric)) for point in points]
        found = _spread(values)
        return [
            (step, None if value is None or not math.isfinite(value) else float(f"{value:.4g}"))
            for step, value in found
        ]

    def _of_finished(self, folder: Path) -> pa.Table:
        if folder not in self._finished:
            self._bring(folder / STEPS_FILE)
            self._finished[folder] = CURVE.empty_table()
            with contextlib.suppress(InputError, FileNotFoundError):  # stored by an earlier version, or damaged
                self._finished[folder] = read_table(folder / STEPS_FILE, CURVE)
        return self._finished[folder]

    def _of_running(self, path: Path) -> list[LogPoint]:
        self._bring(path)
        try:
            found = path.stat()
        except OSError:
            return []
        now = (found.st_mtime_ns, found.st_size)
        if self._running.get(path, (None,))[0] != now:
            self._running[path] = (now, read_points(path))
        return self._running[path][1]

    def _bring(self, path: Path) -> None:
        """From an object store, now and then."""
        if self.watch.is_due(str(path)):
            with contextlib.suppress(RemoteError):
                self.watch.directory.storage.fetch_small(path, again=True)


def _value(point: LogPoint, metric: str) -> float:
    if metric == "tokens_per_second":
        return point.num_tokens / max(1e-9, point.seconds)
    if metric == "padding_ratio":
        return 1 - point.num_tokens / max(1, point.num_slots)
    value: float = getattr(point, metric)
    return value if metric == "learning_rate" else value / point.num_steps


def _spread(values: Sequence[tuple[int, float]]) -> Sequence[tuple[int, float]]:
    """At most `MOST_POINTS` of them, evenly spread, first and last among them."""
    last = len(values) - 1
    if last < MOST_POINTS:
        return values
    return [values[round(n * last / (MOST_POINTS - 1))] for n in range(MOST_POINTS)]


def shown_phases(phases: Sequence[PhaseWork], current: PhaseWork | None) -> list[PhaseWork]:
    """Of a job the phase that runs, behind the segments of its trunk that are finished: one line over all rungs."""
    if current is None:
        return []
    before = phases[: phases.index(current)]
    return [*(phase for phase in before if phase.kind == "trunk" and current.kind == "trunk"), current]
