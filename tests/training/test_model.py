import dataclasses
import itertools
import math

import helpers
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_models import RELATIVE, build, padded, relative, rows_task, unpack
from transformers import XLMRobertaForMaskedLM, XLMRobertaModel

from xlray.training.batches import Row, collate, layout, step_rows
from xlray.training.dropout import CounterDropout
from xlray.training.model import _mean_pool


@pytest.fixture
def data():
    return helpers.all_kinds()


def transformers_encoder(model, attention):
    """transformers' own encoder with its own attention and the same weights."""
    config = type(model.encoder.config).from_dict(model.encoder.config.to_dict())
    config._attn_implementation = attention
    plain = XLMRobertaModel(config, add_pooling_layer=False).eval()
    plain.load_state_dict(model.encoder.state_dict())
    assert plain.config._attn_implementation == attention
    return plain


def some_rows(data, seed=0, per_kind=4) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    tasks = np.repeat(np.arange(len(data)), per_kind)
    random.shuffle(tasks)
    return tasks, random.integers(0, 64, len(tasks))


# --- packed against padded -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("seed", [0, 1])
def test_packed_hidden_states_equal_transformers_padded_forward(data, attention, seed):
    model, plan = build(data, seed=seed)
    model.eval()
    batch = collate(data, step_rows(data, *some_rows(data, seed), 0, seed, plan), plan)
    sequences = unpack(batch)
    assert len({len(s) for s in sequences}) > 5
    with torch.no_grad():
        packed = model.encoder(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            sequences=batch.sequences,
            output_hidden_states=True,
        ).hidden_states
        plain = transformers_encoder(model, attention)(**padded(sequences), output_hidden_states=True).hidden_states
    assert len(packed) == len(plain) == helpers.TINY.num_layers + 1
    for own, other in zip(packed, plain, strict=True):
        valid = torch.cat([other[i, : len(s)] for i, s in enumerate(sequences)])
        assert relative(own[0], valid) < RELATIVE


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_packed_hidden_states_in_bf16_stay_near_those_of_fp32(data, device):
    """Each layer by itself, since rounding adds up; on a GPU this is the flash kernel for variable lengths."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model, plan = build(data)
    model = model.eval().to(device)
    batch = collate(data, step_rows(data, *some_rows(data), 0, 0, plan), plan).to(torch.device(device))
    states = torch.randn(1, batch.input_ids.shape[1], helpers.TINY.hidden_size, device=device).bfloat16()
    with torch.no_grad():
        for layer in model.encoder.encoder.layer:
            plain = layer.float()(states.float(), sequences=batch.sequences)
            rounded = layer.bfloat16()(states, sequences=batch.sequences)
            assert rounded.dtype == torch.bfloat16 and 0 < relative(rounded.float(), plain) < 1e-2


def test_packed_gradients_equal_transformers_padded_gradients(data):
    model, plan = build(data)
    batch = collate(data, step_rows(data, *some_rows(data), 0, 0, plan), plan)
    sequences = unpack(batch)
    direction = torch.randn(batch.input_ids.shape[1], helpers.TINY.hidden_size)
    plain = transformers_encoder(model, "sdpa")
    states = model.encoder(
        input_ids=batch.input_ids, position_ids=batch.position_ids, sequences=batch.sequences
    ).last_hidden_state[0]
    (states * direction).sum().backward()
    other = plain(**padded(sequences)).last_hidden_state
    (torch.cat([other[i, : len(s)] for i, s in enumerate(sequences)]) * direction).sum().backward()
    wanted = {name: p.grad for name, p in plain.named_parameters()}
    largest = max(float(g.norm()) for g in wanted.values())
    for name, parameter in model.encoder.named_parameters():
        if name.endswith("self.key.bias"):  # zero but for rounding, and set to zero
            assert torch.equal(parameter.grad, torch.zeros_like(parameter))
            assert wanted[name].norm() < RELATIVE * largest
        else:
            assert relative(parameter.grad, wanted[name]) < 1e-4, name


def test_a_change_in_one_sequence_leaves_the_others_of_the_pack_alone(data):
    model, plan = build(data)
    model.eval()
    batch = collate(data, step_rows(data, *some_rows(data), 0, 0, plan), plan)
    ids = batch.input_ids.clone()
    end = int(batch.sequences.offsets[1])
    ids[0, :end] = 7
    with torch.no_grad():
        before, after = (
            model.encoder(input_ids=i, position_ids=batch.position_ids, sequences=batch.sequences).last_hidden_state[0]
            for i in (batch.input_ids, ids)
        )
    assert torch.equal(before[end:], after[end:])
    assert not torch.allclose(before[:end], after[:end])


def test_pooled_states_are_the_mean_of_the_tokens_of_each_sequence_at_the_layer(data):
    model, plan = build(data)
    model.eval()
    batch = collate(data, [Row(0, row, 0, 0.0) for row in range(9)], plan)
    with torch.no_grad():
        pooled = model(batch, layer=1).pooled
        plain = transformers_encoder(model, "sdpa")
        for i, ids in enumerate(unpack(batch)):
            states = plain(input_ids=ids[None], output_hidden_states=True).hidden_states[1][0]
            assert relative(pooled[i], states.mean(0)) < RELATIVE
    assert sorted(batch.sequence_rows[:, 0].tolist()) == list(range(9))


# --- dropout -------------------------------------------------------------------------------------------------------


def test_every_dropout_of_the_encoder_but_attentions_is_replaced_and_has_its_own_site(data):
    model, _ = build(data, dropout=0.1)
    found = [m for m in model.modules() if isinstance(m, CounterDropout)]
    assert len(found) == 1 + 2 * helpers.TINY.num_layers + 1  # embeddings, two per layer, head
    assert len({m.site for m in found}) == len(found)
    others = {n: m.p for n, m in model.named_modules() if isinstance(m, torch.nn.Dropout)}
    assert all(name.endswith("attention.self.dropout") and p == 0 for name, p in others.items())


def test_with_dropout_logits_of_a_row_do_not_depend_on_its_pack(data):
    model, plan = build(data, dropout=0.3)
    model.train()
    rows = step_rows(data, *some_rows(data), 0, 0, plan)
    with torch.no_grad():
        wanted = collect(model, data, rows, plan)
        for parts in ([rows[::-1]], [rows[:5], rows[5:]], [[row] for row in rows]):
            found = {}
            for part in parts:
                found |= collect(model, data, part, plan)
            assert found.keys() == wanted.keys()
            for key, value in wanted.items():
                torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-5)
        model.eval()
        plain = collect(model, data, rows, plan)
    assert all(not torch.allclose(plain[key], wanted[key], atol=1e-3) for key in wanted)


def collect(model, data, rows, plan):
    """Finite logits by (task, row)."""
    batch = collate(data, rows, plan)
    found = {}
    for group, logits in zip(batch.groups, model(batch).logits, strict=True):
        task = int(group.task)
        if not len(group.rows):  # the dummy
            continue
        if group.segments is not None:
            parts = [values[torch.isfinite(values)] for values in logits]
        else:
            parts = logits.split([data[task].num_reads(row) for row in group.rows])
        found |= {(task, int(row)): part for row, part in zip(group.rows, parts, strict=True)}
    return found


def test_leaving_out_tokens_that_no_head_reads_changes_no_loss_and_no_gradient(data):
    """Behind the last attention only read tokens are computed; the plain way computes all and reads afterwards."""
    rows = step_rows(data, *some_rows(data, seed=3), 0, 3, build(data)[1])
    found = {}
    for way in ("reads", "all"):
        model, plan = build(data, dropout=0.3)
        model.train()
        batch = collate(data, rows, plan)
        if way == "all":
            compute_all_tokens(model, batch)
        losses = model(batch).losses
        losses.sum().backward()
        found[way] = losses.detach(), {n: p.grad for n, p in model.named_parameters()}
    torch.testing.assert_close(found["reads"][0], found["all"][0], rtol=RELATIVE, atol=0)
    largest = max(float(g.norm()) for g in found["all"][1].values())
    for name, gradient in found["all"][1].items():
        assert float((found["reads"][1][name] - gradient).norm()) < RELATIVE * max(largest, float(gradient.norm())), (
            name
        )


def compute_all_tokens(model, batch):
    """Undo the shortcut in `model`: every token goes through the whole last layer, and is read from there."""
    last = model.encoder.encoder.layer[-1]
    last.attention.output._forward_pre_hooks.clear()

    def full_keys(module, arguments):
        for dropout in model.dropouts[-2:]:
            dropout.keys = batch.keys

    last.register_forward_pre_hook(full_keys)
    last.register_forward_hook(lambda module, arguments, states: states[:, model.reads])


# --- losses --------------------------------------------------------------------------------------------------------


def example_losses(model, data, row, states):
    """Loss of each label unit of one row by plain torch. `states`: of the row's tokens, sequences in order."""
    task = data[row.task]
    first = sum(e.num_outputs for e in data[: row.task])
    head = slice(first, first + task.num_outputs)
    scores = F.linear(states, model.heads.weight[head], model.heads.bias[head])[task.reads_of(row.row)]
    labels = torch.tensor(task.labels_of(row.row))
    if task.kind == "regression":
        return [(scores[0, 0] - labels[0]) ** 2], 1.0
    if task.kind == "classification":
        return [-torch.log_softmax(scores[0], 0)[labels[0]]], math.log(3)
    if task.kind == "tagging":
        return [-torch.log_softmax(s, 0)[y] for s, y in zip(scores, labels, strict=True)], math.log(5)
    if task.kind == "multiple_choice":
        return [-torch.log_softmax(scores[:, 0], 0)[labels[0]]], math.log(len(scores))
    ends = [-torch.log_softmax(scores[:, j], 0)[labels[j]] for j in range(2)]
    return [(ends[0] + ends[1]) / 2], math.log(max(2, len(scores)))


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("kind", ["classification", "tagging", "multiple_choice", "span_qa", "regression"])
def test_the_loss_of_a_head_equals_plain_torch(data, kind, scaled):
    model, plan = build(data, scaled=scaled)
    model.eval()
    plain = transformers_encoder(model, "sdpa")
    tasks, chosen = some_rows(data)
    rows = step_rows(data, tasks, chosen, 0, 0, plan)
    with torch.no_grad():
        losses = model(collate(data, rows, plan)).losses
        units, divided = [], []
        for row in (r for r in rows if data[r.task].kind == kind):
            task = data[row.task]
            parts = torch.tensor(task.tokens_of(row.row)).long().split(task.sequence_lengths(row.row))
            states = torch.cat([plain(input_ids=ids[None]).last_hidden_state[0] for ids in parts])
            values, divisor = example_losses(model, data, row, states)
            units += values
            divided += [v / divisor if scaled else v for v in values]
    wanted = torch.stack(divided).mean() * (tasks == rows_task(data, kind)).mean()
    assert relative(losses[rows_task(data, kind)], wanted) < RELATIVE
    if kind == "multiple_choice":
        assert {data[r.task].num_reads(r.row) for r in rows if data[r.task].kind == kind} == {2, 3}


