import dataclasses

import numpy as np
import pytest

from xlray.analysis import importance_of_fields
from xlray.analysis.points import FI_ACCURACY, WITHOUT_TATOEBA, Point

RATE = {"type": "Real", "low": 1e-6, "high": 1e-3, "log": True, "step": None}
HEAT = {"type": "Real", "low": 1.0, "high": 5.0, "log": False, "step": None}
SPACE = {"rate": RATE, "heat": HEAT, "mixing": None}


def searched(num=60, seed=0):
    """The rate moves a score by 20 points, the temperature by 5, the mixture by none; the larger of two subsets adds 30."""
    random = np.random.default_rng(seed)
    points, values = [], {}
    for n in range(num):
        rate, heat = 10 ** random.uniform(-6, -3), random.uniform(1, 5)
        values[str(n)] = {"rate": rate, "heat": heat, "mixing": ("uniform", "proportional")[n % 2]}
        size = 2 + n % 3 // 2
        score = 30 * (size == 3) - 10 * abs(np.log10(rate) + 4) + 5 * (heat - 1) / 4
        cell, tasks = f"{size}-search T={n}", ("a", "b", "c")[:size]
        place = (str(n), "search", cell, size, "search", tasks, " ".join(tasks), 0, 64)
        for rung in (0, 1):
            scores = {FI_ACCURACY: score + rung, WITHOUT_TATOEBA: score + rung}
            points.append(Point(*place, rung, scores, setting=f"T={n}"))
    return points, values


def test_fields_are_ranked_by_what_they_do_and_the_number_of_tasks_explains_nothing():
    points, values = searched()
    found = importance_of_fields(points, values, SPACE, 1, "target-dev")
    assert list(found.shares) == ["rate", "heat", "mixing"] and found.missing == ""
    assert found.shares["rate"] > 0.7 and 0.3 > found.shares["heat"] > found.shares["mixing"]
    assert sum(found.shares.values()) <= 1 + 1e-9 and found.num_trials == 60
    assert importance_of_fields(points, values, SPACE, 1, "target-dev") == found


def test_what_did_not_run_to_the_end_is_left_out_and_counted():
    points, values = searched(20)
    points = [p for p in points if not (p.trial_id in ("0", "1", "2") and p.rung_index == 1)]
    points[-1] = dataclasses.replace(points[-1], diverged=True)
    del values["3"]["heat"]
    found = importance_of_fields(points, values, SPACE, 1, "target-dev")
    assert found.num_trials == 15
    assert found.left_out == {
        "stopped, or still running, before the last rung": 3,
        "diverged": 1,
        "without a value of every field": 1,
    }


def test_few_trials_fields_without_two_values_and_missing_packages_are_said(monkeypatch):
    points, values = searched(7)
    assert importance_of_fields(points, values, SPACE, 1, "target-dev").missing == (
        "8 trials that ran to the last rung, but there are 7"
    )
    points, values = searched(12)
    same = {name: {"rate": 1e-5} for name in values}
    assert importance_of_fields(points, same, {"rate": RATE}, 1, "target-dev").missing == "a field with two values"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = importance_of_fields(points, values, SPACE, 1, "target-dev")
    assert found.missing == "the packages optuna and scikit-learn: pip install 'xlray[search]'" and not found.shares


def test_a_space_that_was_narrowed_holds_the_trials_of_before():
    points, values = searched(30)
    narrow = {**SPACE, "rate": {**RATE, "low": 1e-5, "high": 1e-4}}
    assert pytest.approx(1, abs=0.5) == sum(
        importance_of_fields(points, values, narrow, 1, "target-dev").shares.values()
    )


def test_trials_of_the_sweep_count_beside_proposals_of_their_seed_alone():
    """They stand at the recipe's values: from their own mean, a good recipe would look like an average one."""
    points, values = searched(30)
    place = ("measure", "3-en", 3, "en", ("a", "b", "c"), "a b c")
    own = [Point(f"own{seed}{n}", *place, seed, 64, 1, {FI_ACCURACY: 30.0 + n}) for seed in (0, 1) for n in (0, 1)]
    values |= {p.trial_id: {"rate": 1e-4, "heat": 3.0, "mixing": "uniform"} for p in own}
    found = importance_of_fields([*points, *own], values, SPACE, 1, "target-dev")
    assert found.num_trials == 32
    assert found.left_out == {"at other seeds or numbers of tasks than any proposal": 2}
