"""Training states on disk: safetensors by parameter name, written while training continues, checked when read back."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xlray.plan.machine import free_host_bytes
from xlray.storage.files import atomic_file

# Type and shape of each tensor, in the order of the file.
StateLayout = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]

_NAMES = {torch.float32: "F32", torch.int64: "I64"}
_UNKNOWN = "00000000"  # stands in the header until the checksum is known
_CHUNK = 2**24


def write_state(path: Path, layout: StateLayout, entries: Iterable[tuple[str, Tensor]]) -> None:
    """Write tensors to a safetensors file in one rename; older states beside it are then removed.

    The header holds the CRC-32 of the data, so that a damaged file is known from a sound one. At no time is more than
    one tensor needed.

    Args:
        entries: CPU tensors in the order of the layout.
    """
    header = _header(layout)
    expected = iter(layout.items())
    with atomic_file(path) as file:
        file.write(len(header).to_bytes(8, "little") + header)
        checksum = 0
        for name, tensor in entries:
            if next(expected) != (name, (tensor.dtype, tuple(tensor.shape))):
                raise ValueError(f"{path.name}: {name} is not what stands next in the layout")
            data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
            checksum = zlib.crc32(data, checksum)
            file.write(data)
        if next(expected, None) is not None:
            raise ValueError(f"{path.name}: tensors of the layout are missing")
        file.seek(8 + header.index(_UNKNOWN.encode()))
        file.write(f"{checksum:08x}".encode())
    for older in path.parent.glob("state-*.safetensors"):
        if older != path:
            older.unlink()


def _header(layout: StateLayout) -> bytes:
    document: dict[str, Any] = {"__metadata__": {"format": "pt", "crc32": _UNKNOWN}}
    start = 0
    for name, (dtype, shape) in layout.items():
        end = start + dtype.itemsize * torch.Size(shape).numel()
        document[name] = {"dtype": _NAMES[dtype], "shape": list(shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(document, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)  # safetensors aligns the data


def is_sound(path: Path) -> bool:
    """Whether a state is whole: its size by the header, its data by the checksum, read in pieces."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                return False
            document = json.loads(file.read(size))
            wanted = document.pop("__metadata__")["crc32"]
            if path.stat().st_size != 8 + size + max(entry["data_offsets"][1] for entry in document.values()):
                return False
            checksum = 0
            while piece := file.read(_CHUNK):
                checksum = zlib.crc32(piece, checksum)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(wanted == f"{checksum:08x}")


def latest_state(attempt: Path) -> tuple[Path | None, int]:
    """The newest sound state of an unfinished phase, and how many damaged ones were removed."""
    found = sorted(attempt.glob("state-*.safetensors"), key=lambda p: int(p.stem.split("-")[1]), reverse=True)
    for damaged, path in enumerate(found):
        if is_sound(path):
            return path, damaged
        path.unlink()
    return None, len(found)


class StateWriter:
    """Writes states in a thread of its own while training continues; one at a time. Leaving the context waits for it.

    What was gathered waits in memory for the disk, up to a quarter of what is free; beyond that gathering waits. An error
    of the thread is raised by the next `save` or `wait`.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="state-writer")
        self._running: Future[None] | None = None

    def save(
        self,
        path: Path,
        layout: StateLayout,
        entries: Iterable[tuple[str, Tensor]],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Take all entries, and return when the last is taken; `path` appears when all are on disk.

        Args:
            then: called in the thread once `path` is there; carries it elsewhere.
        """
        self.wait()
        belt = _Belt(free_host_bytes() // 4)
        self._running = self._pool.submit(_write, path, layout, belt, then)
        try:
            for entry in entries:  # to the end even if the writer fails: peers take part in gathering
                belt.put(entry)
        finally:
            belt.close()

    def __enter__(self) -> StateWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self._pool.shutdown()

    def wait(self) -> None:
        """Return when the last state is on disk, and what follows it is done."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def _write(path: Path, layout: StateLayout, belt: _Belt, then: Callable[[], None]) -> None:
    try:
        write_state(path, layout, belt)
    finally:
        belt.stop()
    then()


class _Belt:
    """Hands tensors from one thread to another, at most `limit` bytes (and one tensor) at a time."""

    def __init__(self, limit: int) -> None:
        self._limit, self._held = limit, 0
        self._entries: list[tuple[str, Tensor]] = []
        self._closed = self._stopped = False
        self._changed = threading.Condition()

    def put(self, entry: tuple[str, Tensor]) -> None:
        size = entry[1].nbytes
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._held or self._held + size <= self._limit)
            if not self._stopped:
                self._entries.append(entry)
                self._held += size
                self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._entries.clear()
            self._changed.notify_all()

    def __iter__(self) -> _Belt:
        return self

    def __next__(self) -> tuple[str, Tensor]:
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._closed)
            if not self._entries:
                raise StopIteration
            entry = self._entries.pop(0)
            self._held -= entry[1].nbytes
            self._changed.notify_all()
            return entry
