"""What control groups, affinity, Ray's sockets and its token leave a sweep of a machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xlray.cli import doctor
from xlray.cluster import local_ray, ray_dashboard
from xlray.config.execution import Execution
from xlray.errors import InputError
from xlray.plan import machine

TOP = Path(__file__).parents[2]
ALL = len(os.sched_getaffinity(0))


def groups(folder, line, **files):
    """A /proc and a /sys/fs/cgroup in which this process is in one group; files by path, `__` for `/`."""
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(f"{line}\n")
    (folder / "cgroup").mkdir()
    for name, text in files.items():
        path = folder / "cgroup" / name.replace("__", "/").replace("DOT", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return folder / "proc", folder / "cgroup"


@pytest.mark.parametrize(
    ("line", "files", "cores"),
    [
        ("0::/", {"cpuDOTmax": "100000 100000"}, 1),  # `docker --cpus 1`, version 2
        ("0::/", {"cpuDOTmax": "max 100000"}, ALL),
        ("0::/", {"cpuDOTmax": "50000 100000"}, 1),  # half a core is one
        ("0::/", {"cpuDOTmax": "190000 100000"}, 1),
        (
            "0::/system.slice/x.service",
            {"system.slice__cpuDOTmax": "100000 100000", "cpuDOTmax": "max 1"},
            1,
        ),  # above it
        ("4:cpu,cpuacct:/", {"cpu__cpu.cfs_quota_us": "100000", "cpu__cpu.cfs_period_us": "100000"}, 1),  # version 1
        ("4:cpu,cpuacct:/", {"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"}, ALL),
        (
            "4:cpu:/docker/abc",
            {"cpu__cpu.cfs_quota_us": "100000", "cpu__cpu.cfs_period_us": "100000"},
            1,
        ),  # host's path
        ("4:memory:/", {"cpu__cpu.cfs_quota_us": "100000", "cpu__cpu.cfs_period_us": "100000"}, ALL),
        ("", {}, ALL),
    ],
)
def test_a_quota_of_either_version_bounds_the_cores(tmp_path, line, files, cores):
    assert ALL >= 1
    assert machine.num_cpus(*groups(tmp_path, line, **files)) == cores if ALL > 1 else 1


@pytest.mark.parametrize(
    ("line", "files", "found"),
    [
        (
            "0::/",
            {"memory.max": "1000", "memory.current": "600", "memory.stat": "anon 1\ninactive_file 100"},
            [(1000, 500)],
        ),
        ("0::/", {"memory.max": "max", "memory.current": "600"}, []),
        (
            "3:memory:/docker/a",
            {"memory__memory.limit_in_bytes": "900", "memory__memory.usage_in_bytes": "300"},
            [(900, 300)],
        ),
    ],
)
def test_limits_of_memory_are_found_in_either_version(tmp_path, line, files, found):
    assert list(machine.memory_limits(*groups(tmp_path, line, **files))) == found


ONE_CORE = f"taskset -c {min(os.sched_getaffinity(0))}"


def test_doctor_counts_the_cores_of_an_affinity():
    code = "from xlray.cli import doctor; print(doctor._cores()[0].detail)"
    done = subprocess.run(
        [*ONE_CORE.split(), sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP
    )
    assert done.stdout.startswith("1;")


SESSION = """
import json, os, signal, sys, ray
from ray._private.node import Node
from xlray.config.sweep import Execution
from xlray.sweep.ray_session import ray_session

heard, end_processes = [], Node.kill_all_processes
def end_asked(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGTERM)
    end_processes(*args, **kwargs)
Node.kill_all_processes = end_asked
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
with ray_session(Execution(), None) as place:
    print(json.dumps({"cpus": ray.cluster_resources()["CPU"], "temp": ray._private.worker._global_node.get_temp_dir_path(),
                      "one": ray.get(ray.remote(lambda: 1).remote())}))
