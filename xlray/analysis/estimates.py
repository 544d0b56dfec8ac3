"""All estimates of a sweep in one list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xlray.analysis.effects import (
    cell_differences,
    cell_means,
    correct_over_comparisons,
    robustness,
    shared_of,
    target_names,
)
from xlray.analysis.factorial import two_by_two
from xlray.analysis.items import ItemVariance, item_variances
from xlray.analysis.points import WITHOUT_TATOEBA, Estimate, Point, Sampling, estimable, headline_of, means_of_languages
from xlray.analysis.regression import contributions
from xlray.analysis.results import Results
from xlray.analysis.selection import rank_correlations, selection_correlations, selection_gaps
from xlray.analysis.tuned import at_best_values


def sweep_estimates(
    results: Results, points: Sequence[Point], select_by: str, sampling: Sampling | None = None
) -> tuple[Estimate, ...]:
    """Everything that a sweep's data allow; of one with axes: everything of its cells at their best values, and the means
    and differences of all its cells in accuracy. Those take the evaluated items as they are: a grid may have
    thousands of cells, and each would hold a number for every item.

    Args:
        points: as `collect_points` makes them.
        select_by: the signal by which values of axes are chosen, as in `Sweep`.
    """
    sampling = sampling or Sampling()
    tuned, choices = at_best_values(points, select_by)
    found = all_estimates(tuned, sampling, item_variances(results, tuned))
    if not choices:
        return found
    for rung in sorted({point.rung_index for point in points}):
        here = estimable(points, rung)
        # Of the tuned points: in the grid each subset comes at many values, which are no further subsets.
        shared = shared_of(here, estimable(tuned, rung))
        known = {(e.name, e.rung) for e in found}  # of cells that no axis changes, such as the control
        made = [
            e
            for outcome in means_of_languages(here)
            for make in (cell_means, cell_differences)
            for e in make(here, outcome, sampling, None, shared)
        ]
        found = (*found, *(e for e in made if (e.name, e.rung) not in known))
    return found


def all_estimates(
    points: Sequence[Point], sampling: Sampling | None = None, item_variances: Mapping[int, ItemVariance] | None = None
) -> tuple[Estimate, ...]:
    """Everything that the data allow: the two by two, means, differences, contributions at every rung, order between rungs.

    Single targets, other languages, the mean without Tatoeba, robustness and the gap of selection are estimated at the last
    rung that has estimates.

    Args:
        points: as `collect_points` makes them.
        sampling: draws and level.
        item_variances: by rung number; without one the evaluated items are taken as they are.
    """
    sampling = sampling or Sampling()
    headline = headline_of(points)
    estimates: list[Estimate] = []
    rungs = [rung for rung in sorted({point.rung_index for point in points}) if estimable(points, rung)]
    for rung in rungs:
        here = estimable(points, rung)
        items, shared = (item_variances or {}).get(rung), shared_of(here)
        outcomes = means_of_languages(here)
        if rung == rungs[-1]:
            others = {outcome for point in here for outcome in point.scores} - {*outcomes, WITHOUT_TATOEBA}
            outcomes += [WITHOUT_TATOEBA, *sorted(others)]
        found: list[Estimate] = []
        for outcome in outcomes:
            for make in (two_by_two, cell_means, cell_differences):
                found += make(here, outcome, sampling, items, shared)
        estimates += correct_over_comparisons(found, target_names(here), headline)
        estimates += contributions(here, headline, sampling).estimates
        if rung == rungs[-1]:
            estimates += robustness(here, found, sampling, items)
            estimates += selection_gaps(here, sampling) + selection_correlations(here, sampling)
    return (*estimates, *rank_correlations(points, headline, sampling))
