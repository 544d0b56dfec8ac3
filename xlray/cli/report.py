"""`xlray report` and `xlray compare`: what a sweep has found, and what two differ in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.options import StorageName, SweepName
from xlray.cli.output import Shown, open_console, say, shows
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder
from xlray.tasks.languages import language_name

if TYPE_CHECKING:
    from rich.console import Console

MOST_ROWS = 24


@shows
def report(
    name: SweepName,
    unseal: Annotated[
        bool, typer.Option("--unseal", help="Also open the sealed test scores; this is recorded.")
    ] = False,
    storage: StorageName = "runs",
) -> Shown:
    """Write report.html, tables and figures of a sweep, finished or not."""
    directory = find_sweep_folder(name, named_storage(storage))
    from xlray.report.report import write_report

    with open_console(stderr=True).status("reading") as status:
        document = write_report(directory, unseal=unseal, progress=status.update)
    directory.storage.send_changed(directory / "report")

    def show(console: Console) -> None:
        from xlray.cli.tables import print_estimates

        print_estimates(console, document)
        page = next((f for f in document["files"] if f.endswith("report.html")), "")
        say(console, f"report  {page}")

    return Shown(document, show)


@shows
def compare(first: SweepName, second: SweepName, storage: StorageName = "runs") -> Shown:
    """Compare two sweeps, paired where they share a subset and a seed; differences are second minus first."""
    opened = named_storage(storage)
    folders = find_sweep_folder(first, opened), find_sweep_folder(second, opened)
    from xlray.report.compare import compare_sweeps

    document = compare_sweeps(*folders)
    return Shown(document, lambda console: _print_comparison(console, document))


def _print_comparison(console: Console, document: Mapping[str, Any]) -> None:
    from xlray.cli.tables import make_table, print_answer
    from xlray.storage.cells import cell_in_words

    print_answer(console, document["answer"])
    for line in document["differing"]:
        console.print(f"differs: {line}", highlight=False, markup=False)
    for warning in document["warnings"]:
        console.print(f"- {warning}", style="yellow", highlight=False, markup=False)
    heads = ("rung", "cell", "score", document["first"], document["second"], "difference", "interval", "pairs")
    rows = [
        (
            f"{row['rung']:,}",
            cell_in_words(row["cell"], "no task"),
            row["outcome"],
            f"{row['first']:.1f}",
            f"{row['second']:.1f}",
            f"{row['difference']:+.1f}",
            "" if row["low"] is None else f"[{row['low']:+.1f}, {row['high']:+.1f}]",
            row["num_pairs"],
        )
        for row in document["rows"][:MOST_ROWS]
    ]
    left = len(document["rows"]) - len(rows)
    title = f"{language_name(document['language'])} dev{f' ({left} more rows on the page)' if left > 0 else ''}"
    console.print(make_table(heads, rows, title, right=("rung", *heads[3:])))
    page = next(f for f in document["files"] if f.endswith(".html"))
    say(console, f"page  {page}")
