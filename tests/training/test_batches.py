import itertools

import helpers
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xlray.training.batches import FIRST_POSITION, Row, collate, layout, mix, step_rows


@pytest.fixture(scope="module")
def data():
    return helpers.all_kinds()


@pytest.fixture(scope="module")
def plan(data):
    return layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, True)


def some_rows(data, plan, num=24, seed=0):
    random = np.random.default_rng(seed)
    return step_rows(data, random.integers(0, len(data), num), random.integers(0, 64, num), 0, seed, plan)


CHOSEN = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 63)), max_size=20)


@given(chosen=CHOSEN)
@settings(max_examples=60, deadline=None)
def test_every_sequence_of_every_row_is_in_the_pack_once_and_whole(data, plan, chosen):
    rows = [Row(task, row, i, 1.0) for i, (task, row) in enumerate(chosen)]
    batch = collate(data, rows, plan, masked=False)
    offsets = batch.sequences.offsets.tolist()
    found = [batch.input_ids[0, a:b].tolist() for a, b in itertools.pairwise(offsets)]
    wanted = []
    for task, row in chosen:
        ends = np.cumsum(data[task].sequence_lengths(row))
        wanted += [part.tolist() for part in np.split(data[task].tokens_of(row), ends[:-1])]
    assert sorted(found) == sorted(wanted or [[0]])
    assert batch.input_ids.shape == batch.position_ids.shape == (1, offsets[-1])


def test_sequences_lie_sorted_by_length_in_runs_of_equal_ones(data, plan):
    sequences = collate(data, some_rows(data, plan), plan).sequences
    lengths = sequences.offsets.diff().tolist()
    assert lengths == sorted(lengths, reverse=True)
    assert [length for _, count, length in sequences.runs for _ in range(count)] == lengths
    assert [start for start, _, _ in sequences.runs] == [
        sum(n * c for _, c, n in sequences.runs[:i]) for i in range(len(sequences.runs))
    ]
    assert len({length for _, _, length in sequences.runs}) == len(sequences.runs)
    assert sequences.longest == lengths[0]


def test_positions_start_at_two_in_every_sequence(data, plan):
    batch = collate(data, some_rows(data, plan), plan)
    for a, b in zip(batch.sequences.offsets[:-1].tolist(), batch.sequences.offsets[1:].tolist(), strict=True):
        assert batch.position_ids[0, a:b].tolist() == list(range(FIRST_POSITION, FIRST_POSITION + b - a))


def test_groups_read_the_tokens_that_the_examples_name(data, plan):
    rows = some_rows(data, plan)
    batch = collate(data, rows, plan, masked=False)
    assert [int(g.task) for g in batch.groups] == sorted({r.task for r in rows if plan.count[r.task]})
    for group in batch.groups:
        task = data[int(group.task)]
        wanted = np.concatenate([task.tokens_of(r)[task.reads_of(r)] for r in group.rows])
        assert batch.input_ids[0, group.reads].tolist() == wanted.tolist()
        assert group.labels.tolist() == np.concatenate([task.labels_of(r) for r in group.rows]).tolist()
        assert (group.first, group.count) == (plan.first[int(group.task)], plan.count[int(group.task)])
        if group.segments is not None:
            assert [(s >= 0).sum().item() for s in group.segments] == [task.num_reads(r) for r in group.rows]
            assert group.segments[group.segments >= 0].tolist() == list(range(len(group.reads)))


def test_keys_of_tokens_are_distinct_and_follow_the_row_wherever_it_lies(data, plan):
    rows = some_rows(data, plan)
    whole = collate(data, rows, plan, masked=False)
    assert len(set(whole.keys.tolist())) == len(whole.keys)
    alone = {row.key: set(collate(data, [row], plan, masked=False).keys.tolist()) for row in rows}
    assert set().union(*alone.values()) == set(whole.keys.tolist())


def test_weights_of_a_step_make_the_mean_over_examples_of_the_mean_over_units(data):
    plain = layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, False)
    rows = some_rows(data, plain, 40)
    for task, examples in enumerate(data):
        mine = [row for row in rows if row.task == task]
        total = sum(row.weight * examples.units[row.row] for row in mine)
        assert total == pytest.approx(len(mine) / 40)
        assert len({row.weight for row in mine}) == 1


def test_scaled_losses_divide_by_the_log_of_the_number_of_classes(data, plan):
    plain = layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, False)
    for scaled, row in zip(some_rows(data, plan, 40), some_rows(data, plain, 40), strict=True):
        kind, reads = data[row.task].kind, data[row.task].num_reads(row.row)
        classes = {
            "classification": 3,
            "tagging": 5,
            "mlm": 200,
            "multiple_choice": reads,
            "span_qa": max(2, reads),
            "regression": np.e,
        }
        assert row.weight / scaled.weight == pytest.approx(np.log(classes[kind]))


def test_keys_of_rows_depend_on_the_seed_and_the_position_alone(data, plan):
    tasks, rows = np.zeros(8, dtype=int), np.arange(8)
    whole = [r.key for r in step_rows(data, tasks, rows, 16, 3, plan)]
    assert [r.key for r in step_rows(data, tasks[4:], rows[::-1][4:], 20, 3, plan)] == whole[4:]
    assert not set(whole) & {r.key for r in step_rows(data, tasks, rows, 16, 4, plan)}
    assert len(set(whole)) == 8


def test_an_empty_batch_is_one_dummy_token_of_weight_zero(data, plan):
    batch = collate(data, [], plan)
    assert batch.input_ids.shape == (1, 1)
    assert [g.weights.sum().item() for g in batch.groups] == [0.0]
    assert batch.masked.weights.tolist() == [0.0]
    assert len(batch.sequence_rows) == 0


def test_a_batch_moves_whole(data, plan):
    batch = collate(data, some_rows(data, plan), plan).to(torch.device("meta"))
    tensors = [batch.input_ids, batch.position_ids, batch.keys, batch.sequences.offsets, batch.masked.reads]
    tensors += [t for g in batch.groups for t in (g.reads, g.labels, g.weights, g.segments) if t is not None]
    assert {str(t.device) for t in tensors} == {"meta"}


def test_mix_is_splitmix64():
    # First outputs of splitmix64 with state 0 (Steele, Lea and Flood 2014; Vigna's reference code).
    assert int(mix(0)) == 0xE220A8397B1DCDAF
    assert int(mix(0x9E3779B97F4A7C15)) == 0x6E789E6AA1B965F4
    assert mix(3, np.arange(5)).tolist() == [int(mix(3, i)) for i in range(5)]
    assert int(mix(1, 2)) != int(mix(2, 1))
