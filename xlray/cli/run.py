"""`xlray run`, `demo`, `prepare` and `retry`."""

from __future__ import annotations

import dataclasses
import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.cluster import prepare_there
from xlray.cli.options import (
    BudgetHours,
    DataDir,
    Json,
    OnBadExample,
    Settings,
    StorageName,
    SweepFile,
    SweepName,
    TrialName,
)
from xlray.cli.output import Shown, say, shows, tensorboard_line
from xlray.cli.start import QUICKSTART
from xlray.cli.sweep_file import data_folder, load_plan
from xlray.cluster.ray_dashboard import SNAPSHOT_VARIABLE
from xlray.config.sweep import Sweep
from xlray.errors import DONE, InputError
from xlray.monitor.lasting import lasting
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder, find_trial, sweep_folder

if TYPE_CHECKING:
    from rich.console import Console

    from xlray.analysis.results import Results
    from xlray.monitor.reader import Reader
    from xlray.plan.trials import SweepPlan
    from xlray.storage.storage import Storage


Address = Annotated[
    str | None, typer.Option(help="Address of a running Ray cluster; by default Ray starts on this machine.")
]
NewVersion = Annotated[
    bool,
    typer.Option("--new-version", help="Run as NAME.2, NAME.3, ... if the definition differs from the stored one."),
]


@lasting()
@shows
def run(
    sweep_file: SweepFile,
    storage: StorageName = "runs",
    data_dir: DataDir = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    address: Address = None,
    budget_hours: BudgetHours = None,
    new_version: NewVersion = False,
    as_json: Json = False,
) -> Shown:
    """Run a sweep or resume it: phases that are stored are not computed again."""
    from xlray.phases.store import Store, check_writable
    from xlray.plan.definition import check_definition, newest_version
    from xlray.plan.forecast import Terms, over_budget, summary

    started = time.time()
    opened = named_storage(storage)
    sweep, planned = load_plan(sweep_file, settings, data_dir, opened, on_bad_example == "skip")
    check_writable(opened)
    if new_version:
        sweep = newest_version(sweep, opened)
        planned = dataclasses.replace(planned, sweep=sweep)
    check_definition(sweep, opened)
    if budget_hours is not None:
        error = over_budget(summary(planned, Store(opened), Terms(budget_hours=budget_hours)))
        if error is not None:
            raise error
    results, reader, report = _run(sweep, planned, opened, data_dir, address, budget_hours, as_json, started)
    from xlray.monitor.reader import status_document
    from xlray.sweep.run import how_it_ended

    ended = how_it_ended(results)
    document = {
        **status_document(reader),
        "exit_code": DONE if ended is None else ended.exit_code,
        "report": report,
    }
    return Shown(document, lambda console: _print_end(console, results, planned, reader, report), ended)


def demo(storage: StorageName = "runs", as_json: Json = False) -> None:
    """Run a small sweep in a world of six small languages: under ten minutes on two cores, no download, no GPU."""
    run(QUICKSTART, storage, as_json=as_json)


def _run(
    sweep: Sweep,
    planned: SweepPlan,
    storage: Storage,
    data_dir: Path | None,
    address: str | None,
    budget_hours: float | None,
    as_json: bool,
    started: float,
) -> tuple[Results, Reader, dict[str, Any]]:
    """Run under the live view, with what libraries print in `run.log`, then write the report."""
    from rich.console import Console

    from xlray.cli.tables import print_plan
    from xlray.monitor.live import LiveView, diverted
    from xlray.monitor.reader import Reader
    from xlray.phases.store import Store
    from xlray.plan.forecast import summary

    store, directory = Store(storage), sweep_folder(storage, sweep.name)
    log = directory / "run.log"
    with diverted(log) as (stdout, stderr):
        console = Console(file=stderr if as_json else stdout)
        print_plan(console, sweep.name, sweep.question, summary(planned, store))
        reader = Reader(directory, started)
        reader.know(planned, store)
        for entry in directory.journal.read():
            reader.take(entry)
        reader.held = True
        try:
            shown = os.environ.get(SNAPSHOT_VARIABLE)
            with LiveView(console, reader, started, Path(shown) if shown else None) as live:
                from xlray.sweep.run import run as run_sweep  # loads Ray: seconds

                results = run_sweep(sweep, storage, data_folder(data_dir), address, live, planned, budget_hours)
            from xlray.report.report import write_report

            report = write_report(directory)
            storage.send_changed(directory / "report")
        except InputError:
            raise
        except Exception as error:
            traceback.print_exc()
            error.log = log  # type: ignore[attr-defined]
            raise
    reader.held = False
    return results, reader, report


def _print_end(console: Console, results: Results, planned: SweepPlan, reader: Reader, report: dict[str, Any]) -> None:
    from xlray.cli import tables
    from xlray.monitor.following import Following

    console.print(tables.phase_table(tables.phase_rows(planned, results)))
    console.print(tables.final_table(reader.view(Following.members), results.majority()))
    tables.print_answer(console, report["answer"])
    page = next((f for f in report["files"] if f.endswith("report.html")), None)
    say(
        console,
        "",
        f"report       {page}",
        f"TensorBoard  {tensorboard_line(reader.directory.path)}",
        f"log          {reader.directory / 'run.log'}",
    )


@lasting()
@shows
def prepare(
    sweep_file: SweepFile,
    storage: StorageName = "runs",
    data_dir: DataDir = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    address: Address = None,
    as_json: Json = False,
) -> Shown:
    """Store the encoder and the tokenised data of a sweep ahead of `run`."""
    from xlray.phases.store import check_writable

    if address is not None and address.startswith(("http://", "https://")):
        folder = None if data_dir is None else str(data_dir)
        raise typer.Exit(prepare_there(sweep_file, storage, folder, settings, on_bad_example, address))
    opened = named_storage(storage)
    check_writable(opened)
    sweep, planned = load_plan(sweep_file, settings, data_dir, opened, on_bad_example == "skip")
    from xlray.monitor.live import diverted
    from xlray.sweep.run import prepare as prepare_sweep

    with diverted(opened / "prepare.log") as (stdout, stderr):
        from rich.console import Console

        console = Console(file=stderr if as_json else stdout)
        rows = prepare_sweep(planned, opened, address, lambda entry: _print_stage(console, entry))

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        counts = ("records", "rows", "tokens", "longest", "truncated", "unanswerable", "lost_answers")
        names = [f"{r['task']} {r['split']} {r.get('encoder', '')}".rstrip() for r in rows]
        numbers = [["" if r[key] is None else f"{r[key]:,}" for key in counts] for r in rows]
        cells = [(name, *inside) for name, inside in zip(names, numbers, strict=True)]
        console.print(make_table(("split", *(c.replace("_", " ") for c in counts)), cells, right=counts))

    return Shown({"name": sweep.name, "splits": rows}, show)


def _print_stage(console: Console, entry: dict[str, Any]) -> None:
    if entry["stage"] == "tokenise":
        text = f"tokenising {entry['task']} {entry['split']} ({entry['number']} of {entry['splits']})"
        console.print(text, highlight=False, markup=False)


@shows
def retry(name: SweepName, trial: TrialName, storage: StorageName = "runs") -> Shown:
    """Reopen a failed or stopped trial; the next run of the sweep resumes it."""
    from xlray.sweep.retry import reopen

    directory = find_sweep_folder(name, named_storage(storage))
    entry = reopen(directory, find_trial(directory, trial))
    text = f"trial {entry['trial_id']} is reopened; `xlray run` on the sweep's file resumes it."
    return Shown({"sweep": directory.name, **entry}, lambda console: say(console, text))
