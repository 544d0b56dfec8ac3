"""Jobs on a running Ray cluster, through its job server: packed, submitted, followed, stopped."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shlex
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from xlray.cluster.ray_dashboard import token
from xlray.cluster.ray_internals import PACKAGING_LOG, server_version
from xlray.errors import CRASHED, DONE, INTERRUPTED, InputError, UnreachableError, nearest
from xlray.phases.versions import differences, must_agree
from xlray.storage.object_store import ENVIRONMENT

DEFAULT_ADDRESS = "http://127.0.0.1:8265"  # where `ray dashboard cluster.yaml` brings the head's
TOKEN_FILE = "~/.ray/auth_token"
STOP_WITHIN_S = 600  # a driver that is asked to stop waits for its workers to save their state
RETRY_S = 3.0
QUESTIONS = ("status",)  # kinds of jobs that only look
KIND = "xlray"  # key of the jobs' metadata that says what they do
LOST = (OSError, RuntimeError)  # what aiohttp, requests and Ray raise when nobody answers


@dataclass(frozen=True)
class Request:
    """A command of xlray to be run on the cluster.

    Attributes:
        kind: run or prepare.
        name: of the sweep.
        files: what its sweep file is made of: name below the job's working folder -> file here.
        storage: a folder that all nodes see, or a URI.
        settings: variables that its process has there.
        versions: of the client; see `must_agree`.
    """

    kind: str
    name: str
    arguments: tuple[str, ...]
    files: dict[str, Path]
    storage: str
    settings: dict[str, str] = field(default_factory=lambda: {n: os.environ[n] for n in ENVIRONMENT if n in os.environ})
    versions: dict[str, str] = field(default_factory=must_agree)


def connect(address: str | None) -> tuple[JobSubmissionClient, str]:
    """A client of the job server at an address (or RAY_ADDRESS, or this machine's port 8265), and that address.

    Raises:
        UnreachableError: nobody does.
        InputError: the token is missing or wrong, or the versions of Ray differ.
    """
    place = address or os.environ.get("RAY_ADDRESS") or DEFAULT_ADDRESS
    if not place.startswith(("http://", "https://")):
        raise InputError(f"--address {place}: must be that of the dashboard, such as {DEFAULT_ADDRESS}.")
    known = token()
    os.environ["RAY_ADDRESS"] = place  # which Ray would prefer to what it is given
    for noisy in ("ray.dashboard.modules.dashboard_sdk", PACKAGING_LOG):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        client = JobSubmissionClient(place, headers={"Authorization": f"Bearer {known}"} if known else None)
    except AuthenticationError as error:
        said = "refuses the token" if known else "asks for a token, and there is none"
        raise InputError(
            f"{place}: the cluster {said}; it must be that of the head's {TOKEN_FILE}, in RAY_AUTH_TOKEN, in the file "
            f"RAY_AUTH_TOKEN_PATH or in {TOKEN_FILE} here."
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise UnreachableError(
            f"{place}: a Ray cluster must answer there, but none does; `ray dashboard cluster.yaml` opens a tunnel to one."
        ) from error
    theirs = {**must_agree(), "ray": server_version(client)}
    if unlike := differences(must_agree(), theirs, "on the client", "on the cluster"):
        raise InputError(f"{place}: client and cluster must run the same versions, but {unlike}.")
    return client, place


def imported_files(path: Path, before: frozenset[str]) -> dict[str, Path]:
    """A sweep file and the modules that it has imported from beside it or from PYTHONPATH, as they are laid out there.

    What is installed, and xlray itself, is the cluster's to have.

    Args:
        before: modules that were loaded before the sweep file was executed.
    """
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    places = [path.parent.resolve(), *(Path(p or ".").resolve() for p in sys.path)]
    found = {path.name: path}
    for name in sorted(sys.modules.keys() - before):
        text = getattr(sys.modules[name], "__file__", None)
        if text is None or name.split(".")[0] == "xlray":
            continue
        file = Path(text).resolve()
        place = next((p for p in places if file.is_relative_to(p)), None)
        if place is not None and not any(file.is_relative_to(folder) for folder in installed):
            found[file.relative_to(place).as_posix()] = file
    return found


def find_job(client: JobSubmissionClient, name: str, kind: str = "run") -> JobDetails | None:
    """The newest job of a sweep."""
    jobs = [job for job in list_jobs(client) if (job.metadata or {}).get("sweep") == name]
    return next((job for job in jobs if (job.metadata or {}).get(KIND) == kind), None)


def list_jobs(client: JobSubmissionClient) -> list[JobDetails]:
    """xlray's jobs, newest first."""
    jobs = [job for job in client.list_jobs() if KIND in (job.metadata or {})]
    return sorted(jobs, key=lambda job: -(job.start_time or 0))


def need_job(client: JobSubmissionClient, name: str) -> JobDetails:
    """The newest job that runs a sweep.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    job = find_job(client, name)
    if job is None:
        known = list(dict.fromkeys(str(j.metadata["sweep"]) for j in list_jobs(client) if j.metadata))
        has = f"it has {', '.join(known)}" if known else "it has none"
        raise InputError(
            f"{name}: must be a sweep that was submitted to this cluster, but {has}.{nearest(name, known)}"
        )
    return job


def join_or_submit(client: JobSubmissionClient, request: Request) -> tuple[str, bool]:
    """The id of the job that runs a sweep's command, and whether it was there; it is submitted where there is none."""
    taken = {job.submission_id for job in client.list_jobs()}
    job = find_job(client, request.name, request.kind)
    if job is not None and not is_over(job.status):
        return str(job.submission_id), True
    stem = f"xlray-{request.kind}-{request.name}"
    job_id = next(f"{stem}-{n}" for n in range(1, len(taken) + 2) if f"{stem}-{n}" not in taken)
    try:
        submit(client, request, job_id)
    except RuntimeError:
        # Another client may have been the first, whose job has the same id.
        if all(job.submission_id != job_id for job in client.list_jobs()):
            raise
        return job_id, True
    return job_id, False


def submit(client: JobSubmissionClient, request: Request, job_id: str) -> None:
    """Submit a job."""
    known = {"sweep": request.name, "storage": request.storage, "settings": request.settings}
    head = json.dumps({"versions": request.versions, **known})
    words = ["python", "-m", "xlray.cluster.job_main", head, *request.arguments]
    with tempfile.TemporaryDirectory(prefix="xlray-submit-") as folder:
        for name, file in request.files.items():
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        client.submit_job(
            entrypoint=shlex.join(words),
            submission_id=job_id,
            runtime_env={
                **({"working_dir": folder} if request.files else {}),
                "env_vars": {**request.settings, "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WITHIN_S)},
            },
            metadata={KIND: request.kind, "sweep": request.name, "storage": request.storage},
        )


def is_over(status: str) -> bool:
    """Whether a job has ended."""
    return bool(JobStatus(status).is_terminal())


def exit_code(job: JobDetails) -> int:
    """Of the command that the job ran; 4 where it was stopped, 1 where it never ran."""
    if job.status == JobStatus.STOPPED:
        return INTERRUPTED
    if job.status == JobStatus.SUCCEEDED:
        return DONE
    code = job.driver_exit_code
    return code if code is not None and code > 0 else CRASHED


def follow(
    connect_again: Callable[[], JobSubmissionClient],
    job_id: str,
    show: Callable[[str], None],
    find_again: Callable[[JobSubmissionClient], str],
) -> JobDetails:
    """Show a job's log until it ends. A connection that is lost is made again; nothing is shown twice.

    Args:
        show: gets the log in pieces.
        find_again: called where the cluster does not know the job any more, because its head was restarted; the id of
            the job that took its place.
    """
    shown, started, lost = 0, None, False

    def show_once(new: str) -> None:
        nonlocal shown
        shown += len(new)  # counted here, since a connection may break in the middle of a log
        show(new)

    while True:
        try:
            client = connect_again()
            known = {job.submission_id for job in client.list_jobs()}
        except (*LOST, InputError) as error:
            if isinstance(error, InputError) and not lost and not isinstance(error, UnreachableError):
                raise
            lost = _say_lost(error, lost, show)
            time.sleep(RETRY_S)
            continue
        if job_id not in known:
            job_id = find_again(client)
        try:
            job = client.get_job_info(job_id)
            if started != job.start_time:  # another head's job may have the same id
                shown, started = 0, job.start_time
            asyncio.run(_tail(client, job_id, shown, show_once))
            job = client.get_job_info(job_id)
            if is_over(job.status):
                return job
        except LOST as error:
            lost = _say_lost(error, lost, show)
        time.sleep(RETRY_S)


def _say_lost(error: Exception, lost: bool, show: Callable[[str], None]) -> bool:
    if not lost:
        show(f"\n(no connection: {type(error).__name__}; the job continues, reconnecting)\n")
    return True


async def _tail(client: JobSubmissionClient, job_id: str, shown: int, show: Callable[[str], None]) -> None:
    """Show what comes after the first `shown` characters of a log."""
    seen = 0
    pieces: AsyncIterator[str] = client.tail_job_logs(job_id)
    async with aclosing(pieces) as stream:  # type: ignore[type-var]
        async for piece in stream:
            new = piece[max(0, shown - seen) :]
            seen += len(piece)
            if new:
                show(new)


def run_there(client: JobSubmissionClient, request: Request) -> tuple[int, str]:
    """Run a short command on the cluster; its exit code and what it printed."""
    job_id = f"xlray-{request.kind}-{request.name}-{secrets.token_hex(4)}"
    submit(client, request, job_id)
    while not is_over((job := client.get_job_info(job_id)).status):
        time.sleep(0.5)
    log = str(client.get_job_logs(job_id))
    _, found, rest = log.partition(f"Running entrypoint for job {job_id}")  # the last line that Ray writes before it
    return exit_code(job), rest.partition("\n")[2] if found else log


def describe(job: JobDetails) -> dict[str, Any]:
    """A job for people and `--json`."""
    known = job.metadata or {}
    times = {
        f"{key}_time": None if (t := getattr(job, f"{key}_time")) is None else t / 1000 for key in ("start", "end")
    }
    return {
        "sweep": known.get("sweep"),
        "command": known.get(KIND),
        "status": str(getattr(job.status, "value", job.status)).lower(),
        "job": job.submission_id,
        "storage": known.get("storage"),
        **times,
    }


def arguments_of(command: Sequence[str], options: dict[str, Any]) -> tuple[str, ...]:
    """A command line from options; None and False are left out, a list is repeated."""
    words = list(command)
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [word for item in value for word in (flag, str(item))]
        elif value not in (None, False):
            words += [flag, str(value)]
    return tuple(words)
