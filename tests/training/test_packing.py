import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlray.errors import InputError
from xlray.training import packing

LENGTHS = st.lists(st.integers(1, 40), max_size=60).map(lambda found: np.array(found, dtype=np.int64))
WORLD = st.integers(1, 9)
BUDGET = st.integers(40, 200)
PLANS = pytest.mark.parametrize("plan", [packing.plan_step, packing.plan_evaluation])


def tokens(lengths, batches):
    return [int(lengths[batch].sum()) for batch in batches]


@given(LENGTHS, WORLD)
def test_shares_hold_every_item_once_and_balance_to_the_longest(lengths, world_size):
    found = packing.shares(lengths, world_size)
    assert len(found) == world_size
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))
    assert all((np.diff(share) > 0).all() for share in found)
    loads = tokens(lengths, found)
    assert max(loads) - min(loads) <= lengths.max(initial=0)


def test_shares_count_tokens_rather_than_items():
    assert [share.tolist() for share in packing.shares(np.array([3, 9, 3, 3]), 2)] == [[1], [0, 2, 3]]


def test_shares_break_ties_by_index_and_rank():
    assert [share.tolist() for share in packing.shares(np.array([5, 5, 5, 5, 5]), 2)] == [[0, 2, 4], [1, 3]]
    assert [share.tolist() for share in packing.shares(np.array([1, 2, 9]), 3)] == [[2], [1], [0]]


@given(LENGTHS, BUDGET, st.data())
def test_micro_batches_keep_to_the_budget_and_no_two_of_them_fit_into_one(lengths, budget, data):
    chosen = np.array(
        data.draw(st.lists(st.sampled_from(range(len(lengths))), unique=True) if len(lengths) else st.just([]))
    )
    found = packing.micro_batches(lengths, chosen.astype(np.int64), budget)
    assert sorted(i for batch in found for i in batch) == sorted(chosen)
    loads = tokens(lengths, found)
    assert all(0 < load <= budget for load in loads)
    assert all(a + b > budget for a, b in itertools.combinations(loads, 2))  # else first fit would have merged them


def test_first_fit_decreasing_fills_the_first_batch_with_room():
    lengths = np.array([3, 6, 4, 7, 1])
    assert [batch.tolist() for batch in packing.micro_batches(lengths, np.arange(5), 10)] == [[3, 0], [1, 2], [4]]


@PLANS
@given(lengths=LENGTHS, world_size=WORLD, budget=BUDGET)
def test_plans_hold_every_item_once_within_budget_in_equal_counts(plan, lengths, world_size, budget):
    found = plan(lengths, world_size, budget)
    again = plan(lengths.copy(), world_size, budget)
    assert len(found) == world_size and len({len(batches) for batches in found}) == 1
    flat = [batch for batches in found for batch in batches]
    assert all(batch.dtype == np.int64 for batch in flat)
    assert sorted(i for batch in flat for i in batch) == list(range(len(lengths)))
    assert all(load <= budget for load in tokens(lengths, flat))
    assert [[b.tolist() for b in r] for r in found] == [[b.tolist() for b in r] for r in again]
    for batches in found:  # padding comes last, and some rank has none
        assert [len(batch) > 0 for batch in batches] == sorted((len(batch) > 0 for batch in batches), reverse=True)
    assert any(all(len(batch) for batch in batches) for batches in found)


@given(lengths=LENGTHS, world_size=WORLD, budget=BUDGET)
def test_a_step_splits_as_shares_do(lengths, world_size, budget):
    plan = packing.plan_step(lengths, world_size, budget)
    owned = [sorted(i for batch in batches for i in batch) for batches in plan]
    assert owned == [share.tolist() for share in packing.shares(lengths, world_size)]


@given(lengths=LENGTHS, world_size=WORLD, budget=BUDGET)
def test_evaluation_goes_from_long_to_short_in_as_few_rounds_as_runs_allow(lengths, world_size, budget):
    plan = packing.plan_evaluation(lengths, world_size, budget)
    rounds = [[batches[i] for batches in plan] for i in range(len(plan[0]))]
    dealt = [int(lengths[i]) for turn in rounds for batch in turn for i in batch]
    assert dealt == sorted(dealt, reverse=True)
    num_runs, room = 0, 0
    for length in dealt:  # greedy runs at the full budget
        num_runs, room = (num_runs, room - length) if length <= room else (num_runs + 1, budget - length)
    assert len(rounds) == -(-num_runs // world_size)


def test_evaluation_uses_all_ranks_when_one_could_hold_all():
    plan = packing.plan_evaluation(np.full(8, 10), 4, 1_000)
    assert [tokens(np.full(8, 10), batches) for batches in plan] == [[20]] * 4


@PLANS
def test_an_empty_split_gives_empty_plans(plan):
    assert plan(np.empty(0, dtype=np.int64), 3, 10) == [[], [], []]


@PLANS
def test_plans_refuse_what_cannot_be_packed(plan):
    with pytest.raises(InputError, match=r"longest item <= budget.*11 > 10"):
        plan(np.array([3, 11]), 2, 10)
    with pytest.raises(InputError, match="every length >= 1"):
        plan(np.array([3, 0]), 2, 10)
    with pytest.raises(InputError, match="world_size >= 1"):
        plan(np.array([3]), 0, 10)


@given(LENGTHS, WORLD, BUDGET)
def test_slots_are_the_tokens_of_the_fullest_rank_on_all_and_count_dummies(lengths, world_size, budget):
    plan = packing.plan_step(lengths, world_size, budget)
    slots = packing.num_slots(plan, lengths)
    assert slots >= lengths.sum()
    assert slots <= lengths.sum() + world_size * (lengths.max(initial=0) + max(len(share) for share in plan))
    assert (
        packing.num_slots(
            [[np.array([0, 1]), np.array([2])], [np.array([3]), np.array([], dtype=int)]], np.array([5, 4, 3, 6])
        )
        == 24
    )


def test_a_million_items_are_planned_in_seconds():
    lengths = np.random.default_rng(0).integers(1, 400, 10**6)
    start = time.process_time()
    plan = packing.plan_evaluation(lengths, 8, 8_192)
    assert time.process_time() - start < 8  # 0.5 s on an idle core
    loads = [sum(tokens(lengths, batches)) for batches in plan]
    assert max(loads) < 1.01 * min(loads)
