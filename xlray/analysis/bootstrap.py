"""The crossed bootstrap, for what has no interval in closed form: curves, regressions, rank correlations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from xlray.analysis.points import Array, Estimate, Point, Sampling, too_few

NO_SPREAD = "all draws are alike"
SAME = 1e-9  # between numbers that differ by rounding alone
MAX_THREADS = 4  # each holds draws of its own
Item = TypeVar("Item")
Made = TypeVar("Made")


def in_threads(function: Callable[[Item], Made], items: Iterable[Item]) -> tuple[Made, ...]:
    """What the function makes of each item, in their order; for work in large arrays, which numpy does side by side."""
    with ThreadPoolExecutor(MAX_THREADS) as pool:
        return tuple(pool.map(function, items))


@dataclass(frozen=True)
class Resample:
    """Crossed bootstrap draws of some points: how often each subset or chain, and each seed, is in each draw.

    A point is in a draw as often as both together, `clusters[:, cluster_of] * seeds[:, seed_of]`. That product is as large
    as draws times points, so sums are made without it.

    Attributes:
        clusters: [draws, clusters] multiplicity.
        seeds: [draws, seeds] multiplicity.
        cluster_of: [points] column of the point's subset or chain.
        seed_of: [points] column of the point's seed.
    """

    clusters: Array
    seeds: Array
    cluster_of: NDArray[np.int64]
    seed_of: NDArray[np.int64]

    def counts(self, some: slice = slice(None)) -> Array:
        """[draws, points] how often each point is in some of the draws."""
        return np.asarray(self.clusters[some][:, self.cluster_of] * self.seeds[some][:, self.seed_of])

    def sums(self, values: Array, groups: NDArray[np.int64], fixed: Collection[int] = ()) -> Array:
        """[draws, groups] sum of the points' values in each draw.

        Args:
            values: [points].
            groups: [points] number of the point's group, 0 to the largest without a gap.
            fixed: groups whose subsets are taken as they are, so that only seeds are drawn.
        """
        num_clusters = self.clusters.shape[1]
        lines, line_of = np.unique(groups * num_clusters + self.cluster_of, return_inverse=True)
        table = np.zeros((self.seeds.shape[1], len(lines)))
        np.add.at(table, (self.seed_of, line_of), values)
        found = self.seeds @ table
        group_of, cluster_of = np.divmod(lines, num_clusters)
        drawn = np.flatnonzero(~np.isin(group_of, list(fixed)))
        found[:, drawn] *= self.clusters[:, cluster_of[drawn]]
        starts = np.flatnonzero(np.diff(group_of, prepend=-1))
        return np.asarray(np.add.reduceat(found, starts, axis=1), dtype=np.float64)


def resample(points: Sequence[Point], sampling: Sampling, pooled: bool = False) -> Resample:
    """One crossed draw per row: seeds among all seeds, subsets (or chains) among those they share cells with.

    The same draw serves all cells and outcomes (the pigeonhole bootstrap: Owen 2007).

    Args:
        points: of one rung.
        sampling: number and seed of the draws.
        pooled: draw subsets among all, for numbers that are not made cell by cell.
    """
    generator = np.random.default_rng(sampling.seed)
    clusters = sorted({point.cluster for point in points})
    columns = {cluster: number for number, cluster in enumerate(clusters)}
    counts = np.zeros((sampling.num_draws, len(clusters)))
    for group in [clusters] if pooled else _linked_clusters(points):
        share = np.full(len(group), 1 / len(group))
        counts[:, [columns[c] for c in group]] = generator.multinomial(len(group), share, sampling.num_draws)
    seeds = sorted({point.seed for point in points})
    places = {seed: number for number, seed in enumerate(seeds)}
    seed_counts = generator.multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), sampling.num_draws)
    cluster_of = np.array([columns[point.cluster] for point in points], dtype=np.int64)
    seed_of = np.array([places[point.seed] for point in points], dtype=np.int64)
    return Resample(counts, seed_counts.astype(np.float64), cluster_of, seed_of)


def _linked_clusters(points: Sequence[Point]) -> list[list[str]]:
    """Clusters joined through the cells they share: chains fill the same cells and must be drawn together."""
    members: dict[str, set[str]] = {}
    for point in points:
        members.setdefault(point.cell, set()).add(point.cluster)
    groups: list[set[str]] = []
    for _, merged in sorted(members.items()):
        apart = [group for group in groups if not group & merged]
        groups = [*apart, merged.union(*(group for group in groups if group & merged))]
    return [sorted(group) for group in groups]


def percentile_estimate(name: str, value: float, draws: Array, points: Sequence[Point], sampling: Sampling) -> Estimate:
    """An estimate with the percentile interval of `draws`; none of too few seeds or subsets, or of draws that are all alike."""
    usable = draws[np.isfinite(draws)]
    num_seeds = len({point.seed for point in points})
    num_subsets = len({point.tasks for point in points if point.tasks} or {()})
    missing = too_few(num_seeds, num_subsets) or ("" if len(usable) and np.ptp(usable) > SAME else NO_SPREAD)
    low = high = None
    if not missing:
        tail = (1 - sampling.level) / 2
        low, high = (float(bound) for bound in np.quantile(usable, (tail, 1 - tail)))
    return Estimate(
        name=name,
        value=value,
        low=low,
        high=high,
        level=sampling.level,
        num_seeds=num_seeds,
        num_subsets=num_subsets,
        rung=max(point.rung for point in points),
        num_trials=len({point.trial_id for point in points}),
        standard_error=None if missing else float(usable.std(ddof=1)),
        missing=missing,
    )
