import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
import time

import helpers
import pytest
from rich.console import Console
from typer.main import get_group

from xlray.analysis import results
from xlray.analysis.results import SCORES, TRIALS
from xlray.cli import main, output
from xlray.cli import sweep_file as loading
from xlray.errors import InputError
from xlray.monitor.following import Following
from xlray.monitor.live import LiveView
from xlray.monitor.progress import PhaseWork
from xlray.monitor.reader import Reader
from xlray.monitor.view import clock, time_left_s
from xlray.storage import parquet
from xlray.storage.sweep_folder import open_sweep

SWEEP = """
from xlray import Encoder, Execution, Intermediate, Sweep, Target, subsets
sweep = Sweep(
    "tiny", Encoder({encoder!r}), measure=(*subsets.empty(), *subsets.explicit(("copa_en",))), seeds=(0, 1),
    intermediate=Intermediate(rungs=(32, 64), batch_size=16, warmup_examples=16, max_length=64, stride=32),
    targets=(Target("udpos", num_examples=32, batch_size=16, max_length=64, stride=32),),
    execution=Execution(micro_batch_tokens=2048), question="Does COPA help?",
)
"""
TOKENS = [("The", "DET"), ("dog", "NOUN"), ("ran", "VERB")]


def xlray(capfd, *arguments):
    """Run the command line in this process: exit code, stdout, stderr."""
    code = main.main([str(a) for a in arguments])
    out, err = capfd.readouterr()
    return code, out, err


