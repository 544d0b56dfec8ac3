import itertools

import numpy as np
import pytest
from scipy import stats

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, regression, selection

SAMPLING = Sampling(num_draws=1_000)
RUNGS = (1_024, 4_096, 16_384)


def make_point(tasks, value, seed=0, rung_index=0, role="measure", chain=None, source="all"):
    tasks = tuple(sorted(tasks))
    cell = f"{len(tasks)}-{source}" if tasks else "0"
    cluster = f"chain {chain}" if chain is not None and tasks else " ".join(tasks)
    return Point(
        f"{'+'.join(tasks)}/{source}/{seed}",
        role,
        cell,
        len(tasks),
        source,
        tasks,
        cluster,
        seed,
        RUNGS[rung_index],
        rung_index,
        {FI_ACCURACY: value},
    )


def one(estimates, name):
    (found,) = (estimate for estimate in estimates if estimate.name == name)
    return found


def grid(num_subsets, seeds, effect=3.0, noise=0.5, generator=None):
    """Control and cells of two and four tasks, subset and seed effects of known size."""
    generator = generator or np.random.default_rng(1)
    seed_effects = {seed: generator.normal(0, noise) for seed in seeds}
    subset_effects = generator.normal(0, noise, (2, num_subsets))
    points = [make_point((), 50 + seed_effects[s] + generator.normal(0, noise / 2), s) for s in seeds]
    for (row, size), number, seed in itertools.product(enumerate((2, 4)), range(num_subsets), seeds):
        value = (
            50 + effect * size / 4 + seed_effects[seed] + subset_effects[row, number] + generator.normal(0, noise / 2)
        )
        points.append(make_point([f"t{size}{number}{k}" for k in range(size)], value, seed))
    return points


def test_means_and_differences_are_the_plain_ones():
    points = grid(3, (0, 1, 2))
    values = {
        cell: np.mean([p.scores[FI_ACCURACY] for p in points if p.cell == cell]) for cell in ("0", "2-all", "4-all")
    }
    means = analysis.cell_means(points, FI_ACCURACY, SAMPLING)
    gaps = analysis.cell_differences(points, FI_ACCURACY, SAMPLING)
    for cell, value in values.items():
        assert one(means, f"mean/fi_accuracy/{cell}").value == pytest.approx(value)
    for more, fewer in (("2-all", "0"), ("4-all", "0"), ("4-all", "2-all")):
        found = one(gaps, f"difference/fi_accuracy/{more} - {fewer}")
        assert found.value == pytest.approx(values[more] - values[fewer])
        assert found.low <= found.value <= found.high
    found = one(means, "mean/fi_accuracy/4-all")
    assert (found.num_seeds, found.num_subsets, found.rung, found.level) == (3, 3, 1_024, 0.95)


def test_interval_is_that_of_a_balanced_analysis_of_variance():
    """Written out by hand for subsets x seeds: mean squares, Satterthwaite's degrees of freedom, Student's t."""
    points = [p for p in grid(4, (0, 1, 2, 3, 4)) if p.cell == "4-all"]
    table = {(p.tasks, p.seed): p.scores[FI_ACCURACY] for p in points}
    values = np.array([[table[tasks, seed] for seed in range(5)] for tasks in sorted({p.tasks for p in points})])
    rows, columns, mean = values.mean(1), values.mean(0), values.mean()
    subsets = 5 * ((rows - mean) ** 2).sum() / 3
    seeds = 4 * ((columns - mean) ** 2).sum() / 4
    noise = ((values - rows[:, None] - columns + mean) ** 2).sum() / 12
    assert subsets > noise and seeds > noise
    variance = (subsets + seeds - noise) / 20
    freedom = variance**2 / ((subsets / 20) ** 2 / 3 + (seeds / 20) ** 2 / 4)
    half = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    (found,) = analysis.cell_means(points, FI_ACCURACY, SAMPLING)
    assert (found.low, found.value, found.high) == pytest.approx((mean - half, mean, mean + half))
    assert found.degrees_of_freedom == pytest.approx(freedom)


def test_standard_error_equals_statsmodels_mixed_model():
    """Restricted maximum likelihood of subset and seed as crossed random effects; equal when balanced and inside."""
    import statsmodels.api as sm

    points = [p for p in grid(8, range(6), generator=np.random.default_rng(4)) if p.cell == "4-all"]
    subsets = sorted({p.tasks for p in points})
    values = np.array([p.scores[FI_ACCURACY] for p in points])
    effects = {"subset": [subsets.index(p.tasks) for p in points], "seed": [p.seed for p in points]}
    parts = [np.eye(max(column) + 1)[column] for column in effects.values()]
    model = sm.MixedLM(
        values,
        np.ones((len(values), 1)),
        groups=np.ones(len(values)),
        exog_vc=sm.regression.mixed_linear_model.VCSpec(list(effects), [[[]], [[]]], [[parts[0]], [parts[1]]]),
    )
    fitted = model.fit(reml=True)
    (found,) = analysis.cell_means(points, FI_ACCURACY, SAMPLING)
    assert found.standard_error == pytest.approx(float(fitted.bse_fe[0]), rel=0.02)


