"""The live page's data: a sweep as its journal and its workers' files say it is, taken in entry by entry.

A poll costs what is new: of 10,000 trials only those that changed are sent again, and files are read of running ones alone.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.monitor.progress import Watch, Work, is_running, phases_of_job
from xlray.storage.journal import Follower
from xlray.storage.standings import OPEN_STATES, Standing, Standings
from xlray.storage.working_folder import fetch_small, refresh, root_of

ENDINGS = ("finished", "stopped", "paused", "interrupted", "failed", "retried")
HELD_EVERY_S = 5.0  # between two looks at who holds the journal
NOTES = ("halted", "failed", "retried", "damaged", "promoted", "opened", "closed")
NUM_NOTES = 12


@dataclass
class Following:
    """A sweep that is followed through its journal; pure but for what `add` is given.

    Attributes:
        places: trial to its cell, role, tasks and seed, as it was created.
        versions: trial to the number of the entry that changed it last; what a page has not seen yet is above its own.
        open_runs: job to (time it was started, name of its Train run).
        spent_s: seconds of the jobs that ended.
        notes: the last entries that people want to know of.
    """

    found: Standings = field(default_factory=Standings)
    places: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    version: int = 0
    open_runs: dict[str, tuple[float, str]] = field(default_factory=dict)
    spent_s: float = 0.0
    num_phases: int = 0
    changed: float = 0.0
    halted: str = ""
    notes: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Take one entry of the journal."""
        self.version += 1
        event, name = entry["event"], entry.get("trial_id", entry.get("job"))
        if event == "opened":
            for job in list(self.open_runs):  # their driver died, some time after its last entry
                self._end(job, self.changed)
            reopened = ("running", "interrupted", "failed")
            self.versions |= {k: self.version for k, s in self.found.trials.items() if s.status in reopened}
            self.halted = ""
        self.changed = float(entry.get("time", self.changed))
        self.found.add(entry)
        if event == "created":
            self.places[str(name)] = entry
        elif event == "running":
            self.open_runs[str(name)] = (self.changed, str(entry.get("run", "")))
        elif event == "phase":
            self.num_phases += 1
        elif event == "halted":
            self.halted = str(entry["text"])
        elif event in ENDINGS:
            self._end(str(name), self.changed)
        if name is not None:
            self.versions[str(name)] = self.version
        if event in NOTES:
            self.notes = [*self.notes, entry][-NUM_NOTES:]

    def _end(self, job: str, at: float) -> None:
        started, _ = self.open_runs.pop(job, (at, ""))
        self.spent_s += at - started

    def job_seconds(self, now: float) -> float:
        """Seconds of all jobs, each for as long as it held its workers."""
        return self.spent_s + sum(now - started for started, _ in self.open_runs.values())

    def trial_row(self, trial_id: str) -> dict[str, Any]:
        """A trial as the page lists it."""
        place, standing = self.places[trial_id], self.found.trials.get(trial_id, Standing())
        last = standing.last
        return {
            "id": trial_id,
            "title": title_of(place),
            "status": standing.status,
            "role": place.get("role", ""),
            "cell": place.get("cell", ""),
            "tasks": list(place.get("tasks", ())),
            "seed": place.get("seed", 0),
            "rungs": len(standing.current),
            "rung": last.get("rung"),
            "fi_accuracy": last.get("fi_accuracy"),
            "scores": last.get("scores", {}),
            "degenerate": last.get("degenerate") or "",
            "reason": last.get("reason", "") if standing.status in ("stopped", "paused") else "",
            "error": (standing.error.strip().splitlines() or [""])[-1][:300],
            "attempts": standing.num_attempts,
        }

    def cells(self) -> list[dict[str, Any]]:
        """What each cell's trials have reported at each rung: how many, mean and best Finnish accuracy, mean per target."""
        reported: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
        trials: dict[str, list[str]] = {}
        for trial_id in self.members():
            place, standing = self.places[trial_id], self.found.trials[trial_id]
            trials.setdefault(place.get("cell", ""), []).append(standing.status)
            for index, entry in standing.current.items():
                reported.setdefault((entry["cell"], index), []).append(entry)
        rows = []
        for (cell, index), entries in sorted(reported.items()):
            finnish = [e["fi_accuracy"] for e in entries if is_number(e.get("fi_accuracy"))]
            targets = {task for e in entries for task in e.get("scores", {})}
            scores = {task: mean(e.get("scores", {}).get(task) for e in entries) for task in sorted(targets)}
            rows.append(
                {
                    "cell": cell,
                    "rung_index": index,
                    "rung": entries[-1].get("rung"),
                    "reported": len(entries),
                    "ended": sum(e.get("decision") == "stop" for e in entries),
                    "trials": len(trials.get(cell, ())),
                    "fi_accuracy": mean(finnish),
                    "best": max(finnish, default=None),
                    "scores": scores,
                }
            )
        return rows

    def members(self) -> list[str]:
        """The trials that the sweep has now."""
        return [trial_id for trial_id in self.places if self.found.trials[trial_id].status != "dropped"]

    def counts(self) -> dict[str, int]:
        """Trials by status."""
        counted: dict[str, int] = {}
        for trial_id in self.members():
            status = self.found.trials[trial_id].status
            counted[status] = counted.get(status, 0) + 1
        return counted

    def state(self, running: bool) -> str:
        """See `progress.sweep_state`."""
        counts = self.counts()
        if running:
            return "running"
        if not counts:
            return "planned"
        if any(counts.get(status) for status in OPEN_STATES):
            return "interrupted"
        return "failed" if counts.get("failed") else "finished"


