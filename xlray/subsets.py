"""Designs: which subsets of a pool of tasks are trained on.

Every design is a tuple of `Subset`, sorted within and numbered by position; designs are added with `+`. Drawn designs
depend on the seed and on the set of tasks in the pool, not on its order, and asking for more chains or subsets keeps
those that were there.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xlray.canonical import InputError, nearest, require
from xlray.recipes import Subset

Contains = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Pool:
    """Names of tasks with what a draw must know of them; designs take it where they take a list of names.

    Attributes:
        names: of the tasks.
        source: label of the pool; part of the cell of every subset drawn from it.
        kinds: task to kind, so that random subsets are balanced by kind.
        contains: task to tasks whose examples it includes; no drawn subset holds both.
    """

    names: tuple[str, ...]
    source: str = "all"
    kinds: Mapping[str, str] | None = None
    contains: Contains | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


Names = Pool | Iterable[str]

ENUMERATED = 10_000  # up to this many possible subsets are listed, so that a design can be filled to the last one
ATTEMPTS = 1_000


def explicit(*lists: Iterable[str], source: str = "all") -> tuple[Subset, ...]:
    """The subsets that are written down; `()` is the control without an intermediate phase.

    Args:
        lists: names of tasks, one iterable per subset.
        source: label of the pool.

    Raises:
        InputError: for a string instead of a list of names, a name twice in a subset, or a subset twice.
    """
    where = "subsets.explicit"
    found = [_pool(names, where, at_least=0) for names in lists]
    repeated = [list(tasks) for tasks, count in Counter(found).items() if count > 1]
    require(not repeated, "subsets are distinct", repeated, where)
    return _numbered(found, source)


def empty() -> tuple[Subset, ...]:
    """The control: no intermediate task."""
    return (Subset(()),)


def everything(pool: Names, source: str | None = None) -> tuple[Subset, ...]:
    """The whole pool as one subset."""
    return _numbered([_pool(pool, "subsets.everything")], _source(pool, source))


def leave_one_out(pool: Names, source: str | None = None) -> tuple[Subset, ...]:
    """For each task the pool without it, in the order of the names of what is left out."""
    names = _pool(pool, "subsets.leave_one_out")
    return _numbered([tuple(name for name in names if name != left_out) for left_out in names], _source(pool, source))


def add_one(
    base: Iterable[str], pool: Names, source: str | None = None, contains: Contains | None = None
) -> tuple[Subset, ...]:
    """For each task of the pool that is not in the base: the base and it, in the order of the names of what is added.

    Args:
        base: tasks in every subset; may be empty.
        pool: tasks to add one at a time.
        source: label of the pool.
        contains: task to tasks whose examples it includes; what clashes with the base is not added.

    Raises:
        InputError: nothing is left to add.
    """
    where = "subsets.add_one"
    start, names = _pool(base, where, at_least=0), _pool(pool, where)
    clashes = _clashes((*start, *names), _contains(pool, contains))
    added = [name for name in names if name not in start and not clashes[name].intersection(start)]
    require(bool(added), "the pool holds a task to add", names, where)
    return _numbered([tuple(sorted((*start, name))) for name in added], _source(pool, source))


def pairs(pool: Names, source: str | None = None, contains: Contains | None = None) -> tuple[Subset, ...]:
    """All pairs of tasks, except those of which one contains the other."""
    names = _pool(pool, "subsets.pairs", at_least=2)
    clashes = _clashes(names, _contains(pool, contains))
    return _numbered(
        [pair for pair in itertools.combinations(names, 2) if pair[1] not in clashes[pair[0]]], _source(pool, source)
    )


def chains(
    pool: Names,
    sizes: Iterable[int],
    num_chains: int,
    seed: int = 0,
    source: str | None = None,
    contains: Contains | None = None,
) -> tuple[Subset, ...]:
    """Nested subsets: prefixes of random permutations of the pool.

    With steps of one task, from 0 to the whole pool, the mean gain at which a task enters estimates its Shapley value
    (Castro et al. 2009); with coarser steps the contribution of blocks.

    Args:
        pool: names of tasks, or a `Pool`, which brings what follows unless it is given.
        sizes: lengths of the prefixes; 0 gives the empty subset once, before all chains and in none of them.
        num_chains: number of permutations. Chain c is the same whatever their number and sizes, unless `contains` makes
            a larger size redraw it.
        seed: of the permutations.
        source: label of the pool.
        contains: task to tasks whose examples it includes. A permutation leaves out what clashes with an earlier task;
            one that becomes too short for the largest size is drawn again.

    Returns:
        by chain, then by rising size. Two chains may meet in the same subset, always so at the size of the pool.

    Raises:
        InputError: for a size that the pool does not have, or that no permutation reaches under `contains`.
    """
    where = "subsets.chains"
    names = _pool(pool, where)
    wanted = sorted(_sizes(sizes, len(names), where))
    require(num_chains >= 1, "num_chains >= 1", num_chains, where)
    clashes = _clashes(names, _contains(pool, contains))
    source = _source(pool, source)
    design = [Subset((), source)] if 0 in wanted else []
    for chain in range(num_chains):
        line = _permutation(names, clashes, wanted[-1], (seed, chain), where)
        for size in wanted:
            if size:
                design.append(Subset(tuple(sorted(line[:size])), source, chain, len(design)))
    return tuple(design)


def random_subsets(
    pool: Names,
    size: int,
    num: int,
    seed: int = 0,
    source: str | None = None,
    kinds: Mapping[str, str] | None = None,
    contains: Contains | None = None,
) -> tuple[Subset, ...]:
    """Distinct random subsets of one size in which the tasks appear as equally often as possible.

    Each subset takes the tasks used least so far, equals in random order. Without `kinds` and `contains` the numbers of
    appearances differ by at most one, unless nearly all possible subsets are asked for.

    Args:
        pool: names of tasks, or a `Pool`, which brings what follows unless it is given.
        size: tasks per subset, k of n.
        num: number of subsets; the first ones are the same whatever it is.
        seed: of the draws.
        source: label of the pool.
        kinds: task to kind. Each subset then holds every kind in its share of the pool, k x (tasks of the kind) / n,
            rounded up or down.
        contains: task to tasks whose examples it includes; no subset holds both.

    Raises:
        InputError: for a size that the pool does not have, a task without kind, or more subsets than can be drawn.
    """
    where = "subsets.random_subsets"
    names = _pool(pool, where)
    _sizes([size], len(names), where)
    require(num >= 1, "num >= 1", num, where)
    require(num <= math.comb(len(names), size), f"num <= {len(names)} choose {size}", num, where)
    groups = _kinds_of(names, pool.kinds if kinds is None and isinstance(pool, Pool) else kinds, where)
    clashes = _clashes(names, _contains(pool, contains))
    if math.comb(len(names), size) <= ENUMERATED:
        found = _draw_listed(names, size, num, seed, groups, clashes)
    else:
        found = _draw_greedy(names, size, num, seed, groups, clashes)
    require(
        len(found) == num,
        "the pool has `num` subsets that keep to `kinds` and `contains`",
        f"{len(found)} of {num} found",
        where,
    )
    return _numbered(found, _source(pool, source))


def _draw_listed(
    names: tuple[str, ...], size: int, num: int, seed: int, groups: Sequence[str], clashes: Mapping[str, set[str]]
) -> list[tuple[str, ...]]:
    """Subsets out of the list of all that are allowed, each time one whose tasks were used least."""
    kind = dict(zip(names, groups, strict=True))
    low, high = _quotas(groups, size)
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


def _draw_greedy(
    names: tuple[str, ...], size: int, num: int, seed: int, groups: Sequence[str], clashes: Mapping[str, set[str]]
) -> list[tuple[str, ...]]:
    """Subsets of the tasks used least, equals in random order; drawn again if it was there or is stuck."""
    kind = dict(zip(names, groups, strict=True))
    quotas = _quotas(groups, size)
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


def _quotas(groups: Sequence[str], size: int) -> tuple[dict[str, int], dict[str, int]]:
    """The fewest and the most tasks of each kind in a subset: its share of the pool, rounded down and up."""
    counts = Counter(groups)
    low = {group: size * count // len(groups) for group, count in counts.items()}
    high = {group: -(-size * count // len(groups)) for group, count in counts.items()}
    return low, high


def _permutation(
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
        f"{where}: `max(sizes) <= number of tasks that do not contain one another` must hold, but got {length} "
        f"with a pool of {len(names)}."
    )


def _random(key: tuple[int, ...], num: int) -> NDArray[np.uint64]:
    """[num] uint64 of a counter-based generator; its raw stream is the same in every version of NumPy."""
    raw = np.random.Philox(np.random.SeedSequence(key)).random_raw(num)
    return np.asarray(raw, dtype=np.uint64)


def _clashes(names: Iterable[str], contains: Contains | None) -> dict[str, set[str]]:
    """Task to the tasks that contain it or that it contains, also through others."""
    inside = {name: set(parts) for name, parts in (contains or {}).items()}
    known = {*names, *inside, *(part for parts in inside.values() for part in parts)}
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, parts in inside.items():
        reached: set[str] = set()
        open_parts = set(parts)
        while open_parts:
            part = open_parts.pop()
            reached.add(part)
            open_parts |= inside.get(part, set()) - reached
        for part in reached - {name}:
            found[name].add(part)
            found[part].add(name)
    return found


def _source(pool: Names, given: str | None) -> str:
    return given if given is not None else pool.source if isinstance(pool, Pool) else "all"


def _contains(pool: Names, given: Contains | None) -> Contains | None:
    return pool.contains if given is None and isinstance(pool, Pool) else given


def _pool(pool: Iterable[str], where: str, at_least: int = 1) -> tuple[str, ...]:
    """The names, sorted."""
    require(not isinstance(pool, str), "tasks are a list of names", pool, where)
    names = sorted(pool)
    repeated = [name for name, count in Counter(names).items() if count > 1]
    require(not repeated, "task names are distinct", repeated, where)
    require(len(names) >= at_least, f"number of tasks >= {at_least}", len(names), where)
    return tuple(names)


def _sizes(sizes: Iterable[int], num_tasks: int, where: str) -> set[int]:
    found = set(sizes)
    require(bool(found), "sizes is not empty", (), where)
    for size in sorted(found):
        require(0 <= size <= num_tasks, f"0 <= size <= {num_tasks} (tasks in the pool)", size, where)
    return found


def _kinds_of(names: tuple[str, ...], kinds: Mapping[str, str] | None, where: str) -> list[str]:
    """Kind of each task; one for all if there are no kinds."""
    if kinds is None:
        return [""] * len(names)
    for name in names:
        if name not in kinds:
            raise InputError(
                f"{where}: `kinds` must name the kind of every task, but lacks {name!r}.{nearest(name, kinds)}"
            )
    return [kinds[name] for name in names]


def _numbered(found: Iterable[tuple[str, ...]], source: str) -> tuple[Subset, ...]:
    return tuple(Subset(tasks, source, None, position) for position, tasks in enumerate(found))
