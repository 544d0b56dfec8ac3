r"""Readers of the publishers' text formats: columns, CoNLL-U, tables, labelled lines, aligned files, verses.

A reader is a function from paths to an iterator of records; its other arguments are set with `functools.partial`. Ids are
`<file>:<line>` (or `<file>#<record>`), so that a message about a record says where it is.
Whatever cannot be read raises `InputError` with one line that names file and line or record.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.tasks.lines import (
    at_least_one,
    each_file,
    fail,
    line_of,
    one_example,
    parsed_json,
    record_of,
    text_lines,
    whole_text,
    without_blank_end,
)
from xlray.tasks.sentences import DOCUMENT, check_languages, with_text
from xlray.tasks.shapes import named
from xlray.tasks.task import Reader, Record, Shape

CONLLU_COLUMNS = 10
IOB2_LETTERS = {"B": "B", "I": "I", "M": "I", "E": "I", "L": "I", "S": "B", "U": "B", "W": "B"}


def between_sentences(line: str, comment: str = DOCUMENT) -> bool:
    """Whether a line is blank (in WNUT's files it may hold a tab), or begins with DOCUMENT or `comment`."""
    return not line.strip(" \t") or line.startswith((DOCUMENT, comment))


def columns(
    paths: tuple[Path, ...],
    *,
    separator: str | None = "\t",
    num_columns: int = 2,
    token: int = 0,
    tag: int = -1,
    languages: tuple[str, ...] = (),
    between: Callable[[str], bool] = between_sentences,
) -> Iterator[Record]:
    """Sentences of one token per line in columns, with blank lines between sentences (XTREME, CoNLL).

    The first line of a file decides two things for all its lines. Where it holds one column alone, the file is taken as
    untagged (`tags` is None; hidden test sets). Where its token starts with a language code and a colon (`en:token`,
    PAN-X as first distributed), so must every token, and the prefix is dropped. A language that is not in `languages`
    before all tokens is an error. Lines that begin with `-DOCSTART-` stand between sentences, and sentences without text
    are left out, as by `conllu`.

    Args:
        paths: files, read in order.
        separator: between columns; None is any white space.
        num_columns: exact number of columns.
        token: column of the token.
        tag: column of the tag.
        languages: codes that may prefix the tokens.
        between: whether a line stands between sentences and holds no token.
    """

    def read(path: Path) -> Iterator[Record]:
        found = list(_columns(path, separator, num_columns, (token, tag), languages, between))
        check_languages(path, found)
        return with_text(path, found)

    return each_file(paths, read)


def _columns(
    path: Path,
    separator: str | None,
    num_columns: int,
    chosen: tuple[int, int],
    languages: tuple[str, ...],
    between: Callable[[str], bool],
) -> Iterator[Record]:
    (token, tag), wanted, prefix = chosen, 0, ""
    for lines in _blocks(path, between):
        if not wanted:
            cells = lines[0][1].split(separator)
            wanted = 1 if len(cells) == 1 else num_columns
            prefix = next((f"{code}:" for code in languages if cells[0].startswith(f"{code}:")), "")
        record = None
        with one_example():
            rows = [_cells(path, number, line, separator, wanted) for number, line in lines]
            tokens = [
                _token(path, number, line, cells[token if wanted > 1 else 0], prefix)
                for (number, line), cells in zip(lines, rows, strict=True)
            ]
            record = _sentence(path, lines[0][0], tokens, [cells[tag] for cells in rows] if wanted > 1 else [])
        if record is not None:
            yield record


def _blocks(path: Path, ends: Callable[[str], bool]) -> Iterator[list[tuple[int, str]]]:
    """The numbered lines of each sentence; lines for which `ends` holds stand between sentences."""
    lines: list[tuple[int, str]] = []
    for number, line in text_lines(path):
        if not ends(line):
            lines.append((number, line))
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def _cells(path: Path, number: int, line: str, separator: str | None, wanted: int) -> list[str]:
    cells = line.split(separator)
    if len(cells) != wanted:
        fail(line_of(path, number), f"a line must hold {wanted} column(s)", line)
    return cells


def _token(path: Path, number: int, line: str, word: str, prefix: str) -> str:
    if not word.startswith(prefix) or word == prefix:
        law = f"a token must follow {prefix!r}, as in the file's first line" if prefix else "a token must be there"
        fail(line_of(path, number), law, line)
    return word.removeprefix(prefix)


def _sentence(path: Path, start: int, tokens: list[str], tags: list[str]) -> Record:
    return {"id": f"{path.name}:{start}", "tokens": tokens, "tags": tags or None}


def iob2(paths: tuple[Path, ...], *, read: Reader) -> Iterator[Record]:
    """What another reader reads, with tags of BILOU, BIOES (IOBES) and BMES (BMEWO) rewritten as those of IOB2.

    Args:
        paths: for `read`.
        read: such as `columns`; tags that are not of the form `L-X` stay as they are.
    """
    for record in read(paths):
        pairs = [(tag, *tag.partition("-")) for tag in record["tags"] or ()]
        tags = [f"{IOB2_LETTERS[a]}-{name}" if dash and a in IOB2_LETTERS else tag for tag, a, dash, name in pairs]
        yield {**record, "tags": tags or None}


def conllu(paths: tuple[Path, ...]) -> Iterator[Record]:
    """CoNLL-U: the words (ids 1, 2, 3, ...) and their UPOS tags.

    Lines of multi-word tokens (`3-4`) and empty nodes (`8.1`) are no words and are skipped, as in XTREME's udpos.
    Sentences whose forms are all `_` (treebanks that are published without their text) are left out, as there.
    """
    return each_file(paths, lambda path: with_text(path, _conllu(path)))


def _conllu(path: Path) -> Iterator[Record]:
    for lines in _blocks(path, lambda line: not line):
        record = None
        with one_example():
            record = _conllu_sentence(path, lines)
        if record is not None:
            yield record


def _conllu_sentence(path: Path, lines: list[tuple[int, str]]) -> Record | None:
    tokens: list[str] = []
    tags: list[str] = []
    start = 0
    for number, line in lines:
        # A comment stands before the words of its sentence; a word `#` comes after its id.
        if line.startswith("#"):
            if tokens:
                fail(line_of(path, number), "a blank line must end the sentence before a comment", line)
            continue
        cells = line.split("\t")
        if len(cells) != CONLLU_COLUMNS:
            fail(line_of(path, number), f"a line must hold {CONLLU_COLUMNS} columns", line)
        if "-" in cells[0] or "." in cells[0]:
            continue
        if cells[0] != str(len(tokens) + 1):
            fail(line_of(path, number), f"the word with id {len(tokens) + 1} must come next", cells[0])
        if not cells[1]:
            fail(line_of(path, number), "a word must have a form", line)
        start = start or number
        tokens.append(cells[1])
        tags.append(cells[3])
    return _sentence(path, start, tokens, tags) if tokens else None


def table(
    paths: tuple[Path, ...],
    *,
    shape: Shape,
    separator: str = "\t",
    quoted: bool = False,
    header: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    num_columns: tuple[int, ...] = (),
) -> Iterator[Record]:
    """TSV or CSV with or without a header line.

    Args:
        paths: files, read in order; each has the header.
        shape: row to record.
        separator: between cells.
        quoted: cells may be quoted as in CSV and then hold separators and line ends. Otherwise quotes are text.
        header: names that the header line must hold, in any order and among others. Empty: there is no header.
        names: names of the columns of a table without header.
        num_columns: numbers of columns that a row may have; empty allows as many as there are names alone. Cells beyond
            the names are dropped, and a shorter row lacks the last names.
    """

    def rows_of(path: Path) -> Iterator[Record]:
        rows = _quoted_rows(path, separator) if quoted else _plain_rows(path, separator)
        keys = names
        if header:
            number, keys = next(rows, (1, ()))
            if not set(header) <= set(keys) or len(set(keys)) < len(keys):
                fail(line_of(path, number), f"a header with the columns {', '.join(header)} must be there", list(keys))
        allowed = num_columns or (len(keys),)
        for number, cells in rows:
            where = line_of(path, number)
            fields = None
            with one_example():
                if len(cells) not in allowed:
                    law = f"a row must have {' or '.join(map(str, allowed))} columns"
                    fail(where, law, f"{len(cells)}: {separator.join(cells)}")
                fields = shape(dict(zip(keys, cells, strict=False)), where)
            if fields is not None:
                yield {"id": f"{path.name}:{number}"} | fields

    return each_file(paths, rows_of)


def _plain_rows(path: Path, separator: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    for number, line in without_blank_end(text_lines(path, examples=True)):
        yield number, tuple(line.split(separator))


def _quoted_rows(path: Path, separator: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    # `strict` makes a quote that never closes an error; without it a damaged file would end in one giant cell.
    lines = (line + "\n" for _, line in without_blank_end(text_lines(path)))
    csv.field_size_limit(sys.maxsize)  # texts of more than its 128 KiB are no damage
    rows = csv.reader(lines, delimiter=separator, strict=True)
    number = 1
    try:
        for cells in rows:
            yield number, tuple(cells)
            number = rows.line_num + 1
    except csv.Error as error:
        fail(line_of(path, number), "the row that starts here must be well-formed CSV", str(error))


def json_lines(paths: tuple[Path, ...], *, shape: Shape) -> Iterator[Record]:
    """One JSON object per line."""
    return each_file(paths, lambda path: _json_lines(path, shape))


def _json_lines(path: Path, shape: Shape) -> Iterator[Record]:
    for number, line in without_blank_end(text_lines(path, examples=True)):
        where = line_of(path, number)
        fields = None
        with one_example():
            fields = shape(parsed_json(line, where), where)
        if fields is not None:
            yield {"id": f"{path.name}:{number}"} | fields


def json_array(paths: tuple[Path, ...], *, shape: Shape) -> Iterator[Record]:
    """One JSON array of objects."""
    return each_file(paths, lambda path: _json_array(path, shape))


def _json_array(path: Path, shape: Shape) -> Iterator[Record]:
    for number, row in enumerate(json_list(path), 1):
        fields = None
        with one_example():
            fields = shape(row, record_of(path, number))
        if fields is not None:
            yield {"id": f"{path.name}#{number}"} | fields


def json_list(path: Path) -> list[Any]:
    """The JSON array that the file is.

    Raises:
        InputError: it is something else.
    """
    rows = parsed_json(whole_text(path), str(path))
    if not isinstance(rows, list):
        fail(str(path), "the file must be a JSON array", rows)
    return rows


def labelled_lines(
    paths: tuple[Path, ...], *, names: Mapping[str, str], encoding: str = "utf-8", header: str | None = None
) -> Iterator[Record]:
    """Lines of `label SPACE text` (TREC question classes, 8TAGS).

    Args:
        paths: files, read in order.
        names: the publisher's labels to ours.
        encoding: of the file; TREC's training file is Latin-1.
        header: first word of a header line that some distributions have; such a first line is skipped.
    """
    return each_file(paths, lambda path: _labelled_lines(path, names, encoding, header))


def _labelled_lines(path: Path, names: Mapping[str, str], encoding: str, header: str | None) -> Iterator[Record]:
    for number, line in without_blank_end(text_lines(path, encoding, examples=True)):
        label, _, text = line.partition(" ")
        if number == 1 and label.split("\t")[0] == header:
            continue
        where, known = line_of(path, number), None
        with one_example():
            if not text.strip():
                fail(where, "a line must hold a label, a space and a text", line)
            known = named(label, names, where)
        if known is not None:
            yield {"id": f"{path.name}:{number}", "text": text, "text_pair": None, "label": known}


def aligned(paths: tuple[Path, ...]) -> Iterator[Record]:
    """Pairs from two files whose lines translate each other: `text` from the first, `text_pair` from the second."""
    if len(paths) != 2:
        raise InputError(f"aligned files: two files must be given, but got {[path.name for path in paths]}.")
    yield from at_least_one(paths[0], _aligned(*paths))


def _aligned(first: Path, second: Path) -> Iterator[Record]:
    translations = without_blank_end(text_lines(second))
    number = 0
    for number, text in without_blank_end(text_lines(first)):
        _, translation = next(translations, (0, None))
        if translation is None:
            fail(str(second), "aligned files must have as many lines", f"{number - 1}; {first.name} has more")
        for path, line in ((first, text), (second, translation)):
            if not line.strip():
                fail(line_of(path, number), "a line must hold a sentence", line)
        yield {"id": f"{first.stem}:{number}", "text": text, "text_pair": translation}
    if next(translations, None) is not None:
        fail(str(second), "aligned files must have as many lines", f"more than the {number} of {first.name}")


def verses(paths: tuple[Path, ...], *, pivots: tuple[str, ...] = ("en", "fi")) -> Iterator[Record]:
    """Verse-aligned text, `<book>.<chapter>.<verse>` TAB text, in one file per language (`en.tsv`).

    First every verse of every language by itself; then, verse by verse, translation pairs: each language that is no
    pivot with one of the pivots, and the first two pivots with each other. A hash of verse and language chooses the
    pivot and which side comes first, so that the choice stays when languages are added or taken away.
    """
    texts: dict[str, dict[str, str]] = {}
    for path in paths:
        texts[path.stem] = {}
        yield from at_least_one(path, _verses(path, texts[path.stem]))
    known = [language for language in pivots if language in texts]
    if not known:
        return
    for language, own in texts.items():
        if language == known[0]:
            continue
        for verse, text in own.items():
            bits = hashlib.sha256(f"{verse} {language}".encode()).digest()
            pivot = known[0] if language in known else known[bits[0] % len(known)]
            if verse in texts[pivot]:
                pair = (text, texts[pivot][verse]) if bits[1] % 2 else (texts[pivot][verse], text)
                yield {"id": f"{verse} {pivot}-{language}", "text": pair[0], "text_pair": pair[1]}


def _verses(path: Path, texts: dict[str, str]) -> Iterator[Record]:
    for number, line in without_blank_end(text_lines(path)):
        where = line_of(path, number)
        verse, tab, text = line.partition("\t")
        parts = verse.split(".")
        if not tab or not text.strip() or len(parts) != 3 or not all(part.isdecimal() for part in parts):
            fail(where, "a line must be <book>.<chapter>.<verse>, a tab and the text", line)
        if verse in texts:
            fail(where, "a verse must come once", verse)
        texts[verse] = text
        yield {"id": f"{verse} {path.stem}", "text": text, "text_pair": None}
