"""Scaling curves: a score over the number of tasks, or over the number of examples, with a band.

Three shapes are fitted to the means of the sizes and compared by the error on a size left out: a saturating power law
(Kaplan et al. 2020; Hoffmann et al. 2022 with an asymptote), a line in the logarithm, and two straight pieces with a
knee (as Muppet reports near 15 tasks: Aghajanyan et al. 2021).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlray.analysis.bootstrap import resample
from xlray.analysis.crossed import contrast
from xlray.analysis.distributions import t_quantile
from xlray.analysis.effects import as_estimate, cell_grids
from xlray.analysis.grid import Grid
from xlray.analysis.points import (
    Array,
    Estimate,
    Point,
    Sampling,
    estimable,
    scored,
    too_few,
    values_of,
    weights_of,
    without_controls,
)

MIN_SIZES = 5  # sizes below which a shape is not told from another
FEW_SIZES = f"at least {MIN_SIZES} sizes, found {{}}"
MODELS = ("power law", "log-linear", "knee")
EXPONENTS = np.geomspace(0.05, 3.0, 40)
NUM_KNEES = 41
NUM_GRID = 60
BEYOND = 1.5  # the curve is drawn this far past the largest size, as extrapolation


@dataclass(frozen=True)
class CurveFit:
    """One shape, fitted to the means of the sizes.

    Attributes:
        model: one of `MODELS`.
        formula: with its numbers, for people; x is in `unit`s.
        parameter: exponent of the power law, place of the knee in the unit of the axis; None for a line.
        held_out_error: root mean squared error on a size left out, in points.
    """

    model: str
    formula: str
    parameter: float | None
    held_out_error: float


@dataclass(frozen=True)
class Curve:
    """A scaling curve of one outcome.

    Attributes:
        outcome: what is scored.
        axis: "num_tasks" or "num_examples".
        source: of the tasks; for "num_examples" the cell.
        sizes: places on the axis that were measured.
        means: one estimate per size.
        fits: best first; empty if something is missing.
        x: grid on which the best fit is drawn.
        y: the best fit, in percent.
        low: lower end of its pointwise interval; NaN with too few seeds or subsets.
        high: upper end.
        extrapolated: whether the place lies beyond the largest size.
        knee: place of the knee with a percentile interval, whatever shape fits best.
        missing: what is missing where there is no curve, else "".
    """

    outcome: str
    axis: str
    source: str
    sizes: tuple[float, ...] = ()
    means: tuple[Estimate, ...] = ()
    fits: tuple[CurveFit, ...] = ()
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    extrapolated: tuple[bool, ...] = ()
    knee: Estimate | None = None
    missing: str = ""


def basis(model: str, x: Array, parameter: float | Array) -> Array:
    """[..., places, columns] of a shape that is linear in all but one parameter; `x` in units of the axis."""
    place = np.asarray(parameter, dtype=np.float64)[..., None]  # [..., 1]
    if model == "power law":
        columns = [(1 + x) ** -place]
    elif model == "log-linear":
        columns = [np.log1p(x) + 0 * place]
    else:
        columns = [np.minimum(x, place), np.maximum(x - place, 0)]
    return np.stack([np.ones_like(columns[0]), *columns], axis=-1)


def parameters(model: str, x: Array) -> Array:
    """Values of the one nonlinear parameter that are tried; a knee lies between the second and the last but one size."""
    if model == "power law":
        return EXPONENTS
    if model == "log-linear":
        return np.zeros(1)
    inside = np.sort(x)
    return np.linspace(inside[1], inside[-2], NUM_KNEES)


def fit(model: str, x: Array, y: Array) -> tuple[Array, Array]:
    """Least squares for many samples at once.

    Args:
        x: [sizes] in units of the axis.
        y: [draws, sizes] means.

    Returns:
        ([draws, columns] coefficients, [draws] parameter) with the smallest squared error.
    """
    tried = parameters(model, x)
    columns = basis(model, x, tried)  # [tried, sizes, columns]
    solve = np.linalg.pinv(columns)
    # What a shape leaves of the means is linear in them, so the error is a squared length.
    errors = np.stack([((y - y @ (c @ s).T) ** 2).sum(axis=1) for c, s in zip(columns, solve, strict=True)])
    best = np.argmin(errors, axis=0)
    return np.einsum("dcs,ds->dc", solve[best], y), tried[best]


def predict(model: str, x: Array, coefficients: Array, parameter: Array) -> Array:
    """[draws, places] of fitted curves."""
    values, which = np.unique(parameter, return_inverse=True)
    columns = basis(model, x, values)
    return np.asarray(np.einsum("dpc,dc->dp", columns[which], coefficients), dtype=np.float64)


def held_out_error(model: str, x: Array, y: Array) -> float:
    """Root mean squared error on each size when the curve is fitted to the others."""
    errors = []
    for left_out in range(len(x)):
        rest = np.arange(len(x)) != left_out
        coefficients, parameter = fit(model, x[rest], y[None, rest])
        errors.append(float(predict(model, x[[left_out]], coefficients, parameter)[0, 0] - y[left_out]))
    return math.sqrt(sum(error**2 for error in errors) / len(errors))


def task_curves(points: Sequence[Point], outcome: str, sampling: Sampling) -> list[Curve]:
    """A score over the number of tasks at one rung, for each source that is a pool."""
    points = without_controls(scored(points, outcome))
    curves = []
    for source in sorted({point.source for point in points if point.num_tasks}):
        inside = [point for point in points if point.source == source or point.num_tasks == 0]
        sizes = {point.cell: float(point.num_tasks) for point in inside}
        curves.append(_curve(Curve(outcome, "num_tasks", source), inside, sizes, 1.0, sampling))
    return curves


def example_curves(points: Sequence[Point], outcome: str, sampling: Sampling) -> list[Curve]:
    """A score over the examples of the intermediate phase, for each cell with tasks.

    Only over rungs whose targets train on equally many examples: a probe's score is no smaller run's score.
    """
    cells: dict[str, list[Point]] = {}
    for rung in sorted({point.rung_index for point in points}):
        for point in scored(estimable(points, rung), outcome):
            if point.num_tasks:
                cells.setdefault(point.cell, []).append(point)
    curves = []
    for cell, inside in cells.items():
        empty = Curve(outcome, "num_examples", cell)
        if len({point.target_examples for point in inside}) > 1:
            curves.append(dataclasses.replace(empty, missing="rungs whose targets train on equally many examples"))
            continue
        if (num_rungs := len({point.rung for point in inside})) < MIN_SIZES:
            curves.append(dataclasses.replace(empty, missing=FEW_SIZES.format(num_rungs)))
            continue
        placed = [dataclasses.replace(point, cell=f"{cell} at {point.rung}") for point in inside]
        sizes = {point.cell: float(point.rung) for point in placed}
        curves.append(_curve(empty, placed, sizes, min(sizes.values()), sampling))
    return curves


def _curve(empty: Curve, points: Sequence[Point], sizes: dict[str, float], unit: float, sampling: Sampling) -> Curve:
    cells = sorted(sizes, key=lambda cell: sizes[cell])
    if len(cells) < MIN_SIZES:
        return dataclasses.replace(empty, missing=FEW_SIZES.format(len(cells)))
    grids = cell_grids(points, empty.outcome)
    rung = max(point.rung for point in points)
    single = [contrast([(1.0, grids[cell])]) for cell in cells]
    means = tuple(
        as_estimate(f"mean/{empty.outcome}/{cell}", found, sampling.level, rung)
        for cell, found in zip(cells, single, strict=True)
        if found is not None
    )
    places = np.array([sizes[cell] for cell in cells])
    x, y = places / unit, np.array([mean.value for mean in means])
    fits = sorted((_describe(model, x, y, unit) for model in MODELS), key=lambda found: found.held_out_error)
    model = fits[0].model
    drawn = _drawn_means(points, empty.outcome, cells, sampling)
    coefficients, parameter = fit(model, x, y[None])
    at = np.unique(np.concatenate([np.linspace(places[0], BEYOND * places[-1], NUM_GRID), places]))
    draws = predict(model, at / unit, *fit(model, x, drawn))
    weights = _linear_weights(model, x, at / unit, float(parameter[0]))
    ordered = [grids[cell] for cell in cells]
    centre = predict(model, at / unit, coefficients, parameter)[0]
    half = _half_widths(weights, ordered, draws, _between(fits, x, y, at / unit, centre), sampling.level)
    knees = unit * fit("knee", x, drawn)[1]
    return dataclasses.replace(
        empty,
        sizes=tuple(places.tolist()),
        means=means,
        fits=tuple(fits),
        x=tuple(at.tolist()),
        y=tuple(centre.tolist()),
        low=tuple((centre - half).tolist()),
        high=tuple((centre + half).tolist()),
        extrapolated=tuple((at > places[-1]).tolist()),
        knee=_knee(empty, unit * float(fit("knee", x, y[None])[1][0]), knees, means, ordered, sampling),
    )


def _describe(model: str, x: Array, y: Array, unit: float) -> CurveFit:
    coefficients, parameter = fit(model, x, y[None])
    start, slope, *after = (float(value) for value in coefficients[0])
    of_x = "x" if unit == 1 else f"x/{unit:,.0f}"
    place = float(parameter[0]) if model == "power law" else unit * float(parameter[0])
    formula = {
        "power law": f"{start:.2f} {slope:+.2f} (1 + {of_x})^-{place:.2f}",
        "log-linear": f"{start:.2f} {slope:+.2f} ln(1 + {of_x})",
        "knee": f"{start:.2f} {slope:+.3f} {of_x} up to {place:,.1f}, then {sum(after):+.3f} {of_x}",
    }[model]
    return CurveFit(model, formula, None if model == "log-linear" else place, held_out_error(model, x, y))


def _drawn_means(points: Sequence[Point], outcome: str, cells: Sequence[str], sampling: Sampling) -> Array:
    """[draws, cells] means under the crossed bootstrap; a cell with one subset is taken as it is. Empty draws are left out."""
    drawn, weights = resample(points, sampling), weights_of(points)
    numbers = {cell: number for number, cell in enumerate(cells)}
    groups = np.array([numbers[point.cell] for point in points])
    held: dict[int, set[str]] = {}
    for number, point in zip(groups.tolist(), points, strict=True):
        held.setdefault(number, set()).add(point.cluster)
    fixed = [number for number, clusters in held.items() if len(clusters) == 1]
    above = drawn.sums(weights * values_of(points, outcome), groups, fixed)
    with np.errstate(invalid="ignore", divide="ignore"):
        made = above / drawn.sums(weights, groups, fixed)
    return np.asarray(made[np.isfinite(made).all(axis=1)], dtype=np.float64)


def _linear_weights(model: str, x: Array, at: Array, parameter: float) -> Array:
    """[places, sizes]: the fitted value at each place as a sum over the means of the sizes, the parameter held."""
    return np.asarray(basis(model, at, parameter) @ np.linalg.pinv(basis(model, x, parameter)), dtype=np.float64)


def _between(fits: Sequence[CurveFit], x: Array, y: Array, at: Array, centre: Array) -> Array:
    """[places] variance through the choice of the shape: squared distances of all from the best one (Buckland et al. 1997).

    A shape counts by the inverse square of its error on a size left out.
    """
    curves = np.array([predict(found.model, at, *fit(found.model, x, y[None]))[0] for found in fits])
    weights = np.array([1 / max(found.held_out_error, 1e-9) ** 2 for found in fits])
    return np.asarray(weights / weights.sum() @ (curves - centre) ** 2, dtype=np.float64)


def _half_widths(weights: Array, grids: Sequence[Grid], draws: Array, between: Array, level: float) -> Array:
    """[places] half of the t intervals of the fitted values; NaN without an interval.

    The standard error is the larger one of that with the parameter held and the bootstrap's, and the choice of the shape
    comes on top.

    Args:
        weights: [places, sizes] of each mean in the sum.
        draws: [draws, places] the sums under the bootstrap.
        between: [places] variance through the choice of the shape.
    """
    found = contrast(list(zip(weights.T, grids, strict=True)))
    if found is None or too_few(found.num_seeds, found.num_sampled) or found.standard_error is None or len(draws) < 2:
        return np.full(len(weights), np.nan)
    error = np.sqrt(np.maximum(found.standard_error, draws.std(axis=0, ddof=1)) ** 2 + between)
    return np.asarray(t_quantile((1 + level) / 2, found.degrees_of_freedom) * error, dtype=np.float64)


def _num_subsets(grids: Sequence[Grid]) -> int:
    """The fewest subsets of any size; the control has none to choose from."""
    return min((grid.num_subsets for grid in grids if not grid.is_control), default=1)


def _knee(
    empty: Curve, value: float, draws: Array, means: Sequence[Estimate], grids: Sequence[Grid], sampling: Sampling
) -> Estimate:
    low = high = None
    seeds, subsets = min(mean.num_seeds for mean in means), _num_subsets(grids)
    missing = too_few(seeds, subsets)
    if not missing and len(draws):
        tail = (1 - sampling.level) / 2
        low, high = (float(bound) for bound in np.quantile(draws, (tail, 1 - tail)))
    name = f"knee/{empty.outcome}/{empty.source}"
    return Estimate(name, value, low, high, sampling.level, seeds, subsets, means[0].rung, missing=missing)
