import numpy as np
import pytest

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, lasso, regression

POOL = tuple(f"t{number:02d}" for number in range(16))
EFFECTS = {"t00": 3.0, "t01": 2.0, "t02": -3.0}


def make_points(num_subsets=30, seeds=3, noise=0.4, chains=None, generator=None):
    generator = generator or np.random.default_rng(0)
    points = []
    for number in range(num_subsets):
        tasks = tuple(sorted(generator.choice(POOL, 6, replace=False).tolist()))
        cluster = f"chain {number % chains} of all" if chains else " ".join(tasks)
        for seed in range(seeds):
            value = 60 + seed + sum(EFFECTS.get(t, 0.0) for t in tasks) + generator.normal(0, noise)
            place = ("6-all", 6, "all", tasks, cluster, seed, 4_096, 0)
            points.append(Point(f"{number}/{seed}", "measure", *place, {FI_ACCURACY: value}))
    return points


@pytest.mark.parametrize("penalty", [0.01, 0.1, 0.5])
def test_coefficients_are_scikit_learns(penalty):
    from sklearn.linear_model import Lasso

    generator = np.random.default_rng(1)
    rows = (generator.random((40, 12)) < 0.4) * 1.0
    means, weights = (
        rows @ generator.normal(0, 1, 12) + generator.normal(0, 0.5, 40),
        generator.integers(1, 5, 40) * 1.0,
    )
    found = lasso.lasso(rows, weights[None], (weights * means)[None], (penalty,))[0, 0]
    expected = Lasso(alpha=penalty, tol=1e-12, max_iter=100_000).fit(rows, means, sample_weight=weights).coef_
    assert found == pytest.approx(expected, abs=1e-3)
    assert ((found == 0) == (np.abs(expected) < 1e-9)).all()


def test_many_draws_and_penalties_at_once_are_those_one_by_one():
    generator = np.random.default_rng(2)
    rows = (generator.random((30, 8)) < 0.4) * 1.0
    means = rows @ generator.normal(0, 1, 8) + generator.normal(0, 0.5, 30)
    counts = generator.multinomial(30, np.full(30, 1 / 30), 5) * 1.0
    counts[3] = 0  # a draw without any point
    together = lasso.lasso(rows, counts, counts * means, (0.3, 0.05))
    assert np.isnan(together[:, 3]).all()
    for draw in (0, 1, 2, 4):
        for place, penalty in enumerate((0.3, 0.05)):
            alone = lasso.lasso(rows, counts[[draw]], counts[[draw]] * means, (penalty,))[0, 0]
            assert together[place, draw] == pytest.approx(alone, abs=1e-3)


def test_the_tasks_that_matter_are_chosen_and_the_others_mostly_not():
    found = analysis.sparse_contributions(make_points(), FI_ACCURACY, Sampling(200))
    estimates = {e.name.rsplit("/", 1)[1]: e for e in found.estimates}
    for task, effect in EFFECTS.items():
        e = estimates[task]
        assert e.value == pytest.approx(effect, abs=0.5) and e.low * e.high > 0 and found.chosen[task] == 1.0
    others = [estimates[task].value for task in POOL if task not in EFFECTS]
    assert np.abs(others).max() < 0.4 and sum(found.chosen[t] < 1 for t in POOL if t not in EFFECTS) >= 10
    assert found.held_out_error < 0.7


def test_where_nothing_matters_the_mean_is_no_worse_than_the_fit():
    generator = np.random.default_rng(3)
    points = make_points(generator=generator)
    random = [Point(**{**vars(p), "scores": {FI_ACCURACY: 60 + generator.normal()}}) for p in points]
    found = analysis.sparse_contributions(random, FI_ACCURACY, Sampling(100))
    null = analysis.contributions(random, FI_ACCURACY, Sampling(100)).null_error
    assert found.held_out_error == pytest.approx(null, rel=0.05)
    assert sum(abs(e.value) > 0.3 for e in found.estimates) <= 2


@pytest.mark.parametrize("chains", [None, 5])
def test_held_out_errors_of_ridge_are_those_of_fits_that_left_the_parts_out(chains):
    """Fitted again without each part, by scikit-learn's normal equations written out."""
    points = make_points(num_subsets=15, chains=chains)
    held = regression.membership(points, FI_ACCURACY)
    penalty, error, null_error = regression.choose_penalty(held)
    x, y, parts = held.rows[held.subset_of], held.values, regression.folds(held)[held.subset_of]
    assert len(set(parts.tolist())) == (chains or len(held.rows))
    squares, nothing = dict.fromkeys(regression.PENALTIES, 0.0), 0.0
    for part in set(parts.tolist()):
        inside, outside = parts != part, parts == part
        centre, level = x[inside].mean(axis=0), y[inside].mean()
        nothing += ((y[outside] - level) ** 2).sum()
        for p in squares:
            gram = (x[inside] - centre).T @ (x[inside] - centre) + p * np.eye(x.shape[1])
            coefficients = np.linalg.solve(gram, (x[inside] - centre).T @ (y[inside] - level))
            squares[p] += ((y[outside] - level - (x[outside] - centre) @ coefficients) ** 2).sum()
    best = min(squares, key=squares.get)
    assert penalty == best and error == pytest.approx(np.sqrt(squares[best] / len(y)))
    assert null_error == pytest.approx(np.sqrt(nothing / len(y)))


def test_one_chain_leaves_out_its_subsets_and_very_many_chains_are_left_out_together():
    held = regression.membership(make_points(num_subsets=6, chains=1), FI_ACCURACY)
    assert sorted(regression.folds(held).tolist()) == list(range(6))
    many = regression.membership(make_points(num_subsets=90, seeds=1), FI_ACCURACY)
    assert len(set(regression.folds(many).tolist())) == regression.MAX_FOLDS


def test_one_seed_has_no_interval_and_few_subsets_no_estimate():
    one = analysis.sparse_contributions(make_points(seeds=1), FI_ACCURACY, Sampling(50))
    assert all((e.low, e.missing) == (None, "one seed") for e in one.estimates)
    few = analysis.sparse_contributions(make_points(num_subsets=3), FI_ACCURACY, Sampling(50))
    assert few.estimates == () and few.missing == "at least 4 different subsets, found 3"
