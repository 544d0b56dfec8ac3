"""The command line: the only place that parses, prints and exits. Heavy modules are imported where they are needed."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray import signals
from xlray.cli.bench import bench_app
from xlray.cli.cluster import logs, prepare_there, status_there, stop, submit
from xlray.cli.dashboard import dashboard
from xlray.cli.export import export_model, export_predictions
from xlray.cli.options import BudgetHours, DataDir, Json, OnBadExample, Settings, Storage, SweepFile
from xlray.cli.output import open_console, print_json, speak_any_encoding, tensorboard_line
from xlray.cli.phase import rerun, why
from xlray.cli.plan import plan, simulate
from xlray.cli.report import compare, report
from xlray.cli.run import retry
from xlray.cli.start import QUICKSTART, init
from xlray.cli.storage import collect_garbage
from xlray.cli.sweep_file import data_folder, load_plan
from xlray.cli.tasks import tasks_app
from xlray.config.sweep import Sweep
from xlray.errors import (
    CRASHED,
    DONE,
    EXIT_CODES,
    INTERRUPTED,
    SOME_FAILED,
    WRONG_USE,
    InputError,
    RemoteError,
    XlrayError,
    fail,
)
from xlray.monitor.lasting import lasting
from xlray.storage.object_store import storage_trouble
from xlray.storage.sweep_folder import SNAPSHOT_VARIABLE, find_sweep_folder, storage_root
from xlray.storage.working_folder import send_changed

if TYPE_CHECKING:
    from rich.console import Console

    from xlray.analysis.results import Results
    from xlray.monitor.progress import TrialState, Work
    from xlray.plan.trials import SweepPlan

app = typer.Typer(
    help="Which intermediate tasks make XLM-R better at Finnish? Sweeps on Ray, answers with intervals.",
    epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(plan)
app.command()(simulate)
app.add_typer(tasks_app, name="tasks")
app.add_typer(bench_app, name="bench")
for command in (
    init,
    dashboard,
    report,
    compare,
    export_predictions,
    export_model,
    retry,
    why,
    rerun,
    submit,
    logs,
    stop,
):
    app.command(command.__name__.replace("_", "-"))(command)
app.command("gc")(collect_garbage)

Address = Annotated[
    str | None, typer.Option(help="Address of a running Ray cluster; by default Ray starts on this machine.")
]
NewVersion = Annotated[
    bool,
    typer.Option("--new-version", help="Run as NAME.2, NAME.3, ... if the definition differs from the stored one."),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: runs one command and returns its exit code, one of `EXIT_CODES`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    speak_any_encoding()
    try:
        with typer.main.get_command(app).make_context("xlray", given or ["--help"]) as context:
            context.command.invoke(context)
        sys.stdout.flush()
        return DONE
    except typer.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:  # `xlray ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except (KeyboardInterrupt, typer.Abort):
        return fail(signals.message(), INTERRUPTED)
    except Exception as error:  # noqa: BLE001  the border: whatever it was, the user gets a line and an exit code
        return _fail_unexpectedly(error)


def _fail_unexpectedly(error: Exception) -> int:
    if signals.taken() is not None:  # what was interrupted may make an error of its own out of it
        return fail(signals.message(), INTERRUPTED)
    if isinstance(error, XlrayError) and not isinstance(error, RemoteError):  # which is trouble of the storage
        return fail(str(error), error.exit_code)
    if hasattr(error, "format_message"):  # wrong use of the command line itself
        return fail(f"{error.format_message().removesuffix('.')}. See `xlray --help`.", WRONG_USE)
    if (trouble := storage_trouble(error)) is not None:
        text = f"the storage cannot be used: {trouble}; run the same command again when it is available."
        return fail(text, RemoteError.exit_code)
    if not hasattr(error, "log"):
        traceback.print_exc()
    log = f"; the traceback is in {error.log}" if hasattr(error, "log") else ""
    return fail(f"{type(error).__name__}: {error}{log}", CRASHED)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("xlray"))
        raise typer.Exit()


@app.callback()
def _top(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass


@app.command()
@lasting()
def run(
    sweep_file: SweepFile,
    storage: Storage = "runs",
    data_dir: DataDir = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    address: Address = None,
    budget_hours: BudgetHours = None,
    new_version: NewVersion = False,
    as_json: Json = False,
) -> None:
    """Run a sweep or resume it: phases that are stored are not computed again."""
    from xlray.phases.store import Store, check_writable
    from xlray.plan.definition import check_definition, newest_version
    from xlray.plan.forecast import Terms, check_hours, summary
    from xlray.storage.standings import OPEN_STATES

    started = time.time()
    root = storage_root(storage)
    sweep, planned = load_plan(sweep_file, settings, data_dir, root, on_bad_example == "skip")
    check_writable(root)
    if new_version:
        sweep = newest_version(sweep, root)
        planned = dataclasses.replace(planned, sweep=sweep)
    check_definition(sweep, root)
    if budget_hours is not None:
        check_hours(summary(planned, Store(root), Terms(budget_hours=budget_hours)))
    results, work, states, report = _run(sweep, planned, root, data_dir, address, budget_hours, as_json, started)
    from xlray.sweep.run import exit_code

    code, halted = exit_code(results)
    if as_json:
        from xlray.monitor.progress import status_document, sweep_state

        document = status_document(work, states, sweep_state(states, running=False))
        print_json({**document, "exit_code": code, "report": report})
    else:
        _print_end(results, planned, work, states, report)
    if halted is not None:
        fail(f"{halted} Run the same command again to resume.", code)
    elif code == SOME_FAILED:
        fail(
            f"{sum(s.status == 'failed' for s in states)} of {len(states)} trials failed; `xlray status {sweep.name} "
            "--json` has the reasons; run the same command again to retry them.",
            code,
        )
    elif code == INTERRUPTED:
        fail(
            f"{sum(s.status in OPEN_STATES for s in states)} of {len(states)} trials are open; "
            "run the same command again to resume.",
            code,
        )
    raise typer.Exit(code)


@app.command()
def demo(storage: Storage = "runs", as_json: Json = False) -> None:
    """Run a small sweep in a world of six invented languages: five minutes on two cores, no download, no GPU."""
    run(QUICKSTART, storage, as_json=as_json)


def _run(
    sweep: Sweep,
    planned: SweepPlan,
    root: Path,
    data_dir: Path | None,
    address: str | None,
    budget_hours: float | None,
    as_json: bool,
    started: float,
) -> tuple[Results, Work, tuple[TrialState, ...], dict[str, Any]]:
    """Run under the live view, with what libraries print in `run.log`, then write the report."""
    from rich.console import Console

    from xlray.cli.tables import print_plan
    from xlray.monitor.live import LiveView, diverted
    from xlray.monitor.progress import Watch, work_of_plan
    from xlray.phases.store import Store
    from xlray.plan.forecast import summary
    from xlray.storage.journal import read_journal

    store, directory = Store(root), root / "sweeps" / sweep.name
    work = work_of_plan(planned, store, directory)
    journal = read_journal(directory / "journal")
    log = directory / "run.log"
    with diverted(log) as (stdout, stderr):
        console = Console(file=stderr if as_json else stdout)
        print_plan(console, sweep.name, sweep.question, summary(planned, store))
        watch = Watch(work)
        try:
            shown = os.environ.get(SNAPSHOT_VARIABLE)
            with LiveView(console, watch, journal, started, Path(shown) if shown else None) as live:
                from xlray.sweep.run import run as run_sweep  # loads Ray: seconds

                results = run_sweep(sweep, root, data_folder(data_dir), address, live, planned, budget_hours)
            from xlray.report.report import write_report

            report = write_report(directory)
            send_changed(directory / "report")
        except InputError:
            raise
        except Exception as error:
            traceback.print_exc()
            error.log = log  # type: ignore[attr-defined]
            raise
    return results, work, watch.states(read_journal(directory / "journal")), report


def _print_end(
    results: Results,
    planned: SweepPlan,
    work: Work,
    states: Sequence[TrialState],
    report: dict[str, Any],
) -> None:
    from xlray.cli import tables

    console = open_console()
    console.print(tables.phase_table(tables.phase_rows(planned, results)))
    console.print(tables.final_table(states, work, results.majority()))
    console.print(report["answer"], highlight=False, markup=False)
    page = next((f for f in report["files"] if f.endswith("report.html")), None)
    for line in (
        "",
        f"report       {page}",
        f"TensorBoard  {tensorboard_line(work.directory)}",
        f"log          {work.directory / 'run.log'}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command()
@lasting()
def prepare(
    sweep_file: SweepFile,
    storage: Storage = "runs",
    data_dir: DataDir = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Store the encoder and the tokenised data of a sweep ahead of `run`."""
    from xlray.phases.store import check_writable

    if address is not None and address.startswith(("http://", "https://")):
        folder = None if data_dir is None else str(data_dir)
        raise typer.Exit(prepare_there(sweep_file, storage, folder, settings, on_bad_example, address))
    root = storage_root(storage)
    check_writable(root)
    sweep, planned = load_plan(sweep_file, settings, data_dir, root, on_bad_example == "skip")
    from xlray.monitor.live import diverted
    from xlray.sweep.run import prepare as prepare_sweep

    with diverted(root / "prepare.log") as (stdout, stderr):
        from rich.console import Console

        console = Console(file=stderr if as_json else stdout)
        rows = prepare_sweep(planned, root, address, lambda entry: _print_stage(console, entry))
    if as_json:
        print_json({"name": sweep.name, "splits": rows})
        return
    from xlray.cli import tables

    counts = ("records", "rows", "tokens", "longest", "truncated", "unanswerable", "lost_answers")
    cells = [(f"{r['task']} {r['split']}", *("" if r[key] is None else f"{r[key]:,}" for key in counts)) for r in rows]
    open_console().print(tables.make_table(("split", *(c.replace("_", " ") for c in counts)), cells, right=counts))


