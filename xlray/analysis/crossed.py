"""Means and differences over two crossed samples, of subsets (or chains) and of seeds, with intervals in closed form.

A score is modelled as cell + subset + seed + (subset x seed, with all other noise of a trial); subsets and seeds are both
samples. An estimate is a signed sum of cell means. Its variance has three parts that analysis of variance estimates
(Henderson 1953; for two crossed samples Owen 2007), and the t distribution takes its degrees of freedom from all of them
(Satterthwaite 1946). A seed counts in every cell, so what it adds to all of them cancels in a difference, and so does
what a chain adds to two of its prefixes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from xlray.analysis.points import Array, Point, values_of, weights_of

Key = tuple[str, int]  # a cluster, and the cell if it is the only one there


@dataclass(frozen=True)
class Grid:
    """The trials of one cell at one rung.

    Attributes:
        clusters: names of its subsets or chains.
        seeds: in ascending order.
        values: [clusters, seeds] percent; NaN where there is no trial.
        weights: [clusters, seeds] inverse probabilities of having got there; 0 where there is no trial.
        num_subsets: different subsets of tasks.
    """

    clusters: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Array
    weights: Array
    num_subsets: int

    def only(self, seeds: Sequence[int]) -> Grid:
        """The same with some of its seeds; clusters that have none of them are left out."""
        columns = [self.seeds.index(seed) for seed in seeds]
        rows = np.flatnonzero(np.isfinite(self.values[:, columns]).any(axis=1)).tolist()
        kept = tuple(self.clusters[row] for row in rows)
        num_subsets = min(self.num_subsets, len(kept))
        values, weights = self.values[rows][:, columns], self.weights[rows][:, columns]
        return Grid(kept, tuple(seeds), values, weights, num_subsets)

    @property
    def num_trials(self) -> int:
        return int(np.isfinite(self.values).sum())

    @property
    def weighted(self) -> bool:
        """Whether trials were stopped, so that those that are left stand for others."""
        return bool(np.any(self.weights[np.isfinite(self.values)] != 1))


def make_grid(points: Sequence[Point], outcome: str) -> Grid:
    """The grid of one cell; every point has a finite outcome."""
    clusters = tuple(sorted({point.cluster for point in points}))
    seeds = tuple(sorted({point.seed for point in points}))
    rows = {cluster: row for row, cluster in enumerate(clusters)}
    columns = {seed: column for column, seed in enumerate(seeds)}
    place = ([rows[p.cluster] for p in points], [columns[p.seed] for p in points])
    values = np.full((len(clusters), len(seeds)), np.nan)
    weights = np.zeros(values.shape)
    # Subsets of one chain and one size that differ in source are different cells, so no place is taken twice.
    values[place], weights[place] = values_of(points, outcome), weights_of(points)
    return Grid(clusters, seeds, values, weights, len({point.tasks for point in points}))


def fill(values: Array) -> Array:
    """Missing trials as the additive fit of subset and seed has them (Yates 1933); rows and columns have a trial each."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    filled = np.where(missing, np.nanmean(values), values)
    for _ in range(500):
        fit = filled.mean(axis=1, keepdims=True) + filled.mean(axis=0, keepdims=True) - filled.mean()
        change = float(np.abs(np.where(missing, fit - filled, 0.0)).max())
        filled = np.where(missing, fit, filled)
        if change < 1e-10:
            break
    return filled


def shares(grid: Grid) -> tuple[float, Array]:
    """(mean of a cell, [clusters, seeds] shares in it): the mean over seeds of the sum over clusters of the shares.

    Without weights missing trials are filled. With weights (trials were stopped with known probabilities) the mean is
    Hajek's, and the shares are its linear expansion, in which a trial that was stopped has none of its own.
    """
    if not grid.weighted:
        values = fill(grid.values)
        return float(values.mean()), values / len(values)
    total = grid.weights.sum()
    values = np.where(np.isfinite(grid.values), grid.values, 0.0)
    mean = float((grid.weights * values).sum() / total)
    num_clusters, num_seeds = values.shape
    return mean, num_seeds * grid.weights * (values - mean) / total + mean / num_clusters


@dataclass(frozen=True)
class Contrast:
    """A signed sum of cell means, and how far it may be off.

    Attributes:
        value: in points.
        standard_error: None where a single seed leaves nothing to judge it by.
        degrees_of_freedom: of its t distribution; infinite where nothing varies.
        num_seeds: seeds that all cells have.
        num_trials: trials of all cells with these seeds.
        num_subsets: the fewest different subsets of any cell that is not the empty one.
    """

    value: float
    standard_error: float | None
    degrees_of_freedom: float
    num_seeds: int
    num_trials: int
    num_subsets: int

    def interval(self, level: float) -> tuple[float, float] | None:
        """Two-sided t interval; None without a standard error."""
        if self.standard_error is None:
            return None
        half = float(stats.t.ppf((1 + level) / 2, self.degrees_of_freedom)) * self.standard_error
        return self.value - half, self.value + half

    def p_value(self) -> float | None:
        """Two-sided, against 0."""
        if self.standard_error is None:
            return None
        if self.standard_error == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.standard_error, self.degrees_of_freedom))


