"""Records of the embedded world, generated once for all runs of the tests: all of them take half a minute of a processor."""

from __future__ import annotations

import hashlib
import os
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from packages import PACKAGE

from xlray.cli import task_catalogue
from xlray.data import records
from xlray.mini import MINI_TASKS
from xlray.tasks.lines import Remarks
from xlray.tasks.load import load_records
from xlray.tasks.task import Record, Task

_folder: Path | None = None


def kept(folder: Path) -> Path:
    """Where these records are kept below a folder from run to run: another place whenever what makes them is another."""
    digest = hashlib.sha256()
    for file in sorted(path for part in ("mini", "tasks", "config") for path in (PACKAGE / part).glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    place = folder / digest.hexdigest()[:20]
    for other in folder.iterdir():
        if other != place:
            shutil.rmtree(other, ignore_errors=True)
    return place


@contextmanager
def generated_once(folder: Path) -> Iterator[None]:
    """While it lasts, the embedded tasks of sweeps and of the catalogue are read from `folder`, which test processes share."""
    global _folder
    _folder = folder
    folder.mkdir(parents=True, exist_ok=True)
    with mock.patch.object(records, "load_records", load), mock.patch.object(task_catalogue, "load_records", load):
        yield


def load(task: Task, split: str, data_dir: Path | str | None = None, remarks: Remarks | None = None) -> list[Record]:
    """As `load_records`; each call has records of its own."""
    if MINI_TASKS.get(task.name) != task:
        return load_records(task, split, data_dir, remarks)
    assert _folder is not None
    file = _folder / f"{task.name}.{split.replace('/', '.')}"
    if not file.exists():
        noted = Remarks()
        found = load_records(task, split, data_dir, noted)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_bytes(pickle.dumps((found, noted)))
        partial.replace(file)
    found, noted = pickle.loads(file.read_bytes())
    if remarks is not None:
        remarks.doubts += noted.doubts
        remarks.unlabelled = noted.unlabelled
    return found
