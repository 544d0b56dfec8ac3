"""Random draws of subsets: balanced by kind and by how often each task was used, without tasks that share examples.

All randomness is the raw output of counter-based generators, so a draw is the same on every machine and version of NumPy.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xlray.errors import InputError, nearest, require

Contains = Mapping[str, tuple[str, ...]]

ATTEMPTS = 1_000


def draw_listed(
    names: tuple[str, ...], size: int, num: int, seed: int, groups: Sequence[str], clashes: Mapping[str, set[str]]
) -> list[tuple[str, ...]]:
    """Subsets out of the list of all that are allowed, each time one whose tasks were used least."""
    kind = dict(zip(names, groups, strict=True))
    low, high = _kind_quotas(groups, size)
    allowed = [
        tasks
        for tasks in itertools.combinations(names, size)
        if not any(b in clashes[a] for a, b in itertools.combinations(tasks, 2))
        and all(low[g] <= sum(kind[name] == g for name in tasks) <= high[g] for g in low)
    ]
    holds = np.array([[name in tasks for name in names] for tasks in allowed], dtype=np.int64).reshape(-1, len(names))
    used, left = np.zeros(len(names), dtype=np.int64), np.ones(len(allowed), dtype=bool)
    found: list[tuple[str, ...]] = []
    while len(found) < min(num, len(allowed)):
        cost = np.where(left, holds @ used, np.iinfo(np.int64).max)
        best = np.flatnonzero(cost == cost.min())
        choice = int(best[np.argmin(_random((seed, len(found)), len(allowed))[best])])
        found.append(allowed[choice])
        left[choice] = False
        used += holds[choice]
    return found


def draw_greedy(
    names: tuple[str, ...], size: int, num: int, seed: int, groups: Sequence[str], clashes: Mapping[str, set[str]]
) -> list[tuple[str, ...]]:
    """Subsets of the tasks used least, equals in random order; drawn again if it was there or is stuck."""
    kind = dict(zip(names, groups, strict=True))
    quotas = _kind_quotas(groups, size)
    used = np.zeros(len(names), dtype=np.int64)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < num:
        for attempt in range(ATTEMPTS):
            # Below 1 the noise only orders equals; if that leads nowhere it grows and balance gives way.
            noise = _random((seed, len(found), attempt), len(names)) / 2.0**64 * max(1.0, attempt / 100)
            ranked = [names[i] for i in np.argsort(used + noise, kind="stable")]
            tasks = _fill(ranked, size, kind, quotas, clashes)
            if tasks is not None and tasks not in found:
                break
        else:
            return list(found)
        found[tasks] = None
        used += np.array([name in tasks for name in names])
    return list(found)


def draw_within(
    names: tuple[str, ...],
    sizes: Sequence[int],
    num: int,
    seed: int,
    groups: Sequence[str],
    clashes: Mapping[str, set[str]],
) -> list[list[tuple[str, ...]]]:
    """Nested subsets: of each draw one of every size, in the order of `sizes` (rising), each within the next larger.

    Returns:
        fewer than `num` draws where no more can be made.
    """
    largest = draw_greedy(names, sizes[-1], num, seed, groups, clashes)
    kind = dict(zip(names, groups, strict=True))
    used = {size: np.zeros(len(names), dtype=np.int64) for size in sizes}
    lines: list[list[tuple[str, ...]]] = []
    for draw, outer in enumerate(largest):
        line = [outer]
        for size in reversed(sizes[:-1]):
            noise = _random((seed, draw, size, 1), len(names)) / 2.0**64
            ranked = [names[i] for i in np.argsort(used[size] + noise, kind="stable") if names[i] in line[0]]
            inner = _fill(ranked, size, kind, _kind_quotas(groups, size), clashes)
            if inner is None:
                return lines
            used[size] += np.array([name in inner for name in names])
            line.insert(0, inner)
        lines.append(line)
    return lines


def _fill(
    ranked: Sequence[str],
    size: int,
    kind: Mapping[str, str],
    quotas: tuple[dict[str, int], dict[str, int]],
    clashes: Mapping[str, set[str]],
) -> tuple[str, ...] | None:
    """The first `size` of the ranked tasks that fit together: each kind to its lower quota first, then to its upper."""
    chosen: list[str] = []
    counts: Counter[str] = Counter()
    for quota in quotas:
        for name in ranked:
            room = len(chosen) < size and counts[kind[name]] < quota[kind[name]]
            if room and name not in chosen and not clashes[name].intersection(chosen):
                chosen.append(name)
                counts[kind[name]] += 1
    kept = all(counts[group] >= least for group, least in quotas[0].items())
    return tuple(sorted(chosen)) if kept and len(chosen) == size else None


def _kind_quotas(groups: Sequence[str], size: int) -> tuple[dict[str, int], dict[str, int]]:
    """The fewest and the most tasks of each kind in a subset: its share of the pool, rounded down and up."""
    counts = Counter(groups)
    low = {group: size * count // len(groups) for group, count in counts.items()}
    high = {group: -(-size * count // len(groups)) for group, count in counts.items()}
    return low, high


def permutation(
    names: tuple[str, ...], clashes: Mapping[str, set[str]], length: int, key: tuple[int, ...], where: str
) -> list[str]:
    """A random permutation without clashing tasks, of at least `length` tasks."""
    for attempt in range(ATTEMPTS):
        line: list[str] = []
        for place in np.argsort(_random((*key, attempt), len(names)), kind="stable"):
            if not clashes[names[place]].intersection(line):
                line.append(names[place])
        if len(line) >= length:
            return line
    raise InputError(
        f"{where}: `max(sizes) <= number of tasks that share no examples` must hold, but got {length} "
        f"with a pool of {len(names)}."
    )


def _random(key: tuple[int, ...], num: int) -> NDArray[np.uint64]:
    """[num] uint64 of a counter-based generator; its raw stream is the same in every version of NumPy."""
    require(all(isinstance(part, int) and part >= 0 for part in key), "seed >= 0, a whole number", key[0], "subsets")
    raw = np.random.Philox(np.random.SeedSequence(key)).random_raw(num)
    return np.asarray(raw, dtype=np.uint64)


def kinds_of(names: tuple[str, ...], kinds: Mapping[str, str] | None, where: str) -> list[str]:
    """Kind of each task, in the order of the names; one for all if there are no kinds."""
    if kinds is None:
        return [""] * len(names)
    for name in names:
        if name not in kinds:
            raise InputError(
                f"{where}: `kinds` must name the kind of every task, but lacks {name!r}.{nearest(name, kinds)}"
            )
    return [kinds[name] for name in names]


def find_clashes(names: Iterable[str], contains: Contains | None) -> dict[str, set[str]]:
    """Task to the tasks that share examples with it: what both are, contain or are derived from, also through others."""
    inside = contains or {}
    shared: dict[str, set[str]] = {}
    for name in {*names, *inside, *itertools.chain.from_iterable(inside.values())}:
        open_parts, reached = {name}, set[str]()
        while open_parts:
            part = open_parts.pop()
            reached.add(part)
            open_parts |= set(inside.get(part, ())) - reached
        shared[name] = reached
    return {a: {b for b in shared if b != a and not shared[a].isdisjoint(shared[b])} for a in shared}
