"""The trials of one cell by subset and seed, with what is missing filled in."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from xlray.analysis.membership import Membership, make_membership
from xlray.analysis.points import Array, Point, draw_of, values_of, weights_of
from xlray.errors import InputError


@dataclass(frozen=True)
class Grid:
    """The trials of one cell at one rung.

    Attributes:
        clusters: names of its subsets, chains or draws; cells whose subsets are drawn together have the same.
        seeds: in ascending order.
        values: [..., clusters, seeds] percent; NaN where there is no trial. Leading axes are other scores of the same
            trials, so the same places are NaN in all.
        weights: [clusters, seeds] inverse probabilities of having got there; 0 where there is no trial.
        num_subsets: different subsets of tasks.
        held: which tasks its subsets hold, where these are drawn from a pool that is known.
    """

    clusters: tuple[str, ...]
    seeds: tuple[int, ...]
    values: Array
    weights: Array
    num_subsets: int
    held: Membership | None = None

    def only(self, seeds: Sequence[int]) -> Grid:
        """The same with some of its seeds; clusters that have none of them are left out."""
        if tuple(seeds) == self.seeds:
            return self
        columns = [self.seeds.index(seed) for seed in seeds]
        rows = np.flatnonzero(self.present[:, columns].any(axis=1)).tolist()
        kept = tuple(self.clusters[row] for row in rows)
        num_subsets = min(self.num_subsets, len(kept))
        values, weights = self.values[..., rows, :][..., columns], self.weights[rows][:, columns]
        held = None if self.held is None else replace(self.held, rows=self.held.rows[rows])
        return Grid(kept, tuple(seeds), values, weights, num_subsets, held)

    @property
    def is_control(self) -> bool:
        """Whether its trials have no tasks."""
        return self.clusters == ("",)

    @functools.cached_property
    def is_constant(self) -> NDArray[np.bool_]:
        """[...] whether it is the control and no seed changes the score, as that of a target that is never trained."""
        return np.asarray(self.is_control & (np.ptp(self.values, axis=(-2, -1)) == 0), dtype=np.bool_)

    @functools.cached_property
    def present(self) -> NDArray[np.bool_]:
        """[clusters, seeds] whether there is a trial."""
        return np.asarray(np.isfinite(self.values.reshape(-1, *self.values.shape[-2:])[0]), dtype=np.bool_)

    @functools.cached_property
    def filled(self) -> Array:
        """[..., clusters, seeds] values with missing trials filled in; see `fill`."""
        return fill(self.values)

    @property
    def num_trials(self) -> int:
        return int(self.present.sum())

    @property
    def num_missing(self) -> int:
        return self.present.size - self.num_trials

    @property
    def weighted(self) -> bool:
        """Whether trials were stopped, so that those that are left stand for others."""
        return bool(np.any(self.weights[self.present] != 1))


def make_grid(points: Sequence[Point], outcome: str, pool: Sequence[str] = ()) -> Grid:
    """The grid of one cell; every point has a finite outcome.

    Args:
        pool: the tasks that its subsets are drawn from, if they are.

    Raises:
        InputError: two trials have the same subset or chain and the same seed.
    """
    names = [draw_of(point.cluster, point.source) for point in points]
    clusters = tuple(sorted(set(names)))
    seeds = tuple(sorted({point.seed for point in points}))
    rows = {cluster: row for row, cluster in enumerate(clusters)}
    columns = {seed: column for column, seed in enumerate(seeds)}
    place = ([rows[name] for name in names], [columns[p.seed] for p in points])
    values = np.full((len(clusters), len(seeds)), np.nan)
    weights = np.zeros(values.shape)
    if len(set(zip(*place, strict=True))) < len(points):
        raise InputError(_taken_twice(points))
    values[place], weights[place] = values_of(points, outcome), weights_of(points)
    tasks = {name: point.tasks for name, point in zip(names, points, strict=True)}
    held = make_membership([tasks[cluster] for cluster in clusters], pool) if pool and len(clusters) > 1 else None
    return Grid(clusters, seeds, values, weights, len({point.tasks for point in points}), held)


def _taken_twice(points: Sequence[Point]) -> str:
    counts = Counter((point.cluster, point.seed) for point in points)
    (cluster, seed), number = counts.most_common(1)[0]
    return (
        f"cell {points[0].cell}: `one trial per subset or chain and seed` must hold, but got {number} of "
        f"{cluster or 'no task'!r} with seed {seed}; run the sweep again to rename its chains."
    )


def fill(values: Array) -> Array:
    """Missing trials as the additive fit of subset and seed has them (Yates 1933); rows and columns have a trial each.

    The least-squares fit with the subsets taken out, which leaves one equation per seed. Where seeds share no subset,
    the ones that do are taken to be alike on average.

    Args:
        values: [..., clusters, seeds], the same places NaN in all.
    """
    present = np.isfinite(values.reshape(-1, *values.shape[-2:])[0])
    if present.all():
        return values
    there = present.astype(np.float64)
    known = np.where(present, values, 0.0)
    per_cluster = there.sum(axis=1)
    apart = np.diag(there.sum(axis=0)) - there.T @ (there / per_cluster[:, None])
    rows = known.sum(axis=-1)
    seeds = (known.sum(axis=-2) - (rows / per_cluster) @ there) @ np.linalg.pinv(apart, hermitian=True)
    clusters = (rows - seeds @ there.T) / per_cluster
    return np.where(present, values, clusters[..., :, None] + seeds[..., None, :])


def shares(grid: Grid) -> tuple[Array, Array]:
    """(means of a cell, [..., clusters, seeds] shares in it): means over seeds of the sum over clusters of the shares.

    Without weights missing trials are filled. With weights (trials were stopped with known probabilities) the mean is
    Hajek's, and the shares are its linear expansion, in which a trial that was stopped has none of its own.
    """
    num_clusters, num_seeds = grid.values.shape[-2:]
    if not grid.weighted:
        return grid.filled.mean(axis=(-2, -1)), grid.filled / num_clusters
    total = grid.weights.sum()
    values = np.where(grid.present, grid.values, 0.0)
    mean = (grid.weights * values).sum(axis=(-2, -1), keepdims=True) / total
    return mean[..., 0, 0], num_seeds * grid.weights * (values - mean) / total + mean / num_clusters
