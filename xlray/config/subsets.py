"""Designs: which subsets of a pool of tasks are trained on.

Every design is a tuple of `Subset`, sorted within and numbered by position; designs are added with `+`. Drawn designs
depend on the seed and on the set of tasks in the pool, not on its order, and asking for more chains or subsets keeps
those that were there.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from xlray.canonical import fingerprint
from xlray.config.controls import control_design, subsets_of
from xlray.config.draws import Contains, draw_greedy, draw_listed, draw_within, find_clashes, kinds_of, permutation
from xlray.config.recipes import Subset
from xlray.errors import InputError, nearest, require


@dataclass(frozen=True)
class Pool:
    """Names of tasks with what a draw must know of them; designs take it where they take a list of names.

    Attributes:
        names: of the tasks.
        source: label of the pool; part of the cell of every subset drawn from it.
        kinds: task to kind, so that random subsets are balanced by kind.
        contains: task to what it includes or is derived from (by translation, adaptation); no drawn subset holds two tasks
            that have an origin in common.
        sizes: task to its number of training examples; `matched` pairs tasks by it.
    """

    names: tuple[str, ...]
    source: str = "all"
    kinds: Mapping[str, str] | None = None
    contains: Contains | None = None
    sizes: Mapping[str, int] | None = None

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def restricted_to(self, names: Iterable[str]) -> Pool:
        """The pool with these of its tasks alone, such as those whose files are at hand.

        Raises:
            InputError: the pool has no task of that name; the nearest is suggested.
        """
        chosen = _pool(names, "Pool.restricted_to")
        for name in chosen:
            if name not in self.names:
                law = f"the tasks must be of the {len(self)} of the pool {self.source!r}"
                raise InputError(f"Pool.restricted_to: {law}, but got {name!r}.{nearest(name, self.names)}")
        return replace(self, names=chosen)


Names = Pool | Iterable[str]

DIGITS = 6  # of the hash that tells one design's chains from another's
ENUMERATED = 10_000  # up to this many possible subsets are listed, so that a design can be filled to the last one


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
    """The whole pool as one subset.

    Args:
        pool: names of tasks, or a `Pool`, which brings what follows unless it is given.
        source: label of the pool; by default its own, or "all" for a list of names.
    """
    return _numbered([_pool(pool, "subsets.everything")], _source(pool, source))


def leave_one_out(pool: Names, source: str | None = None) -> tuple[Subset, ...]:
    """For each task the pool without it, in the order of the names of what is left out.

    Args:
        pool: names of tasks, or a `Pool`, which brings what follows unless it is given.
        source: label of the pool; by default its own, or "all" for a list of names.
    """
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
        contains: as in `Pool`; what shares an origin with the base is not added.

    Raises:
        InputError: nothing is left to add.
    """
    where = "subsets.add_one"
    start, names = _pool(base, where, at_least=0), _pool(pool, where)
    clashes = find_clashes((*start, *names), _contains(pool, contains))
    added = [name for name in names if name not in start and not clashes[name].intersection(start)]
    require(bool(added), "the pool holds a task to add", names, where)
    return _numbered([tuple(sorted((*start, name))) for name in added], _source(pool, source))


