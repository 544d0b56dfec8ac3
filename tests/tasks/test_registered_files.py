"""Registered tasks read from their publishers' files, laid out here in small, give the records that the Hub's rows give."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray import pools
from xlray.cli.task_catalogue import checked, local_records
from xlray.data.records import Sources
from xlray.errors import InputError
from xlray.tasks import TASKS, Files, Hub, Joined, Task, available, load_records
from xlray.tasks.lines import Remarks, remarks_go_to

DATA = Path(__file__).parents[3] / "shared/data"
Row = dict[str, Any]

A, B = 'It "rained" all day.', "The street is wet ."


def lines(*rows: Row) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def tsv(*rows: tuple[object, ...], end: str = "\n") -> str:
    return "".join("\t".join(map(str, row)) + end for row in rows)


def gold(label: str, **more: Any) -> Row:
    return {"annotator_labels": [label], "gold_label": label, "sentence1": A, "sentence2": B, "pairID": "1"} | more


def premise(label: object) -> Row:
    return {"premise": A, "hypothesis": B, "label": label}


def pair(label: object, one: str = A, two: str = B) -> Row:
    return {"sentence1": one, "sentence2": two, "label": label}


MNLI = ("index", "promptID", "pairID", "genre", "sentence1", "sentence2", "label1", "gold_label")
XNLI = ("language", "gold_label", "sentence1_parse", "sentence2_parse", "sentence1", "sentence2", "promptID")
MSRP = ("\ufeffQuality", "#1 ID", "#2 ID", "#1 String", "#2 String")
QQP = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
STS = ("index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2", "score")
MULTIRC = {
    "idx": 0,
    "passage": {
        "text": A,
        "questions": [
            {"question": "Is it wet?", "idx": 0, "answers": [{"text": "Yes", "idx": 0, "label": 1}]},
            {"question": "Why?", "idx": 1, "answers": [{"text": "Sun", "idx": 1, "label": 0}]},
        ],
    },
}
ANSWERS = [
    {"paragraph": A, "question": "Is it wet?", "answer": "Yes", "label": 1, "idx": {}},
    {"paragraph": A, "question": "Why?", "answer": "Sun", "label": 0, "idx": {}},
]
KLUE_STS = {"sentence1": A, "sentence2": B, "labels": {"label": 3.7, "real-label": 3.714285714285714}}
WIC = {"word": "wet", "sentence1": A, "sentence2": B, "start1": 0}
TWEETS = "@user so wet 😭 \n rain\u2028again \n"

# Name of the task and split: the files in the publisher's layout, and the same examples as rows of the Hub. A number
# after them counts the rows that the task leaves out of the files.
LAYOUTS: dict[str, tuple[str, dict[str, str], list[Row], int]] = {
    "rte": (
        "train/en",
        {"train.tsv": tsv(("index", "sentence1", "sentence2", "label"), (0, A, B, "not_entailment"))},
        [pair(1)],
        0,
    ),
    "qnli": (
        "dev/en",
        {"dev.tsv": tsv(("index", "question", "sentence", "label"), (0, A, B, "entailment"))},
        [{"question": A, "sentence": B, "label": 0}],
        0,
    ),
    "mnli": (
        "dev/en",
        {"dev_matched.tsv": tsv(MNLI, (0, 1, "1e", "fiction", A, B, "neutral", "entailment"))},
        [premise(0)],
        0,
    ),
    "mnli 1.0": (
        "dev/en",
        {"multinli_1.0_train.jsonl": "", "multinli_1.0_dev_matched.jsonl": lines(gold("-"), gold("entailment"))},
        [premise(0)],
        1,
    ),
    "snli": (
        "test/en",
        {"snli_1.0_test.jsonl": lines(gold("-"), gold("neutral"), gold("neutral", sentence2=""))},
        [premise(-1), premise(1)],
        2,
    ),
    "anli": (
        "train/en",
        {
            f"R{n}/train.jsonl": lines({"uid": "u", "context": A, "hypothesis": B, "label": "enc"[n - 1]})
            for n in (1, 2, 3)
        },
        [premise(0), premise(1), premise(2)],
        0,
    ),
    "cb": ("dev/en", {"val.jsonl": lines(premise("neutral"), premise("contradiction"))}, [premise(2), premise(1)], 0),
    "boolq": (
        "train/en",
        {"train.jsonl": lines({"question": A, "passage": B, "idx": 0, "label": True})},
        [{"question": A, "passage": B, "label": 1}],
        0,
    ),
    "wic": ("train/en", {"train.jsonl": lines(WIC | {"label": False})}, [WIC | {"label": 0}], 0),
    "multirc": ("train/en", {"train.jsonl": lines(MULTIRC)}, ANSWERS, 0),
    "muserc_ru": ("dev/ru", {"val.jsonl": lines(MULTIRC)}, ANSWERS, 0),
    "scitail": ("train/en", {"scitail_1.0_train.tsv": tsv(('"A', B, "entails"), (A, B, "neutral"))}, [], 0),
    "scitail json": (
        "dev/en",
        {"scitail_1.0_train.txt": "", "scitail_1.0_dev.txt": lines(gold("entailment"), gold("neutral"))},
        [gold("entailment"), gold("neutral")],
        0,
    ),
    "ocnli_50k_zh": (
        "train/zh",
        {"train.50k.json": lines(pair("-"), pair("neutral"))},
        [pair(-1), pair(0)],
        1,
    ),
    "ocnli_50k_zh clue": ("train/zh", {"train.json": lines(pair("contradiction"))}, [pair(2)], 0),
    "klue_nli": (
        "train/ko",
        {"klue-nli-v1.1_train.json": json.dumps([{"premise": A, "hypothesis": B, "gold_label": "contradiction"}])},
        [premise(2)],
        0,
    ),
    "klue_sts": ("dev/ko", {"klue-sts-v1.1_dev.json": json.dumps([KLUE_STS])}, [KLUE_STS], 0),
    "jnli_ja": ("dev/ja", {"valid-v1.3.json": lines(pair("neutral"))}, [pair(2)], 0),
    "qqp": (
        "train/en",
        {"train.tsv": tsv(QQP, (1, 1, 2, A, B, 1), (2, 3, 4, "How do I"), ("wake up?", A, 0), (3, 5, 6, "", B, 0))},
        [{"question1": A, "question2": B, "label": 1}],
        3,
    ),
    "mrpc": ("train/en", {"train.tsv": tsv(MSRP, (1, 7, 8, A, B))}, [pair(1)], 0),
    "mrpc test": ("test/en", {"msr_paraphrase_test.txt": tsv(MSRP, (0, 7, 8, A, B), end="\r\n")}, [pair(0)], 0),
    "paws": (
        "test/en",
        {"test.tsv": tsv(("id", "sentence1", "sentence2", "label"), (1, A, B, 1), (2, A, B, "x"))},
        [pair(1), pair(-1)],
        1,
    ),
    "paws_de": (
        "dev/de",
        {"dev_2k.tsv": tsv(("id", "sentence1", "sentence2", "label"), (1, A, B, 0), (2, A, "NS", 1), (3, "", B, 1))},
        [pair(0), pair(1, two="NS"), pair(1, one="")],
        2,
    ),
    "xnli_vi": (
        "dev/vi",
        {"xnli.dev.tsv": tsv(XNLI, ("ar", "neutral", "", "", "a", "b", 1), ("vi", "neutral", "", "", A, B, 1))},
        [premise(1)],
        0,
    ),
    "xnli_vi train": (
        "train/vi",
        {"multinli.train.vi.tsv": tsv(("premise", "hypo", "label"), (A, B, "contradictory"), (A, B, "entailment"))},
        [premise(2), premise(0)],
        0,
    ),
    "snli_tr": (
        "train/tr",
        {"snli_tr_1.1_train.jsonl": lines(gold("-"), gold("neutral"))},
        [premise(-1), premise(1)],
        1,
    ),
    "snli_tr 1.0": ("train/tr", {"snli_tr_1.0_train.jsonl": lines(gold("neutral"))}, [premise(1)], 0),
    "multinli_tr": ("dev/tr", {"multinli_tr_1.1_dev_matched.jsonl": lines(gold("neutral"))}, [premise(1)], 0),
    "cola": (
        "train/en",
        {"train.tsv": tsv(("gj04", 1, "", A), ("gj04", 0, "*", B))},
        [{"sentence": A, "label": 1}, {"sentence": B, "label": 0}],
        0,
    ),
    "sst2": (
        "dev/en",
        {"dev.tsv": tsv(("sentence", "label"), ("so wet ", 0))},
        [{"sentence": "so wet ", "label": 0}],
        0,
    ),
    "glue_stsb": ("train/en", {"train.tsv": tsv(STS, (0, "", "", "", "", "", "", A, B, "3.800"))}, [pair(3.8)], 0),
    "tweet_emotion": (
        "test/en",
        {"test_text.txt": TWEETS, "test_labels.txt": "3\n1\n"},
        [{"text": "@user so wet 😭", "label": 3}, {"text": "rain\u2028again", "label": 1}],
        0,
    ),
    "afrisenti_am": (
        "train/am",
        {"am_train.tsv": tsv(("ID", "tweet", "label"), (1, A, "positive"))},
        [{"text": A, "label": 0}],
        0,
    ),
    "afrisenti_am folder": (
        "train/am",
        {"train.tsv": tsv(("tweet", "label"), (A, "negative"))},
        [{"text": A, "label": 2}],
        0,
    ),
    "allocine_fr": (
        "dev/fr",
        {"val.jsonl": lines({"film-url": "u", "review": A, "polarity": 1})},
        [{"review": A, "label": 1}],
        0,
    ),
    "polemo2_pl": (
        "train/pl",
        {"train.tsv": tsv(("sentence", "target"), (A, "__label__meta_zero"))},
        [{"sentence": A, "target": "__label__meta_zero"}],
        0,
    ),
    "swedish_reviews_sv": (
        "test/sv",
        {"test.csv": 'sentiment,text\n1,"Bra, ""mycket""\nbra"\n'},
        [{"text": 'Bra, "mycket"\nbra', "label": 1}],
        0,
    ),
    "ag_news": (
        "train/en",
        {"train.csv": f'"3","Wet","{"x" * 200_000}"\n"4","A ""b""","second\\team"\n'},
        [{"text": f"Wet {'x' * 200_000}", "label": 2}, {"text": 'A "b" second\\team', "label": 3}],
        0,
    ),
}


