"""The task's folder below the data directory: whether it is there, and whether the task is read from it."""

from __future__ import annotations

from pathlib import Path

from xlray.errors import InputError
from xlray.tasks.task import Files, Generated, Hub, Joined, Task


def source_of(task: Task, split: str, data_dir: Path | str | None) -> Files | Generated | Hub | Joined:
    """The task's own files where its folder is there, else the Hub: a folder that lacks a file is an error, not a hint."""
    source = task.source
    if isinstance(source, Files) and task.hub is not None and split in task.hub.splits:
        return source if has_folder(task, data_dir) else task.hub
    if has_folder(task, data_dir) and not isinstance(source, Files):
        _refuse_folder(task, Path(data_dir or "") / task.name)
    return source


def has_folder(task: Task, data_dir: Path | str | None) -> bool:
    """Whether the task's folder, or for a task of no files one of its name, lies in `data_dir`."""
    folder = task.source.folder if isinstance(task.source, Files) else task.name
    return data_dir is not None and (Path(data_dir) / folder).is_dir()


def _refuse_folder(task: Task, folder: Path) -> None:
    """A folder that looks like a task's files, but would never be read, is an error."""
    if isinstance(task.source, Hub) and not Path(task.source.id).is_dir():
        raise InputError(
            f"task {task.name!r}: it is read from the Hub alone, so that no folder of its name may lie below --data-dir, "
            f"but there is {folder}; rename or remove it, or name its reader in the sweep's `sources`."
        )
    if isinstance(task.source, Joined):
        parts = ", ".join(part.name for part in task.source.parts)
        raise InputError(
            f"task {task.name!r}: it is read as {parts}, so that no folder of its own name may lie below --data-dir, "
            f"but there is {folder}; rename or remove it."
        )
