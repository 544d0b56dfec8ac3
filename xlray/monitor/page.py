"""The live page's data: what a page needs that has seen a sweep up to a version, in answers of bounded size."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xlray.errors import InputError, require
from xlray.monitor.curves import METRICS, MOST_JOBS, Curves, shown_phases
from xlray.monitor.progress import PhaseWork
from xlray.monitor.reader import Reader
from xlray.monitor.view import last_line
from xlray.plan.jobs import is_shared
from xlray.storage.cells import cell_in_words
from xlray.storage.standings import accuracy_of
from xlray.storage.sweep_folder import SweepFolder
from xlray.tasks.languages import language_name

ENDED = ("finished", "stopped", "failed")
MOST_ROWS = 150  # of an answer: 10,000 trials come in some seventy answers, one right after the other


def hours_left(left_s: float | None, devices: float) -> float | None:
    """Device-hours to come if as many devices stay held as are held now; None if the time left is not known."""
    return None if left_s is None else left_s * devices / 3600


def share_done(finished: Sequence[PhaseWork], done: int, phases: Sequence[PhaseWork]) -> float:
    """Share of a job's steps that are done: of finished phases and `done` of the next; 0 while its phases are not known."""
    total = sum(phase.num_steps for phase in phases)
    return (sum(phase.num_steps for phase in finished) + done) / total if total else 0.0