def lay(data_dir: Path, name: str, files: Mapping[str, str]) -> Task:
    for file, text in files.items():
        path = data_dir / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return TASKS[name]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_and_the_hub_give_the_same_records(layout: str, tmp_path: Path) -> None:
    split, files, rows, num_defects = LAYOUTS[layout]
    task = lay(tmp_path, layout.split(" ", maxsplit=1)[0], files)
    remarks = Remarks()
    records = load_records(task, split, tmp_path, remarks)
    assert (
        sum(remarks.left_out.values()) == num_defects and len({record["id"] for record in records}) == len(records) > 0
    )
    if rows:
        assert task.hub is not None
        shape = task.hub.shape_of(split)
        shaped = [fields for row in rows if (fields := shape(row, "here")) is not None]
        assert [{key: value for key, value in record.items() if key != "id"} for record in records] == shaped


def test_every_task_of_classification_in_a_pool_is_read_from_files() -> None:
    named = (pools.english9, pools.english32, pools.nonenglish32, pools.nonenglish_original)
    names = {name for pool in named for name in pool.names}
    chosen = [TASKS[name] for name in names if TASKS[name].kind in ("classification", "regression")]
    parts = [part for task in chosen for part in (task.source.parts if isinstance(task.source, Joined) else (task,))]
    assert {part.name for part in parts if not isinstance(part.source, Files)} == set()
    alone = {task.name for task in TASKS.values() if task.kind == "classification" and isinstance(task.source, Hub)}
    assert alone == {"estonian_valence_et"}


