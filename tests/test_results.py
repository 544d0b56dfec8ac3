import json
import os
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray import results
from xlray.canonical import InputError
from xlray.results import ITEMS, PHASES, SCORES, TRIALS

DESIGN_COLUMNS = {
    "scores": "sweep trial_id cell num_tasks tasks seed rung num_examples task language split metric value "
    "num_eval_examples selection",
    "trials": "sweep trial_id status role cell num_tasks tasks source chain position seed last_rung degenerate error "
    "execution method_versions",
    "phases": "phase kind status num_steps num_tokens device_hours trial_id",
    "items": "sweep trial_id rung task language split item statistic value",
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
    results.write_table(folder / "results/scores.parquet", results.to_table(rows, SCORES))
    results.write_table(folder / "results/trials.parquet", results.to_table(list(trials), TRIALS))
    return folder


@pytest.mark.parametrize(
    ("name", "schema"), [("scores", SCORES), ("trials", TRIALS), ("phases", PHASES), ("items", ITEMS)]
)
def test_schemas_hold_the_designed_columns_in_order(name, schema):
    wanted = DESIGN_COLUMNS[name].split()
    assert [column for column in schema.names if column in wanted] == wanted


def test_table_survives_a_round_trip(tmp_path):
    table = results.to_table([score("t", 0, "udpos", 50.0)], SCORES)
    results.write_table(tmp_path / "new/scores.parquet", table)
    assert results.read_table(tmp_path / "new/scores.parquet", SCORES).equals(table)
    items = results.to_table(
        [{"sweep": "s", "trial_id": "t", "rung": 64, "item": 3, "statistic": "tp", "value": 1.0}], ITEMS
    )
    results.write_table(tmp_path / "items.parquet", items)
    assert results.read_table(tmp_path / "items.parquet", ITEMS).to_pylist() == items.to_pylist()


def test_read_takes_equal_values_in_other_types_and_ignores_further_columns(tmp_path):
    table = results.to_table([score("t", 0, "udpos", 50.0)], SCORES)
    frame = table.set_column(5, "seed", table["seed"].cast(pa.int32())).append_column("more", pa.array([1]))
    pq.write_table(frame, tmp_path / "t.parquet")
    assert results.read_table(tmp_path / "t.parquet", SCORES).equals(table)


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
    damage(path, results.to_table([score("t", 0, "udpos", 50.0)], SCORES))
    with pytest.raises(InputError, match=message) as caught:
        results.read_table(path, SCORES)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("moment", ["write", "replace"])
def test_crash_while_writing_keeps_the_old_table(tmp_path, monkeypatch, moment):
    path = tmp_path / "scores.parquet"
    old, new = (results.to_table([score("t", 0, "udpos", value)], SCORES) for value in (1.0, 2.0))
    results.write_table(path, old)

    def crash(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(*((pq, "write_table", crash) if moment == "write" else (type(path), "replace", crash)))
    with pytest.raises(KeyboardInterrupt):
        results.write_table(path, new)
    monkeypatch.undo()
    assert results.read_table(path, SCORES).equals(old)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.parquet"]


def test_killed_before_replace_keeps_the_old_table(tmp_path):
    path = tmp_path / "phases.parquet"
    results.write_table(path, results.to_table([{"phase": "old"}], PHASES))
    code = (
        "import os, sys, pathlib; from xlray import results\n"
        "pathlib.Path.replace = lambda *_: os._exit(9)\n"
        "results.write_table(sys.argv[1], results.to_table([{'phase': 'new'}], results.PHASES))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
    assert results.read_table(path, PHASES)["phase"].to_pylist() == ["old"]


def test_to_table_names_the_unknown_column():
    with pytest.raises(InputError, match="row 1: unknown column 'vaule'"):
        results.to_table([{"value": 1.0}, {"vaule": 1.0}], SCORES)
    with pytest.raises(InputError, match="do not fit"):
        results.to_table([{"value": "high"}], SCORES)


def test_journal_keeps_order_and_adds_time(tmp_path):
    assert results.read_journal(tmp_path / "journal") == []
    first = results.append(tmp_path / "journal", {"event": "created", "trial_id": "ä"})
    results.append(tmp_path / "journal", {"event": "rung", "score": float("nan"), "scores": {"udpos": float("inf")}})
    entries = results.read_journal(tmp_path / "journal")
    assert entries[0] == first and entries[0]["time"] <= entries[1]["time"]
    assert entries[1]["score"] is None and entries[1]["scores"] == {"udpos": None}


@pytest.mark.parametrize("cut", [1, 7, 20, 10_000])
def test_torn_last_line_is_left_out_and_the_next_entry_is_readable(tmp_path, cut):
    for number in range(3):
        results.append(tmp_path, {"event": "created", "number": number, "padding": "ä" * 70_000})
    path = tmp_path / results.JOURNAL_FILE
    path.write_bytes(path.read_bytes()[:-cut])
    kept = [0, 1, 2] if cut == 1 else [0, 1]  # only the line end is lost: the entry itself is whole
    assert [entry["number"] for entry in results.read_journal(tmp_path)] == kept
    results.append(tmp_path, {"event": "created", "number": 9})
    assert [entry["number"] for entry in results.read_journal(tmp_path)] == [*kept, 9]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_journal_torn_everywhere_stays_readable(tmp_path):
    results.append(tmp_path, {"event": "a"})
    results.append(tmp_path, {"event": "b"})
    path = tmp_path / results.JOURNAL_FILE
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        before = [entry["event"] for entry in results.read_journal(tmp_path)]
        results.append(tmp_path, {"event": "c"})
        assert [entry["event"] for entry in results.read_journal(tmp_path)] == [*before, "c"]


def test_damage_in_the_middle_of_the_journal_names_file_and_line(tmp_path):
    path = tmp_path / results.JOURNAL_FILE
    path.write_text('{"event": "a"}\n{"event": "b\n{"event": "c"}\n')
    with pytest.raises(InputError, match=r"000000\.jsonl:2: not a JSON object"):
        results.read_journal(tmp_path)
    path.write_text('{"event": "a"}\n[1]\n')
    with pytest.raises(InputError, match=":2:"):
        results.read_journal(tmp_path)


def test_short_write_is_an_error_and_leaves_a_readable_journal(tmp_path, monkeypatch):
    results.append(tmp_path, {"event": "a"})
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    with pytest.raises(OSError, match="disk full"):
        results.append(tmp_path, {"event": "b"})
    monkeypatch.undo()
    results.append(tmp_path, {"event": "c"})
    assert [entry["event"] for entry in results.read_journal(tmp_path)] == ["a", "c"]


def test_second_driver_is_refused_while_the_first_lives(tmp_path):
    journal = tmp_path / "sweep" / "journal"
    code = (
        "import sys; from xlray import canonical, results\n"
        "try:\n    with results.exclusive(sys.argv[1]): print('held')\n"
        "except canonical.InputError as error: print(error)"
    )

    def other():
        return subprocess.run(
            [sys.executable, "-c", code, str(journal)], capture_output=True, text=True, check=True
        ).stdout

    with results.exclusive(journal):
        assert f"another process runs this sweep already (process {os.getpid()} on" in other()
        with pytest.raises(InputError, match="another process"), results.exclusive(journal):
            pass
    assert other() == "held\n"


def test_fi_accuracy_is_the_plain_mean():
    scores = {"udpos": 80.0, "panx": 60.0, "tydiqa": 40.0, "tatoeba": 20.0}
    assert results.fi_accuracy(scores) == 50.0
    assert results.without_tatoeba(scores) == 60.0
    assert results.without_tatoeba({"mini_tatoeba": 1.0, "x": 3.0}, {"mini_tatoeba"}) == 3.0
    with pytest.raises(InputError, match="not empty"):
        results.fi_accuracy({})


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
    assert (empty.name, empty.scores.num_rows, empty.trials.schema) == (tmp_path.name, 0, TRIALS)
    with pytest.raises(InputError, match="no trial has finished a rung"):
        empty.best()
    write_scores(tmp_path, [score("t", 0, "udpos", 1.0), score("t", 0, "udpos", 2.0)])
    with pytest.raises(InputError, match="there 2 times"):
        results.load_results(tmp_path)
