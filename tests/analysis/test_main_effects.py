import itertools

import numpy as np
import pytest

from xlray.analysis import Sampling, main_effects
from xlray.analysis.points import FI_ACCURACY, Point

RATES, HEATS = ("1e-5", "2e-5", "4e-5"), ("1", "3")
EFFECT = dict(zip(RATES, (-1.0, 0.5, 0.5), strict=True)) | dict(zip(HEATS, (-2.0, 2.0), strict=True))


def grid(seeds=(0, 1, 2), num_subsets=3, noise=0.0, rng=0, leave_out=0):
    random = np.random.default_rng(rng)
    of_subset, of_seed = random.normal(0, 3, num_subsets), random.normal(0, 3, len(seeds))
    points = []
    for (rate, heat), subset, (column, seed) in itertools.product(
        itertools.product(RATES, HEATS), range(num_subsets), enumerate(seeds)
    ):
        setting = f"lr={rate} T={heat}"
        value = 50 + EFFECT[rate] + EFFECT[heat] + of_subset[subset] + of_seed[column] + random.normal(0, noise or 1e-9)
        tasks = (f"a{subset}", f"b{subset}")
        place = (
            f"{setting}-{subset}-{seed}",
            "measure",
            f"2-en {setting}",
            2,
            "en",
            tasks,
            " ".join(tasks),
            seed,
            64,
            0,
        )
        points.append(Point(*place, {FI_ACCURACY: value}, 1.0, setting=setting))
    return points[leave_out:]


def test_main_effects_are_what_was_put_in_whatever_subsets_and_seeds_add():
    found, missing = main_effects(grid(), FI_ACCURACY, Sampling())
    assert missing == []
    assert [(e.axis, e.value) for e in found] == [("lr", r) for r in RATES] + [("T", h) for h in HEATS]
    for effect in found:
        assert effect.estimate.value == pytest.approx(EFFECT[effect.value], abs=1e-6)
        assert effect.estimate.name == f"axis/fi_accuracy/2-en/{effect.axis}={effect.value}"
        assert effect.estimate.num_seeds == 3 and effect.estimate.num_trials == 54


def test_intervals_hold_the_truth_as_often_as_they_say():
    inside = [
        e.estimate.low <= EFFECT[e.value] <= e.estimate.high
        for rng in range(120)
        for e in main_effects(grid(noise=1.0, rng=rng), FI_ACCURACY, Sampling())[0]
    ]
    assert 0.91 <= np.mean(inside) <= 0.995


def test_the_fit_is_that_of_least_squares():
    points = grid(noise=1.0)
    found, _ = main_effects(points, FI_ACCURACY, Sampling())
    names = [*RATES[1:], *HEATS[1:]]
    x = np.array([[1.0, *(float(name in p.setting.replace("=", " ").split()) for name in names)] for p in points])
    y = np.array([p.scores[FI_ACCURACY] for p in points])
    fitted = dict(zip(names, np.linalg.lstsq(x, y, rcond=None)[0][1:], strict=True))
    ours = {e.value: e.estimate.value for e in found}
    assert ours["2e-5"] - ours["1e-5"] == pytest.approx(fitted["2e-5"])
    assert ours["3"] - ours["1"] == pytest.approx(fitted["3"])


def test_two_seeds_or_a_grid_with_holes_have_none():
    assert main_effects(grid(seeds=(0, 1)), FI_ACCURACY, Sampling()) == (
        [],
        ["2-en: 3 seeds with all combinations of values, but there are 2"],
    )
    assert main_effects(grid(leave_out=9), FI_ACCURACY, Sampling()) == (
        [],
        ["2-en: all combinations of values, but 5 of 6 are there"],
    )
    assert main_effects([], FI_ACCURACY, Sampling()) == ([], [])