def test_the_masked_lm_loss_equals_transformers(data):
    model, plan = build(data, scaled=False)
    model.eval()
    task = rows_task(data, "mlm")
    rows = step_rows(data, np.full(8, task), np.arange(8), 0, 0, plan)
    batch = collate(data, rows, plan)
    labels = torch.full_like(batch.input_ids[0], -100)
    counted = batch.masked.weights > 0
    labels[batch.masked.reads[counted]] = batch.masked.labels[counted]
    offsets = batch.sequences.offsets.tolist()
    by_sequence = [labels[a:b] for a, b in itertools.pairwise(offsets)]
    table = torch.nn.utils.rnn.pad_sequence(by_sequence, batch_first=True, padding_value=-100)
    with torch.no_grad():
        wanted = masked_lm(model)(**padded(unpack(batch)), labels=table).loss
        assert relative(model(batch).losses[task], wanted) < RELATIVE


def masked_lm(model):
    config = type(model.encoder.config).from_dict(model.encoder.config.to_dict())
    config._attn_implementation = "sdpa"
    plain = XLMRobertaForMaskedLM(config).eval()
    plain.roberta.load_state_dict(model.encoder.state_dict())
    plain.lm_head.load_state_dict(model.lm_head.state_dict(), strict=False)
    plain.lm_head.bias = model.lm_head.bias
    plain.lm_head.decoder.bias = model.lm_head.bias
    plain.lm_head.decoder.weight = plain.roberta.embeddings.word_embeddings.weight
    return plain


