"""`xlray tasks check --overlap`: counts of training examples that hold text of the target data, and the list behind them."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from command_line import xlray

from xlray.data.contamination import (
    load_exclusions,
)
from xlray.data.registry import ALL_TASKS
from xlray.errors import InputError
from xlray.storage.storage import Storage
from xlray.tasks import load_records
from xlray.tasks.task import Generated


@pytest.fixture
def data_dir(tmp_path):
    """panx with one Finnish sentence in its English training data, and a set that holds another."""
    folder = tmp_path / "data"
    (folder / "panx").mkdir(parents=True)
    (folder / "copa_en").mkdir()

    def write(name, sentences):
        lines = ["".join(f"{word}\tO\n" for word in sentence.split()) for sentence in sentences]
        (folder / "panx" / f"{name}.tsv").write_text("\n".join(lines) + "\n")

    write("train-en", ["New Kids on the Block", "this is an English sentence", "it is another one [/b]"])
    write("dev-en", ["only for evaluation here"])
    write("dev-fi", ["new kids on the block", "Tässä on suomenkielinen lause"])
    copa = {"choice1": "x", "choice2": "y", "question": "cause", "label": 0, "changed": False}
    premises = ["Tässä on suomenkielinen teksti.", "The man went out today."]
    rows = [copa | {"premise": premise, "idx": number} for number, premise in enumerate(premises)]
    (folder / "copa_en" / "train-en.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def check(capfd, data_dir, storage, *arguments):
    options = ("--data-dir", data_dir, "--storage", storage, *arguments)
    return xlray(capfd, "tasks", "check", "--overlap", *options)


@pytest.fixture
def without_hub(monkeypatch):
    """Few tasks, and those that are not in the data directory are nowhere."""
    names = ("panx", "udpos", "copa_en", "mini_tatoeba", "mini_topic_en")
    small = {name: replace(ALL_TASKS[name], hub=None) for name in names}
    monkeypatch.setattr("xlray.cli.task_catalogue.ALL_TASKS", small)


def test_the_command_counts_what_overlaps(capfd, data_dir, tmp_path, without_hub):
    code, out, err = check(capfd, data_dir, tmp_path / "runs", "panx", "copa_en", "dream", "--json")
    document = json.loads(out)
    rows = {row["task"]: row for row in document["sets"]}
    assert (code, err) == (0, "") and not (tmp_path / "runs").exists()
    assert (rows["panx"]["examples"], rows["panx"]["overlapping"], rows["panx"]["share"]) == (
        3,
        1,
        pytest.approx(1 / 3),
    )
    assert rows["panx"]["texts"] == ["New Kids on the Block"]
    assert (rows["copa_en"]["overlapping"], rows["dream"]["status"]) == (0, "absent")


def test_the_command_makes_a_list_on_request_and_uses_it_from_then_on(capfd, data_dir, tmp_path, without_hub):
    runs = tmp_path / "runs"
    code, out, _ = check(capfd, data_dir, runs, "panx", "--update", "--json")
    first = json.loads(out)["exclusions"]
    assert code == 0 and first["stored"] and load_exclusions(Storage(runs)).version == first["version"]
    assert "panx test/fi" in first["lacking"] and first["outdated"] == [] and first["num_in_english"] >= 1
    (data_dir / "panx/test-fi.tsv").write_text("this\tO\nis\tO\nan\tO\nEnglish\tO\nsentence\tO\n")
    code, out, _ = check(capfd, data_dir, runs, "panx", "--json")
    document = json.loads(out)
    assert document["exclusions"]["version"] == first["version"] and document["sets"][0]["overlapping"] == 1
    assert document["exclusions"]["outdated"] == ["panx test/fi"]
    code, out, _ = check(capfd, data_dir, runs, "panx")
    assert code == 0 and "panx test/fi; --update takes them in" in out and "New Kids" in out
    code, out, _ = check(capfd, data_dir, runs, "panx", "--update", "--json")
    document = json.loads(out)
    assert document["exclusions"]["version"] != first["version"] and document["sets"][0]["overlapping"] == 2


def test_brackets_in_texts_are_no_markup(capfd, data_dir, tmp_path, without_hub):
    (data_dir / "panx/dev-fi.tsv").write_text("it\tO\nis\tO\nanother\tO\none\tO\n[/b]\tO\n")
    code, out, _ = check(capfd, data_dir, tmp_path / "runs", "panx")
    assert code == 0 and "it is another one [/b]" in out


def test_files_that_cannot_be_read_and_wrong_use_exit_with_2(capfd, data_dir, tmp_path, without_hub):
    runs = tmp_path / "runs"
    assert xlray(capfd, "tasks", "check", "--update")[0] == 2
    (data_dir / "panx/train-en.tsv").write_text("The\tARTICLE\n")
    code, _, err = check(capfd, data_dir, runs, "panx", "--json")
    assert code == 2 and "train-en.tsv" in err and err.count("\n") == 1
    code, _, err = check(capfd, data_dir, runs, "mini_topic_en", "--json")
    assert code == 2 and "train-en.tsv" in err, "a list is made of English training data of the targets, too"


def test_the_hub_is_asked_once_where_it_is_out_of_reach(tmp_path, monkeypatch):
    from xlray.cli.task_catalogue import made_exclusions

    asked = []

    def unreachable(task, split, data_dir=None, remarks=None):
        if isinstance(task.source, Generated):
            return load_records(task, split, data_dir)
        asked.append((task.name, split))
        raise InputError("not in reach")

    monkeypatch.setattr("xlray.cli.task_catalogue.load_records", unreachable)
    made = made_exclusions(tmp_path)
    assert len(asked) == 1 and all(source.task.startswith("mini_") for source in made.sources)
