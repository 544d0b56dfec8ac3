"""Lines of text files, decoded strictly, and the one form of a reader's errors. All readers stand on this module."""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from xlray.errors import InputError
from xlray.tasks.task import Record

SHOWN_CHARACTERS = 80


def shown(value: object) -> str:
    """`value` on one line, short enough for a message."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def listed(names: Iterable[str], most: int = 12) -> str:
    """The names, or the first of them and how many there are."""
    known = list(names)
    return ", ".join(known) if len(known) <= most else f"{', '.join(known[:most])}, ... ({len(known)} in all)"


@dataclass
class Remarks:
    """What is worth knowing of how a split was read, beside its records.

    Attributes:
        skip_bad: leave bad examples out instead of refusing their file.
        bad: what is wrong with each of the examples left out so.
        left_out: why other examples were left out, to how many.
        doubts: what makes the split look like another than it is said to be.
        unlabelled: it is a test set without labels.
    """

    skip_bad: bool = False
    bad: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    unlabelled: bool = False


_remarks: ContextVar[Remarks | None] = ContextVar("remarks", default=None)
_cure: ContextVar[str] = ContextVar("cure", default="")


@contextlib.contextmanager
def remarks_go_to(remarks: Remarks, cure: str = "") -> Iterator[None]:
    """What readers that are consumed in here have to say goes into `remarks`; the error of a bad example ends in `cure`."""
    before, cure_before = _remarks.set(remarks), _cure.set(cure)
    try:
        yield
    finally:
        _remarks.reset(before)
        _cure.reset(cure_before)


@contextlib.contextmanager
def one_example() -> Iterator[None]:
    """Around what a reader does for one example: its `InputError` is noted where bad examples are left out."""
    try:
        yield
    except InputError as error:
        remarks = _remarks.get()
        if remarks is not None and remarks.skip_bad:
            remarks.bad.append(str(error))
        elif str(error).endswith(_cure.get()):
            raise
        else:
            raise InputError(f"{error} {_cure.get()}") from error


def leave_out(reason: str, number: int = 1) -> None:
    """Count examples that are no bad ones but are left out, such as rows without a label; a shape returns what this does.

    Args:
        reason: what they are, such as "rows without a label".
        number: of examples.
    """
    remarks = _remarks.get()
    if remarks is not None:
        remarks.left_out[reason] = remarks.left_out.get(reason, 0) + number


def fail(where: str, law: str, found: object) -> NoReturn:
    """Raise the one-line `InputError`: where, what must hold, what was found."""
    raise InputError(f"{where}: {law}, but got {shown(found)}.")


def line_of(path: Path, number: int) -> str:
    """The place `<path>, line <number>`; lines count from 1."""
    return f"{path}, line {number}"


def record_of(path: Path, number: int | str) -> str:
    """The place `<path>, record <number>`; records count from 1."""
    return f"{path}, record {number}"


def text_lines(path: Path, encoding: str = "utf-8", examples: bool = False) -> Iterator[tuple[int, str]]:
    r"""Numbered lines without their line ends.

    Only `\n` and `\r\n` end a line: texts hold other characters that `str.splitlines` would split at. A byte order mark
    before the first line is dropped.

    Args:
        path: the file.
        encoding: of the file.
        examples: each line is an example, so that one that cannot be decoded is a bad example, not a bad file.

    Raises:
        InputError: the file cannot be opened, or a line is not valid in the encoding.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                line = None
                with one_example() if examples else contextlib.nullcontext():
                    line = _decoded(raw, encoding, path, number).removesuffix("\n").removesuffix("\r")
                if line is not None:
                    yield number, line
    except OSError as error:
        fail(str(path), "the file must be readable", error.strerror or str(error))


def _decoded(raw: bytes, encoding: str, path: Path, number: int) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        law = f"a line must be valid {encoding.upper()}"
        fail(line_of(path, number), law, f"byte 0x{raw[error.start]:02x} at position {error.start}")
    return text.removeprefix("\ufeff") if number == 1 else text


def whole_text(path: Path) -> str:
    """The whole file as text, for formats without lines; errors as in `text_lines`."""
    return "\n".join(line for _, line in text_lines(path))


def without_blank_end(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Numbered lines without the blank ones after the last that is not, which many programs write."""
    blank: list[tuple[int, str]] = []
    for number, line in lines:
        if line.strip():
            yield from blank
            blank = []
            yield number, line
        else:
            blank.append((number, line))


def file_names(paths: Sequence[Path]) -> dict[Path, str]:
    """What files are called in ids: by their names, and those of one name with the folders that tell them apart."""
    counts = Counter(path.name for path in dict.fromkeys(paths))
    same = [path.parent for path in paths if counts[path.name] > 1]
    above = Path(os.path.commonpath(same)) if same else Path()
    return {path: path.name if counts[path.name] == 1 else path.relative_to(above).as_posix() for path in paths}


def each_file(paths: Sequence[Path], read: Callable[[Path], Iterable[Record]]) -> Iterator[Record]:
    """The records of all files in order; an id made of a file's name is made of what `file_names` calls it.

    Args:
        paths: the files.
        read: yields the records of one file.

    Raises:
        InputError: a file holds no record.
    """
    names = file_names(paths)
    for path in paths:
        name = names[path]
        for record in at_least_one(path, read(path)):
            own = name != path.name and record["id"].startswith(path.name)
            yield record | {"id": name + record["id"].removeprefix(path.name)} if own else record


def at_least_one(path: Path, records: Iterable[Record]) -> Iterator[Record]:
    """`records` unchanged; a file that yields none is an error.

    Raises:
        InputError: there is no record.
    """
    found = False
    for record in records:
        found = True
        yield record
    if not found:
        raise InputError(f"{path}: a file must hold at least one record, but this one holds none.")


def parsed_json(text: str, where: str) -> Any:
    """The JSON value of `text`.

    Raises:
        InputError: `text` is not one complete JSON value.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        fail(
            where, "the text must be complete, valid JSON", f"{error.msg} at line {error.lineno}, column {error.colno}"
        )
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of nested brackets
        fail(where, "the text must be JSON of reasonable size", str(error))


def member(value: Any, key: str, kind: type | tuple[type, ...], where: str) -> Any:
    """`value[key]` of a JSON object, of the given type.

    Raises:
        InputError: `value` is not an object, lacks the key, or holds another type there.
    """
    if not isinstance(value, dict):
        fail(where, "a JSON object must be here", value)
    if key not in value:
        fail(where, f"the key {key!r} must be there", f"the keys {sorted(value)}")
    kinds = kind if isinstance(kind, tuple) else (kind,)
    # In Python a bool is an int; in a data file `true` is no number.
    if not isinstance(value[key], kinds) or (isinstance(value[key], bool) and bool not in kinds):
        names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        fail(where, f"{key!r} must be of type {names}", value[key])
    return value[key]
