"""Two sweeps side by side, paired where they share cells: the same subset and seed at the same rung."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from xlray.analysis import (
    WITHOUT_TATOEBA,
    CellItems,
    Estimate,
    ItemVariance,
    Point,
    Sampling,
    averaged_targets,
    estimable,
    headline_of,
    items_by_cell,
    variance_of,
)
from xlray.analysis.crossed import NO_ITEMS, contrast
from xlray.analysis.effects import as_estimate, cell_grids
from xlray.analysis.results import Results
from xlray.errors import InputError
from xlray.phases.spec import differing_fields
from xlray.plan.definition import WORDS
from xlray.report import page
from xlray.report.drawing import BLACK, WIDTH, Drawing, draw, forest, signed_points, spell
from xlray.report.evidence import collect_evidence, target_names
from xlray.report.page import Page, Section
from xlray.report.report import write_files
from xlray.report.tables import CellName, Interval, Signed, Table, number
from xlray.report.warnings import count, find_warnings, named
from xlray.storage.cells import cell_in_words
from xlray.storage.sweep_folder import SweepFolder, languages_of, open_sweep

ALL = "all shared cells"
LONG = 200  # characters of a field that differs


@dataclass(frozen=True)
class Row:
    """One outcome in one cell at one rung of both sweeps.

    Attributes:
        first: mean of the first sweep, over the pairs if there are any; second alike.
        difference: second less first, with the interval of paired differences; None where nothing is paired.
        num_pairs: (subset, seed) that both have.
    """

    rung: int
    cell: str
    outcome: str
    first: float
    second: float
    difference: Estimate | None
    num_pairs: int


def compare_sweeps(
    first: SweepFolder | Path | str, second: SweepFolder | Path | str, sampling: Sampling | None = None
) -> dict[str, Any]:
    """Compare two sweeps and write `<first>/report/compare-<second>.html` with its table and figure.

    Returns:
        `{language, first, second, answer, rows, differing, warnings, files}`; a row has rung, cell, outcome, first, second,
        difference, low, high, level, num_pairs, num_seeds and num_subsets.

    Raises:
        InputError: a folder is no sweep's, both are the same, they are evaluated in different languages, or share no cell
            at any rung.
    """
    sampling = sampling or Sampling()
    sweeps = open_sweep(first), open_sweep(second)
    if sweeps[0].path.resolve() == sweeps[1].path.resolve():
        raise InputError(f"compare: two different sweeps must be given, but got {first} twice.")
    sides = tuple(collect_evidence(sweep, sampling) for sweep in sweeps)
    names = tuple(side.results.name for side in sides)
    languages = [languages_of(side.definition)[:1] for side in sides]
    if all(languages) and languages[0] != languages[1]:
        both = " and ".join(", ".join(found) for found in languages)
        raise InputError(f"compare: the sweeps must be evaluated in one language, but theirs are {both}.")
    rows = compare_points(sides[0].points, sides[1].points, sampling, tuple(side.results for side in sides))
    if not rows:
        cells = (named({p.cell for p in side.points}) or "none" for side in sides)
        has = "; ".join(f"{name} has {own}" for name, own in zip(names, cells, strict=True))
        raise InputError(f"compare: the sweeps must share a cell at the same rung, but {has}.")
    left, right = ({k: v for k, v in side.definition.items() if k not in WORDS} for side in sides)
    differing = [line if len(line) <= LONG else f"{line[:LONG]}\u2026" for line in differing_fields(left, right)]
    warnings = [f"{name}: {w}" for name, side in zip(names, sides, strict=True) for w in find_warnings(side)]
    headline, language = sides[0].headline, sides[0].language
    answer = _answer(rows, names, headline, language)
    table, drawing = _table(rows, names, language), _forest(rows, names, language)
    text = page.render(_page(names, answer, warnings, differing, table, drawing), [drawing], [table])
    files = write_files(sweeps[0] / "report", f"compare-{names[1]}.html", text, [table], [drawing])
    return {
        "language": sides[0].results.languages[0],
        "first": names[0],
        "second": names[1],
        "answer": answer,
        "rows": [_plain(row, sampling.level) for row in rows],
        "differing": differing,
        "warnings": warnings,
        "files": files,
    }


def compare_points(
    first: Sequence[Point], second: Sequence[Point], sampling: Sampling, results: Sequence[Results] = ()
) -> list[Row]:
    """Every outcome in every cell that both sweeps can estimate at a rung of as many examples, the last rung first.

    Args:
        results: of both, for the evaluated items; without them these are taken as they are.

    Raises:
        InputError: the sweeps evaluated a target on different numbers of items.
    """
    sides = [_by_rung(points) for points in (first, second)]
    variances = _item_variances(sides, results) if results else {}
    rows = []
    for rung in sorted(sides[0].keys() & sides[1].keys(), reverse=True):
        here, there = sides[0][rung], sides[1][rung]
        cells = sorted({p.cell for p in here} & {p.cell for p in there}, key=lambda c: (_size(here, c), c))
        outcomes = [o for o in (headline_of(here), WITHOUT_TATOEBA, *target_names(here)) if o in there[0].scores]
        for cell in [*([ALL] if len(cells) > 1 else []), *cells]:
            chosen = set(cells) if cell == ALL else {cell}
            inside = [[p for p in side if p.cell in chosen] for side in (here, there)]
            found = (_row(rung, cell, o, inside[0], inside[1], sampling, variances.get(rung)) for o in outcomes)
            rows += [row for row in found if row is not None]
    return rows


def _item_variances(
    sides: Sequence[Mapping[int, Sequence[Point]]], results: Sequence[Results]
) -> dict[int, ItemVariance]:
    """By rung: of sums of cells of both sweeps, named "0 <cell>" and "1 <cell>", over the trials that are paired."""
    found: dict[int, dict[tuple[str, str], CellItems]] = {}
    for side, (own, other) in enumerate((sides, sides[::-1])):
        paired = {(rung, *_place(p)) for rung, points in other.items() for p in points}
        points = [p for rung, there in own.items() for p in there if (rung, *_place(p)) in paired]
        rungs = {p.rung_index: p.rung for p in points}
        named = [dataclasses.replace(p, cell=f"{side} {p.cell}") for p in points]
        for index, cells in items_by_cell(results[side], named).items():
            found.setdefault(rungs[index], {}).update(cells)
    for cells in found.values():
        sizes: dict[str, int] = {}
        for (target, _), items in cells.items():
            size = items.means.shape[-1]
            if sizes.setdefault(target, size) != size:
                got = f"{sizes[target]} and {size}"
                raise InputError(f"compare: `one number of items per target` must hold, but got {got} for {target}.")
    return {rung: variance_of(cells, averaged_targets(results[0])) for rung, cells in found.items()}


def _by_rung(points: Sequence[Point]) -> dict[int, list[Point]]:
    found = {}
    for index in sorted({point.rung_index for point in points}):
        if here := estimable(points, index):
            found[here[0].rung] = here
    return found


def _place(point: Point) -> tuple[str, tuple[str, ...], int]:
    """What pairs trials of two sweeps."""
    return point.cell, point.tasks, point.seed


def _size(points: Sequence[Point], cell: str) -> int:
    return next(point.num_tasks for point in points if point.cell == cell)


def _row(
    rung: int,
    cell: str,
    outcome: str,
    first: Sequence[Point],
    second: Sequence[Point],
    sampling: Sampling,
    variance: ItemVariance | None,
) -> Row | None:
    """Paired where a (subset, seed) of a cell is in both; without a pair the means alone, and none over several cells.

    Over all cells, and the seeds that all have, it is the sum of the cells' own, each with its share of the pairs.
    """
    known = {_place(p): p for p in first}
    pairs = [(known[_place(p)], p) for p in second if _place(p) in known]
    seeds = [{b.seed for _, b in pairs if b.cell == name} for name in {b.cell for _, b in pairs}]
    pairs = [pair for pair in pairs if pair[1].seed in set.intersection(*seeds)]
    if not pairs:
        if cell == ALL:
            return None
        means = [statistics.fmean(p.scores[outcome] for p in side) for side in (first, second)]
        return Row(rung, cell, outcome, means[0], means[1], None, 0)
    gaps = cell_grids(
        [dataclasses.replace(a, scores={outcome: b.scores[outcome] - a.scores[outcome]}) for a, b in pairs], outcome
    )
    before, after = (statistics.fmean(pair[side].scores[outcome] for pair in pairs) for side in (0, 1))
    shares = {name: grid.num_trials / len(pairs) for name, grid in gaps.items()}
    both = {f"{side} {name}": sign * share for name, share in shares.items() for side, sign in ((0, -1), (1, 1))}
    extra = variance(outcome, both) if variance else NO_ITEMS
    found = contrast([(share, gaps[name]) for name, share in shares.items()], extra)
    assert found is not None
    difference = as_estimate(f"mean/{outcome}/{cell}", found, sampling.level, rung)
    return Row(rung, cell, outcome, before, after, difference, len(pairs))


def _plain(row: Row, level: float) -> dict[str, Any]:
    gap = row.difference
    return {
        **{name: getattr(row, name) for name in ("rung", "cell", "outcome", "first", "second", "num_pairs")},
        "difference": gap.value if gap else row.second - row.first,
        "low": gap.low if gap else None,
        "high": gap.high if gap else None,
        "level": level,
        "num_seeds": gap.num_seeds if gap else 0,
        "num_subsets": gap.num_subsets if gap else 0,
    }


def _answer(rows: Sequence[Row], names: Sequence[str], headline: str, language: str) -> str:
    """The last rung's accuracy over all shared cells, or in the only one."""
    paired = [row for row in rows if row.difference is not None]
    row = next((row for row in paired or rows if row.outcome == headline), rows[0])
    gap = row.difference
    value = number(gap.value if gap else row.second - row.first, signed=True)
    where = f"over {row.cell}" if row.cell == ALL else f"with {cell_in_words(row.cell, 'no task')}"
    text = f"{names[1]} instead of {names[0]}: {value} points of {language} dev accuracy {where} (from {number(row.first)} to "
    text += f"{number(row.second)} %) after {row.rung:,} intermediate examples"
    if gap is None:
        return f"{text}; no trial has its pair in the other sweep, so there is no interval."
    if gap.low is None or gap.high is None:
        return f"{text}, {count(row.num_pairs, 'pair')}, no interval ({gap.missing})."
    ends = f"[{number(gap.low, signed=True)}, {number(gap.high, signed=True)}]"
    return f"{text}, {100 * gap.level:.0f} % CI {ends}, {count(row.num_pairs, 'pair')} of trials."


