"""Readers of the publishers' formats, on small files made here: what they yield, and what they say of damage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xlray.errors import InputError
from xlray.tasks import TASKS, Files, Record, Task, load_records
from xlray.tasks.lines import Remarks, remarks_go_to
from xlray.tasks.paired import paired_lines
from xlray.tasks.passages import dialogue_choices, passage_half, slots, squad, tagged_spans
from xlray.tasks.readers import aligned, columns, conllu, json_array, json_lines, labelled_lines, table, verses
from xlray.tasks.shapes import Number, copa, labelled, multiple_choice, scored

UD_LINE = "{0}\t{1}\t{1}\t{2}\t_\t_\t0\troot\t_\t_\n"
TOKENS = {"tokens": ["mañana", "2a"], "tokenSpans": [{"start": 0, "length": 6}, {"start": 7, "length": 2}]}
BYTES = {"tokens": ["mañana", "2a"], "tokenSpans": [{"start": 0, "length": 7}, {"start": 8, "length": 3}]}


def question(answers: list[dict[str, Any]], name: str = "q1", **more: Any) -> dict[str, Any]:
    return {"id": name, "question": "Where?", "answers": answers, **more}


def squad_text(*paragraphs: tuple[str, list[dict[str, Any]]]) -> str:
    return json.dumps({"data": [{"title": "t", "paragraphs": [{"context": c, "qas": q} for c, q in paragraphs]}]})


def slot_line(spans: str, text: str, tokens: dict[str, Any]) -> str:
    return f"intent\t{spans}\t{text}\tes_XX\t{json.dumps({'tokenizations': [tokens]})}\n"


TAGS = Task("tags", "tagging", ("en",), Files("x", {}, columns), labels=("O", "B-A", "I-A", "B-B", "I-B"))
UNTAGGED = replace(TAGS, name="untagged")
UPOS = replace(TASKS["udpos"], name="upos")
CLASSES = Task("classes", "classification", ("en",), Files("x", {}, columns), labels=("yes", "no"))
SCORES = Task("scores", "regression", ("en",), Files("x", {}, columns), scale=(0.0, 5.0))
CHOICES = Task("choices", "multiple_choice", ("en",), Files("x", {}, columns))
SPANS = Task("spans", "span_qa", ("en",), Files("x", {}, columns))
PAIRS = Task("pairs", "retrieval", ("en", "fi"), Files("x", {}, columns), role="target")
TEXTS = Task("texts", "mlm", ("en",), Files("x", {}, columns), role="text")
SLOTS = replace(TASKS["mtl_nlu_es"], name="slots", languages=("en",), source=Files("x", {}, columns))

label = partial(labelled, text="t", label="y")
rows = partial(table, shape=label, names=("t", "y"))
headed = partial(table, shape=partial(labelled, text="t", text_pair="u", label="y"), header=("t", "y", "u"))
quoted = partial(headed, separator=",", quoted=True)
numbers = partial(table, shape=partial(scored, text="t", text_pair="u", label="y"), names=("t", "u", "y"))
renamed = partial(json_lines, shape=partial(label, names={"1": "yes", "0": "no"}, left_out=("-",)))
listed = partial(multiple_choice, question="q", choices="c", label=Number("y", first=1))
keyed = partial(multiple_choice, question="q", choices=("a", "b"), label=Number("y"))
words = partial(labelled_lines, names={"Y:a": "yes", "N:b": "no"}, header="label")

FORMATS: dict[str, tuple[Task, Any, str]] = {
    "columns": (TAGS, columns, "Ab\tB-A\nc d\tI-A\n\n#\tO\ne\tB-B\n"),
    "spaces": (TAGS, partial(columns, separator=" ", num_columns=3, tag=2), "a X B-A\nb Y O\n\nc Z O\n"),
    "prefix": (TAGS, partial(columns, languages=("fi", "en")), "en:a\tB-A\nen:b:c\tI-A\n\nen:d\tO\n"),
    "untagged": (UNTAGGED, columns, "a\nb\n\nc\n"),
    "conllu": (
        UPOS,
        conllu,
        "# text = al\n1-2\tal\t_\t_\t_\t_\t_\t_\t_\t_\n"
        + UD_LINE.format(1, "a", "ADP")
        + UD_LINE.format(2, "#", "DET")
        + "2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n\n"
        + UD_LINE.format(1, "b c", "NOUN")
        + "\n",
    ),
    "rows": (CLASSES, rows, 'a "b\tyes\nc\tno\n'),
    "headed": (CLASSES, headed, "y\tt\tu\tmore\nyes\ta\tb\t1\nno\tc\td\t2\n"),
    "quoted": (CLASSES, quoted, 't,y,u\n"a, ""b""\nc",yes,d\ne,no,f\n'),
    "numbers": (SCORES, numbers, "a\tb\t5.000\nc\td\t0\n"),
    "json lines": (CLASSES, renamed, '{"t": "a", "y": "1"}\n{"t": "b", "y": "-"}\n{"t": "c", "y": 0}\n'),
    "json array": (
        CLASSES,
        partial(json_array, shape=label),
        '[{"t": "a", "y": "yes"}, {"t": "b\\ud83d\\ude00", "y": "no"}]',
    ),
    "listed choices": (CHOICES, partial(json_lines, shape=listed), '{"q": "a", "c": ["", "y"], "y": "۲"}\n'),
    "keyed choices": (CHOICES, partial(json_lines, shape=keyed), '{"q": "a", "a": "x", "b": "y", "y": 1}\n'),
    "copa": (
        CHOICES,
        partial(json_lines, shape=copa),
        '{"premise": "p", "choice1": "x", "choice2": "y", "question": "cause", "label": 0}\n',
    ),
    "words": (CLASSES, words, "Y:a is it ?\nN:b it is\n"),
    "squad": (SPANS, squad, squad_text(("In Pori é.", [question([{"text": "Pori", "answer_start": 3}])]))),
    "squad 2": (
        SPANS,
        partial(squad, unanswerable=True),
        squad_text(("In", [question([], is_impossible=True), question([{"text": "In", "answer_start": 0}], "q2")])),
    ),
    "dialogue": (
        CHOICES,
        dialogue_choices,
        json.dumps([[["M: a", "W: b"], [{"question": "q?", "choice": ["x", "y", "z"], "answer": "y"}], "1-2"]]),
    ),
    "tagged spans": (
        SPANS,
        tagged_spans,
        "question,passage,seq_label\n\"['Q', '?']\",\"['a', 'bc', 'd', 'e']\",\"['O', 'B', 'I', 'B']\"\n",
    ),
    "slots": (
        SLOTS,
        slots,
        slot_line("0:6:datetime", "Mañana 2ª ", TOKENS)
        + slot_line("8:11:location", "Mañana 2ª", BYTES)
        + slot_line("1:8:datetime", "mañana 2a", TOKENS)
        + slot_line("", "mañana 2a", TOKENS),
    ),
}


def load(task: Task, read: Any, path: Path) -> list[Record]:
    split = "test/en" if task is UNTAGGED else "train/en"
    files = Files(path.parent.name, {split: (path.name,)}, read)
    return load_records(replace(task, source=files), split, path.parent.parent)


def load_text(folder: Path, task: Task, read: Any, text: str | bytes) -> list[Record]:
    path = folder / "data" / "file.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(task, read, path)


@pytest.mark.parametrize("name", FORMATS)
def test_reader_yields_valid_records(name: str, tmp_path: Path) -> None:
    task, read, text = FORMATS[name]
    records = load_text(tmp_path, task, read, text)
    # Line ends of Windows and a byte order mark change nothing but the text inside quoted cells.
    if "\r" not in text and name != "quoted":
        assert load_text(tmp_path, task, read, "\ufeff" + text.replace("\n", "\r\n")) == records


def first(folder: Path, name: str) -> list[Record]:
    return load_text(folder, *FORMATS[name])


def test_columns(tmp_path: Path) -> None:
    assert first(tmp_path, "columns") == [
        {"id": "file.txt:1", "tokens": ["Ab", "c d"], "tags": ["B-A", "I-A"]},
        {"id": "file.txt:4", "tokens": ["#", "e"], "tags": ["O", "B-B"]},
    ]
    assert first(tmp_path, "spaces")[0]["tags"] == ["B-A", "O"]
    assert [record["tokens"] for record in first(tmp_path, "prefix")] == [["a", "b:c"], ["d"]]
    assert [record["tags"] for record in first(tmp_path, "untagged")] == [None, None]
    kept = load_text(tmp_path, TAGS, partial(columns, languages=("en",)), "a\tO\nen:b\tO\n")
    assert kept[0]["tokens"] == ["a", "en:b"]
    # Characters that `str.splitlines` and `str.strip` take for white space are tokens like any other.
    assert load_text(tmp_path, TAGS, columns, "a\u2028b\tO\n\u00a0\tO\n\x85\tO\n")[0]["tokens"] == [
        "a\u2028b",
        "\u00a0",
        "\x85",
    ]


def test_conllu_keeps_words_only(tmp_path: Path) -> None:
    records = first(tmp_path, "conllu")
    assert [(record["tokens"], record["tags"]) for record in records] == [
        (["a", "#"], ["ADP", "DET"]),
        (["b c"], ["NOUN"]),
    ]


def test_tables(tmp_path: Path) -> None:
    assert first(tmp_path, "rows")[0] == {"id": "file.txt:1", "text": 'a "b', "text_pair": None, "label": "yes"}
    assert first(tmp_path, "headed")[1] == {"id": "file.txt:3", "text": "c", "text_pair": "d", "label": "no"}
    assert [(r["id"], r["text"]) for r in first(tmp_path, "quoted")] == [
        ("file.txt:2", 'a, "b"\nc'),
        ("file.txt:4", "e"),
    ]
    assert [record["label"] for record in first(tmp_path, "numbers")] == [5.0, 0.0]


def test_json(tmp_path: Path) -> None:
    assert [(r["id"], r["label"]) for r in first(tmp_path, "json lines")] == [
        ("file.txt:1", "yes"),
        ("file.txt:3", "no"),
    ]
    assert [(r["id"], r["text"]) for r in first(tmp_path, "json array")] == [("file.txt#1", "a"), ("file.txt#2", "b😀")]
    assert first(tmp_path, "listed choices")[0]["label"] == 1
    assert first(tmp_path, "copa")[0]["question"] == "What was the cause of this?"


def test_labelled_lines(tmp_path: Path) -> None:
    assert [(r["text"], r["label"]) for r in first(tmp_path, "words")] == [("is it ?", "yes"), ("it is", "no")]
    with_header = load_text(tmp_path, CLASSES, words, "label sentence\nY:a b\n")
    assert [record["id"] for record in with_header] == ["file.txt:2"]
    latin = load_text(tmp_path, CLASSES, partial(words, encoding="latin-1"), "Y:a Citroën\n".encode("latin-1"))
    assert latin[0]["text"] == "Citroën"


def test_squad(tmp_path: Path) -> None:
    assert first(tmp_path, "squad")[0] == {
        "id": "q1",
        "question": "Where?",
        "context": "In Pori é.",
        "answers": [{"text": "Pori", "start": 3}],
    }
    assert [record["answers"] for record in first(tmp_path, "squad 2")] == [[], [{"text": "In", "start": 0}]]


def test_squad_halves_divide_passages(tmp_path: Path) -> None:
    answer = [{"text": "P", "answer_start": 0}]
    text = squad_text(*((f"P {i}", [question(answer, f"{i}a"), question(answer, f"{i}b")]) for i in range(20)))
    halves = [load_text(tmp_path, SPANS, partial(squad, half=half), text) for half in (0, 1)]
    assert [len({record["context"] for record in half}) * 2 for half in halves] == [len(half) for half in halves]
    assert sorted(r["id"] for half in halves for r in half) == sorted(
        r["id"] for r in load_text(tmp_path, SPANS, squad, text)
    )
    # Fixed for ever: results of both halves are stored.
    assert [passage_half(context) for context in ("Pori", "Turku", "Vaasa", "Oulu")] == [0, 0, 1, 1]


def test_dialogue_spans_and_slots(tmp_path: Path) -> None:
    assert first(tmp_path, "dialogue")[0] == {
        "id": "file.txt#1.1",
        "context": "M: a\nW: b",
        "question": "q?",
        "choices": ["x", "y", "z"],
        "label": 1,
    }
    spans = first(tmp_path, "tagged spans")[0]
    assert spans["context"] == "a bc d e"
    assert spans["answers"] == [{"text": "bc d", "start": 2}, {"text": "e", "start": 7}]
    slotted = first(tmp_path, "slots")
    assert slotted[0]["tokens"] == ["Mañana", "2ª"]
    assert [record["tags"] for record in slotted] == [
        ["B-datetime", "O"],
        ["O", "B-location"],
        ["B-datetime", "I-datetime"],
        ["O", "O"],
    ]


def read_pair(folder: Path, one: str, two: str) -> list[Record]:
    folder = folder / "data"
    folder.mkdir(exist_ok=True)
    (folder / "a.eng").write_text(one)
    (folder / "a.fin").write_text(two)
    files = Files("data", {"all/fi": ("a.eng", "a.fin")}, aligned)
    return load_records(replace(PAIRS, source=files), "all/fi", folder.parent)


def test_aligned(tmp_path: Path) -> None:
    assert read_pair(tmp_path, "One.\nTwo.\n", "Yksi.\nKaksi.")[1] == {
        "id": "a:2",
        "text": "Two.",
        "text_pair": "Kaksi.",
    }
    with pytest.raises(
        InputError, match=r"a\.fin: aligned files must have as many lines, but got '1; a\.eng has more'"
    ):
        read_pair(tmp_path, "One.\nTwo.\n", "Yksi.\n")
    with pytest.raises(InputError, match=r"a\.fin: aligned files must have as many lines"):
        read_pair(tmp_path, "One.\n", "Yksi.\nKaksi.\n")
    with pytest.raises(InputError, match=r"a\.fin, line 2: a line must hold a sentence"):
        read_pair(tmp_path, "One.\nTwo.\nThree.\n", "Yksi.\n\nKolme.\n")
    with pytest.raises(InputError, match="two files must be given"):
        list(aligned((tmp_path,)))


def read_lines(folder: Path, texts: bytes, labels: bytes, names: tuple[str, ...] = ("t", "y")) -> list[Record]:
    (folder / "texts").write_bytes(texts)
    (folder / "labels").write_bytes(labels)
    return list(paired_lines((folder / "texts", folder / "labels"), shape=label, names=names))


def test_paired_lines_join_a_text_and_its_label(tmp_path: Path) -> None:
    pairs = read_lines(tmp_path, "a\u2028b \n\nc".encode(), b"yes\nno\nno\n")
    assert [(r["id"], r["text"], r["label"]) for r in pairs] == [
        ("texts:1", "a\u2028b ", "yes"),
        ("texts:2", "", "no"),
        ("texts:3", "c", "no"),
    ]
    # A blank line at the end of one file is no row; one that has a label is.
    assert [r["label"] for r in read_lines(tmp_path, b"a\nb\n\n\n", b"yes\nno\n")] == ["yes", "no"]
    assert [r["text"] for r in read_lines(tmp_path, b"a\nb\n\n", b"yes\nno\nno\n")] == ["a", "b", ""]
    assert read_lines(tmp_path, b'{"t": "a"}\n', b"yes\n", ("", "y"))[0]["text"] == "a"


def test_paired_files_of_other_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"labels: paired files must have as many lines as the longest, 3, but got 2\."
    ):
        read_lines(tmp_path, b"a\nb\nc\n", b"yes\nno\n")
    with pytest.raises(InputError, match=r"texts: paired files must have as many lines as the longest, 2, but got 1\."):
        read_lines(tmp_path, b"a\n", b"yes\nno\n")
    with pytest.raises(InputError, match=r"texts, line 1: 'line' must be of type dict, but got \[1\]"):
        read_lines(tmp_path, b"[1]\n", b"yes\n", ("", "y"))
    with pytest.raises(InputError, match=r"paired files: 2 files must be given, but got \['texts'\]"):
        list(paired_lines((tmp_path / "texts",), shape=label, names=("t", "y")))


def test_a_bad_line_of_paired_files_costs_its_row_and_no_other(tmp_path: Path) -> None:
    remarks = Remarks(skip_bad=True)
    with remarks_go_to(remarks):
        found = read_lines(tmp_path, b"a\n\xff\nc\nd\n", b"yes\nno\n\xfe\nno\n")
    assert [(r["id"], r["text"], r["label"]) for r in found] == [("texts:1", "a", "yes"), ("texts:4", "d", "no")]
    assert ["labels, line 3" in remarks.bad[0], "texts, line 2" in remarks.bad[1]] == [True, True]


def read_verses(folder: Path, **texts: str) -> list[Record]:
    folder = folder / "data"
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.tsv").write_text(text)
    files = Files("data", {"train/mul": tuple(f"{name}.tsv" for name in texts)}, verses)
    return load_records(replace(TEXTS, source=files), "train/mul", folder.parent)


def test_verses(tmp_path: Path) -> None:
    lines = {code: "".join(f"40.1.{n}\t{code} {n}\n" for n in range(1, 31)) for code in ("en", "fi", "de")}
    records = read_verses(tmp_path, **lines)
    single = [record for record in records if record["text_pair"] is None]
    pairs = {record["id"]: {record["text"], record["text_pair"]} for record in records if record["text_pair"]}
    assert len(single) == 90 and len(pairs) == 60
    assert pairs["40.1.7 en-fi"] == {"en 7", "fi 7"}
    assert {key.split()[1] for key in pairs} == {"en-fi", "en-de", "fi-de"}
    # Leaving a language out changes no other pair.
    fewer = read_verses(tmp_path, en=lines["en"], fi=lines["fi"])
    assert [r for r in fewer if r["text_pair"]] == [r for r in records if r["id"].endswith("en-fi")]
    assert not [r for r in read_verses(tmp_path, de=lines["de"]) if r["text_pair"]]
    for bad in ("40.1\ta\n", "40.1.x\ta\n", "40.1.1 a\n", "40.1.1\t\n"):
        with pytest.raises(InputError, match=r"en\.tsv, line 1: a line must be <book>"):
            read_verses(tmp_path, en=bad)
    with pytest.raises(InputError, match=r"en\.tsv, line 2: a verse must come once"):
        read_verses(tmp_path, en="40.1.1\ta\n40.1.1\tb\n")


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