def test_the_development_part_of_msrp_is_that_of_glues_list(tmp_path: Path) -> None:
    rows = tsv(MSRP, (1, 7, 8, A, B), (0, 9, 10, B, A), end="\r\n")
    task = lay(tmp_path, "mrpc", {"msr_paraphrase_train.txt": rows, "dev_ids.tsv": "9\t10\n"})
    assert [r["label"] for r in load_records(task, "train/en", tmp_path)] == ["same"]
    assert [r["label"] for r in load_records(task, "dev/en", tmp_path)] == ["different"]
    (tmp_path / "mrpc/dev_ids.tsv").write_text("9 \n")
    with pytest.raises(
        InputError, match=r"dev_ids\.tsv, line 1: a line must hold the ids of two sentences, but got '9 '"
    ):
        load_records(task, "train/en", tmp_path)
    (tmp_path / "mrpc/dev_ids.tsv").unlink()
    with pytest.raises(InputError, match=r"the file\(s\) dev_ids\.tsv must lie in"):
        load_records(task, "train/en", tmp_path)


def test_a_matched_dev_split_of_a_conversion_holds_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    for folder, label in (("train", 0), ("validation_matched", 1), ("validation_mismatched", 2)):
        place = tmp_path / "set/multinli_tr" / folder
        place.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([premise(label)]), place / "0000.parquet")
    task = TASKS["multinli_tr"]
    assert task.hub is not None
    local = replace(task, hub=replace(task.hub, id=str(tmp_path / "set")))
    found = [[record["label"] for record in load_records(local, split)] for split in ("train/tr", "dev/tr")]
    assert found == [["entailment"], ["neutral"]]


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    name, (split, files, _, _) = "snli", LAYOUTS["snli"]
    lay(tmp_path, name, files)
    sources = Sources(tmp_path)
    assert sources.content(name, split)[1] == 1
    counted = {"rows without a label": 1, "rows with a blank text": 1}
    assert sources.remarks["snli test/en"].left_out == counted
    assert [row["left_out"] for row in checked([name], tmp_path) if row["split"] == split] == [counted]


