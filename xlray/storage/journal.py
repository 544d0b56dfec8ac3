"""The journal: what a sweep's driver decided, one JSON line each, written before it takes effect.

In a folder it is one file that grows. On an object store, which cannot append, it is numbered segments, of which the last
is replaced by itself and one line more: a put over the version that this writer wrote before, so that a second writer is
found out by whoever writes next.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.storage.files import fsync
from xlray.storage.leases import Leases, process_name, renewing
from xlray.storage.object_store import Remote, parallel
from xlray.storage.storage import Storage

JOURNAL_FILE = "000000.jsonl"
SEGMENT_BYTES = 2**16  # of a segment; what one more line costs to send
LEASE_TTL_S = 60.0


def append_line(storage: Storage, path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add one entry to a file of JSON lines; see `append_lines`."""
    return append_lines(storage, path, [entry])[0]


def append_lines(storage: Storage, path: Path, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add entries to a file of JSON lines, with `time` in seconds UTC; returns them as a reader will see them.

    All are flushed to the disk at once. A crash tears at most one line, after which there is none; what it left is dropped
    here, before the next entry. NaN and infinities become null, so that every line is JSON to any reader. Entries of several
    processes wait for one another.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    made = list(map(_line, entries))
    line = b"".join(text for _, text in made)
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        _mend_tail(descriptor)
        while line:  # a disk with room for a part of it takes that part; only the next write says why not more
            line = line[os.write(descriptor, line) :]
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)
    if is_new:
        fsync(path.parent)
    storage.send(path)
    return [full for full, _ in made]


def _line(entry: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    full = dict(finite({**entry, "time": time.time()}))
    return full, json.dumps(full, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """All entries in order; without a file, none. A last line that was torn by a crash is left out.

    Raises:
        InputError: any other line is not a JSON object; names the file and the line.
    """
    return parse_lines(path.read_bytes() if path.exists() else b"", path)


def parse_lines(text: bytes, path: Path) -> list[dict[str, Any]]:
    """The entries of a text of JSON lines; see `read_lines`."""
    *lines, tail = text.split(b"\n")
    entries = []
    for number, line in enumerate(lines, start=1):
        entry = _parse_line(line)
        if entry is None:
            raise InputError(f"{path}:{number}: not a JSON object: {line[:80]!r}.")
        entries.append(entry)
    # No proper prefix of a JSON object is one, so a tail that parses lacks nothing but its line end.
    last = _parse_line(tail)
    return entries if last is None else [*entries, last]


@dataclass(frozen=True)
class _Segment:
    number: int
    content: bytes
    tag: Mapping[str, str] | None


@dataclass
class Journal:
    """The journal of a sweep, to read and, inside `exclusive`, to write.

    Attributes:
        storage: what it lies in.
        folder: `<storage>/sweeps/<name>/journal`.
    """

    storage: Storage
    folder: Path
    _last: _Segment | None = field(default=None, init=False, repr=False)  # as this writer wrote it

    def append(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Add one entry, durably; see `extend`."""
        return self.extend([entry])[0]

    def extend(self, entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Add entries, durably once this returns, with one write for many of them; see `append_lines`.

        Raises:
            InputError: on an object store, another process has written to the journal meanwhile.
        """
        remote, entries = self.storage.remote, list(entries)
        if not entries:
            return []
        if remote is None:
            return append_lines(self.storage, self.folder / JOURNAL_FILE, entries)
        made = list(map(_line, entries))
        last = self._last or self._last_segment(remote)
        content = last.content
        for _, line in made:
            if len(content) + len(line) > SEGMENT_BYTES:
                if content != last.content:
                    self._put(remote, last, content)
                last, content = _Segment(last.number + 1, b"", None), b""
            content += line
        if content != last.content:
            self._put(remote, last, content)
        return [full for full, _ in made]

    def _put(self, remote: Remote, segment: _Segment, content: bytes) -> None:
        tag = remote.write(f"{self.name}/{segment.number:06d}.jsonl", content, segment.tag)
        if tag is None:
            raise InputError(f"{remote.uri}/{self.name}: another process writes this journal.")
        self._last = _Segment(segment.number, content, tag)

    def read(self) -> list[dict[str, Any]]:
        """All entries in order; see `read_lines`."""
        return parse_lines(self._bytes(), self.folder / JOURNAL_FILE)

    def digest(self) -> str:
        """SHA-256 of the journal as it is now."""
        return hashlib.sha256(self._bytes()).hexdigest()

    def _bytes(self) -> bytes:
        remote = self.storage.remote
        if remote is None:
            path = self.folder / JOURNAL_FILE
            return path.read_bytes() if path.exists() else b""
        found = parallel(remote.read, self._segments(remote))
        return b"".join(segment[0] for segment in found if segment is not None)

    @property
    def name(self) -> str:
        """Of its folder in an object store."""
        return self.storage.relative(self.folder)

    @property
    def _lease(self) -> str:
        return f"sweep-{self.folder.parent.name}"

    def _segments(self, remote: Remote) -> list[str]:
        return sorted(path for path in remote.list(f"{self.name}/") if path.endswith(".jsonl"))

    def _last_segment(self, remote: Remote) -> _Segment:
        names = self._segments(remote)
        found = remote.read(names[-1]) if names else None
        return _Segment(0, b"", None) if found is None else _Segment(len(names) - 1, *found)

    @contextlib.contextmanager
    def exclusive(self, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the journal alone; the lock ends with the process, so nothing is left to clean up after a crash.

        On an object store it is a lease: after a crash the next one waits until it has expired.

        Args:
            waits: called where it must.

        Raises:
            InputError: another process holds it; says which.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.storage.remote is not None:
            with self._leased(waits):
                yield
            return
        path = self.folder / "lock"
        with path.open("a+", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                owner = file.read().strip() or "unknown"
                raise InputError(f"{self.folder.parent}: another process runs this sweep already ({owner}).") from error
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            yield

    @contextlib.contextmanager
    def _leased(self, waits: Callable[[], None]) -> Iterator[None]:
        leases, name = Leases(self.storage, process_name(), LEASE_TTL_S), self._lease
        first = leases.version(name)
        if not leases.take(name):
            waits()
            while not leases.take(name):
                if leases.version(name) != first:  # renewed: its holder lives
                    where = f"{self.storage.uri}/{self.storage.relative(self.folder.parent)}"
                    raise InputError(f"{where}: another process runs this sweep already ({leases.holder(name)}).")
                time.sleep(LEASE_TTL_S / 60)
        self._last = None
        try:
            with renewing(leases):
                yield
        finally:
            leases.release(name)

    def is_held(self) -> bool:
        """Whether a process holds the journal, as far as can be seen at once."""
        if self.storage.remote is not None:
            changed = self.storage.remote.changed(f"leases/{self._lease}")
            is_fresh = changed is not None and time.time() - changed < 2 * LEASE_TTL_S
            return is_fresh and Leases(self.storage, "observer", LEASE_TTL_S).holder(self._lease) is not None
        try:
            with (self.folder / "lock").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


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


def finite(value: Any) -> Any:
    """A value as a reader of the journal sees it: NaN and infinities are None, mappings and sequences plain."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
