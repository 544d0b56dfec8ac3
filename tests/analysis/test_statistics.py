"""A few of the study's sweeps again: what is estimated from them must be what is stored."""

import numpy as np
import pytest
import statistics_study as study
from simulator import simulate

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Sampling


@pytest.mark.parametrize("design", study.DESIGNS)
@pytest.mark.parametrize("name", study.SHOWN)
def test_estimates_are_those_of_the_stored_study(name, design):
    """Through the points of a report, not through the study's own grids; a change of an estimator asks for a new run."""
    (scenario,) = (scenario for scenario in study.SCENARIOS if scenario.name == name)
    stored = {
        (row["difference"], int(row["sweep"])): [float(row[key]) for key in ("value", "low", "high")]
        for row in study.read("sweeps")
        if (row["scenario"], int(row["seeds"]), int(row["chains"])) == (name, *design)
    }
    assert stored
    simulated = simulate(scenario, study.CHUNK, *design, study.generator(scenario, design))
    for sweep in range(study.NUM_KEPT):
        points = study.to_points(simulated, scenario, sweep)
        for estimate in analysis.cell_differences(points, FI_ACCURACY, Sampling()):
            found = (estimate.value, estimate.low, estimate.high)
            assert found == pytest.approx(stored[estimate.name.split("/", 2)[2], sweep], abs=2e-6)


def test_the_page_says_what_is_stored():
    page = (study.DOCS / "statistics.md").read_text()
    assert study.markdown(study.read("coverage"), study.read("false-findings")) in page
    assert study.plain_table(study.read("power")) in page


def test_the_simulator_draws_around_the_truth_it_states():
    for scenario in study.SCENARIOS[:3]:
        simulated = simulate(scenario, 400, 3, 6, np.random.default_rng(0))
        for cell in simulated.cells:
            error = (cell.scores - cell.truth[:, None, None]).mean(axis=(1, 2))
            spread = error.std(axis=0, ddof=1) / np.sqrt(len(error))
            assert (np.abs(error.mean(axis=0)) < 4 * spread).all()
