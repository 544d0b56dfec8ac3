"""Simulated sweeps with known effects. numpy only, and nothing of xlray: what it draws from is what estimates must find.

A score is a base, a shape over the number of tasks, the effects of the tasks of the subset (with pairs that work together
or against one another), the seed, the seed in this cell, the trial's own noise, the items of the evaluation, and now and
then a collapse. Early stopping lets the best third of a cell continue, and one in five of the others.
"""

from dataclasses import dataclass

import numpy as np

TARGETS = ("panx", "tatoeba", "tydiqa", "udpos")


@dataclass(frozen=True)
class Scenario:
    """What is true. Standard deviations in points of a score.

    Attributes:
        sizes: numbers of tasks, one cell each for both pools, beside the control.
        mean_effect: of one task of the first pool on each target, before the shape.
        second_effect: the same of the second pool.
        knee: tasks beyond it add nothing on average; None for a straight line.
        task_spread: between the effects of tasks.
        extreme: tasks, the first ones, with an effect of -3 spreads; as many after them have +3.
        interaction_spread: of the effect of a pair of tasks.
        seed_spread: of a seed in all cells alike, which cancels in differences.
        seed_cell_spread: of a seed in one cell.
        noise: of a single trial.
        control_noise: that and the seed's in a cell, of trials without tasks, as a multiple.
        control_target_noise: that of Tatoeba alone, as a multiple of the other targets'.
        largest_noise: the same of the trials of the first pool's largest cell.
        fixed_control: Tatoeba is not trained, so no seed changes its score without tasks.
        heavy_tails: noise is Student's t with four degrees of freedom.
        target_scales: multiples of all spreads, by target.
        item_spread: of one item's gain from being in another cell.
        flip_spread: of one item in one trial.
        num_items: evaluated; 0 takes the items as they are.
        collapse_rate: share of trials in which a target loses `collapse_loss` points.
        failure_rate: share of trials that are not there.
        stopping: trials with tasks may be stopped after a first rung.
        survival: chance of a trial below the cut to continue.
        design: how subsets are drawn: "chains" here and independently, else by the names of the package's designs, elsewhere.
        by_share: a task's effect is in proportion to its share of the mixture; the largest is 400 times the smallest.
        likeness: correlation of the effects of a task, or of a pair of tasks, with those in its place in the other pool.
    """

    name: str
    sizes: tuple[int, ...] = (9, 20)
    pool_size: int = 32
    mean_effect: float = 0.0
    second_effect: float = 0.0
    knee: float | None = None
    task_spread: float = 0.4
    extreme: int = 0
    interaction_spread: float = 0.0
    seed_spread: float = 0.5
    seed_cell_spread: float = 0.2
    noise: float = 0.7
    control_noise: float = 1.0
    control_target_noise: float = 1.0
    largest_noise: float = 1.0
    fixed_control: bool = False
    heavy_tails: bool = False
    target_scales: tuple[float, ...] = (1.0, 2.0, 1.3, 0.5)
    item_spread: float = 0.0
    flip_spread: float = 0.0
    num_items: int = 0
    collapse_rate: float = 0.0
    collapse_loss: float = 20.0
    failure_rate: float = 0.0
    stopping: bool = False
    survival: float = 0.2
    design: str = "chains"
    by_share: bool = False
    likeness: float = 0.0


@dataclass(frozen=True)
class Cell:
    """The simulated trials of one size and pool, of many sweeps at once.

    Attributes:
        name: "0", "9-first" and so on.
        members: [sweeps, chains, pool] 1 where the subset holds the task.
        scores: [sweeps, chains, seeds, targets]; NaN where the trial failed or was stopped.
        weights: [sweeps, chains, seeds] inverse probabilities of having got there; 0 where there is no trial.
        items: [sweeps, chains, seeds, items, targets], whose means over items are the scores; None without items.
        truth: [sweeps, targets] expected score over all subsets of that size.
    """

    name: str
    size: int
    pool: str
    members: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    items: np.ndarray | None
    truth: np.ndarray


