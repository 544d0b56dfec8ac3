"""`xlray gc`: frees what nothing needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.options import StorageName
from xlray.cli.output import Shown, say, shows
from xlray.storage.storage import named_storage

if TYPE_CHECKING:
    from rich.console import Console

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only print what would be removed.")]


@shows
def gc(storage: StorageName = "runs", dry_run: DryRun = False) -> Shown:
    """Remove unfinished and quarantined leftovers, and phases and data that no sweep in the storage refers to."""
    from xlray.phases.garbage import find_garbage, remove

    opened = named_storage(storage)
    garbage, references = find_garbage(opened)
    if not dry_run:
        remove(opened, garbage)
    kinds = sorted({one.kind for one in garbage})
    totals = {
        kind: {
            "number": sum(one.kind == kind for one in garbage),
            "bytes": sum(one.num_bytes for one in garbage if one.kind == kind),
        }
        for kind in kinds
    }
    document = {
        "dry_run": dry_run,
        "bytes": sum(one.num_bytes for one in garbage),
        "kinds": totals,
        "names": [one.name for one in garbage],
        "unknown": sorted(references.unknown),
    }
    return Shown(document, lambda console: _print_removed(console, document))


def _print_removed(console: Console, document: Mapping[str, Any]) -> None:
    from xlray.cli.tables import make_table

    rows = [(kind, f"{total['number']:,}", f"{total['bytes']:,}") for kind, total in document["kinds"].items()]
    if rows:
        console.print(make_table(("kind", "number", "bytes"), rows, right=("number", "bytes")))
    verb = "would be removed" if document["dry_run"] else "removed"
    console.print(f"{document['bytes']:,} bytes {verb}.", highlight=False)
    if document["unknown"]:
        kept = f"Phases and data are kept: {', '.join(document['unknown'])} has trials whose phases are not known"
        say(console, f"{kept}; run it again, or delete its folder.")
