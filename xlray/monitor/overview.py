"""All sweeps of a storage, a line each: those that are due are looked at until an answer has taken its time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from xlray.errors import InputError
from xlray.monitor.page import SweepPage

MOST_S = 0.05  # of an answer, which then has the other sweeps as they were


class Overview:
    """The lines of all sweeps, those longest ago first to be made again; one thread at a time may use it."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, Any]] = {}
        self._made: dict[str, float] = {}

    def lines(self, pages: Mapping[str, SweepPage], names: Sequence[str]) -> list[dict[str, Any]]:
        """`SweepPage.line` of the sweeps that are read, the one that changed last first, and `{name}` of the others.

        Args:
            pages: of the sweeps whose journals were taken in.
            names: of all sweeps.
        """
        end = time.monotonic() + MOST_S
        for name in sorted(pages, key=lambda name: self._made.get(name, 0.0)):
            self._lines[name] = _line(pages[name], name)
            self._made[name] = time.monotonic()
            if self._made[name] > end:
                break
        known = [self._lines.get(name, {"name": name}) for name in names]
        return sorted(known, key=lambda line: -line.get("changed", 0.0))


def _line(page: SweepPage, name: str) -> dict[str, Any]:
    try:
        return page.line()
    except InputError as error:  # the others are shown all the same
        return {"name": name, "state": "unreadable", "error": str(error)}
