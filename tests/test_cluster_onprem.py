"""`ray up deploy/onprem.yaml` on several hosts, and a sweep that loses one of them, and its driver, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hosts import SHARED, TOP, Hosts, hosts, missing, namespaces
from test_sweep import SWEEP, TASKS, finish, start

from xlray.collect import sweep_folder
from xlray.journal import read_journal

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(bool(missing()), reason=missing() or "hosts can be made"),
]

NAMES = ("laptop", "head", "w1", "w2")
DASHBOARD = "http://127.0.0.1:8265"
TWO_HOSTS = SWEEP.replace("{tasks!r}", repr(TASKS[:1])).replace("zero_stage=1", "zero_stage=2")
NODES = (
    "import ray; ray.init(address='auto', log_to_driver=False); print('NODES', sum(n['Alive'] for n in ray.nodes()))"
)
SPREAD = """
from ray.util.state import list_actors
found = list_actors(filters=[("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")], detail=True, limit=100)
print("SPREAD", len({actor.node_id for actor in found}), len(found))
"""


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, what
        time.sleep(1.0)


def launcher_file(made: Hosts) -> Path:
    """The project's own file with this test's addresses and key; what pip would bring is on the hosts already."""
    config: dict[str, Any] = yaml.safe_load((TOP / "deploy" / "onprem.yaml").read_text())
    config["provider"]["head_ip"] = made.addresses["head"]
    config["provider"]["worker_ips"] = [made.addresses["w1"], made.addresses["w2"]]
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(made.work / "key")}
    config["setup_commands"] = [c for c in config["setup_commands"] if "pip install" not in c]
    # One core each, so that a trial of two workers needs both; a little memory, since all hosts share one machine's.
    for kind, more in (("head", f" --node-ip-address={made.addresses['head']}"), ("worker", " --num-cpus=1")):
        commands = config[f"{kind}_start_ray_commands"]
        commands[-1] += f"{more} --object-store-memory=120000000"
    path = made.work / "onprem.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def made() -> Iterator[Hosts]:
    with hosts(NAMES) as found:
        yield found
    assert namespaces(found.prefix) == [] and not found.work.exists()
    mounts = Path("/proc/mounts").read_text()
    assert str(found.work) not in mounts


@pytest.fixture(scope="module")
def cluster(made: Hosts) -> Iterator[Path]:
    """A cluster that `ray up` has formed, with the tunnel to its dashboard open; `ray down` at the end."""
    code, said = made.run("laptop", "ray", "get-auth-token", "--generate")
    assert code == 0, said
    path = launcher_file(made)
    up = {"RAY_UP_enable_autoscaler_v2": "0"}
    code, said = made.run("laptop", "ray", "up", "-y", "--no-config-cache", str(path), timeout_s=600, **up)
    assert code == 0, said
    wait_until(lambda: "NODES 3" in made.run("head", "bash", "-ic", f'python -c "{NODES}"')[1], "three nodes")
    command = made.on("laptop", "ray", "dashboard", str(path))
    tunnel = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: xlray(made, "status")[0] == 0, "the tunnel", 120)
    yield path
    tunnel.kill()
    tunnel.wait()


def xlray(made: Hosts, command: str, *words: str, **environment: str) -> tuple[int, str]:
    known = {"PYTHONPATH": str(TOP), **environment}
    words = ("python", "-m", "xlray", command, *words, "--address", DASHBOARD)
    return made.run("laptop", *words, timeout_s=1_800, **known)


def entries(made: Hosts) -> list[dict[str, Any]]:
    journal = sweep_folder(made.work / "shared" / "runs", "small") / "journal"
    return read_journal(journal) if journal.exists() else []


def driver(made: Hosts) -> str:
    """Process id, on the head, of the sweep's driver."""
    code, listed = made.run("head", "pgrep", "--oldest", "--full", "--", "-m xlray run")
    assert code == 0, listed
    return listed.strip()


def test_the_dashboard_is_reached_by_the_tunnel_with_the_token_alone(made: Hosts, cluster: Path) -> None:
    head = made.addresses["head"]
    fetch = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-m", "10")
    if shutil.which("curl"):
        assert made.run("laptop", *fetch, f"{DASHBOARD}/api/jobs/")[1] == "401"
        assert made.run("laptop", *fetch, f"http://{head}:8265/api/jobs/")[1] == "000"  # nothing listens there
    code, said = xlray(made, "status", HOME="/tmp")  # a user without the token
    assert code == 2 and "asks for a token" in said


