"""`xlray tasks`: list the tasks, show one, check the files of all."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.options import DataDir, Json, StorageName, Whole
from xlray.cli.output import Shown, open_console, say, shows
from xlray.cli.sweep_file import data_folder
from xlray.errors import InputError
from xlray.storage.storage import Storage, named_storage

if TYPE_CHECKING:
    from rich.console import Console

tasks_app = typer.Typer(
    cls=Whole,
    help="List, show and check the tasks that sweeps can use, and download files of the targets.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


Names = Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Of tasks; by default all.")]


@tasks_app.callback()
def tasks(context: typer.Context, as_json: Json = False) -> None:
    """List the tasks, show one, check the files of all, download those of the targets."""
    if context.invoked_subcommand is None:
        list_tasks(as_json=as_json)


@tasks_app.command("list")
@shows
def list_tasks(
    kind: Annotated[str | None, typer.Option(help="Kind of task, e.g. tagging.")] = None,
    language: Annotated[str | None, typer.Option(help="Language, as an ISO 639-1 code.")] = None,
    role: Annotated[str | None, typer.Option(help="Role: intermediate, target or text.")] = None,
    licence: Annotated[str | None, typer.Option(metavar="TEXT", help="Part of the licence, e.g. 'CC BY'.")] = None,
) -> Shown:
    """List the registered tasks."""
    from xlray.cli.task_catalogue import listed

    found = listed(kind, language, role, licence)

    def show(console: Console) -> None:
        from xlray.cli.task_tables import print_tasks

        print_tasks(console, found)

    return Shown(found, show)


@tasks_app.command("show")
@shows
def show_task(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the task, as `xlray tasks` lists it.")],
    data_dir: DataDir = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="FOLDER|ID@COMMIT", help="Show examples and lengths in this encoder's tokens.")
    ] = None,
) -> Shown:
    """Show a task: sources, labels, licence and, if its files are present, examples and lengths. Downloads nothing."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # before its library is loaded: sets and encoders come from the cache
    from xlray.cli.task_catalogue import shown

    found = shown(name, data_folder(data_dir), encoder)

    def show(console: Console) -> None:
        from xlray.cli.task_tables import print_task

        print_task(console, found)

    return Shown(found, show)


@tasks_app.command("check")
@shows
def check_tasks(
    names: Names = None,
    data_dir: DataDir = None,
    online: Annotated[bool, typer.Option("--online", help="Compare the registry with the Hub instead.")] = False,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Count training examples that contain a text of the target data.")
    ] = False,
    storage: StorageName = "runs",
    update: Annotated[
        bool,
        typer.Option("--update", help="With --overlap: recreate the list of target texts and use it from now on."),
    ] = False,
) -> Shown:
    """Read every split that is present; exit code 2 if one of them cannot be read."""
    if online and overlap:
        raise InputError("--online and --overlap: one of them may be given, but got both.")
    if update and not overlap:
        raise InputError("--update: must be given with --overlap, but was given alone.")
    if online:
        return _check_online(names or [])
    if overlap:
        return _check_overlap(names or [], data_folder(data_dir), named_storage(storage), update)
    from xlray.cli.task_catalogue import checked

    with open_console(stderr=True).status("") as line:
        rows = list(checked(names or [], data_folder(data_dir), line.update))
    return Shown(rows, lambda console: _print_checked(console, rows), _unreadable(rows))


def _print_checked(console: Console, rows: list[dict[str, Any]]) -> None:
    from xlray.cli.tables import make_table
    from xlray.cli.task_tables import remark_lines

    failed, absent = ([r for r in rows if r["status"] == status] for status in ("failed", "absent"))
    present = [
        (r["task"], r["split"], f"{r['examples']:,}" if r["status"] == "ok" else "", r["status"])
        for r in rows
        if r["status"] != "absent"
    ]
    console.print(make_table(("task", "split", "examples", "status"), present, right=("examples",)))
    say(console, *(text for row in rows for text in remark_lines(row)), *_lacking(absent), style="yellow")
    say(console, *dict.fromkeys(row["error"] for row in failed), style="red")
    counts = f"{len(present) - len(failed)} splits ok, {len(failed)} failed, {len(absent)} absent"
    console.print(counts, highlight=False)


def _lacking(absent: list[dict[str, Any]]) -> list[str]:
    """One line for each task whose folder is there but lacks files of some splits."""
    lacking = [row for row in absent if row["error"]]
    first = {row["task"]: row["error"] for row in reversed(lacking)}
    numbers = Counter(row["task"] for row in lacking)
    return [f"{number} absent: {first[task]}" for task, number in numbers.items()]


