import dataclasses

import numpy as np
import pytest
from scipy import optimize

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, curves

SAMPLING = Sampling(num_draws=400)
SIZES = np.array([0.0, 3.0, 6.0, 9.0, 14.0, 20.0])


def power(x):
    return 70 - 6 * (1 + x) ** -0.7


def knee(x):
    return 60 + 0.4 * np.minimum(x, 9) + 0.02 * np.maximum(x - 9, 0)


def line(x):
    return 60 + 1.5 * np.log1p(x)


def sweep(shape, num_chains=5, seeds=4, noise=0.1, sizes=SIZES, generator=None):
    """Nested chains of one pool around a known shape, the control among the sizes."""
    generator = generator or np.random.default_rng(0)
    by_seed, by_chain = generator.normal(0, 0.3, seeds), generator.normal(0, noise, num_chains)
    points = []
    for size in sizes.astype(int).tolist():
        for chain in range(num_chains if size else 1):
            tasks = tuple(f"t{chain}{k}" for k in range(size))
            for seed in range(seeds):
                value = (
                    shape(float(size)) + by_seed[seed] + (by_chain[chain] if size else 0) + generator.normal(0, noise)
                )
                cluster = f"chain {chain} of all" if size else ""
                place = (f"{size}-all" if size else "0", size, "all" if size else "", tasks, cluster, seed, 4_096, 0)
                points.append(Point(f"{chain}/{size}/{seed}", "measure", *place, {FI_ACCURACY: value}))
    return points


@pytest.mark.parametrize(("model", "shape"), [("power law", power), ("knee", knee), ("log-linear", line)])
def test_the_shape_that_made_the_data_has_the_smallest_held_out_error(model, shape):
    (curve,) = analysis.task_curves(sweep(shape, noise=0.01), FI_ACCURACY, SAMPLING)
    assert curve.fits[0].model == model and curve.fits[0].held_out_error < 0.1
    assert [fit.held_out_error for fit in curve.fits] == sorted(fit.held_out_error for fit in curve.fits)
    grid = np.array(curve.x)
    inside = grid <= 20
    assert np.abs(np.array(curve.y)[inside] - shape(grid[inside])).max() < 0.5


def test_least_squares_over_the_exponent_is_scipys():
    y = power(SIZES) + np.array([0.05, -0.1, 0.08, 0.02, -0.06, 0.03])
    coefficients, exponent = curves.fit("power law", SIZES, y[None])
    fitted = curves.predict("power law", SIZES, coefficients, exponent)[0]

    def residuals(p):
        return p[0] + p[1] * (1 + SIZES) ** -p[2] - y

    best = optimize.least_squares(residuals, (70, -6, 0.7), bounds=([-np.inf, -np.inf, 0.05], [np.inf, np.inf, 3.0]))
    # The exponent is searched on a grid, so the error is a little larger, never smaller.
    assert 2 * best.cost <= ((fitted - y) ** 2).sum() <= 2 * best.cost * 1.1
    assert exponent[0] == pytest.approx(best.x[2], rel=0.1)


def test_many_samples_at_once_are_fitted_as_one_by_one():
    generator = np.random.default_rng(1)
    y = knee(SIZES) + generator.normal(0, 0.5, (30, len(SIZES)))
    for model in curves.MODELS:
        coefficients, parameter = curves.fit(model, SIZES, y)
        places = np.linspace(0, 30, 7)
        together = curves.predict(model, places, coefficients, parameter)
        for row in (0, 11, 29):
            one = curves.predict(model, places, *curves.fit(model, SIZES, y[[row]]))[0]
            assert together[row] == pytest.approx(one)


def test_the_error_on_a_size_left_out_is_that_of_a_fit_without_it():
    y = line(SIZES) + np.array([0.3, -0.2, 0.1, 0.2, -0.3, 0.1])
    errors = []
    for left_out in range(len(SIZES)):
        rest = np.arange(len(SIZES)) != left_out
        slope, start = np.polyfit(np.log1p(SIZES[rest]), y[rest], 1)
        errors.append(start + slope * np.log1p(SIZES[left_out]) - y[left_out])
    assert curves.held_out_error("log-linear", SIZES, y) == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_the_knee_is_found_with_an_interval_and_the_subsets_of_cells_with_tasks():
    (curve,) = analysis.task_curves(sweep(knee, noise=0.05), FI_ACCURACY, SAMPLING)
    assert curve.knee.low <= curve.knee.value <= curve.knee.high and curve.knee.value == pytest.approx(9, abs=1.5)
    assert curve.knee.num_subsets == 5 and curve.knee.num_seeds == 4 and curve.knee.missing == ""
    (alone,) = analysis.task_curves(sweep(knee, num_chains=2), FI_ACCURACY, SAMPLING)
    assert (alone.knee.low, alone.knee.missing) == (None, "two subsets are too few")


