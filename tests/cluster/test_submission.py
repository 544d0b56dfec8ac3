"""Sweeps on a running cluster: packed, submitted through Ray's job server, followed, killed, stopped, gone on with."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from ray_head import Head, end_all_of, free_ports, ray_head
from running_sweeps import SWEEP, TASKS, finish, start, table

from xlray.cli.main import main
from xlray.cli.sweep_file import load_sweep
from xlray.cluster.job_main import keep_running
from xlray.cluster.jobs import arguments_of, imported_files
from xlray.errors import InputError
from xlray.monitor.remote_live import Screen, fetch_view
from xlray.monitor.view import View
from xlray.phases.versions import differences, must_agree
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep, sweep_folder

SIMPLE = SWEEP.replace("{tasks!r}", repr(TASKS[:1]))
PARTED = SIMPLE.replace("from xlray import", "from parts.names import NAMES\nfrom xlray import").replace(
    repr(TASKS[:1]), "NAMES"
)


def parted(folder: Path) -> Path:
    """The small sweep, whose tasks stand in a module beside it."""
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "names.py").write_text(f"NAMES = {TASKS[:1]!r}\n")
    (folder / "unused.py").write_text("raise SystemExit\n")
    file = folder / "small.py"
    file.write_text(PARTED)
    return file


# --- without a cluster -----------------------------------------------------------------------------------------------


def test_a_sweep_is_packed_with_what_it_imports_and_with_nothing_else(tmp_path: Path) -> None:
    file = parted(tmp_path)
    before = frozenset(sys.modules)
    assert load_sweep(file).name == "small"
    found = imported_files(file, before)
    for name in [n for n in sys.modules if n == "parts" or n.startswith("parts.")]:
        del sys.modules[name]
    assert sorted(found) == ["parts/__init__.py", "parts/names.py", "small.py"]
    assert str(tmp_path) not in sys.path


def test_what_a_sweep_file_imports_and_nobody_has_is_named(tmp_path: Path) -> None:
    file = tmp_path / "sweep.py"
    file.write_text("\nimport surely_not_installed\n")
    with pytest.raises(InputError, match=r"sweep.py:2: what it imports must be .* 'surely_not_installed' does not"):
        load_sweep(file)


def test_both_versions_are_reported_where_they_differ() -> None:
    ours = {"xlray": "1", "ray": "2.60.0"}
    assert differences(ours, ours, "here", "there") == ""
    assert differences(ours, {"xlray": "2", "ray": "2.60.0"}, "here", "there") == "xlray is 1 here and 2 there"
    assert set(must_agree()) == {"xlray", "xlray's methods", "ray"}


def test_a_killed_command_is_started_again_and_one_that_fails_is_not(tmp_path: Path) -> None:
    count = f"import os, signal, sys; f = open({str(tmp_path / 'n')!r}, 'a+'); f.write('x'); f.flush(); f.seek(0); n = len(f.read())\n"
    killed_twice = count + "if n < 3: os.kill(os.getpid(), signal.SIGKILL)\nsys.exit(3)"
    assert keep_running([sys.executable, "-c", killed_twice]) == 3
    assert len((tmp_path / "n").read_text()) == 3
    (tmp_path / "n").unlink()
    assert (
        keep_running([sys.executable, "-c", count + "os.kill(os.getpid(), signal.SIGKILL)"], max_restarts=2) == 128 + 9
    )
    assert len((tmp_path / "n").read_text()) == 3


def test_a_command_that_was_asked_to_stop_is_not_started_again(tmp_path: Path) -> None:
    program = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)"
    code = f"from xlray.cluster.job_main import keep_running; import sys; sys.exit(keep_running([sys.executable, '-c', {program!r}]))"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 128 + 9


def test_options_become_a_command_line() -> None:
    options = {"data_dir": None, "set": ["a=1", "b=2"], "new_version": True, "json": False, "storage": "s3://b/x"}
    assert arguments_of(("run", "x.py"), options) == (
        "run",
        "x.py",
        "--set",
        "a=1",
        "--set",
        "b=2",
        "--new-version",
        "--storage",
        "s3://b/x",
    )


def test_failures_of_a_followed_log_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("job", lambda _: None) as screen:
        for piece in ("one\ntw", "o\nxlray: bad", " thing\n", "three"):
            screen(piece)
    assert capsys.readouterr() == ("one\ntwo\nthree\n", "xlray: bad thing\n") and screen.has_said_why


def test_nobody_at_the_address_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "")
    file = tmp_path / "small.py"
    file.write_text(SIMPLE)
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    assert main(["submit", str(file), "--storage", "/shared", "--address", nobody]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"xlray: {nobody}: a Ray cluster must answer there") and said.count("\n") == 1
    for command in (["logs", "small"], ["stop", "small"], ["status", "small"], ["status"]):
        assert main([*command, "--address", nobody]) == 2
        assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(("options", "law"), [
    (("--storage", "runs"), "--storage runs: must be"),
    (("--storage", "/s", "--address", "127.0.0.1:6379"), "must be that of the dashboard"),
    (("--storage", "/s", "--set", "seedz=1"), "unknown field 'seedz'"),
])  # fmt: skip
def test_wrong_use_is_reported_before_anything_is_sent(
    options: tuple[str, ...], law: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "small.py"
    file.write_text(SIMPLE)
    assert main(["submit", str(file), *options]) == 2
    assert law in capsys.readouterr().err


# --- with a real head and its job server -----------------------------------------------------------------------------

real = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head() as found:
        yield found


def xlray(head: Head, *words: str, **env: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "xlray", *words, "--address", head.address]
    done = subprocess.run(
        command, env=head.environment(**env), capture_output=True, text=True, check=False, timeout=1_200
    )
    return done.returncode, done.stdout, done.stderr


def driver_of(head: Head) -> psutil.Process | None:
    """The process of a sweep's driver: the command that the job keeps running."""
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if words[1:4] == ["-m", "xlray", "run"] and str(head.folder) in str(process.environ()):
                return process
        except psutil.Error:
            continue
    return None


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_what_is_wrong_is_one_line_and_exit_code_2(head: Head, tmp_path: Path) -> None:
    file = tmp_path / "small.py"
    file.write_text(SIMPLE)
    storage = ("--storage", str(tmp_path / "runs"))
    nothing = {"RAY_AUTH_TOKEN_PATH": "", "HOME": str(tmp_path)}
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    cases = [
        (xlray(head, "submit", str(file), *storage, **nothing), "asks for a token, and there is none"),
        (xlray(head, "submit", str(file), *storage, RAY_AUTH_TOKEN_PATH=str(wrong)), "refuses the token"),
        (
            xlray(head, "submit", str(file), *storage, "--set", "execution.gpus_per_worker=1"),
            "'GPU': 1} fits on the cluster` must hold",
        ),
        (xlray(head, "submit", str(file), "--storage", "/proc/no"), "must be a folder that can be written"),
        (xlray(head, "logs", "smal"), "must be a sweep that was submitted"),
    ]
    for (code, _, said), law in cases:
        lines = [line for line in said.splitlines() if line.startswith("xlray: ")]
        assert (code, len(lines)) == (2, 1), said
        assert law in lines[0] and "Traceback" not in said


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_other_versions_and_missing_modules_are_reported_by_the_cluster(head: Head, tmp_path: Path) -> None:
    program = """
import dataclasses, sys
from xlray.cluster.jobs import Request, connect, run_there
from xlray.phases.versions import must_agree
client, _ = connect(sys.argv[1])
file = __import__("pathlib").Path(sys.argv[2])
request = Request("run", "x", ("run", file.name, "--storage", "/x", "--address", "auto"), {file.name: file}, "/x")
print(run_there(client, request))
older = dataclasses.replace(request, versions={**must_agree(), "xlray": "0.0.9"})
print(run_there(client, older))
"""
    file = tmp_path / "lacking.py"
    file.write_text("import of_the_client_alone\n")
    command = [sys.executable, "-c", program, head.address, str(file)]
    done = subprocess.run(command, env=head.environment(), capture_output=True, text=True, check=False, timeout=300)
    first, second = done.stdout.splitlines()
    assert first.startswith("(2, ") and "of_the_client_alone" in first and "beside it" in first
    assert second.startswith("(2, ") and "xlray is 0.0.9 on the client and 0.1.0 on the cluster" in second


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_submitted_sweep_survives_its_driver_a_stop_and_a_client_that_goes_away(head: Head, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    code, output = finish(start(alone, tasks=TASKS[:1]))
    assert code == 0, output
    runs = tmp_path / "there" / "runs"
    file = parted(tmp_path / "there")
    storage = ("--storage", str(runs))
    code, printed, said = xlray(head, "submit", str(file), *storage, "--no-wait")
    found = re.search(r"small is job (xlray-run-small-\d+) at ", printed)
    assert code == 0 and found is not None, (printed, said)
    journal = sweep_folder(Storage(runs), "small") / "journal"
    wait_until(lambda: any(e["event"] == "running" and "trial_id" in e for e in read(journal)))
    driver = driver_of(head)
    assert driver is not None
    driver.send_signal(signal.SIGKILL)
    wait_until(lambda: sum(e["event"] == "opened" for e in read(journal)) == 2)
    code, printed, said = xlray(head, "submit", str(file), *storage, "--no-wait")
    assert (code, f"small already runs as job {found[1]}" in printed) == (0, True), said
    code, printed, said = xlray(head, "status", "small", "--json")
    assert (code, json.loads(printed)["state"]) == (0, "running"), (printed, said)
    code, printed, said = xlray(head, "stop", "small")
    assert (code, "is stopped" in printed) == (0, True), said
    halts = [e for e in read(journal) if e["event"] == "halted"]
    assert halts and halts[-1]["reason"] == "interrupted"  # gently
    code, printed, said = xlray(head, "submit", str(file), *storage)
    assert code == 0, printed + said
    assert "small is job xlray-run-small-" in printed and found[1] not in printed and "fi_accuracy" not in said
    code, printed, _ = xlray(head, "logs", "small", "--no-wait")
    assert code == 0 and "report" in printed
    code, printed, _ = xlray(head, "status", "--json")
    assert [job["status"] for job in json.loads(printed) if job["sweep"] == "small"][:2] == ["succeeded", "stopped"]
    phases = pq.read_table(sweep_folder(Storage(runs), "small") / "results" / "phases.parquet").to_pylist()
    computed = [row["phase"] for row in phases if row["status"] == "computed"]
    assert len(computed) == len(set(computed)) > 0
    assert table(tmp_path / "there", "scores").sort_by(KEYS).equals(table(alone, "scores").sort_by(KEYS))


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_sweep_resumes_by_itself_after_its_head_was_lost(tmp_path: Path) -> None:
    file, runs, home = parted(tmp_path / "there"), tmp_path / "there" / "runs", tmp_path / "home"
    journal = sweep_folder(Storage(runs), "small") / "journal"
    home.mkdir()
    with ray_head(home=home) as first:
        code, printed, said = xlray(
            first, "submit", str(file), "--storage", str(runs), "--no-wait", AWS_REGION="eu-north-1"
        )
        assert code == 0, printed + said
        wait_until(lambda: any(e["event"] == "running" and "trial_id" in e for e in read(journal)))
        assert (live := json.loads(xlray(first, "status", "small", "--json")[1]))["state"] == "running", live
        wait_until(lambda: shown(first, "xlray-run-small-1") is not None)
        first.process.kill()
        end_all_of(first.folder)
    assert not any(e["event"] == "halted" for e in read(journal))
    with ray_head(home=home) as second:
        command = [sys.executable, "-m", "xlray.cluster.resubmit", second.address]
        done = subprocess.run(
            command, env=second.environment(HOME=str(home)), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "small: resumes as job xlray-run-small-1\n"), done.stderr
        code, printed, said = xlray(second, "logs", "small")
        assert code == 0, printed + said
        assert list((home / ".xlray" / "jobs").rglob("request.json")) == []
    phases = pq.read_table(sweep_folder(Storage(runs), "small") / "results" / "phases.parquet").to_pylist()
    computed = [row["phase"] for row in phases if row["status"] == "computed"]
    assert len(computed) == len(set(computed)) > 0 and sum(e["event"] == "opened" for e in read(journal)) == 2


def shown(head: Head, job_id: str) -> View | None:
    """What a client's table is drawn from."""
    before = os.environ.get("RAY_AUTH_TOKEN_PATH")
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(head.token_file)
    try:
        found = fetch_view(head.address, job_id)
    finally:
        os.environ.pop("RAY_AUTH_TOKEN_PATH")
        if before is not None:
            os.environ["RAY_AUTH_TOKEN_PATH"] = before
    assert found is None or (found.name, found.num_trials) == ("small", 2)
    return found


KEYS = [(name, "ascending") for name in ("trial_id", "rung", "task", "language", "split", "metric")]


def read(journal: Path) -> list[dict[str, object]]:
    return open_sweep(journal.parent).journal.read() if journal.exists() else []


def wait_until(is_true: Callable[[], object], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.2)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_connection_that_is_lost_is_made_again_and_nothing_is_shown_twice(
    head: Head, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xlray.cluster import jobs

    for name, value in head.environment().items():
        monkeypatch.setenv(name, value)
    client, place = jobs.connect(head.address)
    slow = "import time\nfor n in range(12): print(n, flush=True); time.sleep(1)"
    job = client.submit_job(entrypoint=f'{sys.executable} -c "{slow}"')
    shown: list[str] = []
    real_tail = jobs._tail
    cuts = []

    async def cut_off(*given: Any) -> None:
        if len(cuts) < 2:  # what it has shown is known; then the line is dead
            cuts.append(1)
            text = client.get_job_logs(job)
            new = text[given[2] :]
            given[3](new)
            if len(cuts) == 2:
                raise OSError("gone")
        else:
            await real_tail(*given)

    monkeypatch.setattr(jobs, "_tail", cut_off)
    ended = jobs.follow(lambda: jobs.connect(place)[0], job, shown.append, lambda _: job)
    assert jobs.exit_code(ended) == 0
    numbers = [word for word in "".join(shown).split() if word.isdigit()]
    assert numbers == [str(n) for n in range(12)]
    os.environ.pop("RAY_ADDRESS", None)
