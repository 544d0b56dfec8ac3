"""Output that goes away: what runs goes on to its end, and its exit code is its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

# A command that prints, works on and fails in its own way, as `xlray run` does.
COMMAND = """
import sys, time, typer
from pathlib import Path
from xlray.cli import main as command_line
from xlray.errors import fail
from xlray.monitor.lasting import lasting
from xlray.monitor.live import diverted
from rich.console import Console

@lasting()
def work(log: Path) -> None:
    with diverted(log) as (stdout, stderr):
        console = Console(file=stdout)
        for number in range(200):
            console.print(f"line {number}")
            time.sleep(0.005)
        print("from a library")
    print("the end")
    fail("some trials failed", 3)
    log.with_suffix(".done").touch()
    raise typer.Exit(3)

command_line.app.registered_commands.clear()
command_line.app.command("one")(work)
command_line.app.command("two")(work)
sys.exit(command_line.main(["one", sys.argv[1]]))
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
