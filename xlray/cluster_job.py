"""What a submitted job runs on the cluster: one command of xlray, which is started again if it is killed.

    python -m xlray.cluster_job VERSIONS COMMAND...

VERSIONS is a JSON object of what the client runs. The driver of a sweep goes on from what is stored.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from xlray.output import fail
from xlray.probe import differences, versions

WRONG_USE = 2
MAX_RESTARTS = 5  # in a row
LONG_S = 300.0  # a command that ran for so long was no loop of failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point: checks the versions, runs the command, returns its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    theirs = json.loads(given[0])
    if unlike := differences(theirs, versions(), "on the client", "on the cluster"):
        return fail(f"client and cluster must run the same versions, but {unlike}.", WRONG_USE)
    return keep_running([sys.executable, "-m", "xlray", *given[1:]])


def keep_running(command: Sequence[str], max_restarts: int = MAX_RESTARTS) -> int:
    """Run a command, again whenever a signal has killed it; its exit code.

    `ray job stop` sends SIGTERM to every process of the job, so the command has it already: here it is only remembered.
    """
    asked: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))
    try:
        restarts = 0
        while True:
            started = time.monotonic()
            code = subprocess.call(command)
            restarts = 0 if time.monotonic() - started > LONG_S else restarts
            if code >= 0 or asked or restarts == max_restarts:
                return code if code >= 0 else 128 - code
            restarts += 1
            name = signal.Signals(-code).name
            print(f"the driver was killed by {name}; it is started again and goes on", flush=True)
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
