"""`xlray bench data`: both sides do the same work, and the document has the shape that other programs rely on."""

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import helpers
import pytest

from xlray.bench import data
from xlray.cli import main
from xlray.data import tokenization
from xlray.data.tokenization import open_examples, prepare
from xlray.data.tokenizer import train_tokenizer
from xlray.errors import InputError
from xlray.phases.spec import phase_hash
from xlray.plan.jobs import read_job
from xlray.storage.storage import Storage


@pytest.fixture(scope="module")
def document():
    before = dict(os.environ)
    found = data.bench_data(num_records=200, repetitions=2)
    changed = {name for name in before.keys() | os.environ.keys() if before.get(name) != os.environ.get(name)}
    assert changed <= {"RAYON_NUM_THREADS"}
    return found


def test_both_sides_make_as_many_tokens_of_as_many_records(document):
    ours, theirs = document["rows"]
    assert (ours["name"], theirs["name"]) == ("xlray", "datasets_map")
    assert ours["tokens"] == theirs["tokens"] > 200 * 30
    assert ours["records"] == theirs["records"] == 200


def test_the_ratio_is_that_of_the_medians_speeds(document):
    ours, theirs = document["rows"]
    for row in document["rows"]:
        assert len(row["times"]) == 2 and row["seconds"] == pytest.approx(sum(row["times"]) / 2)
        assert row["tokens_per_second"] == pytest.approx(row["tokens"] / row["seconds"])
    assert document["ratios"] == {
        "xlray/datasets_map": pytest.approx(ours["tokens_per_second"] / theirs["tokens_per_second"])
    }


def test_the_document_names_machine_and_versions(document):
    assert document.keys() == {"bench", "machine", "versions", "rows", "ratios"}
    assert document["bench"] == "data" and document["machine"]["cores"] >= 1
    assert {"xlray", "datasets", "tokenizers"} <= document["versions"].keys()
    assert json.loads(json.dumps(document)) == document


def test_the_records_are_the_same_every_time_and_differ_among_themselves():
    records = data.make_records(50)
    assert records == data.make_records(50) and records == data.make_records(60)[:50]
    assert len({record["text"] for record in records}) == 50
    assert {record["label"] for record in records} == set(data.LABELS)


def test_some_pairs_are_cut_and_some_are_not(tmp_path):
    records = data.make_records(200)
    train_tokenizer(records, 1_000).save(str(tmp_path / "tokenizer.json"))
    vocabulary = tokenization.load_vocabulary(tmp_path / "tokenizer.json")
    spec = helpers.data_spec("t", "classification", "train/en", records, data.MAX_LENGTH, labels=data.LABELS)
    lengths = open_examples(prepare(Storage(tmp_path), spec, records, vocabulary), spec).row_tokens
    assert lengths.max() == data.MAX_LENGTH > lengths.min()
    assert 0.02 < (lengths == data.MAX_LENGTH).mean() < 0.98


@pytest.mark.parametrize(("records", "repetitions"), [(0, 1), (10, 0), (-1, 1)])
def test_nothing_to_measure_is_refused(records, repetitions):
    with pytest.raises(InputError, match="> 0"):
        data.bench_data(records, repetitions)


def test_the_command_prints_one_document(capfd, monkeypatch, document):
    monkeypatch.setattr(data, "bench_data", lambda records, repetitions: {**document, "asked": [records, repetitions]})
    assert main.main(["bench", "data", "--json", "--records", "7", "--repetitions", "3"]) == 0
    assert json.loads(capfd.readouterr().out)["asked"] == [7, 3]
    assert main.main(["bench", "data"]) == 0
    assert "xlray/datasets_map" in capfd.readouterr().out


