"""Fixture of a storage with one sweep."""

import json

import pytest

from xlray.analysis.results import SCORES, TRIALS
from xlray.storage import parquet
from xlray.storage.sweep_folder import open_sweep


@pytest.fixture
def runs(tmp_path):
    """A storage with one sweep: one trial finished, one stopped, one failed, one in the middle of a phase."""
    directory = tmp_path / "runs" / "sweeps" / "demo"
    directory.mkdir(parents=True)
    definition = {
        "name": "demo",
        "question": "Why?",
        "intermediate": {"rungs": [32, 64]},
        "seeds": [0],
        "targets": [{"task": "mini_udpos"}, {"task": "mini_panx"}],
    }
    (directory / "sweep.json").write_text(json.dumps(definition))
    trials = {
        "aaaa": ("measure", "0", []),
        "bbbb": ("explore", "1-all", ["x"]),
        "cccc": ("measure", "1-all", ["y"]),
        "dddd": ("measure", "2-all", ["x", "y"]),
    }
    journal, rows, scores = open_sweep(directory).journal, [], []
    for trial_id, (role, cell, tasks) in trials.items():
        entry = {"event": "created", "trial_id": trial_id, "role": role, "cell": cell, "tasks": tasks, "seed": 0}
        journal.append(entry)
        journal.append({"event": "running", "trial_id": trial_id})
    ends = {"aaaa": ("finished", 2), "bbbb": ("stopped", 1), "cccc": ("failed", 0), "dddd": ("running", 1)}
    for trial_id, (status, rungs) in ends.items():
        role, cell, tasks = trials[trial_id]
        for index in range(rungs):
            found = {"mini_udpos": 60.0 + index, "mini_panx": 40.0 + index}
            rung = {"rung": (32, 64)[index], "rung_index": index}
            place = {
                "sweep": "demo",
                "trial_id": trial_id,
                "cell": cell,
                "num_tasks": len(tasks),
                "tasks": tasks,
                **rung,
                "seed": 0,
                "role": role,
                "source": "all",
            }
            for task, value in found.items():
                common = {**place, "task": task, "language": "fi", "split": "dev", "num_examples": 32}
                scores.append({**common, "metric": "headline", "value": value, "selection": True})
                scores.append({**common, "metric": "majority", "value": 20.0, "selection": False})
                scores.append({**common, "metric": "majority", "value": 9.0, "selection": False, "language": "et"})
            journal.append(
                {
                    "event": "rung",
                    "trial_id": trial_id,
                    "cell": cell,
                    "role": role,
                    **rung,
                    "score": 50.0,
                    "fi_accuracy": 50.0 + index,
                    "scores": found,
                    "decision": "continue",
                    "reason": "",
                    "cutoff": None,
                    "probability": 1.0,
                    "degenerate": "target: one prediction for all of udpos dev fi" if trial_id == "bbbb" else "",
                },
            )
        if status != "running":
            journal.append({"event": status, "trial_id": trial_id, "error": "Boom\nValueError: x"})
        rows.append(
            {
                "sweep": "demo",
                "trial_id": trial_id,
                "status": status,
                "role": role,
                "cell": cell,
                "tasks": tasks,
                "num_tasks": len(tasks),
                "source": "all",
                "seed": 0,
                "position": 0,
            }
        )
    parquet.write_table(directory / "results" / "trials.parquet", parquet.to_table(rows, TRIALS))
    parquet.write_table(directory / "results" / "scores.parquet", parquet.to_table(scores, SCORES))
    return tmp_path / "runs"