def _print_stage(console: Console, entry: dict[str, Any]) -> None:
    if entry["stage"] == "tokenise":
        text = f"tokenising {entry['task']} {entry['split']} ({entry['number']} of {entry['splits']})"
        console.print(text, highlight=False, markup=False)


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|DIR]", help="Required unless --address is given.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow until the sweep ends.")] = False,
    storage: Storage = "runs",
    address: Annotated[
        str | None, typer.Option(help="Address of a cluster's dashboard: ask there; without NAME, for all jobs.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show the progress of a sweep, read from its journal alone."""
    from xlray.monitor import progress

    if address is not None:
        raise typer.Exit(status_there(name, address, as_json))
    if name is None:
        raise InputError("status: NAME must be given, the name or folder of a sweep, unless --address is.")
    if watch and as_json:
        raise InputError("--watch and --json: one of them may be given, but got both.")
    directory = find_sweep_folder(name, storage_root(storage))
    if watch:
        try:
            _watch(directory)
        except KeyboardInterrupt:
            raise typer.Exit(fail(f"{directory.name} is not watched any more; it goes on.", INTERRUPTED)) from None
        return
    work, journal = progress.read_work(directory)
    seen = progress.Watch(work)
    states = seen.states(journal)
    state = progress.sweep_state(states, progress.is_running(directory))
    if as_json:
        print_json(progress.status_document(work, states, state))
        return
    from xlray.cli import tables
    from xlray.monitor.table import summary_line

    console = open_console()
    console.print(f"{work.name}: {state}; {summary_line(states)}", style="bold", highlight=False)
    if work.question:
        console.print(work.question, style="italic", highlight=False, markup=False)
    console.print(tables.final_table(states, work, {}, running=state == "running"))
    for s in states:
        if s.status == "running" and s.phase:
            console.print(f"{s.trial.title}: {s.phase} {s.done}/{s.steps}", highlight=False)
        if s.status == "failed":
            console.print(f"{s.trial.title} failed: {(s.error.splitlines() or [''])[-1]}", style="red", markup=False)


def _watch(directory: Path) -> None:
    from xlray.monitor import live, progress
    from xlray.monitor.table import summary_line

    work, journal = progress.read_work(directory)
    view = live.LiveView(open_console(), progress.Watch(work), journal, progress.opened_at(journal))
    view.rate_from = time.time()  # what was done before is not counted
    with view:
        while progress.is_running(directory):
            view.stage = progress.stage_of(journal)
            time.sleep(1.0)
            work, journal = progress.read_work(directory)
            view.follow(work, journal)
    state = progress.sweep_state(view.states(), running=False)
    print(f"{work.name}: {state}; {summary_line(view.states())}")


@app.command()
def doctor(storage: Storage = "runs", as_json: Json = False) -> None:
    """Check whether this machine can run a sweep."""
    from xlray.cli.doctor import run_checks

    checks = run_checks(storage_root(storage))
    if as_json:
        print_json([dataclasses.asdict(check) for check in checks])
    else:
        from xlray.cli.tables import make_table

        console = open_console()
        console.print(make_table(("check", "status", "found"), [(c.name, c.status, c.detail) for c in checks]))
    if any(check.status == "problem" for check in checks):
        raise typer.Exit(fail(f"doctor: {sum(c.status == 'problem' for c in checks)} problem(s) found.", WRONG_USE))
