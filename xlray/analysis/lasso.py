"""What each task adds, by LASSO regression on membership: most tasks get exactly 0 (Tibshirani 1996)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlray.analysis.bootstrap import resample
from xlray.analysis.points import Array, Estimate, Point, Sampling, scored
from xlray.analysis.regression import (
    MIN_SUBSETS,
    Membership,
    coefficient_estimates,
    folds,
    membership,
    normal_equations,
    subset_sums,
)

NUM_PENALTIES = 9
SMALLEST = 1e-2  # of the penalties, as a share of the one at which every task gets 0
MAX_SWEEPS = 500
TOLERANCE = 1e-4  # points: a sweep over the tasks that changes no coefficient by more ends the fit


@dataclass(frozen=True)
class SparseContributions:
    """LASSO regression of a score on membership, within seeds.

    Attributes:
        estimates: named `lasso/<outcome>/<task>`: points that a trial with the task has more than one without it, other
            tasks equal; shrunk to 0, and exactly 0 where the data do not ask for the task.
        chosen: task to the share of bootstrap draws in which it is not 0 (Meinshausen and Buehlmann 2010).
        penalty: chosen by leaving out subsets (or chains).
        held_out_error: root mean squared error on what was left out, in points; of the same parts as the ridge's.
        missing: what is missing where there are no estimates, else "".
    """

    estimates: tuple[Estimate, ...]
    chosen: dict[str, float]
    penalty: float = 0.0
    held_out_error: float = 0.0
    missing: str = ""


def sparse_contributions(points: Sequence[Point], outcome: str, sampling: Sampling) -> SparseContributions:
    """What each intermediate task adds at one rung, where most of them are taken to add nothing.

    Intervals are the estimate and t quantiles times the standard error of the crossed bootstrap, as those of the ridge.
    """
    points = scored(points, outcome)
    subsets = {point.tasks for point in points}
    if len(subsets) < MIN_SUBSETS:
        return SparseContributions((), {}, missing=f"at least {MIN_SUBSETS} different subsets, found {len(subsets)}")
    held = membership(points, outcome)
    penalty, error = _choose_penalty(held)
    counts, sums = subset_sums(held, held.weights)
    value = lasso(held.rows, counts[None], sums[None], (penalty,))[0, 0]
    drawn = resample(points, sampling, pooled=True)
    counts, sums = (drawn.sums(held.weights * part, held.subset_of) for part in (np.ones(len(points)), held.values))
    draws = lasso(held.rows, counts, sums, (penalty,), value)[0]
    draws = draws[np.isfinite(draws).all(axis=1)]
    estimates = coefficient_estimates(f"lasso/{outcome}", points, held, value, draws, sampling)
    shares = (draws != 0).mean(axis=0).tolist()
    return SparseContributions(estimates, dict(zip(held.tasks, shares, strict=True)), penalty, error)


def lasso(rows: Array, counts: Array, sums: Array, penalties: Sequence[float], start: Array | None = None) -> Array:
    """Coefficients [penalties, draws, tasks] with an intercept, by coordinate descent on all draws at once.

    They minimise half the weighted mean of squared errors plus the penalty times the sum of their sizes (Friedman,
    Hastie and Tibshirani 2010). NaN for a draw without any point.

    Args:
        rows: [subsets, tasks] membership.
        counts: [draws, subsets] weight of each subset.
        sums: [draws, subsets] the same times its mean score.
        penalties: falling; each fit starts from the one before.
        start: [tasks] where the first fit starts.
    """
    total = counts.sum(axis=1, keepdims=True)
    usable = np.flatnonzero(total[:, 0] > 0)
    gram, right = normal_equations(rows, counts[usable] / total[usable], sums[usable] / total[usable])
    found = np.full((len(penalties), len(counts), rows.shape[1]), np.nan)
    values = np.zeros(right.shape) if start is None else np.tile(start, (len(usable), 1))
    for number, penalty in enumerate(penalties):
        values = _descend(gram, right, penalty, values)
        found[number, usable] = values
    return found


def _descend(gram: Array, right: Array, penalty: float, start: Array) -> Array:
    """[draws, tasks] from `gram` [draws, tasks, tasks] and `right` [draws, tasks]."""
    values = start.copy()
    slope = right - np.einsum("dij,dj->di", gram, values)
    for _ in range(MAX_SWEEPS):
        largest = 0.0
        for task in range(values.shape[1]):
            size = gram[:, task, task]
            wanted = slope[:, task] + size * values[:, task]
            shrunk = np.sign(wanted) * np.maximum(np.abs(wanted) - penalty, 0.0)
            # A task that is in all subsets of a draw, or in none, is left at 0.
            change = np.divide(shrunk, size, out=np.zeros_like(size), where=size > 1e-12) - values[:, task]
            values[:, task] += change
            slope -= gram[:, task] * change[:, None]
            largest = max(largest, float(np.abs(change).max(initial=0.0)))
        if largest < TOLERANCE:
            break
    return values


def _choose_penalty(held: Membership) -> tuple[float, float]:
    """(penalty, held-out error), by the same parts that are left out for the ridge."""
    counts, sums = subset_sums(held, held.weights)
    means, total = sums / counts, float(counts.sum())
    level = sums.sum() / total
    largest = float(np.abs((sums - counts * level) @ held.rows / total).max(initial=0.0))
    penalties = tuple((largest * np.geomspace(1, SMALLEST, NUM_PENALTIES)).tolist())
    parts = folds(held)
    outside = np.stack([parts == number for number in np.unique(parts)])
    kept, kept_sums = counts * ~outside, sums * ~outside
    size = kept.sum(axis=1, keepdims=True)
    centre, levels = kept @ held.rows / size, kept_sums.sum(axis=1, keepdims=True) / size
    within = float((held.weights * (held.values - means[held.subset_of]) ** 2).sum())
    errors = []
    for values in lasso(held.rows, kept, kept_sums, penalties):
        fitted = levels + values @ held.rows.T - (values * centre).sum(axis=1, keepdims=True)
        errors.append(within + float((outside * counts * (means - fitted) ** 2).sum()))
    best = int(np.argmin(errors))
    return penalties[best], float(np.sqrt(errors[best] / total))