def pairs(pool: Names, source: str | None = None, contains: Contains | None = None) -> tuple[Subset, ...]:
    """All pairs of tasks, except those that have an origin in common.

    Args:
        pool: names of tasks, or a `Pool`, which brings what follows unless it is given.
        source: label of the pool; by default its own, or "all" for a list of names.
        contains: as in `Pool`.
    """
    names = _pool(pool, "subsets.pairs", at_least=2)
    clashes = find_clashes(names, _contains(pool, contains))
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
        contains: as in `Pool`. A permutation leaves out what shares an origin with an earlier task; one that becomes
            too short for the largest size is drawn again.

    Returns:
        by chain, then by rising size. Two chains may meet in the same subset, always so at the size of the pool.

    Raises:
        InputError: for a size that the pool does not have, or that no permutation reaches under `contains`.
    """
    where = "subsets.chains"
    names = _pool(pool, where)
    wanted = sorted(_sizes(sizes, len(names), where))
    require(num_chains >= 1, "num_chains >= 1", num_chains, where)
    clashes = find_clashes(names, _contains(pool, contains))
    source = _source(pool, source)
    apart = {name: sorted(others) for name, others in clashes.items() if others}
    drawn_by = fingerprint(["chains", names, seed, apart, wanted[-1] if apart else 0])[:DIGITS]
    design = [Subset((), source)] if 0 in wanted else []
    for chain in range(num_chains):
        line = permutation(names, clashes, wanted[-1], (seed, chain), where)
        for size in wanted:
            if size:
                tasks = tuple(sorted(line[:size]))
                design.append(Subset(tasks, source, chain, len(design), design=drawn_by))
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
        contains: as in `Pool`.

    Raises:
        InputError: for a size that the pool does not have, a task without kind, or more subsets than can be drawn.
    """
    where = "subsets.random_subsets"
    names = _pool(pool, where)
    _sizes([size], len(names), where)
    require(num >= 1, "num >= 1", num, where)
    require(num <= math.comb(len(names), size), f"num <= {len(names)} choose {size}", num, where)
    groups = kinds_of(names, pool.kinds if kinds is None and isinstance(pool, Pool) else kinds, where)
    clashes = find_clashes(names, _contains(pool, contains))
    if math.comb(len(names), size) <= ENUMERATED:
        found = draw_listed(names, size, num, seed, groups, clashes)
    else:
        found = draw_greedy(names, size, num, seed, groups, clashes)
    require(
        len(found) == num,
        "the pool has `num` subsets that keep to `kinds` and `contains`",
        f"{len(found)} of {num} found",
        where,
    )
    return _numbered(found, _source(pool, source))


def matched(first: Pool, second: Pool, sizes: Iterable[int], num: int, seed: int = 0) -> tuple[Subset, ...]:
    """Number of tasks crossed with the pool they are from, and nothing else differs that can be held equal.

    Within a kind, the largest task of one pool is paired with the largest of the other, and so on down. Each pair is
    capped at the smaller of its two sizes, so both arms have as many examples of each kind and the same mixture; where
    less was read of a task than its pool says, the plan lowers the cap of both (`Subset.partners`). Pairs
    are drawn, not tasks: draw d takes the largest number of pairs, balanced by kind and by how often each was used, and
    each smaller number from within it. So the arms of a draw hold paired tasks and its numbers are nested.

    Args:
        first: a pool with kinds and sizes.
        second: another one, with as many tasks of each kind and no task of the first.
        sizes: numbers of tasks, such as (9, 20).
        num: draws; the first ones are the same whatever it is.
        seed: of the draws.

    Returns:
        by draw, then by rising size, then first and second; `chain` is the draw, in all cells.

    Raises:
        InputError: the pools cannot be paired, or a size cannot be drawn.
    """
    where = "subsets.matched"
    together = sorted(set(first.names) & set(second.names))
    require(not together, "the two pools have no task in common", together, where)
    require(num >= 1, "num >= 1", num, where)
    couples = _couples(first, second, where)
    wanted = sorted(_sizes(sizes, len(couples), where))
    require(wanted[0] >= 1, "size >= 1", wanted[0], where)
    names = tuple(couples)
    contains = {**(first.contains or {}), **(second.contains or {})}
    near = find_clashes((*first.names, *second.names), contains)  # of pairs: where they meet, within an arm
    clashes = {
        a: {b for b in names if any(x in near[y] for x, y in zip(couples[a], couples[b], strict=True))} for a in names
    }
    assert first.kinds is not None and first.sizes is not None and second.sizes is not None
    groups = [first.kinds[couples[name][0]] for name in names]
    caps = {task: min(first.sizes[a], second.sizes[b]) for a, b in couples.values() for task in (a, b)}
    partners = {task: other for a, b in couples.values() for task, other in ((a, b), (b, a))}
    lines = draw_within(names, wanted, num, seed, groups, clashes)
    require(len(lines) == num, "the pools have `num` draws", f"{len(lines)} of {num} found", where)
    apart = {name: sorted(others) for name, others in clashes.items() if others}
    drawn_by = fingerprint(["matched", names, wanted, seed, groups, apart])[:DIGITS]
    design: list[Subset] = []
    for draw, line in enumerate(lines):
        for chosen, (arm, pool) in itertools.product(line, enumerate((first, second))):
            tasks = tuple(sorted(couples[name][arm] for name in chosen))
            capped = tuple((task, caps[task]) for task in tasks)
            paired = tuple((task, partners[task]) for task in tasks)
            design.append(Subset(tasks, pool.source, draw, len(design), None, capped, paired, drawn_by))
    return tuple(design)


