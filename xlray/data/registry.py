"""Every task that is known by name: real ones and the embedded world's."""

from __future__ import annotations

from collections.abc import Iterable

from xlray.errors import InputError, nearest
from xlray.mini import MINI_TASKS
from xlray.tasks import TASKS
from xlray.tasks.task import Task

ALL_TASKS: dict[str, Task] = {**TASKS, **MINI_TASKS}


def find_task(name: str, more: Iterable[str] = ()) -> Task:
    """The task of that name.

    Args:
        more: other names that are known where it is asked, for the suggestion.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    if name not in ALL_TASKS:
        raise InputError(
            f"task {name!r} must be one of the {len(ALL_TASKS)} known tasks, but is not.{nearest(name, [*ALL_TASKS, *more])}"
        )
    return ALL_TASKS[name]
