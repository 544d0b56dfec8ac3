"""What a training phase leaves of its course: read where its loss is read anyway, and continued by a resumed phase."""

import dataclasses
import itertools
import json
import sys

import pyarrow.parquet as pq
import pytest
import torch
import trained_world
from trained_world import World

from xlray.phases.curves import CURVE, STEPS_FILE, read_curve
from xlray.phases.spec import phase_hash
from xlray.storage.storage import Storage
from xlray.training import engine, train

pytestmark = pytest.mark.usefixtures("process_group")
encoder, world = trained_world.encoder, trained_world.world


@pytest.fixture
def course(monkeypatch):
    """Loss and norm of the gradients of every step that is executed, as the engine has them."""
    seen = []
    step = engine.train_step

    def seen_step(running, micro_batches, learning_rate):
        losses = step(running, micro_batches, learning_rate)
        if learning_rate > 0:
            seen.append((float(losses.sum()), float(running.get_global_grad_norm())))
        return losses

    monkeypatch.setattr(engine, "train_step", seen_step)
    return seen


def mean(values):
    return pytest.approx(sum(values) / len(values), rel=1e-5)


def test_a_phase_leaves_its_losses_rates_and_norms(world, course, monkeypatch):
    monkeypatch.setattr(train, "CHECK_EVERY_STEPS", 5)
    trunk = world.trunk()
    cooldown = world.trunk(
        "cooldown", phase_hash(trunk), schedule="decay", first_example=192, num_examples=48, continues=True
    )
    target = world.target("classification", ("accuracy",))
    assert world.run(trunk, cooldown, target)[:2] == [None, None]
    first = 0
    for spec, ends in ((trunk, (5, 10, 12)), (cooldown, (15,)), (target, (4,))):
        table = pq.read_table(world.store.open(spec, STEPS_FILE))
        assert table.schema == CURVE and table.equals(read_curve(world.store, spec))
        rows = table.to_pylist()
        assert [row["step"] for row in rows] == list(ends)
        assert [row["examples"] for row in rows] == [16 * end for end in ends]
        for row, (start, end) in zip(rows, itertools.pairwise((spec.first_step, *ends)), strict=True):
            steps = course[first + start - spec.first_step : first + end - spec.first_step]
            assert len(steps) == end - start
            assert row["loss"] == mean([loss for loss, _ in steps])
            assert row["grad_norm"] == mean([norm for _, norm in steps]) and row["grad_norm"] > 0
            assert row["learning_rate"] == pytest.approx(spec.learning_rate_at(end - 1))
            assert row["tokens_per_second"] > 0 and row["padding_ratio"] == 0  # one rank never waits
        first += spec.num_steps
    assert first == len(course)


@pytest.mark.parametrize("stage", [0, 1])
def test_a_resumed_phase_keeps_the_rows_before_its_state_and_drops_those_after_it(
    world, tmp_path, encoder, course, monkeypatch, stage
):
    monkeypatch.setattr(train, "CHECK_EVERY_STEPS", 3)

    def run(one):
        spec = one.trunk()
        execution = dataclasses.replace(one.job(spec).execution, zero_stage=stage)
        one.run(spec, execution=execution)
        return read_curve(one.store, spec).to_pylist()

    whole = run(World(Storage(tmp_path / "undisturbed"), encoder))
    assert [row["step"] for row in whole] == [3, 6, 9, 12]
    undisturbed = list(course)
    course.clear()
    step = engine.train_step
    with monkeypatch.context() as context:
        context.setattr(engine, "train_step", lambda *a: step(*a) if len(course) < 7 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(world)  # seen after 3 and 6 steps, saved after 4
    rows = run(world)
    assert [row["step"] for row in rows] == [3, 7, 10, 12]
    for row, (start, end) in zip(rows, [(0, 3), (4, 7), (7, 10), (10, 12)], strict=True):
        assert row["loss"] == mean([loss for loss, _ in undisturbed[start:end]])
        assert row["grad_norm"] == mean([norm for _, norm in undisturbed[start:end]])


def test_a_phase_that_diverges_leaves_its_course_up_to_there(world):
    spec = world.target("classification", ("accuracy",), learning_rate=1e30, num_examples=640)
    (reason,) = world.run(spec)
    last = read_curve(world.store, spec).to_pylist()[-1]
    assert reason.endswith(f"at step {last['step']}") and not last["loss"] < float("inf")


READS = ("item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__")  # wait for a device


def waits_of(monkeypatch, run):
    """How often a run's training loop reads from the device, and how often it reduces over ranks."""
    found = {"read": 0, "reduced": 0}

    def counted(kind, function):
        def call(*arguments, **named):
            caller = sys._getframe(1).f_globals["__name__"]
            found[kind] += caller in (
                "xlray.training.train",
                "xlray.training.engine",
                "xlray.training.weights",
                __name__,
            )
            return function(*arguments, **named)

        return call

    loop = train._train

    def watched(*arguments):
        with monkeypatch.context() as context:
            for name in READS:
                context.setattr(torch.Tensor, name, counted("read", getattr(torch.Tensor, name)))
            context.setattr(torch.distributed, "all_reduce", counted("reduced", torch.distributed.all_reduce))
            return loop(*arguments)

    with monkeypatch.context() as context:
        context.setattr(train, "_train", watched)
        run()
    return found


@pytest.mark.parametrize("stage", [0, 1, 3])
def test_nothing_is_waited_for_between_two_readings_of_the_loss(world, monkeypatch, stage):
    monkeypatch.setattr(train, "CHECK_EVERY_STEPS", 5)
    spec = world.trunk()
    execution = dataclasses.replace(world.job(spec).execution, zero_stage=stage, checkpoint_every_steps=10**9)
    found = waits_of(monkeypatch, lambda: world.run(spec, execution=execution))
    assert found == {"read": 3, "reduced": 3}  # after 5, 10 and 12 steps


def test_a_planted_wait_in_every_step_is_found(world, monkeypatch):
    monkeypatch.setattr(train, "CHECK_EVERY_STEPS", 5)
    monkeypatch.setattr(engine, "gradient_norm", lambda running: torch.tensor(float(running.get_global_grad_norm())))
    spec = world.trunk()
    execution = dataclasses.replace(world.job(spec).execution, checkpoint_every_steps=10**9)
    assert waits_of(monkeypatch, lambda: world.run(spec, execution=execution)) == {"read": 3 + 12, "reduced": 3}


def test_the_live_view_is_told_of_steps_before_the_loss_is_read(world):
    target = world.target("classification", ("accuracy",))
    job = world.job(target)
    job.progress.parent.mkdir(parents=True, exist_ok=True)
    train.run_phase(target, job)
    told = json.loads(job.progress.read_text())  # of the first step; the next is due after half a second
    assert 1 <= told["done"] <= told["steps"] == target.num_steps < train.CHECK_EVERY_STEPS
    assert told["tokens_per_second"] > 0