def at_sizes(design: Iterable[Subset], examples_per_task: Iterable[int | None]) -> tuple[Subset, ...]:
    """A design crossed with an axis of sizes: each subset with at most so many examples of each of its tasks.

    Samples are nested: the larger holds the smaller. The size is part of the cell. A subset without tasks has no size
    and stays as it is, once.

    Args:
        design: subsets of any design.
        examples_per_task: the sizes; None takes all examples.

    Raises:
        InputError: not a design; no sizes, or one twice.
    """
    where = "subsets.at_sizes"
    subsets, law = subsets_of(design, where), "sizes are a list of numbers"
    require(
        isinstance(examples_per_task, Iterable) and not isinstance(examples_per_task, str),
        law,
        examples_per_task,
        where,
    )
    sizes = list(examples_per_task)
    require(bool(sizes) and len(set(sizes)) == len(sizes), "sizes are distinct", sizes, where)
    crossed = [
        subset if not subset.tasks else replace(subset, examples_per_task=size) for subset in subsets for size in sizes
    ]
    return tuple(replace(subset, position=i) for i, subset in enumerate(dict.fromkeys(crossed)))


def shuffled(design: Iterable[Subset], seed: int = 0) -> tuple[Subset, ...]:
    """The control for labels: the same tasks, examples and mixture, each task's labels shuffled among its examples.

    What it gains over no task is due to text, format and optimisation. The source becomes `<source>-shuffled`.

    Args:
        design: subsets of any design; those without tasks are left out.
        seed: of the permutations, which are the same in all trials.

    Raises:
        InputError: not a design, or one of controls or without tasks.
    """
    require(seed is not None, "seed >= 0, a whole number", seed, "subsets.shuffled")
    return control_design(design, seed, "subsets.shuffled")


def masked_lm(design: Iterable[Subset]) -> tuple[Subset, ...]:
    """The control for tasks: masked-LM training on the texts of the same examples, in the same mixture, without labels.

    What it gains over no task is due to more training on such text. The source becomes `<source>-masked`.

    Args:
        design: subsets of any design; those without tasks are left out.

    Raises:
        InputError: not a design, or one of controls or without tasks.
    """
    return control_design(design, None, "subsets.masked_lm")


def _couples(first: Pool, second: Pool, where: str) -> dict[str, tuple[str, str]]:
    """Pairs of one task of each pool, by name: within a kind, the largest with the largest."""
    ranked: list[dict[str, list[str]]] = []
    for pool in (first, second):
        unknown = [n for n in pool.names if n not in (pool.kinds or {}) or not (pool.sizes or {}).get(n)]
        require(not unknown, "kind and size of every task are known", unknown, where)
        kinds, sizes = dict(pool.kinds or {}), dict(pool.sizes or {})
        by_kind: dict[str, list[str]] = {kind: [] for kind in sorted({kinds[name] for name in pool.names})}
        for name in sorted(pool.names, key=lambda name: (-sizes[name], name)):
            by_kind[kinds[name]].append(name)
        ranked.append(by_kind)
    counts = [{kind: len(names) for kind, names in by_kind.items()} for by_kind in ranked]
    require(counts[0] == counts[1], "the pools have as many tasks of each kind", counts, where)
    pairs = [pair for kind, names in ranked[0].items() for pair in zip(names, ranked[1][kind], strict=True)]
    return {f"{a} / {b}": (a, b) for a, b in pairs}


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


def _numbered(found: Iterable[tuple[str, ...]], source: str) -> tuple[Subset, ...]:
    return tuple(Subset(tasks, source, None, position) for position, tasks in enumerate(found))
