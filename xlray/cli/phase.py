"""`xlray why` and `xlray rerun`: what makes two phases two, and one phase again under a debugger."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from xlray.cli.options import StorageName
from xlray.cli.output import Shown, say, shows
from xlray.phases.lineage import explain, find_phase
from xlray.storage.storage import named_storage

if TYPE_CHECKING:
    from rich.console import Console

PhaseName = Annotated[
    str, typer.Argument(metavar="PHASE", help="Name or hash of a stored phase, or a prefix of either.")
]


@shows
def why(first: PhaseName, second: PhaseName, storage: StorageName = "runs") -> Shown:
    """Show the fields in which two phases differ, back to the first ancestors that do."""
    opened = named_storage(storage)
    one, other = find_phase(opened, first), find_phase(opened, second)
    levels = explain(opened, one, other)

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

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
            say(console, f"The difference begins with {f'{fields} of {last}' if fields else last}.")

    plain = [dataclasses.asdict(level) for level in levels]
    return Shown({"first": one.name, "second": other.name, "same": not levels, "levels": plain}, show)


@shows
def rerun(phase: PhaseName, storage: StorageName = "runs") -> Shown:
    """Run one phase again in this process, for example in a debugger, and compare its numbers; only reads the storage."""
    opened = named_storage(storage)
    folder = find_phase(opened, phase)
    from xlray.training.rerun import compare, find_job
    from xlray.training.rerun import rerun as run_again  # loads torch: seconds

    spec, job = find_job(opened, folder.name)
    with run_again(spec, job) as made:
        rows = compare(opened, spec, made)
    same = all(row.difference == 0 for row in rows)

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        if not rows:
            console.print(f"{folder.name} is not finished.")
            return
        cells = [(row.name, f"{row.stored:.6g}", f"{row.rerun:.6g}", f"{row.difference:.3g}") for row in rows]
        heads = ("stored", "rerun", "difference")
        console.print(make_table((folder.name, *heads), cells, right=heads))
        end = "Exactly the same." if same else "Rounding grows over long runs: compare with the spread over seeds."
        console.print(end, highlight=False)

    numbers = [vars(row) for row in rows]
    return Shown({"phase": folder.name, "same": same if rows else None, "numbers": numbers}, show)
