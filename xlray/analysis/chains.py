"""What each task adds, by the order in which tasks enter: Shapley values from chains in steps of one, else blocks."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from xlray.analysis.crossed import NO_ITEMS, contrast
from xlray.analysis.effects import as_estimate
from xlray.analysis.grid import Grid
from xlray.analysis.items import ItemVariance
from xlray.analysis.points import Estimate, Point, Sampling, chain_name, is_control_source, scored

Lines = Mapping[str, tuple[tuple[str, ...], ...]]


@dataclass(frozen=True)
class ChainContributions:
    """Gains at which tasks, or blocks of tasks, enter a chain.

    Attributes:
        kind: "shapley" (steps of one task from none to the whole pool), "marginal" (steps of one task, but not from none
            or not to the whole pool) or "block" (coarser steps).
        estimates: named `<kind>/<outcome>/<task>`, for blocks `block/<outcome>/<chain>: <tasks>`.
        missing: what is missing where there are none, else "".
    """

    kind: str
    estimates: tuple[Estimate, ...]
    missing: str = ""


def chain_lines(definition: Mapping[str, Any]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Of each chain of a sweep's definition: its prefixes by rising size.

    Two chains that meet in a subset share a trial, which carries one chain's number only; the definition knows both.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for subset in definition.get("measure") or ():
        if isinstance(subset, Mapping) and subset.get("chain") is not None:
            name = chain_name(subset["chain"], subset.get("design"), subset.get("source", "all"))
            found.setdefault(name, []).append(tuple(sorted(subset.get("tasks", ()))))
    return {name: tuple(sorted(prefixes, key=len)) for name, prefixes in found.items()}


def point_lines(points: Sequence[Point]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """The same from the points alone, where no definition is at hand."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for point in points:
        if point.cluster.startswith("chain "):
            found.setdefault(point.cluster, set()).add(point.tasks)
    return {name: tuple(sorted(prefixes, key=len)) for name, prefixes in sorted(found.items())}


def chain_contributions(
    points: Sequence[Point],
    outcome: str,
    sampling: Sampling,
    lines: Lines | None = None,
    item_variance: ItemVariance | None = None,
) -> list[ChainContributions]:
    """Gains by chains at one rung, for each source that is a pool; Shapley values as in Castro et al. 2009.

    A gain is the difference of two neighbouring prefixes with the same seed. A task's estimate is the mean over chains
    and seeds of the gain at which it enters; both are resampled in its interval. A block's is over seeds alone, so it
    says what these tasks add after those.

    Args:
        points: of one rung.
        lines: of each chain its prefixes by rising size, as `chain_lines` has them.
        item_variance: of signed sums of subsets, as `subset_item_variance` has it.
    """
    points = [point for point in scored(points, outcome) if point.role == "measure"]
    lines = lines or point_lines(points)
    sources = sorted({name.split(" of ", 1)[1] if " of " in name else "" for name in lines})
    if not lines:
        return [ChainContributions("block", (), "nested chains of measure trials")]
    found = []
    for source in (source for source in sources if not is_control_source(source)):
        own = {name: line for name, line in lines.items() if name.endswith(f" of {source}") or not source}
        found.append(_of_source(points, outcome, sampling, own, item_variance))
    return found


def _of_source(
    points: Sequence[Point], outcome: str, sampling: Sampling, lines: Lines, item_variance: ItemVariance | None
) -> ChainContributions:
    scores = {(point.tasks, point.seed): point.scores[outcome] for point in points}
    seeds = sorted({point.seed for point in points})
    has_control = any(not point.tasks for point in points)
    pool = {task for line in lines.values() for prefix in line for task in prefix}
    steps: dict[tuple[str, tuple[str, ...]], list[float]] = {}
    ends: dict[tuple[str, str], tuple[str, str]] = {}
    from_none = to_all = True
    for name, line in lines.items():
        prefixes = [(), *line] if has_control and line and line[0] else list(line)
        from_none &= has_control
        to_all &= set(line[-1]) == pool
        for before, after in itertools.pairwise(prefixes):
            gains = [scores.get((after, s), np.nan) - scores.get((before, s), np.nan) for s in seeds]
            if np.isfinite(gains).any():
                tasks = tuple(sorted(set(after) - set(before)))
                steps[name, tasks] = gains
                ends[name, " ".join(tasks)] = (" ".join(after), " ".join(before))
    if not steps:
        return ChainContributions("block", (), "two neighbouring prefixes of a chain with a common seed")
    single = all(len(tasks) == 1 for _, tasks in steps)
    kind = "block" if not single else "shapley" if from_none and to_all else "marginal"
    rung = max(point.rung for point in points)
    groups: dict[str, dict[str, list[float]]] = {}
    for (name, tasks), gains in steps.items():
        label = tasks[0] if single else f"{name}: {' '.join(tasks)}"
        groups.setdefault(label, {})[name] = gains
    estimates = []
    for label, gained in sorted(groups.items()):
        extra = NO_ITEMS
        if item_variance is not None:
            added = label if single else label.partition(": ")[2]
            extra = item_variance(outcome, _coefficients([ends[name, added] for name in gained]))
        made = contrast([(1.0, _grid(gained, seeds))], extra)
        assert made is not None
        estimates.append(as_estimate(f"{kind}/{outcome}/{label}", made, sampling.level, rung))
    return ChainContributions(kind, tuple(estimates))


def _coefficients(ends: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Of each subset in the mean of the gains from before to after."""
    found: dict[str, float] = {}
    for after, before in ends:
        found[after] = found.get(after, 0.0) + 1 / len(ends)
        found[before] = found.get(before, 0.0) - 1 / len(ends)
    return found


def _grid(gained: Mapping[str, list[float]], seeds: Sequence[int]) -> Grid:
    values = np.array(list(gained.values()))
    columns = np.flatnonzero(np.isfinite(values).any(axis=0)).tolist()
    values = values[:, columns]
    kept = tuple(seeds[column] for column in columns)
    return Grid(tuple(gained), kept, values, np.isfinite(values).astype(np.float64), len(gained))


@dataclass(frozen=True)
class SideBySide:
    """One task's two estimates; None where a design gives only one of them."""

    task: str
    regression: Estimate | None
    chains: Estimate | None


def side_by_side(regression: Sequence[Estimate], chains: Sequence[ChainContributions]) -> tuple[SideBySide, ...]:
    """The regression's and the chains' estimate of each task, largest first."""
    by_regression = {estimate.name.rsplit("/", 1)[1]: estimate for estimate in regression}
    by_chains = {e.name.rsplit("/", 1)[1]: e for found in chains if found.kind != "block" for e in found.estimates}
    rows = [
        SideBySide(task, by_regression.get(task), by_chains.get(task))
        for task in sorted(by_regression.keys() | by_chains.keys())
    ]
    return tuple(sorted(rows, key=_order))


def _order(row: SideBySide) -> tuple[float, str]:
    leading = row.regression or row.chains
    return (-leading.value if leading else 0.0, row.task)
