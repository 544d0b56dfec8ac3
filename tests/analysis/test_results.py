import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray.analysis import results
from xlray.analysis.results import ITEMS, PHASES, SCORES, STEPS, TRIALS
from xlray.errors import InputError
from xlray.storage import parquet

DESIGN_COLUMNS = {
    "scores": "sweep trial_id cell num_tasks tasks seed rung num_examples task language split metric value "
    "num_eval_examples selection",
    "trials": "sweep trial_id status role cell num_tasks tasks source chain position seed last_rung degenerate error "
    "execution method_versions",
    "phases": "phase kind status num_steps num_tokens device_hours trial_id",
    "items": "sweep trial_id rung task language split item statistic value",
    "steps": "phase kind task rung step examples loss learning_rate grad_norm tokens_per_second padding_ratio",
}


def score(trial_id, rung_index, task, value, **changes):
    row = {
        "sweep": "s",
        "trial_id": trial_id,
        "cell": "2-all",
        "num_tasks": 2,
        "tasks": ["a", "b"],
        "seed": 0,
        "rung": 64 * 4**rung_index,
        "rung_index": rung_index,
        "num_examples": 0 if task == "tatoeba" else 128,
        "task": task,
        "language": "fi",
        "split": "dev",
        "metric": "headline",
        "value": value,
        "num_eval_examples": 100,
        "selection": True,
        "role": "measure",
        "source": "all",
        "phase": "p",
    }
    return {**row, **changes}


def write_scores(folder, rows, trials=()):
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(rows, SCORES))
    parquet.write_table(folder / "results/trials.parquet", parquet.to_table(list(trials), TRIALS))
    return folder


@pytest.mark.parametrize(
    ("name", "schema"),
    [("scores", SCORES), ("trials", TRIALS), ("phases", PHASES), ("items", ITEMS), ("steps", STEPS)],
)
def test_schemas_hold_the_designed_columns_in_order(name, schema):
    wanted = DESIGN_COLUMNS[name].split()
    assert [column for column in schema.names if column in wanted] == wanted


def test_table_survives_a_round_trip(tmp_path):
    table = parquet.to_table([score("t", 0, "udpos", 50.0)], SCORES)
    parquet.write_table(tmp_path / "new/scores.parquet", table)
    assert parquet.read_table(tmp_path / "new/scores.parquet", SCORES).equals(table)
    items = parquet.to_table(
        [{"sweep": "s", "trial_id": "t", "rung": 64, "item": 3, "statistic": "tp", "value": 1.0}], ITEMS
    )
    parquet.write_table(tmp_path / "items.parquet", items)
    assert parquet.read_table(tmp_path / "items.parquet", ITEMS).to_pylist() == items.to_pylist()


def test_read_takes_equal_values_in_other_types_and_ignores_further_columns(tmp_path):
    table = parquet.to_table([score("t", 0, "udpos", 50.0)], SCORES)
    frame = table.set_column(5, "seed", table["seed"].cast(pa.int32())).append_column("more", pa.array([1]))
    pq.write_table(frame, tmp_path / "t.parquet")
    assert parquet.read_table(tmp_path / "t.parquet", SCORES).equals(table)


def truncate(path, table):
    pq.write_table(table, path)
    path.write_bytes(path.read_bytes()[:-20])


