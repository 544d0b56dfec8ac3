"""The smallest differences between its cells that a plan is likely to find."""

from __future__ import annotations

from typing import Any

from xlray.analysis import (
    ASSUMED,
    FI_ACCURACY,
    Point,
    Variances,
    collect_points,
    compared_cells,
    estimable,
    estimate_variances,
    find_overlap,
    minimum_detectable_effect,
    too_few,
)
from xlray.analysis.results import load_results
from xlray.plan.trials import SweepPlan
from xlray.storage.sweep_folder import SweepFolder


def detectable_effects(plan: SweepPlan, directory: SweepFolder) -> dict[str, Any]:
    """What each comparison of cells finds with probability 0.8 at the level 0.95, in points of Finnish accuracy.

    In a sweep with axes cells are compared at the same values of them. Trials that may be stopped are counted only where
    there are no others; the differences are those of the first rung then.

    Args:
        directory: the sweep's folder; variances are estimated from the scores in it, if these suffice.

    Returns:
        `{points, comparisons: [{cells, num_subsets, num_seeds, points, missing}], variances: {subset, seed, trial, additive},
        source}`; `missing` says why a comparison has no interval and therefore no `points`, else "";
        `points` is that of the hardest comparison of two cells with tasks, or of any where there is none. None where
        none of these has an interval, or nothing is compared.
    """
    trials = [trial for trial in plan.trials if trial.role in ("measure", "explore")]
    trials = [trial for trial in trials if trial.role == "measure"] or trials
    cells: dict[str, dict[str, tuple[str, ...]]] = {}
    for trial in trials:
        chain, tasks, subset = trial.subset.chain, trial.config.tasks, trial.subset
        cluster = " ".join(tasks) if chain is None or not tasks else f"{chain} {subset.design} of {subset.source}"
        cells.setdefault(trial.population, {})[cluster] = tasks
    places = {trial.population: (len(trial.config.tasks), trial.subset.source) for trial in trials}
    sources = {cell: source for cell, (_, source) in places.items()}
    num_seeds = len(plan.sweep.seeds)
    variances, source = _variances(directory)
    comparisons: list[dict[str, Any]] = []
    for more, fewer in compared_cells(places):
        sizes = (len(cells[more]), len(cells[fewer]))
        missing = too_few(num_seeds, min((size for size in sizes if size > 1), default=1))
        points = None
        if not missing:
            overlap = find_overlap(cells, sources, (more, fewer), num_seeds, variances)
            points = minimum_detectable_effect(sizes, num_seeds, variances, overlap=overlap)
        numbers = {"num_subsets": sizes, "num_seeds": num_seeds, "points": points, "missing": missing}
        comparisons.append({"cells": [more, fewer], **numbers})
    found = [c for c in comparisons if all(places[cell][0] for cell in c["cells"])] or comparisons
    known = [c["points"] for c in found if c["points"] is not None]
    return {
        "points": max(known, default=None),
        "comparisons": comparisons,
        "variances": {
            "subset": variances.subset,
            "seed": variances.seed,
            "trial": variances.trial,
            "additive": variances.additive,
        },
        "source": source,
    }


def _variances(directory: SweepFolder) -> tuple[Variances, str]:
    """Of a score within a cell, and where that is from; measured at the last rung that suffices."""
    if (directory / "results/scores.parquet").exists():
        points = collect_points(load_results(directory.path), directory.journal.read())
        for index in sorted({point.rung_index for point in points}, reverse=True):
            here: list[Point] = estimable(points, index)
            found = estimate_variances(here, FI_ACCURACY)
            if found is not None:
                return found, f"measured in {len(here)} trials of this sweep at {here[0].rung:,} examples"
    return ASSUMED, "assumed, nothing was measured yet"