def test_seed_effects_cancel_in_differences():
    points = [
        make_point(tasks, 50 + 10 * seed + (2 if tasks else 0), seed) for tasks in ((), ("a",)) for seed in range(5)
    ]
    (gap,) = analysis.cell_differences(points, FI_ACCURACY, SAMPLING)
    assert (gap.value, gap.low, gap.high) == pytest.approx((2, 2, 2))
    mean = one(analysis.cell_means(points, FI_ACCURACY, SAMPLING), "mean/fi_accuracy/0")
    assert mean.high - mean.low > 10


def test_difference_uses_the_seeds_that_both_cells_have():
    points = [make_point((), 50, 0), make_point((), 90, 1), make_point(("a",), 52, 0)]
    (gap,) = analysis.cell_differences(points, FI_ACCURACY, SAMPLING)
    assert (gap.value, gap.low, gap.num_seeds) == (2, None, 1)
    assert analysis.cell_differences([points[1], points[2]], FI_ACCURACY, SAMPLING) == []


def test_chains_are_drawn_alike_in_all_cells():
    """A chain's own effect is in each of its prefixes, so it cancels between cells if the draw is the same."""
    points = [
        make_point([f"c{chain}t{k}" for k in range(size)], 50 + 10 * chain + size, seed, chain=chain)
        for chain in range(6)
        for size in (1, 3)
        for seed in (0, 1, 2)
    ]
    (gap,) = analysis.cell_differences(points, FI_ACCURACY, SAMPLING)
    assert (gap.value, gap.low, gap.high) == pytest.approx((2, 2, 2))


def test_fewer_than_three_seeds_or_subsets_leave_the_values_alone():
    def without(num_subsets, seeds):
        gaps = analysis.cell_differences(grid(num_subsets, seeds), FI_ACCURACY, SAMPLING)
        gap = one(gaps, "difference/fi_accuracy/4-all - 0")
        found = {gap.low, gap.high, gap.p_value, gap.standardised, gap.standard_error, gap.degrees_of_freedom}
        assert (found == {None}) == bool(gap.missing)
        return gap.missing

    assert without(3, (0,)) == without(1, (0,)) == "one seed"
    assert without(3, (0, 1)) == without(1, (0, 1)) == "two seeds are too few"
    assert without(2, (0, 1, 2)) == "two subsets are too few"
    assert without(2, (0, 1)) == "two seeds and two subsets are too few"
    assert without(1, (0, 1, 2)) == without(3, (0, 1, 2)) == ""


@pytest.mark.parametrize(("num_subsets", "seeds"), [(4, (0,)), (4, (0, 1)), (2, (0, 1, 2))])
def test_no_estimate_of_a_small_sweep_has_an_interval(num_subsets, seeds):
    estimates = analysis.all_estimates(grid(num_subsets, seeds), SAMPLING)
    few = [e for e in estimates if len(seeds) < 3 or "4-all" in e.name]
    assert few and all((e.low, e.high, e.p_value) == (None, None, None) and e.missing for e in few)


def test_pairs_compare_sizes_within_a_pool_and_pools_within_a_size():
    points = [
        make_point([f"t{k}" for k in range(size)], 1.0, source=source)
        for source in ("en", "other")
        for size in (0, 2, 4)
    ]
    assert set(analysis.cell_pairs(points)) == {
        ("2-en", "0"),
        ("2-other", "0"),
        ("2-other", "2-en"),
        ("4-en", "0"),
        ("4-en", "2-en"),
        ("4-other", "0"),
        ("4-other", "2-other"),
        ("4-other", "4-en"),
    }


def test_past_the_first_rung_only_measure_trials_count():
    points = [make_point((f"{role}",), 1.0, rung_index=r, role=role) for role in ("measure", "explore") for r in (0, 1)]
    assert {p.role for p in analysis.estimable(points, 0)} == {"measure", "explore"}
    assert {p.role for p in analysis.estimable(points, 1)} == {"measure"}
    only_explore = [p for p in points if p.role == "explore"]
    assert {e.rung for e in analysis.all_estimates(only_explore, SAMPLING)} == {1_024}


def test_the_ranking_has_the_order_of_known_effects_and_no_intervals():
    generator = np.random.default_rng(3)
    effects = {"good": 3.0, "fair": 1.0, "none": 0.0, "bad": -3.0}
    points = []
    for subset in itertools.chain.from_iterable(itertools.combinations(effects, k) for k in range(5)):
        for seed in (0, 1, 2):
            value = 50 + 5 * seed + sum(effects[t] for t in subset) + generator.normal(0, 0.3)
            points.append(make_point(subset, value, seed))
    found = analysis.contributions(points, FI_ACCURACY, SAMPLING)
    for task, effect in effects.items():
        estimate = one(found.estimates, f"ranking/fi_accuracy/{task}")
        assert estimate.value == pytest.approx(effect, abs=0.3)
        assert (estimate.low, estimate.high, estimate.p_value) == (None, None, None)
        assert estimate.missing == "shrunken values, for the order of the tasks alone"
    assert found.held_out_error < 0.5 < found.null_error and not found.inseparable