def test_a_place_between_sizes_is_known_as_a_weighted_sum_of_means():
    """The band of a line in the logarithm is that of the weighted sum of the means that least squares makes of it."""
    points = sweep(line)
    (curve,) = analysis.task_curves(points, FI_ACCURACY, SAMPLING)
    if curve.fits[0].model != "log-linear":
        pytest.skip("another shape fits better")
    means = np.array([mean.value for mean in curve.means])
    columns = np.stack([np.ones(6), np.log1p(SIZES)], axis=1)
    at = np.array(curve.x)
    weights = np.stack([np.ones_like(at), np.log1p(at)], axis=1) @ np.linalg.pinv(columns)
    assert np.array(curve.y) == pytest.approx(weights @ means)
    grids = analysis.effects.cell_grids(points, FI_ACCURACY)
    place = len(at) // 2
    parts = [(w, grids[f"{size:.0f}-all" if size else "0"]) for w, size in zip(weights[place], SIZES, strict=True)]
    band = analysis.crossed.contrast(parts).interval(0.95)
    assert curve.low[place] <= band[0] + 1e-9 and curve.high[place] >= band[1] - 1e-9


def test_beyond_the_largest_size_everything_is_extrapolated_and_wider():
    (curve,) = analysis.task_curves(sweep(line), FI_ACCURACY, SAMPLING)
    x, beyond = np.array(curve.x), np.array(curve.extrapolated)
    assert (beyond == (x > 20)).all() and beyond.any() and x.max() == pytest.approx(30)
    width = np.array(curve.high) - np.array(curve.low)
    assert width[-1] > width[~beyond][-1]


@pytest.mark.parametrize("shape", [knee, power, line])
def test_bands_hold_the_curve_whatever_its_shape(shape):
    """At the sizes that were measured and between them, with the shape chosen from the same data."""
    hits = []
    for number in range(40):
        points = sweep(shape, noise=0.3, generator=np.random.default_rng(number))
        (curve,) = analysis.task_curves(points, FI_ACCURACY, SAMPLING)
        x = np.array(curve.x)
        true = shape(x)
        hits.append((np.array(curve.low) <= true)[x <= 20] & (true <= np.array(curve.high))[x <= 20])
    assert np.mean(hits) >= 0.93


def test_four_sizes_and_probes_are_refused_and_one_seed_has_no_band():
    (few,) = analysis.task_curves(sweep(line, sizes=SIZES[:4]), FI_ACCURACY, SAMPLING)
    assert few.missing == "at least 5 sizes, found 4" and few.x == ()
    (one,) = analysis.task_curves(sweep(line, seeds=1), FI_ACCURACY, SAMPLING)
    assert one.fits and np.isnan(one.low).all() and one.knee.low is None and one.knee.missing == "one seed"


def over_rungs(target_examples):
    points = []
    for index, examples in enumerate(target_examples):
        for point in sweep(line, sizes=SIZES[1:2]):
            score = {FI_ACCURACY: point.scores[FI_ACCURACY] + index}
            place = {"rung": 1_000 * 2**index, "rung_index": index, "target_examples": examples, "scores": score}
            points.append(dataclasses.replace(point, **place))
    return points


def test_curves_over_examples_need_targets_that_train_alike():
    (curve,) = analysis.example_curves(over_rungs([8_192] * 5), FI_ACCURACY, SAMPLING)
    assert curve.axis == "num_examples" and curve.sizes == (1_000, 2_000, 4_000, 8_000, 16_000) and not curve.missing
    assert "x/1,000" in curve.fits[0].formula
    (probes,) = analysis.example_curves(over_rungs([64, 64, 64, 64, 8_192]), FI_ACCURACY, SAMPLING)
    assert probes.missing == "rungs whose targets train on equally many examples"
