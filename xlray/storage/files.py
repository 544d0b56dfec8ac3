"""Files that are there whole or not at all: atomic writes, checksums. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from xlray.errors import InputError

TEMPORARY_BYTES = 2**16  # that a folder of temporary files must have room for


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` only once it is whole and on disk; an error leaves `path` as it was."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync(path.parent)


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A folder that takes its place by one rename once it is whole; one that another process made meanwhile is kept."""
    staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    staging.mkdir(parents=True)
    try:
        yield staging
        staging.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new, never a part."""
    with atomic_file(path) as file:
        file.write(text.encode())


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds.

    Raises:
        InputError: it holds a part of one, or something else; names the file.
    """
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict):
            raise ValueError(f"it holds a {type(document).__name__}")
    except ValueError as error:
        raise InputError(f"{path} must hold a whole JSON object, but: {error}; restore it from a copy.") from error
    return document


def fsync(path: Path) -> None:
    """Bring a file, or the entries of a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Wait until no other process or thread of this machine is inside; a crash lets the next one in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def temporary_trouble() -> OSError | None:
    """Why nothing can be written to the folder of temporary files, or None.

    Ray keeps its logs and sockets there; where it is full, no process starts any more, and nothing says so.
    """
    try:
        with tempfile.TemporaryFile() as file:
            file.write(bytes(TEMPORARY_BYTES))
    except OSError as error:
        return error
    return None
