"""A process that has imported what workers need, and forks each worker of a Ray that runs on this machine alone.

A trial starts three processes, whose imports take most of the time until its first step; a forked one has them already and
shares their memory. Each is still a process of its own: nothing of one trial is seen by another, and its end frees all.
"""

from __future__ import annotations

import contextlib
import gc
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from xlray.config.execution import Execution
from xlray.sweep.fork_client import LENGTH_BYTES, SOCKET, program, start
from xlray.sweep.ray_workers import TOLD, random_class_ids, random_id, set_up_worker, told_workers

READY_WITHIN_S = 600.0  # imports on a machine that is busy with much else
WAITING = 64  # connections
# Without the folder that a user happens to be in, and with the one where this process has xlray from.
PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from xlray.sweep.fork_server import main; main()"


@dataclass(frozen=True)
class ForkServer:
    """The driver's side of a fork server.

    Attributes:
        address: path of the socket at which it listens once it has imported everything.
        errors: what it has written to its standard error.
    """

    process: subprocess.Popen[bytes]
    address: Path
    errors: IO[bytes]

    def wait(self) -> bool:
        """Wait until it listens; False where it has ended instead: workers then start as Ray starts them."""
        until = time.monotonic() + READY_WITHIN_S
        while not self.address.exists() and self.process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        return self.address.exists()

    def last_words(self) -> str:
        """The last line of its errors, for where it does not listen; "" if there is none."""
        self.errors.seek(0)
        return (self.errors.read().decode(errors="replace").strip().splitlines() or [""])[-1]


def worker_forks(execution: Execution, address: str | None) -> contextlib.AbstractContextManager[ForkServer | None]:
    """A fork server for the Ray that has been started, where there can be one: for workers on the CPUs of this machine.

    Args:
        address: of a Ray cluster, whose nodes are started by others.
    """
    if address is not None or execution.gpus_per_worker:
        return contextlib.nullcontext()
    raylet, told = told_workers()
    return fork_server(execution, raylet.with_name(SOCKET), told)


@contextlib.contextmanager
def fork_server(execution: Execution, address: Path, told: Mapping[str, str]) -> Iterator[ForkServer]:
    """Start one for the workers of an execution on CPUs; it ends with this process, however that ends.

    Args:
        address: path of its socket.
        told: what all these workers have in their environment; others are not forked.
    """
    # Not above: it imports Ray Train.
    from xlray.sweep.train_run import TRAIN_ENVIRONMENT, worker_environment

    # Libraries read these when they are imported. Ray sets the number of threads in each worker, which is too late here.
    threads = {"OMP_NUM_THREADS": str(max(1, int(execution.cpus_per_worker)))}
    theirs = {**TRAIN_ENVIRONMENT, **worker_environment(execution), **told, "DS_ACCELERATOR": "cpu"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", PROGRAM, str(Path(__file__).parents[2]), str(address)],
            stdin=subprocess.PIPE,  # whose end tells it that this process has ended
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**threads, **os.environ, **theirs},
            start_new_session=True,
        )
        try:
            yield ForkServer(process, address, errors)
        finally:
            process.kill()
            process.communicate()


def main() -> None:
    """What the process runs."""
    preload()
    check_forkable()
    gc.collect()
    gc.freeze()  # a collection in a forked process would write to, and so copy, all of its memory
    if (link := serve(Path(sys.argv[1]))) is not None:
        become(link)


def preload() -> None:
    """Import what the processes of a trial on CPUs import, also what they import only where they need it."""
    with random_class_ids():
        import ray.train.torch.config  # noqa: F401

        import xlray.sweep.tune
        import xlray.training.train  # noqa: F401
        from xlray.training import autotune, engine, metrics

        engine.import_deepspeed(autotune.device_of(Execution()))
        metrics.items("tagging", [["O"]], [["O"]])  # seqeval, which brings scikit-learn


def check_forkable() -> None:
    """Check that this process may be forked.

    Raises:
        RuntimeError: it has a thread, or its copies would draw the same ids.
    """
    if threading.active_count() > 1:
        raise RuntimeError(f"imports must start no thread, but got {threading.enumerate()}")
    if _drawn_id() == _drawn_id():
        raise RuntimeError("ids that forked processes draw must differ, but imports have drawn some before")


def _drawn_id() -> bytes:
    """An id that Ray draws in a forked process."""
    forking = multiprocessing.get_context("fork")
    ours, theirs = forking.Pipe(duplex=False)
    process = forking.Process(target=lambda: theirs.send_bytes(random_id()))
    process.start()
    found = ours.recv_bytes()
    process.join()
    return found


def serve(address: Path) -> socket.socket | None:
    """Fork a process for each connection.

    Returns:
        In a forked process, its connection; in this one, when standard input ends, None.
    """
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}~")
        Path(f"{address}~").chmod(0o600)
        listener.listen(WAITING)
        Path(f"{address}~").rename(address)  # there once it can be connected to
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they end
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            if sys.stdin in ready:
                return None
            link, _ = listener.accept()
            with warnings.catch_warnings():  # Python 3.12 counts threads of native libraries, which know of forks
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setpgid(0, 0)  # what is left of a worker's group is killed with it
                return link
            link.close()


def become(link: socket.socket) -> None:
    """Make this process the worker that a client asks for, and run it; the client waits for the connection's end.

    Args:
        link: stays open for as long as this process lives.
    """
    size, streams, *_ = socket.recv_fds(link, LENGTH_BYTES, 3)
    with link.makefile("rb") as file:
        request = json.loads(file.read(int.from_bytes(size, "little")))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    told = {name: os.environ.get(name) for name in TOLD}
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    os.nice(request["niceness"] - os.nice(0))
    Path("/proc/self/oom_score_adj").write_text(request["oom_score_adj"])
    if told != {name: os.environ.get(name) for name in TOLD}:  # of another job
        start(request["arguments"])
    # Otherwise the same in all processes; Python's own generator is seeded again when it forks.
    np.random.seed(int.from_bytes(os.urandom(4), "little"))
    sys.argv = program(set_up_worker(request["arguments"]))
    sys.path.insert(0, str(Path(sys.argv[0]).parent))  # as for a script that is run
    runpy.run_path(sys.argv[0], run_name="__main__")
