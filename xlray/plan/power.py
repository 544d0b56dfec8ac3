"""The smallest differences between its cells that a plan is likely to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlray.analysis import (
    ASSUMED,
    Point,
    Variances,
    chain_name,
    collect_points,
    compared_cells,
    detectable,
    draw_of,
    estimable,
    estimate_variances,
    headline_of,
    too_few,
    two_by_two_of,
)
from xlray.analysis.results import load_results
from xlray.plan.trials import SweepPlan
from xlray.storage.standings import standings
from xlray.storage.sweep_folder import SweepFolder


def detectable_effects(plan: SweepPlan, directory: SweepFolder) -> dict[str, Any]:
    """What each comparison of cells finds with probability 0.8 at the level 0.95, in points of accuracy.

    In a sweep with axes cells are compared at the same values of them. Trials that may be stopped are counted only where
    there are no others; the differences are those of the first rung then.

    Args:
        directory: the sweep's folder; variances are estimated from the scores in it, if these suffice.

    Returns:
        `{points, comparisons: [{cells, num_subsets, num_seeds, points, missing}], effects: [{effect, points}], variances:
        {subset, seed, trial, additive}, source}`; `points` is that of the hardest comparison of two cells with tasks, or of
        any where there is none. `effects` are those of a two by two, else []. None where too few seeds or subsets give no
        interval (`missing` says which), or nothing is compared.
    """
    trials = [trial for trial in plan.trials if trial.role in ("measure", "explore")]
    trials = [trial for trial in trials if trial.role == "measure"] or trials
    cells: dict[str, dict[str, tuple[str, ...]]] = {}
    for trial in trials:
        chain, tasks, subset = trial.subset.chain, trial.config.tasks, trial.subset
        cluster = chain_name(chain, subset.design, subset.source) if chain is not None and tasks else " ".join(tasks)
        cells.setdefault(trial.population, {})[draw_of(cluster, subset.source)] = tasks
    places = {trial.population: (len(trial.config.tasks), trial.subset.source) for trial in trials}
    num_seeds = len(plan.sweep.seeds)
    variances, source = _variances(directory)
    pairs = compared_cells(places)
    design = two_by_two_of(places)
    factors = design.contrasts() if design else {}
    sources = {cell: source for cell, (_, source) in places.items()}
    sums: dict[tuple[str, ...], Mapping[str, float]] = {
        pair: dict(zip(pair, (1.0, -1.0), strict=True)) for pair in pairs
    }
    sums |= {(effect,): parts for effect, parts in factors.items()}
    smallest = detectable(cells, sources, sums, num_seeds, variances)
    counts = {cell: len(clusters) for cell, clusters in cells.items()}
    comparisons: list[dict[str, Any]] = [
        {
            "cells": list(pair),
            "num_subsets": tuple(counts[cell] for cell in pair),
            "num_seeds": num_seeds,
            "points": smallest[pair],
            "missing": too_few(num_seeds, min((counts[cell] for cell in pair if counts[cell] > 1), default=1)),
        }
        for pair in pairs
    ]
    found = [c for c in comparisons if all(places[cell][0] for cell in c["cells"])] or comparisons
    known = [c["points"] for c in found if c["points"] is not None]
    return {
        "points": max(known, default=None),
        "comparisons": comparisons,
        "effects": [{"effect": effect, "points": smallest[effect,]} for effect in factors],
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
        points = collect_points(load_results(directory.path), standings(directory.journal.read()).trials)
        for index in sorted({point.rung_index for point in points}, reverse=True):
            here: list[Point] = estimable(points, index)
            found = estimate_variances(here, headline_of(here))
            if found is not None:
                return found, f"measured in {len(here)} trials of this sweep at {here[0].rung:,} examples"
    return ASSUMED, "assumed, nothing was measured yet; additive 1 is the best case"
