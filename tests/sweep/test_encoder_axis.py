"""A sweep over encoders, prepared and played to its end: data, journal, tables, trackers, report and cards."""

import dataclasses
import json
import shutil
from typing import Any

import played
import pytest

from xlray import mini
from xlray.analysis.results import load_results
from xlray.cli.chosen_trials import chosen
from xlray.config.recipes import Architecture, Encoder, Pretraining, Subset, Target
from xlray.config.sweep import Sweep
from xlray.data.encoders import EMBEDDED
from xlray.errors import InputError
from xlray.monitor.reader import Reader
from xlray.phases.store import Store
from xlray.plan.definition import check_definition
from xlray.plan.jobs import Prepared, encoder_of, read_job, trial_title
from xlray.plan.trials import plan_sweep
from xlray.report.answer import write_answer
from xlray.report.axis_tables import values
from xlray.report.evidence import collect_evidence, num_planned
from xlray.report.explore import explore_data
from xlray.report.published import anchors, encoder_name
from xlray.storage.leases import Leases
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import find_trial, open_sweep
from xlray.sweep.reported_jobs import write_jobs
from xlray.sweep.run import make_vocabularies, prepare, prepare_data, with_encoders
from xlray.sweep.tracking import parameters
from xlray.training.model_card import _with_own_encoder

ONE, TWO = Encoder("an-encoder", "0"), Encoder("some/other", "1")
RATE = "intermediate.learning_rate"


