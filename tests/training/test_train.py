import dataclasses
import math

import helpers
import numpy as np
import pytest
import torch
import trained_world
from trained_world import COLOURS, World, interrupt, records_of, state_of, weights_of

from xlray.config.controls import Control
from xlray.data.controls import control_records
from xlray.phases.spec import EvaluationSpec, Phases, Rung, phase_hash
from xlray.plan.rung_report import rung_metrics, rung_report
from xlray.storage.storage import Storage
from xlray.tasks import Generated, Task
from xlray.training import engine
from xlray.training.score_files import Outcome, write_outcomes
from xlray.training.train import run_phases

pytestmark = pytest.mark.usefixtures("process_group")
encoder, world = trained_world.encoder, trained_world.world


# --- every head learns ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "metric", "examples", "least"),
    [
        ("classification", ("accuracy",), 1024, 95),
        ("multiple_choice", ("accuracy",), 2048, 95),
        ("tagging", ("accuracy",), 1024, 95),
        ("span_qa", ("f1", "exact_match"), 3072, 95),
        ("regression", ("pearson",), 2048, 95),
    ],
)
def test_every_kind_of_head_learns_a_separable_task(world, kind, metric, examples, least):
    spec = world.target(kind, metric, num_examples=examples, learning_rate=3e-3, warmup_examples=256, dropout=0.0)
    assert world.run(spec) == [None]
    scores = world.scores(spec)
    assert scores["headline"] > least
    assert scores["headline"] == pytest.approx(np.mean([scores[m] for m in metric]))
    assert scores["majority"] < 70


@pytest.fixture
def losses(monkeypatch):
    """Those of the steps that the test trains."""
    found = []
    step = engine.train_step

    def kept(*given):
        found.append(step(*given))
        return found[-1]

    monkeypatch.setattr(engine, "train_step", kept)
    return found


def test_masked_language_modelling_learns_to_copy(world, losses):
    spec = helpers.train_spec(
        "trunk",
        world.root,
        [world.data("mlm")],
        num_examples=2048,
        learning_rate=3e-3,
        warmup_examples=256,
        schedule="warmup_linear",
        dropout=0.0,
        scaled_losses=False,
    )
    assert world.run(spec) == [None]
    values = torch.stack(losses).sum(1)
    assert values[:5].mean() == pytest.approx(math.log(200), rel=0.1)
    assert values[-20:].mean() < 1.0
    assert "lm_head.dense.weight" in weights_of(world, spec)


@pytest.mark.parametrize(
    ("control", "kind", "first", "least", "most"),
    [
        (None, "classification", math.log(3), 0.0, 0.2),
        (Control("toy", 0), "classification", math.log(3), 0.95, 1.2),  # three colours by chance: 1.1
        (Control("toy", None), "mlm", math.log(200), 1.5, 4.0),  # a word of twenty: 3.0
    ],
    ids=["labels", "shuffled", "masked"],
)
def test_a_control_trains_as_a_trunk_does_and_learns_what_it_may(world, losses, control, kind, first, least, most):
    task = Task("toy", "classification", ("en",), Generated(("train/en",), lambda _: ()), labels=tuple(COLOURS))
    records = records_of("classification", 8, 400)
    data = world.data(kind, records=records if control is None else control_records(control, task, records))
    changes = {"num_examples": 1024, "learning_rate": 3e-3, "warmup_examples": 256, "dropout": 0.0}
    spec = helpers.train_spec("trunk", world.root, [data], schedule="warmup_linear", scaled_losses=False, **changes)
    assert world.run(spec) == [None]
    values = torch.stack(losses).sum(1)
    assert values[0] == pytest.approx(first, rel=0.1)
    assert least < values[-20:].mean() < most
    assert ("lm_head.dense.weight" in weights_of(world, spec)) == (kind == "mlm")


# --- segments ------------------------------------------------------------------------------------------------------


def test_a_trunk_of_two_segments_is_the_trunk_of_one(world):
    whole = world.trunk()
    first = world.trunk(num_examples=80)
    second = world.trunk(parent=phase_hash(first), num_examples=112, first_example=80, continues=True)
    world.run(whole, first, second)
    expected, found = state_of(world, whole), state_of(world, second)
    assert expected.keys() == found.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7, msg=name)
    assert int(found["next_step"]) == int(found["step"]) == 12