def test_the_same_defects_are_counted_in_rows_of_the_hub() -> None:
    hub, remarks = TASKS["paws_de"].hub, Remarks()
    assert hub is not None
    with remarks_go_to(remarks):
        assert [hub.shape(row, "row 1") for row in (pair(1, two="NS"), pair(1, one=" "), pair(-1))] == [None] * 3
    assert list(remarks.left_out) == [
        "pairs with the placeholder NS",
        "rows with a blank text",
        "rows with a wrong label",
    ]


def test_what_is_joined_is_read_from_the_files_of_its_parts(tmp_path: Path) -> None:
    task = TASKS["anli_plus"]
    for layout in ("anli", "mnli", "snli"):
        _, files, _, _ = LAYOUTS[layout]
        renamed = {
            re.sub(r"train|dev_matched|test", {"snli": "dev"}.get(layout, r"\g<0>"), f): t for f, t in files.items()
        }
        lay(
            tmp_path,
            layout,
            renamed | {f"R{n}/dev.jsonl": files["R1/train.jsonl"] for n in (1, 2, 3) if layout == "anli"},
        )
    records = local_records(task, "dev/en", tmp_path)
    assert records is not None
    assert {record["id"].split("/")[0] for record in records} == {"anli", "mnli", "snli"}
    assert local_records(task, "train/en", tmp_path) is None
    assert Sources(tmp_path).is_here(task, "dev/en")


