"""What a trial costs beside its training on hosts of `hosts.py`, with 1, 2 and 4 workers on as many hosts.

    python tests/cluster_speed.py          as root; prints a table for docs/scaling.md

All hosts share this machine's cores, so the more workers, the slower each: only what is beside training says something.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from cluster_checks import NODES, on_head, wait_until, xlray
from hosts import SHARED, TOP, Hosts, hosts
from test_sweep import SWEEP, TASKS

from xlray.collect import sweep_folder
from xlray.journal import read_journal

WORKERS = (1, 2, 4)
ADDRESSES = {"laptop": "10.77.0.10", "head": "10.77.0.11", **{f"w{n}": f"10.77.0.{11 + n}" for n in WORKERS[:2]}}
ADDRESSES |= {"w3": "10.77.0.14", "w4": "10.77.0.15"}


def start_cluster(made: Hosts) -> None:
    """A head and four workers of a core each, from the project's own file."""
    config: dict[str, Any] = yaml.safe_load((TOP / "deploy" / "onprem.yaml").read_text())
    config["provider"]["head_ip"] = made.addresses["head"]
    config["min_workers"] = config["max_workers"] = 4
    config["provider"]["worker_ips"] = [made.addresses[f"w{n}"] for n in range(1, 5)]
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(made.work / "key")}
    config["setup_commands"] = [c for c in config["setup_commands"] if "pip install" not in c]
    for kind, more in (("head", f" --node-ip-address={made.addresses['head']}"), ("worker", " --num-cpus=1")):
        commands = config[f"{kind}_start_ray_commands"]
        number = next(i for i, command in enumerate(commands) if "ray start" in command)
        commands[number] += f"{more} --object-store-memory=100000000"
    path = made.work / "onprem.yaml"
    path.write_text(yaml.safe_dump(config))
    made.run("laptop", "ray", "get-auth-token", "--generate")
    up = {"RAY_UP_enable_autoscaler_v2": "0"}
    code, said = made.run("laptop", "ray", "up", "-y", "--no-config-cache", str(path), timeout_s=600, **up)
    assert code == 0, said
    wait_until(lambda: "NODES 5" in on_head(made, "head", NODES), "five nodes")
    made.background("laptop", "ray", "dashboard", str(path))
    wait_until(lambda: xlray(made, "status")[0] == 0, "the tunnel", 120)


def measure(storage: Path, num_workers: int) -> dict[str, float]:
    """Medians over the trials of a sweep, in seconds."""
    folder = sweep_folder(storage, "small")
    entries = read_journal(folder / "journal")
    rows = pq.read_table(folder / "results" / "phases.parquet").to_pylist()
    hours: dict[str, float] = {}
    for row in rows:
        if row["status"] == "computed" and row["trial_id"]:
            hours[row["trial_id"]] = hours.get(row["trial_id"], 0.0) + row["device_hours"]
    times = {
        (e["event"], e["trial_id"]): e for e in entries if e["event"] in ("running", "finished") and "trial_id" in e
    }
    trials = [trial for event, trial in times if event == "finished" and hours.get(trial)]
    began, beside, late = [], [], []
    for trial in trials:
        start = times["running", trial]
        held = times["finished", trial]["time"] - start["time"]
        beside.append(held - hours[trial] * 3_600 / num_workers)
        began.append((storage / "phases" / start["phases"][0] / "spec.json").stat().st_mtime - start["time"])
        done = [(storage / "phases" / e["phase"] / "DONE").stat().st_mtime for e in entries if named(e, "phase", trial)]
        late += [
            e["time"] - max((t for t in done if t <= e["time"]), default=e["time"])
            for e in entries
            if named(e, "rung", trial)
        ]
    found = {"trials": len(trials), "to the first phase": began, "beside phases": beside, "rung latency": late}
    return {k: statistics.median(v) if isinstance(v, list) else v for k, v in found.items()}


def named(entry: dict[str, Any], event: str, trial: str) -> bool:
    return bool(entry["event"] == event and entry.get("trial_id") == trial)


def main() -> None:
    """Run the same sweep with each number of workers, one trial at a time."""
    text = SWEEP.replace("{tasks!r}", repr(TASKS))
    with hosts(ADDRESSES) as made:
        start_cluster(made)
        for num_workers in WORKERS:
            file = made.work / "small.py"
            options = f"num_workers={num_workers}, max_concurrent_trials=1"
            file.write_text(text.replace("num_workers=2", options).replace("zero_stage=1", "zero_stage=2"))
            storage = SHARED / f"runs-{num_workers}"
            code, said = xlray(made, "submit", str(file), "--storage", str(storage))
            assert code == 0, said
            print(num_workers, measure(made.work / "shared" / storage.name, num_workers), flush=True)


if __name__ == "__main__":
    main()
