"""Readers of formats with a structure of their own: SQuAD, dialogue passages, question spans in CSV, slots, nested answers."""

from __future__ import annotations

import ast
import hashlib
import unicodedata
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xlray.tasks.lines import (
    each_file,
    fail,
    line_of,
    member,
    one_example,
    parsed_json,
    record_of,
    shown,
    text_lines,
    whole_text,
    without_blank_end,
)
from xlray.tasks.readers import json_list, table
from xlray.tasks.shapes import Row, told_apart
from xlray.tasks.structured import span_answers
from xlray.tasks.task import Record, Shape


def squad(paths: tuple[Path, ...], *, unanswerable: bool = False, half: int | None = None) -> Iterator[Record]:
    """SQuAD JSON, versions 1.1 and 2; a question goes by its `id`, or KLUE's `guid`.

    Args:
        paths: files, read in order.
        unanswerable: questions may have no answer, as in version 2.
        half: 0 or 1 keeps only the passages whose hash is even or odd. All questions of a passage fall together.
    """
    return _with_own_ids(each_file(paths, lambda path: _squad(path, unanswerable, half)))


def _with_own_ids(questions: Iterator[Record]) -> Iterator[Record]:
    """The questions, the second of an id named `<id>#2`, and so on: XTREME's script cuts the ids of TyDi QA short.

    The same question of the same passage keeps its id, so that one that comes twice is found.
    """
    seen: dict[str, list[int]] = {}
    for question in questions:
        asked, before = hash((question["context"], question["question"])), seen.setdefault(question["id"], [])
        if asked not in before:
            before.append(asked)
        place = before.index(asked) + 1
        yield question if place == 1 else question | {"id": f"{question['id']}#{place}"}


def _squad(path: Path, unanswerable: bool, half: int | None) -> Iterator[Record]:
    number = 0
    for article in member(parsed_json(whole_text(path), str(path)), "data", list, str(path)):
        for paragraph in member(article, "paragraphs", list, record_of(path, number + 1)):
            context = member(paragraph, "context", str, record_of(path, number + 1))
            kept = half is None or passage_half(context) == half
            for question in member(paragraph, "qas", list, record_of(path, number + 1)):
                number += 1
                record = None
                with one_example():
                    record = _question(question, context, unanswerable, record_of(path, number))
                if kept and record is not None:
                    yield record


def _question(question: Any, context: str, unanswerable: bool, where: str) -> Record:
    key = "guid" if isinstance(question, dict) and "guid" in question else "id"
    name = member(question, key, (str, int), where)
    where = f"{where} ({name})"
    fields = span_answers(question | {"context": context}, where, unanswerable=unanswerable)
    assert fields is not None
    if fields["answers"] and question.get("is_impossible") is True:
        fail(where, "a question marked `is_impossible` must have no answer", fields["answers"][0]["text"])
    return {"id": str(name), **fields}


def passage_half(context: str) -> int:
    """0 or 1: the half that a passage falls into, by a hash of its text."""
    return hashlib.sha256(context.encode("utf-8", "surrogatepass")).digest()[0] % 2


def dialogue_choices(paths: tuple[Path, ...]) -> Iterator[Record]:
    """`[[passage lines], [{question, choice, answer}], id]`: DREAM and C3. The answer is the text of its choice."""
    return each_file(paths, _dialogue_choices)


def _dialogue_choices(path: Path) -> Iterator[Record]:
    for number, passage in enumerate(json_list(path), 1):
        where = record_of(path, number)
        match passage:
            case [list(turns), list(questions), str()] if all(isinstance(turn, str) for turn in turns):
                pass
            case _:
                fail(where, "a passage must be [[lines], [questions], id]", passage)
        for position, question in enumerate(questions, 1):
            record = None
            with one_example():
                record = _dialogue_choice(path, f"{number}.{position}", turns, question)
            if record is not None:
                yield record


def _dialogue_choice(path: Path, number: str, turns: list[str], question: Any) -> Record:
    where = record_of(path, number)
    choices = member(question, "choice", list, where)
    answer = member(question, "answer", str, where)
    if answer not in choices:
        fail(where, f"the answer must be one of the choices {shown(choices)}", answer)
    return {
        "id": f"{path.name}#{number}",
        "context": "\n".join(turns),
        "question": member(question, "question", str, where),
        **told_apart(choices, choices.index(answer)),
    }


