"""`xlray export-model` and `xlray retry`: what is done with one trial."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xlray.options import Json, Storage, SweepName, TrialName
from xlray.output import open_console, print_json
from xlray.sweep_folder import find_sweep_folder, find_trial, storage_root


def export_model(
    name: SweepName,
    trial: TrialName,
    target: Annotated[
        str | None, typer.Option("--target", metavar="TASK", help="By default the encoder that targets start from.")
    ] = None,
    rung: Annotated[
        int | None, typer.Option("--rung", metavar="N", help="Examples of the rung; by default the last finished one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="A new folder; by default below the sweep's.")
    ] = None,
    storage: Storage = "runs",
    as_json: Json = False,
) -> None:
    """Write a model for transformers' from_pretrained, with a model card; a target is trained again for it."""
    directory = find_sweep_folder(name, storage_root(storage))
    trial_id = find_trial(directory, trial)
    from xlray.model_export import export_model as export  # loads torch: seconds

    document = export(directory, trial_id, target, rung, out)
    if as_json:
        print_json(document)
        return
    gap = max((abs(c["stored"] - c["rerun"]) for c in document["comparisons"]), default=None)
    lines = [f"model   {document['out']} ({document['architecture']})", f"phase   {document['phase']}"]
    lines += [] if gap is None else [f"scores  {'exactly' if gap == 0 else f'within {gap:.3g} of'} the stored ones"]
    console = open_console()
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def retry(name: SweepName, trial: TrialName, storage: Storage = "runs", as_json: Json = False) -> None:
    """Open a failed or stopped trial again; the next run of the sweep goes on with it."""
    from xlray.reopening import reopen

    directory = find_sweep_folder(name, storage_root(storage))
    entry = reopen(directory, find_trial(directory, trial))
    if as_json:
        print_json({"sweep": directory.name, **entry})
        return
    text = f"trial {entry['trial_id']} is open again; `xlray run` on the sweep's file goes on with it."
    open_console().print(text, highlight=False, markup=False, soft_wrap=True)
