"""Cells of a sweep with axes at their own best values, chosen on other seeds than they are scored with."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlray.analysis.points import WITHOUT_TATOEBA, Point, estimable, headline_of, scored, values_of, weights_of
from xlray.analysis.selection import ENGLISH_DEV, PIVOT_DEV, selection_scores


@dataclass(frozen=True)
class Choice:
    """Which values of the axes one population takes at one rung.

    Attributes:
        population: number of tasks and source.
        means: values in words to the mean of what is chosen by, over all seeds; the best first.
        accuracy: the same of the mean of the targets (`fi_accuracy`).
        taken: seed to the values that its trials are scored at: the best by the other seeds.
        held_out: there are other seeds; with one the scores are those that chose, which flatters them.
    """

    population: str
    rung_index: int
    rung: int
    means: dict[str, float]
    accuracy: dict[str, float]
    taken: dict[int, str]
    held_out: bool

    @property
    def best(self) -> str:
        """The best values by all seeds."""
        return next(iter(self.means))

    @property
    def counts(self) -> Counter[str]:
        """Values to the number of seeds that are scored at them."""
        return Counter(self.taken.values())


def at_best_values(points: Sequence[Point], select_by: str) -> tuple[tuple[Point, ...], tuple[Choice, ...]]:
    """The points of each population at its best values, as those of a sweep without axes; and what was chosen.

    The values of a seed are those with the best mean over the other seeds, so that the choice is not scored by the scores
    that made it. Only values at which some trial may be estimated from compete.

    Args:
        points: as `collect_points` makes them; those of a sweep without axes are returned as they are.
        select_by: the signal, as in `Sweep`: on dev in the target language the mean without retrieval, as in the scheduler.
    """
    if not any(point.setting for point in points):
        return tuple(points), ()
    choices = []
    for rung in sorted({point.rung_index for point in points}):
        populations: dict[str, list[Point]] = {}
        for point in (point for point in estimable(points, rung) if point.setting):
            populations.setdefault(point.population, []).append(point)
        for name, inside in populations.items():
            choice = _choose(name, inside, select_by)
            if choice is not None:
                choices.append(choice)
    taken = {(c.population, c.rung_index, seed): setting for c in choices for seed, setting in c.taken.items()}
    tuned = [
        dataclasses.replace(point, cell=point.population, setting="")
        for point in points
        if taken.get((point.population, point.rung_index, point.seed), "") == point.setting
    ]
    return tuple(tuned), tuple(choices)


def signal(point: Point, select_by: str) -> float:
    """What a choice of values looks at; NaN where it was not evaluated, and 0 where the trial diverged before it was."""
    if select_by in (ENGLISH_DEV, PIVOT_DEV):
        return selection_scores(point).get(select_by, 0.0 if point.diverged else math.nan)
    found = point.scores.get(WITHOUT_TATOEBA, math.nan)
    return found if math.isfinite(found) else point.accuracy


def _choose(population: str, points: Sequence[Point], select_by: str) -> Choice | None:
    found = [point for point in points if math.isfinite(signal(point, select_by))]
    seeds = sorted({point.seed for point in found})
    settings = sorted({point.setting for point in found})
    taken = {}
    for seed in seeds:
        here = {point.setting for point in points if point.seed == seed}  # whatever its own scores say
        others = [p for p in found if p.setting in here and (p.seed != seed or len(seeds) == 1)]
        means = _means(others, settings, select_by)
        if means:
            taken[seed] = max(means, key=lambda setting: means[setting])
    means = _means(found, settings, select_by)
    if not taken:
        return None
    order = sorted(means, key=lambda setting: -means[setting])
    headline = headline_of(found)
    accuracy = {
        setting: float(np.average(values_of(inside, headline), weights=weights_of(inside)))
        for setting in order
        if (inside := scored([p for p in found if p.setting == setting], headline))
    }
    ordered = {setting: means[setting] for setting in order}
    return Choice(population, found[0].rung_index, found[0].rung, ordered, accuracy, taken, len(seeds) > 1)


def _means(points: Sequence[Point], settings: Sequence[str], select_by: str) -> dict[str, float]:
    """Values to the mean signal of their points, which stand for as many as their weights say."""
    found = {}
    for setting in settings:
        inside = [point for point in points if point.setting == setting]
        if inside:
            signals = [signal(point, select_by) for point in inside]
            found[setting] = float(np.average(signals, weights=weights_of(inside)))
    return found


def words_of(setting: str) -> dict[str, str]:
    """Axis to its value, in words: `{"lr": "1e-5", "T": "3"}` of `lr=1e-5 T=3`; fields that vary together are one axis."""
    pieces = [[word.partition("=") for word in piece.split(",")] for piece in setting.split()]
    return {",".join(name for name, _, _ in words): ",".join(value for _, _, value in words) for words in pieces}


def edges(choice: Choice) -> list[tuple[str, str, str]]:
    """(axis, best value, "smallest" or "largest") where the best value is the last one of its axis on that side.

    Only axes whose values are numbers have sides.
    """
    words = {setting: words_of(setting) for setting in choice.means}
    found = []
    for axis, best in words[choice.best].items():
        values = {inside[axis] for inside in words.values()}
        try:
            numbers = sorted(map(float, values))
        except ValueError:
            continue
        if len(numbers) > 1 and float(best) in (numbers[0], numbers[-1]):
            found.append((axis, best, "smallest" if float(best) == numbers[0] else "largest"))
    return found
