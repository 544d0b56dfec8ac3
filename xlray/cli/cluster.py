"""`xlray submit`, `logs`, `stop`, and what `status` and `prepare` do with `--address`: sweeps on a running Ray cluster."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.options import BudgetHours, OnBadExample, Settings, SweepFile
from xlray.cli.output import Shown
from xlray.cli.sweep_file import apply_settings, load_sweep
from xlray.errors import INTERRUPTED, InputError, fail
from xlray.storage.storage import is_remote

if TYPE_CHECKING:
    from rich.console import Console

    from xlray.cluster.jobs import Request

ClusterAddress = Annotated[
    str | None,
    typer.Option("--address", help="Address of the dashboard; by default RAY_ADDRESS or http://127.0.0.1:8265."),
]
ClusterStorage = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="XLRAY_STORAGE",
        help="s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or a folder that all nodes share.",
    ),
]
ClusterData = Annotated[
    str | None,
    typer.Option("--data-dir", envvar="XLRAY_DATA_DIR", help="Folder of the tasks' original files, on the head."),
]
Submitted = Annotated[str, typer.Argument(metavar="NAME", help="Name of a submitted sweep.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the end.")]


def submit(
    sweep_file: SweepFile,
    storage: ClusterStorage,
    data_dir: ClusterData = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    address: ClusterAddress = None,
    budget_hours: BudgetHours = None,
    new_version: Annotated[bool, typer.Option("--new-version", help="As for `xlray run`.")] = False,
    no_wait: NoWait = False,
) -> None:
    """Run or resume a sweep on a Ray cluster; its driver runs there, whether or not this command keeps following."""
    options = {
        "data_dir": data_dir,
        "set": settings,
        "on_bad_example": on_bad_example,
        "budget_hours": budget_hours,
        "new_version": new_version,
    }
    request = make_request("run", sweep_file, storage, settings, {**options, "address": "auto"})
    raise typer.Exit(_send(request, address, no_wait))


def prepare_there(
    sweep_file: Path, storage: str, data_dir: str | None, settings: list[str] | None, on_bad: str, address: str
) -> int:
    """`xlray prepare` as a job on the cluster; its exit code."""
    options = {"data_dir": data_dir, "set": settings, "on_bad_example": on_bad, "address": "auto"}
    return _send(make_request("prepare", sweep_file, storage, settings, options), address, no_wait=False)


def make_request(
    kind: str, sweep_file: Path, storage: str, settings: list[str] | None, options: dict[str, Any]
) -> Request:
    """The sweep file with what it imports, and the command that will run on the cluster.

    Raises:
        InputError: the sweep file is wrong, or the storage is no place that all nodes can mean.
    """
    from xlray.cluster.jobs import Request, arguments_of, imported_files

    if not is_remote(storage) and not Path(storage).is_absolute():
        raise InputError(
            f"--storage {storage}: must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or an absolute folder that all nodes "
            "see."
        )
    before = frozenset(sys.modules)
    sweep = apply_settings(load_sweep(sweep_file), settings or [])
    files = imported_files(sweep_file, before)
    arguments = arguments_of((kind, sweep_file.name), {"storage": storage, **options})
    return Request(kind, sweep.name, arguments, files, storage)


def _send(request: Request, address: str | None, no_wait: bool) -> int:
    from xlray.cluster import jobs

    client, place = jobs.connect(address)
    job_id, was_there = jobs.join_or_submit(client, request)
    how = f"already runs as job {job_id}" if was_there else f"is job {job_id} at {place}"
    print(f"{request.name} {how}", flush=True)
    return 0 if no_wait else _follow(request.name, job_id, place, request)


def _follow(name: str, job_id: str, place: str, request: Request | None = None) -> int:
    """Show a job until it ends; its exit code.

    Args:
        request: what is resubmitted where the cluster has lost it.
    """
    from xlray.cluster import jobs
    from xlray.monitor.remote_live import Screen, fetch_view

    screen = Screen(job_id, functools.partial(fetch_view, place))

    def find_again(client: Any) -> str:
        if request is None:
            screen.job_id = str(jobs.need_job(client, name).submission_id)
        else:
            screen.job_id, _ = jobs.join_or_submit(client, request)
        screen(f"\nthe cluster was restarted; {name} resumes as job {screen.job_id}\n")
        return screen.job_id

    try:
        with screen:
            job = jobs.follow(lambda: jobs.connect(place)[0], job_id, screen, find_again)
    except KeyboardInterrupt:
        return fail(
            f"no longer following; the job continues. `xlray logs {name}` follows again, `xlray stop {name}` stops it.",
            INTERRUPTED,
        )
    code = jobs.exit_code(job)
    if code and not screen.has_said_why:
        return fail(f"job {screen.job_id} ended as {job.status}: {(job.message or '').splitlines()[0:1]}", code)
    return code


def logs(
    name: Submitted,
    address: ClusterAddress = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print what there is, without following.")] = False,
) -> None:
    """Follow the output of a submitted sweep until it ends."""
    from xlray.cluster import jobs

    client, place = jobs.connect(address)
    job = jobs.need_job(client, name)
    if no_wait:
        print(client.get_job_logs(job.submission_id), end="")
        raise typer.Exit(0)
    raise typer.Exit(_follow(name, str(job.submission_id), place))


def stop(name: Submitted, address: ClusterAddress = None, no_wait: NoWait = False) -> None:
    """Stop a submitted sweep gracefully: open phases save their state, and submitting it again resumes from there."""
    from xlray.cluster import jobs

    client, _ = jobs.connect(address)
    job = jobs.need_job(client, name)
    if jobs.is_over(job.status):
        print(f"{name}: job {job.submission_id} has ended already: {jobs.describe(job)['status']}")
        return
    client.stop_job(job.submission_id)
    while not no_wait and not jobs.is_over(client.get_job_info(job.submission_id).status):
        time.sleep(1.0)
    print(f"{name}: job {job.submission_id} {'is being stopped' if no_wait else 'is stopped'}")


def jobs_there(address: str) -> Shown:
    """The jobs of a cluster."""
    from xlray.cluster import jobs

    client, _ = jobs.connect(address)
    found = [jobs.describe(job) for job in jobs.list_jobs(client)]
    found = [job for job in found if job["command"] != "status"]  # questions such as this one

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        columns = ("sweep", "command", "status", "job", "storage")
        console.print(make_table(columns, [tuple(str(job[c]) for c in columns) for job in found]))

    return Shown(found, show)


def status_there(name: str, address: str, as_json: bool) -> int:
    """How far one sweep is, as `xlray status` says it there; its exit code."""
    from xlray.cluster import jobs

    client, _ = jobs.connect(address)
    job = jobs.need_job(client, name)
    storage = str((job.metadata or {})["storage"])
    words = jobs.arguments_of(("status", name), {"storage": storage, "json": as_json})
    code, text = jobs.run_there(client, jobs.Request("status", name, words, {}, storage))
    print(text, end="", file=sys.stderr if code else sys.stdout)
    return code
