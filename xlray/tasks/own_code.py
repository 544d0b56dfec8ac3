"""Errors of the code that a sweep file brings with a task of its own: one line, with the place in that code."""

from __future__ import annotations

import functools
import sys
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.tasks.task import Record, Task


def own_code_named(load: Callable[..., list[Record]]) -> Callable[..., list[Record]]:
    """What a task of a sweep's own raises while it is read becomes one line, with the place in its code."""

    @functools.wraps(load)
    def wrapped(task: Task, split: str, *rest: Any, **named: Any) -> list[Record]:
        try:
            return load(task, split, *rest, **named)
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            place = _place_in_own_code(error)
            if place is None:
                raise
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            raise InputError(f"{place}: task {task.name!r}, split {split!r}: its own code raised {said}.") from error

    return wrapped


def _place_in_own_code(error: BaseException) -> str | None:
    """File and line of the last call outside xlray, Python and what is installed; None if there was none."""
    installed = (sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    apart = (Path(sys.modules["xlray"].__path__[0]), *map(Path, installed))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")]
    own = [f for f in frames if not any(Path(f.filename).is_relative_to(folder) for folder in apart)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else None
