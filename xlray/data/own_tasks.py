"""The tasks that a sweep brings itself: its own, and registered ones that it reads from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from xlray.config.controls import control_named
from xlray.config.sweep import Sweep
from xlray.data.registry import ALL_TASKS, find_task
from xlray.errors import InputError, nearest, require
from xlray.tasks.task import Files, Generated, Hub, Task


def own_tasks(sweep: Sweep) -> dict[str, Task]:
    """The tasks that a sweep knows otherwise than the registry, by name.

    Raises:
        InputError: an own task is no `Task`, or its name is taken; a source is none, or has other splits than its task.
    """
    where = f"Sweep({sweep.name!r})"
    found: dict[str, Task] = {}
    for task in sweep.own_tasks:
        require(isinstance(task, Task), "own_tasks are `xlray.tasks.Task` values", task, where)
        law = "the name of an own task is new (`sources` says where a registered one is read from)"
        require(task.name not in ALL_TASKS, law, task.name, where)
        require(task.name not in found, "names of own tasks are distinct", task.name, where)
        require(control_named(task.name) is None, "no own task has the name of a control", task.name, where)
        found[task.name] = task
    return found | {name: _read_from(name, source, f"{where}: sources") for name, source in sweep.sources.items()}


def _read_from(name: str, source: Any, where: str) -> Task:
    """The registered task with its examples from `source` alone; all else that is known of it stays."""
    try:
        task = find_task(name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    require(isinstance(source, Files | Hub | Generated), "a source is a `Files`, `Hub` or `Generated`", source, where)
    for split in source.splits:
        if split not in task.splits:
            raise InputError(
                f"{where}: the splits of task {name!r} must be of {', '.join(task.splits)}, but got {split!r}."
                f"{nearest(split, task.splits)}"
            )
    trained = task.train_split
    if trained in task.splits and trained not in source.splits:
        got = ", ".join(source.splits) or "none"
        raise InputError(f"{where}: the source of task {name!r} must have the split {trained!r}, but has {got}.")
    return replace(task, source=source, hub=None)
