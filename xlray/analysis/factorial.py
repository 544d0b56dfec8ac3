"""The two by two as one: the effect of the number of tasks, of their source, and how far the one depends on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlray.analysis.effects import Shared, as_estimate, cell_grids, shared_of, signed_sums, trial_spread
from xlray.analysis.items import ItemVariance
from xlray.analysis.points import Estimate, Point, Sampling, is_control_source, scored


@dataclass(frozen=True)
class TwoByTwo:
    """Four cells: two numbers of tasks, each from two sources.

    Attributes:
        sizes: fewer, more.
        sources: in alphabetical order.
        cells: (size, source) to cell.
    """

    sizes: tuple[int, int]
    sources: tuple[str, str]
    cells: dict[tuple[int, str], str]

    def contrasts(self) -> dict[str, dict[str, float]]:
        """Name to cell to coefficient: both main effects, each a mean over the other factor, and the interaction.

        The interaction is what more tasks gain from the second source, less what they gain from the first.
        """
        (fewer, more), (first, second) = self.sizes, self.sources
        number, source = {more: 1.0, fewer: -1.0}, {second: 1.0, first: -1.0}
        return {
            f"number {more} - {fewer}": {cell: number[n] / 2 for (n, _), cell in self.cells.items()},
            f"source {second} - {first}": {cell: source[s] / 2 for (_, s), cell in self.cells.items()},
            f"interaction {more} - {fewer} x {second} - {first}": {
                cell: number[n] * source[s] for (n, s), cell in self.cells.items()
            },
        }


def find_two_by_two(points: Sequence[Point]) -> TwoByTwo | None:
    """That of all cells with tasks which are no controls; None where these are no full two by two."""
    return two_by_two_of({point.cell: (point.num_tasks, point.source) for point in points})


def two_by_two_of(cells: Mapping[str, tuple[int, str]]) -> TwoByTwo | None:
    """The same of cells to (number of tasks, source)."""
    places: dict[tuple[int, str], set[str]] = {}
    for cell, (size, source) in cells.items():
        if size and not is_control_source(source):
            places.setdefault((size, source), set()).add(cell)
    sizes, sources = (sorted(set(values)) for values in zip(*places, strict=True)) if places else ([], [])
    if (len(sizes), len(sources), len(places)) != (2, 2, 4) or any(len(there) > 1 for there in places.values()):
        return None
    four = {place: cell for place, (cell,) in sorted(places.items())}
    return TwoByTwo((sizes[0], sizes[1]), (sources[0], sources[1]), four)


def two_by_two(
    points: Sequence[Point],
    outcome: str,
    sampling: Sampling,
    item_variance: ItemVariance | None = None,
    shared: Shared | None = None,
) -> list[Estimate]:
    """Both main effects and the interaction at one rung, in points, named `factor/<outcome>/<contrast>`.

    Over the seeds that all four cells have; [] where there is none, or the sweep is no two by two. Where subsets of
    the cells are drawn together, a draw is one cluster, so what its arms have in common is neither noise nor counted twice.
    """
    points = scored(points, outcome)
    design = find_two_by_two(points)
    if design is None:
        return []
    grids = cell_grids(points, outcome)
    four = {cell: grids[cell] for cell in design.cells.values()}
    spread, shares = trial_spread([*four.values()]), (shared or shared_of(points)).additivity
    sums = design.contrasts()
    extra = {name: item_variance(outcome, parts) for name, parts in sums.items()} if item_variance else {}
    rung, made = max(point.rung for point in points), signed_sums(four, sums, extra, shares)
    return [
        as_estimate(f"factor/{outcome}/{name}", found, sampling.level, rung, spread) for name, found in made.items()
    ]
