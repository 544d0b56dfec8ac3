"""Whole sweeps with real Ray, DeepSpeed and files, on the embedded world with a tiny random encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from running_sweeps import finish, journal, start, table

from xlray.analysis.results import ITEMS, PHASES, SCORES, STEPS, TRIALS
from xlray.cli import main
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1_800)]


def test_every_trial_ends_and_the_tables_have_their_columns(undisturbed: Path) -> None:
    trials = table(undisturbed, "trials").to_pylist()
    assert len(trials) == 4
    assert {t["status"] for t in trials} == {"finished", "stopped"}
    schemas = {"scores": SCORES, "trials": TRIALS, "phases": PHASES, "items": ITEMS, "steps": STEPS}
    for name, schema in schemas.items():
        assert set(schema.names) <= set(table(undisturbed, name).column_names)
        assert len(table(undisturbed, name)) > 0
    assert (sweep_folder(Storage(undisturbed / "runs"), "small") / "report" / "report.html").stat().st_size > 1000


def test_asha_stops_a_trial_and_another_follows_it(undisturbed: Path) -> None:
    entries = journal(undisturbed)
    stopped = [i for i, e in enumerate(entries) if e["event"] == "stopped"]
    assert stopped, "with a cut at the best fiftieth of three trials at least one must stop"
    following = {e["trial_id"] for e in entries[stopped[0] :] if e["event"] == "running"}
    ended = {e["trial_id"] for e in entries[stopped[0] + 1 :] if e["event"] in ("finished", "stopped")}
    assert following and following <= ended, "the trial after a stopped one must start and end"
    measured = [e for e in entries if e["event"] == "rung" and e["role"] == "measure"]
    assert all(e["decision"] == "continue" for e in measured)


def test_test_scores_are_sealed(undisturbed: Path) -> None:
    assert set(table(undisturbed, "scores")["split"].to_pylist()) == {"dev"}
    sealed = list((undisturbed / "runs" / "phases").glob("target-*/sealed/scores.parquet"))
    assert sealed and {r["split"] for r in pq.read_table(sealed[0]).to_pylist()} == {"test"}


def test_a_second_run_computes_nothing(undisturbed: Path) -> None:
    before = table(undisturbed, "phases")
    code, output = finish(start(undisturbed))
    assert code == 0, output
    assert table(undisturbed, "phases").equals(before)
    assert sum(e["event"] == "running" and "trial_id" in e for e in journal(undisturbed)) == 4


def test_a_changed_definition_under_the_same_name_is_refused(undisturbed: Path) -> None:
    code, output = finish(start(undisturbed, "--set", "intermediate.learning_rate=0.5"))
    assert code == 2
    assert "intermediate.learning_rate" in output and len(output.strip().splitlines()) == 1


def test_more_seeds_compute_only_what_is_new(undisturbed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    storage = ("--storage", str(undisturbed / "runs"))
    assert main.main(["plan", str(undisturbed / "small.py"), *storage, "--set", "seeds=[0,1]", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["trials"] == 8
    assert document["phases"]["stored"] > 0 and document["phases"]["new"] > 0
    assert document["remaining_steps"] < document["steps"]
