"""`xlray tasks`: list the tasks, show one, check the files of all."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from xlray.cli.options import DataDir, Json, Storage
from xlray.cli.output import open_console, print_json
from xlray.cli.sweep_file import data_folder
from xlray.errors import WRONG_USE, InputError, fail
from xlray.storage.sweep_folder import storage_root

tasks_app = typer.Typer(
    help="List, show and check the tasks that sweeps can use.", invoke_without_command=True, rich_markup_mode=None
)


@tasks_app.callback()
def tasks(context: typer.Context, as_json: Json = False) -> None:
    """List the tasks, show one, or check the files of all."""
    if context.invoked_subcommand is None:
        list_tasks(as_json=as_json)


@tasks_app.command("list")
def list_tasks(
    kind: Annotated[str | None, typer.Option(help="Kind of task, e.g. tagging.")] = None,
    language: Annotated[str | None, typer.Option(help="Language, as an ISO 639-1 code.")] = None,
    role: Annotated[str | None, typer.Option(help="Role: intermediate, target or text.")] = None,
    licence: Annotated[str | None, typer.Option(metavar="TEXT", help="Part of the licence, e.g. 'CC BY'.")] = None,
    as_json: Json = False,
) -> None:
    """List the registered tasks."""
    from xlray.cli.task_catalogue import listed

    found = listed(kind, language, role, licence)
    if as_json:
        print_json(found)
        return
    from xlray.cli.task_tables import print_tasks

    print_tasks(open_console(), found)


@tasks_app.command("show")
def show_task(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    data_dir: DataDir = None,
    encoder: Annotated[
        str | None, typer.Option(metavar="FOLDER|ID@COMMIT", help="Show examples and lengths in this encoder's tokens.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a task: sources, labels, licence and, if its files are present, examples and lengths. Downloads nothing."""
    os.environ["HF_HUB_OFFLINE"] = "1"  # before its library is loaded: sets and encoders come from the cache
    from xlray.cli.task_catalogue import shown

    found = shown(name, data_folder(data_dir), encoder)
    if as_json:
        print_json(found)
        return
    from xlray.cli.task_tables import print_task

    print_task(open_console(), found)


@tasks_app.command("check")
def check_tasks(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME ...]")] = None,
    data_dir: DataDir = None,
    online: Annotated[bool, typer.Option("--online", help="Compare the registry with the Hub instead.")] = False,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Count training examples that contain a text of the target data.")
    ] = False,
    storage: Storage = "runs",
    update: Annotated[
        bool,
        typer.Option("--update", help="With --overlap: recreate the list of target texts and use it from now on."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Read every split that is present; exit code 2 if one of them cannot be read."""
    from xlray.cli.task_catalogue import checked

    if online and overlap:
        raise InputError("--online and --overlap: one of them may be given, but got both.")
    if update and not overlap:
        raise InputError("--update: must be given with --overlap, but was given alone.")
    if online:
        _check_online(names or [], as_json)
        return
    if overlap:
        _check_overlap(names or [], data_folder(data_dir), storage_root(storage), update, as_json)
        return
    console = open_console(stderr=True)
    with console.status("") as line:
        rows = list(checked(names or [], data_folder(data_dir), line.update))
    failed, absent = ([r for r in rows if r["status"] == status] for status in ("failed", "absent"))
    if as_json:
        print_json(rows)
    else:
        from xlray.cli.tables import make_table
        from xlray.cli.task_tables import remark_lines

        present = [
            (r["task"], r["split"], f"{r['examples']:,}" if r["status"] == "ok" else "", r["status"])
            for r in rows
            if r["status"] != "absent"
        ]
        output = open_console()
        output.print(make_table(("task", "split", "examples", "status"), present, right=("examples",)))
        for text in (text for row in rows for text in remark_lines(row)):
            output.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
        for text in _lacking(absent):
            output.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)
        for error in dict.fromkeys(row["error"] for row in failed):
            output.print(error, style="red", highlight=False, markup=False, soft_wrap=True)
        counts = f"{len(present) - len(failed)} splits ok, {len(failed)} failed, {len(absent)} absent"
        output.print(counts, highlight=False)
    _exit_if_any(failed)


def _lacking(absent: list[dict[str, Any]]) -> list[str]:
    """One line for each task whose folder is there but lacks files of some splits."""
    lacking = [row for row in absent if row["error"]]
    first = {row["task"]: row["error"] for row in reversed(lacking)}
    numbers = Counter(row["task"] for row in lacking)
    return [f"{number} absent: {first[task]}" for task, number in numbers.items()]


def _exit_if_any(failed: list[dict[str, Any]]) -> None:
    if failed:
        first = failed[0]
        raise typer.Exit(
            fail(
                f"{len(failed)} split(s) cannot be read, the first is {first['task']} {first['split']}: "
                f"{first['error']}",
                WRONG_USE,
            )
        )


def _check_online(names: list[str], as_json: bool) -> None:
    """Compare the tasks' sources on the Hub with what is there; exit code 2 if a task could not be read from it."""
    from xlray.data.registry import ALL_TASKS, find_task
    from xlray.tasks.online import compare

    tasks = [find_task(name) for name in names] or list(ALL_TASKS.values())
    with open_console(stderr=True).status("") as line:
        found = compare(tasks, line.update)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        from xlray.cli.task_tables import print_comparison

        print_comparison(open_console(), found)
    if found.decisive:
        first = found.decisive[0]
        raise typer.Exit(
            fail(
                f"{len(found.decisive)} difference(s) keep tasks from being read from the Hub, the first is the "
                f"{first.field} of {first.task}: {first.registry} must be there, but the Hub has: {first.hub}",
                WRONG_USE,
            )
        )


def _check_overlap(names: list[str], data_dir: Path | None, root: Path, update: bool, as_json: bool) -> None:
    """Count overlaps against the storage's list; where there is none, against one that is made and not stored."""
    from xlray.cli.task_catalogue import exclusions_document, made_exclusions, overlaps
    from xlray.data.contamination import load_exclusions, store_exclusions
    from xlray.phases.store import check_writable

    with open_console(stderr=True).status("") as line:
        exclusions = None if update else load_exclusions(root)
        stored = update or exclusions is not None
        if exclusions is None:
            exclusions = made_exclusions(data_dir, line.update)
        if update:
            check_writable(root)
            store_exclusions(root, exclusions)
        document = exclusions_document(exclusions, stored, data_dir)
        rows = list(overlaps(names, exclusions, data_dir, line.update))
    if as_json:
        print_json({"exclusions": document, "sets": rows})
    else:
        _print_overlap(document, rows)
    _exit_if_any([row for row in rows if row["status"] == "failed"])


def _print_overlap(document: dict[str, Any], rows: list[dict[str, Any]]) -> None:
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
    console = open_console()
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
    for text in lines:
        console.print(text, highlight=False, markup=False, soft_wrap=True)
