"""Means and differences over two crossed samples, of subsets (or chains) and of seeds, with intervals in closed form.

A score is modelled as cell + subset + seed + (subset x seed, with all other noise of a trial); subsets and seeds are both
samples. An estimate is a signed sum of cell means. Its variance has three parts that analysis of variance estimates
(Henderson 1953; for two crossed samples Owen 2007), and the t distribution takes its degrees of freedom from all of them
(Satterthwaite 1946). A seed counts in every cell, so what it adds to all of them cancels in a difference, and so does
what a chain adds to two of its prefixes.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from xlray.analysis.distributions import t_beyond, t_quantile
from xlray.analysis.grid import Grid, shares
from xlray.analysis.membership import Additivity, Place, reduced, spread
from xlray.analysis.points import Array

Key = tuple[str, int]  # a cluster, and the cell if it is the only one there
Part = tuple[Array, float | Array]  # a variance, and its degrees of freedom


@dataclass(frozen=True)
class ItemPart:
    """What the sample of evaluated items does to the variance of a sum of cell means, in squared points.

    Attributes:
        added: [...] beyond the noise of single trials, which the spread over trials holds already.
        least: [...] with that noise: the sum cannot be known better.
    """

    added: float | Array = 0.0
    least: float | Array = 0.0


NO_ITEMS = ItemPart()


@dataclass(frozen=True)
class Contrasts:
    """A signed sum of cell means, and how far it may be off, for each of several scores of the same trials.

    Attributes:
        value: [...] in points.
        standard_error: [...]; None where a single seed leaves nothing to judge it by.
        degrees_of_freedom: [...] of its t distribution; infinite where nothing varies.
        num_seeds: seeds that all cells have.
        num_trials: trials of all cells with these seeds.
        num_subsets: the fewest different subsets of any cell that is not the empty one.
        num_sampled: the same of the cells that have several, so that they are a sample; 1 if none has.
    """

    value: Array
    standard_error: Array | None
    degrees_of_freedom: Array
    num_seeds: int
    num_trials: int
    num_subsets: int
    num_sampled: int

    def interval(self, level: float) -> tuple[Array, Array] | None:
        """Two-sided t intervals; None without a standard error."""
        if self.standard_error is None:
            return None
        half = t_quantile((1 + level) / 2, self.degrees_of_freedom) * self.standard_error
        return self.value - half, self.value + half

    def p_value(self) -> Array | None:
        """Two-sided, against 0."""
        if self.standard_error is None:
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            p_value = 2 * t_beyond(np.abs(self.value) / self.standard_error, self.degrees_of_freedom)
        return np.where(self.standard_error == 0, np.float64(self.value == 0), p_value)


def contrast(
    parts: Sequence[tuple[float | Array, Grid]],
    items: ItemPart = NO_ITEMS,
    seed_prior: SeedPrior | None = None,
    shared: Additivity | None = None,
) -> Contrasts | None:
    """The sum of coefficient x cell mean over the seeds that all cells have; None if there is no such seed.

    A cell with a single subset is taken as it is: the statement is about these tasks.

    Args:
        parts: coefficient and cell; coefficients [...] give as many sums at once.
        items: what the sample of evaluated items adds, and the least that it allows.
        seed_prior: what all cells of the rung say of a seed in one cell; for differences, where only that part counts.
        shared: what they say of the additive share of the variance of subsets; coefficients are numbers then.
    """
    common = sorted(set.intersection(*(set(grid.seeds) for _, grid in parts)))
    if not common:
        return None
    cells = [(coefficient, grid.only(common)) for coefficient, grid in parts]
    weighted = any(grid.weighted for _, grid in cells)
    value: Array = np.zeros(np.broadcast_shapes(np.shape(parts[0][0]), cells[0][1].values.shape[:-2]))
    signed, places = list[Array](), dict[Key, list[Place]]()
    for number, (coefficient, grid) in enumerate(cells):
        mean, share = shares(grid)
        value = value + coefficient * mean
        signed.append(np.moveaxis(np.asarray(coefficient)[..., None, None] * share, -2, 0))
        for row, cluster in enumerate(grid.clusters):
            places.setdefault((cluster, -1 if len(grid.clusters) > 1 else number), []).append((number, row))
    error, freedom = None, np.zeros(value.shape)
    if len(common) > 1:
        groups: dict[tuple[int, ...], list[list[Place]]] = {}
        for found_at in places.values():
            groups.setdefault(tuple(number for number, _ in found_at), []).append(found_at)
        num_missing = 0 if weighted else sum(grid.num_missing for _, grid in cells)
        floor = np.zeros(value.shape) + _noise_of_single(cells, seed_prior)
        found = _parts([_lines(signed, group) for group in groups.values()], num_missing)
        if seed_prior is not None:
            found = _shrink(found, cells, floor, seed_prior)
        if shared is not None and not weighted:
            found = _reduce(found, cells, [*groups.values()], shared)
        variance, freedom = _combine(found, floor, weighted)
        whole = np.maximum(variance + items.added, items.least)
        error = np.sqrt(whole)
        # Items are many, so their part adds variance and no doubt about it.
        freedom = freedom * np.divide(whole, variance, out=np.ones(value.shape), where=variance > 0) ** 2
    num_trials = sum(grid.num_trials for _, grid in cells)
    drawn = [grid.num_subsets for _, grid in cells if not grid.is_control]
    sampled = min((number for number in drawn if number > 1), default=1)
    return Contrasts(value, error, freedom, len(common), num_trials, min(drawn, default=1), sampled)


def _lines(signed: Sequence[Array], group: Sequence[Sequence[Place]]) -> Array:
    """[clusters, ..., seeds] what the clusters of a group add up to over the cells that they stand in."""
    parts = [_rows(signed[places[0][0]], [row for _, row in places]) for places in zip(*group, strict=True)]
    return functools.reduce(np.add, parts)


def _rows(values: Array, rows: list[int]) -> Array:
    """Some rows of values; all of them without a copy, which costs as much as the sums made of them."""
    return values if rows == [*range(len(values))] else np.take(values, rows, axis=0)


def trial_variance(grids: Sequence[Grid]) -> tuple[Array, int]:
    """(noise of a single trial in squared points, its degrees of freedom): what cell, subset and seed leave, pooled."""
    squares: Array = np.zeros(grids[0].values.shape[:-2])
    freedom = 0
    for grid in grids:
        num_clusters, num_seeds = grid.values.shape[-2:]
        if min(num_clusters, num_seeds) > 1:
            values = grid.filled
            rest = values - values.mean(axis=-2, keepdims=True)
            squares = squares + ((rest - rest.mean(axis=-1, keepdims=True)) ** 2).sum(axis=(-2, -1))
            freedom += max((num_clusters - 1) * (num_seeds - 1) - grid.num_missing, 0)
    return (squares / freedom, freedom) if freedom else (np.zeros(squares.shape), 1)


@dataclass(frozen=True)
class SeedPrior:
    """The variance of a seed in one cell, pooled over cells, and how much a difference leans on it.

    Attributes:
        variance: [...] squared points, what a seed adds to all cells alike taken off.
        noise: [...] of a single trial, pooled over the cells, squared points.
        freedom: [...] degrees of freedom that the difference's own estimate is joined by.
        control: [...] multiple of both in the control; None if no control is compared.
    """

    variance: Array
    noise: Array
    freedom: float | Array
    control: Array | None = None


def seed_variance(grids: Sequence[Grid]) -> tuple[Array, Array]:
    """([...] variance of a seed in one cell, [cells, ...] what the noise of trials adds to the mean of one seed).

    From cells with the same seeds: the mean square of cell x seed, less the noise of trials that it holds. That of a cell
    with one subset is taken from the others.
    """
    num_seeds = len(grids[0].seeds)
    pooled, _ = trial_variance(grids)
    lines, noise = [], []
    for grid in grids:
        _, share = shares(grid)
        lines.append(share.sum(axis=-2))
        size = share.shape[-2]
        if size == 1:
            noise.append(pooled)
            continue
        rest = share - share.mean(axis=-2, keepdims=True)
        rest = rest - rest.mean(axis=-1, keepdims=True)
        missing = 0 if grid.weighted else grid.num_missing
        noise.append(size * (rest**2).sum(axis=(-2, -1)) / max((size - 1) * (num_seeds - 1) - missing, 1))
    rest = np.array(lines)
    rest = rest - rest.mean(axis=0)
    rest = rest - rest.mean(axis=-1, keepdims=True)
    square = (rest**2).sum(axis=(0, -1)) / ((len(grids) - 1) * (num_seeds - 1))
    return np.maximum(square - np.mean(noise, axis=0), 0.0), np.array(noise)


def _shrink(parts: _Parts, cells: Sequence[tuple[float | Array, Grid]], floor: Array, prior: SeedPrior) -> _Parts:
    """The seeds' mean square joined by what the prior expects it to be (as Smyth 2004 moderates variances).

    Where the control is compared, the prior weighs less if it makes so large a mean square unlikely (as Phipson et al. 2016
    have it for outliers). Against a constant control the mean square stands alone: what a seed adds to all other cells does
    not cancel there.
    """
    own, freedom = parts.seeds
    scale = sum(coefficient**2 * _louder(grid, prior) for coefficient, grid in cells) / len(cells[0][1].seeds)
    expected = scale * prior.variance + sum((part for part, _ in parts.noise), floor)
    weight = np.zeros(own.shape) + prior.freedom
    if prior.control is not None:
        ratio = np.divide(own, expected, out=np.ones(own.shape), where=expected > 0)
        weight = weight * np.minimum(2 * special.chdtrc(freedom, freedom * ratio), 1.0)
    weight = np.where(np.any([grid.is_constant for _, grid in cells], axis=0), 0.0, weight)
    return replace(parts, seeds=((freedom * own + weight * expected) / (freedom + weight), freedom + weight))


def _louder(grid: Grid, prior: SeedPrior) -> float | Array:
    return prior.control if grid.is_control and prior.control is not None else 1.0


def _reduce(
    parts: _Parts,
    cells: Sequence[tuple[float | Array, Grid]],
    groups: Sequence[Sequence[Sequence[Place]]],
    shared: Additivity,
) -> _Parts:
    """The same with what tasks that subsets share take off the variance between them."""
    drawn = [(coefficient, grid.held if len(grid.clusters) > 1 else None) for coefficient, grid in cells]
    reduction, doubt = reduced(spread(drawn, groups, shared.size), shared)
    return replace(parts, reduction=reduction, doubt=doubt)


def _noise_of_single(cells: Sequence[tuple[float | Array, Grid]], prior: SeedPrior | None) -> float | Array:
    """Variance that the noise of trials gives the sum through cells with one subset, as it is in the other cells."""
    noise = trial_variance([grid for _, grid in cells])[0] if prior is None else prior.noise
    single = [(c, grid) for c, grid in cells if len(grid.clusters) == 1]
    louder = [c**2 * (1.0 if prior is None else _louder(grid, prior)) * ~grid.is_constant for c, grid in single]
    return sum(louder) * noise / len(cells[0][1].seeds)


@dataclass(frozen=True)
class _Parts:
    """Mean squares as variances of the estimate, and degrees of freedom: seeds; clusters by group; noise by group.

    `reduction` says what part of the variance between clusters counts, and `doubt` its relative variance.
    """

    seeds: Part
    clusters: tuple[Part, ...]
    noise: tuple[Part, ...]
    reduction: float | Array = 1.0
    doubt: float | Array = 0.0


def _parts(groups: Sequence[Array], num_missing: int) -> _Parts:
    """From the lines [clusters, ..., seeds] of each group of exchangeable clusters: those that stand in the same cells."""
    num_seeds = groups[0].shape[-1]
    total = np.sum([group.sum(axis=0) for group in groups], axis=0)
    clusters, noise = [], []
    for group in groups:
        size = len(group)
        if size < 2:
            continue
        rest = group - group.mean(axis=0)
        means = rest.mean(axis=-1, keepdims=True)
        freedom = max((size - 1) * (num_seeds - 1) - num_missing, 1)
        clusters.append((size / (size - 1) * (means[..., 0] ** 2).sum(axis=0), size - 1))
        noise.append((size * ((rest - means) ** 2).sum(axis=(0, -1)) / (freedom * num_seeds), freedom))
    return _Parts((total.var(axis=-1, ddof=1) / num_seeds, num_seeds - 1), tuple(clusters), tuple(noise))


def _combine(parts: _Parts, floor: Array, weighted: bool) -> tuple[Array, Array]:
    """(variance, degrees of freedom) of the estimate.

    The mean squares of clusters and of seeds both hold the noise of trials, which counts once; the sum is never below that
    noise. A mean square of seeds below it is the luck of small samples: it takes no degrees of freedom, unless trials are
    weighted, where noise is not the same in all of them, or a cell with one subset is in the sum, whose seeds alone show it.
    """
    seeds = parts.seeds[0]
    none: Array = np.zeros(seeds.shape)
    clusters, noise = (sum((part for part, _ in found), none) for found in (parts.clusters, parts.noise))
    held = noise + floor
    between = parts.reduction * (clusters - noise)
    variance = np.maximum(between + seeds, held)
    counted = np.where(weighted | (floor > 0) | (seeds > held), seeds, 0.0)
    lowered = [(parts.reduction * part, freedom) for part, freedom in parts.clusters]
    terms = [*lowered, (counted, parts.seeds[1]), *(parts.noise if weighted else ())]
    empty = np.all([part <= 0 for part, _ in terms], axis=0)
    terms += [(np.where(empty, part, 0.0), freedom) for part, freedom in parts.noise]
    lost = sum((part**2 / freedom for part, freedom in terms), parts.doubt * np.maximum(between, 0.0) ** 2 / 2)
    fewest = np.min([np.where(part > 0, freedom, np.inf) for part, freedom in terms], axis=0)
    satterthwaite = np.divide(variance**2, lost, out=np.full(seeds.shape, np.inf), where=lost > 0)
    return variance, np.where(variance > 0, np.maximum(satterthwaite, fewest), np.inf)