@dataclass(frozen=True)
class Simulated:
    """Cells; by pool what a task adds on average, [sweeps, pool, targets]."""

    cells: tuple[Cell, ...]
    effects: dict[str, np.ndarray]


def simulate(scenario, num_sweeps, num_seeds, num_chains, random, drawn=None):
    """Sweeps of subsets x seeds, for both pools.

    Args:
        drawn: (pool, size) to [chains, pool] members, the same in all sweeps; without it nested chains are drawn (with
            stopping a new random subset for each chain and size).
    """
    scales = np.array(scenario.target_scales)
    by_seed = random.normal(size=(num_sweeps, 1, num_seeds, len(TARGETS))) * scenario.seed_spread * scales
    cells, known, shared = [], {}, None
    for pool, gain in (("first", scenario.mean_effect), ("second", scenario.second_effect)):
        effects, pairs = _draw_effects(scenario, num_sweeps, random, scales)
        if scenario.likeness and cells:
            own = np.sqrt(1 - scenario.likeness**2)
            effects = scenario.likeness * shared[0] + own * effects
            pairs = scenario.likeness * shared[1] + own * pairs
        shared = (effects, pairs)
        known[pool] = effects + gain
        shape = (num_sweeps, num_chains, scenario.pool_size)
        orders = random.random(size=shape).argsort(axis=2)
        for size in scenario.sizes if cells else (0, *scenario.sizes):
            alone = size in (0, scenario.pool_size)  # the control and the whole pool are one subset
            if scenario.stopping:
                orders = random.random(size=shape).argsort(axis=2)
            members = np.zeros((num_sweeps, 1 if alone else num_chains, scenario.pool_size))
            np.put_along_axis(members, orders[:, : members.shape[1], :size], 1, axis=2)
            if drawn and size:
                members[:] = drawn[pool, size]
            mean = 60 + gain * _shape(scenario, size) + _shares(scenario, members) @ effects
            if scenario.interaction_spread:
                mean = mean + np.einsum("nci,nijk,ncj->nck", members, pairs, members, optimize=True)
            apart = random.normal(size=by_seed.shape) * scenario.seed_cell_spread * scales
            louder = _louder(scenario, pool, size)
            means = mean[:, :, None] + by_seed + apart * louder
            scores, weights, items = _draw_trials(scenario, size, means, louder, random)
            truth = _expected(scenario, gain, effects, pairs, size)
            if scenario.fixed_control and not size:
                place = TARGETS.index("tatoeba")
                scores[..., place] = truth[:, None, None, place]
            name = f"{size}-{pool}" if size else "0"
            cells.append(Cell(name, size, pool, members, scores, weights, items, truth))
    return Simulated(tuple(cells), known)


def _draw_effects(scenario, num_sweeps, random, scales):
    """[sweeps, pool, targets] of tasks, [sweeps, pool, pool, targets] of pairs.

    The spread over the tasks is exactly as stated, so that truths are known; half of its square is common to all targets.
    """
    count = scenario.pool_size
    effects = random.normal(size=(num_sweeps, count, 1)) + random.normal(size=(num_sweeps, count, len(TARGETS)))
    effects = (effects - effects.mean(axis=1, keepdims=True)) / effects.std(axis=1, keepdims=True)
    if scenario.extreme:
        effects[:, : scenario.extreme] = -3
        effects[:, scenario.extreme : 2 * scenario.extreme] = 3
        rest = effects[:, 2 * scenario.extreme :]
        rest -= rest.mean(axis=1, keepdims=True)
    size = (num_sweeps, count, count, len(TARGETS)) if scenario.interaction_spread else (1, 1, 1, 1)
    pairs = random.normal(size=size) * np.triu(np.ones(size[1:3]), 1)[..., None]
    return effects * scenario.task_spread * scales, pairs * scenario.interaction_spread * scales


