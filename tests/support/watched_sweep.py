"""A sweep that nobody runs any more, as a journal, for tests of what watches sweeps."""

import json

import pytest

from xlray.storage.sweep_folder import open_sweep

TARGETS = ("udpos", "tatoeba")


def created(trial_id, cell="1", **more):
    return {
        "event": "created",
        "trial_id": trial_id,
        "cell": cell,
        "role": "explore",
        "tasks": ["a"],
        "seed": 3,
        **more,
    }


def running(trial_id, run="r"):
    return {"event": "running", "trial_id": trial_id, "attempt": 1, "run": run, "phases": []}


def rung(trial_id, index, value, cell="1", decision="continue", **scores):
    place = {"event": "rung", "trial_id": trial_id, "cell": cell, "role": "explore", "rung": 64 * (index + 1)}
    numbers = {"score": value, "fi_accuracy": value, "scores": {"udpos": value, **scores}, "degenerate": ""}
    return {
        **place,
        **numbers,
        "rung_index": index,
        "decision": decision,
        "reason": "below the cut",
        "cutoff": None,
        "probability": 1.0,
        "basis": "b",
    }


@pytest.fixture
def sweep(tmp_path):
    """A storage with one sweep that nobody runs any more."""
    folder = tmp_path / "sweeps" / "demo"
    entries = [
        {"event": "opened"},
        *(created(f"t{n}") for n in range(3)),
        running("t0", "demo-t0-1"),
        rung("t0", 0, 60.0),
        {"event": "finished", "trial_id": "t0"},
        {**running("t1", "demo-t1-1")},
    ]
    for entry in entries:
        open_sweep(folder).journal.append(entry)
    definition = {
        "question": "Does it <b>help</b>?",
        "targets": [{"task": task} for task in TARGETS],
        "intermediate": {"rungs": [64, 128]},
        "execution": {"num_workers": 2, "gpus_per_worker": 1},
    }
    (folder / "sweep.json").write_text(json.dumps(definition))
    return folder
