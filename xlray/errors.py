"""Errors of wrong use and of the storage; each knows the exit code of the command line. Standard library only."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Iterable

EXIT_CODES = {  # of the command line
    0: "finished",
    1: "a bug in xlray; the traceback is printed or in run.log",
    2: "wrong use or configuration, explained in one line",
    3: "finished, but some trials failed",
    4: (
        "interrupted by a signal, storage or temporary folder full or unavailable, Ray does not start now, or a stored file "
        "was damaged; run the same command again"
    ),
    5: "a budget refused or ended the run",
}


class InputError(ValueError):
    """Wrong use: one line that says what must hold, what was found, and where. The command line exits with 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def require(condition: bool, law: str, found: object, where: str) -> None:
    """Raise `InputError` "`law` must hold, but got `found`" unless the condition is true."""
    if not condition:
        raise InputError(f"{where}: `{law}` must hold, but got {found!r}.")


def fail(message: str, code: int) -> int:
    """Print one line on stderr, if anybody reads it; returns the exit code."""
    with contextlib.suppress(OSError):
        print(f"xlray: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
