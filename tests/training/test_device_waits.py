"""What a step on a GPU must not do, seen without one: wait for the device, or depend on how DeepSpeed adds gradients."""

from unittest import mock

import helpers
import numpy as np
import pytest
import torch
from engine_steps import BATCH_SIZE, BF16, CLIP_NORM, LEARNING_RATE, build_model, minus, norm
from torch.utils._python_dispatch import TorchDispatchMode

from xlray.config.execution import Execution
from xlray.training import batches, engine, packing
from xlray.training.model import load_encoder, random_encoder

pytestmark = pytest.mark.usefixtures("process_group")
CPU = torch.device("cpu")


class Seen(TorchDispatchMode):
    """Names of the operations that are run, and the devices of their tensors."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        devices = {x.device.type for x in (*args, result) if isinstance(x, torch.Tensor)}
        self.operations.append((function.overloadpacket._qualified_op_name.removeprefix("aten::"), devices))
        return result


def trained(execution, precision, steps, **bf16):
    """Weights after some steps of several micro-batches.

    Args:
        bf16: settings of DeepSpeed's for bf16 instead of xlray's.
    """
    data, plan, model = build_model()
    optimization = engine.Optimization(0.01, CLIP_NORM, precision)
    config = engine.deepspeed_config(execution, optimization)
    if bf16:
        config["bf16"] |= bf16
    with mock.patch.object(engine, "deepspeed_config", lambda *_: config):
        running = engine.start_engine(model, execution, optimization, CPU)
    running.train()
    random = np.random.default_rng(7)
    for step in range(steps):
        tasks, rows = random.integers(0, len(data), BATCH_SIZE), random.integers(0, 64, BATCH_SIZE)
        chosen = batches.step_rows(data, tasks, rows, step * BATCH_SIZE, 123, plan)
        lengths = np.array([data[row.task].row_tokens[row.row] for row in chosen])
        packs = packing.plan_step(lengths, 1, 200)[0]
        assert len(packs) > 1
        micro_batches = [batches.collate(data, [chosen[i] for i in pack], plan) for pack in packs]
        engine.train_step(running, micro_batches, LEARNING_RATE)
    weights = engine.gather_weights(running)
    engine.stop_engine(running)
    return weights


def test_gradients_in_bf16_count_once_however_they_are_added():
    """Without what DeepSpeed does before each backward pass, the second way would count earlier micro-batches again."""
    at_once, at_the_end = (trained(Execution(), "bf16", 3, immediate_grad_update=flag) for flag in (True, False))
    start = helpers.parameters(build_model()[2])
    assert norm(minus(at_once, at_the_end)) < BF16 * norm(minus(at_once, start))


def test_deepspeed_does_not_wait_for_the_device_to_time_steps():
    from deepspeed.accelerator import get_accelerator

    waits = mock.Mock()
    with mock.patch.object(type(get_accelerator()), "synchronize", waits):
        trained(Execution(zero_stage=0), "fp32", 4)  # its timers leave the first two steps out
    waits.assert_not_called()


class Reads(TorchDispatchMode):
    """How many values of tensors are read, for which a GPU would be waited for."""

    def __init__(self):
        super().__init__()
        self.number = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.overloadpacket._qualified_op_name
        self.number += name in {f"aten::{one}" for one in ("_local_scalar_dense", "nonzero", "equal", "masked_select")}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("stage", "precision", "asked"), [(0, "fp32", 0), (1, "fp32", 3), (1, "bf16", 2), (2, "bf16", 4), (3, "bf16", 1)]
)
def test_a_step_reads_no_value_but_what_deepspeed_asks_for_in_its_update(stage, precision, asked):
    data, plan, model = build_model()
    optimization = engine.Optimization(0.01, CLIP_NORM, precision)
    running = engine.start_engine(model, Execution(zero_stage=stage), optimization, CPU)
    running.train()
    rows = batches.step_rows(data, np.arange(12) % len(data), np.arange(12), 0, 0, plan)
    # ZeRO 3 finds out in the first two passes in which order it needs parameters.
    engine.train_step(running, [batches.collate(data, rows[i::3], plan) for i in range(3)], LEARNING_RATE)
    update, before = running.step, []

    def updated():
        before.append(reads.number)
        update()

    for number in (1, 2, 6):  # micro-batches
        packs = [batches.collate(data, rows[i::number], plan) for i in range(number)]
        with Reads() as reads, mock.patch.object(running, "step", updated):
            loss = engine.train_step(running, packs, LEARNING_RATE)
            norm_of_step = engine.gradient_norm(running)
        assert (before.pop(), reads.number) == (0, asked)
        assert torch.isfinite(loss).all() and torch.isfinite(norm_of_step)
    with Reads() as reads:
        loss.sum().item()
    assert reads.number == 1  # one would be seen
    engine.stop_engine(running)


class Casts(TorchDispatchMode):
    """Elements of each bf16 tensor that is copied as fp32."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if function.overloadpacket is torch.ops.aten._to_copy and args[0].dtype == torch.bfloat16:
            self.sizes += [result.numel()] if result.dtype == torch.float32 else []
        return result