def title_of(created: Mapping[str, Any]) -> str:
    """The readable name of a trial, from the entry of its creation."""
    return f"{len(created.get('tasks', ()))}tasks-s{created.get('seed', 0)}-{created['trial_id']}"


def is_number(value: Any) -> bool:
    """Whether a score is there and finite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def mean(values: Iterable[Any]) -> float | None:
    """Of those that are numbers; None if none is."""
    known = [float(value) for value in values if is_number(value)]
    return math.fsum(known) / len(known) if known else None


class SweepPage:
    """A sweep's folder, followed for any number of open pages; one thread at a time may use it.

    Raises:
        InputError: the journal cannot be read.
    """

    def __init__(self, directory: Path, price_per_hour: float | None = None) -> None:
        self.directory = directory
        self.price_per_hour = price_per_hour
        self.following = Following()
        self._follower = Follower(directory / "journal")
        self._definition: Mapping[str, Any] = {}
        self._watch = Watch(Work(directory.name, "", directory, 0, (), (), ()))
        self._phases: dict[str, tuple[str, Any]] = {}  # job to its run and that run's phases
        self._cells: tuple[int, list[dict[str, Any]]] = (-1, [])
        self._held = (-math.inf, False)
        self._brought = -math.inf

    def document(self, since: int = 0) -> dict[str, Any]:
        """What a page needs that has seen everything up to a version; with 0, everything."""
        is_remote = root_of(self.directory) is not None
        if not is_remote or time.monotonic() - self._brought >= HELD_EVERY_S:
            self._brought = time.monotonic()
            bring_page(self.directory)
            for entry in self._follower.new():
                self.following.add(entry)
        followed, now = self.following, time.time()
        if not self._definition:
            self._definition = self._read("sweep.json") or {}
        if self._cells[0] != followed.version:
            self._cells = (followed.version, followed.cells())
        if since > followed.version:  # of another sweep under this name
            since = 0
        listed = (
            followed.places if since else followed.members()
        )  # a page that knows a trial is told that it was dropped
        changed = [trial_id for trial_id in listed if followed.versions[trial_id] > since]
        definition, running = self._definition, self._is_held()
        execution = definition.get("execution", {})
        seconds = followed.job_seconds(now if running else followed.changed)
        workers = execution.get("num_workers", 1)  # or the least and the most
        hours = seconds * (workers[1] if isinstance(workers, list) else workers) / 3600
        return {
            "name": self.directory.name,
            "question": definition.get("question", ""),
            "state": followed.state(running),
            "halted": followed.halted,
            "time": now,
            "changed": followed.changed,
            "version": followed.version,
            "counts": followed.counts(),
            "targets": [t["task"] for t in definition.get("targets", ())],
            "rungs": definition.get("intermediate", {}).get("rungs", []),
            "device": "GPU" if execution.get("gpus_per_worker") else "worker",
            "device_hours": hours,
            "cost": None if self.price_per_hour is None else hours * self.price_per_hour,
            "num_phases": followed.num_phases,
            "cells": self._cells[1],
            "trials": [followed.trial_row(trial_id) for trial_id in changed],
            "running": [self._running(job) for job in followed.open_runs] if running else [],
            "notes": [self._note(entry) for entry in reversed(followed.notes)],
            "report": (self.directory / "report" / "report.html").is_file(),
            "ray": self._read("ray.json"),
        }

    def trial(self, trial_id: str) -> dict[str, Any]:
        """What is shown of one trial when it is opened: its rungs, its error in full, and where it runs or ran.

        Raises:
            InputError: there is no such trial.
        """
        if trial_id not in self.following.places:
            raise InputError(f"{trial_id}: no such trial.")
        standing = self.following.found.trials[trial_id]
        keys = ("time", "rung", "fi_accuracy", "scores", "score", "decision", "reason", "cutoff", "degenerate")
        rungs = [{key: entry.get(key) for key in keys} for _, entry in sorted(standing.current.items())]
        place = self._read(f"progress/{trial_id}.ray.json")
        return {**self.following.trial_row(trial_id), "history": rungs, "error": standing.error, "place": place}

    def _is_held(self) -> bool:
        if time.monotonic() - self._held[0] >= HELD_EVERY_S or root_of(self.directory) is None:
            self._held = (time.monotonic(), is_running(self.directory))
        return self._held[1]

    def _running(self, job: str) -> dict[str, Any]:
        """Where a job is: its phase and step, speed, and the processes that Ray runs it in."""
        started, run = self.following.open_runs[job]
        if self._phases.get(job, ("", ()))[0] != run:
            fetch_to = self.directory / "jobs" / f"{job}.json"
            if (root := root_of(self.directory)) is not None:
                fetch_small(root, fetch_to, again=True)
            self._phases[job] = (run, phases_of_job(fetch_to))
        phases = self._phases[job][1]
        phase, done = self._watch.current(phases, job)
        shown = self._read(f"progress/{job}.json") or {}
        if phase is None or shown.get("kind") != phase.kind or shown.get("time", 0.0) < started:
            shown = {}
        place = self._read(f"progress/{job}.ray.json") or {}
        return {
            "id": job,
            "title": title_of(self.following.places[job]) if job in self.following.places else "before all trials",
            "phase": phase.label if phase else "",
            "number": phases.index(phase) + 1 if phase else len(phases),
            "phases": len(phases),
            "done": done,
            "steps": phase.num_steps if phase else 0,
            "loss": shown.get("loss"),
            "tokens_per_second": shown.get("tokens_per_second"),
            "padding_ratio": shown.get("padding_ratio"),
            "since": started,
            "place": place if place.get("run") == run else None,
        }

    def _note(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        name, event = entry.get("trial_id", entry.get("job")), entry["event"]
        text = str(entry.get("text") or entry.get("error") or "").strip()
        title = title_of(self.following.places[name]) if name in self.following.places else name or ""
        return {
            "time": entry.get("time"),
            "event": event,
            "title": title,
            "text": (text.splitlines() or [""])[-1][:300],
        }

    def _read(self, name: str) -> dict[str, Any] | None:
        """A JSON document of the sweep's folder; None if there is none yet, or it is being written."""
        try:
            found = json.loads((self.directory / name).read_text())
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None


def bring_page(directory: Path) -> None:
    """Have what the page reads of a sweep on this machine, where an object store stands behind it."""
    if (root := root_of(directory)) is not None:
        refresh(root, directory, ("sweep.json", "ray.json", "progress", "report"))
