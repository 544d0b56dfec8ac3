"""What the tests of real clusters have in common: commands of a user on the laptop, and what must be true at the end."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from hosts import TOP, Hosts
from running_sweeps import finish

from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

DASHBOARD = "http://127.0.0.1:8265"
NODES = """
import ray
ray.init(address="auto", log_to_driver=False)
print("NODES", sum(node["Alive"] for node in ray.nodes()))
"""
SPREAD = """
from ray.util.state import list_actors
found = list_actors(filters=[("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")], detail=True, limit=100)
print("SPREAD", len({actor.node_id for actor in found}), len(found))
"""


UP = {"RAY_UP_enable_autoscaler_v2": "0"}


def onprem_file(made: Hosts, workers: Sequence[str]) -> Path:
    """The project's own file with these hosts' addresses and key; what pip would bring is on the hosts already."""
    config: dict[str, Any] = yaml.safe_load((TOP / "deploy" / "onprem.yaml").read_text())
    config["min_workers"] = config["max_workers"] = len(workers)
    config["provider"]["head_ip"] = made.addresses["head"]
    config["provider"]["worker_ips"] = [made.addresses[name] for name in workers]
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(made.work / "key")}
    config["setup_commands"] = [c for c in config["setup_commands"] if "pip install" not in c]
    # One core each, so that a trial of two workers needs both; a little memory, since all hosts share one machine's.
    for kind, more in (("head", f" --node-ip-address={made.addresses['head']}"), ("worker", " --num-cpus=1")):
        commands = config[f"{kind}_start_ray_commands"]
        number = next(i for i, command in enumerate(commands) if "ray start" in command)
        commands[number] += f"{more} --object-store-memory=120000000"
    path = made.work / "onprem.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def ray_up(made: Hosts, path: Path, num_nodes: int) -> str:
    """`ray up` of own machines, and the tunnel; what `ray up` says."""
    code, said = made.run("laptop", "ray", "up", "-y", "--no-config-cache", str(path), timeout_s=600, **UP)
    assert code == 0, said
    wait_until(lambda: f"NODES {num_nodes}" in on_head(made, "head", NODES), f"{num_nodes} nodes")
    made.background("laptop", "ray", "dashboard", str(path))
    wait_until(lambda: xlray(made, "status")[0] == 0, "the tunnel", 120)
    return said


def wait_until(is_true: Callable[[], bool], what: str, seconds: float = 600.0) -> None:
    """A bound on hanging, not a measurement."""
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until, what
        time.sleep(1.0)


def xlray(made: Hosts, command: str, *words: str, **environment: str) -> tuple[int, str]:
    """A command of xlray on the laptop that asks the cluster, through the tunnel; its exit code and output."""
    known = {"PYTHONPATH": str(TOP), **environment}
    words = ("python", "-m", "xlray", command, *words, "--address", DASHBOARD)
    return made.run("laptop", *words, timeout_s=1_800, **known)


def on_head(made: Hosts, head: str, program: str) -> str:
    """What a Python program prints on the head, in a login shell as Ray's commands have it."""
    return made.run(head, "bash", "-ic", f"python -c '{program}'")[1]


def kill_driver(made: Hosts, head: str) -> None:
    """SIGKILL for the sweep's driver."""
    code, listed = made.run(head, "pgrep", "--oldest", "--full", "--", "-m xlray run")
    assert code == 0, listed
    code, said = made.run(head, "kill", "-KILL", listed.strip())
    assert code == 0, said


def check_ledger(entries: Sequence[dict[str, Any]], results: Path, done: set[str], drivers: int) -> None:
    """Every phase finished, and none twice.

    Args:
        done: phases that the storage holds.
        drivers: how often one was started.
    """
    rows = pq.read_table(results / "phases.parquet").to_pylist()
    computed = [row for row in rows if row["status"] == "computed"]
    names = [row["phase"] for row in computed]
    assert names and len(names) == len(set(names)), "a phase was computed twice"
    assert {row["phase"] for row in rows} == done
    assert all(row["num_executed_steps"] == row["num_steps"] + row["num_repeated_steps"] for row in computed)
    assert sum(e["event"] == "opened" for e in entries) == drivers
    assert {t["status"] for t in pq.read_table(results / "trials.parquet").to_pylist()} <= {"finished", "stopped"}


def check_scores(results: Path, text: str, folder: Path) -> None:
    """Against the same sweep on one host, undisturbed, in a new folder: equal but for the order of additions."""
    (folder / "small.py").write_text(text)
    storage = folder / "runs"
    command = [sys.executable, "-m", "xlray", "run", str(folder / "small.py"), "--storage", str(storage)]
    code, said = finish(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))
    assert code == 0, said
    key = ("trial_id", "rung", "task", "language", "split", "metric")
    ours, others = (
        {tuple(row[k] for k in key): row["value"] for row in pq.read_table(f / "scores.parquet").to_pylist()}
        for f in (results, sweep_folder(Storage(storage), "small") / "results")
    )
    assert ours.keys() == others.keys()
    differing = {k: (v, others[k]) for k, v in ours.items() if abs(v - others[k]) > 1.0}
    assert not differing, json.dumps([(*map(str, k), v) for k, v in differing.items()])
