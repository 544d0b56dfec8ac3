"""`ray up deploy/onprem.yaml` on several hosts, and a sweep that loses one of them, and its driver, and nothing else."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_checks import (
    DASHBOARD,
    SPREAD,
    check_ledger,
    check_scores,
    kill_driver,
    on_head,
    onprem_file,
    ray_up,
    wait_until,
    xlray,
)
from hosts import SHARED, Hosts, hosts, missing, namespaces
from running_sweeps import SWEEP, TASKS

from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep, sweep_folder

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(bool(missing()), reason=missing() or "hosts can be made"),
]

ADDRESSES = {"laptop": "10.77.0.10", "head": "10.77.0.11", "w1": "10.77.0.12", "w2": "10.77.0.13"}
# Trained for long enough that what happens to a host happens in the middle.
TWO_HOSTS = (
    SWEEP.replace("{tasks!r}", repr(TASKS[:1]))
    .replace("zero_stage=1", "zero_stage=2")
    .replace("rungs=(256, 512)", "rungs=(2048, 4096)")
)


@pytest.fixture(scope="module")
def made() -> Iterator[Hosts]:
    with hosts(ADDRESSES) as found:
        yield found
    assert namespaces(found.prefix) == [] and not found.work.exists()
    mounts = Path("/proc/mounts").read_text()
    assert str(found.work) not in mounts


@pytest.fixture(scope="module")
def cluster(made: Hosts) -> Path:
    """A cluster that `ray up` has formed, with the tunnel to its dashboard open; `ray down` at the end."""
    code, said = made.run("laptop", "ray", "get-auth-token", "--generate")
    assert code == 0, said
    path = onprem_file(made, ("w1", "w2"))
    ray_up(made, path, num_nodes=3)
    return path


def entries(made: Hosts, runs: str = "runs") -> list[dict[str, Any]]:
    journal = sweep_folder(Storage(made.work / "shared" / runs), "small") / "journal"
    return open_sweep(journal.parent).journal.read() if journal.exists() else []


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
    assert "SPREAD 2 2" in on_head(made, "head", SPREAD)
    # Whether the trial's workers trained there or were about to join each other: then Ray starts them again by itself.
    known = len(entries(made))
    made.power_off("w1")
    time.sleep(5)
    made.power_on("w1")
    wait_until(lambda: any(e["event"] == "phase" for e in entries(made)[known:]), "a phase after the loss")
    kill_driver(made, "head")
    code, said = xlray(made, "submit", str(file), *storage)  # joins the job, whose driver was started again
    assert code == 0, said
    assert {e["kind"] for e in entries(made) if e["event"] == "retried"} <= {"node"}
    done = {p.parent.name for p in phases.glob("*/DONE")}
    results = sweep_folder(Storage(made.work / "shared" / "runs"), "small") / "results"
    check_ledger(entries(made), results, done, drivers=2)
    check_scores(results, TWO_HOSTS, tmp_path)


def test_a_sweep_waits_for_a_slow_host_and_resumes_by_itself_after_the_head_was_lost(
    made: Hosts, cluster: Path
) -> None:
    file, runs = made.work / "small.py", made.work / "shared" / "again"
    code, said = xlray(made, "submit", str(file), "--storage", str(SHARED / "again"), "--no-wait")
    assert code == 0, said
    wait_until(lambda: any((runs / "phases").glob("trunk-*/attempt/state-*")), "a trial that trains")
    made.freeze("w1", 10.0)  # less than what a silent host is given up after
    assert [e for e in entries(made, "again") if e["event"] == "retried"] == []
    made.power_off("head")
    time.sleep(5)
    made.power_on("head")
    said = ray_up(made, cluster, num_nodes=3)
    assert "small: resumes as job xlray-run-small-1" in said
    code, said = xlray(made, "logs", "small")
    assert code == 0, said
    done = {p.parent.name for p in (runs / "phases").glob("*/DONE")}
    check_ledger(entries(made, "again"), sweep_folder(Storage(runs), "small") / "results", done, drivers=2)
    assert [e for e in entries(made, "again") if e["event"] == "retried"] == []


def test_ray_down_ends_the_head_and_the_workers_follow(made: Hosts, cluster: Path) -> None:
    code, said = made.run("laptop", "ray", "down", "-y", str(cluster), timeout_s=600)
    assert code == 0, said
    assert not [p for p in made.processes("head") if "gcs_server" in p or "raylet/raylet" in p]
    for name in ("w1", "w2"):  # a raylet that has not reached its head for a minute ends by itself
        wait_until(lambda name=name: not [p for p in made.processes(name) if "raylet/raylet" in p], name, 180)  # type: ignore[misc]
