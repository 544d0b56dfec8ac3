"""A failed or stopped trial reopened manually: one entry of the journal."""

from __future__ import annotations

from typing import Any

from xlray.errors import InputError
from xlray.storage.standings import standings
from xlray.storage.sweep_folder import SweepFolder


def reopen(sweep: SweepFolder, trial_id: str) -> dict[str, Any]:
    """Reopen a trial: the next run of the sweep resumes it, a stopped one beyond the rung where it stopped.

    Args:
        sweep: its folder.

    Returns:
        the entry of the journal.

    Raises:
        InputError: the sweep runs now, or the trial has not failed or stopped, or trying again would give the same.
    """
    journal = sweep.journal
    with journal.exclusive():
        standing = standings(journal.read()).trials[trial_id]
        where = f"{sweep.name}: trial {trial_id}"
        if standing.status not in ("failed", "stopped", "paused"):
            raise InputError(f"{where} must have failed or been stopped to be reopened, but is {standing.status}.")
        entry: dict[str, Any] = {"event": "retried", "trial_id": trial_id, "kind": "asked", "error": ""}
        if standing.status != "failed" and standing.rungs:
            last = max(standing.rungs)
            if standing.rungs[last]["reason"] == "diverged":
                raise InputError(
                    f"{where} must not have diverged to be reopened: its phases would give the same result."
                )
            entry["rung_index"] = last
        return journal.append(entry)
