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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlray.errors import InputError
from xlray.storage.files import fsync
from xlray.storage.leases import Leases, process_name, renewing
from xlray.storage.object_store import Remote
from xlray.storage.working_folder import relative, remote_of, root_of, send, uri_of

JOURNAL_FILE = "000000.jsonl"
SEGMENT_BYTES = 2**16  # of a segment; what one more line costs to send
LEASE_TTL_S = 60.0


def append(journal_dir: Path | str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add one entry to the journal, durably; see `append_line`. Call it inside `exclusive`.

    Raises:
        InputError: on an object store, another process has written to the journal meanwhile.
    """
    folder = Path(journal_dir)
    root = root_of(folder)
    if root is None:
        return append_line(folder / JOURNAL_FILE, entry)
    full, line = _line(entry)
    remote, name = remote_of(root), relative(root, folder)
    assert remote is not None
    last = _last_segments.get(folder) or _last_segment(remote, name)
    if len(last.content) + len(line) > SEGMENT_BYTES:
        last = _Segment(last.number + 1, b"", None)
    content = last.content + line
    tag = remote.write(f"{name}/{last.number:06d}.jsonl", content, last.tag)
    if tag is None:
        raise InputError(f"{remote.uri}/{name}: another process writes this journal.")
    _last_segments[folder] = _Segment(last.number, content, tag)
    return full


@dataclass(frozen=True)
class _Segment:
    number: int
    content: bytes
    tag: Mapping[str, str] | None


_last_segments: dict[Path, _Segment] = {}  # of the journals that this process writes


def _last_segment(remote: Remote, name: str) -> _Segment:
    names = _segments(remote, name)
    found = remote.read(names[-1]) if names else None
    return _Segment(0, b"", None) if found is None else _Segment(len(names) - 1, *found)


def _segments(remote: Remote, name: str) -> list[str]:
    return sorted(path for path in remote.list(f"{name}/") if path.endswith(".jsonl"))


def append_line(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Add one entry to a file of JSON lines, with `time` in seconds UTC; returns it as a reader will see it.

    A crash tears at most the last line; what it left is dropped here, before the next entry.
    NaN and infinities become null, so that every line is JSON to any reader. Entries of several processes wait for one
    another.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    full, line = _line(entry)
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
    if (root := root_of(path)) is not None:
        send(root, [path])
    return full


def _line(entry: Mapping[str, Any]) -> tuple[dict[str, Any], bytes]:
    full = dict(finite({**entry, "time": time.time()}))
    return full, json.dumps(full, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_journal(journal_dir: Path | str) -> list[dict[str, Any]]:
    """All entries of the journal in order; see `read_lines`."""
    return parse_lines(journal_bytes(journal_dir), Path(journal_dir) / JOURNAL_FILE)


def journal_bytes(journal_dir: Path | str) -> bytes:
    """The text of the journal as it is now; without one, nothing."""
    folder = Path(journal_dir)
    root = root_of(folder)
    if root is None:
        path = folder / JOURNAL_FILE
        return path.read_bytes() if path.exists() else b""
    remote = remote_of(root)
    assert remote is not None
    with ThreadPoolExecutor(16) as pool:
        read = pool.map(remote.read, _segments(remote, relative(root, folder)))
        return b"".join(found[0] for found in read if found is not None)


def journal_digest(journal_dir: Path | str) -> str:
    """SHA-256 of the journal as it is now."""
    return hashlib.sha256(journal_bytes(journal_dir)).hexdigest()


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


@contextlib.contextmanager
def exclusive(journal_dir: Path | str, waits: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the journal alone; the lock ends with the process, so nothing is left to clean up after a crash.

    On an object store it is a lease: after a crash the next one waits until it has expired.

    Args:
        waits: called where it must.

    Raises:
        InputError: another process holds it; says which.
    """
    folder = Path(journal_dir)
    folder.mkdir(parents=True, exist_ok=True)
    root = root_of(folder)
    if root is not None:
        with _leased(root, folder, waits):
            yield
        return
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


@contextlib.contextmanager
def _leased(root: Path, folder: Path, waits: Callable[[], None]) -> Iterator[None]:
    leases = Leases(root, process_name(), LEASE_TTL_S)
    name = lease_name(folder)
    first = leases.version(name)
    if not leases.take(name):
        waits()
        while not leases.take(name):
            if leases.version(name) != first:  # renewed: its holder lives
                where, holder = f"{uri_of(root)}/{relative(root, folder.parent)}", leases.holder(name)
                raise InputError(f"{where}: another process runs this sweep already ({holder}).")
            time.sleep(LEASE_TTL_S / 60)
    _last_segments.pop(folder, None)
    try:
        with renewing(leases):
            yield
    finally:
        leases.release(name)


def lease_name(journal_dir: Path) -> str:
    """The lease of a sweep's journal on an object store."""
    return f"sweep-{journal_dir.parent.name}"


def is_held(journal_dir: Path) -> bool:
    """Whether a process holds the journal, as far as can be seen at once."""
    root = root_of(journal_dir)
    if root is not None:
        remote = remote_of(root)
        assert remote is not None
        changed = remote.changed(f"leases/{lease_name(journal_dir)}")
        is_fresh = changed is not None and time.time() - changed < 2 * LEASE_TTL_S
        return is_fresh and Leases(root, "observer", LEASE_TTL_S).holder(lease_name(journal_dir)) is not None
    try:
        with (journal_dir / "lock").open() as file:
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
