"""The smallest difference that a design is likely to find, before a sweep and after it."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy import optimize

from xlray.analysis.distributions import noncentral_t_beyond, t_quantile
from xlray.analysis.effects import CONTROL_FREEDOM, PRIOR_FREEDOM, additivity_of, cell_grids
from xlray.analysis.membership import SHARES, Place, make_membership, reduced, simulated_additivity, spread
from xlray.analysis.points import Array, Point, too_few
from xlray.errors import require

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Variances:
    """Where the spread of a score comes from, in squared points, within one cell.

    Attributes:
        subset: between subsets of tasks, over many seeds.
        seed: of a seed within a cell, over many subsets; what a seed adds to all cells alike cancels in a difference
            and does not belong here.
        trial: all other noise of a single trial.
        additive: share of `subset` that is the sum of what single tasks add, 0 to 1.
    """

    subset: float
    seed: float
    trial: float
    additive: float = 0.0

    def __post_init__(self) -> None:
        for name in ("subset", "seed", "trial"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name), "Variances")
        require(0 <= self.additive <= 1, "0 <= additive <= 1", self.additive, "Variances")


# What `xlray plan` states where nothing was measured yet.
ASSUMED = Variances(subset=1.0, seed=0.1, trial=0.5, additive=1.0)


@dataclass(frozen=True)
class Overlap:
    """How the subsets of some cells hang together, for the power of a signed sum of these.

    Attributes:
        between: variance of the sum through its subsets where these count as independent, in that of one subset.
        true: the part of it that is in the error.
        counted: [draws] the part that intervals count, in sweeps drawn from the model.
        doubt: [draws] relative variance of that.
        freedom: degrees of freedom of the mean squares of subsets; 0 where each cell has but one.
        seed_freedom: of a seed's variance that the other cells of the rung add.
    """

    between: float
    true: float
    counted: Array
    doubt: Array
    freedom: int
    seed_freedom: float


def minimum_detectable_effect(
    num_subsets: int | Sequence[int],
    num_seeds: int,
    variances: Variances = ASSUMED,
    level: float = 0.95,
    power: float = 0.8,
    overlap: Overlap | None = None,
    coefficients: Sequence[float] = (1.0, -1.0),
) -> float | None:
    """The difference between two cells, in points, that a two-sided test finds with the probability `power`.

    Each cell has subsets of its own and all have the same seeds. Of a cell with one subset the statement is about these
    tasks, and their spread does not enter. The test is the t test of `crossed.contrast`, whose degrees of freedom are
    Satterthwaite's; power is that of the noncentral t distribution.

    Args:
        num_subsets: subsets or chains in each cell, or in the one and the other.
        num_seeds: seeds in each cell.
        variances: of a score within a cell.
        level: of the interval that must leave out 0.
        power: probability of finding the difference.
        overlap: what is known of the subsets themselves; without it they are independent, and so are the cells' seeds.
        coefficients: of the cells, for another signed sum than a difference.

    Returns:
        points; None with too few seeds or subsets for an interval, as `too_few` has it.

    Raises:
        InputError: for a count below 1, or a level or power outside 0 to 1.
    """
    where = "minimum_detectable_effect"
    sizes = [num_subsets] * len(coefficients) if isinstance(num_subsets, int) else list(num_subsets)
    require(min(sizes) >= 1, "num_subsets >= 1", num_subsets, where)
    require(num_seeds >= 1, "num_seeds >= 1", num_seeds, where)
    require(0 < level < 1, "0 < level < 1", level, where)
    require(1 - level < power < 1, "1 - level < power < 1", power, where)
    if too_few(num_seeds, min((size for size in sizes if size > 1), default=1)):
        return None
    squares = [coefficient**2 for coefficient in coefficients]
    noises = [square * variances.trial / (size * num_seeds) for square, size in zip(squares, sizes, strict=True)]
    seeds = sum(squares) * variances.seed / num_seeds + sum(noises)
    if overlap is not None:
        sampled = sum(noise for noise, size in zip(noises, sizes, strict=True) if size > 1)
        return _with_overlap(overlap, variances, seeds, sampled, num_seeds, (level, power))
    terms = [(seeds, num_seeds - 1)]
    total = seeds
    for square, size, noise in zip(squares, sizes, noises, strict=True):
        if size > 1:
            clusters = square * variances.subset / size + noise
            terms += [(clusters, size - 1), (noise, (size - 1) * (num_seeds - 1))]
            total += clusters - noise
    if total == 0:
        return 0.0
    freedom_of_all = max(total**2 / sum(part**2 / degrees for part, degrees in terms), min(d for _, d in terms))
    return math.sqrt(total) * _noncentrality(freedom_of_all, level, power)


def _with_overlap(
    overlap: Overlap, variances: Variances, seeds: float, noise: float, num_seeds: int, aims: tuple[float, float]
) -> float:
    """The test judges by what intervals count; the error is what it truly is."""
    between = variances.subset * overlap.between
    true, counted = seeds + overlap.true * between, seeds + overlap.counted * between
    if true == 0:
        return 0.0
    fewest = seed_freedom = num_seeds - 1 + overlap.seed_freedom
    lost = seeds**2 / seed_freedom + overlap.doubt * (overlap.counted * between) ** 2 / 2
    if overlap.freedom:
        lost = lost + (overlap.counted * (between + noise)) ** 2 / overlap.freedom
        fewest = min(overlap.freedom, seed_freedom)
    freedom = np.maximum(counted**2 / lost, fewest)
    return math.sqrt(true) * _noncentrality(freedom, *aims, np.sqrt(counted / true))


def _noncentrality(freedom: float | Array, level: float, power: float, wider: float | Array = 1.0) -> float:
    """Standard errors by which a true difference must exceed 0 where intervals are so many times as wide."""
    critical = wider * t_quantile((1 + level) / 2, freedom)

    def lack(shift: float) -> float:
        return (
            float(np.mean(noncentral_t_beyond(critical, freedom, shift))) - power
        )  # the other tail is nothing at such shifts

    beyond = float(np.max(critical)) + 2 * float(np.max(t_quantile((1 + power) / 2, freedom)))
    return float(optimize.brentq(lack, 1e-6, beyond))


Drawn = Mapping[str, Mapping[str, Sequence[str]]]  # cell to cluster to its tasks
Sums = Mapping[Key, Mapping[str, float]]  # signed sums of cells: their coefficients


def detectable(
    cells: Drawn,
    sources: Mapping[str, str],
    sums: Sums[Key],
    num_seeds: int,
    variances: Variances,
    level: float = 0.95,
    times: int = 1,
) -> dict[Key, float | None]:
    """`minimum_detectable_effect` of signed sums of cells, from the subsets themselves; None where there is no interval.

    Args:
        cells: all cells of a rung; clusters that are drawn together have one name.
        sources: of the cells; those of one source are drawn from one pool.
        sums: such as `{"20-en": 1, "9-en": -1}`.
        level: of the interval that must leave out 0.
        times: as if there were so many times the subsets, which share tasks as these do.
    """
    found = {}
    for key, overlap in find_overlaps(cells, sources, sums, num_seeds, variances).items():
        sizes = [len(cells[cell]) * (times if len(cells[cell]) > 1 else 1) for cell in sums[key]]
        more = replace(overlap, between=overlap.between / times, freedom=(overlap.freedom + 1) * times - 1)
        about = (variances, level, 0.8, more if overlap.freedom else overlap, tuple(sums[key].values()))
        found[key] = minimum_detectable_effect(sizes, num_seeds, *about)
    return found


def find_overlaps(
    cells: Drawn,
    sources: Mapping[str, str],
    sums: Sums[Key],
    num_seeds: int,
    variances: Variances,
    num_targets: int = 4,
) -> dict[Key, Overlap]:
    """How the cells of a plan hang together in signed sums of them, as `crossed.contrast` takes them; as in `detectable`."""
    pools: dict[str, set[str]] = {}
    for cell, clusters in cells.items():
        pools.setdefault(sources[cell], set()).update(task for tasks in clusters.values() for task in tasks)
    held = {
        cell: make_membership(list(clusters.values()), sorted(pools[sources[cell]]))
        for cell, clusters in cells.items()
        if len(clusters) > 1
    }
    part = variances.subset / (variances.subset + variances.trial / num_seeds) if variances.subset else 0.0
    shared = simulated_additivity(list(held.values()), variances.additive, part, num_targets)
    size = shared.size if shared else float(np.mean([membership.spread()[0] for membership in held.values()] or [1.0]))
    found = {}
    for key, coefficients in sums.items():
        groups = _exchangeable(cells, [cell if cell in held else "" for cell in coefficients])
        spreads = spread([(c, held.get(cell)) for cell, c in coefficients.items()], groups, size or 1.0)
        independent, dependent = (
            float(np.interp(variances.additive, SHARES, part)) for part in (spreads.independent, spreads.dependent)
        )
        counted, doubt = reduced(spreads, shared) if shared else (np.ones(1), np.zeros(1))
        true = dependent / independent if independent else 1.0
        freedom = sum(len(group) - 1 for group in groups)
        found[key] = Overlap(independent, true, counted, doubt, freedom, _seed_freedom(cells, coefficients, num_seeds))
    return found


def _exchangeable(cells: Drawn, drawn: Sequence[str]) -> list[list[list[Place]]]:
    """Places of each cluster, in groups of those that stand in the same of the cells; "" for one that is not drawn."""
    places: dict[str, list[Place]] = {}
    for number, cell in enumerate(drawn):
        for row, cluster in enumerate(cells[cell]) if cell else ():
            places.setdefault(cluster, []).append((number, row))
    groups: dict[tuple[int, ...], list[list[Place]]] = {}
    for at in places.values():
        groups.setdefault(tuple(number for number, _ in at), []).append(at)
    return list(groups.values())


def _seed_freedom(cells: Drawn, compared: Iterable[str], num_seeds: int) -> float:
    """What the other cells of the rung add of it, as in `effects.prior_of`: a control is a cell without tasks."""
    empty = {cell for cell, clusters in cells.items() if not any(clusters.values())}
    control = bool(empty & set(compared))
    joining = len(cells) if control else len(cells) - len(empty)
    return max(min(CONTROL_FREEDOM if control else PRIOR_FREEDOM, (joining - 2) * (num_seeds - 1)), 0)


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
    shared = additivity_of(points)
    return Variances(subset, seeds, trial, float(shared.weights @ SHARES) if shared else 0.0)


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