def contrast(parts: Sequence[tuple[float, Grid]], item_variance: float = 0.0) -> Contrast | None:
    """The sum of coefficient x cell mean over the seeds that all cells have; None if there is no such seed.

    A cell with a single subset is taken as it is: the statement is about these tasks.

    Args:
        parts: coefficient and cell.
        item_variance: variance of the sum through the sample of evaluated items, squared points.
    """
    common = sorted(set.intersection(*(set(grid.seeds) for _, grid in parts)))
    if not common:
        return None
    cells = [(coefficient, grid.only(common)) for coefficient, grid in parts]
    weighted = any(grid.weighted for _, grid in cells)
    value, lines, holders = 0.0, dict[Key, Array](), dict[Key, list[int]]()
    for number, (coefficient, grid) in enumerate(cells):
        mean, share = shares(grid)
        value += coefficient * mean
        for cluster, line in zip(grid.clusters, coefficient * share, strict=True):
            key = (cluster, -1 if len(grid.clusters) > 1 else number)
            lines[key] = lines.get(key, np.zeros(len(common))) + line
            holders.setdefault(key, []).append(number)
    groups: dict[tuple[int, ...], list[Array]] = {}
    for key, line in lines.items():
        groups.setdefault(tuple(holders[key]), []).append(line)
    floor, freedom_of_floor = (0.0, 1) if weighted else _noise_of_single(cells, len(common))
    num_missing = 0 if weighted else sum(int(np.isnan(grid.values).sum()) for _, grid in cells)
    error, freedom = None, 0.0
    if len(common) > 1:
        parts_of = _parts([np.array(group) for group in groups.values()], num_missing)
        variance, freedom = _combine(parts_of, floor, freedom_of_floor, weighted)
        error = math.sqrt(variance + item_variance)
        # Items are many, so their part adds variance and no doubt about it.
        freedom = freedom * ((variance + item_variance) / variance) ** 2 if variance > 0 else math.inf
    num_trials = sum(grid.num_trials for _, grid in cells)
    drawn = [grid.num_subsets for _, grid in cells if grid.clusters != ("",)]
    return Contrast(value, error, freedom, len(common), num_trials, min(drawn, default=1))


def trial_variance(grids: Sequence[Grid]) -> tuple[float, int]:
    """(noise of a single trial in squared points, its degrees of freedom): what cell, subset and seed leave, pooled."""
    squares, freedom = 0.0, 0
    for grid in grids:
        if min(grid.values.shape) > 1:
            values = fill(grid.values)
            rest = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
            squares += float((rest**2).sum())
            freedom += max((values.shape[0] - 1) * (values.shape[1] - 1) - int(np.isnan(grid.values).sum()), 0)
    return (squares / freedom, freedom) if freedom else (0.0, 1)


def _noise_of_single(cells: Sequence[tuple[float, Grid]], num_seeds: int) -> tuple[float, int]:
    """Variance that the noise of trials gives the sum through cells with one subset, as that of the other cells is."""
    noise, freedom = trial_variance([grid for _, grid in cells])
    return sum(c**2 for c, grid in cells if len(grid.clusters) == 1) * noise / num_seeds, freedom


@dataclass(frozen=True)
class _Parts:
    """Mean squares as variances of the estimate, and degrees of freedom: seeds; clusters by group; noise by group."""

    seeds: tuple[float, int]
    clusters: tuple[tuple[float, int], ...]
    noise: tuple[tuple[float, int], ...]


def _parts(groups: Sequence[Array], num_missing: int) -> _Parts:
    """From the lines [clusters, seeds] of each group of exchangeable clusters: those that stand in the same cells."""
    num_seeds = groups[0].shape[1]
    total = np.sum([group.sum(axis=0) for group in groups], axis=0)
    clusters, noise = [], []
    for group in groups:
        size = len(group)
        if size < 2:
            continue
        rest = group - group.mean(axis=0)
        means = rest.mean(axis=1)
        freedom = max((size - 1) * (num_seeds - 1) - num_missing, 1)
        clusters.append((size / (size - 1) * float((means**2).sum()), size - 1))
        noise.append((size * float(((rest - means[:, None]) ** 2).sum()) / (freedom * num_seeds), freedom))
    return _Parts((float(total.var(ddof=1)) / num_seeds, num_seeds - 1), tuple(clusters), tuple(noise))


def _combine(parts: _Parts, floor: float, freedom_of_floor: int, weighted: bool) -> tuple[float, float]:
    """(variance, degrees of freedom) of the estimate.

    The mean squares of clusters and of seeds both hold the noise of trials, which counts once. A mean square below that
    noise is the luck of small samples: it adds nothing, and takes no degrees of freedom either, unless trials are
    weighted, where noise is not the same in all of them.
    """
    clusters, noise = sum(part for part, _ in parts.clusters), sum(part for part, _ in parts.noise)
    seeds, held = parts.seeds[0], noise + floor
    variance = floor + noise + max(clusters - noise, 0.0) + max(seeds - held, 0.0)
    if variance <= 0:
        return 0.0, math.inf
    terms = [*parts.clusters, (floor, freedom_of_floor)]
    if weighted or seeds > held:
        terms.append(parts.seeds)
    if weighted:
        terms += parts.noise
    terms = [term for term in terms if term[0] > 0] or list(parts.noise)
    satterthwaite = variance**2 / sum(part**2 / freedom for part, freedom in terms)
    return variance, max(satterthwaite, min(freedom for _, freedom in terms))
