import itertools
import math

import numpy as np
import pytest
from scipy import stats

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, results
from xlray.analysis.crossed import ItemPart
from xlray.analysis.results import SCORES, TRIALS
from xlray.canonical import canonical_json
from xlray.config import subsets
from xlray.config.recipes import Encoder, Target
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.storage import parquet
from xlray.storage.sweep_folder import read_definition

POOL = ("a", "b", "c", "d")
EFFECTS = {"a": 2.0, "b": 1.0, "c": 0.0, "d": -1.5}
TOGETHER = 1.2  # what a and b add together beyond their sum


def score(tasks, seed=0):
    return 50 + 0.7 * seed + sum(EFFECTS[t] for t in tasks) + (TOGETHER if {"a", "b"} <= set(tasks) else 0)


def make_point(tasks, value, seed=0, source="all", role="measure", chain=None):
    tasks = tuple(sorted(tasks))
    cluster = f"chain {chain} of {source}" if tasks and chain is not None else " ".join(tasks)
    place = (f"{len(tasks)}-{source}" if tasks else "0", len(tasks), source, tasks, cluster, seed, 4_096, 0)
    return Point(f"{'+'.join(tasks)}/{chain}/{seed}", role, *place, {FI_ACCURACY: value})


def lines_of(orders, sizes, source="all"):
    """As the definition has them: chains that meet in a subset share a trial."""
    return {
        f"chain {n} of {source}": tuple(tuple(sorted(order[:size])) for size in sizes) for n, order in enumerate(orders)
    }


def points_of(lines, seeds=(0, 1, 2), noise=0.0, generator=None):
    subsets = {(), *(tasks for line in lines.values() for tasks in line)}
    random = generator or np.random.default_rng(0)
    return [make_point(t, score(t, s) + random.normal(0, noise), s) for t in sorted(subsets) for s in seeds]


def by_name(found):
    return {estimate.name: estimate for estimate in found.estimates}


def shapley(task):
    """By its definition: the gain at which the task enters, over all orders of the pool."""
    gains = []
    for order in itertools.permutations(POOL):
        before = order[: order.index(task)]
        gains.append(score((*before, task)) - score(before))
    return math.fsum(gains) / len(gains)


def test_all_orders_of_the_pool_give_the_exact_shapley_values():
    lines = lines_of(list(itertools.permutations(POOL)), (1, 2, 3, 4))
    (found,) = analysis.chain_contributions(points_of(lines), FI_ACCURACY, Sampling(), lines)
    assert found.kind == "shapley"
    values = {name.rsplit("/", 1)[1]: e.value for name, e in by_name(found).items()}
    assert values == pytest.approx({task: shapley(task) for task in POOL})
    assert sum(values.values()) == pytest.approx(score(POOL) - score(()))  # they share out the whole gain
    assert values["a"] == pytest.approx(EFFECTS["a"] + TOGETHER / 2)


def test_the_interval_of_a_gain_is_that_of_a_crossed_mean():
    """With seeds that add the same everywhere only orders differ: a one-sample t interval over chains."""
    orders = [("a", "b", "c", "d"), ("b", "a", "d", "c"), ("d", "c", "b", "a"), ("c", "b", "a", "d")]
    lines = lines_of(orders, (1, 2, 3, 4))
    (found,) = analysis.chain_contributions(points_of(lines), FI_ACCURACY, Sampling(), lines)
    gains = [score((*o[: o.index("a")], "a")) - score(o[: o.index("a")]) for o in orders]
    estimate = by_name(found)["shapley/fi_accuracy/a"]
    low, high = stats.t.interval(0.95, 3, np.mean(gains), stats.sem(gains))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))
    assert (estimate.num_seeds, estimate.num_subsets) == (3, 4)