def _shape(scenario, size):
    """How many tasks' gain `size` tasks have."""
    return size if scenario.knee is None else min(size, scenario.knee)


def _shares(scenario, members):
    """[..., pool] what a subset has of each task's effect; their sum is the number of its tasks."""
    if not scenario.by_share or not members.any():
        return members
    weights = members * np.geomspace(1, 400, scenario.pool_size)
    return weights / weights.sum(axis=-1, keepdims=True) * members.sum(axis=-1, keepdims=True)


def _louder(scenario, pool, size):
    """[targets] the multiple of the noise in this cell."""
    louder = np.ones(len(TARGETS))
    if not size:
        louder[TARGETS.index("tatoeba")] = scenario.control_target_noise
        return louder * scenario.control_noise
    return louder * (scenario.largest_noise if (pool, size) == ("first", max(scenario.sizes)) else 1.0)


def _expected(scenario, gain, effects, pairs, size):
    """[sweeps, targets] mean over all subsets of that size."""
    count = scenario.pool_size
    together = size * (size - 1) / (count * (count - 1)) * pairs.sum(axis=(1, 2))
    collapse = scenario.collapse_rate * scenario.collapse_loss
    return 60 + gain * _shape(scenario, size) + _mean_share(scenario, size) @ effects + together - collapse


def _mean_share(scenario, size):
    """[pool] of each task's effect, over all subsets of that size."""
    count = scenario.pool_size
    if not scenario.by_share or not size:
        return np.full(count, size / count)
    orders = np.random.default_rng(size).random(size=(20_000, count)).argsort(axis=1)
    return _shares(scenario, (orders < size).astype(float)).mean(axis=0)


def _draw_trials(scenario, size, expected, louder, random):
    """(scores, weights, items) of one cell from what is expected of each trial, [sweeps, chains, seeds, targets]."""
    scales = np.array(scenario.target_scales)
    heavy = scenario.heavy_tails
    noise = random.standard_t(4, size=expected.shape) / np.sqrt(2) if heavy else random.normal(size=expected.shape)
    scores = expected + noise * scenario.noise * louder * scales
    scores = scores - scenario.collapse_loss * (random.random(size=expected.shape) < scenario.collapse_rate)
    items = None
    if scenario.num_items:
        shape = (scenario.num_items, len(TARGETS))
        gains = random.normal(size=(len(scores), 1, 1, *shape)) * scenario.item_spread
        flips = random.normal(size=(*scores.shape[:3], *shape)) * scenario.flip_spread
        items = scores[..., None, :] + (gains + flips) * scales
        scores = items.mean(axis=3)
    weights = _weights(scenario, size, scores, random)
    weights = weights * (random.random(size=weights.shape) >= scenario.failure_rate)
    return np.where(weights[..., None] > 0, scores, np.nan), weights, items


def _weights(scenario, size, scores, random):
    """[sweeps, chains, seeds]: 0 for what was stopped; the first rung's score is the second's with more noise.

    Trials come in random order; one continues if it is in the best third of those seen so far, or by a draw.
    """
    num_sweeps, num_chains, num_seeds, _ = scores.shape
    if not scenario.stopping or not size:
        return np.ones(scores.shape[:3])
    early = (scores.mean(axis=3) + random.normal(size=scores.shape[:3]) * scenario.noise).reshape(num_sweeps, -1)
    order = random.random(size=early.shape).argsort(axis=1)
    arrived = np.take_along_axis(early, order, axis=1)
    weights = np.ones(early.shape)
    for number in range(early.shape[1]):
        best = -(-(number + 1) // 3)
        cut = np.sort(arrived[:, : number + 1], axis=1)[:, -best]
        continues = random.random(size=num_sweeps) < scenario.survival
        weights[:, number] = np.where(arrived[:, number] >= cut, 1, continues / scenario.survival)
    out = np.empty(early.shape)
    np.put_along_axis(out, order, weights, axis=1)
    return out.reshape(num_sweeps, num_chains, num_seeds)
