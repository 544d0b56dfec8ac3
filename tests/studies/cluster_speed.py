"""What a trial costs beside its training on hosts of `hosts.py`, with 1, 2 and 4 workers on as many hosts.

    python tests/studies/cluster_speed.py          as root; prints a table for docs/scaling.md

All hosts share this machine's cores, so the more workers, the slower each: only what is beside training says something.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from cluster_checks import onprem_file, ray_up, xlray
from hosts import SHARED, hosts
from running_sweeps import SWEEP, TASKS

from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep, sweep_folder

WORKERS = (1, 2, 4)
ADDRESSES = {"laptop": "10.77.0.10", "head": "10.77.0.11", **{f"w{n}": f"10.77.0.{11 + n}" for n in WORKERS[:2]}}
ADDRESSES |= {"w3": "10.77.0.14", "w4": "10.77.0.15"}


def measure(storage: Path, num_workers: int) -> dict[str, float]:
    """Medians over the trials of a sweep, in seconds."""
    folder = sweep_folder(Storage(storage), "small")
    entries = open_sweep(folder).journal.read()
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
    found = {"to the first phase": began, "beside phases": beside, "rung latency": late}
    return {"trials": len(trials), **{name: statistics.median(seconds) for name, seconds in found.items()}}


def named(entry: dict[str, Any], event: str, trial: str) -> bool:
    return bool(entry["event"] == event and entry.get("trial_id") == trial)


def main() -> None:
    """Run the same sweep with each number of workers, one trial at a time."""
    text = SWEEP.replace("{tasks!r}", repr(TASKS))
    with hosts(ADDRESSES) as made:
        made.run("laptop", "ray", "get-auth-token", "--generate")
        ray_up(made, onprem_file(made, ("w1", "w2", "w3", "w4")), num_nodes=5)
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
