"""`xlray run`, `prepare`, `status` and `retry`."""

from __future__ import annotations

from xlray.cli.options import Json, Storage, SweepName, TrialName
from xlray.cli.output import open_console, print_json
from xlray.storage.sweep_folder import find_sweep_folder, find_trial, storage_root


def retry(name: SweepName, trial: TrialName, storage: Storage = "runs", as_json: Json = False) -> None:
    """Reopen a failed or stopped trial; the next run of the sweep resumes it."""
    from xlray.sweep.retry import reopen

    directory = find_sweep_folder(name, storage_root(storage))
    entry = reopen(directory, find_trial(directory, trial))
    if as_json:
        print_json({"sweep": directory.name, **entry})
        return
    text = f"trial {entry['trial_id']} is reopened; `xlray run` on the sweep's file resumes it."
    open_console().print(text, highlight=False, markup=False, soft_wrap=True)
