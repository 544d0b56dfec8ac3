"""Files as their publishers leave them, and files that look like them: what is read, refused, or read and said."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from xlray.cli.task_catalogue import checked
from xlray.errors import InputError
from xlray.tasks import TASKS, Files, Generated, Record, Task, load_records
from xlray.tasks.lines import Remarks, file_names
from xlray.tasks.passages import squad
from xlray.tasks.readers import aligned, columns, conllu, json_lines, labelled_lines, table
from xlray.tasks.shapes import Number, labelled, multiple_choice
from xlray.training.metrics import score

shape = partial(labelled, text="t", label="y")
CLASSES = Task("c", "classification", ("en",), Files("", {}, columns), labels=("x", "y"))
SCORES = Task("s", "regression", ("en",), Files("", {}, columns))
CHOICES = Task("m", "multiple_choice", ("en",), Files("", {}, columns))
SPANS = Task("q", "span_qa", ("en",), Files("", {}, columns))
NAMES = Task(
    "n",
    "tagging",
    ("en", "ja", "no"),
    Files("", {}, columns),
    labels=("O", "B-LOC", "I-LOC", "B-PER", "I-PER"),
)
PAIRS = Task("p", "retrieval", ("en", "fi"), Files("", {}, columns), role="target")
TEXT = {"id": "1", "text": "a", "text_pair": None}
RECORDS: dict[str, tuple[Task, Record, Mapping[str, Any]]] = {
    "classification": (CLASSES, TEXT | {"label": "x"}, {"label": None}),
    "regression": (SCORES, TEXT | {"label": 0.5}, {"label": None}),
    "multiple_choice": (
        CHOICES,
        {"id": "1", "context": "", "question": "q", "choices": ["a", "b"], "label": 0},
        {"label": None},
    ),
    "tagging": (NAMES, {"id": "1", "tokens": ["a"], "tags": ["O"]}, {"tags": None}),
}


def files(task: Task, read: Any, folder: Path, contents: Mapping[str, str], split: str = "train/en") -> Task:
    """The task over files that are written here."""
    for name, text in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return replace(task, source=Files(".", {split: tuple(contents)}, read))


def load(task: Task, read: Any, folder: Path, contents: Mapping[str, str], split: str = "train/en") -> list[Record]:
    return load_records(files(task, read, folder, contents, split), split, folder)


def of(task: Task, records: list[Record]) -> Task:
    return replace(task, source=Generated(("train/en", "dev/en", "test/en"), lambda split: records))


# --- labels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", RECORDS)
def test_only_a_whole_test_set_may_lack_its_labels(kind: str) -> None:
    task, known, hidden = RECORDS[kind]
    none, some = [known | hidden], [known, known | hidden | {"id": "2"}]
    for split, records in (("dev/en", none), ("dev/en", some), ("train/en", some)):
        with pytest.raises(InputError, match=f"a {split.split('/')[0]}.* record must have a label"):
            load_records(of(task, records), split)
    with pytest.raises(InputError, match="record '2': a test set must have all its labels or none, but 1 of 2"):
        load_records(of(task, some), "test/en")
    for records, unlabelled in ((none, True), ([known], False)):
        remarks = Remarks()
        assert load_records(of(task, records), "test/en", remarks=remarks) == records
        assert remarks.unlabelled is unlabelled


def test_questions_may_lack_answers_but_not_all_of_a_set_that_is_scored() -> None:
    asked = {"id": "1", "question": "q", "context": "a b", "answers": []}
    answered = asked | {"id": "2", "answers": [{"text": "a", "start": 0}]}
    for split in ("train/en", "dev/en"):
        assert len(load_records(of(SPANS, [asked, answered]), split)) == 2
        with pytest.raises(InputError, match="a question must have an answer, but none of 1 has one"):
            load_records(of(SPANS, [asked]), split)
    remarks = Remarks()
    load_records(of(SPANS, [asked]), "test/en", remarks=remarks)
    assert remarks.unlabelled


@pytest.mark.parametrize("text", ["Hei INTJ\nmaailma NOUN\n\nJoo INTJ\n", "Hei\nmaailma\n"])
def test_dev_tags_behind_another_separator_or_none_are_refused_with_file_and_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=r"udpos/dev-fi\.tsv, line 1: .*a token, the separator and a tag.* 'Hei"):
        load(TASKS["udpos"], columns, tmp_path, {"udpos/dev-fi.tsv": text}, "dev/fi")


def test_a_test_file_with_another_separator_is_not_taken_as_untagged(tmp_path: Path) -> None:
    upos = TASKS["udpos"]
    with pytest.raises(InputError, match=r"test-fi\.tsv, line 1: .*a token, the separator and a tag"):
        load(upos, columns, tmp_path, {"test-fi.tsv": "Hei INTJ\nmaailma NOUN\n\nJoo INTJ\n"}, "test/fi")
    # A token may hold a blank, and a word may be spelled like a tag.
    found = load(upos, columns, tmp_path, {"test-fi.tsv": "10 X\nHei\n\nJoo\n"}, "test/fi")
    assert [record["tags"] for record in found] == [None, None]


# --- tags and sentences --------------------------------------------------------------------------------------------

JAPANESE = "大\tO\n阪\tI-LOC\n市\tI-LOC\n\n愛\tI-PER\nは\tO\n"


def test_an_evaluation_set_is_scored_with_an_inside_tag_that_begins_a_span(tmp_path: Path) -> None:
    task, remarks = files(NAMES, columns, tmp_path, {"dev-ja.tsv": JAPANESE}, "dev/ja"), Remarks()
    tags = [record["tags"] for record in load_records(task, "dev/ja", tmp_path, remarks)]
    assert tags == [["O", "I-LOC", "I-LOC"], ["I-PER", "O"]]
    assert score("tagging", tags, tags, NAMES.labels)["f1"] == 100
    assert score("tagging", tags, [["O", "B-LOC", "I-LOC"], ["B-PER", "O"]], NAMES.labels)["f1"] == 100
    assert remarks.doubts == [
        "2 sentences have an I-X that follows no X: it begins a span, as in seqeval's default mode"
    ]


def test_training_tags_must_be_iob2(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be IOB2"):
        load(NAMES, columns, tmp_path, {"train.tsv": JAPANESE})


def test_marks_of_documents_are_no_text(tmp_path: Path) -> None:
    four = partial(columns, separator=" ", num_columns=4)
    text = "-DOCSTART- -X- -X- O\n\nHan PRON B-NP O\nbor VERB B-VP O\n\n-DOCSTART- -X- -X- O\n\nOslo PROPN B-NP B-LOC\n"
    assert [r["tokens"] for r in load(NAMES, four, tmp_path, {"a": text})] == [["Han", "bor"], ["Oslo"]]
    # CoNLL 2002 has no blank line after it; others give it no columns, so that it does not say how many there are.
    text = "-DOCSTART-\nHan\tO\n-DOCSTART- (2)\nOslo\tB-LOC\n"
    assert [r["tags"] for r in load(NAMES, columns, tmp_path, {"a": text})] == [["O"], ["B-LOC"]]


def test_a_language_before_every_token_must_be_named(tmp_path: Path) -> None:
    text = "no:Han\tO\nno:bor\tO\n\nno:Oslo\tB-LOC\n"
    for known in ((), ("fi", "en")):
        with pytest.raises(InputError, match=r"a: the language before every token .*\('no',\), but got 'no:Han'"):
            load(NAMES, partial(columns, languages=known), tmp_path, {"a": text})
    named = load(NAMES, partial(columns, languages=("no",)), tmp_path, {"a": text})
    assert [r["tokens"] for r in named] == [["Han", "bor"], ["Oslo"]]
    assert load(NAMES, columns, tmp_path, {"a": "no:Han\tO\nbor\tO\n"})[0]["tokens"] == ["no:Han", "bor"]


def treebank(*sentences: list[tuple[str, str]]) -> str:
    rows = (
        "".join(f"{n}\t{form}\t_\t{tag}" + "\t_" * 6 + "\n" for n, (form, tag) in enumerate(s, 1)) for s in sentences
    )
    return "".join(f"{row}\n" for row in rows)


def test_a_treebank_without_text_is_refused_and_its_sentences_are_left_out_and_counted(tmp_path: Path) -> None:
    blank, text = [("_", "NOUN"), ("_", "VERB")], [("Joo", "INTJ"), ("_", "PUNCT")]
    one = [("_", "PUNCT")]
    for read, written in (
        (conllu, treebank(blank, one)),
        (columns, "_\tNOUN\n_\tVERB\n"),
    ):
        with pytest.raises(InputError, match=r"a: sentences must have text"):
            load(TASKS["udpos"], read, tmp_path, {"a": written}, "dev/fi")
    task, remarks = files(TASKS["udpos"], conllu, tmp_path, {"a": treebank(blank, text, one)}, "dev/fi"), Remarks()
    assert [r["tokens"] for r in load_records(task, "dev/fi", tmp_path, remarks)] == [["Joo", "_"]]
    assert remarks.left_out == {"sentences without text (every form is '_')": 2}
    found = load(TASKS["udpos"], conllu, tmp_path, {"a": treebank(text, one)}, "dev/fi")
    assert [r["tokens"] for r in found] == [["Joo", "_"], ["_"]], "a sign of the text"


# --- ids -----------------------------------------------------------------------------------------------------------


def test_files_of_one_name_in_different_folders_are_one_set(tmp_path: Path) -> None:
    lines = '{"t": "a", "y": "x"}\n{"t": "b", "y": "y"}\n'
    read = partial(json_lines, shape=shape)
    records = load(CLASSES, read, tmp_path, {"sh/a/train.jsonl": lines, "sh/b/train.jsonl": lines, "c.jsonl": lines})
    ids = [record["id"] for record in records]
    assert ids == [f"{name}:{n}" for name in ("a/train.jsonl", "b/train.jsonl", "c.jsonl") for n in (1, 2)]
    with pytest.raises(InputError, match=r"sh/b/train\.jsonl, line 1: .*'label' must be one of x, y, but got 'z'"):
        load(CLASSES, read, tmp_path, {"sh/a/train.jsonl": lines, "sh/b/train.jsonl": lines.replace('"x"', '"z"')})
    with pytest.raises(InputError, match="ids must be unique"):
        load_records(
            replace(CLASSES, source=Files(".", {"train/en": ("c.jsonl", "c.jsonl")}, read)), "train/en", tmp_path
        )


def test_files_have_their_names_and_those_of_one_name_as_much_of_their_folders_as_they_need() -> None:
    paths = (Path("/d/x/a/f"), Path("/d/x/f"), Path("/d/g"))
    assert file_names(paths) == dict(zip(paths, ("a/f", "f", "g"), strict=True))
    assert list(file_names(paths[:1]).values()) == ["f"]


def questions(*asked: tuple[str, str, str]) -> str:
    def paragraph(name: str, context: str, question: str) -> dict[str, Any]:
        answers = [{"text": context, "answer_start": 0}]
        return {"context": context, "qas": [{"id": name, "question": question, "answers": answers}]}

    return json.dumps({"data": [{"paragraphs": [paragraph(*one) for one in asked]}]})


def test_questions_whose_ids_were_cut_short_are_all_kept(tmp_path: Path) -> None:
    text = questions(
        ("0", "Turku", "Which?"), ("1", "Oulu", "Which?"), ("0", "Pori", "Which?"), ("0", "Pori", "Where?")
    )
    records = load(SPANS, squad, tmp_path, {"a.json": text})
    assert [record["id"] for record in records] == ["0", "1", "0#2", "0#3"]
    assert [record["context"] for record in records] == ["Turku", "Oulu", "Pori", "Pori"]
    with pytest.raises(InputError, match="ids must be unique"):
        load(SPANS, squad, tmp_path, {"a.json": questions(("0", "Turku", "Which?"), ("0", "Turku", "Which?"))})


# --- ends and cells ------------------------------------------------------------------------------------------------

rows = partial(table, shape=shape, names=("t", "y"))
quoted = partial(table, shape=shape, header=("t", "y"), separator=",", quoted=True)


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (partial(json_lines, shape=shape), '{"t": "a", "y": "x"}\n{"t": "b", "y": "y"}\n'),
        (rows, "a\tx\nb\ty\n"),
        (quoted, 't,y\na,x\n"b",y\n'),
        (partial(labelled_lines, names={"x": "x", "y": "y"}), "x a\ny b\n"),
    ],
)
def test_blank_last_lines_are_no_examples_and_others_are_bad_ones(tmp_path: Path, read: Any, text: str) -> None:
    plain = load(CLASSES, read, tmp_path, {"a": text})
    assert len(plain) == 2 and load(CLASSES, read, tmp_path, {"a": text + "\n  \n\r\n"}) == plain
    middle = text.removesuffix("\n").rpartition("\n")
    with pytest.raises(InputError, match="line "):
        load(CLASSES, read, tmp_path, {"a": f"{middle[0]}\n\n{middle[2]}\n"})


def test_blank_last_lines_do_not_make_aligned_files_unequal(tmp_path: Path) -> None:
    records = load(PAIRS, aligned, tmp_path, {"a.en": "one\ntwo\n\n", "a.fi": "yksi\nkaksi\n"}, "all/fi")
    assert [(r["text"], r["text_pair"]) for r in records] == [("one", "yksi"), ("two", "kaksi")]


def test_a_cell_may_be_longer_than_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    passage = "word " * 40_000 + "end"
    assert load(CLASSES, quoted, tmp_path, {"a": f't,y\n"{passage}",x\n'})[0]["text"] == passage


# --- doubts --------------------------------------------------------------------------------------------------------

ENGLISH = [f"{name} sleeps." for name in ("Zoe", "Anna", "Ben", "Yves", "Carla", "Dora", "Xenia", "Eve")] * 5
FINNISH = [f"{name} nukkuu {n}." for n, name in enumerate(ENGLISH)]


@pytest.mark.parametrize(
    ("english", "finnish", "doubt"),
    [
        (ENGLISH, FINNISH, None),
        (sorted(ENGLISH), FINNISH, "the English sentences stand in alphabetical order"),
        (sorted(ENGLISH, key=str.casefold), FINNISH, "the English sentences stand in alphabetical order"),
        (ENGLISH, ENGLISH, "40 of 40 pairs are the same sentence twice"),
        (ENGLISH, sorted(FINNISH), "the other language's sentences stand in alphabetical order"),
    ],
)
def test_lines_that_cannot_translate_each_other_are_doubted(
    tmp_path: Path, english: list[str], finnish: list[str], doubt: str | None
) -> None:
    contents = {"tatoeba/tatoeba.fin-eng.eng": "\n".join(english), "tatoeba/tatoeba.fin-eng.fin": "\n".join(finnish)}
    files(PAIRS, aligned, tmp_path, contents)
    found = {row["split"]: row for row in checked(["tatoeba"], tmp_path) if row["status"] == "ok"}
    doubts = found["all/fi"]["doubts"]
    assert len(doubts) == (doubt is not None) and (doubt is None or doubts[0].startswith(doubt))


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    read = partial(json_lines, shape=partial(shape, left_out=("-",)))
    task, remarks = files(CLASSES, read, tmp_path, {"a": '{"t": "a", "y": "x"}\n{"t": "b", "y": "-"}\n'}), Remarks()
    assert len(load_records(task, "train/en", tmp_path, remarks)) == 1
    assert remarks.left_out == {"rows without a label": 1} and not remarks.bad
    read = partial(
        json_lines, shape=partial(multiple_choice, question="q", choices="c", label=Number("y", left_out=("-1",)))
    )
    lines = '{"q": "a", "c": ["b", "c"], "y": 0}\n{"q": "a", "c": ["b", "c"], "y": -1}\n'
    task, remarks = files(CHOICES, read, tmp_path, {"b": lines}), Remarks()
    assert len(load_records(task, "train/en", tmp_path, remarks)) == 1
    assert remarks.left_out == {"rows without a label": 1}