def _table(rows: Sequence[Row], names: Sequence[str], language: str) -> Table:
    cells = []
    for row in rows:
        gap = row.difference
        interval = Interval(gap.low, gap.high) if gap else Interval(None, None)
        value = Signed(gap.value if gap else row.second - row.first)
        cells.append((row.rung, CellName(row.cell), row.outcome, row.first, row.second, value, interval, row.num_pairs))
    columns = (
        ("rung", "Rung (examples)"),
        ("cell", "Cell"),
        ("outcome", f"Score on {language} dev"),
        ("first", f"{names[0]} (%)"),
        ("second", f"{names[1]} (%)"),
        ("difference", "Difference (points)"),
        ("difference_interval", "Interval"),
        ("num_pairs", "Pairs"),
    )
    note = (
        "Pairs have the same subset and seed in both sweeps; means are over them. Where there is no pair the means are "
        "over all trials of the cell, and the difference has no interval."
    )
    return Table(f"compare-{names[1]}", f"{names[1]} less {names[0]}", note, columns, tuple(cells))


def _forest(rows: Sequence[Row], names: Sequence[str], language: str) -> Drawing:
    """Differences of each outcome at the last shared rung."""
    name, title = f"compare-{names[1]}", f"{names[1]} less {names[0]}"
    here = [row for row in rows if row.rung == rows[0].rung and row.difference is not None]
    if not here:
        return Drawing(name, title, "", "", missing="trials with the same subset and seed in both sweeps")
    order, labels = here[::-1], [f"{cell_in_words(row.cell, 'no task')}: {row.outcome}" for row in here]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.axvline(0, color=BLACK, linewidth=1)
        for place, gap in enumerate(row.difference for row in order):
            assert gap is not None
            forest(axes, place, gap)
        signed_points(axes)
        axes.set_yticks(range(len(order)), labels[::-1], fontsize=8)
        axes.set(xlabel=f"Difference on {language} dev (points)", ylim=(-0.6, len(order) - 0.4))

    svg, pdf = draw(paint, WIDTH, 0.9 + 0.2 * len(order))
    caption = f"Paired differences after {here[0].rung:,} intermediate examples. Coloured: the interval leaves out 0."
    said = "; ".join(
        f"{cell_in_words(row.cell, 'no task')} {row.outcome} {spell(row.difference, True)}"
        for row in here
        if row.difference
    )
    return Drawing(name, title, caption, f"Differences in points. {said}.", svg, pdf)


def _page(
    names: Sequence[str], answer: str, warnings: Sequence[str], differing: Sequence[str], table: Table, drawing: Drawing
) -> Page:
    facts: Mapping[str, str] = {"Differing fields": "; ".join(differing) or "none but name and question"}
    sections = (
        Section("difference", "Difference", "Differences", (drawing.name,), (table.name,)),
        Section("definitions", "Definitions", "What differs by definition", facts=tuple(facts.items())),
    )
    footer = (
        "Made from results/*.parquet of both sweeps. Table and figure lie beside this page in tables/ and figures/."
    )
    question = f"What does {names[1]} change against {names[0]}?"
    return Page("comparison", f"{names[0]} and {names[1]}", question, answer, warnings, (), sections, footer)
