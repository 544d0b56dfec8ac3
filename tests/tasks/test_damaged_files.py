"""What readers of the publishers' formats say of damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from read_files import (
    FORMATS,
    PAIRS,
    TEXTS,
    TOKENS,
    UD_LINE,
    load_text,
    question,
    slot_line,
    squad_text,
)

from xlray.errors import InputError
from xlray.tasks import Files, load_records
from xlray.tasks.lines import Remarks, remarks_go_to
from xlray.tasks.passages import squad
from xlray.tasks.readers import aligned, columns, json_lines, labelled_lines, table, verses
from xlray.tasks.shapes import labelled

WRONG_SQUAD = squad_text(("In Pori.", [question([{"text": "Pori", "answer_start": 2}])]))

DAMAGED: list[tuple[str, str | bytes, str]] = [
    ("columns", "", r"file\.txt: a file must hold at least one record, but this one holds none\."),
    ("columns", "\n\n", "at least one record"),
    ("columns", "a\tO\nb\n", r"line 2: a line must hold 2 column\(s\), but got 'b'"),
    ("columns", "a\tO\tO\n", r"line 1: a line must hold 2 column\(s\)"),
    ("columns", "a\nb\tO\n", r"line 2: a line must hold 1 column\(s\)"),
    ("columns", "a\tO\n\n\tO\n", "line 3: a token must be there"),
    ("columns", "a\tO\n\nb\tQ\n", r"record 'file\.txt:3': the tag of token 1 must be one of O, B-A.*but got 'Q'"),
    ("columns", "a\tO\nb\tI-A\n", r"'file\.txt:1': the tags must be IOB2.*but got 'O before token 2'"),
    ("columns", "a\tB-B\nb\tI-A\n", "the tags must be IOB2"),
    ("columns", b"a\tO\nb\xff\tO\n", "line 2: a line must be valid UTF-8, but got 'byte 0xff at position 1'"),
    ("prefix", "en:a\tO\nb\tO\n", "line 2: a token must follow 'en:', as in the file's first line"),
    ("prefix", "en:a\tO\nen:\tO\n", "line 2: a token must follow"),
    ("conllu", "1\ta\n", "line 1: a line must hold 10 columns"),
    ("conllu", UD_LINE.format(2, "a", "DET"), "line 1: the word with id 1 must come next, but got '2'"),
    ("conllu", UD_LINE.format(1, "a", "DET") + "# c\n", "line 2: a blank line must end the sentence"),
    ("conllu", UD_LINE.format(1, "a", "_"), "the tag of token 1 must be one of ADJ"),
    ("conllu", UD_LINE.format(1, "", "DET"), "line 1: a word must have a form"),
    ("rows", "a\tyes\tmore\n", "line 1: a row must have 2 columns, but got '3: "),
    ("rows", "a\tyes\n\nb\tno\n", "line 2: a row must have 2 columns"),
    ("rows", "a\tyes\nb\tmaybe\n", r"record 'file\.txt:2': 'label' must be one of yes, no, but got 'maybe'"),
    ("rows", " \tyes\n", "'text' must be text that is not blank"),
    ("headed", "yes\ta\tb\n", "line 1: a header with the columns t, y, u must be there, but got"),
    ("headed", "", "line 1: a header with the columns"),
    ("headed", "t\ty\tu\n", "at least one record"),
    ("headed", "t\ty\tu\na\tyes\n", "line 2: a row must have 3 columns"),
    ("rows", "t\ty\na\tyes\n", r"'file\.txt:1': 'label' must be one of yes, no, but got 'y'"),
    ("quoted", 't,y,u\na,yes,b\n"c,no,d\n', "line 3: the row that starts here must be well-formed CSV"),
    ("quoted", 't,y,u\n"a"b,yes,c\n', "line 2: the row that starts here must be well-formed CSV"),
    ("numbers", "a\tb\tmuch\n", "line 1: 'y' must be a number, but got 'much'"),
    ("numbers", "a\tb\t5.5\n", "'label' must be a number from 0.0 to 5.0, but got 5.5"),
    ("numbers", "a\tb\tnan\n", "'label' must be a number from 0.0 to 5.0"),
    ("json lines", '{"t": "a", "y": 1}\n{"t": "b"', "line 2: the text must be complete, valid JSON"),
    ("json lines", "[1]\n", "line 1: a JSON object must be here, but got"),
    ("json lines", '{"t": "a", "y": 1}\n{"t": "b"}\n', "line 2: the key 'y' must be there, but got \"the keys"),
    ("json lines", '{"t": 3, "y": 1}\n', "line 1: 't' must be of type str, but got 3"),
    ("json lines", '{"t": "a", "y": true}\n', "line 1: 'y' must be of type str or int, but got True"),
    ("json lines", '{"t": "a", "y": 2}\n', "line 1: the label must be one of 1, 0, but got '2'"),
    ("json lines", '{"t": "\\ud800", "y": 1}\n', "'text' must be valid Unicode"),
    ("json lines", '{"t": "a", "y": 1' + "0" * 5000 + "}\n", "line 1: the text must be JSON of reasonable size"),
    ("json array", '{"t": "a"}', "the file must be a JSON array"),
    ("json array", "[" * 100_000, "must be"),
    ("json array", '[{"t": "a", "y": "yes"}, 3]', "record 2: a JSON object must be here"),
    ("listed choices", '{"q": "a", "c": ["x", "y"], "y": 3}\n', "line 1: 'y' must be the number of one of 2"),
    ("listed choices", '{"q": "a", "c": ["x", "y"], "y": "x"}\n', "line 1: 'y' must be a whole number"),
    ("listed choices", '{"q": "a", "c": ["x"], "y": 1}\n', "'choices' must be a list of two or more texts"),
    ("listed choices", '{"q": "a", "c": ["x", null], "y": 1}\n', "'choices' must be a list of two or more texts"),
    ("copa", '{"premise": "p", "choice1": "x", "choice2": "y", "question": "why", "label": 0}\n', "of cause, effect"),
    ("words", "Y:a is\nQ:c it\n", "line 2: the label must be one of Y:a, N:b, but got 'Q:c'"),
    ("words", "Y:a is\nY:a\n", "line 2: a line must hold a label, a space and a text"),
    ("squad", WRONG_SQUAD, r"file\.txt: task .*, record 'q1': the answer 'Pori' must stand at character 2, but got "),
    ("squad", squad_text(("Pori", [question([])])), r"record 1 \(q1\): a question must have an answer"),
    ("squad", squad_text(("Pori", [question([{"text": "P"}])])), "the key 'answer_start' must be there"),
    ("squad", squad_text(("Pori", [question([{"text": "i", "answer_start": -1}])])), "must be {text, start}, but got"),
    ("squad", squad_text(("P", [question([{"text": "P", "answer_start": 0}])] * 2)), "'q1': ids must be unique"),
    ("squad", '{"data": [', "the text must be complete, valid JSON"),
    ("squad", '{"data": []}', "at least one record"),
    ("squad", '{"data": [{"paragraphs": [3]}]}', "record 1: a JSON object must be here"),
    ("squad 2", squad_text(("P", [question([{"text": "P", "answer_start": 0}], is_impossible=True)])), "is_impossible"),
    ("dialogue", "[[[], []]]", r"record 1: a passage must be \[\[lines\], \[questions\], id\]"),
    ("dialogue", '[[["a"], [{"question": "q", "choice": ["x", "y"], "answer": "z"}], "1"]]', "record 1.1: the answer"),
    ("tagged spans", "question,passage\n", "line 1: a header with the columns question, passage, seq_label"),
    ("tagged spans", "question,passage,seq_label\nQ,['a'],['B']\n", "line 2: 'question' must be a Python list"),
    ("tagged spans", "question,passage,seq_label\n['Q'],['a'],\"['B', 'O']\"\n", "line 2: there must be a tag for"),
    ("tagged spans", "question,passage,seq_label\n['Q'],['a'],['I']\n", "line 2: tags must be B, I and O"),
    ("tagged spans", "question,passage,seq_label\n['Q'],['a'],['X']\n", "line 2: tags must be B, I and O"),
    ("tagged spans", "question,passage,seq_label\n['Q'],['a'],['O']\n", "line 2: an answer must be tagged B"),
    ("slots", "a\tb\n", "line 1: a line must hold 5 columns"),
    ("slots", slot_line("0:6:datetime", "otra 2a", TOKENS), "line 1: the tokens' spans must spell the tokens"),
    ("slots", slot_line("0:6", "mañana 2a", TOKENS), "line 1: a slot must be <start>:<end>:<name>"),
    ("slots", slot_line("40:46:datetime", "mañana 2a", TOKENS), "line 1: a slot must cover a token"),
    ("slots", slot_line("0:6:dinner", "mañana 2a", TOKENS), r"'file\.txt:1': the tag of token 1 must be one of O, "),
    ("slots", slot_line("", "a", {"tokens": [], "tokenSpans": []}), "line 1: the tokens' spans must spell the tokens"),
]


@pytest.mark.parametrize(("name", "text", "message"), DAMAGED)
def test_damage_is_one_line_that_names_the_place(name: str, text: str | bytes, message: str, tmp_path: Path) -> None:
    task, read, _ = FORMATS[name]
    with pytest.raises(InputError, match=message) as caught:
        load_text(tmp_path, task, read, text)
    assert "\n" not in str(caught.value)
    assert "file.txt" in str(caught.value) or "data: task" in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the file must be readable, but got"):
        list(columns((tmp_path,)))
    with pytest.raises(InputError, match="the file must be readable, but got 'No such file or directory'"):
        list(columns((tmp_path / "missing",)))


def damage(data: bytes) -> st.SearchStrategy[bytes]:
    """Truncation, flipped bytes, and lines that are deleted, doubled or swapped."""
    lines = data.split(b"\n")
    place = st.integers(0, len(data) - 1)
    line = st.integers(0, len(lines) - 1)
    glue = b"\n".join

    def swapped(i: int, j: int) -> bytes:
        changed = list(lines)
        changed[i], changed[j] = changed[j], changed[i]
        return glue(changed)

    return st.one_of(
        place.map(lambda end: data[:end]),
        st.builds(lambda i, byte: data[:i] + bytes([byte]) + data[i + 1 :], place, st.integers(0, 255)),
        st.builds(lambda i, j: data[: min(i, j)] + data[max(i, j) :], place, place),
        st.builds(lambda i, piece: data[:i] + piece + data[i:], place, st.binary(max_size=4)),
        line.map(lambda i: glue(lines[:i] + lines[i + 1 :])),
        line.map(lambda i: glue(lines[: i + 1] + lines[i:])),
        st.builds(swapped, line, line),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("damage")


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(data=st.data())
def test_any_damage_gives_records_or_an_input_error(name: str, data: st.DataObject, folder: Path) -> None:
    task, read, text = FORMATS[name]
    damaged = data.draw(damage(data.draw(damage(text.encode())) or b"\n"))
    try:
        records = load_text(folder, task, read, damaged)  # checks every record
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert records


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(one=damage(b"One.\nTwo.\nThree.\n"), two=damage(b"40.1.1\tYksi.\n40.1.2\tKaksi.\n"))
def test_any_damage_of_pairs_and_verses(one: bytes, two: bytes, folder: Path) -> None:
    for read, task, pair in ((aligned, PAIRS, (one, two)), (verses, TEXTS, (two, one)), (verses, TEXTS, (two, two))):
        for name, data in zip(("en.tsv", "fi.tsv"), pair, strict=True):
            (folder / name).write_bytes(data)
        files = Files(".", {"all/fi": ("en.tsv", "fi.tsv")}, read)
        try:
            assert load_records(replace(task, source=files), "all/fi", folder)
        except InputError as error:
            assert "\n" not in str(error)


BAD = {
    "json_lines": ('{"s": "a", "l": 1}\n{"s": "b"\n{"s": 3, "l": 1}\n{"s": "c", "l": 0}\n', ["a", "c"], 2),
    "table": ("a\t1\nb\nc\t0\textra\nd\t0\n", ["a", "d"], 2),
    "labelled_lines": ("1 a\nb\n7 c\n0 d\n", ["a", "d"], 2),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_examples_can_be_left_out(tmp_path: Path, name: str) -> None:
    text, kept, number = BAD[name]
    (tmp_path / "f").write_text(text)
    shape = partial(labelled, text="s", label="l", names={"0": "no", "1": "yes"})
    reader = {
        "json_lines": partial(json_lines, shape=shape),
        "table": partial(table, shape=shape, names=("s", "l")),
        "labelled_lines": partial(labelled_lines, names={"0": "no", "1": "yes"}),
    }[name]
    with pytest.raises(InputError):
        list(reader((tmp_path / "f",)))
    remarks = Remarks(skip_bad=True)
    with remarks_go_to(remarks):
        assert [record["text"] for record in reader((tmp_path / "f",))] == kept
    assert len(remarks.bad) == number and all(", line " in message for message in remarks.bad)
    with pytest.raises(InputError):
        list(reader((tmp_path / "f",)))


def test_a_bad_line_costs_its_whole_sentence_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("a\tX\nb\tY\n\nc\tX\nd\n\ne\tY\n")
    remarks = Remarks(skip_bad=True)
    with remarks_go_to(remarks):
        found = [record["tokens"] for record in columns((tmp_path / "f",))]
    assert found == [["a", "b"], ["e"]] and len(remarks.bad) == 1 and "line 5" in remarks.bad[0]


def test_a_truncated_document_is_an_error_even_where_bad_examples_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "f").write_text('{"data": [{"paragraphs": ')
    with remarks_go_to(Remarks(skip_bad=True)), pytest.raises(InputError, match="complete, valid JSON"):
        list(squad((tmp_path / "f",)))
