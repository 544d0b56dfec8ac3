"""A few of the study's sweeps again: what is estimated from them must be what is stored."""

import numpy as np
import pytest
import statistics_study as study
from simulator import TARGETS, simulate

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Estimate, Sampling, effects


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
    simulated = next(study.simulated_chunks(scenario, design, study.NUM_SWEEPS))
    for sweep in range(study.NUM_KEPT):
        points = study.to_points(simulated, scenario, sweep)
        for estimate in analysis.cell_differences(points, FI_ACCURACY, Sampling()):
            found = (estimate.value, estimate.low, estimate.high)
            assert found == pytest.approx(stored[estimate.name.split("/", 2)[2], sweep], abs=2e-6)


def covered(name, design: tuple[int, int], num_sweeps=400):
    """{pair: [outcomes] share of the sweeps in which the interval holds the truth} and the median widths."""
    (scenario,) = (scenario for scenario in study.SCENARIOS if scenario.name == name)
    simulated = simulate(scenario, num_sweeps, *design, study.generator(scenario, design))
    shares, widths = {}, {}
    for pair, rows in study.estimate(simulated, scenario).items():
        _, low, high, _, _, truth = np.moveaxis(rows, -1, 0)
        shares[pair] = ((low <= truth) & (truth <= high)).mean(axis=0)
        widths[pair] = np.median(high - low, axis=0)
    return shares, widths


@pytest.mark.parametrize("design", study.DESIGNS)
def test_intervals_between_cells_of_one_subset_hold_the_truth(design):
    shares, _ = covered("whole pools", design)
    alone = [shares[pair] for pair in (("32-first", "0"), ("32-second", "0"), ("32-second", "32-first"))]
    assert np.min(alone) >= 0.93


def test_a_control_that_no_seed_changes_has_no_noise():
    """Against it a cell's difference is as sure as the cell's mean, and no wider."""
    shares, _ = covered("Tatoeba without a seed", (5, 12))
    place = study.OUTCOMES.index("tatoeba")
    assert min(found[place] for pair, found in shares.items() if pair[1] == "0") >= 0.93
    (scenario,) = (scenario for scenario in study.SCENARIOS if scenario.name == "Tatoeba without a seed")
    simulated = simulate(scenario, 2, 5, 12, np.random.default_rng(0))
    points = study.to_points(simulated, scenario, 0)
    means = {e.name.rsplit("/", 1)[1]: e for e in analysis.cell_means(points, "tatoeba", Sampling())}
    for gap in analysis.cell_differences(points, "tatoeba", Sampling()):
        more, fewer = gap.name.rsplit("/", 1)[1].split(" - ")
        if fewer == "0":
            assert gap.standard_error == pytest.approx(means[more].standard_error)
            assert gap.degrees_of_freedom == pytest.approx(means[more].degrees_of_freedom)


@pytest.mark.parametrize("design", study.DESIGNS)
def test_few_sweeps_without_an_effect_have_a_finding_after_correction(design: tuple[int, int]):
    """Over all pairs of cells in Finnish accuracy, and over pairs and targets: one in twenty each."""
    (scenario,) = (scenario for scenario in study.SCENARIOS if scenario.name == "null")
    made = study.estimate(simulate(scenario, 300, *design, np.random.default_rng(0)), scenario)
    found = []
    for sweep in range(300):
        gaps = [
            Estimate(f"difference/{outcome}/{pair}", 0.0, None, None, 0.95, *design, 1, p_value=rows[sweep, n, 3])
            for pair, rows in made.items()
            for n, outcome in enumerate(study.OUTCOMES)
        ]
        gaps = effects.correct_over_comparisons(gaps, TARGETS)
        found.append([any(e.p_holm <= 0.05 for e in gaps if (FI_ACCURACY in e.name) == mean) for mean in (True, False)])
    assert np.mean(found, axis=0).max() <= 0.07


def test_the_page_says_what_is_stored():
    page = (study.DOCS / "statistics.md").read_text()
    assert study.markdown(study.read("coverage"), study.read("false-findings")) in page
    assert all(
        study.plain_table(study.read(name)) in page for name in ("power", "factorial", "tasks", "estimates", "families")
    )


def test_the_studies_make_by_default_what_is_stored():
    def repetitions(name, **row):
        return {int(r["sweeps"]) for r in study.read(name) if row.items() <= r.items()}

    for name in ("families", "factorial", "tasks", "power"):
        assert repetitions(name) == {study.NUM_SWEEPS}, name
    assert repetitions("estimates", estimate="Shapley values") == {study.NUM_SWEEPS}
    assert {row["scenario"] for row in study.read("coverage")} == {scenario.name for scenario in study.SCENARIOS}
    assert min(repetitions("coverage")) >= study.NUM_SWEEPS
    assert {row["design"] for row in study.read("power")} == {design for design, _, _ in study.POWERED}


def test_the_simulator_draws_around_the_truth_it_states():
    for scenario in study.SCENARIOS[:3]:
        simulated = simulate(scenario, 400, 3, 6, np.random.default_rng(0))
        for cell in simulated.cells:
            error = (cell.scores - cell.truth[:, None, None]).mean(axis=(1, 2))
            spread = error.std(axis=0, ddof=1) / np.sqrt(len(error))
            assert (np.abs(error.mean(axis=0)) < 4 * spread).all()