def examinations(paths: tuple[Path, ...], *, shape: Shape) -> Iterator[Record]:
    """RACE: a file for each passage, one JSON object of `article`, its `id`, and lists of `questions`, `options`, `answers`.

    Args:
        paths: files, read in order.
        shape: what the Hub has as a row, `article`, `question`, `options` and `answer`, to record.
    """
    return each_file(paths, lambda path: _examination(path, shape))


def _examination(path: Path, shape: Shape) -> Iterator[Record]:
    passage = parsed_json(whole_text(path), str(path))
    name, article = (member(passage, key, str, str(path)) for key in ("id", "article"))
    lists = [member(passage, key, list, str(path)) for key in ("questions", "options", "answers")]
    if len({len(values) for values in lists}) > 1:
        fail(str(path), "there must be as many questions, options and answers", [len(values) for values in lists])
    for number, (question, options, answer) in enumerate(zip(*lists, strict=True), 1):
        fields = None
        with one_example():
            row = {"article": article, "question": question, "options": options, "answer": answer}
            fields = shape(row, record_of(path, number))
        if fields is not None:
            yield {"id": f"{name}#{number}"} | fields


def tagged_spans(paths: tuple[Path, ...]) -> Iterator[Record]:
    """FacQA: a CSV of question, passage and BIO tags, each a Python list in a cell; becomes span QA.

    The context is the passage's tokens joined by spaces. Where several spans are tagged (in about one passage of a
    hundred), each counts as an answer; an answer in two parts is not told apart from two answers.
    """
    return table(paths, shape=_tagged_span, separator=",", quoted=True, header=("question", "passage", "seq_label"))


def _tagged_span(row: Row, where: str) -> Record:
    question, passage, tags = (_string_list(row[name], name, where) for name in ("question", "passage", "seq_label"))
    if len(passage) != len(tags):
        fail(where, f"there must be a tag for each of the {len(passage)} tokens of the passage", f"{len(tags)} tags")
    spans: list[list[int]] = []
    for position, tag in enumerate(tags):
        if tag not in ("B", "I", "O") or (tag == "I" and (position == 0 or tags[position - 1] == "O")):
            fail(where, "tags must be B, I and O, and I must follow B or I", f"{tag!r} at token {position + 1}")
        if tag == "B":
            spans.append([position, position + 1])
        elif tag == "I":
            spans[-1][1] = position + 1
    if not spans:
        fail(where, "an answer must be tagged B", "none")
    answers = [
        {"text": " ".join(passage[first:last]), "start": sum(len(token) + 1 for token in passage[:first])}
        for first, last in spans
    ]
    return {"question": " ".join(question), "context": " ".join(passage), "answers": answers}


def _string_list(cell: str, name: str, where: str) -> list[str]:
    try:
        with warnings.catch_warnings(action="ignore"):  # an unknown escape in a string only warns
            value = ast.literal_eval(cell)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        value = cell
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        fail(where, f"{name!r} must be a Python list of strings", cell)
    return value


def slots(paths: tuple[Path, ...]) -> Iterator[Record]:
    """Multilingual task-oriented dialogue (Schuster et al. 2019): slots as BIO tags over the publisher's tokens.

    Columns: intent, `start:end:slot` spans, text, locale, JSON of the tokens. Oddities of the distribution: offsets are
    in characters in most lines and in UTF-8 bytes in others, and a few spans cut a word. Whichever unit makes the
    tokens' spans spell the tokens, and the slots' spans end at tokens' borders, is taken; a token belongs to the
    first slot that covers any of its characters.
    """
    return each_file(paths, _slots)


def _slots(path: Path) -> Iterator[Record]:
    for number, line in without_blank_end(text_lines(path, examples=True)):
        record = None
        with one_example():
            record = _slots_of(line, line_of(path, number))
        if record is not None:
            yield {"id": f"{path.name}:{number}"} | record


