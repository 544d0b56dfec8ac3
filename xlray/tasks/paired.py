"""The reader of rows whose columns are files of their own, line by line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.tasks.lines import at_least_one, fail, line_of, member, one_example, parsed_json, text_lines
from xlray.tasks.task import Record, Shape


def paired_lines(paths: tuple[Path, ...], *, shape: Shape, names: tuple[str, ...]) -> Iterator[Record]:
    """Rows whose columns are files of their own: texts and labels (TweetEval), questions and labels (PIQA).

    Args:
        paths: one file for each of `names`; they have as many lines, but for blank ones at their ends.
        shape: row to record.
        names: name of the column that a file is; "" where each of its lines is a JSON object whose keys join the row.
    """
    if len(paths) != len(names):
        raise InputError(f"paired files: {len(names)} files must be given, but got {[path.name for path in paths]}.")
    yield from at_least_one(paths[0], _paired_lines(paths, shape, names))


def _paired_lines(paths: tuple[Path, ...], shape: Shape, names: tuple[str, ...]) -> Iterator[Record]:
    extents = [_extent(path) for path in paths]
    num_rows = max(filled for filled, _ in extents)
    for path, (_, number) in zip(paths, extents, strict=True):
        if number < num_rows:
            fail(str(path), f"paired files must have as many lines as the longest, {num_rows}", number)
    others = [dict(text_lines(path, examples=True)) for path in paths[1:]]
    for number, line in text_lines(paths[0], examples=True):
        lines = [line, *(other[number] for other in others if number in other)]
        if number > num_rows or len(lines) < len(names):  # a line that cannot be decoded was noted and costs its row
            continue
        where = line_of(paths[0], number)
        fields = None
        with one_example():
            row: dict[str, Any] = {}
            for name, cell in zip(names, lines, strict=True):
                row |= {name: cell} if name else member({"line": parsed_json(cell, where)}, "line", dict, where)
            fields = shape(row, where)
        if fields is not None:
            yield {"id": f"{paths[0].name}:{number}"} | fields


def _extent(path: Path) -> tuple[int, int]:
    """Numbers of the last line that is not blank and of the last line."""
    filled = number = 0
    for number, line in text_lines(path, "latin-1"):
        filled = number if line.strip() else filled
    return filled, number
