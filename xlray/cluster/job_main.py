"""What a submitted job runs on the cluster: one command of xlray, which is restarted if it is killed.

    python -m xlray.cluster.job_main DESCRIPTION COMMAND...

DESCRIPTION is a JSON object: sweep, storage, settings and versions of `jobs.Request`. The driver of a sweep continues
from what is stored.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from xlray.cluster.jobs import QUESTIONS, Request
from xlray.cluster.ray_dashboard import SNAPSHOT_SUFFIX, SNAPSHOT_VARIABLE
from xlray.cluster.resubmit import forget, remember
from xlray.errors import WRONG_USE, fail
from xlray.phases.versions import differences, must_agree

MAX_RESTARTS = 5  # in a row
LONG_S = 300.0  # a command that ran for so long was no loop of failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: checks the versions, runs the command, returns its exit code."""
    described, *command = sys.argv[1:] if arguments is None else arguments
    known = json.loads(described)
    kind, sweep = command[0], known.pop("sweep")
    request = Request(kind=kind, name=sweep, arguments=tuple(command), files={}, **known)
    note = None if kind in QUESTIONS else remember(request, Path.cwd())
    if unlike := differences(request.versions, must_agree(), "on the client", "on the cluster"):
        code = fail(f"client and cluster must run the same versions, but {unlike}.", WRONG_USE)
    else:
        code = keep_running([sys.executable, "-m", "xlray", *command], environment())
    # A machine that shuts down in good order asks everything on it to stop, Ray too: that is not `xlray stop`.
    if note is not None and (code == 0 or answers(os.environ.get("RAY_ADDRESS", ""))):
        forget(note)
    return code


def answers(gcs_address: str) -> bool:
    """Whether Ray is there; an address that is no HOST:PORT is not asked."""
    host, _, port = gcs_address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2.0).close()
    except ValueError:
        return True
    except OSError:
        return False
    return True


def environment() -> dict[str, str]:
    """What the command gets beside what this process has."""
    # The driver tells its workers what the job was told; for Ray, that is a conflict.
    known = {**os.environ, "RAY_OVERRIDE_JOB_RUNTIME_ENV": "1"}
    log = Path("/proc/self/fd/1")  # a file of Ray's logs, which its log API hands out
    if log.is_symlink() and (file := log.readlink()).suffix == ".log":
        known[SNAPSHOT_VARIABLE] = str(file.with_suffix(SNAPSHOT_SUFFIX))
    return known


def keep_running(command: Sequence[str], env: Mapping[str, str] | None = None, max_restarts: int = MAX_RESTARTS) -> int:
    """Run a command, again whenever a signal has killed it; its exit code.

    `ray job stop` sends SIGTERM to every process of the job, so the command has it already: here it is only remembered.
    """
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        restarts = 0
        while True:
            started = time.monotonic()
            code = subprocess.call(command, env=env)
            restarts = 0 if time.monotonic() - started > LONG_S else restarts
            if code >= 0 or asked or restarts == max_restarts:
                return code if code >= 0 else 128 - code
            restarts += 1
            name = signal.Signals(-code).name
            print(f"the driver was killed by {name}; it is restarted, and the sweep resumes", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
