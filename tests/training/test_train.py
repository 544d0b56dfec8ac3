import dataclasses
import itertools
import math
import threading

import helpers
import numpy as np
import pytest
import torch
import trained_world
from safetensors.torch import load_file
from trained_world import COLOURS, World, records_of, weights_of

from xlray.config.controls import Control
from xlray.data.controls import control_records
from xlray.phases.spec import EvaluationSpec, Phases, Rung, phase_hash
from xlray.phases.store import Store
from xlray.plan.rung_report import rung_metrics, rung_report
from xlray.storage.storage import Storage, open_storage
from xlray.tasks import Generated, Task
from xlray.training import engine, train
from xlray.training import interrupt as interrupt_module
from xlray.training.interrupt import DUE, GO_ON, SAVE, STOP, StopSignal
from xlray.training.score_files import Outcome, write_outcomes
from xlray.training.train import run_phases

pytestmark = pytest.mark.usefixtures("process_group")
encoder, world = trained_world.encoder, trained_world.world


def state_of(world, spec):
    return load_file(world.store.open(spec, "state/state.safetensors"))


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


# --- interruption --------------------------------------------------------------------------------------------------


class KilledError(Exception):
    pass


def interrupt(monkeypatch, after):
    """The n-th training step from now on raises; steps that only create optimizer state have rate 0 and do not count."""
    counter = itertools.count(1)
    step = engine.train_step

    def interrupted(running, micro_batches, learning_rate):
        if learning_rate > 0 and next(counter) > after:
            raise KilledError
        return step(running, micro_batches, learning_rate)

    monkeypatch.setattr(engine, "train_step", interrupted)


def test_an_interrupted_phase_resumes_from_its_last_state_with_the_same_result(world, tmp_path, encoder, monkeypatch):
    undisturbed = World(Storage(tmp_path / "undisturbed"), encoder)
    spec = undisturbed.trunk()
    assert spec == world.trunk()
    undisturbed.run(spec)
    for after in (6, 5):  # stops in step 6, resumes from 4, stops in step 9, resumes from 8
        with monkeypatch.context() as context, pytest.raises(KilledError):
            interrupt(context, after)
            world.run(spec)
        assert not world.store.has(spec)
    attempt = world.store.folder(spec) / "attempt"
    assert [p.name for p in attempt.glob("state-*")] == ["state-8.safetensors"]
    assert world.run(spec) == [None]
    expected, found = state_of(undisturbed, spec), state_of(world, spec)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-6, atol=1e-7, msg=name)
    record = world.store.done(spec)["record"]
    assert record["num_steps"] == 12
    assert record["padding_ratio"] == 0  # one rank never waits, and nothing is padded
    assert record["num_executed_steps"] == 12 + record["num_repeated_steps"]
    assert record["num_repeated_steps"] == 2 + 1
    assert undisturbed.store.done(spec)["record"]["num_repeated_steps"] == 0
    assert not attempt.exists()


def test_what_is_saved_on_a_notice_is_where_a_killed_phase_resumes_from(world, monkeypatch):
    spec = world.trunk()
    execution = dataclasses.replace(world.job(spec).execution, checkpoint_every_steps=10**9)
    job = dataclasses.replace(world.job(spec), execution=execution)
    noticed = itertools.count(1)
    with monkeypatch.context() as context, pytest.raises(KilledError):
        interrupt(context, 9)
        # Asked twice before the phase and once after each step: here after the sixth.
        run_phases(job, lambda metrics: None, asked_to_save=lambda: next(noticed) == 8)
    attempt = world.store.folder(spec) / "attempt"
    assert [p.name for p in attempt.glob("state-*")] == ["state-6.safetensors"]
    said = []
    run_phases(job, lambda metrics: None, say=said.append)
    record = world.store.done(spec)["record"]
    assert record["num_repeated_steps"] == 3 and record["num_steps"] == 12  # 7 to 9, and not all of them
    assert len(said) == 1 and "phase 1 of 1: trunk" in said[0] and said[0].endswith("12 steps")


