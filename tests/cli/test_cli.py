"""Documents and tables of the commands, and what Python users get."""

import io
import json
import os
import shlex
import subprocess
import sys

import pytest
import stored_runs
import tiny_sweep
from command_line import refused, xlray
from rich.console import Console
from typer.main import get_group

from xlray.analysis import results
from xlray.cli import main, output
from xlray.cli import sweep_file as loading
from xlray.errors import InputError
from xlray.monitor.following import Following
from xlray.monitor.reader import Reader
from xlray.storage.sweep_folder import open_sweep

data_dir, encoder, sweep_file = tiny_sweep.data_dir, tiny_sweep.encoder, tiny_sweep.sweep_file  # fixtures
runs = stored_runs.runs

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
