"""From lengths to work: which rank takes which examples, in which micro-batches, padded how.

Plans are made from the lengths alone and are deterministic, so every rank computes the same plan without talking to the
others. Every example is in exactly one micro-batch of one rank, and all ranks have the same number of micro-batches.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from xlray.errors import require

Indices = NDArray[np.int64]


def shares(lengths: NDArray[np.integer], world_size: int) -> list[Indices]:
    """Items of each rank, balanced by tokens: the longest first, each to the rank with the fewest tokens so far.

    The loads of two ranks differ by at most the longest item (list scheduling, Graham 1969). Ties go to the item with
    the lower index and to the lower rank.

    Args:
        lengths: [num_items] integer, tokens, at least 1.
        world_size: number of ranks.

    Returns:
        One ascending int64 array of indices into `lengths` per rank; empty for a rank without items.

    Raises:
        InputError: for a world size or a length below 1.
    """
    _check(lengths, world_size, "packing.shares")
    loads = [(0, rank) for rank in range(world_size)]  # a heap already
    owner = np.zeros(len(lengths), dtype=np.int64)
    for item in _longest_first(lengths) if world_size > 1 else ():
        load, rank = loads[0]
        owner[item] = rank
        heapq.heapreplace(loads, (load + int(lengths[item]), rank))
    return [np.flatnonzero(owner == rank) for rank in range(world_size)]


def micro_batches(lengths: NDArray[np.integer], indices: NDArray[np.integer], budget: int) -> list[Indices]:
    """Micro-batches of at most `budget` tokens by first-fit decreasing, at most 11/9 of the fewest possible, plus one.

    Args:
        lengths: [num_items] integer, tokens.
        indices: items to pack, indices into `lengths`.
        budget: tokens per micro-batch.

    Returns:
        int64 arrays of indices into `lengths`, the longest item of each first; none is empty.

    Raises:
        InputError: for an item that is longer than the budget.
    """
    chosen = np.asarray(indices, dtype=np.int64)
    _check_budget(lengths[chosen], budget, "packing.micro_batches")
    batches: list[list[int]] = []
    room = np.full(len(chosen), budget, dtype=np.int64)
    for item in chosen[_longest_first(lengths[chosen])]:
        batch = int(np.argmax(room[: len(batches) + 1] >= lengths[item]))
        if batch == len(batches):
            batches.append([])
        batches[batch].append(int(item))
        room[batch] -= lengths[item]
    return [np.asarray(batch, dtype=np.int64) for batch in batches]


def plan_step(lengths: NDArray[np.integer], world_size: int, budget: int) -> list[list[Indices]]:
    """Micro-batches of each rank for the examples of one optimizer step.

    Args:
        lengths: [num_examples] integer, tokens of the step's examples.
        world_size: number of ranks.
        budget: tokens per micro-batch.

    Returns:
        `plan[rank][micro_step]`: int64 indices into `lengths`. All ranks have the same number of micro-steps; those
        with nothing left to do have empty arrays at the end.

    Raises:
        InputError: for an item that is longer than the budget, a length or a world size below 1.
    """
    return _pad([micro_batches(lengths, share, budget) for share in shares(lengths, world_size)])


def plan_evaluation(lengths: NDArray[np.integer], world_size: int, budget: int) -> list[list[Indices]]:
    """Micro-batches of each rank for a whole split: items of like length together, the longest first.

    The sorted items are cut into runs of at most `budget` tokens, in the fewest rounds of one run per rank; within
    these the largest run is as small as can be, so that ranks end together. Running out of memory would happen in the
    first round. Takes O(n log n) time.

    Args:
        lengths: [num_items] integer, tokens.
        world_size: number of ranks.
        budget: tokens per micro-batch.

    Returns:
        `plan[rank][micro_step]` as `plan_step` returns it.

    Raises:
        InputError: for an item that is longer than the budget, a length or a world size below 1.
    """
    where = "packing.plan_evaluation"
    _check(lengths, world_size, where)
    _check_budget(lengths, budget, where)
    if not len(lengths):
        return [[] for _ in range(world_size)]
    ranked = _longest_first(lengths)
    ends = np.cumsum(lengths[ranked], dtype=np.int64)
    rounds = -(-len(_cuts(ends, budget, len(ranked))) // world_size)
    low, high = int(lengths.max()), budget
    while low < high:
        middle = (low + high) // 2
        fits = len(_cuts(ends, middle, rounds * world_size + 1)) <= rounds * world_size
        low, high = (low, middle) if fits else (middle + 1, high)
    batches = np.split(ranked, _cuts(ends, low, len(ranked))[:-1])
    return _pad([batches[rank::world_size] for rank in range(world_size)])


def num_slots(plan: list[list[Indices]], lengths: NDArray[np.integer]) -> int:
    """Tokens of the fullest rank times the number of ranks: what a step costs, since all ranks wait for the last.

    An empty micro-batch counts as its one dummy token. What exceeds the tokens of the examples is idle.

    Args:
        plan: as `plan_step` returns it.
        lengths: [num_examples] integer, tokens.
    """
    return len(plan) * max(sum(max(1, int(lengths[batch].sum())) for batch in share) for share in plan)


def _longest_first(lengths: NDArray[np.integer]) -> Indices:
    """Indices by falling length, ties by rising index."""
    return np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable").astype(np.int64, copy=False)


def _cuts(ends: NDArray[np.int64], budget: int, limit: int) -> list[int]:
    """End positions of greedy runs of at most `budget` tokens, given the running sum of lengths; `limit` at most."""
    cuts: list[int] = []
    position, done = 0, 0
    while position < len(ends) and len(cuts) < limit:
        position = int(np.searchsorted(ends, done + budget, side="right"))
        done = int(ends[position - 1])
        cuts.append(position)
    return cuts


def _pad(plans: list[list[Indices]]) -> list[list[Indices]]:
    """The plans with empty micro-batches at the end, so that all have the same number."""
    longest = max(len(plan) for plan in plans)
    return [plan + [np.empty(0, dtype=np.int64)] * (longest - len(plan)) for plan in plans]


def _check(lengths: NDArray[np.integer], world_size: int, where: str) -> None:
    require(world_size >= 1, "world_size >= 1", world_size, where)
    require(not len(lengths) or bool(lengths.min() >= 1), "every length >= 1", lengths.min(initial=1), where)


def _check_budget(lengths: NDArray[np.integer], budget: int, where: str) -> None:
    longest = int(lengths.max(initial=0))
    require(longest <= budget, "longest item <= budget", f"{longest} > {budget} tokens", where)
