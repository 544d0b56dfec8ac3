"""A storage that is full or read-only in the middle: said, nothing half-done, and the same again resumes."""

import errno
import os
import subprocess
import tempfile

import helpers
import pytest

from xlray.cli import main
from xlray.errors import CRASHED, INTERRUPTED, RemoteError
from xlray.phases.spec import phase_name
from xlray.phases.store import Store, check_writable
from xlray.storage.files import temporary_trouble
from xlray.storage.journal import Journal
from xlray.storage.object_store import storage_trouble
from xlray.storage.storage import Storage

SPEC = helpers.train_spec("cooldown", "abc", [])


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder, leave=0):
    """Take all of the room but `leave` bytes."""
    status = os.statvfs(folder)
    (folder / "filler").write_bytes(b"x" * (status.f_bavail * status.f_frsize - leave))


def test_a_journal_on_a_full_disk_fails_loses_nothing_and_resumes_when_there_is_room(small_disk):
    journal = Journal(Storage(small_disk), small_disk / "journal")
    written = [journal.append({"event": "e", "number": number}) for number in range(10)]
    fill(small_disk)
    with pytest.raises(OSError, match=r"No space left|could be written") as caught:
        for number in range(1000):  # the rest of the last page can still be written
            written.append(journal.append({"event": "more", "number": number}))
    assert storage_trouble(caught.value) is not None
    assert journal.read() == written
    (small_disk / "filler").unlink()
    written.append(journal.append({"event": "later"}))
    assert journal.read() == written


def test_a_commit_on_a_full_disk_leaves_no_phase_and_succeeds_when_there_is_room(small_disk):
    store = Store(Storage(small_disk))

    def finish():
        with store.staging(SPEC) as staged:
            (staged / "weights.bin").write_bytes(b"w" * 65_536)
            store.commit(SPEC, staged, {})

    store.begin(SPEC)
    fill(small_disk, leave=16_384)
    with pytest.raises(OSError, match="No space left"):
        finish()
    assert not store.has(SPEC) and not list(store.folder(SPEC).glob("staging-*"))
    (small_disk / "filler").unlink()
    finish()
    assert store.open(SPEC, "weights.bin").stat().st_size == 65_536


def test_a_disk_that_became_read_only_is_trouble_of_the_storage(small_disk):
    store = Store(Storage(small_disk))
    store.begin(SPEC)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OSError, match="Read-only") as caught:
        Journal(Storage(small_disk), small_disk / "journal").append({"event": "e"})
    assert storage_trouble(caught.value) is caught.value
    with pytest.raises(ValueError, match=r"must be a folder that can be written, but: .*Read-only"):
        check_writable(store.storage)
    assert (store.folder(SPEC) / "spec.json").exists() and phase_name(SPEC) in str(store.folder(SPEC))


def test_a_full_folder_of_temporary_files_is_seen(small_disk, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    assert temporary_trouble() is None
    fill(small_disk)
    assert temporary_trouble().errno == errno.ENOSPC


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "runs/x"),
        OSError(errno.EROFS, "Read-only file system", "runs/x"),
        RemoteError("s3://bucket/x: Server returned non-2xx status code: 503"),
    ],
)
def test_the_command_line_calls_it_interrupted(capsys, error):
    """Also where something else was raised because of it."""
    try:
        try:
            raise error
        except OSError as cause:
            raise RuntimeError("tuning failed") from cause
    except RuntimeError as outer:
        assert main._fail_unexpectedly(outer) == INTERRUPTED
    line = capsys.readouterr().err.strip()
    assert line.startswith("xlray: the storage cannot be used: ") and "run the same command again" in line
    assert "\n" not in line and str(error) in line


def test_an_error_that_is_its_own_cause_is_looked_at_once(capsys):
    """As that of a Ray whose dashboard does not start."""
    errors = [RuntimeError("the dashboard's log"), RuntimeError("one"), RuntimeError("other")]
    errors[0].__cause__ = errors[0]
    errors[1].__cause__, errors[2].__context__ = errors[2], errors[1]
    for error in errors:
        assert storage_trouble(error) is None
        assert main._fail_unexpectedly(error) == CRASHED
    full = OSError(errno.ENOSPC, "No space left on device")
    errors[2].__cause__ = full
    assert storage_trouble(errors[1]) is full
    assert "the dashboard's log" in capsys.readouterr().err


def test_a_full_disk_in_a_task_of_ray_is_trouble_of_the_storage():
    from ray.exceptions import RayTaskError

    full = OSError(errno.ENOSPC, "No space left on device", "runs/x")
    error = RayTaskError("_prepare_there", "Traceback ...", full).as_instanceof_cause()
    assert storage_trouble(error) is full


def test_other_errors_stay_faults(capsys):
    assert main._fail_unexpectedly(FileNotFoundError(errno.ENOENT, "No such file", "x")) == CRASHED
