"""How much noisier the control is than trials with tasks, as all targets say together.

The control is one subset, so only its seeds show its noise: three numbers for each target. How much noisier it is than
other trials will not differ much between the targets of the same trials, so each borrows what the others say, as limma
does over genes (Smyth 2004; Phipson et al. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlray.analysis.crossed import seed_variance, trial_variance
from xlray.analysis.grid import Grid, shares
from xlray.analysis.points import Array

# Chosen by simulation.
ALIKE = 4  # degrees of freedom of the assumption that the control is as noisy as the other trials
LEAST = 0.8  # multiple of their noise that it has at least: if none of a few seeds collapsed, that was luck
FREEDOM = 2.5  # of what other targets say, at most: one may differ from them


@dataclass(frozen=True)
class ControlNoise:
    """What all other targets say of the noise of the control.

    Attributes:
        multiple: [..., 1 + targets] of the variance of other trials, for the mean of the targets and for each of them.
        freedom: [..., 1 + targets] degrees of freedom that this counts.
    """

    multiple: Array
    freedom: Array


def control_noises(cells: Mapping[str, Grid]) -> dict[str, ControlNoise]:
    """Of each control that two cells with tasks share the seeds of; values are [..., targets, clusters, seeds]."""
    controls = {cell: grid for cell, grid in cells.items() if grid.is_control and len(grid.seeds) > 1}
    found = dict[str, ControlNoise]()
    for seeds in dict.fromkeys(grid.seeds for grid in controls.values()):
        drawn = [grid.only(seeds) for grid in cells.values() if not grid.is_control and set(seeds) <= set(grid.seeds)]
        if len(drawn) > 1:
            others = _other_trials(drawn)
            found |= {cell: _control_noise(grid, others) for cell, grid in controls.items() if grid.seeds == seeds}
    return found


@dataclass(frozen=True)
class _OtherTrials:
    """What cells with tasks say: [..., targets, seeds] mean of their lines, [..., targets] the variance of a seed in it and
    that of a seed in a single trial, and [..., 1] what part of that is usual."""

    line: Array
    of_line: Array
    of_trial: Array
    usual: Array


def _other_trials(cells: Sequence[Grid]) -> _OtherTrials:
    of_seed, noise = seed_variance(cells)
    line = np.mean([shares(grid)[1].sum(axis=-2) for grid in cells], axis=0)
    of_line = (of_seed + noise.mean(axis=0)) / len(cells)
    return _OtherTrials(line, of_line, of_seed + trial_variance(cells)[0], _usual(cells))


def _control_noise(control: Grid, others: _OtherTrials) -> ControlNoise:
    freedom = len(control.seeds) - 1
    apart = control.values[..., 0, :] - others.line  # so that what a seed adds to all cells cancels
    square = np.maximum(apart.var(axis=-1, ddof=1) - others.of_line, 0.0)
    known = ~control.is_constant & (others.of_trial > 0)
    ratios = np.divide(square, others.of_trial, out=np.zeros(square.shape), where=known)
    number, total = freedom * _others(known.astype(np.float64)), freedom * _others(ratios)
    multiple = np.maximum((total + ALIKE * others.usual) / (number + ALIKE), LEAST * others.usual)
    number[..., 0] -= freedom  # the mean's own seeds are those of its targets
    return ControlNoise(multiple, np.clip(number / 2, 0.0, FREEDOM))


def _others(values: Array) -> Array:
    """[..., 1 + targets] sums over all targets, and over all but each."""
    total = values.sum(axis=-1, keepdims=True)
    return np.concatenate([total, total - values], axis=-1)


def _usual(cells: Sequence[Grid]) -> Array:
    """[..., 1] noise of the median cell, over all targets, in that of all; at most 1: one cell may be noisy."""
    noise = np.array([trial_variance([grid])[0] for grid in cells if len(grid.clusters) > 1] or [np.ones(1)])
    mean = noise.mean(axis=0)
    relative = np.divide(noise, mean, out=np.ones(noise.shape), where=mean > 0).mean(axis=-1, keepdims=True)
    return np.asarray(np.minimum(np.median(relative, axis=0), 1.0))
