"""What the driver of a sweep exports to Prometheus, through Ray; see `telemetry`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ray.util.metrics import Gauge, Histogram

from xlray.plan.jobs import Job, is_shared, trial_title
from xlray.storage.standings import accuracy_name, accuracy_of
from xlray.sweep.driver import Driver

MOST_TRIALS = 200  # whose accuracy is exported: a series each per target and for the mean, those that reported last
PHASE_SECONDS = [1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 24 * 3600.0]


class SweepMetrics:
    """What the driver exports; `refresh` it now and then."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.name = driver.plan.sweep.name
        self.accuracy, self.phases = gauge("xlray_accuracy"), gauge("xlray_phases")
        self.trials = gauge("xlray_trials")
        description, tags = METRICS["xlray_phase_seconds"]
        self.seconds = Histogram("xlray_phase_seconds", description, boundaries=PHASE_SECONDS, tag_keys=tags)
        self.since: dict[str, float] = {}  # job to when its present phase began, by the journal
        self.num_computed = 0
        self.reported: dict[str, None] = {}  # trials, in the order of their last reports
        for entry in driver.journal:
            if entry["event"] == "rung":
                self._note(entry["trial_id"])
        self._num_read = len(driver.journal)
        self._looked_at = -SET_EVERY_S
        self._counted: tuple[int, int, int] = (-1, 0, 0)  # jobs, phases of theirs, those stored before

    def _take(self, entry: Mapping[str, Any]) -> None:
        event, job, now = entry["event"], str(entry.get("trial_id", entry.get("job"))), float(entry["time"])
        if event == "running":
            self.since[job] = now
        elif event == "phase":
            kind = str(entry["phase"]).partition("-")[0]
            self.seconds.observe(now - self.since.get(job, now), {"sweep": self.name, "kind": kind})
            self.since[job] = now
            self.num_computed += 1
        elif event == "rung":
            self._note(job)
            self._looked_at = -SET_EVERY_S

    def _note(self, trial_id: str) -> None:
        self.reported.pop(trial_id, None)
        self.reported[trial_id] = None

    def refresh(self) -> None:
        """Take what the journal has more, and set all gauges if it is time."""
        for entry in self.driver.journal[self._num_read :]:
            self._take(entry)
        self._num_read = len(self.driver.journal)
        if time.monotonic() - self._looked_at < SET_EVERY_S:
            return
        self._looked_at = time.monotonic()
        driver, sweep = self.driver, {"sweep": self.name}
        if self._counted[0] != len(driver.jobs):
            specs = driver.specs()
            self._counted = (len(driver.jobs), len(specs), len(specs.keys() & driver.stored) - self.num_computed)
        _, total, before = self._counted
        counts = {"computed": self.num_computed, "stored": before, "open": total - before - self.num_computed}
        for status, number in counts.items():
            self.phases.set(number, {**sweep, "status": status})
        statuses: dict[str, int] = {}
        for name, standing in driver.found.trials.items():
            if not is_shared(name) and standing.status != "dropped":
                statuses[standing.status] = statuses.get(standing.status, 0) + 1
        for status, number in statuses.items():
            self.trials.set(number, {**sweep, "status": status})
        for trial_id in list(self.reported)[-MOST_TRIALS:]:
            self._set_accuracy(trial_id)

    def _set_accuracy(self, trial_id: str) -> None:
        if trial_id not in self.driver.trials:
            return
        last, trial = self.driver.found.trials[trial_id].last, self.driver.trials[trial_id]
        if not last:  # its inputs have changed, and nothing was reported since
            return
        title = trial_title(trial)
        tags = {"sweep": self.name, "trial": title, "cell": trial.cell, "rung": str(last["rung"])}
        by_language = {self.driver.plan.sweep.language: last["scores"], **last.get("scores_in", {})}
        for language, scores in by_language.items():
            mean = last.get(accuracy_name(language), accuracy_of(last))  # earlier versions named it after Finnish
            for target, value in {"mean": mean, **scores}.items():
                if value is not None and math.isfinite(value):
                    self.accuracy.set(value, {**tags, "target": target, "language": language})


SET_EVERY_S = 5.0  # Ray exports every 10 s


STALE_S = 60.0  # after which a phase's speed says nothing of what runs


# Name without Ray's prefix `ray_`, what it is, its tags. The dashboard in deploy/grafana is made from these.
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "xlray_accuracy": (
        "Dev accuracy of a trial in the sweep's language at its last rung, in percent; target `mean` is the mean of all",
        ("sweep", "trial", "cell", "rung", "target", "language"),
    ),
    "xlray_tokens_per_second": ("Tokens that a trial trains on per second, over all ranks", ("sweep", "trial", "kind")),
    "xlray_padding_ratio": ("Share of padding and idle tokens among those computed", ("sweep", "trial", "kind")),
    "xlray_phase_seconds": ("Time that a phase held its workers, start-up of the first included", ("sweep", "kind")),
    "xlray_phases": ("Phases of the sweep: computed in this run, stored before it, open", ("sweep", "status")),
    "xlray_trials": ("Trials of the sweep by status", ("sweep", "status")),
}


def gauge(name: str) -> Gauge:
    """A gauge of `METRICS`."""
    description, tags = METRICS[name]
    return Gauge(name, description, tag_keys=tags)


def worker_gauges(job: Job) -> Callable[[], None]:
    """A function that sets a trial's speed from the progress that its first worker writes; to be called now and then."""
    speed, padding = gauge("xlray_tokens_per_second"), gauge("xlray_padding_ratio")
    looked_at = 0.0

    def measure() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at < SET_EVERY_S:
            return
        looked_at = time.monotonic()
        try:
            found = json.loads(job.progress.read_text())
        except (OSError, ValueError):  # nothing yet
            return
        if "tokens_per_second" in found and time.time() - found["time"] < STALE_S:
            tags = {"sweep": job.sweep, "trial": job.name, "kind": found["kind"]}
            speed.set(found["tokens_per_second"], tags)
            padding.set(found["padding_ratio"], tags)

    return measure
