import dataclasses
import itertools
import json
import math

import helpers
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import XLMRobertaForMaskedLM, XLMRobertaModel

from xlray.errors import InputError
from xlray.training import batches
from xlray.training.batches import Row, collate, layout, step_rows
from xlray.training.dropout import CounterDropout, keep_mask
from xlray.training.model import Model, _mean_pool, initialise_heads, load_encoder, random_encoder
from xlray.training.weights import save_weights

RELATIVE = 1e-5
PAD = 1


@pytest.fixture
def data():
    return helpers.all_kinds()


def build(data, dropout=0.0, scaled=True, seed=0):
    plan = layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, scaled)
    model = Model(random_encoder(helpers.TINY, seed), plan, dropout)
    initialise_heads(model, seed + 1)
    with torch.no_grad():  # no bias or norm at its initial value, so that a forgotten one shows
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return model, plan


def transformers_encoder(model, attention):
    """transformers' own encoder with its own attention and the same weights."""
    config = type(model.encoder.config).from_dict(model.encoder.config.to_dict())
    config._attn_implementation = attention
    plain = XLMRobertaModel(config, add_pooling_layer=False).eval()
    plain.load_state_dict(model.encoder.state_dict())
    assert plain.config._attn_implementation == attention
    return plain


def unpack(batch):
    """Token ids of each sequence of a pack."""
    offsets = batch.sequences.offsets.tolist()
    return [batch.input_ids[0, a:b] for a, b in itertools.pairwise(offsets)]


def padded(sequences):
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def relative(a, b):
    return float((a - b).norm() / b.norm())


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


def keys(n, seed=0):
    return torch.from_numpy(batches.mix(seed, np.arange(n)).view(np.int64))


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_drops_at_its_rate_at_every_unit(probability):
    kept = keep_mask(keys(20_000), 3, 63, probability).bool()
    assert kept.shape == (20_000, 63)
    error = math.sqrt(probability * (1 - probability))
    assert abs(float(kept.double().mean()) - (1 - probability)) < 5 * error / math.sqrt(kept.numel())
    assert (kept.double().mean(0) - (1 - probability)).abs().max() < 5 * error / math.sqrt(20_000)


def test_dropout_of_units_sites_and_steps_is_independent():
    n, width = 20_000, 16
    masks = {
        name: keep_mask(k, site, width, 0.5).double()
        for name, k, site in (("one", keys(n), 0), ("another site", keys(n), 1), ("another step", keys(n, 1), 0))
    }
    tables = torch.cat(list(masks.values()), 1)
    correlations = torch.corrcoef(tables.T) - torch.eye(3 * width)
    assert correlations.abs().max() < 6 / math.sqrt(n)


def test_dropout_depends_on_the_key_alone():
    whole = keep_mask(keys(50), 2, 30, 0.3)
    order = torch.randperm(50)
    assert torch.equal(keep_mask(keys(50)[order], 2, 30, 0.3), whole[order])
    assert torch.equal(keep_mask(keys(50), 2, 32, 0.3)[:, :30], whole)  # both widths take eight hashes


