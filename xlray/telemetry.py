"""Metrics for Prometheus, through Ray: their names, and what the worker of a trial exports; the driver's: sweep_telemetry.

A gauge that is not set between two exports is gone from the page that Prometheus reads, so all are set every few seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from ray.util.metrics import Gauge

from xlray.jobs import Job

SET_EVERY_S = 5.0  # Ray exports every 10 s
STALE_S = 60.0  # after which a phase's speed says nothing of what runs

# Name without Ray's prefix `ray_`, what it is, its tags. The dashboard in deploy/grafana is made from these.
METRICS: dict[str, tuple[str, tuple[str, ...]]] = {
    "xlray_finnish_accuracy": (
        "Finnish dev accuracy of a trial at its last rung, in percent; target `mean` is the mean of all",
        ("sweep", "trial", "cell", "rung", "target"),
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