def test_gradients_in_bf16_are_added_to_their_sums_without_a_copy_and_to_the_same_sums():
    with Casts() as ours:
        added = trained(Execution(), "bf16", 2)
    with mock.patch.object(engine, "add_gradients_without_a_copy", lambda _: None), Casts() as theirs:
        copied = trained(Execution(), "bf16", 2)
    assert all(torch.equal(value, copied[name]) for name, value in added.items())
    embedding = helpers.TINY.vocab_size * helpers.TINY.hidden_size
    assert theirs.sizes.count(embedding) >= 4 and ours.sizes.count(embedding) == 0  # two steps of several micro-batches


@pytest.mark.parametrize("stage", [1, 3])
def test_an_optimizer_that_is_kept_on_the_cpu_makes_one_pass_over_its_state(stage):
    with Seen() as seen:
        trained(Execution(zero_stage=stage, offload=True), "fp32", 1)
    names = {name for name, _ in seen.operations}
    assert "_fused_adamw_" in names and not {"lerp_", "addcdiv_", "_foreach_addcdiv_"} & names


def test_a_micro_batch_on_the_device_needs_nothing_from_the_host_and_the_host_nothing_from_it():
    """A tensor without values cannot be read, and a copy would show."""
    data, plan, model = build_model()
    model = model.to("meta").train()
    tasks, rows = np.arange(24) % len(data), np.arange(24)
    batch = batches.collate(data, batches.step_rows(data, tasks, rows, 0, 0, plan), plan).to(torch.device("meta"))
    with Seen() as seen:
        model(batch).losses.sum().backward()
    assert {name for name, _ in seen.operations} >= {"mm", "index_select", "native_layer_norm_backward"}
    assert [(name, devices) for name, devices in seen.operations if devices - {"meta"}] == []


def test_the_mask_of_the_heads_is_brought_to_the_device_once():
    model = build_model()[2]
    (silence,) = model.heads.bias._backward_hooks.values()
    gradient = torch.ones(len(model.heads.bias), device="meta")
    copies = []
    for _ in range(3):
        with Seen() as seen:
            silence(gradient)
        copies.append(sum(devices == {"cpu", "meta"} for _, devices in seen.operations))
    assert copies == [1, 0, 0]


def test_weights_that_are_replaced_are_not_drawn_first(tmp_path):
    folder, _, _ = helpers.encoder_folder(tmp_path / "encoder", ["a"])
    with Seen() as seen:
        encoder, _ = load_encoder(folder)
    assert not {"normal_", "uniform_"} & {name for name, _ in seen.operations}
    expected = random_encoder(helpers.TINY, 0).state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in encoder.state_dict().items())
