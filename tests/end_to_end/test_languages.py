"""A sweep on an object store, seen from other machines, and evaluated in a second language later; real Ray, a real S3 server."""

import csv
import json
import os
import subprocess
import sys

import pytest

from xlray.api import load_results
from xlray.cli import main
from xlray.storage.storage import open_storage
from xlray.storage.sweep_folder import sweep_folder

pytestmark = pytest.mark.ray
URI = "s3://bucket/languages"

SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Subset, Sweep, Target, Task
from xlray.mini import realise
from xlray.mini.tasks import records, tagged_sentence
from xlray.mini.words import UPOS, text_of


def parts_of_speech(rng, scenes, language):
    words = tagged_sentence(rng, scenes, language).words
    return {"tokens": [word.text for word in words], "tags": [word.upos for word in words]}


def pairs(rng, scenes, language):
    make = realise.any_sentence(rng, next(scenes), next(scenes), 0.2)
    return {"text": text_of(make("en").words), "text_pair": text_of(make(language).words)}


SIZES = {"dev/fi": 40, "test/fi": 40, "dev/de": 40, "test/de": 40}
LANGUAGES = ("en", "fi", "de")
sweep = Sweep(
    name="small",
    encoder=Pretraining(
        tasks=("mini_text",), architecture=Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32
    ),
    measure=(Subset(()), Subset(("mini_topic_en",))),
    intermediate=Intermediate(
        rungs=(64,), batch_size=16, learning_rate=1e-3, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(Target("pos", num_examples=64, batch_size=16, learning_rate=1e-3), Target("pairs")),
    own_tasks=(
        Task("pos", "tagging", LANGUAGES, records("pos", parts_of_speech, {"train/en": 200, **SIZES}), "target", UPOS),
        Task("pairs", "retrieval", LANGUAGES, records("pairs", pairs, SIZES), "target"),
    ),
    execution=Execution(num_workers=1, micro_batch_tokens=1024, checkpoint_every_steps=2),
)
"""
BOTH = ("--set", 'languages=["fi", "de"]')


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """That of the sweep."""
    path = tmp_path_factory.mktemp("sweep") / "small.py"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def run(file, s3_server):
    """Runs the sweep in the storage, from a machine whose working folder is `XLRAY_CACHE`; it has run in Finnish."""

    def run_it(*options):
        command = [sys.executable, "-m", "xlray", "run", str(file), *options, "--storage", URI]
        environment = {**os.environ, "XLRAY_CACHE": str(file.parent / "one")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run_it()
    return run_it


@pytest.fixture
def xlray(run, file, monkeypatch, capsys):
    """Gives the document that a command prints on a machine."""

    def command(machine, *arguments):
        monkeypatch.setenv("XLRAY_CACHE", str(file.parent / machine))
        code = main.main([*map(str, arguments), "--storage", URI, "--json"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return json.loads(printed.out)

    return command


def test_a_sweep_runs_on_an_object_store_and_is_there_for_other_machines(file, xlray):
    status = xlray("another", "status", "small")
    assert status["state"] == "finished" and [trial["rung"] for trial in status["trials"]] == [64, 64]
    assert xlray("another", "plan", file)["phases"] == {"new": 0, "stored": 8, "shared": 0}
    report = xlray("another", "report", "small")
    assert any(estimate["name"].startswith("mean/fi_accuracy") for estimate in report["estimates"])
    garbage = xlray("a-third", "gc", "--dry-run")
    assert not garbage["kinds"].keys() & {"phase", "data", "encoder", "attempt", "upload"}, garbage


def test_a_second_language_trains_the_targets_again_and_nothing_before_them(run, file, xlray, monkeypatch, capsys):
    monkeypatch.setenv("XLRAY_CACHE", str(file.parent / "one"))
    folder = sweep_folder(open_storage(URI), "small")
    alone = load_results(folder.path)
    assert alone.languages == ("fi",) and "de_accuracy" not in alone.trials.column_names
    planned = xlray("one", "plan", file, *BOTH)
    assert planned["languages"] == ["fi", "de"]
    assert planned["phases"] == {"new": 4, "stored": 4, "shared": 0}, (
        "two targets of two trials; shared ones are stored"
    )
    assert "German" in run(*BOTH)
    both = load_results(folder.path)
    assert both.languages == ("fi", "de") and both.accuracy_name == "fi_accuracy"

    def dev(results, language):
        rows = results.scores.to_pylist()
        return {
            (r["trial_id"], r["task"], r["metric"]): r["value"]
            for r in rows
            if r["language"] == language and r["split"] == "dev"
        }

    assert dev(both, "fi") == dev(alone, "fi"), "the headline's numbers stay what they were"
    german = dev(both, "de")
    assert german and {r["split"] for r in both.scores.to_pylist()} == {"dev"}, "test sets are sealed"
    for row in both.trials.to_pylist():
        mean = sum(german[row["trial_id"], task, "headline"] for task in ("pos", "pairs")) / 2
        assert row["de_accuracy"] == pytest.approx(mean)
    last = [entry for entry in folder.journal.read() if entry["event"] == "rung"][-1]
    assert last["accuracy"] == last["fi_accuracy"] and set(last["scores_in"]["de"]) == {"pos", "pairs"}
    (trial, _) = xlray("one", "status", "small")["trials"]
    assert {"fi_accuracy", "de_accuracy"} <= set(trial)
    found = {estimate["name"] for estimate in xlray("one", "report", "small")["estimates"]}
    assert {"mean/fi_accuracy/0", "mean/de_accuracy/0", "difference/de_accuracy/1-all - 0"} <= found
    rows = list(csv.DictReader((folder / "report/tables/by_language.csv").open()))
    assert [(row["target"], row["cell"]) for row in rows[:2]] == [("mean", "0"), ("mean", "1-all")]
    assert all(row["fi"] and row["de"] for row in rows) and {row["target"] for row in rows} == {"mean", "pos", "pairs"}
    assert main.main(["plan", str(file), "--set", 'languages=["fi", "et"]', "--storage", URI]) == 2
    assert "target 'pos': `language` must be one of its dev sets (fi, de), but got 'et'" in capsys.readouterr().err
