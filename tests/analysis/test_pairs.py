import itertools

import numpy as np
import pytest
from scipy import linalg

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, pairs, regression

POOL = ("a", "b", "c", "d", "e", "f")


def make_points(together=3.0, num_subsets=36, seeds=3, noise=0.3, number=0):
    generator = np.random.default_rng(number)
    points = []
    for trial in range(num_subsets):
        tasks = tuple(sorted(task for task in POOL if generator.random() < 0.5))
        gain = sum(0.5 * (ord(task) - ord("c")) for task in tasks) + (together if {"a", "b"} <= set(tasks) else 0.0)
        for seed in range(seeds):
            value = 50 + seed + gain + generator.normal(0, noise)
            place = (f"{len(tasks)}-all", len(tasks), "all", tasks, " ".join(tasks), seed, 4_096, 0)
            points.append(Point(f"{trial}/{seed}", "measure", *place, {FI_ACCURACY: value}))
    return list({(p.tasks, p.seed): p for p in points}.values())


def test_a_pair_that_works_together_is_found_first_and_alone():
    found = analysis.interactions(make_points(), FI_ACCURACY, Sampling())
    best = found.estimates[0]
    assert best.name == "interaction/fi_accuracy/a x b" and found.num_pairs == 15
    assert best.value == pytest.approx(3.0, abs=0.5) and best.low > 0 and best.p_holm < 0.01
    assert all(estimate.p_holm > 0.05 for estimate in found.estimates[1:])
    planted = analysis.interactions(make_points(together=0.0), FI_ACCURACY, Sampling())
    assert planted.estimates and all(estimate.p_holm > 0.05 for estimate in planted.estimates)


def test_values_and_robust_errors_are_those_of_statsmodels():
    """HC2 of one regression on all single tasks and the pair, weighted by the trials of a subset: each subset its own cluster."""
    import statsmodels.api as sm

    points = make_points()
    held = regression.membership(points, FI_ACCURACY)
    counts, sums = regression.subset_sums(held, held.weights)
    found = {e.name.rsplit("/", 1)[1]: e for e in analysis.interactions(points, FI_ACCURACY, Sampling()).estimates}
    for first, second in (("a", "b"), ("c", "f")):
        place = [held.tasks.index(first), held.tasks.index(second)]
        x = sm.add_constant(np.column_stack([held.rows, held.rows[:, place].prod(axis=1)]))
        model = sm.WLS(sums / counts, x, weights=counts)
        fitted = model.fit(cov_type="HC2")
        estimate = found[f"{first} x {second}"]
        assert estimate.value == pytest.approx(fitted.params[-1])
        assert estimate.standard_error == pytest.approx(fitted.bse[-1], rel=1e-6)


def test_degrees_of_freedom_are_those_of_two_groups_with_their_own_variances():
    """For a difference of two means of rows on their own: Imbens and Kolesar 2016 have them in closed form."""
    sizes = (4, 9)
    columns = np.stack([np.ones(13), np.repeat((0.0, 1.0), sizes)], axis=1)
    y = np.random.default_rng(0).normal(size=13)
    inverse = np.linalg.pinv(columns)
    residuals = y - columns @ (inverse @ y)
    mean = pairs.clusters_of(np.arange(13)[:, None], np.full((13, 1), 13**-0.5))
    difference = columns[:, 1] - columns[:, 1].mean()
    difference /= np.linalg.norm(difference)
    variance, freedom = pairs.cluster_robust([mean], difference, inverse[1], residuals)
    few, many = sizes
    assert freedom == pytest.approx(13**2 * (few - 1) * (many - 1) / (many**2 * (many - 1) + few**2 * (few - 1)))
    assert variance == pytest.approx(y[:few].var(ddof=1) / few + y[few:].var(ddof=1) / many)


def test_errors_that_are_robust_to_clusters_are_those_of_their_definition_over_all_rows():
    """Bell and McCaffrey 2002, written with the matrix of all rows by all rows that `cluster_robust` does without."""
    generator = np.random.default_rng(3)
    members = [list(range(n, n + 1)) for n in range(4)] + [list(range(n, n + 3)) for n in range(4, 19, 3)]
    columns, y = generator.normal(size=(19, 4)), generator.normal(size=19)
    left = np.eye(19) - columns @ np.linalg.pinv(columns)
    along, residuals = np.linalg.pinv(columns)[3], left @ y
    own = np.zeros((len(members), 19))
    for line, rows in zip(own, members, strict=True):
        line[rows] = np.real(linalg.sqrtm(np.linalg.inv(left[np.ix_(rows, rows)]))) @ along[rows]
    products = own @ left @ own.T
    others = pairs.column_space(columns[:, :3])
    column = columns[:, 3] - others @ (others.T @ columns[:, 3])
    clusters = [pairs.clusters_of(np.array(m), others) for m in (members[:4], members[4:])]
    variance, freedom = pairs.cluster_robust(clusters, column / np.linalg.norm(column), along, residuals)
    assert variance == pytest.approx(((own @ residuals) ** 2).sum())
    assert freedom == pytest.approx(np.trace(products) ** 2 / (products**2).sum())


def null_chains(generator, num_chains=6, pool=8, sizes=(2, 4, 6), seeds=3):
    """Nested chains and the control, tasks with effects of their own and no pair with any."""
    effects, by_seed = generator.normal(0, 0.4, pool), generator.normal(0, 0.5, seeds)
    drawn = {(): ""}
    for chain in range(num_chains):
        order = generator.permutation(pool)
        for size in sizes:
            drawn.setdefault(tuple(sorted(order[:size].tolist())), f"chain {chain} of all")
    points = []
    for members, cluster in drawn.items():
        subset = effects[list(members)].sum() + generator.normal(0, 0.3)
        tasks = tuple(f"t{task}" for task in members)
        for seed in range(seeds):
            place = (f"{len(tasks)}-all", len(tasks), "all", tasks, cluster, seed, 4_096, 0)
            value = 60 + subset + by_seed[seed] + generator.normal(0, 0.5)
            points.append(Point(f"{tasks}/{seed}", "measure", *place, {FI_ACCURACY: value}))
    return points


def test_few_chains_show_no_interaction_where_there_is_none():
    """At most one sweep in twenty may have one; with as many degrees of freedom as chains it was one in five."""
    found = []
    for number in range(60):
        made = analysis.interactions(null_chains(np.random.default_rng(number)), FI_ACCURACY, Sampling())
        found.append(any(estimate.p_holm <= 0.05 for estimate in made.estimates))
    assert sum(found) <= 6


def test_only_pairs_with_subsets_of_every_kind_are_identified():
    rows = np.array(list(itertools.product((0, 1), repeat=2)) * 2, dtype=float)
    never_apart = np.column_stack([rows, rows[:, 0]])  # the third task is where the first is
    held = regression.Membership(("a", "b", "c"), never_apart, np.arange(8), np.arange(8), np.zeros(8), np.ones(8))
    assert pairs.identified_pairs(held) == [(0, 1), (1, 2)]


def test_too_few_subsets_and_two_seeds_say_so():
    few = analysis.interactions(make_points(num_subsets=6), FI_ACCURACY, Sampling())
    assert few.estimates == () and few.missing.startswith("at least 9 different subsets for 6 tasks, found")
    two = analysis.interactions(make_points(seeds=2), FI_ACCURACY, Sampling())
    assert (two.estimates, two.missing) == ((), "three seeds and three subsets or chains; two seeds are too few")
    assert analysis.interactions([], FI_ACCURACY, Sampling()).estimates == ()