def test_a_cooldown_leaves_the_trunk_alone_and_yields_an_encoder_folder(world):
    trunk = world.trunk(num_examples=96)
    cooldown = world.trunk(
        kind="cooldown", parent=phase_hash(trunk), first_example=96, num_examples=32, continues=True, schedule="decay"
    )
    longer = world.trunk(parent=phase_hash(trunk), first_example=96, num_examples=96, continues=True)
    whole = world.trunk()
    target = world.target("classification", ("accuracy",), parent=phase_hash(cooldown))
    assert world.run(trunk, cooldown, longer, whole, target)[:4] == [None] * 4
    assert world.store.has(target)
    folder = world.store.folder(cooldown) / "weights"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "tokenizer.json").read_bytes() == (world.folder / "tokenizer.json").read_bytes()
    assert not any("heads" in name for name in weights_of(world, cooldown))
    expected, found = state_of(world, whole), state_of(world, longer)
    torch.testing.assert_close(found["model/heads.weight"], expected["model/heads.weight"], rtol=1e-6, atol=1e-7)


def test_a_phase_gives_the_same_bits_twice(world, tmp_path, encoder):
    other = World(Storage(tmp_path / "other"), encoder)
    states = []
    for one in (world, other):
        one.run(one.trunk())
        states.append(state_of(one, one.trunk()))
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


# --- degenerate runs -----------------------------------------------------------------------------------------------


def test_a_diverging_target_is_stored_as_degenerate_without_a_number(world, monkeypatch):
    spec = world.target("classification", ("accuracy",), learning_rate=1e30, num_examples=640)
    (reason,) = world.run(spec)
    assert "not finite" in reason
    assert world.store.done(spec)["record"]["degenerate"] == reason
    assert math.isnan(world.scores(spec)["headline"])
    interrupt(monkeypatch, 0)
    assert world.run(spec) == [reason]  # as stored, without a step


def test_a_diverging_trunk_ends_the_trial_after_its_rung_was_reported(world):
    trunk = world.trunk(learning_rate=1e30, num_examples=640)
    longer = world.trunk(parent=phase_hash(trunk), first_example=640, num_examples=640, continues=True)
    cooldown = world.trunk(
        kind="cooldown", parent=phase_hash(trunk), first_example=640, num_examples=32, continues=True, schedule="decay"
    )
    target = world.target("classification", ("accuracy",), parent=phase_hash(cooldown))
    phases = Phases((Rung(64, (trunk, cooldown), (target,)), Rung(128, (longer,))))
    job = dataclasses.replace(world.job(trunk, cooldown, target, longer), phases=phases)
    reports = []
    run_phases(job, reports.append)
    assert len(reports) == 1
    assert reports[0]["diverged"]
    assert reports[0]["degenerate"].startswith("trunk: the loss is not finite")
    assert math.isnan(reports[0]["score"])
    assert not world.store.has(longer)


def test_a_collapsed_target_keeps_its_number_and_is_noted(world):
    constant = [{**record, "label": "red"} for record in records_of("classification", 8, 100)]
    data = world.data("classification", records=constant)
    dev = EvaluationSpec(world.data("classification", "dev/fi", 60), "fi", "dev", False, True)
    spec = helpers.train_spec(
        "target", world.root, [data], evaluations=(dev,), headline=("accuracy",), learning_rate=1e-2, num_examples=320
    )
    (reason,) = world.run(spec)
    assert reason == "one prediction for all of toy_classification dev fi"
    assert 10 < world.scores(spec)["headline"] < 60


# --- reports -------------------------------------------------------------------------------------------------------


