"""Phases that are interrupted, saved, carried elsewhere and resumed."""

import dataclasses
import itertools
import threading

import pytest
import torch
import trained_world
from trained_world import KilledError, World, interrupt, state_of

from xlray.phases.store import Store
from xlray.storage.storage import Storage, open_storage
from xlray.training import engine, train
from xlray.training import interrupt as interrupt_module
from xlray.training.interrupt import DUE, GO_ON, SAVE, STOP, StopSignal
from xlray.training.train import run_phases

pytestmark = pytest.mark.usefixtures("process_group")
encoder, world = trained_world.encoder, trained_world.world


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
