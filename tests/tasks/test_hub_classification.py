"""Rows of sets on the Hub that are classified or scored, in the columns that their publishers use; and joined tasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray.cli.task_catalogue import describe
from xlray.errors import InputError
from xlray.tasks import TASKS, Generated, Hub, Joined, Task, available, check_record, load_records
from xlray.tasks.acceptability import ACCEPTABILITY
from xlray.tasks.inference import INFERENCE
from xlray.tasks.load import source_identity
from xlray.tasks.paraphrase import PARAPHRASE
from xlray.tasks.sentiment import SENTIMENT
from xlray.tasks.similarity import SIMILARITY
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Record
from xlray.tasks.topic import TOPIC, TREC_LABELS, TREC_NUMBERS
from xlray.tasks.translated import TRANSLATED

Row = dict[str, Any]
FAMILIES = (INFERENCE, SENTIMENT, ACCEPTABILITY, TOPIC, SIMILARITY, PARAPHRASE, TRANSLATED)

RAIN, WET = "It rained all day.", "The street is wet."


def hub_of(task: Task) -> Hub | None:
    return task.source if isinstance(task.source, Hub) else task.hub


def shaped(name: str, row: Row) -> Row | None:
    hub = hub_of(TASKS[name])
    assert hub is not None
    return hub.shape(row, "here")


def judged(label: str | float, text: str = RAIN, text_pair: str | None = None) -> Row:
    return {"text": text, "text_pair": text_pair, "label": label}


def pair(label: str | float) -> Row:
    return judged(label, RAIN, WET)


def premise(label: Any, **more: Any) -> Row:
    return {"premise": RAIN, "hypothesis": WET, "label": label, **more}


def sentences(label: Any, **more: Any) -> Row:
    return {"sentence1": RAIN, "sentence2": WET, "label": label, **more}


BOOLQ = {"question": "is the street wet", "passage": RAIN, "idx": 0, "label": 1}
WIC = {"word": "rain", "start1": 3, "start2": 4, "end1": 9, "end2": 10, "idx": 0}
KLUE_STS = {"label": 3.7, "real-label": 3.714285714285714, "binary-label": 1}

# Name of the task: a row as published, and the record without its id.
CASES: dict[str, tuple[Row, Row]] = {
    "mnli": (premise(0, idx=0), pair("entailment")),
    "snli": (premise(1), pair("neutral")),
    "anli": (premise(2, uid="u", reason=""), pair("contradiction")),
    "qnli": ({"question": RAIN, "sentence": WET, "label": 1, "idx": 0}, pair("not_entailment")),
    "rte": (sentences(0, idx=0), pair("entailment")),
    "cb": (premise(1, idx=0), pair("contradiction")),
    "scitail": ({"sentence1": RAIN, "sentence2": WET, "gold_label": "entailment"}, pair("entailment")),
    "boolq": (BOOLQ, judged("yes", RAIN, "is the street wet")),
    "ocnli_50k_zh": (sentences(0, idx=0), pair("neutral")),
    "klue_nli": (premise(2, guid="g", source="wikitree"), pair("contradiction")),
    "jnli_ja": (sentences(2, sentence_pair_id="0", yjcaptions_id="1-2-3"), pair("neutral")),
    "indonli_id": (premise(1), pair("neutral")),
    "snli_tr": (premise(1, idx=0), pair("neutral")),
    "multinli_tr": (premise(0, idx=0), pair("entailment")),
    **{f"xnli_{code}": (premise(2), pair("contradiction")) for code in ("fr", "ar", "hi", "vi", "sw", "el")},
    "qqp": ({"question1": RAIN, "question2": WET, "label": 0, "idx": 0}, pair("different")),
    "mrpc": (sentences(1, idx=0), pair("same")),
    "paws": (sentences(1, id=1), pair("same")),
    **{f"paws_{code}": (sentences(0, id=1), pair("different")) for code in ("de", "es", "fr", "ja", "ko", "zh")},
    "wic": (sentences(1, **WIC), judged("same", f"rain: {RAIN}", WET)),
    "cola": ({"sentence": RAIN, "label": 1, "idx": 0}, judged("acceptable")),
    "rucola_ru": (
        {"id": 0, "sentence": RAIN, "label": 0, "error_type": "Syntax", "detailed_source": "Book"},
        judged("unacceptable"),
    ),
    "sst2": ({"sentence": RAIN, "label": 1, "idx": 0}, judged("positive")),
    "tweet_sentiment": ({"text": RAIN, "label": 1}, judged("neutral")),
    "tweet_offensive": ({"text": RAIN, "label": 0}, judged("not_offensive")),
    "tweet_emotion": ({"text": RAIN, "label": 3}, judged("sadness")),
    "allocine_fr": ({"review": RAIN, "label": 0}, judged("negative")),
    "polemo2_pl": ({"sentence": RAIN, "target": "__label__meta_amb"}, judged("ambiguous")),
    "swedish_reviews_sv": ({"text": RAIN, "label": 0}, judged("negative")),
    "estonian_valence_et": ({"paragraph": RAIN, "valence": "vastuoluline"}, judged("mixed")),
    "afrisenti_ha": ({"text": RAIN, "label": 0}, judged("positive")),
    "afrisenti_am": ({"text": RAIN, "label": 2}, judged("negative")),
    "husst_hu": ({"id": "0", "sentence": RAIN, "label": "neutral"}, judged("neutral")),
    "indonlu_smsa": ({"text": RAIN, "label": 0}, judged("positive")),
    "norec_sentence_no": ({"id": "1-01", "review": RAIN, "sentiment": 2}, judged("Positive")),
    "wisesight_th": ({"texts": RAIN, "category": 3}, judged("q")),
    "germeval2018_de": ({"text": RAIN, "binary": "OFFENSE", "multi": "ABUSE"}, judged("OFFENSE")),
    "basqueglue_bhtc": ({"text": RAIN, "label": 11, "idx": 0}, judged("Zientzia")),
    "pl_8tags": ({"sentence": RAIN, "label": 4}, judged("motorization")),
    "trec_qc": ({"text": RAIN, "coarse_label": 3, "fine_label": 28}, judged("HUM:gr")),
    "ag_news": ({"text": RAIN, "label": 3}, judged("Sci/Tech")),
    "glue_stsb": (sentences(3.5, idx=0), pair(3.5)),
    "korsts_ko": ({"sentence1": RAIN, "sentence2": WET, "score": 0.0}, pair(0.0)),
    "klue_sts": (
        {"guid": "g", "source": "s", "sentence1": RAIN, "sentence2": WET, "labels": KLUE_STS},
        pair(3.714285714285714),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_published_row_becomes_a_record(name: str) -> None:
    row, expected = CASES[name]
    fields = shaped(name, row)
    assert fields == expected
    check_record(TASKS[name], {"id": "x"} | fields, "here")


def test_no_set_on_the_hub_is_missing_here() -> None:
    known = {task.name for family in FAMILIES for task in family if hub_of(task) is not None}
    assert known == CASES.keys()


def test_there_are_many_tasks_of_both_sides() -> None:
    judgements = [task for task in TASKS.values() if task.kind in ("classification", "regression")]
    english = [task for task in judgements if task.languages == ("en",)]
    assert len(english) >= 16 and len(judgements) - len(english) >= 20


@pytest.mark.parametrize("name", CASES)
def test_a_revision_is_a_commit_or_its_absence_is_reported(name: str) -> None:
    hub, notes = hub_of(TASKS[name]), TASKS[name].notes
    assert hub is not None
    if hub.revision is None:
        assert UNPINNED in notes
    elif hub.revision == CONVERTED:
        assert CONVERSION in notes
    else:
        assert len(hub.revision) == 40 and set(hub.revision) <= set("0123456789abcdef")
    assert "fi" not in TASKS[name].languages


@pytest.mark.parametrize("name", [task.name for task in TRANSLATED])
def test_a_machine_translation_is_called_one(name: str) -> None:
    assert "achine translation" in TASKS[name].notes


def test_question_classes_are_the_same_in_files_and_on_the_hub() -> None:
    assert len(TREC_NUMBERS) == 50 and set(TREC_NUMBERS) == set(TREC_LABELS)
    assert [TREC_NUMBERS[number] for number in (2, 24, 31, 44, 45, 49)] == [
        "ENTY:animal",
        "DESC:def",
        "HUM:desc",
        "NUM:period",
        "NUM:perc",
        "NUM:weight",
    ]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("snli", {"label": -1}),
        ("ocnli_50k_zh", {"label": -1}),
        ("snli_tr", {"label": -1}),
        ("wic", {"label": -1}),
        ("paws_de", {"sentence2": ""}),
        ("paws_de", {"sentence1": None}),
        ("wic", {"sentence1": " "}),
        ("tweet_sentiment", {"text": "\n"}),
    ],
)
def test_rows_without_a_label_or_a_text_are_left_out(name: str, changes: Row) -> None:
    assert shaped(name, CASES[name][0] | changes) is None


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "mnli",
            {"label": 3},
            "here: the label must be one of 0, 1, 2, entailment, neutral, contradiction, but got '3'",
        ),
        ("mnli", {"label": None}, "'label' must be of type str or int"),
        ("mnli", {"label": True}, "'label' must be of type str or int"),
        ("mnli", {"premise": 7}, "'premise' must be of type str, but got 7"),
        ("scitail", {"gold_label": "0"}, "the label must be one of entails, entailment, neutral"),
        ("trec_qc", {"fine_label": 50}, "the label must be one of 0, 1, 2"),
        ("wic", {"word": None}, "'word' must be of type str"),
        ("glue_stsb", {"label": "high"}, "'label' must be a number"),
        ("klue_sts", {"labels": 3.5}, "'labels' must be of type dict"),
        ("klue_sts", {"labels": {"label": 3.5}}, "the key 'real-label' must be there"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_in_one_line(name: str, changes: Row, message: str) -> None:
    with pytest.raises(InputError) as error:
        shaped(name, CASES[name][0] | changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_missing_column_is_not_taken_for_an_empty_text() -> None:
    with pytest.raises(InputError, match="the key 'hypothesis' must be there"):
        shaped("mnli", {"premise": RAIN, "label": 0})


def test_the_rounds_of_anli_are_one_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    for number, split in enumerate(("train_r1", "train_r2", "train_r3")):
        columns = pa.Table.from_pylist([premise(number, uid="u", reason="")])
        pq.write_table(columns, tmp_path / "set" / f"{split}-00000-of-00001.parquet")
    card = "".join(f"  - {{split: train_r{n}, path: train_r{n}-*}}\n" for n in (1, 2, 3))
    (tmp_path / "set" / "README.md").write_text(f"---\nconfigs:\n- config_name: plain_text\n  data_files:\n{card}---\n")
    anli = TASKS["anli"]
    assert anli.hub is not None
    local = replace(anli, hub=replace(anli.hub, id=str(tmp_path / "set"), revision=None))
    records = load_records(local, "train/en")
    assert [record["label"] for record in records] == ["entailment", "neutral", "contradiction"]
    assert [record["id"] for record in records] == [f"train_r1+train_r2+train_r3:{n}" for n in range(3)]


def made(name: str, *splits: str, label: str = "yes", kind: str = "classification") -> Task:
    def generate(split: str) -> list[Record]:
        return [{"id": split, "text": name, "text_pair": None, "label": label}]

    return Task(name, kind, (splits[0][-2:],), Generated(splits, generate), labels=("yes", "no"))


def joined(*parts: Task) -> Task:
    languages = parts[0].languages if parts else ("en",)
    return Task("joined", "classification", languages, Joined(parts), labels=("yes", "no"))


def test_joined_tasks_are_read_one_after_the_other() -> None:
    both = joined(made("a", "train/en", "dev/en"), made("b", "train/en", "test/en"))
    assert both.splits == ("train/en", "dev/en", "test/en")
    assert [record["id"] for record in load_records(both, "train/en")] == ["a/train/en", "b/train/en"]
    assert [record["id"] for record in load_records(both, "test/en")] == ["b/test/en"]
    outer = joined(both, made("c", "train/en"))
    assert [record["text"] for record in load_records(outer, "train/en")] == ["a", "b", "c"]


def test_joined_tasks_know_their_splits_and_are_checked() -> None:
    both = joined(made("a", "train/en"), made("b", "train/en", label="no"))
    with pytest.raises(InputError, match="the split must be one of train/en, but got 'dev/en'"):
        load_records(both, "dev/en")
    with pytest.raises(InputError, match=r"task 'joined'.*record 'joined/a/train/en': ids must be unique"):
        load_records(joined(joined(made("a", "train/en")), joined(made("a", "train/en"))), "train/en")
    with pytest.raises(InputError, match="its parts must be of its kind 'classification', but got a of kind mlm"):
        joined(made("a", "train/en", kind="mlm"))
    with pytest.raises(InputError, match="its parts must be of its kind 'classification', but got no part"):
        joined()


def test_joined_tasks_are_available_where_all_their_parts_are() -> None:
    files = TASKS["farstail_fa"]
    both = joined(made("a", "all/fa", "train/fa"), files)
    assert available(both, "all/fa") and not available(both, "train/fa") and not available(both, "dev/en")


def test_joined_tasks_are_identified_by_their_parts() -> None:
    plus, snli, mnli = (TASKS[name] for name in ("anli_plus", "snli", "mnli"))
    identities = {source_identity(task, "dev/en") for task in (plus, snli, mnli)}
    assert None not in identities and len(identities) == 3
    assert source_identity(TASKS["nli_tr"], "dev/tr") is None  # the branch of the conversion moves
    unknown = replace(made("a", "dev/en"), source=Generated(("dev/en",), {"dev/en": []}.__getitem__))
    assert source_identity(unknown, "dev/en") is None  # no code to look at
    assert source_identity(replace(plus, source=Joined((snli, unknown))), "dev/en") is None


def test_generated_tasks_are_identified_by_code_version_and_split() -> None:
    task = made("a", "dev/en", "test/en")
    newer = replace(task, source=replace(task.source, version=2))
    made_ones = ((task, "dev/en"), (task, "test/en"), (newer, "dev/en"), (made("b", "dev/en"), "dev/en"))
    names = {source_identity(one, split) for one, split in made_ones}
    assert None not in names and len(names) == 4
    assert source_identity(task, "dev/en") == source_identity(made("a", "dev/en", "test/en"), "dev/en")


def test_joined_tasks_are_shown_by_their_parts() -> None:
    row = describe(TASKS["anli_plus"])
    assert (row["source"], row["hub"]) == ("anli + mnli + snli", None)
    assert row["splits"] == ["train/en", "dev/en", "test/en"]
    assert row["num_examples"] == sum(TASKS[name].num_examples or 0 for name in row["contains"])
