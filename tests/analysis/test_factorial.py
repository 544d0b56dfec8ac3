"""The two by two as one: both main effects and the interaction."""

import dataclasses
import itertools

import numpy as np
import pytest
import statistics_study as study

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, find_two_by_two, two_by_two
from xlray.analysis.points import chain_name
from xlray.config import subsets
from xlray.tasks import pools


def make_points(value, places, draws=4, seeds=(0, 1, 2), together=True):
    """One point for each of the cells (size, source), draw and seed; `value` of size, source, draw and seed."""
    points = []
    for (size, source), draw, seed in itertools.product(places, range(draws), seeds):
        tasks = tuple(f"{source}-{draw}-{number}" for number in range(size))
        drawn_by = "both pools" if together else source
        cluster = chain_name(draw, drawn_by, source) if size > 1 else " ".join(tasks)
        cell, scores = f"{size}-{source}", {FI_ACCURACY: value(size, source, draw, seed)}
        points.append(Point(f"{cell}/{draw}/{seed}", "measure", cell, size, source, tasks, cluster, seed, 8, 0, scores))
    return points


FOUR = tuple(itertools.product((2, 4), ("en", "non-en")))


def additive(size, source, draw, seed):
    """4 tasks gain 3 from en and 5 from non-en; non-en gains 1 more with 2 tasks; a draw and a seed are the same in all."""
    return 50 + {2: 0, 4: 3}[size] + (source == "non-en") * (1 + 2 * (size == 4)) + 7 * draw + 0.5 * seed


def test_the_three_effects_are_those_of_the_four_means_and_pairing_takes_off_what_a_draw_has():
    points = make_points(additive, FOUR)
    found = {e.name: e for e in two_by_two(points, FI_ACCURACY, Sampling())}
    expected = {"number 4 - 2": 4, "source non-en - en": 2, "interaction 4 - 2 x non-en - en": 2}
    assert {name.removeprefix("factor/fi_accuracy/"): e.value for name, e in found.items()} == pytest.approx(expected)
    assert all((e.low, e.high) == pytest.approx((e.value, e.value)) for e in found.values())
    assert {(e.num_seeds, e.num_subsets, e.num_trials, e.rung) for e in found.values()} == {(3, 4, 48, 8)}
    apart = two_by_two(make_points(additive, FOUR, together=False), FI_ACCURACY, Sampling())
    source = next(e for e in apart if "/source" in e.name)
    assert source.value == pytest.approx(2) and source.high - source.low > 10


def test_effects_of_all_rungs_scores_and_their_families_are_among_the_estimates():
    noise = np.random.default_rng(0)
    points = make_points(lambda *place: additive(*place) + noise.normal(), FOUR)
    points = [dataclasses.replace(p, scores={**p.scores, "panx": p.scores[FI_ACCURACY]}) for p in points]
    found = [e for e in analysis.all_estimates(points) if e.name.startswith("factor/")]
    assert [e.name.split("/")[1] for e in found] == [FI_ACCURACY] * 3 + ["panx"] * 3
    for outcome in (FI_ACCURACY, "panx"):
        family = [e for e in found if e.name.split("/")[1] == outcome]
        p_values = [e.p_value for e in family if e.p_value is not None]
        assert [e.p_holm for e in family] == pytest.approx(analysis.holm(p_values))


@pytest.mark.parametrize(
    "places",
    [FOUR[:3], FOUR[:2], (*FOUR, (8, "en")), (*FOUR, (2, "other")), (*FOUR, (1, "en")), ((2, "en"), (4, "non-en"))],
)
def test_what_is_no_full_two_by_two_has_no_such_effects(places):
    points = make_points(lambda *_: 50.0, places)
    assert find_two_by_two(points) is None and two_by_two(points, FI_ACCURACY, Sampling()) == []