def test_ridge_equals_least_squares_with_extra_rows():
    generator = np.random.default_rng(0)
    subsets = [tuple(t for t in "abcd" if generator.random() < 0.5) for _ in range(14)]
    subsets = sorted(set(subsets))
    points = [make_point(tasks, float(generator.normal()), seed) for tasks in subsets for seed in range(3)]
    held = regression.membership(points, FI_ACCURACY)
    weights = generator.integers(0, 3, len(points)) * 1.0
    repeated = np.repeat(np.arange(len(points)), weights.astype(int))
    x, y = held.rows[held.subset_of][repeated], held.values[repeated]
    stacked = np.vstack([x - x.mean(axis=0), np.sqrt(0.7) * np.eye(x.shape[1])])
    expected = np.linalg.lstsq(stacked, np.concatenate([y - y.mean(), np.zeros(x.shape[1])]), rcond=None)[0]
    counts, sums = regression.subset_sums(held, weights)
    assert regression.ridge(held.rows, counts[None], sums[None], 0.7)[0] == pytest.approx(expected)


def test_contributions_name_tasks_that_are_always_together_and_say_what_is_missing():
    subsets = ((), ("a", "b"), ("c",), ("a", "b", "c"))
    found = analysis.contributions(
        [make_point(t, float(len(t)), s) for t in subsets for s in (0, 1)], FI_ACCURACY, SAMPLING
    )
    assert found.inseparable == (("a", "b"),)
    many = [make_point([f"t{n}{k}" for k in range(3)], float(n), s) for n in range(4) for s in (0, 1, 2)]
    short = analysis.contributions(many, FI_ACCURACY, SAMPLING)
    assert (short.estimates, short.missing) == ((), "as many different subsets as tasks (12), found 4")
    few = analysis.contributions([make_point(("a",), 1.0)], FI_ACCURACY, SAMPLING)
    assert few.estimates == () and few.missing == "at least 4 different subsets at one rung, found 1"


def test_rank_correlation_equals_scipy_also_when_points_are_repeated():
    generator = np.random.default_rng(2)
    first, second = generator.integers(0, 5, 20) * 1.0, generator.normal(size=20)
    weights = generator.integers(0, 3, (7, 20)) * 1.0
    draws = selection.weighted_spearman(weights, selection.order_of(first), selection.order_of(second))
    for weight, draw in zip(weights, draws, strict=True):
        repeated = np.repeat(np.arange(20), weight.astype(int))
        assert draw == pytest.approx(stats.spearmanr(first[repeated], second[repeated]).statistic)


def test_rank_correlation_between_rungs():
    values = {0: (1.0, 2.0, 3.0, 4.0, 9.0), 1: (10.0, 30.0, 20.0, 40.0, 0.0)}
    roles = ["measure"] * 4 + ["explore"]
    points = [make_point((f"t{n}",), values[r][n], rung_index=r, role=roles[n]) for r in (0, 1) for n in range(5)]
    (found,) = analysis.rank_correlations(points, FI_ACCURACY, SAMPLING)
    assert found.name == "rank_correlation/fi_accuracy/1024 - 4096"
    assert found.value == pytest.approx(stats.spearmanr(values[0][:4], values[1][:4]).statistic)
    assert analysis.rank_correlations(points[:3], FI_ACCURACY, SAMPLING) == []


def test_estimates_are_the_same_each_time():
    points = grid(3, (0, 1, 2))
    assert analysis.all_estimates(points, SAMPLING) == analysis.all_estimates(list(reversed(points))[::-1], SAMPLING)
    other = analysis.cell_means(points, FI_ACCURACY, Sampling(num_draws=1_000, level=0.5))
    wide = analysis.cell_means(points, FI_ACCURACY, SAMPLING)
    assert all(a.high - a.low <= b.high - b.low for a, b in zip(other, wide, strict=True))


def test_coverage_of_differences_in_a_simulation():
    """Rough check at 8 subsets x 5 seeds; the interval may be a little short, never wildly off."""
    hits = 0
    for number in range(100):
        points = grid(8, range(5), generator=np.random.default_rng(number))
        gaps = analysis.cell_differences(points, FI_ACCURACY, Sampling(num_draws=300))
        gap = one(gaps, "difference/fi_accuracy/4-all - 0")
        hits += gap.low <= 3.0 <= gap.high
    assert hits >= 82


def test_no_interaction_is_found_where_there_is_none():
    found = []
    for run in range(40):
        generator = np.random.default_rng(run)
        pool = [f"t{number:02d}" for number in range(24)]
        subsets = [generator.choice(pool, 8, replace=False).tolist() for _ in range(34)]  # few more than tasks
        points = [make_point(s, 70 + generator.normal(0, 0.7), seed) for s in subsets for seed in (0, 1, 2)]
        pairs = analysis.interactions(points, FI_ACCURACY, SAMPLING)
        found.append(any(e.p_holm < 0.05 for e in pairs.estimates))
    assert sum(found) <= 6  # 5 % of 40 is 2
