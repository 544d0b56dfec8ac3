"""What each task adds, by regression: scores on membership, with held-out error (Li, Nguyen and Zhang 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from xlray.analysis.bootstrap import resample
from xlray.analysis.crossed import fill
from xlray.analysis.effects import ONE_SEED
from xlray.analysis.points import Array, Estimate, Point, Sampling, scored, too_few, values_of, weights_of

MIN_SUBSETS = 4  # different subsets below which single tasks are not told apart
PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-4, 5))


@dataclass(frozen=True)
class Contributions:
    """Ridge regression of a score on membership, within seeds.

    Attributes:
        estimates: points that a trial with the task has more than one without it, other tasks equal; shrunk to 0.
        penalty: chosen by leaving out one subset (or chain) at a time.
        held_out_error: root mean squared error on the subsets left out, in points.
        null_error: the same when every subset is predicted by the mean of its seed.
        inseparable: groups of tasks that are always drawn together; only their sum means something.
        missing: what is missing where there are no estimates, else "".
        draws: [draws, tasks] the estimates under the crossed bootstrap, for sums and means over tasks.
    """

    estimates: tuple[Estimate, ...]
    penalty: float = 0.0
    held_out_error: float = 0.0
    null_error: float = 0.0
    inseparable: tuple[tuple[str, ...], ...] = ()
    missing: str = ""
    draws: Array | None = None

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
    """What each intermediate task adds at one rung.

    Intervals are the estimate and t quantiles times the standard error of the crossed bootstrap, with one degree of
    freedom less than there are subsets or chains. They are about the shrunk coefficients.
    """
    points = scored(points, outcome)
    subsets = {point.tasks for point in points}
    if len(subsets) < MIN_SUBSETS:
        return Contributions((), missing=f"at least {MIN_SUBSETS} different subsets at one rung, found {len(subsets)}")
    held = membership(points, outcome)
    penalty, error, null = choose_penalty(held)
    value = ridge(held, held.weights[None], (penalty,))[0, 0]
    draws = ridge(held, resample(points, sampling, pooled=True).both * held.weights, (penalty,))[0]
    draws = draws[np.isfinite(draws).all(axis=1)]
    num_seeds, num_clusters = len({point.seed for point in points}), len(set(held.clusters.tolist()))
    errors = draws.std(axis=0, ddof=1) if len(draws) > 1 else np.full(len(value), np.nan)
    quantile = float(stats.t.ppf((1 + sampling.level) / 2, max(num_clusters - 1, 1)))
    half = quantile * errors
    one_seed = num_seeds < 2
    estimates = tuple(
        Estimate(
            name=f"contribution/{outcome}/{task}",
            value=float(value[number]),
            low=None if one_seed else float(value[number] - half[number]),
            high=None if one_seed else float(value[number] + half[number]),
            level=sampling.level,
            num_seeds=num_seeds,
            num_subsets=len(subsets),
            rung=max(point.rung for point in points),
            num_trials=len(points),
            standard_error=None if one_seed else float(errors[number]),
            degrees_of_freedom=float(max(num_clusters - 1, 1)),
            missing=ONE_SEED if one_seed else "",
            caution=too_few(num_seeds, num_clusters, sampling.level),
        )
        for number, task in enumerate(held.tasks)
    )
    together: dict[bytes, list[str]] = {}
    for number, task in enumerate(held.tasks):
        together.setdefault(held.rows[:, number].tobytes(), []).append(task)
    inseparable = tuple(tuple(group) for group in together.values() if len(group) > 1)
    return Contributions(estimates, penalty, error, null, inseparable, "", draws)


def subset_sums(held: Membership, weights: Array) -> tuple[Array, Array]:
    """([draws, subsets] sums of weights, the same of weights x values) from `weights` [draws, points]."""
    order = np.argsort(held.subset_of, kind="stable")
    starts = np.searchsorted(held.subset_of[order], np.arange(len(held.rows)))
    sorted_weights = weights[:, order]
    counts = np.add.reduceat(sorted_weights, starts, axis=1)
    return counts, np.add.reduceat(sorted_weights * held.values[order], starts, axis=1)


def ridge(held: Membership, weights: Array, penalties: Sequence[float]) -> Array:
    """Coefficients [penalties, draws, tasks] with an intercept that is not penalised; `weights` is [draws, points]."""
    counts, sums = subset_sums(held, weights)
    num_tasks = held.rows.shape[1]
    pairs = (held.rows[:, :, None] * held.rows[:, None, :]).reshape(len(held.rows), -1)
    total = counts.sum(axis=1)
    out = np.full((len(penalties), len(weights), num_tasks), np.nan)
    usable = np.flatnonzero(total > 0)
    for some in np.array_split(usable, max(1, len(usable) // 100)):
        size = total[some, None]
        centre, level = counts[some] @ held.rows / size, sums[some].sum(axis=1, keepdims=True) / size
        gram = (counts[some] @ pairs).reshape(len(some), num_tasks, num_tasks)
        gram = gram - size[:, :, None] * centre[:, :, None] * centre[:, None, :]
        right = sums[some] @ held.rows - size * level * centre
        for number, penalty in enumerate(penalties):
            out[number, some] = np.linalg.solve(gram + penalty * np.eye(num_tasks), right[:, :, None])[:, :, 0]
    return out


def choose_penalty(held: Membership) -> tuple[float, float, float]:
    """(penalty, held-out error, error of predicting nothing), leaving out one cluster at a time."""
    numbers = np.unique(held.clusters)
    cluster_of = held.clusters[held.subset_of]
    errors = np.zeros(len(PENALTIES))
    null = 0.0
    for some in np.array_split(numbers, max(1, len(numbers) // 100)):
        keep = (cluster_of[None, :] != some[:, None]) * held.weights
        counts, sums = subset_sums(held, keep)
        size = counts.sum(axis=1, keepdims=True)
        level, centre = sums.sum(axis=1, keepdims=True) / size, counts @ held.rows / size
        outside = held.weights - keep
        null += float((outside * (held.values - level) ** 2).sum())
        for number, coefficients in enumerate(ridge(held, keep, PENALTIES)):
            fitted = level + coefficients @ held.rows.T - (coefficients * centre).sum(axis=1, keepdims=True)
            errors[number] += float((outside * (held.values - fitted[:, held.subset_of]) ** 2).sum())
    total = float(held.weights.sum())
    best = int(np.argmin(errors))
    return PENALTIES[best], float(np.sqrt(errors[best] / total)), float(np.sqrt(null / total))
