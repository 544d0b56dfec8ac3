"""Means of cells and differences between them: the effect of the number and of the source of tasks."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from xlray.analysis.control import ControlNoise, control_noises
from xlray.analysis.crossed import (
    NO_ITEMS,
    Contrasts,
    ItemPart,
    SeedPrior,
    contrast,
    seed_variance,
    trial_variance,
)
from xlray.analysis.grid import Grid, make_grid
from xlray.analysis.items import ItemVariance
from xlray.analysis.membership import Additivity, additivity
from xlray.analysis.points import (
    CONTROL,
    ENGLISH,
    WITHOUT_TATOEBA,
    Array,
    Estimate,
    Point,
    Sampling,
    headline_of,
    mean_names,
    scored,
    too_few,
)

Key = TypeVar("Key", bound=Hashable)
PRIOR_FREEDOM = 4  # of what the cells with tasks say of a seed's variance, where a difference is between two of them


@dataclass(frozen=True)
class Shared:
    """What all targets of a rung say together of each.

    Attributes:
        targets: their names.
        additivity: the additive share of the variance of subsets; None where nothing is known of it.
        controls: cell to the noise of a control, for `targets`.
    """

    targets: tuple[str, ...]
    additivity: Additivity | None
    controls: Mapping[str, ControlNoise]

    def controls_in(self, outcome: str) -> dict[str, ControlNoise]:
        """The same of one outcome; what is no target is taken as their mean."""
        place = self.targets.index(outcome) + 1 if outcome in self.targets else 0
        return {cell: ControlNoise(n.multiple[place], n.freedom[place]) for cell, n in self.controls.items()}


def cell_grids(points: Sequence[Point], outcome: str) -> dict[str, Grid]:
    """The grid of every cell of one rung, in the order of the points."""
    return dict(_cell_grids(tuple(points), outcome))


@functools.lru_cache(maxsize=64)  # means, differences and variances of a score are of the same grids
def _cell_grids(points: tuple[Point, ...], outcome: str) -> dict[str, Grid]:
    cells, pools = dict[str, list[Point]](), dict[str, set[str]]()
    for point in scored(points, outcome):
        cells.setdefault(point.cell, []).append(point)
        pools.setdefault(point.source, set()).update(point.tasks)
    return {cell: make_grid(inside, outcome, sorted(pools[inside[0].source])) for cell, inside in cells.items()}


def shared_of(points: Sequence[Point], drawn: Sequence[Point] | None = None) -> Shared:
    """What the targets of one rung say; where trials are weighted, nothing of the additive share.

    Args:
        drawn: the points that say the additive share; all by default.
    """
    cells = _of_all_targets(points)
    asked = cells if drawn is None else _of_all_targets(drawn)
    additive = additivity([(g.held, g.filled) for g in asked.values() if g.held is not None and not g.weighted])
    return Shared(tuple(target_names(points)), additive, control_noises(cells))


def _of_all_targets(points: Sequence[Point]) -> dict[str, Grid]:
    """Cells whose trials have scores of every target, [targets, clusters, seeds]."""
    by_target = [cell_grids(points, target) for target in target_names(points)]
    cells = {}
    for cell, first in by_target[0].items() if by_target else ():
        grids = [grids[cell] for grids in by_target if cell in grids]
        alike = all((grid.clusters, grid.seeds) == (first.clusters, first.seeds) for grid in grids)
        if alike and len(grids) == len(by_target):
            cells[cell] = dataclasses.replace(first, values=np.array([grid.values for grid in grids]))
    return cells


def as_estimate(name: str, found: Contrasts, level: float, rung: int, spread: float | None = None) -> Estimate:
    """A contrast of one score as an estimate; of too few seeds or subsets it is the value alone.

    Args:
        spread: standard deviation of a single trial, for the standardised value.
    """
    missing = too_few(found.num_seeds, found.num_sampled)
    interval, p_value, error = (
        (None, None, None) if missing else (found.interval(level), found.p_value(), found.standard_error)
    )
    low, high = (float(end) for end in interval) if interval else (None, None)
    freedom = math.inf if missing else float(found.degrees_of_freedom)
    return Estimate(
        name=name,
        value=float(found.value),
        low=low,
        high=high,
        level=level,
        num_seeds=found.num_seeds,
        num_subsets=found.num_subsets,
        rung=rung,
        num_trials=found.num_trials,
        standard_error=None if error is None else float(error),
        degrees_of_freedom=freedom if math.isfinite(freedom) else None,
        p_value=None if p_value is None else float(p_value),
        standardised=float(found.value) / spread if spread and not missing else None,
        missing=missing,
        num_sampled=found.num_sampled,
    )


def cell_means(
    points: Sequence[Point],
    outcome: str,
    sampling: Sampling,
    item_variance: ItemVariance | None = None,
    shared: Shared | None = None,
) -> list[Estimate]:
    """Mean outcome of each cell of one rung, over its trials.

    Args:
        item_variance: of the rung; without it the evaluated items are taken as they are.
        shared: what all targets say; by default these points are asked.
    """
    estimates, rung, shared = [], _rung(points), shared or shared_of(points)
    for cell, grid in cell_grids(points, outcome).items():
        extra = item_variance(outcome, {cell: 1.0}) if item_variance else NO_ITEMS
        found = contrast([(1.0, grid)], extra, shared=shared.additivity)
        assert found is not None
        estimates.append(as_estimate(f"mean/{outcome}/{cell}", found, sampling.level, rung))
    return estimates


def cell_pairs(points: Sequence[Point]) -> list[tuple[str, str]]:
    """The comparisons of a rung as (more, fewer): all sizes within a source, all sources within a size, controls with all.

    In a sweep with axes these are compared at the same values, and each cell with those that differ in one value.
    """
    groups = _comparable(points)
    pairs = [pair for cells in groups for pair in compared_cells(cells)]
    return [*dict.fromkeys(pairs), *_along_axes(points)]


def _comparable(points: Sequence[Point]) -> list[dict[str, tuple[int, str]]]:
    """Cells with the same values of the sweep's axes, each with those controls that differ in none that they have."""
    controls = {p.cell: set(p.setting.split()) for p in points if not p.num_tasks}
    settings = dict.fromkeys(p.setting for p in points if p.num_tasks) or dict.fromkeys(p.setting for p in points)
    places = {setting: dict[str, tuple[int, str]]() for setting in settings}
    for point in points:
        if point.num_tasks:
            places[point.setting][point.cell] = (point.num_tasks, point.source)
    sources = {point.cell: (0, point.source) for point in points if not point.num_tasks}
    for setting, cells in places.items():
        words = set(setting.split())
        cells |= {cell: sources[cell] for cell, own in controls.items() if own <= words}
    return list(places.values())


