"""The evaluated items as a sample: what a finite test set adds to the variance of means and differences.

A headline is a ratio of sums over items. Its linear expansion gives each item a share whose mean over the items is the
headline (Woodruff 1971), so the items of a difference of cells are one sample of differences of shares. What an item does
in one trial alone is noise of that trial, which the spread over trials holds already, and is taken off; but no interval is
narrower than the items allow with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from xlray.analysis.crossed import ItemPart
from xlray.analysis.points import WITHOUT_TATOEBA, Array, Point, estimable
from xlray.analysis.results import Results, headline_rows, retrieval_tasks
from xlray.errors import InputError
from xlray.storage.standings import accuracy_name

# outcome, {cell: coefficient} -> what the evaluated items do to the variance of the signed sum of cell means
ItemVariance = Callable[[str, Mapping[str, float]], ItemPart]
SAME = 1e-3  # points within which the items' sums give the headline; scores were stored as they are


@dataclass(frozen=True)
class CellItems:
    """What the trials of a cell do on each item of one target.

    Attributes:
        means: [..., items] share of each item in the headline, in percent, averaged over the trials.
        noise: [...] variance over items of those means through what single trials do, squared points.
    """

    means: Array
    noise: Array


def item_shares(statistics: Mapping[str, Array], headline: float) -> Array | None:
    """[items] in percent, with the headline as their mean; None if no known ratio of the sums is the headline.

    Args:
        statistics: to [items], as `items.parquet` has them.
        headline: in percent.
    """
    ratios = []
    if {"f1", "em"} <= statistics.keys():
        ratios.append(((statistics["f1"] + statistics["em"]) / 2, np.ones(len(statistics["f1"]))))
    if {"correct", "total"} <= statistics.keys():
        ratios.append((statistics["correct"], statistics["total"]))
    if {"tp", "fp", "fn"} <= statistics.keys():
        double = 2 * statistics["tp"]
        ratios.append((double, double + statistics["fp"] + statistics["fn"]))
    for above, below in ratios:
        size = below.sum()
        ratio = above.sum() / size if size else 0.0
        if abs(100 * ratio - headline) < SAME:
            return np.asarray(100 * (ratio + (above - ratio * below) * len(below) / max(size, 1)), dtype=np.float64)
    return None


@dataclass(frozen=True)
class ItemSums:
    """Weighted sums over the trials of a cell.

    Attributes:
        weight: of the trials.
        squared: sum of their squared weights.
        shares: [..., items] sum of weight x share.
        squares: [...] sum of weight x variance over items of the shares.
    """

    weight: float
    squared: float
    shares: Array
    squares: Array

    def __add__(self, other: ItemSums) -> ItemSums:
        return ItemSums(
            self.weight + other.weight,
            self.squared + other.squared,
            self.shares + other.shares,
            self.squares + other.squares,
        )


def sum_trials(trials: Array, weights: Array) -> ItemSums:
    """Sums of [..., trials, items] shares with [trials] weights."""
    shares, squares = np.einsum("t,...ti->...i", weights, trials), trials.var(axis=-1, ddof=1) @ weights
    return ItemSums(float(weights.sum()), float((weights**2).sum()), shares, squares)


def cell_items(sums: ItemSums) -> CellItems:
    """What a cell does on each item; with a single trial its noise is not told from what the items do, and left in."""
    means = sums.shares / sums.weight
    share = sums.squared / sums.weight**2  # of one trial's variance, in that of the mean
    if share > 1 - 1e-9:
        return CellItems(means, np.zeros(means.shape[:-1]))
    single = (sums.squares / sums.weight - means.var(axis=-1, ddof=1)) / (1 - share)
    return CellItems(means, np.maximum(single, 0.0) * share)


def items_variance(parts: Sequence[tuple[float, CellItems]]) -> ItemPart:
    """What the items of one target do to the variance of a signed sum of cell means."""
    gains = sum((coefficient * cell.means for coefficient, cell in parts), np.zeros(parts[0][1].means.shape))
    noise = sum((coefficient**2 * cell.noise for coefficient, cell in parts), np.zeros(gains.shape[:-1]))
    spread, size = gains.var(axis=-1, ddof=1), gains.shape[-1]
    return ItemPart(np.maximum(spread - noise, 0.0) / size, spread / size)


def item_variances(results: Results, points: Sequence[Point]) -> dict[int, ItemVariance]:
    """By rung number: what the evaluated items add to the variance of a signed sum of cells; {} without `items.parquet`.

    A target without items, or whose headline is no ratio of their sums, adds nothing: its items are taken as they are.

    Raises:
        InputError: the trials of a target were evaluated on different numbers of items.
    """
    means = averaged_targets(results)
    return {rung: variance_of(cells, means) for rung, cells in items_by_cell(results, points).items()}


def items_by_cell(results: Results, points: Sequence[Point]) -> dict[int, dict[tuple[str, str], CellItems]]:
    """By rung number: (target, the points' cell) to what its trials do on each item; {} without `items.parquet`.

    Raises:
        InputError: the trials of a target were evaluated on different numbers of items.
    """
    path = results.directory / "results" / "items.parquet"
    if not path.exists():
        return {}
    rungs = sorted({point.rung_index for point in points})
    known = {(point.trial_id, point.rung): point for rung in rungs for point in estimable(points, rung)}
    found: dict[int, dict[tuple[str, str], ItemSums]] = {}
    for trial, rung, target, statistics in read_items(path, item_names(results)):
        point = known.get((trial, rung))
        shares = item_shares(statistics, point.scores[target]) if point and target in point.scores else None
        if point is None or shares is None or len(shares) < 2:
            continue
        cells = found.setdefault(point.rung_index, {})
        sums = sum_trials(shares[None], np.array([1.0 if point.weight is None else point.weight]))
        before = cells.get((target, point.cell))
        if before is not None and before.shares.shape != sums.shares.shape:
            sizes = f"{len(before.shares)} and {len(shares)}"
            raise InputError(f"{path}: `one number of items per target` must hold, but got {sizes} for {target}.")
        cells[target, point.cell] = sums if before is None else before + sums
    return {rung: {key: cell_items(sums) for key, sums in cells.items()} for rung, cells in found.items()}


def subset_item_variance(results: Results, points: Sequence[Point]) -> ItemVariance | None:
    """The same for signed sums of subsets of tasks, each named by its tasks with spaces between; `points` of one rung."""
    by_subset = [dataclasses.replace(point, cell=" ".join(point.tasks)) for point in points]
    (found,) = [*items_by_cell(results, by_subset).values(), None][:1]
    return None if found is None else variance_of(found, averaged_targets(results))


def averaged_targets(results: Results) -> dict[str, list[str]]:
    """Outcomes that are means, to the targets that they are means of."""
    targets, retrieval = sorted(_selected_languages(results)), retrieval_tasks(results.scores)
    found = {results.accuracy_name: targets, WITHOUT_TATOEBA: sorted(set(targets) - retrieval)}
    for language in results.languages[1:]:
        found[accuracy_name(language)] = [f"{target}@{language}" for target in targets]
    return found


def variance_of(cells: Mapping[tuple[str, str], CellItems], means: Mapping[str, Sequence[str]]) -> ItemVariance:
    """Of signed sums of cells, by outcome; the items of different targets are different samples.

    Args:
        means: outcome to the targets whose mean it is.
    """

    def variance(outcome: str, coefficients: Mapping[str, float]) -> ItemPart:
        targets = means.get(outcome, (outcome,))
        known = [target for target in targets if all((target, cell) in cells for cell in coefficients)]
        parts = [items_variance([(c, cells[target, cell]) for cell, c in coefficients.items()]) for target in known]
        shares = (sum(float(getattr(part, name)) for part in parts) for name in ("added", "least"))
        return ItemPart(*(share / len(targets) ** 2 for share in shares))

    return variance


def _selected_languages(results: Results) -> dict[str, str]:
    """Target to the language of its headline."""
    rows = headline_rows(results.scores)
    return dict(zip(rows["task"].to_pylist(), rows["language"].to_pylist(), strict=True))


def item_names(results: Results) -> dict[tuple[str, str], str]:
    """(target, language) to the outcome that is scored on these items, of all languages of the sweep."""
    found = {(target, language): target for target, language in _selected_languages(results).items()}
    more = {(target, code): f"{target}@{code}" for target, _ in found for code in results.languages[1:]}
    return more | found


def read_items(path: Path, wanted: Mapping[tuple[str, str], str]) -> Iterator[tuple[str, int, str, dict[str, Array]]]:
    """(trial, rung in examples, outcome, statistic to [items]) on dev, one trial's target at a time as they were written.

    Args:
        wanted: (target, language) to the outcome; items of others are skipped.
    """
    import pyarrow.dataset as ds  # here, since it imports pandas where that is installed, for every command

    table = ds.dataset(path)
    on_dev = pc.field("split") == "dev"
    columns = ["trial_id", "rung", "task", "language", "statistic", "value"]
    key: tuple[str, int, str, str] | None = None
    held: dict[str, list[Array]] = {}
    for batch in table.to_batches(columns=columns, filter=on_dev, batch_readahead=1, fragment_readahead=1):
        values = batch["value"].to_numpy(zero_copy_only=False)
        if not len(values):  # nothing of it is dev, or a sweep has evaluated nothing yet
            continue
        names = [batch[name].dictionary_encode() if name != "statistic" else batch[name] for name in columns[:5]]
        codes = np.stack([np.asarray(column.indices) for column in names])
        starts = np.flatnonzero(np.any(np.diff(codes, axis=1, prepend=-1) != 0, axis=0)).tolist()
        for start, end in zip(starts, [*starts[1:], len(values)], strict=True):
            *place, statistic = (
                column.dictionary[code].as_py() for column, code in zip(names, codes[:, start], strict=True)
            )
            here = (place[0], place[1], place[2], place[3])
            if here != key:
                if key is not None and key[2:] in wanted:
                    yield key[0], key[1], wanted[key[2:]], {name: np.concatenate(parts) for name, parts in held.items()}
                key, held = here, {}
            held.setdefault(statistic, []).append(values[start:end])
    if key is not None and key[2:] in wanted:
        yield key[0], key[1], wanted[key[2:]], {name: np.concatenate(parts) for name, parts in held.items()}
