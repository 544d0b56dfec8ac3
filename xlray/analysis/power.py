"""The smallest difference that a design is likely to find, before a sweep and after it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from xlray.analysis.control import ControlNoise, control_noises
from xlray.analysis.crossed import Contrasts
from xlray.analysis.distributions import noncentral_t_beyond, t_quantile
from xlray.analysis.effects import Key, Shared, cell_grids, shared_of, signed_sums
from xlray.analysis.grid import Grid
from xlray.analysis.membership import SHARES, additivity, make_membership
from xlray.analysis.points import Array, Point, too_few
from xlray.errors import require

POWER = 0.8
TARGETS = 4  # what tasks add is drawn to have half of its variance in common to them
NUM_SWEEPS = (25, 500)  # that are drawn: at least, at most
NUM_SCORES = 1_000_000  # about, in all of them


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


def minimum_detectable_effect(
    num_subsets: int | Sequence[int],
    num_seeds: int,
    variances: Variances = ASSUMED,
    level: float = 0.95,
    power: float = 0.8,
) -> float | None:
    """The difference between two cells, in points, that a two-sided test finds with the probability `power`.

    Each cell has independent subsets of its own and all have the same seeds. Of a cell with one subset the statement is
    about these tasks, and their spread does not enter. The test is the t test of `crossed.contrast`, whose degrees of
    freedom are Satterthwaite's, without what other cells of a rung say; power is that of the noncentral t distribution.

    Args:
        num_subsets: subsets or chains in each cell, or in the one and the other.
        num_seeds: seeds in each cell.
        variances: of a score within a cell.
        level: of the interval that must leave out 0.
        power: probability of finding the difference.

    Returns:
        points; None with too few seeds or subsets for an interval, as `too_few` has it.

    Raises:
        InputError: for a count below 1, or a level or power outside 0 to 1.
    """
    where = "minimum_detectable_effect"
    sizes = [num_subsets] * 2 if isinstance(num_subsets, int) else list(num_subsets)
    require(min(sizes) >= 1, "num_subsets >= 1", num_subsets, where)
    require(num_seeds >= 1, "num_seeds >= 1", num_seeds, where)
    require(0 < level < 1, "0 < level < 1", level, where)
    require(1 - level < power < 1, "1 - level < power < 1", power, where)
    if too_few(num_seeds, min((size for size in sizes if size > 1), default=1)):
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
    freedom = max(total**2 / sum(part**2 / degrees for part, degrees in terms), min(d for _, d in terms))
    critical = float(t_quantile((1 + level) / 2, freedom))

    def lack(shift: float) -> float:
        return float(noncentral_t_beyond(critical, freedom, shift)) - power  # the other tail is nothing at such shifts

    beyond = critical + 2 * float(t_quantile((1 + power) / 2, freedom))
    return math.sqrt(total) * float(optimize.brentq(lack, 1e-6, beyond))


Drawn = Mapping[str, Mapping[str, Sequence[str]]]  # cell to cluster to its tasks


def detectable(
    cells: Drawn,
    sources: Mapping[str, str],
    sums: Mapping[Key, Mapping[str, float]],
    num_seeds: int,
    variances: Variances,
    level: float = 0.95,
    times: int = 1,
) -> dict[Key, float | None]:
    """What signed sums of cells find with the probability `POWER`, in points; None where there is no interval.

    Sweeps without any difference are drawn from the model, with these subsets, and analysed as a report does. What is
    found is a difference that exceeds the half width of the interval, where errors are normal.

    Args:
        cells: all cells of a rung; clusters that are drawn together have one name.
        sources: of the cells; those of one source are drawn from one pool.
        sums: such as `{"20-en": 1, "9-en": -1}`.
        num_seeds: in each cell.
        variances: of a score within a cell.
        level: of the interval that must leave out 0.
        times: as if there were so many times the subsets, drawn as these are.
    """
    few = {
        key: too_few(
            num_seeds, min((n for n in (times * len(cells[c]) for c in parts if len(cells[c]) > 1)), default=1)
        )
        for key, parts in sums.items()
    }
    wanted = {key: parts for key, parts in sums.items() if not few[key]}
    if not wanted:
        return dict.fromkeys(sums)
    grids = _drawn_sweeps(cells, sources, num_seeds, variances, times)
    shares = additivity([(grid.held, grid.values) for grid in grids.values() if grid.held is not None])
    shared = None if shares is None else replace(shares, weights=shares.weights[..., None, :])
    controls = {
        cell: ControlNoise(noise.multiple[..., 1:], noise.freedom[..., 1:])
        for cell, noise in control_noises(grids).items()
    }
    made = signed_sums(grids, wanted, None, shared, controls)
    return {key: _smallest(made[key], level) if key in made else None for key in sums}


def _smallest(found: Contrasts, level: float) -> float:
    """From [sweeps, targets] sums whose true value is 0."""
    ends = found.interval(level)
    assert ends is not None
    half, error = (ends[1] - ends[0]) / 2, math.sqrt(float(np.mean(found.value**2)))
    if error == 0:
        return 0.0
    return float(
        optimize.brentq(
            lambda gap: float(special.ndtr((gap - half) / error).mean()) - POWER, 0.0, half.max() + 9 * error
        )
    )


def _drawn_sweeps(
    cells: Drawn, sources: Mapping[str, str], num_seeds: int, variances: Variances, times: int
) -> dict[str, Grid]:
    """Of each cell the scores [sweeps, targets, clusters, seeds] of sweeps in which cells differ by chance alone."""
    generator = np.random.default_rng(0)
    cells = {cell: dict(sorted(clusters.items())) for cell, clusters in sorted(cells.items())}  # equal plans draw alike
    pools: dict[str, set[str]] = {}
    for cell, clusters in cells.items():
        pools.setdefault(sources[cell], set()).update(task for tasks in clusters.values() for task in tasks)
    more = {cell: _more(clusters, sorted(pools[sources[cell]]), times) for cell, clusters in cells.items()}
    held = {c: make_membership([*m.values()], sorted(pools[sources[c]])) for c, m in more.items() if len(m) > 1}
    num_trials = num_seeds * sum(len(clusters) for clusters in more.values())
    shape = (int(np.clip(NUM_SCORES / (TARGETS * num_trials), *NUM_SWEEPS)), TARGETS)
    size = float(np.mean([membership.size for membership in held.values()] or [1.0])) or 1.0

    def normal(variance: float, *axes: int) -> Array:
        return math.sqrt(variance) * generator.normal(size=(*shape, *axes))

    by_pool = {}
    for source in dict.fromkeys(sources[cell] for cell in held):
        tasks = pools[source]
        both = generator.normal(size=(shape[0], 1, len(tasks))) + generator.normal(size=(*shape, len(tasks)))
        both /= np.sqrt((both**2).mean(axis=-1, keepdims=True))
        by_pool[source] = both * math.sqrt(variances.subset * variances.additive / size)
    seeds = tuple(range(num_seeds))
    grids = {}
    for cell, clusters in more.items():
        values = normal(variances.seed, 1, num_seeds) + normal(variances.trial, len(clusters), num_seeds)
        if cell in held:
            values += (by_pool[sources[cell]] @ held[cell].rows.T)[..., None]
            values += normal(variances.subset * (1 - variances.additive), len(clusters), 1)
        weights = np.ones(values.shape[-2:])
        grids[cell] = Grid(tuple(clusters), seeds, values, weights, len(clusters), held.get(cell))
    return grids


def _more(clusters: Mapping[str, Sequence[str]], pool: Sequence[str], times: int) -> dict[str, tuple[str, ...]]:
    """As many times the clusters, each time with other tasks in the places of these; of a single one no more."""
    found = {name: tuple(tasks) for name, tasks in clusters.items()}
    for number in range(1, times if len(clusters) > 1 else 1):
        others = dict(zip(pool, np.random.default_rng(number).permutation(pool).tolist(), strict=True))
        found |= {f"{name} {number}": tuple(others[task] for task in tasks) for name, tasks in clusters.items()}
    return found


def estimate_variances(points: Sequence[Point], outcome: str, shared: Shared | None = None) -> Variances | None:
    """Variance components of one rung's scores by analysis of variance, pooled over cells (Henderson 1953).

    The part of a seed that is common to all cells is taken off first. None where no cell has two subsets and two seeds.

    Args:
        shared: what the targets of the rung say together; found from the points where it is not given.
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
    share = (shared or shared_of(points)).additivity
    additive = float(share.weights @ SHARES) if share else 0.0
    # Of draws that use tasks evenly the subsets differ more than any subsets of the pool.
    even = float(
        np.mean([g.held.spread[0] / g.held.size for g in grids if g.held is not None and g.held.size] or [1.0])
    )
    return Variances(subset / (additive * even + 1 - additive), seeds, trial, additive)


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