def test_losses_add_up_over_any_split_into_micro_batches(data):
    model, plan = build(data)
    rows = step_rows(data, *some_rows(data, per_kind=5), 0, 0, plan)
    with torch.no_grad():
        whole = model(collate(data, rows, plan)).losses
        parts = sum(model(collate(data, part, plan)).losses for part in (rows[:3], rows[3:4], [], rows[4:]))
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)
    assert (whole > 0).all()


def test_a_batch_without_rows_has_no_loss_and_gives_every_parameter_a_zero_gradient(data):
    model, plan = build(data)
    losses = model(collate(data, [], plan)).losses
    losses.sum().backward()
    assert losses.tolist() == [0.0] * len(data)
    untouched = [n for n, p in model.named_parameters() if p.grad is None or p.grad.abs().sum() > 0]
    assert untouched == []


def test_a_batch_of_one_task_gives_every_parameter_a_gradient(data):
    model, plan = build(data)
    rows = step_rows(data, np.zeros(4, dtype=int), np.arange(4), 0, 0, plan)
    model(collate(data, rows, plan)).losses.sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None] == []


def test_gradients_that_are_zero_but_for_rounding_are_exactly_zero(data):
    model, plan = build(data)
    model(collate(data, step_rows(data, *some_rows(data), 0, 0, plan), plan)).losses.sum().backward()
    shifted = torch.tensor(plan.shifted)
    assert shifted.tolist() == [True] * 8 + [False] * 3 + [True]
    assert (model.heads.bias.grad[~shifted] == 0).all()
    assert (model.heads.bias.grad[shifted] != 0).all()


def test_outputs_are_laid_out_one_task_after_the_other(data):
    plan = layout(data, 200, helpers.MASK_ID, True)
    assert plan.first == (0, 3, 8, 9, 11, 12)
    assert plan.count == (3, 5, 1, 2, 1, 0)
    assert plan.num_outputs == 12
    assert dataclasses.replace(plan, scaled=False).num_outputs == 12


def test_a_hidden_layer_is_that_of_transformers_and_the_layers_above_it_are_not_run(data):
    model, plan = build(data)
    model.eval()
    batch = collate(data, step_rows(data, *some_rows(data), 0, 0, plan), plan)
    given = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "sequences": batch.sequences}
    with torch.no_grad():
        wanted = model.encoder(**given, output_hidden_states=True).hidden_states
        ran = []
        for number, layer in enumerate(model.encoder.encoder.layer):
            layer.register_forward_hook(lambda *_, number=number: ran.append(number))
        for index, states in enumerate(wanted):
            ran.clear()
            pooled = model(batch, layer=index).pooled
            assert torch.equal(pooled, _mean_pool(states[0], batch.sequences))
            assert ran == list(range(index))
