import numpy as np
import pytest

from xlray.analysis import FI_ACCURACY, Point, Sampling, resample
from xlray.analysis.bootstrap import percentile_estimate

SAMPLING = Sampling(num_draws=4_000)


def make_point(cluster, seed, value=0.0, cell="3-all"):
    tasks = tuple(cluster.split()) if cluster else ()
    place = (cell, len(tasks), "all", tasks, cluster, seed, 1_024, 0)
    return Point(f"{cluster}/{cell}/{seed}", "measure", *place, {FI_ACCURACY: value})


def crossed(num_clusters, num_seeds, generator):
    rows, columns = generator.normal(0, 2, num_clusters), generator.normal(0, 1, num_seeds)
    return [
        make_point(f"a{row} b c", seed, 50 + rows[row] + columns[seed] + generator.normal(0, 0.5))
        for row in range(num_clusters)
        for seed in range(num_seeds)
    ]


def values_of(points):
    return np.array([point.scores[FI_ACCURACY] for point in points])


def test_a_sum_over_groups_is_that_of_the_repeated_points():
    generator = np.random.default_rng(0)
    points = crossed(4, 3, generator)[:-2]  # two trials are missing
    groups = np.array([number % 3 for number in range(len(points))])
    drawn = resample(points, Sampling(num_draws=50))
    counts, values = drawn.counts(), values_of(points)
    assert counts.shape == (50, len(points)) and (counts == np.round(counts)).all()
    by_hand = np.stack([(counts * values)[:, groups == group].sum(axis=1) for group in range(3)], axis=1)
    assert drawn.sums(values, groups) == pytest.approx(by_hand)
    seeds = drawn.seeds[:, drawn.seed_of] * values
    fixed = drawn.sums(values, groups, fixed=(1,))
    assert fixed[:, 1] == pytest.approx(seeds[:, groups == 1].sum(axis=1))
    assert fixed[:, [0, 2]] == pytest.approx(by_hand[:, [0, 2]])


def test_crossed_draws_spread_as_the_formula_of_the_pigeonhole_bootstrap():
    """Owen 2007: the variance of a drawn mean of a full table is that of rows, of columns and of their product."""
    points = crossed(8, 6, np.random.default_rng(1))
    table = values_of(points).reshape(8, 6)
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = table - rows[:, None] - columns + table.mean()
    # Multinomial counts with as many draws as rows: variance of a mean is the variance over rows by their number.
    expected = rows.var() / 8 + columns.var() / 6 + (rest**2).mean() / 48
    drawn = resample(points, SAMPLING).sums(values_of(points), np.zeros(48, dtype=np.int64))[:, 0] / 48
    assert drawn.var() == pytest.approx(expected, rel=0.1)
    # A draw of single trials, as if they were independent, would be far too sure.
    assert table.var() / 48 < 0.3 * expected


def test_chains_that_share_a_cell_are_drawn_together_and_others_by_themselves():
    points = [make_point(f"{cluster} x", 0, cell=cell) for cluster in "ab" for cell in ("1-all", "2-all")]
    points += [make_point(f"{cluster} y", 0, cell="1-other") for cluster in "cd"]
    drawn = resample(points, Sampling(num_draws=200))
    counts = drawn.counts()
    assert (counts[:, 0] == counts[:, 1]).all() and (counts[:, 2] == counts[:, 3]).all()
    assert (counts[:, 0] + counts[:, 2] == 2).all() and (counts[:, 4] + counts[:, 5] == 2).all()
    together = resample(points, Sampling(num_draws=200), pooled=True).clusters
    assert (together.sum(axis=1) == 4).all() and together[:, :2].sum(axis=1).std() > 0


def test_draws_are_the_same_each_time_and_differ_by_seed():
    points = crossed(4, 3, np.random.default_rng(2))
    first, again, other = (resample(points, Sampling(num_draws=20, seed=seed)) for seed in (0, 0, 1))
    assert (first.clusters == again.clusters).all() and (first.seeds == again.seeds).all()
    assert not (first.clusters == other.clusters).all()


def test_an_interval_holds_the_quantiles_of_finite_draws_and_none_says_why():
    points = crossed(4, 3, np.random.default_rng(3))
    draws = np.concatenate([np.linspace(0, 1, 101), [np.nan] * 20])
    found = percentile_estimate("x", 0.5, draws, points, Sampling(level=0.9))
    assert (found.low, found.high) == pytest.approx((0.05, 0.95))
    assert (found.num_seeds, found.num_subsets, found.num_trials) == (3, 4, 12)
    empty = percentile_estimate("x", 0.5, np.array([np.nan]), points, Sampling())
    assert (empty.low, empty.high, empty.missing) == (None, None, "all draws are alike")
