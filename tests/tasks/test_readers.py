"""Readers of the publishers' formats, on small files made here: what they yield."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from read_files import (
    CLASSES,
    FORMATS,
    PAIRS,
    SPANS,
    TAGS,
    TEXTS,
    label,
    load_text,
    question,
    squad_text,
    words,
)

from xlray.errors import InputError
from xlray.tasks import Files, Record, load_records
from xlray.tasks.lines import Remarks, remarks_go_to
from xlray.tasks.paired import paired_lines
from xlray.tasks.passages import passage_half, squad
from xlray.tasks.readers import aligned, columns, verses


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