def test_steps_of_one_that_end_early_are_marginal_and_coarser_ones_blocks_of_their_chain():
    orders = [("a", "b", "c", "d"), ("d", "c", "b", "a")]
    short = lines_of(orders, (1, 2, 3))
    (found,) = analysis.chain_contributions(points_of(short), FI_ACCURACY, Sampling(), short)
    assert found.kind == "marginal"
    coarse = lines_of(orders, (2, 4))
    (found,) = analysis.chain_contributions(points_of(coarse, noise=0.1), FI_ACCURACY, Sampling(), coarse)
    assert found.kind == "block"
    first = by_name(found)["block/fi_accuracy/chain 0 of all: a b"]
    assert first.value == pytest.approx(EFFECTS["a"] + EFFECTS["b"] + TOGETHER, abs=0.2)
    assert first.low < first.value < first.high and first.num_subsets == 1
    assert set(by_name(found)) == {f"block/fi_accuracy/chain {n} of all: {t}" for n in (0, 1) for t in ("a b", "c d")}


def test_without_the_control_the_first_prefix_has_no_gain():
    lines = lines_of([("a", "b", "c", "d"), ("b", "c", "d", "a")], (1, 2, 3, 4))
    points = [point for point in points_of(lines) if point.tasks]
    (found,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
    assert found.kind == "marginal" and "marginal/fi_accuracy/b" in by_name(found)
    entered = by_name(found)["marginal/fi_accuracy/b"]
    assert entered.num_subsets == 1  # in the second chain b comes first


def test_sources_are_apart_and_explore_trials_do_not_count():
    lines = {**lines_of([("a", "b")], (1, 2), "en"), **lines_of([("c", "d")], (1, 2), "other")}
    points = points_of(lines)
    found = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
    assert [sorted(e.name[-1] for e in chains.estimates) for chains in found] == [["a", "b"], ["c", "d"]]
    explored = [make_point(p.tasks, 0.0, p.seed, role="explore") for p in points]
    (nothing, _) = analysis.chain_contributions(explored, FI_ACCURACY, Sampling(), lines)
    assert nothing.estimates == () and "two neighbouring prefixes" in nothing.missing


def test_a_failed_trial_leaves_its_gains_out():
    lines = lines_of([("a", "b"), ("b", "a")], (1, 2))
    points = [p for p in points_of(lines) if (p.tasks, p.seed) != (("a",), 2)]
    (found,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
    estimate = by_name(found)["shapley/fi_accuracy/a"]
    assert estimate.num_trials == 5 and estimate.value == pytest.approx(EFFECTS["a"] + TOGETHER / 2)


def test_chains_are_read_from_the_definition_by_rising_size_and_none_is_reported():
    definition = {
        "measure": [{"tasks": ["b", "a"], "chain": 0, "source": "en"}, {"tasks": ["a"], "chain": 0, "source": "en"}]
    }
    assert analysis.chain_lines(definition) == {"chain 0 of en": (("a",), ("a", "b"))}
    (found,) = analysis.chain_contributions([make_point(("a",), 1.0)], FI_ACCURACY, Sampling())
    assert found.estimates == () and found.missing == "nested chains of measure trials"


def test_items_widen_the_interval_of_a_gain_by_their_variance():
    lines = lines_of([("a", "b", "c", "d"), ("b", "a", "d", "c"), ("d", "c", "b", "a")], (1, 2, 3, 4))
    points = points_of(lines, noise=0.3)
    asked = []

    def variance(outcome, coefficients):
        asked.append(coefficients)
        return ItemPart(0.25)

    (plain,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
    (wider,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines, variance)
    for before, after in zip(plain.estimates, wider.estimates, strict=True):
        assert after.standard_error**2 == pytest.approx(before.standard_error**2 + 0.25) and after.value == before.value
    of_a = asked[0]  # a enters after none, after b, and after b, c and d
    assert of_a == pytest.approx({"a": 1 / 3, "": -1 / 3, "a b": 1 / 3, "b": -1 / 3, "a b c d": 1 / 3, "b c d": -1 / 3})


def test_both_estimates_of_a_task_stand_side_by_side_largest_first():
    lines = lines_of(list(itertools.permutations(POOL))[:8], (1, 2, 3, 4))
    points = points_of(lines, noise=0.05)
    ridge = analysis.contributions(points, FI_ACCURACY, Sampling(200)).estimates
    rows = analysis.side_by_side(ridge, analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines))
    assert (rows[0].task, rows[-1].task) == ("a", "d")
    assert all(row.regression.value == pytest.approx(row.chains.value, abs=1.5) for row in rows)


def two_designs(folder, seed, noise):
    """Two `chains` of one source with different seeds, measured: a sweep's folder, and what each subset scores."""
    generator = np.random.default_rng(seed)
    measure = (*subsets.empty(), *(s for d in (1, 2) for s in subsets.chains(POOL, (1, 2, 3, 4), 3, 10 * seed + d)))
    sweep = Sweep("s", Encoder("e"), measure=measure, seeds=(0, 1, 2), targets=(Target("udpos"),))
    trials, scores = [], []
    for trial in sweep.trials():
        subset, value = trial.subset, score(trial.config.tasks, trial.config.seed) + generator.normal(0, noise)
        place = {"trial_id": trial.trial_id, "cell": trial.cell, "tasks": list(subset.tasks), "seed": trial.config.seed}
        place |= {"role": "measure", "source": subset.source, "num_tasks": len(subset.tasks)}
        trials.append({**place, "chain": subset.chain, "design": subset.design})
        row = {"task": "udpos", "language": "fi", "split": "dev", "metric": "headline", "selection": True}
        scores.append({**place, **row, "rung": 4_096, "rung_index": 0, "value": value})
    for name, rows, schema in (("trials", trials, TRIALS), ("scores", scores, SCORES)):
        parquet.write_table(folder / f"results/{name}.parquet", parquet.to_table(rows, schema))
    (folder / "sweep.json").write_text(canonical_json(sweep))
    return folder


def test_chains_of_two_added_designs_are_apart_and_all_their_trials_count(tmp_path):
    folder = two_designs(tmp_path, 0, 0.0)
    points = analysis.collect_points(results.load_results(folder))
    means = {e.name.rsplit("/", 1)[1]: e for e in analysis.cell_means(points, FI_ACCURACY, Sampling())}
    for cell in ("1-all", "2-all", "3-all"):
        inside = [p for p in points if p.cell == cell]
        assert means[cell].num_trials == len(inside)
        assert means[cell].value == pytest.approx(np.mean([p.scores[FI_ACCURACY] for p in inside]))
    lines = analysis.chain_lines(read_definition(folder))
    assert len(lines) == 6 and {p.cluster for p in points if p.tasks} <= lines.keys()


def test_shapley_values_of_two_added_designs_are_right_on_average(tmp_path):
    """With chains drawn again in each sweep, their mean is the true value."""
    found = []
    for number in range(40):
        folder = two_designs(tmp_path / str(number), number, 0.3)
        points = analysis.collect_points(results.load_results(folder))
        lines = analysis.chain_lines(read_definition(folder))
        (chains,) = analysis.chain_contributions(points, FI_ACCURACY, Sampling(), lines)
        assert chains.kind == "shapley"
        found.append([by_name(chains)[f"shapley/fi_accuracy/{task}"].value for task in POOL])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - [shapley(task) for task in POOL]) < 3 * error + 1e-9).all()


def test_a_place_that_is_taken_twice_is_refused():
    points = [make_point(("a",), 1.0, chain=0), make_point(("b",), 2.0, chain=0), make_point(("c",), 2.0, chain=1)]
    with pytest.raises(InputError, match=r"cell 1-all: `one trial per subset or chain and seed` .* 'chain 0 of all'"):
        analysis.cell_means(points, FI_ACCURACY, Sampling())
