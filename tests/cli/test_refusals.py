"""Wrong use of the commands: exit code 2, one line on stderr, nothing started."""

import pytest
import stored_runs
import tiny_sweep
from command_line import refused, xlray

data_dir, encoder, sweep_file = tiny_sweep.data_dir, tiny_sweep.encoder, tiny_sweep.sweep_file  # fixtures
runs = stored_runs.runs


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
