"""`xlray export-predictions`: test predictions for XTREME's `evaluate.py`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlray.cli.options import StorageName, SweepName, TrialName
from xlray.cli.output import Shown, say, shows
from xlray.errors import InputError
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder, find_trial

if TYPE_CHECKING:
    from rich.console import Console


@shows
def export_predictions(
    name: SweepName,
    unseal: Annotated[bool, typer.Option("--unseal", help="Open the sealed test data; this is recorded.")] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Output folder; by default one in the sweep's folder.")
    ] = None,
    trial: Annotated[str | None, typer.Option("--trial", metavar="ID", help="Export this trial only.")] = None,
    rung: Annotated[
        int | None,
        typer.Option("--rung", metavar="N", help="Rung, as a number of examples; by default each trial's last."),
    ] = None,
    storage: StorageName = "runs",
) -> Shown:
    """Write the test predictions of a sweep in the layout that XTREME's evaluate.py reads."""
    directory = find_sweep_folder(name, named_storage(storage))
    if not unseal:
        raise InputError(
            f"{directory.name}: test sets are sealed until the design is final; give --unseal to open them, which is "
            "recorded and stated in every report."
        )
    from xlray.report.xtreme_export import export_predictions as export

    document = export(directory, out, trial, rung)

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        rows = [(t["trial_id"], f"{t['rung']:,}", len(t["files"]), ", ".join(t["missing"])) for t in document["trials"]]
        console.print(make_table(("trial", "rung", "files", "diverged"), rows, right=("rung", "files")))
        say(
            console,
            f"predictions  {document['out']}/<trial>/predictions",
            f"unsealings   {document['unsealings']}, this one included",
        )

    return Shown(document, show)


@shows
def export_model(
    name: SweepName,
    trial: TrialName,
    target: Annotated[
        str | None,
        typer.Option(
            "--target", metavar="TASK", help="Target task to export; by default the encoder that targets start from."
        ),
    ] = None,
    rung: Annotated[
        int | None,
        typer.Option("--rung", metavar="N", help="Rung, as a number of examples; by default the last finished one."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="New output folder; by default one in the sweep's folder."),
    ] = None,
    storage: StorageName = "runs",
) -> Shown:
    """Write a model folder for transformers' from_pretrained, with a model card; a target model is trained again."""
    directory = find_sweep_folder(name, named_storage(storage))
    trial_id = find_trial(directory, trial)
    from xlray.training.export_model import export_model as export  # loads torch: seconds

    document = export(directory, trial_id, target, rung, out)
    gap = max((abs(c["stored"] - c["rerun"]) for c in document["comparisons"]), default=None)
    lines = [f"model   {document['out']} ({document['architecture']})", f"phase   {document['phase']}"]
    lines += [] if gap is None else [f"scores  {'exactly' if gap == 0 else f'within {gap:.3g} of'} the stored ones"]
    return Shown(document, lambda console: say(console, *lines))