def test_states_are_saved_by_the_clock_unless_steps_are_named(world, monkeypatch):
    spec, saved = world.trunk(), []
    clock = itertools.count()  # a second passes from one step to the next
    monkeypatch.setattr(train, "every", lambda seconds: interrupt_module.every(seconds, lambda: float(next(clock))))
    monkeypatch.setattr(train, "_save", lambda writer, path, *_: saved.append(path.name))
    execution = dataclasses.replace(world.job(spec).execution, checkpoint_every_steps=None, checkpoint_every_s=5.0)
    run_phases(dataclasses.replace(world.job(spec), execution=execution), lambda metrics: None)
    assert saved == ["state-5.safetensors", "state-10.safetensors", "state.safetensors"]


def test_what_a_rank_asks_for_by_itself_yields_to_what_it_is_asked_for():
    asked = iter([GO_ON, SAVE, STOP, GO_ON])
    signal = StopSignal(lambda: next(asked))
    assert [signal.agreed(own) for own in (DUE, DUE, GO_ON, GO_ON)] == [DUE, SAVE, STOP, GO_ON]


def test_training_goes_on_while_a_state_is_carried_to_the_object_store(world, monkeypatch):
    begun, stepped, carried = threading.Event(), threading.Event(), []
    step, save = engine.train_step, train._save

    def watched(*arguments):
        loss = step(*arguments)
        if "save" in carried:
            stepped.set()
        return loss

    def carry(store, spec):
        carried.append("save")
        begun.set()
        assert stepped.wait(60), "the steps wait for it"
        carried.append([path.name for path in (store.folder(spec) / "attempt").glob("state-*")])

    def save_and_see_it_begin(writer, path, *rest):
        save(writer, path, *rest)
        if path.name.startswith("state-"):
            assert begun.wait(60)  # or all steps to the next state might be over before
            begun.clear()

    monkeypatch.setattr(train, "_save", save_and_see_it_begin)
    monkeypatch.setattr(engine, "train_step", watched)
    monkeypatch.setattr(Store, "save_attempt", carry)
    world.run(world.trunk())
    assert carried == ["save", ["state-4.safetensors"], "save", ["state-8.safetensors"]]


def test_behind_an_object_store_another_machine_resumes_a_phase_and_builds_on_it(
    world, tmp_path, encoder, monkeypatch, s3_uri
):
    machines = []
    for name in ("one", "two"):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / name))
        machines.append(World(Storage(open_storage(s3_uri)), encoder))
    one, two = machines
    trunk = one.trunk()
    step, calls = engine.train_step, itertools.count()

    def fails_at_the_tenth(*arguments):
        if next(calls) == 9:
            raise RuntimeError("killed")
        return step(*arguments)

    monkeypatch.setattr(engine, "train_step", fails_at_the_tenth)
    with pytest.raises(RuntimeError, match="killed"):
        one.run(trunk)
    monkeypatch.setattr(engine, "train_step", step)
    assert two.run(two.trunk()) == [None]
    record = two.store.done(trunk)["record"]
    # It resumed from the state after step 8 and its ledger; the ninth step was lost with the first machine.
    assert (record["num_executed_steps"], record["num_repeated_steps"]) == (12, 0)
    cooldown = one.trunk("cooldown", trunk, schedule="decay", first_example=192, num_examples=32, continues=True)
    assert one.run(trunk, cooldown) == [None, None]  # it has the other machine's trunk brought
    assert world.run(world.trunk()) == [None]
    expected, found = state_of(world, trunk), state_of(one, trunk)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_a_damaged_state_is_passed_over(world, monkeypatch):
    spec = world.trunk()
    with monkeypatch.context() as context, pytest.raises(KilledError):
        interrupt(context, 6)
        world.run(spec)
    state = world.store.folder(spec) / "attempt" / "state-4.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    assert world.run(spec) == [None]
    assert world.store.done(spec)["record"]["num_repeated_steps"] == 6


def test_a_finished_phase_is_not_run_again(world, monkeypatch):
    spec = world.target("classification", ("accuracy",))
    reasons = world.run(spec)
    before = world.store.done(spec)
    interrupt(monkeypatch, 0)
    assert world.run(spec) == reasons
    assert world.store.done(spec) == before


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