def test_a_folder_that_no_task_reads_is_refused(tmp_path: Path) -> None:
    (tmp_path / "estonian_valence_et").mkdir()
    message = r"task 'estonian_valence_et': it is read from the Hub alone.*there is .*estonian_valence_et; rename or remove it"
    for assume in (False, True):
        with pytest.raises(InputError, match=message):
            Sources(tmp_path, assume=assume).spec("estonian_valence_et", "train/et", 128)
    with pytest.raises(InputError, match=message):
        load_records(TASKS["estonian_valence_et"], "train/et", tmp_path)
    assert [row["status"] for row in checked(["estonian_valence_et"], tmp_path)] == ["failed"] * 2
    (tmp_path / "anli_plus").mkdir()
    with pytest.raises(InputError, match=r"task 'anli_plus': it is read as anli, mnli, snli.*there is .*anli_plus"):
        available(TASKS["anli_plus"], "train/en", tmp_path)


def test_a_folder_that_lacks_files_is_never_passed_over(tmp_path: Path) -> None:
    lay(tmp_path, "rte", {"training.tsv": "x"})
    message = (
        r"task 'rte', split 'train/en': the file\(s\) train\.tsv must lie in .*rte, but the folder holds training\.tsv"
    )
    with pytest.raises(InputError, match=message):
        Sources(tmp_path, assume=True).spec("rte", "train/en", 128)
    rows = list(checked(["rte"], tmp_path))
    assert [row["status"] for row in rows] == ["failed", "absent"] and re.match(message, rows[0]["error"])
    lay(tmp_path, "rte", LAYOUTS["rte"][1])
    rows = list(checked(["rte"], tmp_path))
    assert [(row["status"], "dev.tsv must lie in" in row["error"]) for row in rows] == [("ok", False), ("absent", True)]
    # Of a split that may be absent, a plan knows that it is.
    assert not Sources(tmp_path, assume=True).has("rte", "dev/en")
    assert Sources(tmp_path, assume=True).has("qnli", "dev/en")


def test_other_layouts_are_named_where_files_are_looked_for(tmp_path: Path) -> None:
    lay(tmp_path, "mnli", {"x": ""})
    with pytest.raises(InputError, match=r"the file\(s\) train\.tsv must lie in .* \(or multinli_1\.0_train\.jsonl\)"):
        load_records(TASKS["mnli"], "train/en", tmp_path)
    lay(tmp_path, "anli", {"x": ""})
    with pytest.raises(InputError, match=r"R1/train\.jsonl, R2/train\.jsonl, R3/train\.jsonl must lie in"):
        load_records(TASKS["anli"], "train/en", tmp_path)


@pytest.mark.parametrize(("name", "number"), [("afrisenti_am", 5_984), ("husst_hu", 9_328), ("scitail", 23_596)])
def test_sizes_are_those_of_the_publishers_files(name: str, number: int) -> None:
    assert TASKS[name].num_examples == number


REAL = {
    "afrisenti_ha": {"train/ha": 1_772, "dev/ha": 893},
    "ag_news": {"train/en": 2_000, "test/en": 1_000},
    "boolq": {"train/en": 2_000, "dev/en": 1_000},
    "cb": {"train/en": 250, "dev/en": 56},
    "cola": {"train/en": 2_000, "dev/en": 1_000},
    "jnli_ja": {"train/ja": 1_700, "dev/ja": 734},
    "mrpc": {"train/en": 2_000, "dev/en": 800},
    "rte": {"train/en": 2_000, "dev/en": 277},
    "sst2": {"train/en": 2_000, "dev/en": 872},
    "tweet_emotion": {"train/en": 2_000, "dev/en": 374},
    "tweet_offensive": {"train/en": 2_000, "dev/en": 1_000},
    "tweet_sentiment": {"train/en": 1_400, "dev/en": 600},
    "wic": {"train/en": 2_000, "dev/en": 638},
}


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_under_the_registered_name(name: str) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{DATA / name} is not here")
    for split, number in REAL[name].items():
        records = load_records(TASKS[name], split, DATA)
        assert len(records) == number
        assert {record["label"] for record in records} == set(TASKS[name].labels)