os.kill(os.getpid(), signal.SIGTERM)
assert heard == [signal.SIGTERM] * 2, heard
"""


@pytest.mark.ray
def test_ray_starts_with_the_cores_of_an_affinity_below_a_long_folder_without_a_home_and_signals_stay_ours(tmp_path):
    long = tmp_path / ("x" * 80)
    long.mkdir()
    (home := tmp_path / "home").write_text("no folder")
    before = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**before, "TMPDIR": str(long), "HOME": str(home), "PYTHONPATH": str(TOP)}
    done = subprocess.run(
        [*ONE_CORE.split(), sys.executable, "-c", SESSION], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"cpus": 1.0, "temp": str(local_ray.OWN_FOLDER / "ray"), "one": 1}
    assert not list(long.glob("ray*")) and (local_ray.OWN_FOLDER / "auth_token").exists()


def test_a_dashboard_has_as_long_to_start_as_a_node():
    from ray._private import ray_constants

    from xlray.sweep.ray_patches import patient_start

    with patient_start(lambda: 400.0):
        assert ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S == 400.0
    assert ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S == 60


SLOW_NODE = """
import sys
from ray._private import services
from xlray.sweep import ray_session as session
from xlray.config.sweep import Execution
services.RAYLET_EXECUTABLE, within_s = sys.argv[1], float(sys.argv[2])
session.start_within_s = lambda: within_s
try:
    with session.ray_session(Execution(), None):
        print("started")
except session.SessionError as error:
    print(error)