def _slots_of(line: str, where: str) -> Record:
    cells = line.split("\t")
    if len(cells) != 5:
        fail(where, "a line must hold 5 columns (intent, slots, text, locale, tokens)", line)
    _, spans, text, _, tokenization = cells
    borders = _token_borders(tokenization, text, where)
    tags = ["O"] * len(borders)
    for span in spans.split(",") if spans else []:
        _tag_slot(tags, borders, span, text, where)
    return {"tokens": [text[a:b] for a, b in borders], "tags": tags}


def _token_borders(tokenization: str, text: str, where: str) -> list[tuple[int, int]]:
    choices = member(parsed_json(tokenization, where), "tokenizations", list, where)
    if not choices:
        fail(where, "there must be a tokenization", choices)
    words = member(choices[0], "tokens", list, where)
    spans = [
        (member(span, "start", int, where), member(span, "length", int, where))
        for span in member(choices[0], "tokenSpans", list, where)
    ]
    characters = [(start, start + length) for start, length in spans]
    byte_offsets = _character_of_byte(text)
    as_bytes = [(byte_offsets.get(start, -1), byte_offsets.get(start + length, -1)) for start, length in spans]
    for borders in (characters, as_bytes):
        spelled = [_folded(text[a:b]) if 0 <= a < b <= len(text) else None for a, b in borders]
        if words and spelled == [_folded(word) if isinstance(word, str) else "" for word in words]:
            return borders
    fail(where, "the tokens' spans must spell the tokens", tokenization)


def _character_of_byte(text: str) -> dict[int, int]:
    offsets, position = {}, 0
    for index, character in enumerate(text):
        offsets[position] = index
        position += len(character.encode("utf-8", "surrogatepass"))
    return offsets | {position: len(text)}


def _folded(text: str) -> str:
    # The publisher lower-cases and normalizes tokens: `2ª` becomes `2a`.
    return unicodedata.normalize("NFKC", text).lower()


def _tag_slot(tags: list[str], borders: list[tuple[int, int]], span: str, text: str, where: str) -> None:
    first, _, rest = span.partition(":")
    last, _, slot = rest.partition(":")
    if not (first.isdecimal() and last.isdecimal() and slot):
        fail(where, "a slot must be <start>:<end>:<name>", span)
    start, end = int(first), int(last)
    byte_offsets = _character_of_byte(text)
    starts, ends = {a for a, _ in borders}, {b for _, b in borders}
    if (start not in starts or end not in ends) and byte_offsets.get(start) in starts and byte_offsets.get(end) in ends:
        start, end = byte_offsets[start], byte_offsets[end]
    covered = [index for index, (a, b) in enumerate(borders) if a < end and b > start and tags[index] == "O"]
    if not covered:
        fail(where, "a slot must cover a token that no other slot covers", span)
    for index in covered:
        tags[index] = f"{'I' if index - 1 in covered else 'B'}-{slot}"


def nested_answers(paths: tuple[Path, ...], *, shape: Shape) -> Iterator[Record]:
    """MultiRC's JSON lines: a passage with its questions, each with several answers that are right or wrong.

    Args:
        paths: files, read in order.
        shape: one `{paragraph, question, answer, label}` to the fields of a record.
    """
    return each_file(paths, lambda path: _nested_answers(path, shape))


def _nested_answers(path: Path, shape: Shape) -> Iterator[Record]:
    for number, line in text_lines(path, examples=True):
        rows: list[tuple[str, Row]] = []
        with one_example():
            rows = list(_answers(parsed_json(line, line_of(path, number)), line_of(path, number)))
        for place, row in rows:
            fields = None
            with one_example():
                fields = shape(row, f"{line_of(path, number)}, answer {place}")
            if fields is not None:
                yield {"id": f"{path.name}:{number}.{place}"} | fields


def _answers(document: Any, where: str) -> Iterator[tuple[str, Row]]:
    passage = member(document, "passage", dict, where)
    paragraph = member(passage, "text", str, where)
    for i, question in enumerate(member(passage, "questions", list, where), 1):
        for j, answer in enumerate(member(question, "answers", list, where), 1):
            row = {"paragraph": paragraph, "question": member(question, "question", str, where)}
            yield f"{i}.{j}", row | {"answer": member(answer, "text", str, where), "label": answer.get("label")}
