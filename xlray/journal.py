"""The journal: what a sweep's driver decided, one JSON line each, written before it takes effect. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from xlray.canonical import InputError
from xlray.files import fsync

JOURNAL_FILE = "000000.jsonl"


def append(journal_dir: Path | str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add one entry to the journal, durably; see `append_line`. Call it inside `exclusive`."""
    return append_line(Path(journal_dir) / JOURNAL_FILE, entry)


def append_line(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add one entry to a file of JSON lines, with `time` in seconds UTC; returns it as a reader will see it.

    The line is one write, so a crash tears at most the last line; what it left is dropped here, before the next entry.
    NaN and infinities become null, so that every line is JSON to any reader. Entries of several processes wait for one
    another.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    full = _finite({**entry, "time": time.time()})
    line = json.dumps(full, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _mend_tail(descriptor)
        written = os.write(descriptor, line)
        if written != len(line):
            raise OSError(f"{path}: only {written} of {len(line)} bytes were written; is the disk full?")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if is_new:
        fsync(path.parent)
    return dict(full)


def read_journal(journal_dir: Path | str) -> list[dict[str, Any]]:
    """All entries of the journal in order; see `read_lines`."""
    return read_lines(Path(journal_dir) / JOURNAL_FILE)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All entries in order; without a file, none. A last line that was torn by a crash is left out.

    Raises:
        InputError: any other line is not a JSON object; names the file and the line.
    """
    if not path.exists():
        return []
    *lines, tail = path.read_bytes().split(b"\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        entry = _parse_line(line)
        if entry is None:
            raise InputError(f"{path}:{number}: not a JSON object: {line[:80]!r}.")
        entries.append(entry)
    # No proper prefix of a JSON object is one, so a tail that parses lacks nothing but its line end.
    last = _parse_line(tail)
    return entries if last is None else [*entries, last]


@contextlib.contextmanager
def exclusive(journal_dir: Path | str) -> Iterator[None]:
    """Hold the journal alone; the lock ends with the process, so nothing is left to clean up after a crash.

    Raises:
        InputError: another process holds it; says which.
    """
    folder = Path(journal_dir)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            owner = file.read().strip() or "unknown"
            raise InputError(f"{folder.parent}: another process runs this sweep already ({owner}).") from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _parse_line(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line.decode())
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _mend_tail(descriptor: int) -> None:
    """End the last line if only its line end is missing, drop it if it is torn."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return
    tail = b""
    start = size
    while start > 0 and b"\n" not in tail:
        length = min(start, 65_536)
        start -= length
        tail = os.pread(descriptor, length, start) + tail
    tail = tail.rpartition(b"\n")[2]
    if _parse_line(tail) is None:
        os.ftruncate(descriptor, size - len(tail))
    else:
        os.write(descriptor, b"\n")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