def _unreadable(rows: list[dict[str, Any]]) -> InputError | None:
    """The error of a check in which splits failed."""
    failed = [row for row in rows if row["status"] == "failed"]
    if not failed:
        return None
    first = failed[0]
    return InputError(
        f"{len(failed)} split(s) cannot be read, the first is {first['task']} {first['split']}: {first['error']}"
    )


def _check_online(names: list[str]) -> Shown:
    """Compare the tasks' sources on the Hub with what is there; exit code 2 if a task could not be read from it."""
    from xlray.data.registry import ALL_TASKS, find_task
    from xlray.tasks.online import compare

    tasks = [find_task(name) for name in names] or list(ALL_TASKS.values())
    with open_console(stderr=True).status("") as line:
        found = compare(tasks, line.update)

    def show(console: Console) -> None:
        from xlray.cli.task_tables import print_comparison

        print_comparison(console, found)

    error = None
    if found.decisive:
        first = found.decisive[0]
        error = InputError(
            f"{len(found.decisive)} difference(s) keep tasks from being read from the Hub, the first is the "
            f"{first.field} of {first.task}: {first.registry} must be there, but the Hub has: {first.hub}"
        )
    return Shown(dataclasses.asdict(found), show, error)


def _check_overlap(names: list[str], data_dir: Path | None, storage: Storage, update: bool) -> Shown:
    """Count overlaps against the storage's list; where there is none, against one that is made and not stored."""
    from xlray.cli.task_catalogue import exclusions_document, made_exclusions, overlaps
    from xlray.data.contamination import load_exclusions, store_exclusions
    from xlray.phases.store import check_writable

    with open_console(stderr=True).status("") as line:
        exclusions = None if update else load_exclusions(storage)
        stored = update or exclusions is not None
        if exclusions is None:
            exclusions = made_exclusions(data_dir, line.update)
        if update:
            check_writable(storage)
            store_exclusions(storage, exclusions)
        document = exclusions_document(exclusions, stored, data_dir)
        rows = list(overlaps(names, exclusions, data_dir, line.update))
    found = {"exclusions": document, "sets": rows}
    return Shown(found, lambda console: _print_overlap(console, document, rows), _unreadable(rows))


def _print_overlap(console: Console, document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    from xlray.cli.tables import make_table

    read = [r for r in rows if r["status"] == "ok"]
    cells = [
        (
            r["task"],
            r["split"],
            f"{r['examples']:,}",
            f"{r['overlapping']:,}",
            f"{r['share']:.2%}",
            "\n".join(r["texts"]),
        )
        for r in sorted(read, key=lambda r: -r["share"])
    ]
    columns = ("task", "split", "examples", "overlapping", "share", "texts in both")
    console.print(make_table(columns, cells, right=("examples", "overlapping", "share")))
    found = [r for r in read if r["overlapping"]]
    place = "in use" if document["stored"] else "made for this check and not stored (--update stores one)"
    lines = [
        f"{len(found)} of {len(read)} sets overlap with target data, {sum(r['overlapping'] for r in found):,} "
        f"examples in all; {sum(r['status'] == 'absent' for r in rows)} sets absent",
        f"list {document['version']}, {place}: {document['num_keys']:,} texts of {document['num_splits']} splits in "
        f"{', '.join(document['languages'])}, {document['num_in_english']} of them also in English target data",
    ]
    if document["lacking"]:
        lines.append(f"made without {', '.join(document['lacking'])}, whose files were not there")
    if document["outdated"]:
        lines.append(f"these files are new or others now: {', '.join(document['outdated'])}; --update takes them in")
    say(console, *lines)


@tasks_app.command("fetch")
@shows
def fetch_files(
    names: Names = None,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The data directory.")] = Path("data"),
    mirror: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Take the files from URL/<host>/<path> instead of from the publishers' hosts."
        ),
    ] = None,
) -> Shown:
    """Download the files of udpos, tydiqa and tatoeba from their publishers into a data directory."""
    from xlray.data.fetching import fetch_tasks

    with open_console(stderr=True).status("") as line:
        found = list(fetch_tasks(names or [], to, line.update, mirror))

    def show(console: Console) -> None:
        for one in found:
            about = one.note or f"{len(one.files)} files in {to / one.task}"
            say(console, f"{one.task}: {one.status}, {about}")
            for url, download in one.downloads.items():
                check = "as known" if download["known"] else "not known before: compare it with another source"
                say(console, f"  {url}", f"  SHA-256 {download['sha256']} ({check})")

    return Shown([dataclasses.asdict(one) for one in found], show)