def _along_axes(points: Sequence[Point]) -> list[tuple[str, str]]:
    """Pairs of cells that differ in the value of one axis, by (population, what is left of the values, axis)."""
    lines: dict[tuple[str, str, str], dict[str, None]] = {}
    for cell, (population, setting) in {p.cell: (p.population, p.setting) for p in points}.items():
        words = setting.split()
        for place, word in enumerate(words):
            rest = " ".join(words[:place] + words[place + 1 :])
            lines.setdefault((population, rest, word.partition("=")[0]), {})[cell] = None
    return [(more, fewer) for cells in lines.values() for fewer, more in itertools.combinations(sorted(cells), 2)]


def compared_cells(cells: Mapping[str, tuple[int, str]]) -> list[tuple[str, str]]:
    """All sizes within a source, all sources within a size, and with all cells what has no task or the source `CONTROL`.

    Args:
        cells: to (number of tasks, source).
    """
    order = sorted(cells, key=lambda cell: (cells[cell][0], cell))
    pairs: list[tuple[str, str]] = []
    for cell in order[1:]:
        size, source = cells[cell]
        smaller = [c for c in order if cells[c][0] < size]
        pairs += [
            (cell, c) for c in smaller if cells[c][0] == 0 or cells[c][1] == source or CONTROL in (cells[c][1], source)
        ]
        pairs += [(cell, c) for c in order if cells[c][0] == size and c < cell]
    return pairs


def cell_differences(
    points: Sequence[Point],
    outcome: str,
    sampling: Sampling,
    item_variance: ItemVariance | None = None,
    shared: Shared | None = None,
) -> list[Estimate]:
    """Differences of cells of one rung over the seeds that both have, in points and in standard deviations of a trial.

    Chains that fill both cells are paired as well. A pair of cells without a common seed is left out. Arguments are those of
    `cell_means`.
    """
    grids = cell_grids(points, outcome)
    sums = {pair: difference(*pair) for pair in cell_pairs(scored(points, outcome))}
    extra = {pair: item_variance(outcome, parts) for pair, parts in sums.items()} if item_variance else {}
    estimates, rung, shared = [], _rung(points), shared or shared_of(points)
    made = signed_sums(grids, sums, extra, shared.additivity, shared.controls_in(outcome))
    for (more, fewer), found in made.items():
        spread = trial_spread([grids[more], grids[fewer]])
        name = f"difference/{outcome}/{more} - {fewer}"
        estimates.append(as_estimate(name, found, sampling.level, rung, spread))
    return estimates


def difference(more: str, fewer: str) -> dict[str, float]:
    """The coefficients of one cell less another."""
    return {more: 1.0, fewer: -1.0}


