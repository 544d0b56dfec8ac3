"""A ranking of tasks by regression: scores on membership, with held-out error (Li, Nguyen and Zhang 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlray.analysis.grid import fill
from xlray.analysis.points import Array, Estimate, Point, Sampling, scored, values_of, weights_of, without_controls

MIN_SUBSETS = 4  # different subsets below which single tasks are not told apart
RANKING = "shrunken values, for the order of the tasks alone"
MAX_FOLDS = 64  # parts that are left out one at a time
PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 5))


@dataclass(frozen=True)
class Contributions:
    """Ridge regression of a score on membership, within seeds.

    Attributes:
        estimates: points that a trial with the task has more than one without it, other tasks equal; shrunk to 0 and
            without intervals, for the order of the tasks.
        penalty: chosen by leaving out one subset (or chain) at a time, in at most `MAX_FOLDS` parts.
        held_out_error: root mean squared error on the subsets left out, in points.
        null_error: the same when every subset is predicted by the mean of its seed.
        inseparable: groups of tasks that are always drawn together; only their sum means something.
        missing: what is missing where there are no estimates, else "".
    """

    estimates: tuple[Estimate, ...]
    penalty: float = 0.0
    held_out_error: float = 0.0
    null_error: float = 0.0
    inseparable: tuple[tuple[str, ...], ...] = ()
    missing: str = ""

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(estimate.name.rsplit("/", 1)[1] for estimate in self.estimates)


@dataclass(frozen=True)
class Membership:
    """The subsets of one rung as rows.

    Attributes:
        tasks: those that some subsets hold and others do not.
        rows: [subsets, tasks] 1 where the subset holds the task.
        clusters: [subsets] number of the subset's chain or of itself.
        subset_of: [points] row of each point.
        values: [points] scores less what its seed adds to all subsets.
        weights: [points] inverse probabilities of having got there.
    """

    tasks: tuple[str, ...]
    rows: Array
    clusters: NDArray[np.int64]
    subset_of: NDArray[np.int64]
    values: Array
    weights: Array


def membership(points: Sequence[Point], outcome: str) -> Membership:
    """Rows of subsets, and scores without the effect of the seed (an additive fit of subset and seed)."""
    subsets = sorted({point.tasks for point in points})
    row_of = {subset: row for row, subset in enumerate(subsets)}
    seeds = sorted({point.seed for point in points})
    column_of = {seed: column for column, seed in enumerate(seeds)}
    subset_of = np.array([row_of[point.tasks] for point in points])
    seed_of = np.array([column_of[point.seed] for point in points])
    table = np.full((len(subsets), len(seeds)), np.nan)
    table[subset_of, seed_of] = values_of(points, outcome)
    filled = fill(table)
    values = table[subset_of, seed_of] - (filled.mean(axis=0) - filled.mean())[seed_of]
    names = sorted({task for subset in subsets for task in subset})
    place = {name: column for column, name in enumerate(names)}
    rows = np.zeros((len(subsets), len(names)))
    for row, subset in enumerate(subsets):
        rows[row, [place[task] for task in subset]] = 1
    varying = np.flatnonzero((rows.mean(axis=0) > 0) & (rows.mean(axis=0) < 1))
    cluster_names = sorted({point.cluster for point in points})
    number_of = {name: number for number, name in enumerate(cluster_names)}
    clusters = np.zeros(len(subsets), dtype=np.int64)
    clusters[subset_of] = [number_of[point.cluster] for point in points]
    tasks = tuple(names[column] for column in varying)
    return Membership(tasks, rows[:, varying], clusters, subset_of, values, weights_of(points))


def contributions(points: Sequence[Point], outcome: str, sampling: Sampling) -> Contributions:
    """Which intermediate tasks add most at one rung: ridge coefficients, named `ranking/<outcome>/<task>`.

    Controls say nothing of a pool's tasks and are left out. There are no intervals: those of shrunken values hold the true
    contribution of strong tasks far too seldom.
    """
    points = without_controls(scored(points, outcome))
    subsets = {point.tasks for point in points}
    if len(subsets) < MIN_SUBSETS:
        return Contributions((), missing=f"at least {MIN_SUBSETS} different subsets at one rung, found {len(subsets)}")
    held = membership(points, outcome)
    if len(subsets) < len(held.tasks):
        return Contributions(
            (), missing=f"as many different subsets as tasks ({len(held.tasks)}), found {len(subsets)}"
        )
    penalty, error, null = choose_penalty(held)
    counts, sums = subset_sums(held, held.weights)
    about = (sampling.level, len({point.seed for point in points}), len(subsets), max(point.rung for point in points))
    estimates = tuple(
        Estimate(f"ranking/{outcome}/{task}", value, None, None, *about, num_trials=len(points), missing=RANKING)
        for task, value in zip(held.tasks, ridge(held.rows, counts[None], sums[None], penalty)[0].tolist(), strict=True)
    )
    together: dict[bytes, list[str]] = {}
    for number, task in enumerate(held.tasks):
        together.setdefault(held.rows[:, number].tobytes(), []).append(task)
    inseparable = tuple(tuple(group) for group in together.values() if len(group) > 1)
    return Contributions(estimates, penalty, error, null, inseparable)


def subset_sums(held: Membership, weights: Array) -> tuple[Array, Array]:
    """([subsets] sums of weights, [subsets] of weights x values) from `weights` [points]."""
    size = len(held.rows)
    counts, sums = (np.bincount(held.subset_of, weights * part, size) for part in (1.0, held.values))
    return counts.astype(np.float64), sums.astype(np.float64)


def ridge(rows: Array, counts: Array, sums: Array, penalty: float) -> Array:
    """Coefficients [draws, tasks] with an intercept that is not penalised; NaN for a draw without any point.

    Args:
        rows: [subsets, tasks] membership.
        counts: [draws, subsets] weight of each subset.
        sums: [draws, subsets] the same times its mean score.
    """
    out = np.full((len(counts), rows.shape[1]), np.nan)
    usable = np.flatnonzero(counts.sum(axis=1) > 0)
    for some in np.array_split(usable, max(1, len(usable) // 100)):
        gram, right = normal_equations(rows, counts[some], sums[some])
        out[some] = np.linalg.solve(gram + penalty * np.eye(rows.shape[1]), right[:, :, None])[:, :, 0]
    return out


def normal_equations(rows: Array, counts: Array, sums: Array) -> tuple[Array, Array]:
    """([draws, tasks, tasks], [draws, tasks]) of the least-squares fit, the intercept taken out; as `ridge` is called."""
    num_tasks, size = rows.shape[1], counts.sum(axis=1, keepdims=True)
    first, second = np.triu_indices(num_tasks)
    centre, level = counts @ rows / size, sums.sum(axis=1, keepdims=True) / size
    gram = np.empty((len(counts), num_tasks, num_tasks))
    gram[:, first, second] = gram[:, second, first] = counts @ (rows[:, first] * rows[:, second])
    gram -= size[:, :, None] * centre[:, :, None] * centre[:, None, :]
    return gram, sums @ rows - size * level * centre


def choose_penalty(held: Membership) -> tuple[float, float, float]:
    """(penalty, held-out error, error of predicting nothing), leaving out one of the `folds` at a time.

    No fit is repeated: with H the matrix that takes scores to fitted scores, the errors of rows that were left out are
    (I - H of these rows)^-1 times their errors in the fit to all (Cook and Weisberg 1982), exactly.
    """
    counts, sums = subset_sums(held, held.weights)
    means, root, total = sums / counts, np.sqrt(counts), float(counts.sum())
    within = float((held.weights * (held.values - means[held.subset_of]) ** 2).sum())
    left_out = members(folds(held))
    columns = np.concatenate([np.ones((len(held.rows), 1)), held.rows], axis=1) * root[:, None]
    errors = [within + _left_out(columns, means * root, penalty, left_out) for penalty in PENALTIES]
    null = within + _left_out(columns[:, :1], means * root, 0.0, left_out)
    best = int(np.argmin(errors))
    return PENALTIES[best], math.sqrt(errors[best] / total), math.sqrt(null / total)


def folds(held: Membership) -> NDArray[np.int64]:
    """[subsets] part in which the subset is left out: its cluster, or several of them where there are very many.

    Where there is but one cluster, subsets are left out one at a time.
    """
    clusters = held.clusters if len(np.unique(held.clusters)) > 1 else np.arange(len(held.rows))
    return np.asarray(clusters % MAX_FOLDS, dtype=np.int64)


def members(parts: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """[parts, members] rows of the parts of each size."""
    order = np.argsort(parts, kind="stable")
    starts = np.flatnonzero(np.diff(parts[order], prepend=-1))
    groups: dict[int, list[NDArray[np.int64]]] = {}
    for group in np.split(order, starts[1:]):
        groups.setdefault(len(group), []).append(group)
    return [np.stack(same) for same in groups.values()]


def _left_out(columns: Array, right: Array, penalty: float, groups: Sequence[NDArray[np.int64]]) -> float:
    """Sum of squared errors of each group of rows in the fit to the others; the first column is not penalised."""
    ridges = np.full(columns.shape[1], penalty)
    ridges[0] = 0.0
    inverse = np.linalg.inv(columns.T @ columns + np.diag(ridges))
    rest = right - columns @ (inverse @ (columns.T @ right))
    total = 0.0
    for rows in groups:
        own = columns[rows]
        apart = np.eye(rows.shape[1]) - own @ inverse @ own.transpose(0, 2, 1)
        total += float((np.linalg.solve(apart, rest[rows][:, :, None]) ** 2).sum())
    return total