def test_a_trial_reports_each_rung_once_with_its_own_targets(world):
    trunk = world.trunk(num_examples=96)
    specs = [trunk]
    for dropout in (0.0, 0.1):  # stand for two rungs
        specs += [
            world.target(kind, ("accuracy",), dropout=dropout, num_examples=64)
            for kind in ("classification", "tagging")
        ]
    phases = Phases((Rung(64, (trunk,), tuple(specs[1:3])), Rung(128, targets=tuple(specs[3:]))))
    job = world.job(*specs, phases=phases)
    reports = []
    run_phases(job, reports.append)
    assert [(r["rung_index"], r["rung"]) for r in reports] == [(0, 64), (1, 128)]
    for i, report in enumerate(reports):
        scores = [world.scores(spec)["headline"] for spec in specs[1 + 2 * i : 3 + 2 * i]]
        assert report["fi_accuracy"] == pytest.approx(np.mean(scores))
        assert (report["fi/toy_classification"], report["fi/toy_tagging"]) == tuple(scores)


def test_retrieval_counts_in_fi_accuracy_but_ranks_no_trial():
    headlines = {"tag": 60.0, "find": 20.0}
    metrics = rung_metrics({"fi": headlines}, headlines, ("find",))
    assert (metrics["fi_accuracy"], metrics["score"]) == (40.0, 60.0)
    degenerate = {"tag": math.nan, "find": 20.0}
    assert math.isnan(rung_metrics({"fi": degenerate}, degenerate, ("find",))["score"])


def test_the_signal_ranks_and_finnish_stays_the_accuracy(world):
    """One phase, evaluated in four languages: each signal reads its own rows."""
    spec = world.target("classification", ("accuracy",))
    data = spec.evaluations[0].data
    evaluations = [EvaluationSpec(data, language, "dev", False) for language in ("en", "et", "hu")]
    spec = dataclasses.replace(spec, evaluations=(*spec.evaluations, *evaluations))
    rows = {"fi": 10.0, "en": 50.0, "et": 20.0, "hu": 40.0}
    outcomes = [Outcome(e, {"headline": rows[e.language], "accuracy": 0.0}, {}, 1, None) for e in spec.evaluations]
    with world.store.staging(spec) as staged:
        write_outcomes(staged, outcomes)
        world.store.commit(spec, staged, {"degenerate": None})
    for select_by, score in (("target-dev", 10.0), ("english-dev", 50.0), ("pivot-dev", 30.0)):
        reports = []
        job = world.job(spec, select_by=select_by)
        run_phases(dataclasses.replace(job, phases=Phases((Rung(64, targets=(spec,)),))), reports.append)
        assert (reports[0]["fi_accuracy"], reports[0]["score"]) == (10.0, score), select_by
        assert reports[0]["fi/toy_classification"] == 10.0
    reports = []
    job = world.job(spec, select_by="pivot-dev", languages=("fi", "et"))
    run_phases(dataclasses.replace(job, phases=Phases((Rung(64, targets=(spec,)),))), reports.append)
    found = {name: value for name, value in reports[0].items() if name.startswith(("fi", "et", "hu", "score"))}
    assert found == {
        "score": 40.0,  # a further language of the sweep is no pivot
        **{"fi_accuracy": 10.0, "fi/toy_classification": 10.0},
        **{"et_accuracy": 20.0, "et/toy_classification": 20.0},
    }


@pytest.mark.parametrize(("select_by", "lacking"), [("target-dev", "fi"), ("pivot-dev", "hu")])
def test_a_mean_that_lacks_a_score_is_no_number_and_says_so(world, select_by, lacking):
    specs = [world.target(kind, ("accuracy",)) for kind in ("classification", "tagging")]
    data = specs[0].evaluations[0].data
    more = [EvaluationSpec(data, language, "dev", False) for language in ("et", "hu")]
    specs[0] = dataclasses.replace(specs[0], evaluations=(*specs[0].evaluations, *more))
    for spec in specs:
        known = [e for e in spec.evaluations if spec is specs[1] or e.language != lacking]
        outcomes = [Outcome(e, {"headline": 40.0}, {}, 1, None) for e in known]
        with world.store.staging(spec) as staged:
            write_outcomes(staged, outcomes)
            world.store.commit(spec, staged, {"degenerate": None})
    report = rung_report(world.store, Phases((Rung(64, targets=tuple(specs)),)), 0, select_by, ("fi",))
    assert report["fi/toy_tagging"] == 40.0 and math.isnan(report["score"])
    without_finnish = lacking == "fi"
    assert math.isnan(report["fi_accuracy"]) is without_finnish
    assert ("toy_classification: no score on Finnish dev" in report["degenerate"]) is without_finnish
