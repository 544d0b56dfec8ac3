"""Errors of wrong use and of the storage; each knows the exit code of the command line. Standard library only."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable

# Exit codes of the command line
DONE, CRASHED, WRONG_USE, SOME_FAILED, INTERRUPTED, OVER_BUDGET = range(6)
EXIT_CODES = {
    DONE: "finished",
    CRASHED: "a bug in xlray; the traceback is printed or in run.log",
    WRONG_USE: "wrong use or configuration, explained in one line",
    SOME_FAILED: "finished, but some trials failed",
    INTERRUPTED: (
        "interrupted by a signal, storage or temporary folder full or unavailable, Ray does not start now, or a stored file "
        "was damaged; run the same command again"
    ),
    OVER_BUDGET: "a budget refused or ended the run",
}


class XlrayError(Exception):
    """What ends a command without being a fault of xlray; its text is one line for the user.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = CRASHED


class InputError(XlrayError, ValueError):
    """Wrong use: one line that says what must hold, what was found, and where."""

    exit_code = WRONG_USE


class UnreachableError(InputError):
    """No Ray cluster answers at an address; one may later."""


class StoreError(XlrayError):
    """What is stored is not there, or not what its folder's name says."""

    exit_code = INTERRUPTED  # a second run can mend it


class DamagedError(StoreError):
    """A stored file is not there or not what its checksum says."""


class RemoteError(XlrayError, OSError):
    """The object store did not do what was asked, after all retries; an `OSError` as a disk's is."""

    exit_code = INTERRUPTED


class DownloadError(XlrayError):
    """A publisher's server did not give a file, after all tries."""

    exit_code = INTERRUPTED


class SessionError(XlrayError):
    """Ray cannot be started on this machine as it is now."""

    exit_code = INTERRUPTED


class FailedTrialsError(XlrayError):
    """A sweep is finished, but some of its trials failed."""

    exit_code = SOME_FAILED


class UnfinishedError(XlrayError):
    """A sweep ended before its trials did."""

    exit_code = INTERRUPTED


class BudgetError(XlrayError):
    """What a sweep costs, or is expected to cost, exceeds what may be spent."""

    exit_code = OVER_BUDGET


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    import difflib  # `xlray.signals` imports this module before anything that takes long

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
