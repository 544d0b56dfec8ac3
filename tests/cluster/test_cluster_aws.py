"""`ray up cluster.yaml` on an EC2 of hosts: machines come with the work, are lost, the head too; the sweep loses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from cluster_checks import NODES, SPREAD, check_ledger, check_scores, kill_driver, on_head, wait_until, xlray
from ec2 import ADDRESSES, ENDPOINT, HEAD, LAPTOP, NO_SPOT, Cloud, Instance, cloud
from hosts import TOP, Hosts, hosts, missing, namespaces
from running_sweeps import SWEEP, TASKS

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif(bool(missing()), reason=missing() or "hosts can be made"),
]

STORAGE = "s3://bucket/xlray"
NOTICE_S = 40.0
ONE_BY_ONE = (
    SWEEP.replace("{tasks!r}", repr(TASKS))
    .replace("rungs=(256, 512)", "rungs=(2048, 4096)")
    .replace("zero_stage=1", "zero_stage=2, max_concurrent_trials=1")
)
LEDGER = f"""
import json
from xlray.storage.storage import open_storage
from xlray.storage.sweep_folder import sweep_folder
folder = sweep_folder(open_storage("{STORAGE}"), "small")
print(json.dumps([str(folder), folder.journal.read()]))
"""


def launcher_file(made: Hosts) -> Path:
    """The project's own file, with what this EC2 has: its image, its hosts' key, a core for eight GPUs."""
    config: dict[str, Any] = yaml.safe_load((TOP / "cluster.yaml").read_text())
    # The public addresses that moto makes up are somebody's.
    config["provider"]["use_internal_ips"] = True
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(made.work / "key")}
    config["idle_timeout_minutes"] = 3  # more than a driver waits for the lease of one that was lost
    # What these would install is on the hosts already.
    installing = ("pip install", "python3 -m venv", "apt-get")
    config["setup_commands"] = [c for c in config["setup_commands"] if not any(word in c for word in installing)]
    types = config["available_node_types"]
    del types["cpu"]
    for name, kind in types.items():
        kind["node_config"]["ImageId"] = "ami-03cf127a"
        if name != "head":  # one core each, so that a trial of two workers needs two of them
            kind["resources"] = {"CPU": 1, "GPU": 0}
    for command in ("head_start_ray_commands", "worker_start_ray_commands"):
        # A little memory, since all hosts share one machine's.
        config[command] = [c + " --object-store-memory=120000000" if "ray start" in c else c for c in config[command]]
    path = made.work / "cluster.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="module")
def made() -> Iterator[Hosts]:
    with hosts(ADDRESSES, mask=16, settings=f"AWS_ENDPOINT_URL={ENDPOINT}") as found:
        yield found
    assert namespaces(found.prefix) == [] and not found.work.exists()
    assert str(found.work) not in Path("/proc/mounts").read_text()


@pytest.fixture(scope="module")
def aws(made: Hosts) -> Iterator[Cloud]:
    with cloud(made) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(made: Hosts, aws: Cloud) -> Path:
    """A cluster that `ray up` has formed, with the tunnel to its dashboard open."""
    code, said = made.run("laptop", "ray", "get-auth-token", "--generate")
    assert code == 0, said
    path = launcher_file(made)
    up(made, path)
    return path


def up(made: Hosts, path: Path) -> None:
    code, said = made.run("laptop", "ray", "up", "-y", "--no-config-cache", str(path), timeout_s=600, **LAPTOP)
    assert code == 0, said
    made.background("laptop", "ray", "dashboard", str(path), **LAPTOP)
    wait_until(lambda: xlray(made, "status")[0] == 0, "the tunnel", 120)


def head(aws: Cloud) -> str:
    return aws.heads()[-1].host


def entries(made: Hosts) -> tuple[Path, list[dict[str, Any]]]:
    """The sweep's folder on the laptop, and its journal as the bucket has it."""
    known = {**LAPTOP, "XLRAY_CACHE": str(made.work / "cache")}
    code, said = made.run("laptop", "python", "-c", LEDGER, **known)
    assert code == 0, said
    folder, found = json.loads(said)
    return Path(folder), found


def page(made: Hosts) -> dict[str, Any]:
    """The live page's data, or what it is before there is any."""
    program = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8300/small/data').read().decode())"
    code, said = made.run("laptop", "python", "-c", program)
    found: dict[str, Any] = json.loads(said) if code == 0 else {"running": [], "ray": {}, "state": "", "counts": {}}
    return found


def ranks_shown(made: Hosts) -> set[int]:
    """Of the workers whose places the page knows."""
    return {w["rank"] for job in page(made)["running"] for w in (job["place"] or {"workers": []})["workers"]}


def keys(aws: Cloud) -> list[str]:
    """What the bucket holds."""
    listed = "boto3.client('s3').get_paginator('list_objects_v2').paginate(Bucket='bucket')"
    return aws.ask(f"print(*[o['Key'] for page in {listed} for o in page.get('Contents', [])], sep='\\n')").split()


def retried(made: Hosts) -> list[str]:
    return [entry["kind"] for entry in entries(made)[1] if entry["event"] == "retried"]


def num_drivers(made: Hosts) -> int:
    """That opened the sweep, so far."""
    return sum(entry["event"] == "opened" for entry in entries(made)[1])


def training(made: Hosts, aws: Cloud) -> bool:
    return "SPREAD 2 2" in on_head(made, head(aws), SPREAD)


def running(aws: Cloud) -> list[Instance]:
    return [worker for worker in aws.workers() if worker.running]


