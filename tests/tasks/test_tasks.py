"""The table of tasks, loading and its checks, and every data set that lies beside the repository."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xlray.errors import InputError
from xlray.tasks import (
    TASKS,
    Files,
    Generated,
    Hub,
    Joined,
    Record,
    Task,
    available,
    check_record,
    digest,
    load_records,
)
from xlray.tasks.readers import columns

DATA = Path(__file__).parents[3] / "shared/data"

# Records in the files of that folder: training files are cut at about 2,000 records, development files at about 1,000.
COUNTS = {
    "udpos": {"train/en": 21_253, "dev/en": 3_974, "dev/fi": 3_239},
    "panx": {"train/en": 20_000, "dev/en": 3_000, "dev/fi": 5_000},
    "tydiqa": {"train/en": 3_696, "dev/en": 440},
    "tatoeba": {"all/fi": 500},
    "arc_easy": {"train/en": 400, "dev/en": 170},
    "basqueglue_bhtc": {"train/eu": 2_000, "dev/eu": 1_000},
    "bc2gm": {"train/en": 2_000, "dev/en": 1_000},
    "c3_zh": {"train/zh": 2_000, "dev/zh": 1_002},
    "conll2000_chunking": {"train/en": 2_000, "test/en": 1_000},
    "copa_en": {"train/en": 400, "dev/en": 100},
    "drcd_zh": {"train/zh": 1_522, "dev/zh": 2_002},
    "dream": {"train/en": 2_003, "dev/en": 1_000, "test/en": 1_000},
    "exams_bg": {"train/bg": 2_000, "dev/bg": 593},
    "exams_pl": {"train/pl": 1_577, "dev/pl": 394},
    "farstail_fa": {"train/fa": 2_000, "dev/fa": 1_000, "test/fa": 1_000},
    "germeval2018_de": {"train/de": 2_000, "test/de": 1_000},
    "glue_stsb": {"train/en": 2_000, "dev/en": 1_000},
    "husst_hu": {"train/hu": 2_000, "dev/hu": 1_000},
    "indonli_id": {"train/id": 2_000, "dev/id": 1_000, "test/id": 1_000},
    "indonlu_facqa": {"train/id": 2_000, "dev/id": 311},
    "indonlu_smsa": {"train/id": 2_000, "dev/id": 1_000},
    "jcommonsenseqa_ja": {"train/ja": 2_000, "dev/ja": 1_000},
    "jsquad_ja": {"train/ja": 2_000, "dev/ja": 998},
    "korsts_ko": {"train/ko": 2_000, "dev/ko": 1_000, "test/ko": 1_000},
    "masakhaner_hau": {"train/ha": 606, "dev/ha": 276},
    "masakhaner_swa": {"train/sw": 2_000, "dev/sw": 300, "test/sw": 604},
    "masakhaner_yor": {"train/yo": 744, "dev/yo": 305},
    "mtl_nlu_es": {"train/es": 2_000, "dev/es": 1_000},
    "norec_sentence_no": {"train/no": 2_000, "dev/no": 1_000},
    "ocnli_zh": {"train/zh": 1_997, "dev/zh": 983},
    "panx_es": {"train/es": 2_000, "dev/es": 1_000},
    "panx_ru": {"train/ru": 2_000, "dev/ru": 1_000},
    "parsinlu_mc": {"train/fa": 1_271, "dev/fa": 139},
    "piqa": {"train/en": 1_300, "dev/en": 538},
    "pl_8tags": {"train/pl": 2_000, "dev/pl": 1_000},
    "rucola_ru": {"train/ru": 2_000, "dev/ru": 983},
    "social_iqa": {"train/en": 1_400, "dev/en": 554},
    "squad": {"train/en": 1_991, "dev/en": 999},
    "trec_qc": {"train/en": 5_452, "test/en": 500},
    "tydiqa_ko": {"train/ko": 1_625, "dev/ko": 276},
    "tydiqa_sw": {"train/sw": 2_000, "dev/sw": 499},
    "ud_et_ewt": {"train/et": 2_000, "dev/et": 833, "test/et": 913},
    "ud_hu_szeged": {"train/hu": 910, "dev/hu": 441, "test/hu": 449},
    "udpos_ja": {"train/ja": 2_000, "dev/ja": 511},
    "udpos_zh": {"train/zh": 2_000, "dev/zh": 1_000},
    "wisesight_th": {"train/th": 2_000, "dev/th": 1_000},
    "wnut17": {"train/en": 2_000, "dev/en": 1_000},
    "new_testament": {"train/mul": 213_390},
}

# Labels that the cut files lack; the publishers' full files have them.
ABSENT = {"conll2000_chunking": {"I-LST", "B-UCP", "I-UCP"}}

CLASSES = Task(
    "classes", "classification", ("en",), Generated((), lambda split: ()), role="target", labels=("yes", "no")
)
KINDS = {
    kind: Task(
        "classes",
        kind,
        ("en",),
        Generated((), lambda split: ()),
        role="text" if kind == "mlm" else "target",
        labels=("O", "B-A", "I-A") if kind == "tagging" else ("yes", "no"),
    )
    for kind in ("classification", "regression", "multiple_choice", "span_qa", "tagging", "mlm", "retrieval")
}
VALID: dict[str, Record] = {
    "classification": {"id": "1", "text": "a", "text_pair": None, "label": "yes"},
    "regression": {"id": "1", "text": "a", "text_pair": "b", "label": 0.5},
    "multiple_choice": {"id": "1", "context": "", "question": "q", "choices": ["x", "y"], "label": 1},
    "span_qa": {"id": "1", "question": "q", "context": "In Pori", "answers": [{"text": "Pori", "start": 3}]},
    "tagging": {"id": "1", "tokens": ["a", "b"], "tags": ["B-A", "I-A"]},
    "mlm": {"id": "1", "text": "a", "text_pair": None},
    "retrieval": {"id": "1", "text": "a", "text_pair": "b"},
}


def load(name: str, split: str) -> list[Record]:
    if not DATA.is_dir() or not available(TASKS[name], split, DATA):  # elsewhere the Hub's copy would be available
        pytest.skip(f"{DATA / name} is not here")
    return load_records(TASKS[name], split, DATA)


def test_table_is_explicit_and_complete() -> None:
    assert all(name == task.name for name, task in TASKS.items())
    assert {name for name, task in TASKS.items() if task.role == "target"} == {"udpos", "panx", "tydiqa", "tatoeba"}
    assert {name for name, task in TASKS.items() if task.role == "text"} == {"new_testament"}
    assert TASKS.keys() >= COUNTS.keys()


@pytest.mark.parametrize("name", TASKS)
def test_task_is_filled_in(name: str) -> None:
    task = TASKS[name]
    assert task.licence and task.citation and task.languages
    assert all(re.fullmatch("[a-z]{2}", language) for language in task.languages)
    assert len(set(task.labels)) == len(task.labels)
    assert isinstance(task.source, (Files, Hub, Joined))
    assert all(re.fullmatch(r"(train|dev|test|all)/(mul|[a-z]{2})", split) for split in task.splits)
    assert all(split.split("/")[1] in {*task.languages, "mul"} for split in task.splits)
    assert all(contained in TASKS for contained in task.contains)
    assert set(task.derived_from) <= {*TASKS, "mtl_nlu_en"}  # the English part of it is no task here
    said = any(word in task.notes.lower() for word in ("translated by", "translation"))
    assert bool(task.translated) == (said and task.role == "intermediate")
    if task.role == "intermediate":
        assert f"train/{task.languages[0]}" in task.splits
        same = {"udpos": "udpos", "ud": "udpos", "panx": "panx", "tydiqa": "tydiqa"}.get(name.partition("_")[0])
        assert task.multi_source == (same is not None)
        assert same is None or task.labels == TASKS[same].labels


@pytest.mark.parametrize(("name", "split"), [(name, split) for name, splits in COUNTS.items() for split in splits])
def test_real_data_loads(name: str, split: str) -> None:
    task, records = TASKS[name], load(name, split)
    assert len(records) == COUNTS[name][split]
    if task.kind == "tagging":
        assert all(record["tags"] for record in records)
    if split.startswith("train/") and task.labels:
        found = {tag for r in records for tag in (r["tags"] if task.kind == "tagging" else [r["label"]])}
        # A label set is right when the data have all of it; rare tags may be missing from the first 2,000 sentences.
        missing = set(task.labels) - found - ABSENT.get(name, set())
        assert not missing or name in ("mtl_nlu_es", "udpos_zh", "udpos_ja", "ud_et_ewt", "ud_hu_szeged"), missing
        assert len(missing) <= len(task.labels) / 2
    if task.kind == "multiple_choice":
        assert 0.15 < sum(record["label"] == 0 for record in records) / len(records) < 0.6
    if task.kind == "regression":
        assert {round(record["label"]) for record in records} == {0, 1, 2, 3, 4, 5}


def test_every_folder_has_a_task() -> None:
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not here")
    known = {task.source.folder for task in TASKS.values() if isinstance(task.source, Files)}
    folders = {path.name for path in DATA.iterdir() if path.is_dir()}
    assert folders <= {folder.split("/")[0] for folder in known}


def test_oddities_of_real_data() -> None:
    assert {record["label"] for record in load("ocnli_zh", "dev/zh")} == set(TASKS["ocnli_zh"].labels)  # no "-"
    assert any("\t" in record["text"] for record in load("farstail_fa", "test/fa"))  # quoted tabs
    assert any("#" in record["tokens"] for record in load("udpos", "dev/en"))  # not a comment
    assert any(not record["text"].isascii() for record in load("trec_qc", "train/en"))  # Latin-1
    assert any(len(record["answers"]) > 1 for record in load("indonlu_facqa", "train/id"))
    assert any('"' in record["text"] for record in load("glue_stsb", "train/en"))  # quotes are text
    assert sum(len(record["tokens"]) for record in load("ud_et_ewt", "dev/et")) == 10_002  # as its README counts
    slots = [record for record in load("mtl_nlu_es", "dev/es") if "mañana" in record["tokens"]]
    assert sum(r["tags"][r["tokens"].index("mañana")].endswith("datetime") for r in slots) > 0.9 * len(slots)


def test_finnish_tydiqa_is_halved_until_the_training_file_is_there(tmp_path: Path) -> None:
    dev, test = load("tydiqa", "dev/fi"), load("tydiqa", "test/fi")
    assert len(dev) + len(test) == 391 and abs(len(dev) - len(test)) < 40
    assert not {record["context"] for record in dev} & {record["context"] for record in test}
    folder = tmp_path / "tydiqa"
    folder.mkdir()
    shutil.copy(DATA / "tydiqa/finnish_tydiqa_dev.json", folder)
    shutil.copy(DATA / "tydiqa/english_tydiqa_dev.json", folder / "finnish_tydiqa_train.json")
    assert [len(load_records(TASKS["tydiqa"], split, tmp_path)) for split in ("dev/fi", "test/fi")] == [440, 391]


def test_new_testament_pairs_are_translations() -> None:
    records = load("new_testament", "train/mul")
    alone = {record["id"]: record["text"] for record in records if record["text_pair"] is None}
    pairs = [record for record in records if record["text_pair"] is not None]
    assert len(alone) == 110_813
    for record in pairs[::1000]:
        verse, _, codes = record["id"].partition(" ")
        assert {record["text"], record["text_pair"]} == {alone[f"{verse} {code}"] for code in codes.split("-")}
    english_first = sum(alone.get(record["id"].split("-")[0]) == record["text"] for record in pairs)
    assert 0.45 < english_first / len(pairs) < 0.55


@pytest.mark.parametrize("kind", VALID)
def test_valid_record_passes(kind: str) -> None:
    check_record(KINDS[kind], VALID[kind], "here")


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("classification", {"id": 3}, "here: 'id' must be text that is not blank, but got 3."),
        ("classification", {"text": " "}, "'text' must be text"),
        ("classification", {"text": "\ud800"}, "'text' must be valid Unicode"),
        ("classification", {"text_pair": ""}, "'text_pair' must be text"),
        ("classification", {"label": "maybe"}, "'label' must be one of yes, no, but got 'maybe'"),
        ("classification", {"label": ["yes"]}, "'label' must be one of yes, no"),
        ("classification", {"more": 1}, "a classification record must have the fields"),
        ("regression", {"label": 1.5}, "'label' must be a number from 0.0 to 1.0"),
        ("regression", {"label": float("nan")}, "'label' must be a number"),
        ("regression", {"label": "1"}, "'label' must be a number"),
        ("multiple_choice", {"choices": ["x"]}, "'choices' must be a list of two or more"),
        ("multiple_choice", {"choices": ["x", "\udfff"]}, "'choices' must be valid Unicode"),
        ("multiple_choice", {"label": 2}, "'label' must be the index of one of 2 choices"),
        ("multiple_choice", {"label": True}, "'label' must be the index"),
        ("multiple_choice", {"context": None}, "'context' must be text"),
        ("span_qa", {"answers": None}, "'answers' must be a list"),
        ("span_qa", {"answers": [{"text": "Pori", "start": 2}]}, "the answer 'Pori' must stand at character 2"),
        ("span_qa", {"answers": [{"text": "", "start": 2}]}, "an answer must be {text, start}"),
        ("span_qa", {"answers": ["Pori"]}, "an answer must be {text, start}"),
        ("tagging", {"tags": ["O"]}, "'tags' must be a list of 2, one for each token"),
        ("tagging", {"tags": ["O", "I-A"]}, "the tags must be IOB2"),
        ("tagging", {"tags": ["O", "B-Q"]}, "the tag of token 2 must be one of O, B-A, I-A, but got 'B-Q'"),
        ("tagging", {"tags": ["O", None]}, "the tag of token 2 must be one of"),
        ("tagging", {"tokens": [], "tags": []}, "'tokens' must be a list"),
        ("tagging", {"tokens": ["a", ""]}, "'tokens' must be a list"),
        ("retrieval", {"text_pair": None}, "'text_pair' must be there"),
        ("mlm", {"text": None}, "'text' must be text"),
    ],
)
def test_invalid_record_is_refused(kind: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        check_record(KINDS[kind], VALID[kind] | changes, "here")


def generated(*records: Record, kind: str = "classification") -> Task:
    return replace(KINDS[kind], source=Generated(("train/en", "dev/en"), lambda split: records))


def test_generated_records_are_checked() -> None:
    record = VALID["classification"]
    assert load_records(generated(record), "dev/en") == [record]
    with pytest.raises(InputError, match=r"task 'classes', split 'dev/en', record '1': ids must be unique"):
        load_records(generated(record, record), "dev/en")
    with pytest.raises(InputError, match="task 'classes', split 'dev/en': a split must hold at least one record"):
        load_records(generated(), "dev/en")
    with pytest.raises(InputError, match="a training record must have a label"):
        load_records(generated(record | {"label": None}), "train/en")
    with pytest.raises(InputError, match="a training record must have a label"):
        load_records(generated(VALID["tagging"] | {"tags": None}, kind="tagging"), "train/en")
    with pytest.raises(
        InputError, match=r"must be one of train/en, dev/en, but got 'dev/eng'. Did you mean 'dev/en'\?"
    ):
        load_records(generated(record), "dev/eng")
    assert available(generated(record), "dev/en", None) and not available(generated(record), "dev/fi", None)


def test_missing_files_are_named(tmp_path: Path) -> None:
    task = replace(KINDS["tagging"], source=Files("names", {"dev/en": ("a.tsv", "b.tsv")}, columns))
    with pytest.raises(InputError, match=r"a data directory must be given.*--data-dir or XLRAY_DATA_DIR"):
        load_records(task, "dev/en")
    with pytest.raises(InputError, match=r"a\.tsv, b\.tsv must lie in .*names, but .*nowhere is not a directory"):
        load_records(task, "dev/en", tmp_path / "nowhere")
    (tmp_path / "namez").mkdir()
    with pytest.raises(InputError, match=r"there is no such folder. Did you mean 'namez'\?"):
        load_records(task, "dev/en", tmp_path)
    (tmp_path / "names").mkdir()
    with pytest.raises(InputError, match="but the folder holds nothing"):
        load_records(task, "dev/en", str(tmp_path))
    (tmp_path / "names/a.tsv").write_text("x\tB-A\n")
    (tmp_path / "names/bb.tsv").write_text("y\tO\n")
    with pytest.raises(
        InputError, match=r"b\.tsv must lie in .*, but the folder holds a\.tsv, bb\.tsv. Did you mean 'bb.tsv'"
    ):
        load_records(task, "dev/en", tmp_path)
    assert not available(task, "dev/en", tmp_path)
    assert not available(task, "dev/fi", tmp_path)
    assert not available(task, "dev/en", None)
    (tmp_path / "names/bb.tsv").rename(tmp_path / "names/b.tsv")
    assert available(task, "dev/en", tmp_path)
    assert [record["id"] for record in load_records(task, "dev/en", tmp_path)] == ["a.tsv:1", "b.tsv:1"]
    with pytest.raises(InputError, match="the split must be one of dev/en, but got 'train/en'"):
        load_records(task, "train/en", tmp_path)


def test_digest_is_the_identity_of_the_examples() -> None:
    one, two = VALID["classification"], VALID["classification"] | {"id": "2", "text": "ä"}
    lines = (
        '{"id":"1","label":"yes","text":"a","text_pair":null}\n{"id":"2","label":"yes","text":"ä","text_pair":null}\n'
    )
    known = hashlib.sha256(lines.encode()).hexdigest()
    assert digest([one, two]) == known
    assert digest([dict(reversed(one.items())), two]) == known
    assert len({digest(records) for records in ([], [one], [two], [two, one], [one, one], [one, two])}) == 6
    nested: Mapping[str, Any] = json.loads(json.dumps(VALID["span_qa"]))
    assert digest([VALID["span_qa"]]) == digest([dict(nested)])