def signed_sums(
    grids: Mapping[str, Grid],
    sums: Mapping[Key, Mapping[str, float]],
    item_parts: Mapping[Key, ItemPart] | None = None,
    shared: Additivity | None = None,
    controls: Mapping[str, ControlNoise] | None = None,
) -> dict[Key, Contrasts]:
    """Of cells whose coefficients add up to 0, such as a difference; those without a common seed are left out.

    With few seeds their variance is hardly known from two cells, so the cells with tasks join in (those that have the
    common seeds), with the weight of `PRIOR_FREEDOM`; where a control is compared, with what is known of its noise.
    """
    priors: dict[tuple[tuple[int, ...], str], SeedPrior | None] = {}
    found = {}
    for key, coefficients in sums.items():
        common = tuple(sorted(set.intersection(*(set(grids[cell].seeds) for cell in coefficients))))
        control = next((cell for cell in coefficients if grids[cell].is_control), "")
        if (common, control) not in priors:
            noise = (controls or {}).get(control)
            priors[common, control] = None if control and noise is None else prior_of(grids, common, noise)
        parts = [(coefficient, grids[cell]) for cell, coefficient in coefficients.items()]
        extra = (item_parts or {}).get(key, NO_ITEMS)
        made = contrast(parts, extra, priors[common, control], shared)
        if made is not None:
            found[key] = made
    return found


def prior_of(grids: Mapping[str, Grid], common: Sequence[int], control: ControlNoise | None = None) -> SeedPrior | None:
    """What all cells with tasks and these seeds say of a seed in one cell; None where that is no more than two cells know.

    Args:
        control: of the control that is compared; None between cells with tasks.
    """
    joining = [g.only(common) for g in grids.values() if set(common) <= set(g.seeds) and not g.is_control]
    freedom: float | Array = control.freedom if control else min(PRIOR_FREEDOM, (len(joining) - 2) * (len(common) - 1))
    if len(common) < 2 or len(joining) < 2 or np.max(freedom) <= 0:
        return None
    noise = trial_variance(joining)[0]
    return SeedPrior(seed_variance(joining)[0], noise, freedom, control.multiple if control else None)


def trial_spread(grids: Sequence[Grid]) -> float | None:
    """Standard deviation of single trials about the mean of their cell, pooled; None with one trial in each cell."""
    squares, freedom = 0.0, 0
    for grid in grids:
        values = grid.values[np.isfinite(grid.values)]
        squares += float(((values - values.mean()) ** 2).sum())
        freedom += len(values) - 1
    return math.sqrt(squares / freedom) if freedom and squares else None


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values that hold for the whole family at once (Holm 1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    scaled = np.asarray(p_values, dtype=np.float64)[order] * np.arange(len(p_values), 0, -1)
    adjusted: Array = np.empty(len(p_values))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def correct_over_comparisons(
    estimates: Sequence[Estimate], targets: Sequence[str], headline: str = "fi_accuracy"
) -> list[Estimate]:
    """The same estimates, where differences carry Holm's p-values over all comparisons of a rung.

    There are two families: the mean of the targets over the pairs of cells, and the targets over targets and pairs; and the
    same two over the effects of a two by two.

    Args:
        headline: the mean of the targets.
    """
    families: dict[tuple[int, str, bool], list[int]] = {}
    for number, estimate in enumerate(estimates):
        kind, outcome, *_ = estimate.name.split("/", 2)
        known = kind in ("difference", "factor") and outcome in (headline, *targets)
        if known and estimate.p_value is not None:
            families.setdefault((estimate.rung, kind, outcome == headline), []).append(number)
    out = list(estimates)
    for family in families.values():
        p_values = [p for number in family if (p := out[number].p_value) is not None]
        for number, adjusted in zip(family, holm(p_values), strict=True):
            out[number] = dataclasses.replace(out[number], p_holm=adjusted)
    return out


def target_names(points: Sequence[Point]) -> list[str]:
    """The target tasks that the points have scores of."""
    names = {name for point in points for name in point.scores} - mean_names(points)
    return sorted(name for name in names if ENGLISH[0] not in name)


def without_degenerate(points: Sequence[Point]) -> list[Point]:
    """The points of trials that did not collapse: for a robustness check, since leaving them out flatters."""
    return [point for point in points if not point.degenerate]


def robustness(
    points: Sequence[Point],
    differences: Sequence[Estimate],
    sampling: Sampling,
    item_variance: ItemVariance | None = None,
) -> list[Estimate]:
    """Differences without Tatoeba and without collapsed trials, where that leaves out anything.

    Args:
        differences: those of all points, in the mean of the targets and in that without Tatoeba.

    Returns:
        estimates named `robustness/<variant>/<more> - <fewer>`; variants: `all`, `without_tatoeba`,
        `without_degenerate`, `without_both`.
    """
    sound = without_degenerate(points)
    found = []
    for outcome, all_trials, without in (
        (headline_of(points), "all", "without_degenerate"),
        (WITHOUT_TATOEBA, "without_tatoeba", "without_both"),
    ):
        known = [e for e in differences if e.name.startswith(f"difference/{outcome}/")]
        variants = {all_trials: known}
        if len(sound) < len(points):
            variants[without] = cell_differences(sound, outcome, sampling, item_variance)
        for variant, estimates in variants.items():
            named = ((e, f"robustness/{variant}/{e.name.split('/', 2)[2]}") for e in estimates)
            found += [dataclasses.replace(estimate, name=name) for estimate, name in named]
    return found


def _rung(points: Sequence[Point]) -> int:
    return max((point.rung for point in points), default=0)
