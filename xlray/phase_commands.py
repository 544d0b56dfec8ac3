"""`xlray why`: what makes two phases two."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from xlray.loading import storage_root
from xlray.output import open_console, print_json
from xlray.task_commands import Json, Storage

PhaseName = Annotated[
    str, typer.Argument(metavar="PHASE", help="Name or hash of a phase in the storage, or the beginning of one.")
]


def why(first: PhaseName, second: PhaseName, storage: Storage = "runs", as_json: Json = False) -> None:
    """Show the fields in which two phases differ, back to the first ancestors that do."""
    from xlray.lineage import explain, find_phase

    root = storage_root(storage)
    one, other = find_phase(root, first), find_phase(root, second)
    levels = explain(root, one, other)
    if as_json:
        levels_plain = [dataclasses.asdict(level) for level in levels]
        print_json({"first": one.name, "second": other.name, "same": not levels, "levels": levels_plain})
        return
    from xlray.screens import make_table

    console = open_console()
    if not levels:
        console.print(f"{one.name} is one phase; nothing differs.", highlight=False, markup=False)
    for distance, level in enumerate(levels):
        title = "phase" if not distance else "started from"
        rows = [(d.field, str(d.first), str(d.second)) for d in level.differences]
        same = [("all but what it started from is the same", "", "")] if level is not levels[-1] else []
        console.print(make_table((title, level.first, level.second), rows or same))
    if levels:
        fields = ", ".join(d.field for d in levels[-1].differences)
        last = f"{levels[-1].first} against {levels[-1].second}"
        line = f"The difference begins with {f'{fields} of {last}' if fields else last}."
        console.print(line, highlight=False, markup=False, soft_wrap=True)