def planned(vary, **changed):
    return played.plan_of(dataclasses.replace(played.SWEEP, vary=vary, **changed), played.World())


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def copied(folder):
    """The embedded encoder with other weights and the same tokenizer."""
    shutil.copytree(EMBEDDED[mini.PRETRAINED.path], folder)
    weights = bytearray((folder / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "model.safetensors").write_bytes(weights)
    return Encoder(str(folder))


def test_encoders_with_one_tokenizer_read_the_same_data_and_others_their_own(tmp_path):
    own = Pretraining(
        ("mini_text",), Architecture(32, 1, 2, 64, 400, 66), num_examples=64, batch_size=32, max_length=64, name="own"
    )
    encoders = (mini.PRETRAINED, copied(tmp_path / "copied"), own)
    targets = (Target("mini_udpos", 128, max_length=64, stride=32), Target("mini_tatoeba", max_length=64, stride=32))
    recipe = dataclasses.replace(mini.INTERMEDIATE, max_length=64, stride=32)
    vary = {"encoder": encoders}
    sweep = Sweep("s", own, measure=(Subset(()),), intermediate=recipe, targets=targets, vary=vary)
    storage, events = Storage(tmp_path / "runs"), []
    store, plan = Store(storage), with_encoders(plan_sweep(sweep, None, storage), storage)
    vocabularies = make_vocabularies(plan, store, events.append, Leases(storage, "test", 60.0))
    specs = {encoder: inside.values() for encoder, inside in plan.specs_by_encoder().items()}
    prepared = prepare_data(plan, store, specs, vocabularies, events.append)
    first, second, third = (prepared[encoder] for encoder in encoders)
    assert first.folders == second.folders and first.folders.keys() < third.folders.keys()
    assert not set(first.folders.values()) & set(third.folders.values())
    assert (first.vocab_size, third.vocab_size) == (mini.ENCODER.architecture.vocab_size, 400)
    assert first.encoder != second.encoder and third.encoder is None
    assert {folder.parent for folder in (first.encoder, second.encoder)} == {storage / "encoders"}
    told = [event for event in events if event["stage"] == "tokenise"]
    total = len({*first.folders.values(), *third.folders.values()})
    assert [event["number"] for event in told] == list(range(1, total + 1)) and {e["splits"] for e in told} == {total}
    rows = prepare(plan, storage)
    assert len(rows) == total and {row["encoder"] for row in rows} == {"copied", "own"}
    alone = plan_sweep(dataclasses.replace(sweep, vary={"encoder": encoders[:2]}), None, storage)
    assert len(rows := prepare(alone, storage)) == len(first.folders) and not any("encoder" in row for row in rows)


def test_journal_tables_names_trackers_and_filters_know_the_encoder(tmp_path):
    directory, driver = played.play(tmp_path, planned({"encoder": (ONE, TWO), RATE: (1e-5, 2e-5)}))
    trials = load_results(directory).trials.to_pylist()
    assert {(t["num_tasks"] > 0, t["encoder"], t[RATE]) for t in trials} == {
        *((False, name, None) for name in ("an-encoder", "other")),
        *((True, name, rate) for name in ("an-encoder", "other") for rate in (1e-5, 2e-5)),
    }
    assert {t["setting"] for t in trials if not t["num_tasks"]} == {"encoder=an-encoder", "encoder=other"}
    created = {e["trial_id"]: e for e in open_sweep(directory).journal.read() if e["event"] == "created"}
    for trial in driver.plan.trials:
        name = dict(trial.values)["encoder"]
        assert created[trial.trial_id]["values"]["encoder"] == name
        assert (
            {"an-encoder": ONE, "other": TWO}[name]
            == trial.config.encoder
            == encoder_of(trial.trial_id, driver.plan, driver.trials)
        )
        assert parameters(trial, ())["encoder"] == name and f"encoder={name}" in trial_title(trial)
        assert find_trial(open_sweep(directory), trial_title(trial)) == trial.trial_id
    reader = Reader(open_sweep(directory))
    reader.refresh()
    view = reader.view(lambda following: following.places)
    found = {row.trial_id for row in chosen(view, ["encoder=other"], "encoder")}
    assert found == {t.trial_id for t in driver.plan.trials if t.config.encoder == TWO} and found
    with pytest.raises(InputError, match=r"--where encode: must be one of .*encoder"):
        chosen(view, ["encode=other"], None)


def test_a_further_encoder_is_more_trials_and_what_is_finished_stays(tmp_path):
    few, more = (planned({"encoder": (ONE, *others)}) for others in ((TWO,), (TWO, Encoder("third", "0"))))
    played.play(tmp_path, few)
    check_definition(more.sweep, Storage(tmp_path))
    directory, driver = played.play(tmp_path, more)
    journal = open_sweep(directory).journal.read()
    again = [e for e in journal[[e["event"] for e in journal].index("closed") :] if e["event"] == "running"]
    assert {encoder_of(e["trial_id"], driver.plan, driver.trials).path for e in again} == {"third"}
    assert {t.trial_id for t in few.trials} < {t.trial_id for t in more.trials}


def test_the_report_takes_encoders_as_any_axis_and_names_them(tmp_path):
    targets = (Target("mini_udpos", num_examples=64), Target("mini_panx", num_examples=64))
    directory, _ = played.play(tmp_path, planned({"encoder": (ONE, TWO)}, explore=(), targets=targets))
    evidence = collect_evidence(directory)
    cells = {f"{cell} encoder={name}" for cell in ("0", "2-all") for name in ("an-encoder", "other")}
    assert {p.cell for p in evidence.here} == cells
    names = {e.name.rpartition("/")[2] for e in evidence.estimates}
    assert {f"2-all encoder={name} - 0 encoder={name}" for name in ("an-encoder", "other")} <= names
    rows = values(evidence.choices, evidence.headline).rows
    assert {row[2] for row in rows} == {"encoder=an-encoder", "encoder=other"}
    assert num_planned(evidence.definition) == len(evidence.statuses) == 8
    assert write_answer(evidence) and "encoder" in explore_data(evidence)["axes"]
    assert encoder_name(evidence.definition) == "an-encoder at 0; some/other at 1"
    assert "the mean over several encoders (an-encoder at 0; some/other at 1)" in anchors(evidence).note


def test_the_card_of_a_model_names_the_encoder_of_its_trial(tmp_path):
    directory, driver = played.play(tmp_path, planned({"encoder": (ONE, TWO)}))
    definition = json.loads((directory / "sweep.json").read_text())
    for trial in driver.plan.trials:
        found = _with_own_encoder(definition, open_sweep(directory), trial.trial_id)
        assert (found["encoder"]["path"], found["encoder"]["revision"]) == (
            trial.config.encoder.path,
            trial.config.encoder.revision,
        )
    alone, driver = played.play(tmp_path / "alone", planned({}))
    definition = json.loads((alone / "sweep.json").read_text())
    assert _with_own_encoder(definition, open_sweep(alone), driver.plan.trials[0].trial_id) == definition


def test_trials_that_report_from_the_storage_have_jobs_of_their_encoder(tmp_path):
    vary = {"encoder": (ONE, TWO)}
    played.play(tmp_path, planned(vary))
    folder, driver = played.play(tmp_path, planned(vary, name="again"))
    prepared: dict[Any, Prepared] = {
        encoder: Prepared(10 + n, n, {}, tmp_path / f"encoders/{n}") for n, encoder in enumerate((ONE, TWO))
    }
    write_jobs(driver, lambda: prepared)
    for trial in driver.plan.trials:
        path = folder / "jobs" / f"{trial.trial_id}.json"
        if path.exists():
            job, of_encoder = read_job(path), prepared[trial.config.encoder]
            assert job.vocab_size == of_encoder.vocab_size
            assert job.parents[driver.plan.starts[trial.config.encoder].parent] == str(of_encoder.encoder)
    assert len(list((folder / "jobs").iterdir())) > 4
