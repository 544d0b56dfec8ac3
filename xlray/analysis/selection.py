"""What it costs to choose without labels in the target language, and whether one order of the trials stands for another."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlray.analysis.bootstrap import SAME, Resample, in_threads, percentile_estimate, resample
from xlray.analysis.distributions import t_quantile
from xlray.analysis.effects import target_names
from xlray.analysis.points import (
    ENGLISH,
    Array,
    Estimate,
    Point,
    Sampling,
    estimable,
    headline_of,
    too_few,
    values_of,
    without_controls,
)

CHUNK = 2**15  # draws times points at a time: what stays in the cache of a core
MIN_TRIALS = 4  # trials below which a rank correlation says nothing
ENGLISH_DEV, PIVOT_DEV = "english-dev", "pivot-dev"


def selection_scores(point: Point) -> dict[str, float]:
    """What one without labels in the target languages could choose by: means over targets of English and of pivots' dev."""
    english, pivots = _other_languages(tuple(point.scores), point.languages)
    means = [math.fsum(point.scores[name] for name in names) / len(names) for names in pivots]
    found = {ENGLISH_DEV: [point.scores[name] for name in english], PIVOT_DEV: means}
    return {name: math.fsum(values) / len(values) for name, values in found.items() if values}


@functools.lru_cache(maxsize=64)  # the trials of a sweep have the same few
def _other_languages(
    outcomes: tuple[str, ...], languages: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """(outcomes on English dev, those on pivots' dev of each target), of targets that are scored in the sweep's languages."""
    english: list[str] = []
    pivots: dict[str, list[str]] = {}
    for name in outcomes:
        target, _, language = name.rpartition("@")
        if target in outcomes and language == ENGLISH[1:]:
            english.append(name)
        elif target in outcomes and language not in languages:
            pivots.setdefault(target, []).append(name)
    return tuple(sorted(english)), tuple(tuple(pivots[target]) for target in sorted(pivots))


def selection_gaps(points: Sequence[Point], sampling: Sampling) -> list[Estimate]:
    """Points lost at one rung by choosing a subset by English or pivot dev instead of dev in the target language.

    A subset is chosen by its mean over all seeds but one and scored with the seed left out, so that neither choice is
    flattered by the scores that it was made from. The interval is a t interval over the seeds left out, widened since
    their choices share seeds (Nadeau and Bengio 2003); there is none of fewer than three seeds, or where every seed left
    out gives the same. Controls are no choice. With one seed the choice is scored by the scores that made it.

    Returns:
        estimates named `selection_gap/<english-dev or pivot-dev>`.
    """
    points = without_controls(points)
    table, seeds = _by_subset(points)
    found = []
    for criterion in (ENGLISH_DEV, PIVOT_DEV):
        other, _ = _by_subset(points, criterion)
        kept = [row for row in range(len(table)) if np.isfinite(table[row]).all() and np.isfinite(other[row]).all()]
        if len(kept) < 2:
            continue
        oracle, choice = table[kept], other[kept]
        gaps = np.array([_gap(oracle, choice, column) for column in range(len(seeds))])
        low = high = error = None
        missing = too_few(len(seeds), len(kept)) or ("" if np.ptp(gaps) > SAME else "the same with every seed left out")
        if not missing:
            # Each two choices share all seeds but one, so their mean varies by more than independent ones' would.
            error = float(gaps.std(ddof=1) * math.sqrt(1 / len(seeds) + 1 / (len(seeds) - 1)))
            half = float(t_quantile((1 + sampling.level) / 2, len(seeds) - 1)) * error
            low, high = float(gaps.mean()) - half, float(gaps.mean()) + half
        found.append(
            Estimate(
                name=f"selection_gap/{criterion}",
                value=float(gaps.mean()),
                low=low,
                high=high,
                level=sampling.level,
                num_seeds=len(seeds),
                num_subsets=len(kept),
                rung=max(point.rung for point in points),
                num_trials=len(kept) * len(seeds),
                standard_error=error,
                missing=missing,
            )
        )
    return found


def _by_subset(points: Sequence[Point], criterion: str = "") -> tuple[Array, list[int]]:
    """[subsets, seeds] of accuracy, or of what is chosen by; NaN where there is no trial."""
    subsets = {tasks: row for row, tasks in enumerate(sorted({point.tasks for point in points}))}
    seeds = sorted({point.seed for point in points})
    places = {seed: column for column, seed in enumerate(seeds)}
    table = np.full((len(subsets), len(seeds)), np.nan)
    for point in points:
        score = selection_scores(point).get(criterion, math.nan) if criterion else point.accuracy
        table[subsets[point.tasks], places[point.seed]] = score
    return table, seeds


def _gap(oracle: Array, choice: Array, left_out: int) -> float:
    rest = np.arange(oracle.shape[1]) != left_out if oracle.shape[1] > 1 else np.ones(1, dtype=bool)
    best = int(np.argmax(oracle[:, rest].mean(axis=1)))
    chosen = int(np.argmax(choice[:, rest].mean(axis=1)))
    return float(oracle[best, left_out] - oracle[chosen, left_out])


def rank_correlations(points: Sequence[Point], outcome: str, sampling: Sampling) -> list[Estimate]:
    """Spearman correlation of the trials' order at two rungs, over trials that no score kept from the later one."""
    estimates = []
    rungs = sorted({point.rung_index for point in points})
    for early, late in itertools.combinations(rungs, 2):
        before = {p.trial_id: p for p in points if p.rung_index == early}
        after = [point for point in estimable(points, late) if point.trial_id in before]
        first, second = values_of([before[p.trial_id] for p in after], outcome), values_of(after, outcome)
        if after:
            name = f"rank_correlation/{outcome}/{before[after[-1].trial_id].rung} - {after[-1].rung}"
            estimates += _correlation(name, after, first, second, sampling)
    return estimates


def selection_correlations(points: Sequence[Point], sampling: Sampling) -> list[Estimate]:
    """Spearman correlation at one rung of accuracy with what one without labels in the language would choose by."""
    found, headline = [], headline_of(points)
    for criterion in (ENGLISH_DEV, PIVOT_DEV):
        chosen_by = [selection_scores(point).get(criterion) for point in points]
        usable = [point for point, score in zip(points, chosen_by, strict=True) if score is not None]
        first = np.array([score for score in chosen_by if score is not None])
        name = f"rank_correlation/{criterion}/{headline}"
        found += _correlation(name, usable, first, values_of(usable, headline), sampling)
    return found


def dev_test_correlations(
    points: Sequence[Point], test_scores: Mapping[str, Mapping[str, float]], sampling: Sampling
) -> list[Estimate]:
    """Spearman correlation of dev and test at one rung, when the test data were opened.

    Args:
        points: of one rung.
        test_scores: trial to outcome (the mean, targets) to percent on test, at that rung.
        sampling: draws and level.
    """
    found = []
    for outcome in (headline_of(points), *target_names(points)):
        usable = [point for point in points if outcome in test_scores.get(point.trial_id, {})]
        test = np.array([test_scores[point.trial_id][outcome] for point in usable])
        found += _correlation(
            f"rank_correlation/dev - test/{outcome}", usable, values_of(usable, outcome), test, sampling
        )
    return found


def _correlation(name: str, points: Sequence[Point], first: Array, second: Array, sampling: Sampling) -> list[Estimate]:
    if len(points) < MIN_TRIALS or np.ptp(first) == 0 or np.ptp(second) == 0:
        return []
    from scipy import stats  # a second, for reports alone

    value = float(stats.spearmanr(first, second).statistic)
    draws = _drawn(resample(points, sampling, pooled=True), first, second)
    return [percentile_estimate(name, value, draws, points, sampling)]


def _drawn(drawn: Resample, first: Array, second: Array) -> Array:
    """[draws] correlations, some at a time, so that the memory does not grow with draws times points."""
    size = max(1, CHUNK // len(first))
    starts = range(0, len(drawn.seeds), size)
    orders = order_of(first), order_of(second)
    return np.concatenate(in_threads(lambda s: weighted_spearman(drawn.counts(slice(s, s + size)), *orders), starts))


@dataclass(frozen=True)
class Order:
    """An order of points.

    Attributes:
        points: [points] of the smallest value first.
        places: [points] the number of each one's value among the different values.
        starts: [values] where each value begins in `points`.
    """

    points: NDArray[np.intp]
    places: NDArray[np.intp]
    starts: NDArray[np.intp]


def order_of(values: Array) -> Order:
    """The order of points by a value."""
    _, places = np.unique(values, return_inverse=True)
    points = np.argsort(places, kind="stable")
    return Order(points, places, np.flatnonzero(np.diff(places[points], prepend=-1)))


def weighted_spearman(weights: Array, first: Order, second: Order) -> Array:
    """Spearman correlation of each draw, where a point that is drawn twice counts as two tied ones."""
    ranks = [_weighted_ranks(weights, order) for order in (first, second)]
    total = np.maximum(weights.sum(axis=1, keepdims=True), 1)
    left, right = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)
    spread = np.sqrt((weights * left**2).sum(axis=1) * (weights * right**2).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 1e-12, (weights * left * right).sum(axis=1) / spread, np.nan))


def _weighted_ranks(weights: Array, order: Order) -> Array:
    tied = np.take(weights, order.points, axis=1)
    if len(order.starts) < len(order.points):
        tied = np.add.reduceat(tied, order.starts, axis=1)
    return np.take(np.cumsum(tied, axis=1) - tied / 2, order.places, axis=1)
