"""`xlray gc`: frees what nothing needs."""

from __future__ import annotations

from typing import Annotated

import typer

from xlray.cli.options import Json, Storage
from xlray.cli.output import open_console, print_json
from xlray.storage.sweep_folder import storage_root

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")]


def collect_garbage(storage: Storage = "runs", dry_run: DryRun = False, as_json: Json = False) -> None:
    """Remove unfinished and quarantined leftovers, and phases and data that no sweep in the storage refers to."""
    from xlray.phases.garbage import find_garbage, remove

    root = storage_root(storage)
    garbage, references = find_garbage(root)
    if not dry_run:
        remove(root, garbage)
    kinds = sorted({one.kind for one in garbage})
    totals = {
        kind: {
            "number": sum(one.kind == kind for one in garbage),
            "bytes": sum(one.num_bytes for one in garbage if one.kind == kind),
        }
        for kind in kinds
    }
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "bytes": sum(one.num_bytes for one in garbage),
                "kinds": totals,
                "names": [one.name for one in garbage],
                "unknown": sorted(references.unknown),
            }
        )
        return
    from xlray.cli.tables import make_table

    console = open_console()
    rows = [(kind, f"{total['number']:,}", f"{total['bytes']:,}") for kind, total in totals.items()]
    if rows:
        console.print(make_table(("kind", "number", "bytes"), rows, right=("number", "bytes")))
    verb = "would be removed" if dry_run else "removed"
    console.print(f"{sum(one.num_bytes for one in garbage):,} bytes {verb}.", highlight=False)
    if references.unknown:
        names = ", ".join(sorted(references.unknown))
        text = f"Phases and data are kept: {names} has trials whose phases are not known; run it again, or delete its folder."
        console.print(text, highlight=False, markup=False, soft_wrap=True)
