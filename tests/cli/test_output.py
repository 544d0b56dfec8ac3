"""What commands print: tables or a document, then their error; and what they do where their output goes away."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xlray.cli.main import app, main
from xlray.cli.options import Json
from xlray.cli.output import Shown, say, shows
from xlray.errors import BudgetError, XlrayError
from xlray.monitor.lasting import Lasting

# A command that prints, works on and fails in its own way, as `xlray run` does.
COMMAND = """
import sys, time
from pathlib import Path
from xlray.cli.main import app, main
from xlray.cli.output import Shown, say, shows
from xlray.errors import FailedTrialsError
from xlray.monitor.lasting import lasting
from xlray.monitor.live import diverted
from rich.console import Console

@lasting()
@shows
def work(log: Path) -> Shown:
    with diverted(log) as (stdout, stderr):
        console = Console(file=stdout)
        for number in range(200):
            console.print(f"line {number}")
            time.sleep(0.005)
        print("from a library")
    def show(console: Console) -> None:
        say(console, "the end")
        log.with_suffix(".done").touch()
    return Shown({}, show, FailedTrialsError("some trials failed"))

app.registered_commands.clear()
app.command("one")(work)
sys.exit(main(["one", sys.argv[1]]))
"""


def test_a_pipe_that_nobody_reads_any_more_ends_nothing(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(log)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 3
    assert process.stderr is not None and process.stderr.read() == "xlray: some trials failed\n"
    assert log.with_suffix(".done").exists()
    assert "from a library" in log.read_text() and "the output went away (Broken pipe)" in log.read_text()


def test_a_stream_that_was_closed_before_is_flushed_without_an_error() -> None:
    stream = io.StringIO()
    lasting = Lasting(stream)
    stream.close()
    lasting.flush()


def test_a_terminal_that_is_closed_ends_nothing(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", COMMAND, str(log)]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    assert os.read(ours, 5) == b"line "
    os.close(ours)
    assert process.wait(timeout=60) == 3
    assert log.with_suffix(".done").exists() and "the output went away (Input/output error)" in log.read_text()


def test_a_command_that_only_shows_ends_with_its_reader(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "xlray", "tasks"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert (process.wait(timeout=60), process.stderr.read()) == (0, "")


def found(error: XlrayError | None = None) -> Shown:
    return Shown({"n": 1, "nan": float("nan")}, lambda console: say(console, "[one] " * 50), error)


def xlray(monkeypatch: pytest.MonkeyPatch, command: Callable[..., None], *arguments: str) -> int:
    monkeypatch.setattr(app, "registered_commands", [])
    app.command("one")(command)
    return main(["one", *arguments])


@pytest.mark.parametrize("error", [None, BudgetError("too much\nfor us")])
def test_a_command_prints_tables_or_a_document_and_then_its_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: XlrayError | None
) -> None:
    command = shows(lambda: found(error))
    for arguments, printed in (((), "[one] " * 50 + "\n"), (("--json",), '{\n "n": 1,\n "nan": null\n}\n')):
        code = xlray(monkeypatch, command, *arguments)
        said = capsys.readouterr()
        assert (code, said.out, said.err) == (
            (0, printed, "") if error is None else (5, printed, "xlray: too much for us\n")
        )


def test_every_command_that_shows_takes_json_and_one_that_asks_for_it_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []

    @shows
    def command(number: int = 2, as_json: Json = False) -> Shown:
        told.append((number, as_json))
        return found()

    assert [xlray(monkeypatch, command, *given) for given in ((), ("--json", "--number", "3"))] == [0, 0]
    assert told == [(2, False), (3, True)]
    capsys.readouterr()
    assert xlray(monkeypatch, shows(lambda: found()), "--help") == 0
    assert capsys.readouterr().out.count("--json") == 1


def test_a_command_that_has_printed_itself_returns_nothing_to_be_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert xlray(monkeypatch, shows(lambda: None)) == 0
    assert capsys.readouterr() == ("", "")
