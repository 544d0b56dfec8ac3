"""What of a task can be read on this machine, without asking the Hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from xlray.tasks.folders import has_folder, source_of
from xlray.tasks.load import available, existing_paths
from xlray.tasks.task import Files, Hub, Joined, Task


def is_local(task: Task, split: str, data_dir: Path | str | None = None) -> bool:
    """Whether a split can be read without asking the Hub: it is generated, or all its files are there.

    Raises:
        InputError: there is a folder of the name of a task that is read from no files.
    """
    source = source_of(replace(task, hub=None), split, data_dir)
    if isinstance(source, Joined):
        parts = source.having(split)
        return bool(parts) and all(is_local(part, split, data_dir) for part in parts)
    return not isinstance(source, Hub) and available(replace(task, hub=None), split, data_dir)


def require_files(task: Task, split: str, data_dir: Path | str | None) -> None:
    """Raise `InputError` where the task's folder, or that of a part, is there but lacks the split's files."""
    source = source_of(task, split, data_dir)
    if isinstance(source, Joined):
        for part in source.having(split):
            require_files(part, split, data_dir)
    elif isinstance(source, Files) and has_folder(task, data_dir):
        existing_paths(task, source, split, data_dir)
