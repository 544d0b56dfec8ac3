"""Cells of a sweep with axes: what is compared with what, and which values each takes without flattering itself."""

import dataclasses
import itertools

import numpy as np
import pytest

from xlray.analysis import at_best_values, cell_differences, cell_means, cell_pairs, edges
from xlray.analysis.points import Point, Sampling

RATES = ("lr=5e-6", "lr=1e-5", "lr=2e-5")


def point(cell, setting, subset, seed, score, english=None):
    tasks = () if cell == "0" else tuple(f"{cell}-{subset}-{i}" for i in range(int(cell.partition("-")[0])))
    full = f"{cell} {setting}".strip()
    scores = {"fi_accuracy": score, "without_tatoeba": score, "udpos": score}
    if english is not None:
        scores["udpos@en"] = english
    place = (f"{full}/{subset}/{seed}", "measure", full, len(tasks), "en", tasks, " ".join(tasks), seed, 64, 0)
    return Point(*place, scores, 1.0, setting=setting)


def grid(score, cells=("9-en", "20-en"), settings=RATES, num_subsets=3, seeds=(0, 1, 2)):
    """A point for each cell, setting, subset and seed; `score` is a function of them."""
    places = itertools.product(cells, settings, range(num_subsets), seeds)
    return [point(cell, setting, subset, seed, score(cell, setting, seed)) for cell, setting, subset, seed in places]


def test_each_number_of_tasks_is_taken_at_its_own_best_value():
    best = {"9-en": "lr=1e-5", "20-en": "lr=2e-5"}
    points = [*grid(lambda cell, setting, seed: 60 + 5 * (best[cell] == setting) + seed), point("0", "", 0, 0, 50.0)]
    tuned, choices = at_best_values(points, "target-dev")
    assert {(p.cell, p.setting) for p in tuned} == {("9-en", ""), ("20-en", ""), ("0", "")}
    assert len(tuned) == 2 * 9 + 1 and {p.scores["fi_accuracy"] - p.seed for p in tuned if p.num_tasks} == {65}
    found = {c.population: c for c in choices}
    assert all(found[cell].best == setting and found[cell].held_out for cell, setting in best.items())
    assert found["9-en"].taken == dict.fromkeys((0, 1, 2), "lr=1e-5") and found["9-en"].means["lr=2e-5"] == 61


def test_a_sweep_without_axes_is_as_it_was():
    points = grid(lambda cell, setting, seed: 60.0, settings=("",))
    assert at_best_values(points, "target-dev") == (tuple(points), ())


def test_choosing_on_other_seeds_does_not_flatter_where_no_value_is_better():
    settings = tuple(f"lr={i}e-6" for i in range(1, 11))
    rng = np.random.default_rng(0)
    tuned_means, best_means = [], []
    for _ in range(150):
        points = grid(lambda *_: float(rng.normal(60, 1)), ("9-en",), settings, num_subsets=1)
        tuned, (choice,) = at_best_values(points, "target-dev")
        tuned_means.append(np.mean([p.scores["fi_accuracy"] for p in tuned]))
        best_means.append(choice.means[choice.best])
    assert abs(np.mean(tuned_means) - 60) < 0.2  # its standard error is about 0.05
    assert np.mean(best_means) > 60.6  # the best of ten means of three flatters itself


def test_with_one_seed_the_choice_is_scored_by_what_made_it_and_says_so():
    _, (choice,) = at_best_values(grid(lambda c, setting, s: float(len(setting)), ("9-en",), seeds=(4,)), "target-dev")
    assert not choice.held_out and set(choice.taken) == {4}


def test_values_are_chosen_by_the_signal_of_the_sweep():
    def scored(setting, seed):
        return point(
            "9-en", setting, 0, seed, {"lr=1e-5": 70.0}.get(setting, 60.0), english=90.0 - 10 * (setting == "lr=1e-5")
        )

    points = [scored(setting, seed) for setting in ("lr=1e-5", "lr=2e-5") for seed in (0, 1)]
    assert at_best_values(points, "target-dev")[1][0].best == "lr=1e-5"
    tuned, (choice,) = at_best_values(points, "english-dev")
    assert choice.best == "lr=2e-5" and {p.scores["fi_accuracy"] for p in tuned} == {60.0}


