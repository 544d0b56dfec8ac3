"""What differences a plan is likely to find: which cells, which variances, and how they are said."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import statistics_study as study

from xlray import analysis
from xlray.cli.tables import detectable_lines
from xlray.config.recipes import Encoder
from xlray.config.subsets import Pool, chains, empty, matched, random_subsets, shuffled
from xlray.config.sweep import Sweep
from xlray.plan.power import detectable_effects
from xlray.storage.sweep_folder import open_sweep

POOL = [f"task{i}" for i in range(24)]


def plan(seeds=(0, 1, 2, 3, 4), **designs):
    sweep = Sweep("s", Encoder("nowhere", "0"), seeds=seeds, **designs)
    return SimpleNamespace(sweep=sweep, trials=sweep.trials())


def found_of(tmp_path, *args, **designs):
    return detectable_effects(plan(*args, **designs), open_sweep(tmp_path))


def test_every_comparison_of_cells_has_its_subsets_and_the_hardest_of_those_with_tasks_counts(tmp_path):
    measure = (*empty(), *random_subsets(POOL, 9, 12, seed=1), *random_subsets(POOL, 4, 3, seed=1))
    found = found_of(tmp_path, measure=measure)
    sizes = {tuple(c["cells"]): c["num_subsets"] for c in found["comparisons"]}
    assert sizes == {("4-all", "0"): (3, 1), ("9-all", "0"): (12, 1), ("9-all", "4-all"): (12, 3)}
    points = {tuple(c["cells"]): c["points"] for c in found["comparisons"]}
    assert found["points"] == points["9-all", "4-all"] < analysis.minimum_detectable_effect((12, 3), 5)
    assert found["source"].startswith("assumed")
    assert json.loads(json.dumps(found))["points"] == found["points"]


def test_prefixes_of_one_chain_count_once_in_a_cell(tmp_path):
    found = found_of(tmp_path, measure=chains(POOL, (4, 9), 6, seed=1))
    assert [c["num_subsets"] for c in found["comparisons"]] == [(6, 6)]


def test_trials_that_may_be_stopped_count_where_there_are_no_others(tmp_path):
    explore = random_subsets(POOL, 9, 12, seed=1)
    assert found_of(tmp_path, measure=empty(), explore=explore)["comparisons"] == []
    assert [c["cells"] for c in found_of(tmp_path, explore=(*empty(), *explore))["comparisons"]] == [["9-all", "0"]]


def test_with_only_controls_beside_a_cell_its_difference_from_them_counts(tmp_path):
    found = found_of(tmp_path, measure=(*empty(), *random_subsets(POOL, 9, 12, seed=1)))
    assert found["points"] == found["comparisons"][0]["points"] < analysis.minimum_detectable_effect((12, 1), 5)


def test_even_draws_find_less_than_independent_chains(tmp_path):
    """Of nine of 24 tasks against four, twelve of each."""
    even = found_of(tmp_path, measure=(*random_subsets(POOL, 9, 12, seed=1), *random_subsets(POOL, 4, 12, seed=1)))
    assert even["points"] < 0.75 * analysis.minimum_detectable_effect(12, 5)


@pytest.mark.parametrize("additive", [0.0, 1.0])
def test_chains_of_two_pools_count_as_independent_whatever_tasks_add(additive):
    cells = {
        source: {f"chain {s.chain} of {source}": s.tasks for s in chains(POOL, (9,), 12, seed=number)}
        for number, source in enumerate(("en", "other"))
    }
    variances = dataclasses.replace(analysis.ASSUMED, additive=additive)
    difference = {"gap": {"en": 1.0, "other": -1.0}}
    found = analysis.detectable(cells, {cell: cell for cell in cells}, difference, 5, variances)["gap"]
    assert found == pytest.approx(analysis.minimum_detectable_effect(12, 5, variances), rel=0.1)


def test_the_three_effects_of_a_two_by_two_have_sizes_of_their_own_and_other_designs_have_none(tmp_path):
    names = {source: tuple(f"{source}{i}" for i in range(24)) for source in ("en", "other")}
    first, second = (
        Pool(tasks, source, dict.fromkeys(tasks, "a"), {}, {task: 1_000 - n for n, task in enumerate(tasks)})
        for source, tasks in names.items()
    )
    drawn = matched(first, second, sizes=(4, 9), num=12, seed=1)
    found = found_of(tmp_path, measure=(*empty(), *drawn, *shuffled(drawn[:1])))
    effects = {e["effect"]: e["points"] for e in found["effects"]}
    number, source, both = "number 9 - 4", "source other - en", "interaction 9 - 4 x other - en"
    assert list(effects) == [number, source, both]
    gaps = {tuple(c["cells"]): c["points"] for c in found["comparisons"]}
    # A main effect is the mean of two differences and the interaction the difference of two.
    assert effects[number] < gaps["9-en", "4-en"] < effects[both] == pytest.approx(2 * effects[number], rel=0.1)
    assert effects[source] < gaps["9-other", "9-en"]
    named = {"9 tasks instead of 4": number, "tasks from other instead of English tasks": source}
    named |= {"interaction of number and source": both}
    line = f"        effects {', '.join(f'{words}: {effects[name]:.2f}' for words, name in named.items())} points"
    assert line in detectable_lines(found)
    alone = found_of(tmp_path, measure=random_subsets(POOL, 9, 12, seed=1))
    assert alone["effects"] == [] and not any("effects" in line for line in detectable_lines(alone))


@pytest.mark.parametrize("comparison", study.POWERED, ids=str)
def test_what_a_plan_names_is_found_as_often_as_it_says(comparison):
    """In simulated sweeps of the shipped designs whose true difference it is; 0.8 is nominal, one standard error 0.03."""
    kind, sizes, aim = comparison
    share = np.mean([study.one_power(kind, sizes, aim, (3, 6), number)[1] for number in range(5)])
    assert 0.7 <= share <= 0.9


def test_one_seed_finds_nothing_and_one_cell_has_nothing_to_find(tmp_path):
    design = (*empty(), *random_subsets(POOL, 9, 12, seed=1))
    single = found_of(tmp_path, (0,), measure=design)
    assert single["points"] is None and single["comparisons"][0]["points"] is None
    assert detectable_lines(single) == ["finds   no difference between cells, for there is no interval: one seed"]
    alone = found_of(tmp_path, measure=empty())
    assert alone["points"] is None and detectable_lines(alone) == []


def test_nothing_is_promised_of_what_the_analysis_gives_no_interval_for(tmp_path):
    """Two seeds are too few for any comparison; two subsets for those that need them as a sample."""
    design = (*empty(), *random_subsets(POOL, 9, 12, seed=1), *random_subsets(POOL, 4, 2, seed=1))
    two_seeds = found_of(tmp_path, (0, 1), measure=design)
    assert two_seeds["points"] is None and all(c["points"] is None for c in two_seeds["comparisons"])
    (line,) = detectable_lines(two_seeds)
    assert line.endswith("no interval: two seeds and two subsets are too few; two seeds are too few")
    three = found_of(tmp_path, (0, 1, 2), measure=design)
    missing = {tuple(c["cells"]): c["missing"] for c in three["comparisons"]}
    few = "two subsets are too few"
    assert missing == {("4-all", "0"): few, ("9-all", "0"): "", ("9-all", "4-all"): few}
    lines = detectable_lines(three)
    assert (
        "(9 tasks against none) with" in lines[0] and lines[2] == f"        no interval for 2 of 3 differences: {few}"
    )


def test_the_lines_name_the_easiest_and_the_hardest_comparison(tmp_path):
    found = found_of(
        tmp_path, measure=(*empty(), *random_subsets(POOL, 9, 12, seed=1), *random_subsets(POOL, 4, 3, seed=1))
    )
    first, second = detectable_lines(found)
    low, high = (pick(c["points"] for c in found["comparisons"]) for pick in (min, max))
    assert first == (
        f"finds   differences of {low:.2f} points (9 tasks against none) to {high:.2f} points (4 tasks against none) with probability 0.8"
    )
    spread = "subset 1.00, seed 0.10, trial 0.50, additive 1.00"
    assert second == f"        at variances {spread} (assumed, nothing was measured yet; additive 1 is the best case)"


def test_variances_are_those_of_the_sweep_where_it_has_run(tmp_path, monkeypatch):
    """At the last rung that has two subsets and two seeds in a cell."""
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "scores.parquet").touch()
    scores = {
        (subset, seed): 50.0 + 2.0 * subset + 0.5 * seed + 0.3 * subset * seed
        for subset in range(3)
        for seed in range(3)
    }
    points = [
        analysis.Point(
            f"{a}{s}", "measure", "9-all", 9, "all", (f"t{a}",), f"t{a}", s, 100 * (r + 1), r, {"fi_accuracy": v}
        )
        for (a, s), v in scores.items()
        for r in ((0, 1, 2) if s == 0 else (0, 1))
    ]
    monkeypatch.setattr("xlray.plan.power.load_results", lambda directory: None)
    monkeypatch.setattr("xlray.plan.power.collect_points", lambda results, journal: points)
    found = found_of(tmp_path, measure=(*empty(), *random_subsets(POOL, 9, 12, seed=1)))
    wanted = analysis.estimate_variances([p for p in points if p.rung_index == 1], "fi_accuracy")
    assert found["variances"] == pytest.approx(dataclasses.asdict(wanted))
    assert found["source"] == "measured in 9 trials of this sweep at 200 examples"
