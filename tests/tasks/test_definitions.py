"""Definitions of tasks that would lead to wrong numbers are refused in one line when the task is made."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from seqeval.metrics import f1_score
from seqeval.scheme import BILOU, IOBES

from xlray.data.registry import ALL_TASKS
from xlray.errors import InputError
from xlray.tasks import Files, Generated, Hub, Joined, Record, Task, check_record, load_records
from xlray.tasks.languages import language_of
from xlray.tasks.lines import Remarks
from xlray.tasks.readers import columns, iob2, json_lines
from xlray.tasks.shapes import Number, labelled, multiple_choice
from xlray.tasks.tag_sets import check_tag_set
from xlray.tasks.task import METRICS
from xlray.training import metrics

READ = partial(json_lines, shape=partial(labelled, text="text", label="label"))


def none(split: str) -> Iterable[Record]:
    return ()


def made(*splits: str, languages: tuple[str, ...] = ("sv",), **changes: Any) -> Task:
    values = {"name": "mine", "kind": "classification", "labels": ("x", "y"), **changes}
    return Task(languages=languages, **{"source": Generated(splits, none), **values})


def refused(message: str, *splits: str, **changes: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        made(*splits, **changes)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("task ")


def test_a_second_training_split_is_refused() -> None:
    refused("one training split, but got train/sv, train/no", "train/sv", "train/no", languages=("sv", "no"))
    parts = (made("train/sv"), made("train/no", languages=("no",)))
    refused("one training split", languages=("sv", "no"), source=Joined(parts))
    files = Files("mine", {"train/sv": ("a.jsonl",)}, READ)
    hub = Hub("a/b", None, {"train/no": "train"}, partial(labelled, text="text", label="label"))
    refused("one training split", languages=("sv", "no"), source=files, hub=hub)


def test_files_of_two_languages_in_one_split_are_both_read(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name, number in (("sv", 2), ("no", 3)):
        rows = (json.dumps({"text": f"{name} {n}", "label": "x"}) + "\n" for n in range(number))
        (tmp_path / "mine" / f"{name}.jsonl").write_text("".join(rows))
    task = made(languages=("sv", "no"), source=Files("mine", {"train/sv": ("sv.jsonl", "no.jsonl")}, READ))
    assert [r["text"][:2] for r in load_records(task, "train/sv", tmp_path)] == ["sv"] * 2 + ["no"] * 3


def test_the_training_split_is_of_the_first_language_and_every_split_of_one_that_is_listed() -> None:
    refused("must be of the first of `languages`, 'train/en', but got 'train/de'", "train/de", languages=("en", "de"))
    refused("the language of split 'dev/da' must be in `languages`", "train/sv", "dev/da")
    refused(r"split must be named .*'training/sv'. Did you mean 'train/sv'", "training/sv")
    refused("split 'train/sv' must be a tuple", source=Files("mine", {"train/sv": "a.jsonl"}, READ))  # type: ignore[dict-item]
    refused("split 'train/sv' must be a tuple", source=Files("mine", {"train/sv": ()}, READ))


@pytest.mark.parametrize("code", ["fi", "FI", "fin", "fi-FI", "fin_Latn", "Fin-Latn-FI"])
def test_no_intermediate_task_holds_finnish_however_it_is_written(code: str) -> None:
    refused(f"must hold no Finnish, but lists '{code}'", f"train/{code}", languages=(code,))
    refused(f"must hold no Finnish, but lists '{code}'", languages=("sv", code))
    refused(f"must hold no Finnish, but lists 'train/{code}'", f"train/{code}")
    refused("must hold no Finnish", "train/sv", f"dev/{code}")
    hub = Hub("a/b", None, {f"train/{code}": "train"}, partial(labelled, text="text", label="label"))
    refused("must hold no Finnish", source=Files("mine", {"train/sv": ("a",)}, READ), hub=hub)
    target = made(f"train/{code}", languages=(code,), role="target")
    refused("must hold no Finnish", source=Joined((target,)))
    refused("must hold no Finnish", source=Joined((replace(target, source=Generated((), none)),)))


@pytest.mark.parametrize("code", ["mul", "und", "mis", "MUL"])
def test_languages_of_labelled_examples_must_be_named(code: str) -> None:
    for role in ("intermediate", "target"):
        refused(f"`languages` must name .*'{code}'", f"train/{code}", languages=(code,), role=role)
        refused(f"`languages` must name .*'{code}'", f"train/{code}", role=role)
    text = {"kind": "mlm", "role": "text", "labels": ()}
    assert made("train/mul", languages=("en", "fi"), **text).all_languages == {"en", "fi", "mul"}


def test_languages_are_codes_and_there_is_one() -> None:
    refused("ISO 639-1 code, such as 'fi', but got 'finnish'", languages=("finnish",))
    refused("`languages` must name at least one", languages=())
    refused("languages must be a value of type", languages="sv")


@pytest.mark.parametrize(
    ("code", "language"),
    [
        *(("est", "et"), ("ekk_Latn", "et"), ("ET", "et"), ("swe", "sv"), ("ger", "de"), ("deu", "de")),
        *(("zh-Hant-TW", "zh"), ("cmn", "zh"), ("pt-BR", "pt"), ("nob", "no"), ("ceb", "ceb"), ("mul", "mul")),
    ],
)
def test_codes_mean_languages(code: str, language: str) -> None:
    assert language_of(code) == language


def test_labels_are_two_texts_or_more_none_twice_or_blank() -> None:
    refused("must name its `labels`, but got none", labels=())
    refused("at least two, to choose from, but got 'only' alone", labels=("only",))
    refused("each once and none blank, but got 'x'", labels=("x", "y", "x"))
    refused("each once and none blank, but got ' '", labels=("x", " "))
    refused("`labels` must be texts, such as '0', but got 0", labels=(0, 1))
    refused("labels must be a value of type", labels=["x", "y"])


def test_kind_role_headline_name_and_scale_are_checked() -> None:
    refused("`role` must be one of intermediate, target, text, but got 'intermedate'. Did you", role="intermedate")
    refused("`kind` must be one of .*Did you mean 'tagging'", kind="taging")
    refused("`headline` must name metrics .*'accuracy'", headline=("Accuracy",))
    refused(r"classification task \(accuracy, macro_f1\), each once, but got f1", headline=("f1",))
    refused("each once", headline=("accuracy", "accuracy"))
    refused("headline must be a value of type", headline="accuracy")
    for name in ("", "a/b", ".hidden", "a b", "x" * 101, "a\nb"):
        refused("its name is part of folders' names", name=name)
    number = {"kind": "regression", "labels": ()}
    for scale in ((1.0, 1.0), (5.0, 0.0)):
        refused("`scale` must be", scale=scale, **number)
    for scale in ((0.0, float("nan")), (0.0, float("inf"))):
        refused("scale is a finite number", scale=scale, **number)
    parts = (made("train/sv", scale=(0.0, 1.0), **number),)
    refused("its parts must have its scale", source=Joined(parts), scale=(0.0, 5.0), **number)


def test_only_text_without_labels_may_have_the_role_that_may_hold_finnish() -> None:
    refused("text without labels is of kind 'mlm'", "train/fi", languages=("fi",), role="text")
    refused("never evaluated", kind="mlm", role="target", labels=())
    refused("never trained on", kind="retrieval", labels=())


def test_the_headline_of_a_kind_is_a_metric_that_it_has() -> None:
    assert made(kind="span_qa", labels=()).headline == ("f1", "exact_match")
    assert made().headline == ("accuracy",)
    assert made(kind="tagging", labels=("NOUN", "VERB")).headline == ("accuracy",)
    assert made(kind="tagging", labels=("O", "B-X", "I-X")).headline == ("f1",)  # most tags are O
    scored = {
        "classification": (["x"], ["y"]),
        "regression": ([1.0], [2.0]),
        "multiple_choice": ([0], [1]),
        "span_qa": ([["a"]], ["b"]),
        "tagging": ([["O"]], [["O"]]),
        "retrieval": ([0], [0]),
    }
    assert METRICS.keys() == {*scored, "mlm"}
    for kind, (references, predictions) in scored.items():
        extra = {"accuracy_reverse"} if kind == "retrieval" else set()
        assert set(METRICS[kind]) == metrics.score(kind, references, predictions).keys() | extra


OTHER_SCHEMES = [
    ("O", *(f"{letter}-{name}" for name in ("PER", "LOC") for letter in letters))
    for letters in ("BILU", "BIES", "BMES", "BMEWO")
] + [
    ("O", "PER-B", "PER-I", "LOC-B"),
    ("O", "b-per", "i-per"),
    ("o", "B-PER", "I-PER"),
    ("O", "B_PER", "I_PER"),
    ("B-PER", "I-PER", "X"),
    ("O", "B-PER", "I-PER", "[CLS]"),
    ("B", "I", "O"),
    ("B", "M", "E", "S"),
    ("b", "i", "o"),
]


@pytest.mark.parametrize("tags", OTHER_SCHEMES)
def test_tags_of_other_schemes_than_iob2_are_refused_and_never_scored(tags: tuple[str, ...]) -> None:
    refused("tags must be those of IOB2", kind="tagging", labels=tags)
    with pytest.raises(InputError, match="tags must be those of IOB2"):
        metrics.score("tagging", [[tags[1]]], [[tags[1]]], tags)


def test_iob2_and_plain_sets_stay() -> None:
    for tags in (
        ("O", "B-X", "I-X"),
        ("B-X", "I-X"),
        ("O", "B-NP", "B-VP"),
        ("NOUN", "SYM", "X"),
        ("-LRB-", "N/N"),
        ("S_com", "V"),
    ):
        check_tag_set(tags, "here")
    for task in ALL_TASKS.values():
        if task.kind == "tagging":
            check_tag_set(task.labels, task.name)


@pytest.mark.parametrize(("scheme", "letters"), [(BILOU, "BILU"), (IOBES, "BIES")])
def test_rewritten_tags_score_as_seqeval_scores_their_scheme(tmp_path: Path, scheme: Any, letters: str) -> None:
    b, i, last, alone = tuple(letters)
    gold = [
        [f"{b}-PER", f"{i}-PER", f"{last}-PER", "O", f"{alone}-LOC"],
        ["O", f"{alone}-PER", f"{b}-LOC", f"{last}-LOC"],
    ]
    found = [[f"{b}-PER", f"{last}-PER", "O", "O", f"{alone}-LOC"], ["O", f"{alone}-PER", f"{b}-LOC", f"{last}-LOC"]]
    labels = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    task = made("test/sv", kind="tagging", labels=labels, headline=("f1",))
    read = []
    for number, sentences in enumerate((gold, found)):
        lines = "\n\n".join("\n".join(f"w\t{tag}" for tag in tags) for tags in sentences)
        (tmp_path / f"{number}.tsv").write_text(lines + "\n")
        source = Files("", {"test/sv": (f"{number}.tsv",)}, partial(iob2, read=columns))
        read.append([r["tags"] for r in load_records(replace(task, source=source), "test/sv", tmp_path)])
    expected = 100 * f1_score(gold, found, mode="strict", scheme=scheme)
    assert metrics.score("tagging", read[0], read[1], labels)["f1"] == pytest.approx(expected) and 0 < expected < 100


def test_a_choice_that_repeats_the_right_one_is_no_further_choice() -> None:
    task = made(kind="multiple_choice", labels=())
    record = {"id": "1", "context": "", "question": "q", "choices": ["a", "b", "b", "c"], "label": 2}
    with pytest.raises(InputError, match="the text of the right choice must be there once"):
        check_record(task, record, "here")
    check_record(task, record | {"label": 0}, "here")
    shape = partial(multiple_choice, question="q", choices="c", label=Number("y"))
    assert shape({"q": "?", "c": ["a", "b", "b", "c"], "y": 2}, "here") == {
        **{"context": "", "question": "?"},
        **{"choices": ["a", "b", "c"], "label": 1},
    }


def test_an_error_says_which_examples_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("a\tO\n\nb\tB-X\nc\tI-Y\n")
    (tmp_path / "b.tsv").write_text("a\tO\tO\n")
    files = {"train/sv": ("a.tsv",), "dev/sv": ("b.tsv",), "test/sv": ("b.tsv",)}
    task = made(kind="tagging", labels=("O", "B-X", "I-X", "B-Y", "I-Y"), source=Files("", files, columns))
    with pytest.raises(InputError, match=r"must be IOB2.* `--on-bad-example skip` trains without such examples\.$"):
        load_records(task, "train/sv", tmp_path)
    for split in ("dev/sv", "test/sv"):
        with pytest.raises(
            InputError, match=r"2 column\(s\).* evaluation sets are not left out: mend the file\.$"
        ) as caught:
            load_records(task, split, tmp_path)
        assert "\n" not in str(caught.value)
    remarks = Remarks(skip_bad=True)
    assert len(load_records(task, "train/sv", tmp_path, remarks)) == 1
    assert "on-bad-example" not in remarks.bad[0]


def test_what_a_task_is_made_of_is_named_and_not_itself() -> None:
    assert made("train/sv", derived_from=("mnli",), translated="machine").translated == "machine"
    refused("`translated` must be one of '', 'machine', 'human', but got 'machin'.*'machine'", translated="machin")
    refused("`derived_from` must name what was translated", translated="human")
    refused("nor is derived from itself", derived_from=("mine",))
    refused("neither contains itself", contains=("mine",))