def test_a_number_that_cannot_be_measured_is_wrong_use(capfd):
    assert main.main(["bench", "data", "--records", "0"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


# --- the preparation in batches ------------------------------------------------------------------------------------

WORDS = [f"word{i}" for i in range(100)]
RECORDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "classification": lambda i: {"text": WORDS[i], "text_pair": WORDS[-i] if i % 2 else None, "label": "a"},
    "multiple_choice": lambda i: {"context": "", "question": WORDS[i], "choices": WORDS[i : i + 2 + i % 3], "label": 0},
    "tagging": lambda i: {"tokens": WORDS[i : i + 1 + i % 4], "tags": ["a"] * (1 + i % 4)},
    "span_qa": lambda i: {
        "question": WORDS[i],
        "context": " ".join(WORDS[i : i + 9]),
        "answers": [{"text": WORDS[i + 1], "start": len(WORDS[i]) + 1}],
    },
    "mlm": lambda i: {"text": WORDS[i], "text_pair": WORDS[-i] if i % 2 else None},
    "retrieval": lambda i: {"text": WORDS[i], "text_pair": WORDS[-i - 1]},
}


@pytest.mark.parametrize("kind", RECORDS)
def test_rows_do_not_depend_on_the_size_of_batches(tmp_path, monkeypatch, kind):
    vocabulary = helpers.word_tokenizer(tmp_path / "tokenizer.json", WORDS)
    records = [{"id": str(i), **RECORDS[kind](i)} for i in range(11)]
    spec = helpers.data_spec("t", kind, "train/en", records, max_length=12, stride=3, labels=("a",))
    files = []
    for size in (1, 4, 11, 1_024):
        monkeypatch.setattr(tokenization, "BATCH_RECORDS", size)
        files.append(
            (prepare(Storage(tmp_path / str(size)), spec, records, vocabulary) / "examples.arrow").read_bytes()
        )
    assert all(a == b for a, b in itertools.pairwise(files))
    found = open_examples(prepare(Storage(tmp_path / "4"), spec, records, vocabulary), spec)
    assert found.record.tolist() == sorted(found.record.tolist()) and set(found.record.tolist()) == set(range(11))


@pytest.mark.slow
def test_the_costs_of_a_large_sweep_are_measured():
    from xlray.bench.scheduler import bench_scheduler

    document = bench_scheduler(0, 20)
    assert document["bench"] == "scheduler" and document["ratios"] == {}
    assert len(document["rows"]) == 7
    assert all(row["seconds"] > 0 and row["cpu_seconds"] >= 0 for row in document["rows"])
    with pytest.raises(InputError, match="finished is 0 or >= 10"):
        bench_scheduler(0, 5)


@pytest.mark.ray
@pytest.mark.slow
def test_a_trial_and_torchrun_run_the_same_job_to_its_end():
    from xlray.bench.overhead import bench_overhead

    document = bench_overhead(1)
    ours, theirs = document["rows"]
    assert (ours["name"], theirs["name"]) == ("xlray", "torchrun")
    assert all(0 < row["first_step_seconds"] < row["seconds"] and row["end_seconds"] > 0 for row in document["rows"])
    assert document["ratios"]["xlray/torchrun"] == ours["first_step_seconds"] / theirs["first_step_seconds"]


def test_jobs_of_the_overhead_differ_by_their_seed_alone(tmp_path):
    from xlray.bench.overhead import _jobs

    specs = [next(iter(read_job(path).phases)) for path in _jobs(tmp_path, 3)]
    assert [spec.seed for spec in specs] == [0, 1, 2]
    assert len({phase_hash(replace(spec, seed=0)) for spec in specs}) == 1 and specs[0].num_steps == 4


def test_no_repetitions_of_the_overhead_are_refused(capfd):
    assert main.main(["bench", "overhead", "--repetitions", "0"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


@pytest.mark.ray
@pytest.mark.slow
def test_no_op_trials_run_through_the_queue_and_bare():
    from xlray.bench.scheduler import bench_scheduler

    document = bench_scheduler(2, 0)
    assert [row["name"] for row in document["rows"]] == ["2 no-op trials, xlray", "2 no-op trials, bare_ray_train"]
    first, second = (row["seconds"] for row in document["rows"])
    assert document["ratios"] == {"xlray/bare_ray_train": first / second} and min(first, second) > 0