def refused(capfd, *arguments):
    """The one line on stderr of a command that must end with 2 and print nothing else."""
    code, out, err = xlray(capfd, *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1 and err.startswith("xlray: "), (code, out, err)
    return err


@pytest.fixture
def encoder(tmp_path):
    architecture = dataclasses.replace(helpers.TINY, vocab_size=100, max_positions=130)
    return helpers.encoder_folder(tmp_path / "encoder", ["dog", "ran"], architecture)[0]


@pytest.fixture
def data_dir(tmp_path):
    folder = tmp_path / "data"
    (folder / "udpos").mkdir(parents=True)
    (folder / "copa_en").mkdir()
    sentence = "".join(f"{token}\t{tag}\n" for token, tag in TOKENS) + "\n"
    for name in ("train-en", "dev-en"):
        (folder / "udpos" / f"{name}.tsv").write_text(sentence * 3)
    (folder / "udpos" / "dev-fi.tsv").write_text(sentence.replace(TOKENS[0][0], "toinen") * 3)
    record = {
        "premise": "It rained.",
        "choice1": "It is wet.",
        "choice2": "It is dry.",
        "question": "effect",
        "label": 0,
    }
    lines = "".join(json.dumps({**record, "idx": i, "changed": False}) + "\n" for i in range(4))
    for name in ("train-en.jsonl", "dev-en.jsonl"):
        (folder / "copa_en" / name).write_text(lines)
    return folder


@pytest.fixture
def sweep_file(tmp_path, encoder):
    path = tmp_path / "tiny.py"
    path.write_text(SWEEP.format(encoder=str(encoder)))
    return path


@pytest.fixture
def runs(tmp_path):
    """A storage with one sweep: one trial finished, one stopped, one failed, one in the middle of a phase."""
    directory = tmp_path / "runs" / "sweeps" / "demo"
    directory.mkdir(parents=True)
    definition = {
        "name": "demo",
        "question": "Why?",
        "intermediate": {"rungs": [32, 64]},
        "seeds": [0],
        "targets": [{"task": "mini_udpos"}, {"task": "mini_panx"}],
    }
    (directory / "sweep.json").write_text(json.dumps(definition))
    trials = {
        "aaaa": ("measure", "0", []),
        "bbbb": ("explore", "1-all", ["x"]),
        "cccc": ("measure", "1-all", ["y"]),
        "dddd": ("measure", "2-all", ["x", "y"]),
    }
    journal, rows, scores = open_sweep(directory).journal, [], []
    for trial_id, (role, cell, tasks) in trials.items():
        entry = {"event": "created", "trial_id": trial_id, "role": role, "cell": cell, "tasks": tasks, "seed": 0}
        journal.append(entry)
        journal.append({"event": "running", "trial_id": trial_id})
    ends = {"aaaa": ("finished", 2), "bbbb": ("stopped", 1), "cccc": ("failed", 0), "dddd": ("running", 1)}
    for trial_id, (status, rungs) in ends.items():
        role, cell, tasks = trials[trial_id]
        for index in range(rungs):
            found = {"mini_udpos": 60.0 + index, "mini_panx": 40.0 + index}
            rung = {"rung": (32, 64)[index], "rung_index": index}
            place = {
                "sweep": "demo",
                "trial_id": trial_id,
                "cell": cell,
                "num_tasks": len(tasks),
                "tasks": tasks,
                **rung,
                "seed": 0,
                "role": role,
                "source": "all",
            }
            for task, value in found.items():
                common = {**place, "task": task, "language": "fi", "split": "dev", "num_examples": 32}
                scores.append({**common, "metric": "headline", "value": value, "selection": True})
                scores.append({**common, "metric": "majority", "value": 20.0, "selection": False})
                scores.append({**common, "metric": "majority", "value": 9.0, "selection": False, "language": "et"})
            journal.append(
                {
                    "event": "rung",
                    "trial_id": trial_id,
                    "cell": cell,
                    "role": role,
                    **rung,
                    "score": 50.0,
                    "fi_accuracy": 50.0 + index,
                    "scores": found,
                    "decision": "continue",
                    "reason": "",
                    "cutoff": None,
                    "probability": 1.0,
                    "degenerate": "target: one prediction for all of udpos dev fi" if trial_id == "bbbb" else "",
                },
            )
        if status != "running":
            journal.append({"event": status, "trial_id": trial_id, "error": "Boom\nValueError: x"})
        rows.append(
            {
                "sweep": "demo",
                "trial_id": trial_id,
                "status": status,
                "role": role,
                "cell": cell,
                "tasks": tasks,
                "num_tasks": len(tasks),
                "source": "all",
                "seed": 0,
                "position": 0,
            }
        )
    parquet.write_table(directory / "results" / "trials.parquet", parquet.to_table(rows, TRIALS))
    parquet.write_table(directory / "results" / "scores.parquet", parquet.to_table(scores, SCORES))
    return tmp_path / "runs"


# --- wrong use: exit code 2, one line on stderr, nothing started ------------------------------------------------------


@pytest.mark.parametrize("command", ["run", "plan"])
def test_an_unknown_task_is_refused_with_a_suggestion(capfd, tmp_path, sweep_file, data_dir, command):
    sweep_file.write_text(sweep_file.read_text().replace("copa_en", "copa_ne"))
    line = refused(capfd, command, sweep_file, "--data-dir", data_dir, "--storage", tmp_path / "runs")
    assert "copa_ne" in line and "Did you mean 'copa_en'?" in line and str(sweep_file) in line
    assert not (tmp_path / "runs").exists()


def test_an_unknown_field_is_refused_with_a_suggestion(capfd, sweep_file):
    line = refused(capfd, "plan", sweep_file, "--set", "intermediate.learning_rat=1e-5")
    assert "'learning_rat'" in line and "Did you mean 'learning_rate'?" in line


def test_an_unknown_field_in_the_file_is_refused_with_its_line(capfd, sweep_file):
    sweep_file.write_text(sweep_file.read_text().replace("seeds=", "seedz="))
    line = refused(capfd, "plan", sweep_file)
    assert f"{sweep_file}:3: unknown field 'seedz' of Sweep. Did you mean 'seeds'?" in line


def test_a_setting_without_a_value_is_refused(capfd, sweep_file):
    assert "must be FIELD=VALUE" in refused(capfd, "plan", sweep_file, "--set", "seeds")


def test_rungs_that_do_not_increase_are_refused_in_the_file_and_in_a_setting(capfd, sweep_file):
    law = "0 < rungs[0] < rungs[1] < ..."
    line = refused(capfd, "plan", sweep_file, "--set", "intermediate.rungs=[64,32]")
    assert law in line and "--set intermediate.rungs=[64,32]" in line
    sweep_file.write_text(sweep_file.read_text().replace("(32, 64)", "(64, 32)"))
    line = refused(capfd, "plan", sweep_file)
    assert law in line and f"{sweep_file}:5" in line


def test_a_data_directory_without_the_files_is_refused_with_their_names(capfd, sweep_file, data_dir):
    (data_dir / "udpos" / "dev-fi.tsv").unlink()
    line = refused(capfd, "plan", sweep_file, "--data-dir", data_dir)
    assert "dev-fi.tsv" in line and str(data_dir / "udpos") in line


def test_a_data_directory_that_is_not_there_or_not_given_is_refused(capfd, sweep_file, tmp_path, monkeypatch):
    monkeypatch.delenv("XLRAY_DATA_DIR", raising=False)
    assert "nowhere" in refused(capfd, "plan", sweep_file, "--data-dir", tmp_path / "nowhere")
    assert "--data-dir" in refused(capfd, "plan", sweep_file)


def test_a_malformed_data_file_is_refused_with_its_line(capfd, sweep_file, data_dir):
    path = data_dir / "udpos" / "train-en.tsv"
    path.write_text("The\tDET\ndog\n\n")
    line = refused(capfd, "plan", sweep_file, "--data-dir", data_dir)
    assert f"{path}, line 2" in line


def test_an_empty_data_file_is_refused(capfd, sweep_file, data_dir):
    (data_dir / "udpos" / "train-en.tsv").write_text("")
    assert "udpos" in refused(capfd, "plan", sweep_file, "--data-dir", data_dir)


def test_a_file_without_a_sweep_is_refused(capfd, tmp_path):
    path = tmp_path / "empty.py"
    path.write_text("a = 1\n")
    assert "must define `sweep = Sweep(...)`" in refused(capfd, "run", path)
    path.write_text("sweep = 3\n")
    assert "`sweep` is a int" in refused(capfd, "run", path)


def test_a_syntax_error_is_refused_with_its_line(capfd, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("a = 1\nsweep = Sweep(\n")
    assert f"{path}:2: not valid Python" in refused(capfd, "run", path)


def test_what_a_file_raises_is_refused_with_its_line_and_a_missing_file_by_name(capfd, tmp_path):
    path = tmp_path / "raises.py"
    path.write_text("import json\n\njson.loads('{')\n")
    assert f"{path}:3: JSONDecodeError" in refused(capfd, "run", path)
    path.write_text("raise SystemExit(0)\n")
    assert f"{path}:1: SystemExit" in refused(capfd, "run", path)
    assert "Did you mean" in refused(capfd, "run", tmp_path / "raise.py")


def test_a_storage_that_cannot_be_written_is_refused(capfd, tmp_path, sweep_file, data_dir):
    (tmp_path / "file").write_text("")
    storage = tmp_path / "file" / "runs"
    assert str(tmp_path / "file") in refused(capfd, "run", sweep_file, "--data-dir", data_dir, "--storage", storage)
    assert "s3://BUCKET/PREFIX" in refused(capfd, "plan", sweep_file, "--storage", "ftp://bucket/runs")


def test_a_bucket_that_is_not_there_is_refused_by_every_command(capfd, tmp_path, sweep_file, monkeypatch, s3_uri):
    monkeypatch.setenv("XLRAY_CACHE", str(tmp_path))
    for arguments in (["plan", sweep_file], ["run", sweep_file], ["status", "demo"], ["report", "demo"]):
        assert "s3://nowhere/runs" in refused(capfd, *arguments, "--storage", "s3://nowhere/runs")


@pytest.mark.parametrize(
    ("field", "law"),
    [
        ("execution.gpus_per_worker=1", "num_workers <= 0, the number of this machine's GPUs"),
        ("execution.offload=true", "free memory of the host"),
    ],
)
def test_what_this_machine_lacks_is_refused_before_ray_starts(
    capfd, tmp_path, sweep_file, data_dir, monkeypatch, field, law
):
    from xlray.sweep import ray_session

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(ray_session, "free_host_bytes", lambda: 1_000)
    monkeypatch.setattr("xlray.sweep.ray_session.ray.init", None)
    storage = tmp_path / "runs"
    code, _, err = xlray(capfd, "run", sweep_file, "--data-dir", data_dir, "--storage", storage, "--set", field)
    assert code == 2 and err.count("\n") == 1 and err.startswith("xlray: Execution: ") and law in err, err


@pytest.mark.parametrize(
    "arguments", [["run"], ["runn"], ["plan", "x.py", "--nope"], ["tasks", "list", "--kind", "pos"]]
)
def test_wrong_use_of_the_command_line_is_one_line(capfd, arguments):
    refused(capfd, *arguments)


def test_an_unknown_sweep_is_refused_with_a_suggestion(capfd, runs):
    for command in ("status", "report"):
        assert "Did you mean 'demo'?" in refused(capfd, command, "demos", "--storage", runs)


# --- documents ------------------------------------------------------------------------------------------------------


def test_plan_prints_one_document_with_the_agreed_fields(capfd, sweep_file, data_dir, tmp_path):
    sweep_file.write_text(sweep_file.read_text() + "print('noise')\n")
    code, out, err = xlray(capfd, "plan", sweep_file, "--data-dir", data_dir, "--storage", tmp_path / "runs", "--json")
    document = json.loads(out)
    assert code == 0 and err == "noise\n"
    assert document.keys() >= {
        "trials",
        "cells",
        "phases",
        "steps",
        "naive_steps",
        "steps_ratio",
        "saved",
        "device_hours",
        "storage_bytes",
        "minimum_detectable_effect",
    }
    assert document["trials"] == 4 and document["phases"].keys() == {"new", "shared", "stored"}
    assert not (tmp_path / "runs").exists(), "a plan writes nothing"
    code, out, _ = xlray(capfd, "plan", sweep_file, "--data-dir", data_dir, "--set", "seeds=[0]", "--json")
    assert json.loads(out)["trials"] == 2


def test_a_plan_beyond_its_budget_exits_with_5_and_so_does_a_run_before_it_starts(
    capfd, sweep_file, data_dir, tmp_path
):
    common = (sweep_file, "--data-dir", data_dir, "--storage", tmp_path / "runs", "--budget-hours", "1e-9", "--json")
    for command in ("plan", "run"):
        code, _, err = xlray(capfd, command, *common)
        assert code == 5 and "--budget-hours 1e-09" in err and err.count("\n") == 1
    assert not list((tmp_path / "runs").rglob("journal"))


def test_a_schedule_is_simulated_into_a_document_and_a_picture(capfd, sweep_file, data_dir, tmp_path):
    out = tmp_path / "timeline.svg"
    arguments = (sweep_file, "--data-dir", data_dir, "--storage", tmp_path / "runs", "--devices", "2")
    code, text, _ = xlray(capfd, "simulate", *arguments, "--out", out, "--json")
    document = json.loads(text)
    assert code == 0 and document["scores"] == "invented" and 0 < document["utilisation"] <= 1
    assert document["figure"] == str(out) and out.read_text().startswith("<svg")
    assert xlray(capfd, "simulate", *arguments, "--out", out)[0] == 0


def test_tasks_are_listed_in_the_agreed_shape(capfd):
    code, out, err = xlray(capfd, "tasks", "--json")
    found = json.loads(out)
    assert (code, err) == (0, "") and {"mini_udpos", "copa_en"} <= {t["name"] for t in found}
    fields = {"name", "kind", "role", "languages", "source", "licence", "num_examples"}
    assert all(task.keys() >= fields for task in found)
    assert xlray(capfd, "tasks", "list", "--json")[1] == out
    chosen = ("--kind", "tagging", "--role", "target", "--language", "fi", "--json")
    names = [t["name"] for t in json.loads(xlray(capfd, "tasks", "list", *chosen)[1])]
    assert {"udpos", "panx"} <= set(names) and "tydiqa" not in names


def test_a_task_is_shown_with_sizes_and_examples_where_its_files_are(capfd, data_dir):
    document = json.loads(xlray(capfd, "tasks", "show", "udpos", "--data-dir", data_dir, "--json")[1])
    assert document["sizes"] == {"train/en": 3, "dev/en": 3, "dev/fi": 3} and len(document["examples"]) == 3
    code, out, _ = xlray(capfd, "tasks", "show", "udpos", "--data-dir", data_dir)
    assert code == 0 and "Universal Dependencies" in out and "train/en" in out


def test_checking_tasks_fails_only_for_files_that_are_there_and_cannot_be_read(capfd, data_dir):
    code, out, _ = xlray(capfd, "tasks", "check", "udpos", "--data-dir", data_dir, "--json")
    status = {row["split"]: row["status"] for row in json.loads(out)}
    assert code == 0 and status["train/en"] == "ok" and status["test/fi"] == "absent"
    (data_dir / "udpos" / "dev-fi.tsv").write_text("The\tARTICLE\n")
    code, out, err = xlray(capfd, "tasks", "check", "udpos", "--data-dir", data_dir)
    assert code == 2 and "failed" in out and "dev/fi" in err and err.count("\n") == 1


def test_status_prints_one_document_with_the_agreed_fields(capfd, runs, monkeypatch):
    code, out, err = xlray(capfd, "status", "demo", "--storage", runs, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "") and (document["name"], document["state"]) == ("demo", "interrupted")
    fields = {"trial_id", "status", "role", "cell", "num_tasks", "seed", "rung", "fi_accuracy"}
    assert all(trial.keys() >= fields for trial in document["trials"])
    found = {t["trial_id"]: (t["status"], t["rung"], t["fi_accuracy"], t["num_tasks"]) for t in document["trials"]}
    assert found == {
        "aaaa": ("finished", 64, 51.0, 0),
        "bbbb": ("stopped", 32, 50.0, 1),
        "cccc": ("failed", None, None, 1),
        "dddd": ("running", 32, 50.0, 2),
    }
    reasons = {t["trial_id"]: t["degenerate"] for t in document["trials"] if t["degenerate"]}
    assert reasons == {"bbbb": "target: one prediction for all of udpos dev fi"}
    monkeypatch.setenv("XLRAY_STORAGE", str(runs))
    assert xlray(capfd, "status", "demo", "--json")[1] == out
    assert xlray(capfd, "status", runs / "sweeps" / "demo", "--json")[1] == out
    with open_sweep(runs / "sweeps" / "demo").journal.exclusive():
        assert json.loads(xlray(capfd, "status", "demo", "--json")[1])["state"] == "running"


def test_status_shows_the_best_trial_first_and_why_one_failed(capfd, runs):
    out = xlray(capfd, "status", "demo", "--storage", runs)[1]
    assert out.index("0tasks-s0-aaaa") < out.index("1tasks-s0-bbbb") < out.index("1tasks-s0-cccc")
    assert "ValueError: x" in out and "2/2" in out
    assert out.count("stopped, degenerate") == out.count("degenerate") == 1


def test_status_without_a_name_takes_the_sweep_that_changed_last(capfd, runs):
    older = open_sweep(runs / "sweeps" / "older")
    older.path.mkdir()
    (older / "sweep.json").write_text("{}")
    with older.journal.exclusive():
        older.journal.append({"event": "opened", "time": 1.0})
    assert json.loads(xlray(capfd, "status", "--storage", runs, "--json")[1])["name"] == "older"
    with open_sweep(runs / "sweeps" / "demo").journal.exclusive():
        open_sweep(runs / "sweeps" / "demo").journal.append({"event": "closed"})
    assert json.loads(xlray(capfd, "status", "--storage", runs, "--json")[1])["name"] == "demo"
    assert "holds none" in refused(capfd, "status", "--storage", runs / "empty")


def test_ls_lists_the_sweeps_of_a_storage_with_their_state_and_best(capfd, runs):
    (found,) = json.loads(xlray(capfd, "ls", "--storage", runs, "--json")[1])
    assert found["name"] == "demo" and found["state"] == "interrupted"
    assert found["trials"] == {"running": 1, "finished": 1, "stopped": 1, "failed": 1}
    shown = json.loads(xlray(capfd, "status", "demo", "--storage", runs, "--json")[1])["trials"]
    furthest = [trial["fi_accuracy"] for trial in shown if trial["rung"] == 64]
    assert (found["best_accuracy"], found["language"]) == (max(furthest), "fi")
    assert "demo" in xlray(capfd, "ls", "--storage", runs)[1]
    assert "holds no sweep" in xlray(capfd, "ls", "--storage", runs / "empty")[1]


def test_every_command_stands_under_one_heading_of_the_help(capfd):
    out = xlray(capfd, "-h")[1]
    assert out == xlray(capfd, "--help")[1]
    commands = get_group(main.app).commands
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ") and line.split()[0] in commands]
    assert sorted(listed) == sorted(commands)


def test_a_table_leaves_out_columns_where_it_is_too_narrow_and_says_which():
    from xlray.cli.tables import Fitted

    def shown(width):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(Fitted(("trial", "role", "score"), [("a" * 20, "measure", 50.0)], dispensable=("role",)))
        return console.export_text()

    assert "measure" in shown(80) and "not shown" not in shown(80)
    narrow = shown(34)
    assert "measure" not in narrow and "50.0" in narrow and "not shown at 34 columns: role" in narrow


def test_estimates_are_named_as_they_are_said():
    from xlray.cli.tables import estimate_in_words

    said = {
        "difference/fi_accuracy/8-all - 0": "8 tasks against none",
        "difference/udpos/20-en lr=1e-5 - 1-control": "udpos: 20 English tasks at lr=1e-5 against 1 control task",
        "mean/without_tatoeba/9-other": "without Tatoeba: mean of 9 tasks from other",
        "factor/fi_accuracy/number 20 - 9": "20 tasks instead of 9",
        "ranking/udpos/mnli": "ranking/udpos/mnli",
    }
    assert {name: estimate_in_words(name) for name in said} == said


def test_watching_a_sweep_that_has_ended_ends_at_once(capfd, runs):
    code, out, _ = xlray(capfd, "status", "demo", "--storage", runs, "--watch")
    assert code == 0 and "1 running, 1 finished, 1 stopped, 1 failed" in out
    refused(capfd, "status", "demo", "--storage", runs, "--watch", "--json")


def test_report_prints_one_document_and_writes_the_page(capfd, runs):
    code, out, _ = xlray(capfd, "report", "demo", "--storage", runs, "--json")
    document = json.loads(out)
    assert code == 0 and document.keys() == {"answer", "headline", "estimates", "warnings", "files"}
    assert (runs / "sweeps/demo/report/report.html").is_file()


def test_the_final_table_ranks_trials_and_shows_the_majority_answer(runs):
    from xlray.cli import tables

    reader = Reader(open_sweep(runs / "sweeps" / "demo"))
    reader.refresh()
    baseline = results.load_results(runs / "sweeps" / "demo").majority()
    assert baseline == {"mini_udpos": 20.0, "mini_panx": 20.0}
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(tables.final_table(reader.view(Following.members), baseline))
    text = console.export_text()
    assert text.index("aaaa") < text.index("dddd") < text.index("cccc") < text.index("majority answer")
    assert "udpos" in text and "mini_udpos" not in text


def test_python_users_load_results_and_get_a_report_where_they_want_it(runs, tmp_path, monkeypatch):
    from xlray import load_results
    from xlray.report import report

    def write(directory):
        (directory / "report" / "tables").mkdir(parents=True, exist_ok=True)
        (directory / "report" / "report.html").write_text("page")

    monkeypatch.setattr(report, "write_report", write)
    found = load_results("demo", runs)
    assert found.best()["trial_id"] == "aaaa" and found.scores.num_rows == 24 and found.trials.num_rows == 4
    assert found.report() == runs / "sweeps/demo/report/report.html"
    assert found.report(tmp_path / "answer.html").read_text() == "page"
    assert (found.report(tmp_path / "copy").parent / "tables").is_dir()
    with pytest.raises(InputError, match="demos"):
        load_results("demos", runs)


# --- the front door -------------------------------------------------------------------------------------------------


def test_quick_commands_load_no_heavy_library():
    code = """
import sys, xlray
from xlray.cli.main import main
from xlray import Execution, Sweep, TrialConfig, load_results, run, subsets
import xlray.monitor.live, xlray.monitor.page, xlray.cli.tables
main(["--help"]), main(["tasks", "--json"])
assert xlray.subsets.empty and set(xlray.__all__) <= set(dir(xlray))
print(sorted({"torch", "ray", "transformers", "matplotlib", "pandas"} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")


def test_every_exported_name_is_there_and_others_are_not():
    import xlray as package

    assert all(getattr(package, name) is not None for name in package.__all__)
    assert not hasattr(package, "sweeps")


def test_a_settings_order_is_kept(sweep_file):
    settings = ["intermediate.warmup_examples=0", "intermediate.batch_size=8", "intermediate.rungs=[8,16]"]
    sweep = loading.apply_settings(loading.load_sweep(sweep_file), settings)
    assert sweep.intermediate.rungs == (8, 16)


def test_what_libraries_print_goes_to_the_log_and_comes_back_after(capfd, tmp_path):
    from xlray.monitor.live import diverted

    with diverted(tmp_path / "a" / "run.log") as (stdout, stderr):
        os.write(1, b"from below Python\n")
        subprocess.run(["echo", "from a child"], check=True)
        stdout.write("ours\n")
        stderr.write("ours too\n")
    print("after")
    assert capfd.readouterr() == ("ours\nafter\n", "ours too\n")
    assert sorted((tmp_path / "a" / "run.log").read_text().splitlines()) == ["from a child", "from below Python"]


# --- how far a sweep is ---------------------------------------------------------------------------------------------


def make_reader(directory, *events, definition=None):
    """Of two trials of three phases, of which the first is common to both, after some events."""
    made = (("a", "trunk", 40), ("b", "cooldown", 10), ("c", "target", 50), ("d", "target", 100))
    phases = {name: PhaseWork(directory / "phases" / name, kind, name, steps) for name, kind, steps in made}
    reader = Reader(open_sweep(directory))
    reader.definition = definition or {"targets": [{"task": "udpos"}], "intermediate": {"rungs": [640]}}
    reader.held = True
    for number, role in enumerate(("measure", "explore")):
        place = {"role": role, "cell": "1-all", "tasks": ["x"], "seed": number}
        reader.following.place(f"t{number + 1}", {"trial_id": f"t{number + 1}", **place})
    reader.watch.know({"t1": (phases["a"], phases["b"], phases["c"]), "t2": (phases["a"], phases["d"])})
    for number, event in enumerate(events):
        reader.take({"time": float(number), **event})
    return reader


def steps(reader):
    view = reader.view(Following.members)
    return view.done, view.total


def finish(directory, name):
    (directory / "phases" / name).mkdir(parents=True)
    (directory / "phases" / name / "DONE").write_text("{}")


def show(directory, **progress):
    (directory / "progress").mkdir(exist_ok=True)
    (directory / "progress" / "t1.json").write_text(json.dumps({"loss": 1.0, "time": time.time() + 1, **progress}))


RUNS = {"event": "running", "trial_id": "t1"}


def test_steps_count_common_phases_once_and_leave_out_what_was_stored(tmp_path):
    reader = make_reader(tmp_path, RUNS)
    assert steps(reader) == (0, 200)
    finish(tmp_path, "a")
    assert steps(reader) == (40, 200)
    assert steps(make_reader(tmp_path, RUNS)) == (0, 160)


def test_steps_of_the_phase_that_runs_are_read_from_the_progress_of_that_phase(tmp_path):
    reader = make_reader(tmp_path, RUNS)
    show(tmp_path, kind="trunk", done=20, steps=40)
    row = reader.view(Following.members).rows[0]
    assert (row.phase, row.done, row.steps, steps(reader)) == ("a", 20, 40, (20, 200))
    finish(tmp_path, "a")  # the progress file still tells of the phase before
    row = reader.view(Following.members).rows[0]
    assert (row.phase, row.done, steps(reader)) == ("b", 0, (40, 200))
    (tmp_path / "progress" / "t1.json").write_text("{torn")
    assert reader.view(Following.members).rows[0].done == 0


def test_what_a_stopped_trial_leaves_undone_is_taken_out(tmp_path):
    reader = make_reader(tmp_path)
    finish(tmp_path, "a")
    for event in ("running", "stopped"):
        reader.take({"event": event, "trial_id": "t2"})
    assert steps(reader) == (40, 100)
    reader.take({"event": "retried", "trial_id": "t2", "kind": "phases"})  # opened again, it needs all of them
    assert steps(reader) == (40, 200)
    reader.take({"event": "dropped", "trial_id": "t2"})
    assert steps(reader) == (40, 100)


def test_a_trial_that_an_earlier_run_left_open_or_failed_is_waiting(tmp_path):
    reader = make_reader(tmp_path, RUNS, {"event": "failed", "trial_id": "t2", "error": "x"})

    def states():
        view = reader.view(Following.members)
        assert sum(view.counts.values()) == 2
        assert all(view.counts[row.status] for row in view.rows)
        return [row.status for row in view.rows]

    assert states() == ["running", "failed"]
    reader.take({"event": "opened"})
    assert states() == ["created", "created"]
    reader.take({"event": "running", "trial_id": "t2"})
    assert states() == ["created", "running"]


def test_time_left_is_known_from_five_percent_on_and_falls_to_zero():
    assert time_left_s(10.0, 0, 100) is None and time_left_s(10.0, 4, 100) is None
    assert time_left_s(10.0, 5, 100) == pytest.approx(190.0)
    assert time_left_s(60.0, 50, 100) == pytest.approx(60.0)
    assert time_left_s(60.0, 50, 75) == pytest.approx(30.0), "a stopped trial brings the end nearer"
    assert time_left_s(60.0, 100, 100) == 0.0 and time_left_s(3.0, 0, 0) == 0.0
    rate, total = 7.0, 1000
    for done in range(50, 1001, 50):
        assert time_left_s(done / rate, done, total) == pytest.approx((total - done) / rate)


def test_a_clock_shows_hours_only_where_there_are_some():
    assert [clock(s) for s in (None, 0, 61, 3723)] == ["–", "0:00", "1:01", "1:02:03"]


def test_the_live_table_puts_what_runs_first_and_fits_the_height(runs):
    reader = Reader(open_sweep(runs / "sweeps" / "demo"))
    reader.refresh()

    def shown(most):
        return [row.trial_id for row in reader.view(lambda followed: followed.shown_first(most)).rows]

    assert shown(2) == ["dddd", "cccc"] and len(shown(100)) == 4


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_live_view_fits_the_terminal_and_keeps_the_titles(runs, width):
    shown = io.StringIO()
    console = Console(file=shown, width=width, height=9)
    reader = Reader(open_sweep(runs / "sweeps" / "demo"))
    reader.refresh()
    console.print(LiveView(console, reader, time.time()).renderable())
    lines = shown.getvalue().splitlines()
    assert len(lines) <= 9 and max(map(len, lines)) <= width
    assert "2tasks-s0-dddd" in lines[5] and "(2 not shown)" in lines[-1] and "51.0" not in lines[5]


def test_an_onlooker_is_told_the_stage_and_that_trials_which_wait_have_steps_that_are_not_counted(tmp_path):
    reader = Reader(open_sweep(tmp_path))
    for entry, stage, opened in (
        ({"event": "opened", "time": 5.0}, "starting", 5.0),
        ({"event": "running", "job": "shared", "time": 6.0}, "pre-training the encoder", 5.0),
        ({"event": "running", "trial_id": "t1", "time": 7.0}, "running trials", 5.0),
        ({"event": "opened", "time": 9.0}, "starting", 9.0),
    ):
        reader.take(entry)
        assert (reader.view(Following.members).stage, reader.following.opened) == (stage, opened)
    known, waiting = make_reader(tmp_path), make_reader(tmp_path)
    waiting.take({"event": "created", "trial_id": "t3"})
    for shown, text in ((known, "0 of 200 steps"), (waiting, "0 of at least 200 steps")):
        printed = io.StringIO()
        console = Console(file=printed, width=80, height=9)
        console.print(LiveView(console, shown, time.time()).renderable())
        assert text in printed.getvalue()


def test_plain_progress_is_one_line_per_event(tmp_path):
    output = io.StringIO()
    with LiveView(Console(file=output), make_reader(tmp_path), time.time()) as view:
        view({"event": "stage", "stage": "trials", "open": 2})
        view({"event": "created", "trial_id": "t1", "role": "measure", "tasks": ["x"]})
        view({"event": "running", "trial_id": "t1"})
        view(
            {
                "event": "rung",
                "trial_id": "t1",
                "rung_index": 0,
                "rung": 640,
                "fi_accuracy": 51.26,
                "scores": {"udpos": 51.26},
                "decision": "stop",
                "reason": "below the cut",
            }
        )
        view({"event": "failed", "trial_id": "t2", "error": "Traceback\nValueError: no"})
    assert output.getvalue().splitlines() == [
        "[0:00] running trials",
        "[0:00] 1tasks-s0-t1: running",
        "[0:00] 1tasks-s0-t1: rung 1/1 (640 examples): Finnish 51.3 % (udpos 51.3), stopped: below the cut",
        "[0:00] 1tasks-s1-t2: failed: ValueError: no",
    ]


# --- terminals and files that are not as usual -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"name": "tiny", "intermed', "[]", "{}", "\udcff", ""])
def test_a_sweep_whose_stored_definition_is_not_whole_is_not_run_over(capfd, tmp_path, sweep_file, data_dir, text):
    path = tmp_path / "runs" / "sweeps" / "tiny" / "sweep.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    arguments = ("run", sweep_file, "--data-dir", data_dir, "--storage", tmp_path / "runs")
    for more in ((), ("--new-version",)):
        line = refused(capfd, *arguments, *more)
        assert str(path) in line and "restore it from a copy" in line
    if text not in ("{}",):
        assert str(path) in refused(capfd, "status", "tiny", "--storage", tmp_path / "runs")
    assert path.read_bytes() == text.encode(errors="surrogateescape")


def in_ascii(monkeypatch, *arguments):
    """The command line in this process on a terminal that knows ASCII alone: exit code, stdout, stderr."""
    said = [io.TextIOWrapper(io.BytesIO(), "ascii"), io.TextIOWrapper(io.BytesIO(), "ascii")]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", said[0])
        patch.setattr(sys, "stderr", said[1])
        code = main.main([str(a) for a in arguments])
    for stream in said:
        stream.flush()
    return code, *(stream.buffer.getvalue().decode("ascii") for stream in said)


def test_every_command_speaks_to_a_terminal_of_ascii(monkeypatch, runs):
    path = runs / "sweeps" / "demo" / "sweep.json"
    path.write_text(path.read_text().replace("Why?", "Miks\u00e4h?"), encoding="utf-8")
    code, out, err = in_ascii(monkeypatch, "status", "demo", "--storage", runs)
    assert (code, err) == (0, "") and r"Miks\xe4h?" in out
    code, out, err = in_ascii(monkeypatch, "report", "demo", "--storage", runs)
    assert code == 0 and "report.html" in out, err
    code, out, err = in_ascii(monkeypatch, "status", "\u00e4\u00e4ni", "--storage", runs)
    assert (code, out) == (2, "") and r"\xe4\xe4ni" in err


def test_a_document_is_json_on_a_terminal_of_ascii_too(monkeypatch):
    said = io.TextIOWrapper(io.BytesIO(), "ascii", errors="backslashreplace")
    monkeypatch.setattr(sys, "stdout", said)
    output.print_json({"word": "p\u00e4iv\u00e4"})
    said.flush()
    assert json.loads(said.buffer.getvalue()) == {"word": "p\u00e4iv\u00e4"}


def test_the_printed_line_for_tensorboard_can_be_pasted_into_a_shell(tmp_path):
    folder = tmp_path / "my runs"
    line = output.tensorboard_line(folder)
    assert shlex.split(line)[-3:] == ["tensorboard", "--logdir", str(folder / "tensorboard")]
