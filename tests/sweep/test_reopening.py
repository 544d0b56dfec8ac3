import json

import pytest
from replayed import replay

from xlray.cli import main
from xlray.config.sweep import Stopping
from xlray.errors import InputError
from xlray.plan.asha import outcome
from xlray.storage.standings import passed, standings
from xlray.storage.sweep_folder import open_sweep
from xlray.sweep.retry import reopen


@pytest.fixture
def directory(tmp_path):
    """One trial of each kind of end."""
    folder = open_sweep(tmp_path / "sweeps" / "demo")
    journal = folder.journal
    ends = {"failed": 0, "stopped": 1, "finished": 2, "diverged": 1}
    for name, rungs in ends.items():
        place = {"trial_id": name, "cell": name, "role": "explore"}
        journal.append({"event": "created", **place, "tasks": [], "seed": 0})
        journal.append({"event": "running", "trial_id": name})
        for index in range(rungs):
            reason = {"stopped": "below the cut", "diverged": "diverged"}.get(name, "above the cut")
            decision = "continue" if reason == "above the cut" else "stop"
            entry = {"decision": decision, "reason": reason, "cutoff": None, "probability": 0.2, "score": 1.0}
            journal.append({"event": "rung", **place, "rung": 64, "rung_index": index, **entry})
        journal.append({"event": "stopped" if name == "diverged" else name, "trial_id": name, "error": "why"})
    return folder


def test_a_failed_trial_is_open_again(directory):
    assert reopen(open_sweep(directory), "failed")["kind"] == "asked"
    standing = standings(directory.journal.read()).trials["failed"]
    assert (standing.status, standing.error) == ("created", "")


def test_a_stopped_trial_continues_beyond_the_rung_where_it_stopped(directory):
    reopen(open_sweep(directory), "stopped")
    journal = directory.journal.read()
    standing = standings(journal).trials["stopped"]
    assert standing.status == "created" and passed(standing, 0)
    assert outcome(standing, 1) == "interrupted"  # open: not at its end, and not stopped
    own = [e for e in journal if e["event"] == "retried"]
    assert replay(own, Stopping(), 1) == []  # a decision by hand is none of the scheduler's


def test_what_would_change_nothing_is_refused(directory):
    for trial, message in (("finished", "but is finished"), ("diverged", "would give the same")):
        with pytest.raises(InputError, match=message):
            reopen(open_sweep(directory), trial)
    with directory.journal.exclusive(), pytest.raises(InputError, match="another process runs this sweep"):
        reopen(open_sweep(directory), "failed")


def test_the_command_prints_one_document_and_knows_trials_by_their_beginning(directory, capfd):
    storage = ("--storage", str(directory.storage.root))
    assert main.main(["retry", "demo", "fail", *storage, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["trial_id"] == "failed"
    for name in ("failde", "f"):
        code = main.main(["retry", "demo", name, *storage])
        error = capfd.readouterr().err
        assert code == 2 and error.count("\n") == 1, error
    assert "must name one trial" in error