def mistype(path, table):
    pq.write_table(table.set_column(table.schema.get_field_index("value"), "value", pa.array(["x"])), path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path, table: None, "no such file"),
        (lambda path, table: path.write_bytes(b""), "not a readable Parquet file"),
        (truncate, "not a readable Parquet file"),
        (lambda path, table: pq.write_table(table.drop_columns(["value"]), path), "column 'value' is missing"),
        (mistype, "'value' must be double"),
    ],
)
def test_damaged_table_is_one_clear_line(tmp_path, damage, message):
    path = tmp_path / "scores.parquet"
    damage(path, parquet.to_table([score("t", 0, "udpos", 50.0)], SCORES))
    with pytest.raises(InputError, match=message) as caught:
        parquet.read_table(path, SCORES)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_crash_while_writing_keeps_the_old_table(tmp_path, monkeypatch, moment):
    path = tmp_path / "scores.parquet"
    old, new = (parquet.to_table([score("t", 0, "udpos", value)], SCORES) for value in (1.0, 2.0))
    parquet.write_table(path, old)

    def crash(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(*((pq, "write_table", crash) if moment == "write" else (type(path), "replace", crash)))
    with pytest.raises(KeyboardInterrupt):
        parquet.write_table(path, new)
    monkeypatch.undo()
    assert parquet.read_table(path, SCORES).equals(old)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.parquet"]


def test_killed_before_replace_keeps_the_old_table(tmp_path):
    path = tmp_path / "phases.parquet"
    parquet.write_table(path, parquet.to_table([{"phase": "old"}], PHASES))
    code = (
        "import os, sys, pathlib; from xlray.analysis.results import PHASES; from xlray.storage import parquet\n"
        "pathlib.Path.replace = lambda *_: os._exit(9)\n"
        "parquet.write_table(sys.argv[1], parquet.to_table([{'phase': 'new'}], PHASES))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert parquet.read_table(path, PHASES)["phase"].to_pylist() == ["old"]


def test_columns_that_older_results_lack_are_null(tmp_path):
    table = parquet.to_table([{"trial_id": "a", "effective_tasks": 2.0}], TRIALS)
    pq.write_table(table.drop_columns(["effective_tasks", "rung_tokens"]), tmp_path / "trials.parquet")
    read = parquet.read_table(tmp_path / "trials.parquet", TRIALS, results.ADDED)
    assert read.schema.names == TRIALS.names and read["trial_id"].to_pylist() == ["a"]
    assert read["effective_tasks"].to_pylist() == read["rung_tokens"].to_pylist() == [None]
    with pytest.raises(InputError, match="column 'rung_tokens' is missing"):
        parquet.read_table(tmp_path / "trials.parquet", TRIALS, ["effective_tasks"])


def test_to_table_names_the_unknown_column():
    with pytest.raises(InputError, match="row 1: unknown column 'vaule'"):
        parquet.to_table([{"value": 1.0}, {"vaule": 1.0}], SCORES)
    with pytest.raises(InputError, match="do not fit"):
        parquet.to_table([{"value": "high"}], SCORES)


def test_fi_accuracy_is_the_plain_mean():
    scores = {"udpos": 80.0, "panx": 60.0, "tydiqa": 40.0, "tatoeba": 20.0}
    assert results.mean_headline(scores) == 50.0
    assert results.without_tatoeba(scores) == 60.0
    assert results.without_tatoeba({"mini_tatoeba": 1.0, "x": 3.0}, {"mini_tatoeba"}) == 3.0
    with pytest.raises(InputError, match="not empty"):
        results.mean_headline({})


def test_best_compares_at_the_last_rung_only(tmp_path):
    rows = [
        *(score("early", 0, task, 99.0) for task in ("udpos", "tatoeba")),
        *(score("good", 1, task, value) for task, value in (("udpos", 60.0), ("tatoeba", 50.0))),
        *(score("bad", 1, task, value) for task, value in (("udpos", 40.0), ("tatoeba", 10.0))),
        score("half", 2, "udpos", 99.0),
        *(score("broken", 2, task, value) for task, value in (("udpos", 99.0), ("tatoeba", float("nan")))),
        score("bad", 1, "udpos", 100.0, metric="majority", selection=False),
        score("bad", 1, "udpos", 100.0, language="en", selection=False),
    ]
    found = results.load_results(write_scores(tmp_path, rows, [{"trial_id": "good", "status": "finished"}])).best()
    assert (found["trial_id"], found["status"], found["rung"], found["rung_index"]) == ("good", "finished", 256, 1)
    assert found["fi_accuracy"] == 55.0 and found["without_tatoeba"] == 60.0
    assert found["scores"] == {"udpos": 60.0, "tatoeba": 50.0}


def test_load_results_of_what_is_no_sweep_of_an_empty_one_and_of_doubled_scores(tmp_path):
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "not a sweep's folder")):
        with pytest.raises(InputError, match=message):
            results.load_results(folder)
    (tmp_path / "sweep.json").write_text("{}")
    empty = results.load_results(tmp_path)
    assert empty.steps.equals(STEPS.empty_table())  # as of sweeps that earlier versions ran
    assert (empty.name, empty.scores.num_rows, empty.trials.schema) == (tmp_path.name, 0, TRIALS)
    with pytest.raises(InputError, match="no trial has finished a rung"):
        empty.best()
    write_scores(tmp_path, [score("t", 0, "udpos", 1.0), score("t", 0, "udpos", 2.0)])
    with pytest.raises(InputError, match=r"one row per score` must hold, but trial .* 2 times"):
        results.load_results(tmp_path)
