"""A whole sweep on a disk that becomes full in the middle: said in one line, and the same command resumes."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running_sweeps import TASKS, finish, journal, scores, start, table

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield folder
    while folder.is_mount():
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Take all the room that is left."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass


def make_read_only(folder: Path) -> None:
    """Whatever is opened from now on; the kernel refuses to do it to files that are open for writing."""
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)


def wait_for_trial(process: subprocess.Popen[str], folder: Path) -> None:
    """Until the trial with a task has begun its trunk."""
    until = time.monotonic() + 400
    while time.monotonic() < until and process.poll() is None:
        if list((folder / "runs" / "phases").glob("trunk-*/attempt/steps.log")):
            return
        time.sleep(0.05)
    raise AssertionError("no trunk was begun")


@pytest.mark.parametrize("how", ["full", "read-only"])
def test_the_run_ends_with_exit_code_4_and_resumes_when_it_can(disk: Path, tmp_path: Path, how: str) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    code, output = finish(start(whole, tasks=TASKS[:1]))
    assert code == 0, output
    process = start(disk, tasks=TASKS[:1])
    wait_for_trial(process, disk)
    if how == "full":
        fill(disk)
    else:
        make_read_only(disk)
    code, output = finish(process)
    assert code == 4, output
    last = output.strip().splitlines()[-1]
    assert "storage" in last and "again" in last and "Traceback" not in output, output
    assert ("No space left" if how == "full" else "Read-only") in last
    if how == "full":
        (disk / "filler").unlink()
    else:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    code, output = finish(start(disk, tasks=TASKS[:1]))
    assert code == 0, output
    assert scores(disk) == scores(whole)
    rows = [r for r in table(disk, "phases").to_pylist() if r["status"] == "computed"]
    assert len({r["phase"] for r in rows}) == len(rows)
    # A state is written while training continues, so that it is known at the next one, five steps later, that it failed.
    assert sum(r["num_repeated_steps"] for r in rows) <= 2 * 5
    assert journal(disk)[-1]["event"] == "closed"


def test_a_full_folder_of_temporary_files_ends_the_run_with_its_reason_and_it_resumes(tmp_path: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))  # Ray's sockets lie below it: their paths must be short
    command = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    try:
        process = start(tmp_path, tasks=TASKS[:1], env={**os.environ, "TMPDIR": str(folder)})
        wait_for_trial(process, tmp_path)
        fill(folder)
        code, output = finish(process)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    last = output.strip().splitlines()[-1]
    assert code == 4 and "No space left" in last and "again" in last and "Traceback" not in output, output
    code, output = finish(start(tmp_path, tasks=TASKS[:1]))
    assert code == 0, output
