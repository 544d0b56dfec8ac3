"""Pairs of tasks that add more, or less, together than one by one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xlray.analysis.effects import ONE_SEED, holm
from xlray.analysis.points import Array, Estimate, Point, Sampling, scored, too_few
from xlray.analysis.regression import Membership, membership, subset_sums

MIN_EACH = 2  # subsets with both, either and none of a pair, below which it is not identified


@dataclass(frozen=True)
class Interactions:
    """Estimates of the pairs that the design identifies, by falling evidence.

    Attributes:
        estimates: named `interaction/<outcome>/<task> x <task>`; `p_holm` is over all pairs that are identified.
        num_pairs: pairs of tasks that there are.
        missing: what is missing where there are none, else "".
    """

    estimates: tuple[Estimate, ...]
    num_pairs: int = 0
    missing: str = ""


def interactions(points: Sequence[Point], outcome: str, sampling: Sampling) -> Interactions:
    """What a pair adds beyond the sum of its tasks, one pair at a time beside all single tasks.

    Least squares on the means of subsets, the single tasks taken out of both sides first (Frisch and Waugh 1933), with a
    standard error that is robust to clusters, small-sample factor included (Liang and Zeger 1986; Cameron and Miller
    2015), and as many degrees of freedom as there are clusters less one, or subsets beyond the columns of the fit if
    these are fewer.
    """
    points = scored(points, outcome)
    held = membership(points, outcome) if points else None
    num_tasks = len(held.tasks) if held else 0
    num_pairs = num_tasks * (num_tasks - 1) // 2
    if held is None or len(held.rows) < num_tasks + 3:
        needed = f"at least {num_tasks + 3} different subsets for {num_tasks} tasks"
        return Interactions((), num_pairs, f"{needed}, found {len(held.rows) if held else 0}")
    pairs = identified_pairs(held)
    num_clusters = len(np.unique(held.clusters))
    if not pairs or num_clusters < 3:
        return Interactions((), num_pairs, f"pairs with {MIN_EACH} subsets of each kind (both, either, none)")
    values, errors, usable = _fit_pairs(held, pairs)
    pairs = [pair for pair, use in zip(pairs, usable, strict=True) if use]
    if not pairs:
        return Interactions((), num_pairs, "pairs that are no sum of single tasks")
    freedom = min(num_clusters - 1, len(held.rows) - np.linalg.matrix_rank(_single(held)) - 1)
    if freedom < 1:
        return Interactions((), num_pairs, "more different subsets than the tasks explain")
    p_values = 2 * stats.t.sf(np.abs(values) / errors, freedom)
    quantile = float(stats.t.ppf((1 + sampling.level) / 2, freedom))
    seeds, rung = len({point.seed for point in points}), max(point.rung for point in points)
    made = [
        Estimate(
            name=f"interaction/{outcome}/{held.tasks[a]} x {held.tasks[b]}",
            value=float(value),
            low=float(value - quantile * error) if seeds > 1 else None,
            high=float(value + quantile * error) if seeds > 1 else None,
            level=sampling.level,
            num_seeds=seeds,
            num_subsets=len(held.rows),
            rung=rung,
            num_trials=len(points),
            standard_error=float(error),
            degrees_of_freedom=float(freedom),
            p_value=float(p_value),
            p_holm=adjusted,
            missing="" if seeds > 1 else ONE_SEED,
            caution=too_few(seeds, num_clusters, sampling.level),
        )
        for (a, b), value, error, p_value, adjusted in zip(
            pairs, values, errors, p_values, holm(p_values.tolist()), strict=True
        )
    ]
    return Interactions(tuple(sorted(made, key=lambda e: (e.p_value or 0.0, e.name))), num_pairs)


def identified_pairs(held: Membership) -> list[tuple[int, int]]:
    """Pairs of columns with enough subsets that hold both, only one, only the other, and none."""
    rows = held.rows
    both = rows.T @ rows
    alone = rows.sum(axis=0)
    found = []
    for a, b in itertools.combinations(range(rows.shape[1]), 2):
        counts = (both[a, b], alone[a] - both[a, b], alone[b] - both[a, b])
        if min(*counts, len(rows) - sum(counts)) >= MIN_EACH:
            found.append((a, b))
    return found


def _single(held: Membership) -> Array:
    """[subsets, 1 + tasks] columns of the fit without pairs."""
    return np.concatenate([np.ones((len(held.rows), 1)), held.rows], axis=1)


def _fit_pairs(held: Membership, pairs: Sequence[tuple[int, int]]) -> tuple[Array, Array, list[bool]]:
    """(values, standard errors) of the pairs that are no combination of single tasks, and which those are."""
    counts, sums = subset_sums(held, held.weights)
    means, root = sums / counts, np.sqrt(counts)
    single = _single(held) * root[:, None]
    products = np.stack([held.rows[:, a] * held.rows[:, b] for a, b in pairs], axis=1) * root[:, None]
    projection = single @ np.linalg.pinv(single)
    left, right = products - projection @ products, means * root - projection @ (means * root)
    size = (left**2).sum(axis=0)
    usable = size > 1e-8 * (products**2).sum(axis=0)
    left, size = left[:, usable], size[usable]
    values = left.T @ right / size
    scores = left * (right[:, None] - left * values)
    numbers, index = np.unique(held.clusters, return_inverse=True)
    by_cluster = np.zeros((len(numbers), left.shape[1]))
    np.add.at(by_cluster, index, scores)
    num_rows, num_columns = len(held.rows), np.linalg.matrix_rank(single) + 1
    factor = len(numbers) / (len(numbers) - 1) * (num_rows - 1) / max(num_rows - num_columns, 1)
    errors = np.sqrt(factor * (by_cluster**2).sum(axis=0)) / size
    sound = errors > 0
    usable[np.flatnonzero(usable)[~sound]] = False
    return values[sound], errors[sound], [bool(use) for use in usable]
