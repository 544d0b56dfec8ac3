"""A Ray head of one's own on this machine, with a job server behind a token, beside whatever other Ray runs here."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
TOP = Path(__file__).parents[2]


@dataclass(frozen=True)
class Head:
    """Where it is and what it asks for."""

    address: str
    token_file: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def environment(self, **more: str) -> dict[str, str]:
        """For clients: the token, and nothing of another Ray."""
        mine = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
        return {**mine, "PYTHONPATH": str(TOP), "RAY_AUTH_TOKEN_PATH": str(self.token_file), **more}


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def ray_head(cpus: int = 2, drivers: int = 8, home: Path | None = None) -> Iterator[Head]:
    """Start it, and end it with all that it has started.

    Args:
        home: of its processes; by default a folder that goes with it.
    """
    folder = Path(tempfile.mkdtemp(prefix="xh-", dir="/tmp"))
    token = folder / "token"
    token.write_text(secrets.token_hex(32))
    port, dashboard, agent, grpc, client, metrics = free_ports(6)
    command = [
        str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats", f"--num-cpus={cpus}",
        f'--resources={{"trial_driver": {drivers}}}', "--object-store-memory=120000000", f"--temp-dir={folder / 'ray'}",
        "--node-ip-address=127.0.0.1", f"--port={port}", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={grpc}",
        f"--ray-client-server-port={client}", f"--metrics-export-port={metrics}",
    ]  # fmt: skip
    mine = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    env = {**mine, "PYTHONPATH": str(TOP), "PATH": f"{BIN}:{os.environ['PATH']}"}
    # Notes of jobs are left below the home folder.
    env |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token), "HOME": str(folder if home is None else home)}
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    head = Head(f"http://127.0.0.1:{dashboard}", token, folder, process)
    try:
        wait_for(head)
        yield head
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
        end_all_of(folder)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(head: Head) -> None:
    request = urllib.request.Request(f"{head.address}/api/jobs/")
    request.add_header("Authorization", f"Bearer {head.token_file.read_text()}")
    for _ in range(240):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(request, timeout=10).read()
            return
        assert head.process.poll() is None, (head.folder / "head.log").read_text()
        time.sleep(0.5)
    raise AssertionError((head.folder / "head.log").read_text())


def end_all_of(folder: Path) -> None:
    """Kill what is left of this head alone: its processes name its folder."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            if str(folder).encode() in words and int(entry.name) != os.getpid():
                os.kill(int(entry.name), signal.SIGKILL)