def test_masks_are_those_of_splitmix64_bit_for_bit():
    table = keys(40).numpy().view(np.uint64)
    site, width, probability = 5, 10, 0.3  # ten units take three hashes
    counter = np.arange(site * 3 + 1, site * 3 + 4, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = table[:, None] + counter * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    lanes = np.ascontiguousarray(z).view(np.int16)[:, :width]
    wanted = lanes >= round(probability * 65536) - 32768
    assert torch.equal(keep_mask(keys(40), site, width, probability).bool(), torch.from_numpy(wanted))


def test_dropout_scales_what_it_keeps_and_only_in_training():
    module = CounterDropout(0, 0.25)
    module.keys = keys(4000)
    dropped = module(torch.ones(1, 4000, 32))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(module.eval()(torch.ones(1, 4000, 32)), torch.ones(1, 4000, 32))


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


def rows_task(data, kind):
    return [e.kind for e in data].index(kind)


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


# --- masking -------------------------------------------------------------------------------------------------------

CLS, SEP, LETTERS = 0, 2, np.arange(5, 200)


@pytest.fixture(scope="module")
def text():
    random = np.random.default_rng(3)
    rows = []
    for length in random.integers(3, 60, 800):
        tokens = np.concatenate([[CLS], random.choice(LETTERS, length - 2), [SEP]])
        rows.append((tokens, [length], range(1, length - 1), [], max(1, round(0.15 * (length - 2)))))
    return [helpers.make_examples("text", "mlm", 0, rows)]


def masks_of(text, rows, plan):
    """By row: (masked ids, positions masked, labels there)."""
    batch = collate(text, rows, plan)
    found = {}
    offsets = batch.sequences.offsets.tolist()
    masked = batch.masked.reads[1:].tolist()
    for (row, _), a, b in zip(batch.sequence_rows.tolist(), offsets[:-1], offsets[1:], strict=True):
        inside = [i for i, read in enumerate(masked, 1) if a <= read < b]
        positions = batch.masked.reads[inside] - a
        found[row] = (batch.input_ids[0, a:b], positions, batch.masked.labels[inside])
    return found


def test_fifteen_percent_of_a_rows_tokens_are_masked_and_never_special_ones(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    rows = step_rows(text, np.zeros(800, dtype=int), np.arange(800), 0, 5, plan)
    for row, (ids, positions, labels) in masks_of(text, rows, plan).items():
        original = torch.tensor(text[0].tokens_of(row)).long()
        assert len(set(positions.tolist())) == len(positions) == max(1, round(0.15 * (len(original) - 2)))
        assert torch.equal(original[positions], labels)
        assert not set(labels.tolist()) & {CLS, SEP}
        others = torch.ones(len(ids), dtype=torch.bool)
        others[positions] = False
        assert torch.equal(ids[others], original[others])


def test_masked_tokens_become_mask_another_token_or_stay_in_eighty_ten_ten(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    rows = step_rows(text, np.zeros(800, dtype=int), np.arange(800), 0, 6, plan)
    fates, where = [], []
    for ids, positions, labels in masks_of(text, rows, plan).values():
        now = ids[positions]
        fates += torch.where(now == helpers.MASK_ID, 0, torch.where(now == labels, 2, 1)).tolist()
        where += [(int(p) - 1) / max(1, len(ids) - 3) for p in positions]
    rates = np.bincount(fates) / len(fates)
    assert len(fates) > 3000
    np.testing.assert_allclose(rates, [0.8, 0.1, 0.1], atol=4 * 0.4 / math.sqrt(len(fates)))
    assert abs(np.mean(where) - 0.5) < 4 * 0.3 / math.sqrt(len(where))  # no part of a sentence is preferred


def test_masks_do_not_depend_on_packing_but_on_step_and_seed(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    chosen = np.arange(20)
    rows = step_rows(text, np.zeros(20, dtype=int), chosen, 0, 5, plan)
    wanted = masks_of(text, rows, plan)
    apart = {}
    for part in (rows[7:][::-1], rows[:7]):
        apart |= masks_of(text, part, plan)
    for row, values in wanted.items():
        assert all(torch.equal(a, b) for a, b in zip(apart[row], values, strict=True))
    for first, seed in ((20, 5), (0, 6)):
        other = masks_of(text, step_rows(text, np.zeros(20, dtype=int), chosen, first, seed, plan), plan)
        same = [row for row in wanted if torch.equal(wanted[row][0], other[row][0])]
        assert len(same) < 5


def test_evaluation_masks_nothing(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    batch = collate(text, [Row(0, 3, 0, 0.0)], plan, masked=False)
    assert batch.masked is None
    assert batch.input_ids[0].tolist() == text[0].tokens_of(3).tolist()


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(data, tmp_path):
    model, plan = build(data)
    save_weights(tmp_path / "encoder", helpers.parameters(model), model.encoder.config, None)
    return tmp_path / "encoder", model.eval(), plan


def test_a_saved_folder_loads_in_transformers_with_the_same_masked_lm_logits(data, saved):
    folder, model, plan = saved
    plain, info = XLMRobertaForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    batch = collate(data, step_rows(data, np.full(6, rows_task(data, "mlm")), np.arange(6), 0, 0, plan), plan)
    with torch.no_grad():
        states = model.encoder(
            input_ids=batch.input_ids, position_ids=batch.position_ids, sequences=batch.sequences
        ).last_hidden_state[0]
        own = model.lm_head(states, model.encoder.embeddings.word_embeddings)
        sequences = unpack(batch)
        logits = plain.eval()(**padded(sequences)).logits
        assert relative(own, torch.cat([logits[i, : len(s)] for i, s in enumerate(sequences)])) < RELATIVE


def test_a_saved_folder_loads_back_bit_equal(saved):
    folder, model, _ = saved
    encoder, head = load_encoder(folder)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in model.encoder.state_dict().items())
    assert head.keys() == model.lm_head.state_dict().keys()
    assert all(torch.equal(value, head[name]) for name, value in model.lm_head.state_dict().items())


def edit(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


DENSE = "roberta.encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(DENSE), r"missing: \['encoder\.layer\.1\.output\.dense\.weight'\]"),
        (lambda w: w.update({"roberta.surplus.weight": torch.zeros(2)}), r"unexpected: \['surplus\.weight'\]"),
        (
            lambda w: w.update({DENSE: torch.zeros(3, 3)}),
            r"of another shape: \['encoder\.layer\.1\.output\.dense\.weight \[3, 3\] instead of \[64, 128\]'\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(saved, change, message):
    edit(saved[0], change)
    with pytest.raises(InputError, match=message):
        load_encoder(saved[0])


def test_an_encoder_folder_without_weights_is_refused(saved):
    (saved[0] / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"must hold model\.safetensors"):
        load_encoder(saved[0])


def test_pooler_and_position_buffers_of_public_encoders_are_passed_over_and_half_precision_is_read(saved):
    folder, model, _ = saved

    def change(weights):
        for name, value in weights.items():
            weights[name] = value.half()
        weights["roberta.pooler.dense.weight"] = torch.zeros(64, 64)
        weights["roberta.embeddings.position_ids"] = torch.arange(66)[None]

    edit(folder, change)
    encoder, _ = load_encoder(folder)
    for name, value in model.encoder.named_parameters():
        assert encoder.get_parameter(name).dtype == torch.float32
        torch.testing.assert_close(encoder.get_parameter(name), value.half().float(), rtol=0, atol=0)


def test_the_saved_configuration_is_that_of_xlm_roberta(saved):
    config = json.loads((saved[0] / "config.json").read_text())
    assert config["model_type"] == "xlm-roberta"
    assert "xlray" not in json.dumps(config)


def test_random_weights_depend_on_the_seed_alone(data):
    torch.manual_seed(1)
    a = random_encoder(helpers.TINY, 5).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    b, c = random_encoder(helpers.TINY, 5).state_dict(), random_encoder(helpers.TINY, 6).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(a[name], c[name])


def test_fresh_heads_depend_on_the_seed_alone(data):
    models = [build(data, seed=s)[0] for s in (0, 0, 1)]
    assert torch.equal(models[0].heads.weight, models[1].heads.weight)
    assert not torch.equal(models[0].heads.weight, models[2].heads.weight)
    assert float(models[0].heads.weight.detach().std()) == pytest.approx(0.02, rel=0.1)


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
