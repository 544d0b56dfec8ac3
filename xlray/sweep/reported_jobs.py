"""The jobs of trials that reported from the storage: written at the end of a run, since nothing was started for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xlray.config.recipes import Encoder, Pretraining
from xlray.plan.jobs import Prepared, encoder_of, make_job, write_job
from xlray.sweep.driver import Driver


def write_jobs(driver: Driver, prepared: Callable[[], Mapping[Encoder | Pretraining, Prepared]]) -> None:
    """Write the jobs of trials that reported from the storage, so that they are exported like those that ran.

    Args:
        prepared: what their jobs read, of each encoder; asked for where there is such a trial.
    """
    now, before = reported_from_storage(driver.journal)
    if before:
        driver.directory.refresh("jobs")
    missing = [name for name in before if not (driver.directory / "jobs" / f"{name}.json").exists()]
    names = [name for name in (*now, *missing) if name in driver.trials]
    made = prepared() if names else None
    for name in names:
        assert made is not None
        of_encoder = made[encoder_of(name, driver.plan, driver.trials)]
        job = make_job(name, driver.jobs[name], driver.plan, driver.store, of_encoder)
        write_job(driver.directory / "jobs" / f"{name}.json", job)


def reported_from_storage(journal: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[str]]:
    """Trials that have reported a rung to a later driver than the one that started them last, if one ever did.

    A job is written at each start, so these have none, or one that may be of other phases.

    Returns:
        Those that reported to the last driver, and to one before it, which has written their jobs unless it was killed.
    """
    number = 0
    started: dict[str, int] = {}
    reported: dict[str, int] = {}
    for entry in journal:
        if entry["event"] == "opened":
            number += 1
        elif "trial_id" in entry and entry["event"] in ("running", "rung"):
            (started if entry["event"] == "running" else reported)[entry["trial_id"]] = number
    found = {trial_id: last for trial_id, last in reported.items() if last > started.get(trial_id, -1)}
    return [t for t, last in found.items() if last == number], [t for t, last in found.items() if last < number]
