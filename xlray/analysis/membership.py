"""How far the tasks that subsets share make up their spread: the covariance of subsets by membership.

The shipped draws use every task of a pool nearly equally often. What tasks add one by one then nearly cancels in the mean
of a cell, and taking the subsets as independent draws overstates its error. A subset's effect is modelled as the sum of
what its tasks add, alike in all subsets, and a remainder of its own (tasks that work together, or against one another);
two subsets covary by the tasks that they share. What is estimated is the expected score over all subsets of that size of
this pool, so of a task only the difference between its share of the draws and that of all subsets counts.

Which part of the spread is additive is one number for all cells and targets of a rung. Few subsets say little of it, so it
is not estimated and then believed: intervals average over its posterior, and lose degrees of freedom by its spread.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xlray.analysis.points import Array

Place = tuple[int, int]  # number of a cell, row in it
SHARES = (np.arange(20) + 0.5) / 20  # additive shares of the variance of subsets, equally likely before the data
BALANCED = 1 / 3  # of the variance of independent draws; above it draws count as such, as tasks are not used evenly
MOST = 200  # subsets of a cell that are asked for the share; of more, their part of the error is small anyway
MIN_INFORMATION = 1.0  # Fisher's on the share at 0, over the cells; below it the prior alone would narrow intervals


@dataclass(frozen=True)
class Membership:
    """Which tasks the subsets of a cell hold.

    Attributes:
        pool: names of the tasks that its subsets are drawn from.
        rows: [clusters, pool] 1 where the subset holds the task, less the share of all subsets of that size.
    """

    pool: tuple[str, ...]
    rows: Array

    @property
    def size(self) -> float:
        """Variance between all subsets of so many tasks of the pool where each task has variance 1."""
        return float((self.rows**2).sum(axis=1).mean())

    @functools.cached_property
    def spread(self) -> tuple[float, Array, Array]:
        """(variance between subsets where each task has variance 1, [axes] its parts over the axes, [clusters, axes])."""
        centred = self.rows - self.rows.mean(axis=0)
        # Less one along the constant axis, which is thereby the first; even draws have other axes without variance.
        values, axes = np.linalg.eigh(centred @ centred.T - 1 / len(centred))
        size = float(values[1:].mean())
        return size, values[1:] / size if size > 0 else values[1:], axes[:, 1:]


def make_membership(subsets: Sequence[Sequence[str]], pool: Sequence[str]) -> Membership:
    """The membership of subsets of a pool; a subset holds no task twice."""
    return _membership(tuple(map(tuple, subsets)), tuple(pool))


@functools.lru_cache(maxsize=256)  # a report asks for the same cells with every score
def _membership(subsets: tuple[tuple[str, ...], ...], pool: tuple[str, ...]) -> Membership:
    rows = np.array([[task in tasks for task in pool] for tasks in map(frozenset, subsets)], dtype=np.float64)
    return Membership(pool, rows - rows.mean(axis=1, keepdims=True))


@dataclass(frozen=True)
class Additivity:
    """What the subsets of a rung say of the additive share of their variance.

    Attributes:
        weights: [..., shares] posterior probabilities of `SHARES`.
        size: variance between the subsets of a cell where each task has variance 1, mean over cells.
    """

    weights: Array
    size: float


@dataclass(frozen=True)
class Spread:
    """The variance of a sum of cells through their subsets, in that of a single subset, for each of `SHARES`.

    Attributes:
        independent: [shares] where clusters count as independent, as mean squares do.
        dependent: [shares] with the tasks that they share; the same where draws use tasks no more evenly.
    """

    independent: Array
    dependent: Array


def spread(
    cells: Sequence[tuple[float | Array, Membership | None]], groups: Sequence[Sequence[Sequence[Place]]], size: float
) -> Spread:
    """Both variances of a sum.

    Args:
        cells: coefficient and membership of each; None for a cell of one subset, which is taken as it is.
        groups: of each group of exchangeable clusters, which stand in the same cells, the places of each of them.
        size: as `Additivity.size`.
    """
    drawn = [(float(coefficient), held) for coefficient, held in cells if held is not None]
    tasks = sorted({task for _, held in drawn for task in held.pool})
    columns = {task: column for column, task in enumerate(tasks)}
    alone, together = 0.0, np.zeros(len(tasks))
    for group in groups:
        if len(group) == 1:
            continue
        brought = np.zeros((len(group), len(tasks)))  # how much of each task a cluster brings into the sum
        for places in zip(*group, strict=True):  # its clusters stand in the same cells
            coefficient, held = cells[places[0][0]]
            if held is not None:
                rows = held.rows[[row for _, row in places]]
                brought[:, [columns[task] for task in held.pool]] += coefficient * rows / len(held.rows)
        alone += len(group) / (len(group) - 1) * float(((brought - brought.mean(axis=0)) ** 2).sum())
        together += brought.sum(axis=0)
    rest = (1 - SHARES) * sum(coefficient**2 / len(held.rows) for coefficient, held in drawn)
    independent = SHARES * alone / size + rest
    even = together @ together < BALANCED * alone
    return Spread(independent, SHARES * (together @ together) / size + rest if even else independent)


def reduced(found: Spread, shared: Additivity) -> tuple[Array, Array]:
    """([...] posterior mean of the part of the variance between subsets that is in the error, [...] its relative variance)."""
    ratios = np.divide(found.dependent, found.independent, out=np.ones(len(SHARES)), where=found.independent > 0)
    mean = shared.weights @ ratios
    return mean, np.maximum(shared.weights @ ratios**2 / mean**2 - 1, 0.0)


def additivity(cells: Sequence[tuple[Membership, Array]]) -> Additivity | None:
    """From complete cells of one rung; None where their subsets overlap too little, or too evenly, to tell.

    The likelihood of the differences between a cell's subsets, their scale integrated out, so that cells and targets may
    differ in it; multiplied over cells and targets. The part of the variance of means that is noise of trials is taken off.

    Args:
        cells: membership and values [..., targets, clusters, seeds].
    """
    known: float | Array = 0.0
    information, sizes = 0.0, []
    for held, values in cells:
        num_clusters, num_seeds = values.shape[-2:]
        if not 2 < num_clusters <= MOST or num_seeds < 2:
            continue
        size, parts, axes = held.spread
        if size <= 0:
            continue
        information += float(((parts - 1) ** 2).sum()) / 2
        sizes.append(size)
        rest = values - values.mean(axis=-1, keepdims=True)
        rest = rest - rest.mean(axis=-2, keepdims=True)
        noise = (rest**2).sum(axis=(-2, -1)) / ((num_clusters - 1) * (num_seeds - 1) * num_seeds)
        squares = (values.mean(axis=-1) @ axes) ** 2
        total = squares.mean(axis=-1)
        of_subsets = 1 - np.divide(noise, total, out=np.ones(total.shape), where=total > noise)
        known = known + _likelihood(squares, of_subsets, parts).sum(axis=-2)
    return _posterior(known, sizes) if information >= MIN_INFORMATION else None


def _likelihood(squares: Array, of_subsets: Array, parts: Array) -> Array:
    """[..., shares] log likelihood of squared differences along the axes [..., axes], their scale integrated out."""
    variances = 1 + of_subsets[..., None, None] * SHARES[:, None] * (parts - 1)
    scale = (squares[..., None, :] / variances).mean(axis=-1)
    return np.asarray(-(np.log(variances).sum(axis=-1) + len(parts) * np.log(scale + 1e-300)) / 2)


def _posterior(known: float | Array, sizes: Sequence[float]) -> Additivity:
    weights = np.exp(known - np.max(known, axis=-1, keepdims=True))
    return Additivity(weights / weights.sum(axis=-1, keepdims=True), float(np.mean(sizes)))
