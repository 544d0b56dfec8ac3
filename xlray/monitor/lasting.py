"""Output that goes away: streams that take text also after their reader has gone."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import TextIO


class Lasting(io.TextIOBase):
    """A stream that takes text also after its reader went away, a closed pipe or terminal, and drops it from then on.

    Args:
        log: gets a line when that happens.
    """

    def __init__(self, stream: TextIO, log: Callable[[str], object] = lambda _: None) -> None:
        self.stream = stream
        self.log = log

    def write(self, text: str) -> int:
        self._attempt(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        # Collecting this flushes, and the stream may be closed by then; an error there is printed since Python 3.13.
        if not self.stream.closed:
            self._attempt(self.stream.flush)

    def fileno(self) -> int:
        return self.stream.fileno()

    def isatty(self) -> bool:
        return self.stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # what is still buffered goes there, too
            os.close(nowhere)
            self.log(f"the output went away ({error.strerror or error}); continuing without it")


@contextlib.contextmanager
def lasting() -> Iterator[None]:
    """What a command does and how it ends does not depend on anybody reading its output, for the time of a block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Lasting(before[0]), Lasting(before[1])
    try:
        yield
        sys.stdout.flush()
    finally:
        sys.stdout, sys.stderr = before