def test_a_storage_that_a_worker_does_not_share_is_refused_before_the_first_trial(made: Hosts, cluster: Path) -> None:
    file = made.work / "small.py"
    file.write_text(TWO_HOSTS)
    code, said = xlray(made, "submit", str(file), "--storage", "/mnt/alone")
    assert code == 2
    assert "--storage /mnt/alone: must be writable from every node, but node w" in said and "shared?" in said


def test_a_sweep_over_two_hosts_survives_a_host_and_its_driver(made: Hosts, cluster: Path, tmp_path: Path) -> None:
    file, storage = made.work / "small.py", ("--storage", str(SHARED / "runs"))
    file.write_text(TWO_HOSTS)
    code, said = xlray(made, "submit", str(file), *storage, "--no-wait")
    assert code == 0, said
    phases = made.work / "shared" / "runs" / "phases"
    wait_until(lambda: any(phases.glob("trunk-*/attempt/state-*")), "a trial that trains")
    code, said = made.run("head", "bash", "-ic", f"python -c '{SPREAD}'")
    assert "SPREAD 2 2" in said, said
    made.power_off("w1")
    time.sleep(5)
    made.power_on("w1")
    wait_until(lambda: any(e["event"] == "retried" for e in entries(made)), "the loss of a host to be noticed")
    assert [e["kind"] for e in entries(made) if e["event"] == "retried"][:1] == ["node"]
    retried_at = max(i for i, e in enumerate(entries(made)) if e["event"] == "retried")
    wait_until(lambda: any(e["event"] == "phase" for e in entries(made)[retried_at:]), "a phase after the loss")
    code, said = made.run("head", "kill", "-KILL", driver(made))
    assert code == 0, said
    code, said = xlray(made, "submit", str(file), *storage)  # joins the job, whose driver was started again
    assert code == 0, said
    check_ledger(made)
    check_scores(made, tmp_path)


def check_ledger(made: Hosts) -> None:
    results = sweep_folder(made.work / "shared" / "runs", "small") / "results"
    rows = pq.read_table(results / "phases.parquet").to_pylist()
    computed = [row["phase"] for row in rows if row["status"] == "computed"]
    assert computed and len(computed) == len(set(computed)), "a phase was computed twice"
    planned = {row["phase"] for row in rows}
    assert planned == {p.parent.name for p in (made.work / "shared" / "runs" / "phases").glob("*/DONE")}
    assert all(
        row["num_executed_steps"] == row["num_steps"] + row["num_repeated_steps"]
        for row in rows
        if row["status"] == "computed"
    )
    assert sum(e["event"] == "opened" for e in entries(made)) == 2
    assert {t["status"] for t in pq.read_table(results / "trials.parquet").to_pylist()} <= {"finished", "stopped"}


def check_scores(made: Hosts, folder: Path) -> None:
    """Against the same sweep on one host, undisturbed: equal but for the order of additions."""
    code, said = finish(start(folder, "--set", "execution.zero_stage=2", tasks=TASKS[:1]))
    assert code == 0, said
    key = ("trial_id", "rung", "task", "language", "split", "metric")
    tables = [
        {
            tuple(row[k] for k in key): row["value"]
            for row in pq.read_table(sweep_folder(f, "small") / "results" / "scores.parquet").to_pylist()
        }
        for f in (made.work / "shared" / "runs", folder / "runs")
    ]
    assert tables[0].keys() == tables[1].keys()
    differing = {k: (v, tables[1][k]) for k, v in tables[0].items() if abs(v - tables[1][k]) > 1.0}
    assert not differing, json.dumps([(*map(str, k), v) for k, v in differing.items()])


def test_ray_down_ends_the_head_and_the_workers_follow(made: Hosts, cluster: Path) -> None:
    code, said = made.run("laptop", "ray", "down", "-y", str(cluster), timeout_s=600)
    assert code == 0, said
    assert not [p for p in made.processes("head") if "gcs_server" in p or "raylet/raylet" in p]
    for name in ("w1", "w2"):  # a raylet that has not reached its head for a minute ends by itself
        wait_until(lambda name=name: not [p for p in made.processes(name) if "raylet/raylet" in p], name, 180)  # type: ignore[misc]