@pytest.mark.parametrize("select_by", ["target-dev", "english-dev"])
def test_a_seed_that_diverged_at_the_best_value_is_scored_there_and_counts_against_it(select_by):
    points = []
    for setting, seed in itertools.product(RATES, range(4)):
        score = {"lr=5e-6": 60.0, "lr=1e-5": 61.0, "lr=2e-5": 70.0}[setting]
        made = point("9-en", setting, 0, seed, score, english=score)
        if (setting, seed) == ("lr=2e-5", 0):  # no score in English, and in Finnish what the majority answer has
            made = dataclasses.replace(point("9-en", setting, 0, seed, 20.0), diverged=True, degenerate=True)
        points.append(made)
    tuned, (choice,) = at_best_values(points, select_by)
    assert choice.taken[0] == "lr=2e-5" and next(p for p in tuned if p.seed == 0).scores["fi_accuracy"] == 20
    assert choice.means["lr=2e-5"] == pytest.approx((210 + 20 * (select_by == "target-dev")) / 4)
    assert choice.taken == {0: "lr=2e-5", **dict.fromkeys((1, 2, 3), "lr=1e-5")}


@pytest.mark.parametrize(
    ("best", "found"),
    [("lr=5e-6", [("lr", "5e-6", "smallest")]), ("lr=1e-5", []), ("lr=2e-5", [("lr", "2e-5", "largest")])],
)
def test_a_best_value_at_the_end_of_its_axis_is_an_edge(best, found):
    _, (choice,) = at_best_values(grid(lambda c, setting, s: 60.0 + (setting == best), ("9-en",)), "target-dev")
    assert edges(choice) == found


def test_words_and_fields_that_vary_together_have_no_edge():
    settings = ("schedule=linear batch=16,lr=1e-5", "schedule=constant batch=32,lr=2e-5")
    _, (choice,) = at_best_values(grid(lambda *_: 60.0, ("9-en",), settings), "target-dev")
    assert edges(choice) == []


def test_cells_are_compared_at_the_same_values_and_along_one_axis():
    settings = tuple(f"lr={rate} T={heat}" for rate in (1, 2) for heat in (1, 3))
    points = [*grid(lambda *_: 60.0, settings=settings), *(point("0", "", 0, s, 50.0) for s in (0, 1, 2))]
    pairs = {frozenset(pair) for pair in cell_pairs(points)}
    assert frozenset(("20-en lr=1 T=1", "9-en lr=1 T=1")) in pairs and frozenset(("9-en lr=1 T=3", "0")) in pairs
    assert frozenset(("9-en lr=1 T=1", "9-en lr=2 T=1")) in pairs
    assert frozenset(("9-en lr=1 T=1", "9-en lr=2 T=3")) not in pairs  # two values differ
    assert frozenset(("20-en lr=1 T=1", "9-en lr=2 T=1")) not in pairs
    assert len(pairs) == len(cell_pairs(points)) == 4 * 3 + 2 * 4


def test_a_control_is_compared_at_the_values_that_it_has():
    settings = ("lr=1 panx.lr=1", "lr=1 panx.lr=2")
    points = grid(lambda *_: 60.0, ("9-en",), settings)
    points += [point("0", f"panx.lr={rate}", 0, seed, 50.0) for rate in (1, 2) for seed in (0, 1, 2)]
    pairs = set(map(frozenset, cell_pairs(points)))
    assert frozenset(("9-en lr=1 panx.lr=2", "0 panx.lr=2")) in pairs
    assert frozenset(("9-en lr=1 panx.lr=2", "0 panx.lr=1")) not in pairs
    assert frozenset(("0 panx.lr=1", "0 panx.lr=2")) in pairs


def test_means_and_differences_have_the_values_in_their_names():
    points = grid(lambda cell, setting, seed: {"lr=5e-6": 60.0, "lr=1e-5": 62.0, "lr=2e-5": 61.0}[setting] + seed)
    means = {e.name: e.value for e in cell_means(points, "fi_accuracy", Sampling())}
    assert means["mean/fi_accuracy/9-en lr=1e-5"] == pytest.approx(63)
    gaps = {e.name: e.value for e in cell_differences(points, "fi_accuracy", Sampling())}
    assert gaps["difference/fi_accuracy/9-en lr=2e-5 - 9-en lr=1e-5"] == pytest.approx(-1)
    assert gaps["difference/fi_accuracy/20-en lr=1e-5 - 9-en lr=1e-5"] == pytest.approx(0)