def test_two_cells_at_one_number_and_source_make_no_two_by_two():
    points = make_points(additive, FOUR)
    others = [dataclasses.replace(p, cell="2-en 100") for p in points if p.cell == "2-en"]
    assert find_two_by_two([*points, *others]) is None


def test_arms_of_a_matched_design_are_paired_and_its_controls_are_no_pools():
    """With the sources, chains and names of a sweep file: what a draw adds to all its arms is no error of any effect."""
    drawn = subsets.matched(pools.english28, pools.nonenglish_original, sizes=(9, 20), num=3, seed=1)
    some = [subset for subset in drawn if (subset.source, len(subset.tasks)) == ("en", 20)][:2]
    controls = (*subsets.shuffled(some), *subsets.masked_lm(some), *subsets.explicit(["squad"], source="control"))
    points = []
    for subset, seed in itertools.product((*drawn, *controls), (0, 1, 2)):
        size, source = len(subset.tasks), subset.source
        cluster = "squad" if subset.chain is None else chain_name(subset.chain, subset.design, source)
        value = 50 + 7 * (subset.chain or 0) + 3 * (size == 20) - 2 * (source == "en") + seed
        place = (f"{size}-{source}", size, source, subset.tasks, cluster, seed, 8, 0)
        points.append(Point(f"{cluster}/{size}/{seed}", "measure", *place, {FI_ACCURACY: value}))
    found = two_by_two(points, FI_ACCURACY, Sampling())
    expected = {"number 20 - 9": 3, "source non-en - en": 2, "interaction 20 - 9 x non-en - en": 0}
    assert {e.name.split("/")[2]: e.value for e in found} == pytest.approx(expected)
    assert [(e.low, e.high) for e in found] == [pytest.approx((e.value, e.value)) for e in found]


def test_a_control_of_one_task_is_compared_with_every_cell():
    points = make_points(lambda *_: 50.0, [*FOUR, (4, "en-masked"), (1, "control")])
    pairs = {pair for pair in analysis.cell_pairs(points) if "1-control" in pair}
    assert pairs == {(cell, "1-control") for cell in ("2-en", "2-non-en", "4-en", "4-non-en", "4-en-masked")}
    assert ("4-en", "2-control") in analysis.compared_cells({"4-en": (4, "en"), "2-control": (2, "control")})
    assert ("8-control", "4-en") in analysis.compared_cells({"4-en": (4, "en"), "8-control": (8, "control")})


@pytest.mark.parametrize("scenario", study.FACTORIAL, ids=lambda scenario: scenario.name)
def test_intervals_of_the_effects_of_a_small_matched_design_hold_the_truth(scenario):
    scenario = dataclasses.replace(scenario, pool_size=24)
    parts = [made_of(simulated, scenario) for simulated in study.simulated_chunks(scenario, (3, 6), 100)]
    for effect in ("number", "source", "interaction"):
        value, low, high, _, _, truth = np.concatenate([part[effect][:, 0] for part in parts]).T
        assert ((low <= truth) & (truth <= high)).mean() >= 0.93, effect
        narrowest = np.quantile(np.abs(value - truth), 0.95)
        assert np.median(high - low) / 2 / narrowest < 2.2, effect  # where arms are alike 2.5 without pairing


def made_of(simulated, scenario):
    return study.estimate(simulated, scenario, study.factors({c.name: (c.size, c.pool) for c in simulated.cells}))


def test_the_study_of_the_two_by_two_estimates_as_a_report_does():
    simulated = next(study.simulated_chunks(study.FACTORIAL[0], (3, 6), 2))
    made = made_of(simulated, study.FACTORIAL[0])
    for sweep in range(2):
        points = study.to_points(simulated, study.FACTORIAL[0], sweep)
        for estimate in analysis.two_by_two(points, FI_ACCURACY, Sampling()):
            rows = made[estimate.name.split("/")[2].split()[0]]
            assert (estimate.value, estimate.low, estimate.high) == pytest.approx(rows[sweep, 0, :3])
