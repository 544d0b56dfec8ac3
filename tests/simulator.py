"""Simulated sweeps with known effects. numpy only, and nothing of xlray: what it draws from is what estimates must find.

A score is a base, the effects of the tasks of the subset (with pairs that work together or against one another), a shape
over the number of tasks, the seed, the seed in this cell, the trial's own noise, the items of the evaluation, and now and
then a collapse. Early stopping follows the successive-halving rule with a known chance of going on below the cut.
"""

from dataclasses import dataclass, field

import numpy as np

TARGETS = ("panx", "tatoeba", "tydiqa", "udpos")


@dataclass(frozen=True)
class Scenario:
    """What is true. Standard deviations in points of a score.

    Attributes:
        sizes: numbers of tasks, one cell each; 0 is the control.
        mean_effect: of one task on each target, before the shape.
        knee: tasks beyond it add nothing on average; None for a straight line.
        task_spread: between the effects of tasks.
        harmful: tasks, the first ones, with an effect of -3 spreads; as many after them have +3.
        interaction_spread: of the effect of a pair of tasks.
        seed_spread: of a seed in all cells alike, which cancels in differences.
        seed_cell_spread: of a seed in one cell.
        noise: of a single trial.
        item_spread: of one item's gain from being in another cell; 0 leaves items out.
        collapse_rate: share of trials that lose `collapse_loss` points.
        stopping: all trials but the control may be stopped after a first rung.
    """

    name: str
    sizes: tuple[int, ...] = (0, 9, 20)
    pool_size: int = 32
    mean_effect: float = 0.08
    knee: float | None = None
    task_spread: float = 0.4
    harmful: int = 0
    interaction_spread: float = 0.0
    seed_spread: float = 0.5
    seed_cell_spread: float = 0.15
    noise: float = 0.7
    item_spread: float = 8.0
    num_items: int = 400
    collapse_rate: float = 0.0
    collapse_loss: float = 20.0
    stopping: bool = False
    survival: float = 0.2


@dataclass(frozen=True)
class Trial:
    """A simulated trial at the rung that counts."""

    tasks: tuple[str, ...]
    chain: int | None
    seed: int
    size: int
    role: str
    weight: float
    collapsed: bool
    scores: dict[str, float]
    items: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Simulated:
    """Trials, and the expected score of each size for each target."""

    trials: tuple[Trial, ...]
    truth: dict[str, dict[int, float]]
    effects: dict[str, dict[str, float]]


def names(count):
    """t00, t01, ..."""
    return [f"t{number:02d}" for number in range(count)]


def draw_effects(scenario, random):
    """[pool, targets] of tasks, [pool, pool, targets] of pairs; spread exactly as stated, so that truths are known."""
    count = scenario.pool_size
    effects = random.normal(size=(count, len(TARGETS)))
    effects = (effects - effects.mean(axis=0)) / effects.std(axis=0) * scenario.task_spread
    if scenario.harmful:
        effects[: scenario.harmful] = -3 * scenario.task_spread
        effects[scenario.harmful : 2 * scenario.harmful] = 3 * scenario.task_spread
        rest = effects[2 * scenario.harmful :]
        rest -= rest.mean(axis=0)
    pairs = random.normal(size=(count, count, len(TARGETS))) * scenario.interaction_spread
    pairs = np.triu(np.ones((count, count)), 1)[..., None] * pairs
    return effects, pairs


def shape(scenario, size):
    """Expected gain of `size` average tasks."""
    return scenario.mean_effect * (size if scenario.knee is None else min(size, scenario.knee))


def expected(scenario, effects, pairs, size):
    """[targets] mean over all subsets of that size."""
    count = scenario.pool_size
    together = size * (size - 1) / (count * (count - 1)) if count > 1 else 0.0
    collapse = scenario.collapse_rate * scenario.collapse_loss
    return 60 + shape(scenario, size) + size * effects.mean(axis=0) + together * pairs.sum(axis=(0, 1)) - collapse


def simulate(scenario, num_seeds, num_chains, random, keep_items=False):
    """One sweep: nested chains (or, with stopping, a new random subset for each chain and size) x seeds."""
    effects, pairs = draw_effects(scenario, random)
    labels = names(scenario.pool_size)
    orders = [random.permutation(scenario.pool_size) for _ in range(num_chains)]
    seeds = random.normal(size=(num_seeds, len(TARGETS))) * scenario.seed_spread
    trials = []
    for size in scenario.sizes:
        shifts = random.normal(size=(num_seeds, len(TARGETS))) * scenario.seed_cell_spread
        gains = random.normal(size=(scenario.num_items, len(TARGETS))) * scenario.item_spread
        cell = []
        for chain in range(num_chains if size else 1):
            order = random.permutation(scenario.pool_size) if scenario.stopping else orders[chain]
            members = np.zeros(scenario.pool_size)
            members[order[:size]] = 1
            mean = 60 + shape(scenario, size) + members @ effects + np.einsum("i,ijk,j->k", members, pairs, members)
            for seed in range(num_seeds):
                collapsed = random.random() < scenario.collapse_rate
                score = mean + seeds[seed] + shifts[seed] + random.normal(size=len(TARGETS)) * scenario.noise
                score = score - scenario.collapse_loss * collapsed
                score = score + (gains.mean(axis=0) if scenario.item_spread else 0.0)
                tasks = tuple(sorted(labels[i] for i in order[:size]))
                numbers = {target: float(score[k]) for k, target in enumerate(TARGETS)}
                # A third of the noise is in the items one by one, which averages out to nothing much.
                spread = random.normal(size=gains.shape) * scenario.item_spread / 3 if keep_items else gains
                items = score + (gains - gains.mean(axis=0)) + (spread - spread.mean(axis=0)) if keep_items else None
                held = {target: items[:, k] for k, target in enumerate(TARGETS)} if keep_items else {}
                cell.append((tasks, chain, seed, size, collapsed, numbers, held))
        trials += [_finish(scenario, row, weight) for row, weight in _survivors(scenario, cell, random)]
    truth = {size: expected(scenario, effects, pairs, size) for size in scenario.sizes}
    by_target = {target: {size: float(truth[size][k]) for size in scenario.sizes} for k, target in enumerate(TARGETS)}
    known = {
        target: {label: float(effects[i, k] + scenario.mean_effect) for i, label in enumerate(labels)}
        for k, target in enumerate(TARGETS)
    }
    return Simulated(tuple(trials), by_target, known)


def _finish(scenario, row, weight):
    tasks, chain, seed, size, collapsed, numbers, held = row
    role = "explore" if scenario.stopping and size else "measure"
    place = None if scenario.stopping or not size else chain
    return Trial(tasks, place, seed, size, role, weight, collapsed, numbers, held)


def _survivors(scenario, cell, random):
    """(trial, inverse probability) of those that are not stopped; the early score is the late one with more noise."""
    if not scenario.stopping or len(cell) < 2:
        yield from ((row, 1.0) for row in cell)
        return
    seen = []
    for number in random.permutation(len(cell)):
        early = np.mean(list(cell[number][5].values())) + random.normal() * scenario.noise
        seen.append(early)
        cut = sorted(seen, reverse=True)[max(1, -(-len(seen) // 3)) - 1]
        if early >= cut:
            yield cell[number], 1.0
        elif random.random() < scenario.survival:
            yield cell[number], 1 / scenario.survival
