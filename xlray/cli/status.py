"""`xlray ls` and `status`: what sweeps a storage holds, and how one stands."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.chosen_trials import chosen
from xlray.cli.cluster import jobs_there, status_there
from xlray.cli.options import Json, StorageName, complete_sweep
from xlray.cli.output import Shown, open_console, shows
from xlray.errors import INTERRUPTED, InputError, fail
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder, sweep_folder, sweep_names

if TYPE_CHECKING:
    from rich.console import Console

    from xlray.monitor.view import View
    from xlray.storage.storage import Storage
    from xlray.storage.sweep_folder import SweepFolder


@shows
def ls(storage: StorageName = "runs") -> Shown:
    """List the sweeps of a storage, the one that changed last first."""
    opened = named_storage(storage)
    document = sweep_lines(opened)
    return Shown(document, lambda console: _print_sweeps(console, document, opened.uri))


def sweep_lines(storage: Storage) -> list[dict[str, Any]]:
    """`sweep_line` of every sweep of a storage, the one that changed last first."""
    return sorted(map(sweep_line, _sweeps(storage)), key=lambda line: -line["changed"])


def _sweeps(storage: Storage) -> list[SweepFolder]:
    return [sweep_folder(storage, name) for name in sweep_names(storage)]


def sweep_line(directory: SweepFolder) -> dict[str, Any]:
    """A sweep in one line: its state, its trials by status, the best accuracy of its last rung, when it changed."""
    from xlray.monitor.following import Following
    from xlray.monitor.reader import Reader

    reader = Reader(directory)
    reader.refresh()
    view = reader.view(Following.members)
    furthest = max((row.rungs for row in view.rows), default=0)
    best = [row.accuracy for row in view.rows if row.rungs == furthest and row.accuracy is not None]
    return {
        "name": view.name,
        "state": view.state,
        "trials": dict(view.counts),
        "language": view.languages[0],
        "best_accuracy": max(best, default=None),
        "changed": reader.following.changed,
        "question": view.question,
    }


def _print_sweeps(console: Console, found: Sequence[Mapping[str, Any]], uri: str) -> None:
    from xlray.cli.tables import make_table
    from xlray.monitor.table import percent
    from xlray.monitor.view import summary_line

    if not found:
        console.print(f"{uri} holds no sweep.", highlight=False, markup=False)
        return
    rows = [
        (
            line["name"],
            line["state"],
            summary_line(line["trials"]),
            line["language"],
            percent(line["best_accuracy"]),
            time.strftime("%Y-%m-%d %H:%M", time.localtime(line["changed"])),
            line["question"],
        )
        for line in found
    ]
    columns = ("sweep", "state", "trials", "language", "best", "changed", "question")
    console.print(make_table(columns, rows, right=("best",), dispensable=("question", "changed", "language")))


def newest_sweep(storage: Storage) -> SweepFolder:
    """The sweep of a storage whose journal has the last entry.

    Raises:
        InputError: there is none.
    """
    found = {directory: entries[-1]["time"] for directory in _sweeps(storage) if (entries := directory.journal.read())}
    if not found:
        raise InputError(f"status: NAME must be the name or folder of a sweep, since {storage.uri} holds none.")
    return max(found, key=lambda directory: found[directory])


@shows
def status(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|DIR",
            help="Name of a sweep in the storage, or its folder; by default the one that changed last.",
            autocompletion=complete_sweep,
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow until the sweep ends.")] = False,
    storage: StorageName = "runs",
    address: Annotated[
        str | None, typer.Option(help="Address of a cluster's dashboard: ask there; without NAME, for all jobs.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUE", help="Only trials with this value of an axis, cell, role, ...; repeatable."
        ),
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="FIELD", help="Sort trials by an axis, cell, seed, ...")] = None,
    as_json: Json = False,
) -> Shown | None:
    """Show the progress of a sweep, read from its journal alone."""
    from xlray.monitor.following import Following
    from xlray.monitor.reader import Reader, status_document

    if address is not None:
        if where or sort:
            raise InputError(
                f"--address and {'--where' if where else '--sort'}: one of them may be given, but got both."
            )
        if name is None:
            return jobs_there(address)
        raise typer.Exit(status_there(name, address, as_json))
    if watch and (as_json or where or sort):
        other = "--json" if as_json else "--where" if where else "--sort"
        raise InputError(f"--watch and {other}: one of them may be given, but got both.")
    opened = named_storage(storage)
    directory = newest_sweep(opened) if name is None else find_sweep_folder(name, opened)
    if watch:
        try:
            _watch(directory)
        except KeyboardInterrupt:
            raise typer.Exit(fail(f"{directory.name} is not watched any more; it continues.", INTERRUPTED)) from None
        return None
    reader = Reader(directory)
    reader.refresh()
    view = reader.view(Following.members)
    view = dataclasses.replace(view, rows=chosen(view, where or (), sort))
    document = status_document(reader, view)
    return Shown(document, lambda console: _print_status(console, view, sort is not None))


def _print_status(console: Console, view: View, in_order: bool) -> None:
    from xlray.cli import tables
    from xlray.monitor.view import summary_line

    console.print(f"{view.name}: {view.state}; {summary_line(view.counts)}", style="bold", highlight=False)
    if view.question:
        console.print(view.question, style="italic", highlight=False, markup=False)
    console.print(tables.final_table(view, {}, in_order))
    if view.num_trials and not view.rows:
        console.print(f"None of the {view.num_trials:,} trials has these values.", highlight=False)
    for row in view.rows:
        if row.status == "running" and row.phase:
            console.print(f"{row.title}: {row.phase} {row.done}/{row.steps}", highlight=False)
        if row.status == "failed":
            console.print(f"{row.title} failed: {row.error}", style="red", markup=False)


def _watch(directory: SweepFolder) -> None:
    from xlray.monitor.live import LiveView
    from xlray.monitor.reader import Reader
    from xlray.monitor.view import summary_line

    reader = Reader(directory)
    reader.refresh()
    with LiveView(open_console(), reader, reader.following.opened or time.time()) as live:
        while reader.held:
            time.sleep(1.0)
            live.follow()
    view = live.view()
    print(f"{view.name}: {view.state}; {summary_line(view.counts)}")
