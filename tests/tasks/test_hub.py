"""Sets on the Hub, read from local folders in the Hub's layout."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray.data.records import Sources
from xlray.errors import InputError
from xlray.tasks import TASKS, Files, Hub, Task, available, load_records
from xlray.tasks.readers import json_lines
from xlray.tasks.shapes import labelled
from xlray.tasks.task import CONVERTED

SHAPE = partial(labelled, text="sentence", label="label", names={"0": "no", "1": "yes"}, left_out=("-1",))


def hub_folder(folder: Path, **splits: list[tuple[str, int]]) -> Path:
    (folder / "data").mkdir(parents=True)
    for split, rows in splits.items():
        table = pa.table({"sentence": [text for text, _ in rows], "label": [label for _, label in rows]})
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def task(folder: Path, **changes: object) -> Task:
    hub = Hub(str(folder), None, {"train/en": "train", "dev/en": "validation"}, SHAPE)
    return Task("yes_no", "classification", ("en",), hub, labels=("no", "yes"), **changes)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_rows_become_records_named_by_split_and_row(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set", train=[("a", 0), ("b", -1), ("c", 1)], validation=[("d", 1)])
    records = load_records(task(folder), "train/en")
    assert [(r["id"], r["text"], r["label"]) for r in records] == [("train:0", "a", "no"), ("train:2", "c", "yes")]
    assert [r["id"] for r in load_records(task(folder), "dev/en")] == ["validation:0"]


def test_a_row_that_does_not_fit_is_named(tmp_path: Path) -> None:
    folder = hub_folder(tmp_path / "set", train=[("a", 0), ("b", 7)], validation=[("d", 1)])
    with pytest.raises(InputError, match=r"task 'yes_no', split 'train/en'.*row 1: the label must be one of 0, 1"):
        load_records(task(folder), "train/en")


def test_a_split_may_have_a_configuration_and_a_shape_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    hub_folder(folder / "one", train=[("a", 0)])
    hub_folder(folder / "two", train=[("b", 0)])
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: one\n  data_files: [{split: train, path: one/data/train-*}]\n"
        "- config_name: two\n  data_files: [{split: train, path: two/data/train-*}]\n---\n"
    )
    shapes = {"dev/fi": partial(labelled, text="sentence", label="label", names={"0": "yes"})}
    splits = {"train/en": "train", "dev/fi": "train"}
    hub = Hub(str(folder), None, splits, SHAPE, "one", configs={"dev/fi": "two"}, shapes=shapes)
    both = Task("both", "classification", ("en", "fi"), hub, role="target", labels=("no", "yes"))
    found = [[(r["text"], r["label"]) for r in load_records(both, split)] for split in splits]
    assert found == [[("a", "no")], [("b", "yes")]]


def test_a_configuration_of_the_conversion_is_a_folder(tmp_path: Path) -> None:
    for name, text in (("es", "a"), ("nl", "b")):
        folder = tmp_path / "set" / name / "train"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"sentence": [text], "label": [1]}), folder / "0000.parquet")
    hub = Hub(str(tmp_path / "set"), CONVERTED, {"train/nl": "train"}, SHAPE, "nl")
    dutch = Task("dutch", "classification", ("nl",), hub, labels=("no", "yes"))
    assert [r["text"] for r in load_records(dutch, "train/nl")] == ["b"]


def test_a_set_that_is_a_script_is_one_line(tmp_path: Path) -> None:
    hub_folder(tmp_path / "set", train=[("a", 0)])
    (tmp_path / "set" / "set.py").write_text("raise SystemExit\n")
    with pytest.raises(InputError, match="scripts are no longer supported") as error:
        load_records(task(tmp_path / "set"), "train/en")
    assert "\n" not in str(error.value)


def test_a_set_that_cannot_be_reached_is_one_line() -> None:
    hub = Hub("nobody/nothing", "0" * 40, {"train/en": "train"}, SHAPE)
    unreachable = Task("far", "classification", ("en",), hub, labels=("no", "yes"))
    with pytest.raises(InputError, match=f"nobody/nothing@{'0' * 40} must be in the Hub's cache or reachable") as error:
        load_records(unreachable, "train/en")
    assert "\n" not in str(error.value)


def test_an_unknown_split_is_refused_before_anything_is_loaded() -> None:
    hub = Hub("nobody/nothing", None, {"train/en": "train"}, SHAPE)
    with pytest.raises(InputError, match="the split must be one of train/en, but got 'test/en'"):
        load_records(Task("far", "classification", ("en",), hub, labels=("no", "yes")), "test/en")


def test_files_come_before_the_hub_and_a_folder_that_lacks_one_is_an_error(tmp_path: Path) -> None:
    shape = partial(labelled, text="sentence", label="label")
    files = Files("yes_no", {"train/en": ("train.jsonl",)}, partial(json_lines, shape=shape))
    hub = Hub(str(hub_folder(tmp_path / "set", train=[("hub", 1)])), None, {"train/en": "train"}, SHAPE)
    both = Task("yes_no", "classification", ("en",), files, labels=("no", "yes"), hub=hub)
    assert load_records(both, "train/en", tmp_path)[0]["text"] == "hub"
    assert available(both, "train/en", tmp_path)
    (tmp_path / "yes_no").mkdir()
    assert not available(both, "train/en", tmp_path)
    with pytest.raises(InputError, match=r"the file\(s\) train.jsonl must lie in"):
        load_records(both, "train/en", tmp_path)
    (tmp_path / "yes_no" / "train.jsonl").write_text('{"sentence": "file", "label": "no"}\n')
    assert load_records(both, "train/en", tmp_path)[0]["text"] == "file"


def categories(folder: Path, labels: str, rows: str) -> Path:
    (folder / "ccg_en").mkdir(parents=True)
    (folder / "ccg_en" / "labels.txt").write_text(labels)
    (folder / "ccg_en" / "train.tsv").write_text(rows)
    return folder


def test_labels_may_be_listed_in_a_file_beside_the_data(tmp_path: Path) -> None:
    folder = categories(tmp_path, "N\nNP/N\n(S\\NP)/NP\n", "a\tNP/N\ncat\tN\n\nsees\t(S\\NP)/NP\n")
    assert [r["tags"] for r in load_records(TASKS["ccg_en"], "train/en", folder)] == [["NP/N", "N"], ["(S\\NP)/NP"]]
    sources = Sources(folder)
    assert sources.spec("ccg_en", "train/en", 64).labels == ("N", "NP/N", "(S\\NP)/NP")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("N\nNP\nN\n", "must name each once and none blank, but got 'N'"),
        ("", "must name its `labels`, but got none"),
        ("N\n", "must name at least two"),
        ("O\nB-X\nL-X\n", "labels.txt: tags must be those of IOB2"),
    ],
)
def test_a_label_file_that_holds_no_label_set_is_refused(tmp_path: Path, labels: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_records(TASKS["ccg_en"], "train/en", categories(tmp_path, labels, "a\tN\n"))


def test_a_missing_label_file_and_a_label_outside_it_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels.txt must list the labels, one per line, but there is no such file"):
        load_records(TASKS["ccg_en"], "train/en", tmp_path)
    with pytest.raises(InputError, match=r"the tag of token 1 must be one of N, S, but got 'NP'"):
        load_records(TASKS["ccg_en"], "train/en", categories(tmp_path, "N\nS\n", "a\tNP\n"))
