"""Subsets that share tasks: what a draw that uses tasks evenly takes off the error of a difference of cells."""

import dataclasses

import numpy as np
import pytest
import statistics_study as study
from simulator import Scenario

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Sampling
from xlray.analysis.membership import SHARES, additivity, make_membership, reduced, spread
from xlray.config import subsets

TASKS = [f"t{number:02d}" for number in range(24)]


def values(held, generator, additive, remainder, noise=0.3, seeds=4, targets=4):
    """[targets, clusters, seeds] with these standard deviations of a subset."""
    by_task = generator.normal(size=(targets, len(held.pool))) * additive / np.sqrt(held.spread[0])
    own = generator.normal(size=(targets, len(held.rows))) * remainder
    return (by_task @ held.rows.T + own)[..., None] + generator.normal(size=(targets, len(held.rows), seeds)) * noise


def drawn(size=8, num=12, seed=0):
    design = subsets.random_subsets(TASKS, size, num, seed=seed)
    return make_membership([subset.tasks for subset in design], TASKS)


def test_the_additive_share_is_found_over_cells_and_targets():
    generator = np.random.default_rng(0)
    found = {}
    for truth, spreads in {1.0: (1.0, 0.0), 0.0: (0.0, 1.0)}.items():
        shares = []
        for seed in range(20):
            cells = [(held, values(held, generator, *spreads)) for held in (drawn(8, seed=seed), drawn(12, seed=seed))]
            shares.append(additivity(cells).weights @ SHARES)
        found[truth] = np.mean(shares)
    assert found[1.0] > 0.8 and found[0.0] < 0.2


def test_what_tasks_add_nearly_cancels_in_even_draws_and_not_in_independent_ones():
    """By how much the variance is lower lies between all additive, which the draws alone give, and nothing additive."""
    held = drawn()
    groups = [[[(0, row)] for row in range(12)]]
    generator = np.random.default_rng(0)
    additive = additivity([(held, values(held, generator, 1.0, 0.0, noise=0.05))])
    mean, doubt = reduced(spread([(1.0, held)], groups, additive.size), additive)
    assert 0 < mean < 0.1 and doubt > 0
    lines = np.array([generator.permutation(24)[:8] for _ in range(12)])
    independent = make_membership([[TASKS[task] for task in line] for line in lines], TASKS)
    mean, doubt = reduced(spread([(1.0, independent)], groups, additive.size), additive)
    assert mean == pytest.approx(1.0) and doubt == pytest.approx(0.0)


def test_axes_without_variance_hold_nothing_of_the_level_of_scores():
    """Eight of 24, twelve times: each three draws use every task once, so other axes than the constant one have none."""
    held = drawn()
    _, parts, axes = held.spread
    assert (parts < 1e-9).sum() == 3 and parts.mean() == pytest.approx(1)
    assert axes.sum(axis=0) == pytest.approx(np.zeros(11), abs=1e-9)
    level = values(held, np.random.default_rng(0), 1.0, 0.0)
    assert additivity([(held, level)]).weights == pytest.approx(additivity([(held, level + 60)]).weights)


@pytest.mark.parametrize(
    "tasks",
    [
        [[task] for task in TASKS[:6]],
        [[other for other in TASKS[:6] if other != task] for task in TASKS[:6]],
        [TASKS[:3], TASKS[3:6]],
    ],
    ids=["single tasks", "leave one out", "two lists"],
)
def test_subsets_that_overlap_evenly_tell_nothing_and_count_as_independent(tasks):
    held = make_membership(tasks, sorted({task for names in tasks for task in names}))
    assert additivity([(held, values(held, np.random.default_rng(0), 1.0, 0.0))]) is None


@pytest.mark.parametrize("name", ["matched", "random subsets"])
def test_differences_over_the_shipped_draws_hold_the_truth_in_intervals_worth_their_money(name):
    """Taken as independent draws their intervals held it always, and were 1.7 to 2.8 times the oracle's."""
    scenario = next(dataclasses.replace(known, pool_size=24) for known in study.SCENARIOS if known.name == name)
    made = study.simulated_chunks(scenario, (5, 12), 80)
    found = [study.estimate(some, scenario) for some in made]
    for pair in found[0]:
        if not pair[1].startswith("0"):
            rows = np.concatenate([part[pair] for part in found])[:, 1:]
            value, low, high, *_, truth = np.moveaxis(rows, -1, 0)
            assert ((low <= truth) & (truth <= high)).mean() > 0.92
            oracle = np.quantile(np.abs(value - truth), 0.95, axis=0)
            assert (np.median((high - low) / 2, axis=0) / oracle).mean() < 1.5


def test_independent_chains_are_estimated_as_before():
    scenario = Scenario("chains of a report")
    simulated = next(study.simulated_chunks(scenario, (3, 6), 1))
    points = study.to_points(simulated, scenario, 0)
    (expected,) = (
        rows[0, 0] for pair, rows in study.estimate(simulated, scenario).items() if pair == ("20-first", "9-first")
    )
    found = {e.name.split("/")[2]: e for e in analysis.cell_differences(points, FI_ACCURACY, Sampling())}
    estimate = found["20-first - 9-first"]
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected[:3])
