"""The smallest difference that a design is likely to find, before a sweep and after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from xlray.analysis.effects import cell_grids
from xlray.analysis.points import Point
from xlray.errors import require


@dataclass(frozen=True)
class Variances:
    """Where the spread of a score comes from, in squared points, within one cell.

    Attributes:
        subset: between subsets of tasks, over many seeds.
        seed: of a seed within a cell, over many subsets; what a seed adds to all cells alike cancels in a difference
            and does not belong here.
        trial: all other noise of a single trial.
    """

    subset: float
    seed: float
    trial: float

    def __post_init__(self) -> None:
        for name in ("subset", "seed", "trial"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name), "Variances")


ASSUMED = Variances(subset=1.0, seed=0.1, trial=0.5)  # what `xlray plan` states where nothing was measured yet


def minimum_detectable_effect(
    num_subsets: int | tuple[int, int],
    num_seeds: int,
    variances: Variances = ASSUMED,
    level: float = 0.95,
    power: float = 0.8,
) -> float | None:
    """The difference between two cells, in points, that a two-sided test finds with the probability `power`.

    Each cell has subsets of its own and both have the same seeds. Of a cell with one subset the statement is about these
    tasks, and their spread does not enter. The test is the t test of `crossed.contrast`, whose degrees of freedom are
    Satterthwaite's; power is that of the noncentral t distribution.

    Args:
        num_subsets: subsets or chains in each cell, or in the one and the other.
        num_seeds: seeds in each cell.
        variances: of a score within a cell.
        level: of the interval that must leave out 0.
        power: probability of finding the difference.

    Returns:
        points; None with one seed, which gives no interval.

    Raises:
        InputError: for a count below 1, or a level or power outside 0 to 1.
    """
    where = "minimum_detectable_effect"
    sizes = num_subsets if isinstance(num_subsets, tuple) else (num_subsets, num_subsets)
    require(min(sizes) >= 1, "num_subsets >= 1", num_subsets, where)
    require(num_seeds >= 1, "num_seeds >= 1", num_seeds, where)
    require(0 < level < 1, "0 < level < 1", level, where)
    require(1 - level < power < 1, "1 - level < power < 1", power, where)
    if num_seeds == 1:
        return None
    noises = [variances.trial / (size * num_seeds) for size in sizes]
    seeds = 2 * variances.seed / num_seeds + sum(noises)
    terms = [(seeds, num_seeds - 1)]
    total = seeds
    for size, noise in zip(sizes, noises, strict=True):
        if size > 1:
            clusters = variances.subset / size + noise
            terms += [(clusters, size - 1), (noise, (size - 1) * (num_seeds - 1))]
            total += clusters - noise
    if total == 0:
        return 0.0
    freedom_of_all = max(total**2 / sum(part**2 / degrees for part, degrees in terms), min(d for _, d in terms))
    return math.sqrt(total) * _noncentrality(freedom_of_all, level, power)


def _noncentrality(freedom: float, level: float, power: float) -> float:
    """Standard errors by which a true difference must exceed 0."""
    critical = float(stats.t.ppf((1 + level) / 2, freedom))

    def lack(shift: float) -> float:
        return float(stats.nct.sf(critical, freedom, shift)) - power  # the other tail is nothing at such shifts

    beyond = critical + 2 * float(stats.t.ppf((1 + power) / 2, freedom))
    return float(optimize.brentq(lack, 1e-6, beyond))


def estimate_variances(points: Sequence[Point], outcome: str) -> Variances | None:
    """Variance components of one rung's scores by analysis of variance, pooled over cells (Henderson 1953).

    The part of a seed that is common to all cells is taken off first. None where no cell has two subsets and two seeds.
    """
    grids = [grid for grid in cell_grids(points, outcome).values() if min(grid.values.shape) > 1]
    if not grids:
        return None
    noise = clusters = seeds = 0.0
    noise_freedom = cluster_freedom = 0
    for grid in grids:
        values = grid.filled
        num_clusters, num_seeds = values.shape
        rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
        rest = values - rows - columns + values.mean()
        freedom = max((num_clusters - 1) * (num_seeds - 1) - int(np.isnan(grid.values).sum()), 1)
        noise, noise_freedom = noise + float((rest**2).sum()), noise_freedom + freedom
        clusters += float(num_seeds * ((rows - rows.mean()) ** 2).sum())
        cluster_freedom += num_clusters - 1
    trial = noise / noise_freedom
    num_seeds = float(np.mean([grid.values.shape[1] for grid in grids]))
    subset = max((clusters / cluster_freedom - trial) / num_seeds, 0.0)
    seeds = _seed_variance(points, outcome, trial)
    return Variances(subset, seeds, trial)


def _seed_variance(points: Sequence[Point], outcome: str, trial: float) -> float:
    """Variance of a seed within a cell, from the means of seeds over cells that have the same seeds."""
    grids = list(cell_grids(points, outcome).values())
    common = sorted(set.intersection(*(set(grid.seeds) for grid in grids)))
    if len(common) < 2:
        return 0.0
    kept = [grid.only(common) for grid in grids]
    means = np.array([grid.filled.mean(axis=0) for grid in kept])
    noise = float(np.mean([trial / len(grid.values) for grid in kept]))
    rest = means - means.mean(axis=1, keepdims=True)
    if len(kept) > 1:
        rest = rest - rest.mean(axis=0)
    freedom = (len(common) - 1) * max(len(kept) - 1, 1)
    return max(float((rest**2).sum()) / freedom - noise, 0.0)
