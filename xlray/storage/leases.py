"""Leases: who works on what, among several processes and machines on one storage. A dead holder's lease expires.

A lease is a register that is only ever written over the version that the writer has read. A holder writes it again and
again. Whether it has expired is judged by the observer's own clock, from when it saw the last change, so the clocks of
two machines need not agree; a fresh observer therefore waits one whole time to live before it takes a dead one's lease.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from xlray.errors import require
from xlray.storage.storage import Storage


class Registers(Protocol):
    """Small values that are replaced only by writers who know the version that they replace."""

    def read(self, name: str) -> tuple[bytes, Any] | None:
        """The value and its version, or None."""

    def write(self, name: str, content: bytes, after: Any) -> Any:
        """Create the value (`after` None) or replace the version `after`.

        Returns:
            The new version; None if another writer was faster.
        """


@dataclass(frozen=True)
class FolderRegisters:
    """Registers in a folder, also on NFS: each version is a file that is created exclusively, the highest one counts.

    The version before it stays, so that a reader that lists the folder during a change finds one of the two.
    """

    root: Path

    def read(self, name: str) -> tuple[bytes, int] | None:
        while version := self._last(name):
            try:
                return self._path(name, version).read_bytes(), version
            except FileNotFoundError:  # replaced twice since the listing
                continue
        return None

    def write(self, name: str, content: bytes, after: int | None) -> int | None:
        version = (after or 0) + 1
        path = self._path(name, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("xb")
        except FileExistsError:
            return None
        try:
            with file:
                file.write(content)
        except OSError:
            path.unlink()
            raise
        if self._last(name) != version:  # the version that was replaced came from a stale listing
            path.unlink(missing_ok=True)
            return None
        for old in self._versions(name):
            if old < version - 1:
                self._path(name, old).unlink(missing_ok=True)
        return version

    def _path(self, name: str, version: int) -> Path:
        return self.root / name / f"{version:012d}"

    def _versions(self, name: str) -> list[int]:
        folder = self.root / name
        return [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.is_dir() else []

    def _last(self, name: str) -> int:
        return max(self._versions(name), default=0)


class Leases:
    """The leases of one holder. Safe for several threads: one may renew while another takes and releases."""

    def __init__(
        self, storage: Storage, holder: str, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """
        Args:
            storage: where they lie.
            holder: a name that no other process has, such as host, process id and a random part.
            ttl_s: seconds after which a lease that was not renewed is free for others; `renew` several times within.
            clock: in seconds, never going back.
        """
        require(ttl_s > 0, "ttl_s > 0", ttl_s, "leases")
        require(bool(holder), "holder is not empty", holder, "leases")
        self.holder_name, self.ttl_s = holder, ttl_s
        self._registers: Registers = storage.remote or FolderRegisters(storage / "leases")
        self._prefix = "" if storage.remote is None else "leases/"
        self._clock = clock
        self._lock = threading.RLock()
        self._held: dict[str, Any] = {}  # name -> the version that this holder wrote
        self._seen: dict[str, tuple[Any, float]] = {}  # name -> the version seen last, and since when

    @property
    def held(self) -> frozenset[str]:
        """Names of the leases that this holder has, as far as it knows."""
        with self._lock:
            return frozenset(self._held)

    def take(self, name: str) -> bool:
        """Take a lease that is free, expired or mine already; False if another holder has it.

        Raises:
            OSError: the storage cannot be read or written.
        """
        _check(name)
        with self._lock:
            found, version = self._read(name)
            if self._living(name, found, version) and found["holder"] != self.holder_name:
                self._held.pop(name, None)
                return False
            return self._write(name, version)

    def take_all(self, names: Iterable[str]) -> str | None:
        """Take all of these leases, or none; returns the name of one that another holder has, if any.

        Raises:
            OSError: the storage cannot be read or written.
        """
        taken: list[str] = []
        for name in sorted(names):
            if not self.take(name):
                for other in taken:
                    self.release(other)
                return name
            taken.append(name)
        return None

    def renew(self) -> frozenset[str]:
        """Renew all leases that are held; returns the names of those that another holder has taken since.

        Raises:
            OSError: the storage cannot be read or written; what was held still counts as held.
        """
        with self._lock:
            return frozenset(name for name, version in sorted(self._held.items()) if not self._write(name, version))

    def release(self, name: str) -> None:
        """Give a lease back; one that is not mine (any more) is left alone."""
        _check(name)
        with self._lock:
            if name in self._held:
                self._registers.write(self._prefix + name, self._document(None), self._held.pop(name))

    def holder(self, name: str) -> str | None:
        """Who holds a lease; None when it is free or has expired."""
        _check(name)
        with self._lock:
            found, version = self._read(name)
            return str(found["holder"]) if self._living(name, found, version) else None

    def version(self, name: str) -> Any:
        """What changes with every renewal; None if the lease was never taken."""
        _check(name)
        return self._read(name)[1]

    def _read(self, name: str) -> tuple[dict[str, Any], Any]:
        """What the lease says, {} if there is none, and its version."""
        read = self._registers.read(self._prefix + name)
        if read is None:
            return {}, None
        content, version = read
        try:
            return dict(json.loads(content)), version
        except ValueError:  # its writer is between creating and writing it, or died there
            return {"holder": "unknown", "ttl_s": self.ttl_s}, version

    def _write(self, name: str, after: Any) -> bool:
        version = self._registers.write(self._prefix + name, self._document(self.holder_name), after)
        if version is None:
            self._held.pop(name, None)
            return False
        self._held[name] = version
        return True

    def _document(self, holder: str | None) -> bytes:
        # The random part makes each version differ from all others, also for stores whose tag is a hash of the content.
        return json.dumps({"holder": holder, "ttl_s": self.ttl_s, "version": secrets.token_hex(8)}).encode()

    def _living(self, name: str, found: dict[str, Any], version: Any) -> bool:
        if found.get("holder") is None:
            self._seen.pop(name, None)
            return False
        known = self._seen.get(name)
        if known is None or known[0] != version:
            known = self._seen[name] = (version, self._clock())
        return self._clock() - known[1] < float(found["ttl_s"])


def process_name() -> str:
    """A holder's name that no other process has."""
    return f"process {os.getpid()} on {socket.gethostname()}, {secrets.token_hex(3)}"


@contextlib.contextmanager
def renewing(leases: Leases) -> Iterator[None]:
    """Keep what is held alive for the time of a block."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(leases.ttl_s / 4):
            with contextlib.suppress(OSError):  # a storage that is away for a moment; retried, until it has expired
                leases.renew()

    thread = threading.Thread(target=renew, name="xlray-leases", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextlib.contextmanager
def turn(leases: Leases, name: str, is_done: Callable[[], bool], look_every_s: float = 0.5) -> Iterator[bool]:
    """Wait for a lease and hold it for the time of a block, unless another holder does the work meanwhile.

    Args:
        is_done: whether the work is done.

    Returns:
        whether it is this holder's to do.
    """
    while not is_done():
        if leases.take(name):
            break
        time.sleep(look_every_s)
    else:
        yield False
        return
    try:
        with renewing(leases):
            yield not is_done()  # another may have done it just before it gave the lease back
    finally:
        leases.release(name)


def _check(name: str) -> None:
    require(re.fullmatch(r"\w[\w.+-]*", name) is not None, "name is letters, digits, '.', '_', '+', '-'", name, "lease")
