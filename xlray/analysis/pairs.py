"""Pairs of tasks that add more, or less, together than one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlray.analysis.distributions import t_beyond, t_quantile
from xlray.analysis.effects import holm
from xlray.analysis.points import Array, Estimate, Point, Sampling, scored, too_few, without_controls
from xlray.analysis.regression import Membership, members, membership, subset_sums

MIN_EACH = 2  # subsets with both, either and none of a pair, below which it is not identified
MIN_FREEDOM = 3.0  # degrees of freedom below which an error that is robust to clusters says nothing


@dataclass(frozen=True)
class Interactions:
    """Estimates of the pairs that the design identifies, by falling evidence.

    Attributes:
        estimates: named `interaction/<outcome>/<task> x <task>`; `p_holm` is over all pairs that are identified.
        num_pairs: pairs of tasks that there are.
        missing: what is missing where there are none, else "".
    """

    estimates: tuple[Estimate, ...]
    num_pairs: int = 0
    missing: str = ""


def interactions(points: Sequence[Point], outcome: str, sampling: Sampling) -> Interactions:
    """What a pair adds beyond the sum of its tasks, one pair at a time beside all single tasks.

    Least squares on the means of subsets, the single tasks taken out of both sides first (Frisch and Waugh 1933), with a
    standard error that is robust to clusters and unbiased where rows are alike (CR2), and the degrees of freedom that
    belong to it (Bell and McCaffrey 2002; Pustejovsky and Tipton 2018). A pair with fewer than `MIN_FREEDOM` of them is
    left out, and so are controls.
    """
    points = without_controls(scored(points, outcome))
    held = membership(points, outcome) if points else None
    num_tasks = len(held.tasks) if held else 0
    num_pairs = num_tasks * (num_tasks - 1) // 2
    if held is None or len(held.rows) < num_tasks + 3:
        needed = f"at least {num_tasks + 3} different subsets for {num_tasks} tasks"
        return Interactions((), num_pairs, f"{needed}, found {len(held.rows) if held else 0}")
    seeds, rung = len({point.seed for point in points}), max(point.rung for point in points)
    if few := too_few(seeds, len(np.unique(held.clusters))):
        return Interactions((), num_pairs, f"three seeds and three subsets or chains; {few}")
    pairs = identified_pairs(held)
    if not pairs:
        return Interactions((), num_pairs, f"pairs with {MIN_EACH} subsets of each kind (both, either, none)")
    values, errors, freedom, usable = _fit_pairs(held, pairs)
    pairs = [pair for pair, use in zip(pairs, usable, strict=True) if use]
    if not pairs:
        return Interactions((), num_pairs, f"chains or subsets enough for {MIN_FREEDOM} degrees of freedom")
    p_values = 2 * t_beyond(np.abs(values) / errors, freedom)
    halves = t_quantile((1 + sampling.level) / 2, freedom) * errors
    made = [
        Estimate(
            name=f"interaction/{outcome}/{held.tasks[a]} x {held.tasks[b]}",
            value=float(value),
            low=float(value - half),
            high=float(value + half),
            level=sampling.level,
            num_seeds=seeds,
            num_subsets=len(held.rows),
            rung=rung,
            num_trials=len(points),
            standard_error=float(error),
            degrees_of_freedom=float(degrees),
            p_value=float(p_value),
            p_holm=adjusted,
        )
        for (a, b), value, error, degrees, half, p_value, adjusted in zip(
            pairs, values, errors, freedom, halves, p_values, holm(p_values.tolist()), strict=True
        )
    ]
    return Interactions(tuple(sorted(made, key=lambda e: (e.p_value or 0.0, e.name))), num_pairs)


def identified_pairs(held: Membership) -> list[tuple[int, int]]:
    """Pairs of columns with enough subsets that hold both, only one, only the other, and none."""
    rows = held.rows
    both = rows.T @ rows
    alone = rows.sum(axis=0)
    found = []
    for a, b in itertools.combinations(range(rows.shape[1]), 2):
        counts = (both[a, b], alone[a] - both[a, b], alone[b] - both[a, b])
        if min(*counts, len(rows) - sum(counts)) >= MIN_EACH:
            found.append((a, b))
    return found


def _fit_pairs(held: Membership, pairs: Sequence[tuple[int, int]]) -> tuple[Array, Array, Array, list[bool]]:
    """(values, standard errors, degrees of freedom) of the pairs that can be judged, and which those are."""
    counts, sums = subset_sums(held, held.weights)
    means, root = sums / counts, np.sqrt(counts)
    single = np.concatenate([np.ones((len(held.rows), 1)), held.rows], axis=1) * root[:, None]
    basis = column_space(single)
    clusters = [clusters_of(rows, basis) for rows in members(held.clusters)]
    right = means * root
    right = right - basis @ (basis.T @ right)
    found: list[tuple[float, float, float]] = []
    usable: list[bool] = []
    for a, b in pairs:
        product = held.rows[:, a] * held.rows[:, b] * root
        left = product - basis @ (basis.T @ product)
        size = float(left @ left)
        usable.append(size > 1e-8 * float(product @ product))
        if usable[-1]:
            value = float(left @ right) / size
            column = left / math.sqrt(size)
            variance, freedom = cluster_robust(clusters, column, left / size, right - left * value)
            usable[-1] = variance > 0 and freedom >= MIN_FREEDOM
            found += [(value, math.sqrt(variance), freedom)] if usable[-1] else []
    columns = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return columns[0], columns[1], columns[2], usable


def column_space(matrix: Array) -> Array:
    """[rows, rank] orthonormal columns that span those of a matrix."""
    left, sizes, _ = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray(left[:, sizes > sizes[0] * max(matrix.shape) * np.finfo(np.float64).eps])


@dataclass(frozen=True)
class Clusters:
    """The clusters of one size, and what a fit does within them.

    Attributes:
        rows: [clusters, rows].
        basis: [clusters, rows, columns] orthonormal over all rows, of the space that the fit lies in.
        left: [clusters, rows, rows] what the fit leaves of scores within a cluster.
    """

    rows: NDArray[np.int64]
    basis: Array
    left: Array


def clusters_of(rows: NDArray[np.int64], basis: Array) -> Clusters:
    """Those of one size, [clusters, rows], within a fit whose space has this basis."""
    here = basis[rows]
    return Clusters(rows, here, np.eye(rows.shape[1]) - here @ here.transpose(0, 2, 1))


def cluster_robust(clusters: Sequence[Clusters], column: Array, along: Array, residuals: Array) -> tuple[float, float]:
    """(variance, degrees of freedom) of a least-squares coefficient, CR2 as in Bell and McCaffrey 2002.

    What is left of scores is their product with a projection, so that no matrix of all rows by all rows is made: clusters
    see their own block, and products of clusters only the columns.

    Args:
        clusters: of each size, with the other columns of the fit.
        column: [rows] of length 1, the coefficient's own column less the others.
        along: [rows] the coefficient is its product with the scores.
        residuals: [rows] of the fit.
    """
    parts, squares, shares = [], [], []
    for same in clusters:
        own_column = column[same.rows]
        values, vectors = np.linalg.eigh(same.left - own_column[:, :, None] * own_column[:, None, :])
        sound = values > 1e-9  # along the others the fit leaves nothing
        root = np.where(sound, 1 / np.sqrt(np.where(sound, values, 1.0)), 0.0)
        turned = (along[same.rows][:, None] @ vectors)[:, 0]
        own = (vectors @ (root * turned)[..., None])[..., 0]
        parts.append((residuals[same.rows] * own).sum(axis=1))
        squares.append((own**2).sum(axis=1))
        columns = (own[:, None] @ same.basis)[:, 0]
        shares.append(np.concatenate([columns, (own * own_column).sum(axis=1, keepdims=True)], axis=1))
    # Of the products of clusters, diag(size) - share @ share.T, the trace and the sum of squares.
    size, share = np.concatenate(squares), np.concatenate(shares)
    lengths = (share**2).sum(axis=1)
    lost = float((size**2).sum() - 2 * (size @ lengths) + ((share.T @ share) ** 2).sum())
    freedom = float(size.sum() - lengths.sum()) ** 2 / lost if lost > 0 else 0.0
    return float((np.concatenate(parts) ** 2).sum()), freedom