"""


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize(("within_s", "said"), [(300, "started"), (1, "Ray cannot be started on this machine")])
def test_a_node_that_takes_longer_than_ray_waits_is_waited_for_as_long_as_the_machine_is_loaded(
    tmp_path, within_s, said
):
    from ray._private import services

    raylet = tmp_path / "raylet"
    raylet.write_text(f'#!/bin/sh\nsleep 40\nexec {services.RAYLET_EXECUTABLE} "$@"\n')
    raylet.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(TOP)}
    command = [sys.executable, "-c", SLOW_NODE, str(raylet), str(within_s)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith(said), done.stderr


def test_a_ray_that_does_not_start_can_be_tried_again(capfd):
    from xlray.cli import main
    from xlray.errors import INTERRUPTED, SessionError

    assert main._fail_unexpectedly(SessionError("Ray cannot be started.")) == INTERRUPTED
    assert capfd.readouterr().err.splitlines()[-1] == "xlray: Ray cannot be started."


def test_ray_keeps_its_folder_where_its_sockets_fit(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/tmp")
    assert local_ray.ray_folder() == Path("/tmp/ray")
    fits = Path("/tmp") / ("x" * (local_ray.LONGEST_FOLDER_BYTES - len("/tmp//ray")))
    monkeypatch.setenv("RAY_TMPDIR", str(fits))
    assert local_ray.ray_folder() == fits / "ray"
    for longer in (f"{fits}y", f"{fits.parent}/{'ä' * (len(fits.name) - 1)}"):  # bytes count, not letters
        monkeypatch.setenv("RAY_TMPDIR", longer)
        assert local_ray.ray_folder() == local_ray.OWN_FOLDER / "ray"


def test_the_deepest_socket_of_a_ray_fits_where_its_folder_does():
    import ray

    package = Path(ray.__file__).parent
    code = [path.read_text() for path in (package / "dashboard" / "modules").rglob("*_head.py")]
    names = [
        line.split()[1].partition("(")[0] for text in code for line in text.splitlines() if "(SubprocessModule)" in line
    ]
    assert len(names) > 5
    deepest = local_ray.DEEPEST_SOCKET.rsplit("/", maxsplit=1)[1]
    assert all(len(name) <= len(deepest) for name in ("plasma_store", "raylet", *(f"dash_{name}" for name in names)))


def test_without_any_folder_one_line_says_what_to_do(monkeypatch, tmp_path):
    (file := tmp_path / "file").write_text("")
    monkeypatch.setattr(local_ray, "OWN_FOLDER", file)
    monkeypatch.setenv("RAY_TMPDIR", str(file))
    with pytest.raises(InputError, match=r"RAY_TMPDIR: .* but .*, and .* cannot be made; set RAY_TMPDIR to such"):
        local_ray.ray_folder()
    assert [check.status for check in doctor._place_of_ray()] == ["problem"]


def test_a_folder_that_others_may_read_is_not_ours(monkeypatch, tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("open", "link"):
        monkeypatch.setattr(local_ray, "OWN_FOLDER", tmp_path / name)
        with pytest.raises(PermissionError, match="this user alone"):
            local_ray.own_folder()


@pytest.fixture
def no_token(monkeypatch):
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


def test_a_token_is_kept_where_the_home_folder_cannot_be_written(monkeypatch, tmp_path, no_token):
    (home := tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(local_ray, "OWN_FOLDER", tmp_path / "own")
    chosen = local_ray.ray_environment()
    assert chosen == local_ray.ray_environment() == {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "own" / "auth_token")}
    assert len(ray_dashboard.token()) == 64  # the live page finds it as well
    monkeypatch.setenv("HOME", str(tmp_path))
    assert local_ray.ray_environment() == {} and local_ray.token_file() == tmp_path / ".ray" / "auth_token"


def test_a_file_that_holds_no_token_is_named(monkeypatch, tmp_path, no_token):
    (empty := tmp_path / "empty").write_text("\n")
    for path in (empty, tmp_path / "none"):
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
        with pytest.raises(InputError, match=f"RAY_AUTH_TOKEN_PATH: must name a file .*{path.name}"):
            local_ray.ray_environment()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert local_ray.ray_environment() == {}


def test_a_node_has_more_time_to_start_where_more_wait_for_the_cores(monkeypatch):
    waits = []
    for load in (0.0, 1.0, 4.0, 1_000.0):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load * machine.num_cpus(), 0.0, 0.0))
        waits.append(local_ray.start_within_s())
    assert waits == [30.0, 30.0, 120.0, 600.0]


def test_an_address_where_nothing_listens_is_refused_at_once(tmp_path):
    from xlray.sweep.ray_session import _free_port, ray_session

    for address in (f"127.0.0.1:{_free_port()}", "nonsense"):
        refused = pytest.raises(InputError, match=f"--address {address}: a Ray cluster must answer there")
        with refused, ray_session(Execution(), address):
            pass


@pytest.mark.parametrize(("pid", "said"), [(None, "off: "), ("self", "on, in "), (str(2**22 + 1), "off: ")])
def test_doctor_says_whether_trials_on_one_gpu_run_side_by_side(pid, said, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "_torch_probe", lambda: (True, json.dumps({"devices": ["H100"]})))
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    if pid is not None:
        (tmp_path / "nvidia-cuda-mps-control.pid").write_text(f"{os.getpid() if pid == 'self' else pid}\n")
    (check,) = doctor._shared_gpu()
    assert (check.name, check.status) == ("MPS", "ok") and check.detail.startswith(said)
    monkeypatch.setattr(doctor, "_torch_probe", lambda: (True, json.dumps({"devices": []})))
    assert doctor._shared_gpu() == []


@pytest.mark.parametrize(
    ("devices", "commands", "has_header", "status"),
    [
        (["H100"], {"gcc"}, True, "ok"),
        (["H100"], {"clang"}, True, "ok"),
        (["H100"], {"cc", "c++"}, True, "problem"),  # Triton does not look for these
        (["H100"], {"gcc"}, False, "problem"),
        ([], set(), False, "ok"),
    ],
)
def test_doctor_wants_what_builds_kernels_where_there_is_a_gpu(
    monkeypatch, tmp_path, devices, commands, has_header, status
):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(doctor, "_torch_probe", lambda: (True, json.dumps({"devices": devices})))
    monkeypatch.setattr("xlray.cli.doctor.shutil.which", lambda name: name if name in commands else None)
    monkeypatch.setattr("xlray.cli.doctor.sysconfig.get_paths", lambda: {"include": str(tmp_path)})
    if has_header:
        (tmp_path / "Python.h").touch()
    (check,) = doctor._compiler()
    assert check.status == status
    assert ("Python.h" in check.detail) == (bool(devices) and commands != {"cc", "c++"})
