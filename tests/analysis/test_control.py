"""How much noisier a control is: each target asks the others."""

import dataclasses

import numpy as np
import pytest
import statistics_study as study
from simulator import TARGETS, Scenario, simulate

from xlray import analysis
from xlray.analysis import FI_ACCURACY
from xlray.analysis.control import FREEDOM, LEAST
from xlray.analysis.effects import shared_of

SCENARIO = Scenario("control", task_spread=0.2, seed_cell_spread=0.3)


def found_in(scenario, design: tuple[int, int] = (5, 12), num_sweeps=200):
    """Of the control: [sweeps, mean and targets] multiples and freedom."""
    simulated = simulate(scenario, num_sweeps, *design, np.random.default_rng(1))
    return study.controls_of({cell.name: study.grid_of(cell, scenario) for cell in simulated.cells})["0"]


@pytest.mark.parametrize(("louder", "low", "high"), [(1.0, 0.9, 1.3), (3.0, 6.0, 11.0)])
def test_a_noisier_control_is_found_noisier(louder, low, high):
    found = found_in(dataclasses.replace(SCENARIO, control_noise=louder))
    assert low < np.median(found.multiple) < high  # of the variance
    assert (found.freedom == FREEDOM).all() and (found.multiple >= LEAST / 2).all()


def test_a_noisy_cell_does_not_make_the_control_noisy():
    """Of four cells one has four times the variance, so what is common is 1 / 1.75 of the mean."""
    found = found_in(dataclasses.replace(SCENARIO, largest_noise=2.0))
    assert np.median(found.multiple) == pytest.approx(1 / 1.75, abs=0.12)


def test_a_target_is_not_asked_about_itself_and_one_that_no_seed_changes_says_nothing():
    plain, changed = (found_in(dataclasses.replace(SCENARIO, control_target_noise=n), (3, 6), 50) for n in (1.0, 5.0))
    place = 1 + TARGETS.index("tatoeba")
    assert plain.multiple[:, place] == pytest.approx(changed.multiple[:, place])
    others = [n for n in range(5) if n != place]
    assert (plain.multiple[:, others] <= changed.multiple[:, others]).all()
    assert np.median(changed.multiple[:, others]) > 2 * np.median(plain.multiple[:, others])
    fixed = found_in(dataclasses.replace(SCENARIO, fixed_control=True), (3, 6), 2).freedom
    assert fixed[0].tolist() == [2, 2, FREEDOM, 2, 2]  # Tatoeba has three others


def test_a_single_target_is_judged_by_its_own_seeds():
    simulated = simulate(SCENARIO, 1, 3, 6, np.random.default_rng(0))
    points = study.to_points(simulated, SCENARIO, 0)
    assert shared_of(points).controls["0"].freedom.tolist() == [FREEDOM] * 5
    alone = [dataclasses.replace(p, scores=dict.fromkeys(("panx", FI_ACCURACY), p.scores["panx"])) for p in points]
    assert shared_of(alone).controls["0"].freedom.tolist() == [0, 0]


@pytest.mark.parametrize("design", study.DESIGNS)
def test_a_control_three_times_as_noisy_makes_few_false_findings(design):
    """It was 10 and 11 % where three quarters of the other cells' noise counted as known."""
    rows = estimated(dataclasses.replace(SCENARIO, name="control x3", control_noise=3.0), design)
    for pair in (pair for pair in rows if pair[1] == "0"):
        smallest = [min(analysis.holm(p_values)) for p_values in rows[pair][:, 1:, 3]]
        assert np.mean(np.array(smallest) <= 0.05) < 0.07


@pytest.mark.parametrize(("design", "most"), [((5, 12), 1.3), ((3, 6), 1.45)])
def test_a_noisy_cell_does_not_widen_what_it_is_not_in(design, most):
    """Widths over the oracle's were 1.45 and 1.63."""
    (scenario,) = (scenario for scenario in study.SCENARIOS if scenario.name == "one noisy cell")
    for pair, rows in estimated(scenario, design).items():
        if pair[1] == "0":
            value, low, high, *_, truth = rows[:, 0].T
            assert ((low <= truth) & (truth <= high)).mean() > 0.93
            assert np.median(high - low) / 2 / np.quantile(np.abs(value - truth), 0.95) < most


def estimated(scenario, design: tuple[int, int], num_sweeps=600):
    return study.estimate(simulate(scenario, num_sweeps, *design, np.random.default_rng(2)), scenario)