def test_ray_up_starts_the_head_alone_and_puts_no_secret_on_it_but_the_token(
    made: Hosts, aws: Cloud, cluster: Path
) -> None:
    assert [(i.kind, i.lifecycle) for i in aws.instances.values()] == [(HEAD, "on-demand")]
    assert "NODES 1" in on_head(made, head(aws), NODES)
    asked = made.run("laptop", "bash", "-c", "exec 3<>/dev/tcp/$0/8265", aws.made.addresses[head(aws)])
    assert asked[0] != 0 and "refused" in asked[1]  # the dashboard listens on the head's loopback


def test_a_sweep_survives_a_notice_a_lost_machine_its_driver_and_the_head(
    made: Hosts, aws: Cloud, cluster: Path, tmp_path: Path
) -> None:
    file, storage = made.work / "small.py", ("--storage", STORAGE)
    file.write_text(ONE_BY_ONE)
    code, said = xlray(made, "submit", str(file), *storage, "--set", "execution.gpus_per_worker=1")
    assert code == 2 and "fits on the cluster` must hold, but it has room for 0 such workers" in said
    code, said = xlray(made, "submit", str(file), *storage, "--no-wait")
    assert code == 0, said

    # Machines come with the work: two spot ones, for the two workers of the one trial that runs.
    wait_until(lambda: training(made, aws), "a trial that trains")
    assert [(w.kind, w.lifecycle) for w in aws.workers()] == [("p4d.24xlarge", "spot")] * 2

    # The live page reads the bucket, and finds its way from the sweep to Ray's pages.
    made.background("laptop", "python", "-m", "xlray", "dashboard", "small", "--storage", STORAGE, **LAPTOP)
    wait_until(lambda: page(made)["ray"].get("num_nodes") == 3, "the page to show three machines", 120)
    wait_until(lambda: ranks_shown(made) == {0, 1}, "the page to show the workers of what runs", 120)

    # A notice, then the machine is gone: its replacement comes at once, and no failure is counted.
    first = aws.workers()[0]
    aws.give_notice(first, NOTICE_S)
    due = time.monotonic() + NOTICE_S
    wait_until(lambda: is_drained(made, first), "the watcher to drain its node", NOTICE_S)
    wait_until(lambda: len(aws.workers()) == 3, "another machine", NOTICE_S)
    wait_until(lambda: time.monotonic() > due, "the deadline")
    aws.take_away(first)
    wait_until(lambda: not first.running and training(made, aws), "a trial that trains elsewhere")
    assert retried(made) == []

    # A machine dies without a word while EC2 has no spot one to give: an on-demand one takes its place, and no further one,
    # whether a trial's workers trained on it or were about to join each other (then Ray starts them again by itself).
    (made.work / "shared" / NO_SPOT.name).write_text("")
    made.power_off(running(aws)[0].host)
    wait_until(lambda: len(aws.workers()) == 4, "an on-demand machine")
    assert aws.workers()[3].lifecycle == "on-demand"
    known = len(entries(made)[1])
    wait_until(lambda: any(e["event"] == "phase" for e in entries(made)[1][known:]), "a phase after the loss")

    before = num_drivers(made)
    kill_driver(made, head(aws))
    wait_until(lambda: num_drivers(made) == before + 1, "the job to start the driver again")

    # The head is gone, with its disk and all jobs. Another takes the living machines over, and the client that follows
    # submits again by itself.
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(xlray, made, "submit", str(file), *storage)
        wait_until(lambda: training(made, aws), "a trial that trains again")
        aws.take_away(aws.heads()[0])
        wait_until(lambda: not aws.heads()[0].running, "the head to be gone")
        up(made, cluster)
        assert len(running(aws)) == 2
        code, said = following.result()
    assert code == 0, said
    ended = time.monotonic()
    assert retried(made) in ([], ["node"])
    statuses = [e["event"] for e in entries(made)[1]]
    assert "stopped" in statuses, "a trial that was stopped early is what could leave a request behind"
    check_bucket(made, aws)
    wait_until(lambda: page(made)["state"] == "finished", "the page to show the end", 60)
    assert sum(page(made)["counts"].values()) == 4
    check_scores(entries(made)[0] / "results", ONE_BY_ONE, tmp_path)

    # Nobody asks for machines any more, stopped trials neither: all go, and none was started for nothing.
    wait_until(lambda: not running(aws), "idle machines to be gone", 300)
    wait_until(lambda: time.monotonic() > ended + 200, "the time after which Ray forgets a request", 200)
    assert len(aws.workers()) == 4, "a machine was started for nobody"


def is_drained(made: Hosts, instance: Instance) -> bool:
    """What the watcher on an instance says; once drained, it is soon gone."""
    return "is being drained" in made.run(instance.host, "cat", "/tmp/xlray-spot.log")[1]


def check_bucket(made: Hosts, aws: Cloud) -> None:
    """Results are read from the bucket by another machine."""
    known = {**LAPTOP, "XLRAY_CACHE": str(made.work / "cache")}
    code, said = made.run("laptop", "python", "-m", "xlray", "report", "small", "--storage", STORAGE, **known)
    assert code == 0, said
    folder, journal = entries(made)
    done = {key.split("/")[-2] for key in keys(aws) if "/phases/" in key and key.endswith("/DONE")}
    check_ledger(journal, folder / "results", done, drivers=4)  # one was refused


def test_ray_down_leaves_no_machine(made: Hosts, aws: Cloud, cluster: Path) -> None:
    code, said = made.run("laptop", "ray", "down", "-y", str(cluster), timeout_s=600, **LAPTOP)
    assert code == 0, said
    wait_until(lambda: not any(i.running for i in aws.instances.values()), "the head to be gone", 60)
