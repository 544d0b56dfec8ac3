"""What each value of an axis does on average over the others: main effects in the grid of a sweep with axes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xlray.analysis.effects import Shared, as_estimate, cell_grids, shared_of, signed_sums, trial_spread
from xlray.analysis.points import MIN_SAMPLES, Estimate, Point, Sampling, scored
from xlray.analysis.tuned import words_of


@dataclass(frozen=True)
class MainEffect:
    """One value of one axis in one population.

    Attributes:
        estimate: the mean at this value less the mean over all values of the axis, in points.
    """

    population: str
    axis: str
    value: str
    estimate: Estimate


def main_effects(
    points: Sequence[Point], outcome: str, sampling: Sampling, shared: Shared | None = None
) -> tuple[list[MainEffect], list[str]]:
    """Main effects of every axis in every population at one rung, and why a population has none.

    In a full grid the least-squares fit of additive axes is differences of means, so each effect is a signed sum of cells,
    and its interval that of any difference: subsets and seeds are crossed, and what either adds to all cells cancels. The
    evaluated items are taken as they are.

    Args:
        points: those of the rung from which it is estimated; see `estimable`.
        shared: as in `two_by_two`.
    """
    found: list[MainEffect] = []
    missing = []
    populations: dict[str, list[Point]] = {}
    for point in scored(points, outcome):
        if point.setting:
            populations.setdefault(point.population, []).append(point)
    for population, inside in populations.items():
        words = {point.cell: words_of(point.setting) for point in inside}
        values = {axis: dict.fromkeys(own[axis] for own in words.values()) for axis in next(iter(words.values()))}
        seeds = set.intersection(*({p.seed for p in inside if p.cell == cell} for cell in words))
        num_points = math.prod(len(known) for known in values.values())
        if num_points > len(words):
            missing.append(f"{population}: all combinations of values, but {len(words)} of {num_points} are there")
        elif len(seeds) < MIN_SAMPLES:
            missing.append(
                f"{population}: {MIN_SAMPLES} seeds with all combinations of values, but there are {len(seeds)}"
            )
        else:
            found += _of_population(population, inside, words, sampling, (outcome, shared or shared_of(inside)))
    return found, missing


def _of_population(
    population: str,
    points: Sequence[Point],
    words: dict[str, dict[str, str]],
    sampling: Sampling,
    of: tuple[str, Shared],
) -> Iterator[MainEffect]:
    outcome, shared = of
    grids = cell_grids(points, outcome)
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for axis in next(iter(words.values())):
        levels = dict.fromkeys(own[axis] for own in words.values())
        for level in sorted(levels, key=_in_order) if len(levels) > 1 else ():
            at = sum(found[axis] == level for found in words.values())
            sums[axis, level] = {cell: (own[axis] == level) / at - 1 / len(words) for cell, own in words.items()}
    spread, rung = trial_spread([*grids.values()]), max(point.rung for point in points)
    for (axis, level), made in signed_sums(grids, sums, {}, shared.additivity).items():
        name = f"axis/{outcome}/{population}/{axis}={level}"
        yield MainEffect(population, axis, level, as_estimate(name, made, sampling.level, rung, spread))


def _in_order(value: str) -> tuple[int, float, str]:
    """Numbers by size, then words."""
    try:
        return 0, float(value), ""
    except ValueError:
        return 1, 0.0, value
