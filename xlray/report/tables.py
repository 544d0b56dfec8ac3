"""A table as values, and how it becomes CSV, LaTeX and cells of the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xlray.storage.cells import PAIR, cell_in_words, cell_order, effect_in_words, pair_in_words

MINUS, NOTHING = "\u2212", "\u2013"


@dataclass(frozen=True)
class Interval:
    """A cell with two ends; None where there is nothing to resample."""

    low: float | None
    high: float | None
    digits: int = 1


@dataclass(frozen=True)
class Signed:
    """A difference: shown with its sign."""

    value: float
    digits: int = 1


@dataclass(frozen=True)
class Precise:
    """A number with more digits than one."""

    value: float
    digits: int = 2


@dataclass(frozen=True)
class PValue:
    """A p-value: below a thousandth only that is shown."""

    value: float


@dataclass(frozen=True)
class CellName:
    """The name of a cell, or of two with ` - ` between them: in words for the eye, as it is stored in the CSV."""

    name: str


@dataclass(frozen=True)
class Effect:
    """The name of an effect of a two by two: in words for the eye, as it is stored in the CSV."""

    name: str


Cell = str | int | float | bool | Interval | Signed | Precise | PValue | CellName | Effect | None


@dataclass(frozen=True)
class Table:
    """A table as values.

    Attributes:
        columns: (key in the CSV, heading with unit).
        missing: what the data lack for it; then it has no rows.
        behind: the trials that it is made from, and what became of them.
    """

    name: str
    title: str
    note: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, ...], ...]
    missing: str = ""
    behind: str = ""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, to be aligned to the right."""
        return tuple(
            any(row[n] is not None for row in self.rows)
            and not any(isinstance(row[n], (str, bool, CellName, Effect)) for row in self.rows)
            for n in range(len(self.columns))
        )


def number(value: float, signed: bool = False, digits: int = 1) -> str:
    """`value` for the eye, with a true minus sign; -0.0 is 0.0."""
    text = f"{abs(value):,.{digits}f}"
    negative = value < 0 and float(text.replace(",", "")) != 0
    return (MINUS if negative else "+" if signed else "") + text


def show(cell: Cell) -> str:
    """A cell as text for the eye."""
    if cell is None or cell == "":
        return NOTHING
    if isinstance(cell, CellName):
        return pair_in_words(cell.name) if PAIR in cell.name else cell_in_words(cell.name, "no task")
    if isinstance(cell, Effect):
        return effect_in_words(cell.name)
    if isinstance(cell, Interval):
        ends = [None if end is None else number(end, digits=cell.digits) for end in (cell.low, cell.high)]
        return NOTHING if None in ends else f"[{ends[0]}, {ends[1]}]"
    if isinstance(cell, Signed):
        return number(cell.value, signed=True, digits=cell.digits)
    if isinstance(cell, Precise):
        return number(cell.value, digits=cell.digits)
    if isinstance(cell, PValue):
        return "< 0.001" if cell.value < 0.001 else f"{cell.value:.3f}"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return number(cell, digits=3 if 0 < abs(cell) < 0.05 else 1)
    return f"{cell:,}" if isinstance(cell, int) else cell


def sort_key(cell: Cell) -> str:
    """What the page sorts a cell by."""
    if isinstance(cell, CellName):
        return cell_order(cell.name)
    if isinstance(cell, Effect):
        return cell.name
    if isinstance(cell, Interval):
        cell = cell.low
    if isinstance(cell, Signed | Precise | PValue):
        cell = cell.value
    return "" if cell is None else str(int(cell) if isinstance(cell, bool) else cell)


def to_csv(table: Table) -> str:
    """The table with full precision; an interval becomes two columns."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    split = [any(isinstance(row[n], Interval) for row in table.rows) for n in range(len(table.columns))]
    heads = [key for key, _ in table.columns]
    writer.writerow(
        [h for key, two in zip(heads, split, strict=True) for h in ([f"{key}_low", f"{key}_high"] if two else [key])]
    )
    for row in table.rows:
        cells: list[Any] = []
        for cell, two in zip(row, split, strict=True):
            if two:
                cells += [cell.low, cell.high] if isinstance(cell, Interval) else [None, None]
            else:
                value = cell.name if isinstance(cell, CellName | Effect) else cell
                cells.append(value.value if isinstance(value, Signed | Precise | PValue) else value)
        writer.writerow(cells)
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, with title and notes."""
    lines = [f"**{table.title}.** {table.note} {table.behind}".rstrip(), ""]
    lines.append(_markdown_row([heading for _, heading in table.columns]))
    lines.append(_markdown_row(["---:" if numeric else "---" for numeric in table.numeric]))
    lines += [_markdown_row([show(cell) for cell in row]) for row in table.rows]
    return "\n".join([*lines, ""])


def _markdown_row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"


_LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        MINUS: "$-$",
        NOTHING: "--",
        **{character: "\\" + character for character in "&%$#_{}"},
    }
)


def escape_latex(text: str) -> str:
    """`text` with LaTeX's special characters escaped."""
    return text.translate(_LATEX)


def to_latex(table: Table) -> str:
    """A booktabs table (needs `\\usepackage{booktabs}`)."""
    alignment = "".join("r" if numeric else "l" for numeric in table.numeric)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(f'{table.title}. {table.note} {table.behind}'.rstrip())}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{{alignment}}}",
        r"\toprule",
    ]
    lines.append(" & ".join(escape_latex(heading) for _, heading in table.columns) + r" \\")
    lines.append(r"\midrule")
    lines += [" & ".join(escape_latex(show(cell)) for cell in row) + r" \\" for row in table.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])
