"""Workers that are forked: fresh processes, which have everything imported and are what Ray asks for."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from xlray.config.execution import Execution
from xlray.sweep import fork_client
from xlray.sweep.fork_client import SOCKET
from xlray.sweep.fork_server import fork_server, worker_forks

TOLD = {"RAY_JOB_ID": "01000000", "RAY_RAYLET_PID": "1"}  # what a raylet tells its workers
WORKER = """
import json, os, random, sys
import numpy as np
from pathlib import Path
from ray._raylet import WorkerID
early = "torch" in sys.modules
import torch
print(json.dumps({
    "pid": os.getpid(), "early": early, "arguments": sys.argv[1:], "name": __name__, "folder": os.getcwd(), "group": os.getpgrp(),
    "variable": os.environ.get("VARIABLE"), "of_server": os.environ.get("DS_ACCELERATOR"), "nice": os.nice(0),
    "oom": Path("/proc/self/oom_score_adj").read_text().strip(), "threads": torch.get_num_threads(),
    "drawn": [WorkerID.from_random().hex(), random.random(), np.random.rand()], "path": sys.path[0],
}))
if "--wait" in sys.argv:
    sys.stdin.read()
"""


def client(folder, *options, address=None, told=None, flags=(), **more):
    """The process that Ray starts for a worker."""
    file = folder / "default_worker.py"
    file.write_text(WORKER)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **TOLD, **(told or {})}
    raylet = f"--raylet-name={(address or folder / 'none').with_name('raylet')}"
    command = [sys.executable, fork_client.__file__, *flags, str(file), raylet, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=folder, env=environment, text=True, **more)


def said(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    found = json.loads(output)
    assert found["arguments"].pop(0).startswith("--raylet-name=")
    return found


def test_a_worker_of_another_job_is_started_as_ray_starts_it(address, tmp_path):
    found = said(client(tmp_path, address=address, told={"RAY_JOB_ID": "02000000"}))
    assert not found["early"] and not found["arguments"]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with fork_server(Execution(cpus_per_worker=2), tmp_path_factory.mktemp("sockets") / SOCKET, TOLD) as server:
        assert server.wait()
        yield server.address
        assert server.process.poll() is None


def context(**values):
    return f"--serialized-runtime-env-context={json.dumps({'py_executable': sys.executable, **values})}"


def test_a_forked_worker_has_everything_imported_and_is_what_was_asked_for(address, tmp_path):
    found = said(client(tmp_path, "--a=1", "--language=PYTHON", address=address, preexec_fn=lambda: os.nice(3)))
    assert found["early"] and found["arguments"] == ["--a=1"] and found["name"] == "__main__"
    assert (found["folder"], found["path"]) == (str(tmp_path), str(tmp_path))
    assert found["nice"] == os.nice(0) + 3 and found["of_server"] == os.environ.get("DS_ACCELERATOR")
    assert found["oom"] == Path("/proc/self/oom_score_adj").read_text().strip()
    assert found["group"] == found["pid"]  # Ray kills a worker's group when it ends
    assert found["threads"] == 2  # as many as the worker has CPUs


def test_forked_workers_draw_different_numbers(address, tmp_path):
    one, other = (said(client(tmp_path, address=address)) for _ in range(2))
    assert one["pid"] != other["pid"] and not set(one["drawn"]) & set(other["drawn"])


def test_a_forked_worker_has_the_variables_of_its_runtime_environment(address, tmp_path):
    found = said(client(tmp_path, "--language=PYTHON", context(env_vars={"VARIABLE": "x"}), address=address))
    assert found["early"] and found["variable"] == "x" and found["arguments"] == []


def test_an_interpreter_of_its_own_is_taken(address, tmp_path):
    own = f"{sys.executable} -P"
    found = said(client(tmp_path, "--language=PYTHON", context(py_executable=own), address=address))
    assert not found["early"] and found["path"] != str(tmp_path)


def test_a_client_ends_with_its_worker(address, tmp_path):
    process = client(tmp_path, "--wait", address=address, stdin=subprocess.PIPE)
    worker = json.loads(process.stdout.readline())["pid"]
    assert worker != process.pid and process.poll() is None
    os.kill(worker, signal.SIGKILL)
    assert process.wait(60) == 0


def test_without_a_server_a_worker_starts_as_ray_starts_it(tmp_path):
    found = said(client(tmp_path, "--a=1", "--language=PYTHON"))
    assert not found["early"] and found["arguments"] == ["--a=1"]


def test_flags_of_the_interpreter_come_before_the_workers_script(address, tmp_path):
    for where in (address, None):
        assert said(client(tmp_path, "--a=1", address=where, flags=["-s"]))["arguments"] == ["--a=1"]


def test_a_server_that_does_not_start_says_why(tmp_path):
    (tmp_path / SOCKET).with_name(f"{SOCKET}~").mkdir()  # where it would listen
    with fork_server(Execution(), tmp_path / SOCKET, TOLD) as server:
        assert not server.wait() and server.last_words() == "OSError: [Errno 98] Address already in use"


def test_the_server_ends_with_the_process_that_started_it(tmp_path):
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom xlray.config.execution import Execution\nfrom xlray.sweep.fork_server import fork_server\n"
        "with fork_server(Execution(), Path(sys.argv[1]), {}) as server:\n    server.wait()\n    print(server.process.pid, flush=True)\n"
        "    time.sleep(600)"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / SOCKET)], stdout=subprocess.PIPE, text=True
    )
    server = psutil.Process(int(driver.stdout.readline()))
    driver.kill()
    driver.wait()
    assert psutil.wait_procs([server], timeout=60)[0]


@pytest.mark.parametrize(
    "before, named",
    [
        ("from ray._raylet import WorkerID; WorkerID.from_random()", "drawn some before"),
        ("import threading, time; threading.Thread(target=time.sleep, args=[9], daemon=True).start()", "no thread"),
    ],
)
def test_a_process_that_must_not_be_forked_is_refused(before, named):
    program = f"from xlray.sweep.fork_server import check_forkable\ncheck_forkable()\n{before}\ncheck_forkable()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode and named in ended.stderr


def test_gpus_and_clusters_have_none():
    for execution, where in ((Execution(gpus_per_worker=1), None), (Execution(), "10.0.0.1:6379")):
        with worker_forks(execution, where) as server:
            assert server is None
