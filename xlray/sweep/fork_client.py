"""What a Ray node starts for each Python worker: has the fork server make one, or starts one as Ray does.

Run as a script, with the standard library alone, since it costs its time for every process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from typing import NoReturn

SOCKET = "fork"  # beside that of the raylet
RAYLET = "--raylet-name="  # path of its socket
LENGTH_BYTES = 4
CONTEXT, LANGUAGE = "--serialized-runtime-env-context", "--language"  # of Ray's script, which hands on all others


def forked(arguments: list[str]) -> bool:
    """Have the fork server make a worker of these arguments and wait for its end; False where there is no server.

    The worker takes over the standard streams, the environment, the folder and the priorities of this process.
    """
    request = {
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109 - pathlib takes longer to import than all of this
        "niceness": os.nice(0),
        "oom_score_adj": _oom_score_adj(),
    }
    text = json.dumps(request).encode()
    raylet = next(one.removeprefix(RAYLET) for one in arguments if one.startswith(RAYLET))
    with socket.socket(socket.AF_UNIX) as link:
        try:
            link.connect(f"{os.path.dirname(raylet)}/{SOCKET}")  # noqa: PTH120
        except OSError:  # not there yet, or no longer
            return False
        socket.send_fds(link, [len(text).to_bytes(LENGTH_BYTES, "little")], [0, 1, 2])
        link.sendall(text)
        with contextlib.suppress(ConnectionError):
            link.recv(1)  # the worker holds the other end as long as it lives
    return True


def _oom_score_adj() -> str:
    with open("/proc/self/oom_score_adj") as file:  # noqa: PTH123
        return file.read().strip()


def start(arguments: list[str]) -> NoReturn:
    """Become the worker as Ray starts it: by way of its own script only where there is a runtime environment."""
    if any(one.startswith(CONTEXT) for one in arguments):
        folder = os.path.dirname(program(arguments)[0])  # noqa: PTH120
        command = [f"{folder}/setup_worker.py", *arguments]
    else:
        command = [one for one in arguments if not one.startswith(LANGUAGE)]
    os.execv(sys.executable, [sys.executable, *command])


def program(arguments: list[str]) -> list[str]:
    """A worker's arguments from its own script on, without what Ray has put before for the interpreter."""
    first = next(i for i, one in enumerate(arguments) if not one.startswith("-"))
    return arguments[first:]


if __name__ == "__main__" and not forked(sys.argv[1:]):
    start(sys.argv[1:])