class SweepPage:
    """A sweep's folder, followed for any number of open pages; one thread at a time may use it."""

    def __init__(self, directory: SweepFolder, price_per_hour: float | None = None) -> None:
        self.directory = directory
        self.price_per_hour = price_per_hour
        self.reader = Reader(directory)
        self._was_reported = False  # in an object store
        self._curves: tuple[str, Curves] | None = None  # of a reading of the journal

    def document(self, since: int = 0, replay: str = "") -> dict[str, Any]:
        """What a page needs that has seen everything up to a version of a reading of the journal; else everything.

        Where more trials have changed than an answer holds, `more` is set, `version` is that of the last one that it
        holds, and the page asks again at once. `cells` and `cell_names` (in words) are None where they have not changed since
        the page's version.

        Raises:
            InputError: the journal or the definition cannot be read.
        """
        self.reader.refresh()
        followed, now = self.reader.following, time.time()
        since = since if replay == self.reader.replay else 0
        view = self.reader.view(lambda followed: followed.changed_since(since, MOST_ROWS))
        version = followed.versions[view.rows[-1].trial_id] if len(view.rows) == MOST_ROWS else followed.version
        execution = self.reader.definition.get("execution", {})
        seconds = followed.job_seconds(now if self.reader.held else followed.changed)
        workers = execution.get("num_workers", 1)  # or the least and the most
        ray = self._read("ray.json")
        share = (ray or {}).get("device_share", 1)
        devices = share * (workers[1] if isinstance(workers, list) else workers)  # of one job
        hours, left = seconds * devices / 3600, hours_left(view.left_s, len(followed.open_runs) * devices)
        more = version < followed.version
        return {
            **vars(view),
            "rows": [vars(row) for row in view.rows],
            "language_names": [language_name(code) for code in view.languages],
            "halted": followed.halted,
            "time": now,
            "changed": followed.changed,
            "replay": self.reader.replay,
            "version": version,
            "more": more,
            "rungs": self.reader.definition.get("intermediate", {}).get("rungs", []),
            "device": "GPU" if execution.get("gpus_per_worker") else "worker",
            "device_hours": hours,
            "device_hours_left": left,
            "cost": None if self.price_per_hour is None else hours * self.price_per_hour,
            "cost_left": None if self.price_per_hour is None or left is None else left * self.price_per_hour,
            "num_phases": followed.num_phases,
            "cells": None if followed.cells_version <= since else followed.cells(),
            "cell_names": None if followed.cells_version <= since else self._cell_names(),
            "running": [self._running(job) for job in followed.open_runs] if self.reader.held else [],
            "notes": [self._note(entry) for entry in reversed(followed.notes)],
            "report": self._has_report(),
            "ray": ray,
        }

    def _cell_names(self) -> dict[str, str]:
        return {cell: cell_in_words(cell, "no task") for cell in self.reader.following.cell_names()}

    def line(self) -> dict[str, Any]:
        """The sweep in one line, for the overview of a storage: state, trials by status, share that is done (0 to 1), seconds
        left or None, best accuracy of its last rung, when it changed.

        Raises:
            InputError: the journal or the definition cannot be read.
        """
        self.reader.refresh()
        followed, view = self.reader.following, self.reader.view(lambda _: ())
        rows = followed.cells()
        last = max((row["rung_index"] for row in rows), default=None)
        best = [row["best"] for row in rows if row["rung_index"] == last and row["best"] is not None]
        ended = sum(view.counts.get(status, 0) for status in ENDED)
        running = sum(self._share(job) for job in followed.open_runs if not is_shared(job)) if self.reader.held else 0.0
        return {
            "name": view.name,
            "question": view.question,
            "state": view.state,
            "counts": view.counts,
            "share": (ended + running) / view.num_trials if view.num_trials else 0.0,
            "left_s": view.left_s,
            "language": view.language,
            "best_accuracy": max(best, default=None),
            "rung": None if last is None else last + 1,
            "rungs": view.num_rungs,
            "changed": followed.changed,
        }

    def curves(self, metric: str) -> dict[str, Any]:
        """Training curves of the trials that run, `MOST_JOBS` at most.

        Returns:
            `lines`: of each phase its trial, cell, kind, label and points (step, value); `total`: how many trials run.

        Raises:
            InputError: the metric is none of `METRICS`, or the journal cannot be read.
        """
        require(metric in METRICS, f"metric is one of {', '.join(METRICS)}", metric, "curves")
        self.reader.refresh()
        self.reader.view(lambda _: ())  # where each job is
        if self._curves is None or self._curves[0] != self.reader.replay:
            self._curves = self.reader.replay, Curves(self.reader.watch)
        jobs = list(self.reader.following.open_runs) if self.reader.held else []
        lines = []
        for job in jobs[:MOST_JOBS]:
            phases, current = self.reader.watch.phases.get(job, ()), self.reader.current[job][0]
            points = [p for phase in shown_phases(phases, current) for p in self._curves[1].line(phase, metric)]
            if current is not None and points:
                cell = "" if is_shared(job) else self.reader.following.row(job).cell
                place = {"trial_id": job, "title": self._title(job), "cell": cell}
                lines.append(
                    {**place, "kind": current.label if current.kind == "target" else current.kind, "points": points}
                )
        return {"metric": metric, "lines": lines, "total": len(jobs)}

    def _title(self, job: str) -> str:
        name = job.partition("-")[2]
        return f"before all trials{f', {name}' if name else ''}" if is_shared(job) else self.reader.following.title(job)

    def _share(self, job: str) -> float:
        """Share of a running job's steps that are done."""
        phases, (phase, done) = self.reader.watch.phases.get(job, ()), self.reader.current[job]
        return share_done(phases[: phases.index(phase)] if phase else phases, done, phases)

    def trial(self, trial_id: str) -> dict[str, Any]:
        """What is shown of one trial when it is opened: its rungs, its error in full, and where it runs or ran.

        Raises:
            InputError: there is no such trial.
        """
        followed = self.reader.following
        if trial_id not in followed.places:
            raise InputError(f"{trial_id}: no such trial.")
        standing = followed.standing(trial_id)
        keys = ("time", "rung", "scores", "scores_in", "score", "decision", "reason", "cutoff", "degenerate")
        rungs = [
            {**{key: entry.get(key) for key in keys}, "accuracy": accuracy_of(entry)}
            for _, entry in sorted(standing.current.items())
        ]
        place = self._read(f"progress/{trial_id}.ray.json")
        return {**vars(followed.row(trial_id)), "history": rungs, "error": standing.error, "place": place}

    def report_file(self, inside: str) -> Path | None:
        """A file of the sweep's report; None where there is none, or it is not in the report's folder."""
        folder = self.directory / "report"
        path = folder / inside
        if not path.resolve().is_relative_to(folder.resolve()):
            return None
        self.directory.storage.fetch_small(path, again=True)
        return path if path.is_file() else None

    def _has_report(self) -> bool:
        storage, path = self.directory.storage, self.directory / "report/report.html"
        if storage.remote is None:
            return path.is_file()
        if not self._was_reported and self.reader.watch.is_due("report"):
            self._was_reported = storage.remote.changed(storage.relative(path)) is not None
        return self._was_reported

    def _running(self, job: str) -> dict[str, Any]:
        """Where a job is: its phase and step, speed, and the processes that Ray runs it in."""
        run, phases = self.reader.following.open_runs[job], self.reader.watch.phases.get(job, ())
        phase, done = self.reader.current[job]
        number = phases.index(phase) + 1 if phase else len(phases)
        shown = self._read(f"progress/{job}.json") or {}
        if phase is None or shown.get("kind") != phase.kind or shown.get("time", 0.0) < run.started:
            shown = {}
        place = self._read(f"progress/{job}.ray.json") or {}
        return {
            "trial_id": job,
            "title": self._title(job),
            "phase": phase.label if phase else "",
            "number": number,
            "phases": len(phases),
            "done": done,
            "steps": phase.num_steps if phase else 0,
            "share": self._share(job),
            "loss": shown.get("loss"),
            "tokens_per_second": shown.get("tokens_per_second"),
            "padding_ratio": shown.get("padding_ratio"),
            "since": run.started,
            "place": place if place.get("run") == run.name else None,
        }

    def _note(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        name = entry.get("trial_id", entry.get("job"))
        return {
            "time": entry.get("time"),
            "event": entry["event"],
            "title": "" if name is None else self.reader.following.title(name),
            "text": last_line(str(entry.get("text") or entry.get("error") or "")),
        }

    def _read(self, name: str) -> dict[str, Any] | None:
        """A JSON document of the sweep's folder; None if there is none yet, or it is being written."""
        if self.reader.watch.is_due(name):
            self.directory.storage.fetch_small(self.directory / name, again=True)
        try:
            found = json.loads((self.directory / name).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None
