"""A storage: a folder, or an object store with a working folder on each machine.

It is opened once, from what a user or a job's document calls it, and handed on to whatever reads or writes it. In an
object store, everything reads and writes the working folder; what is finished is published, and what is missing is
brought. The file `.remote` in a working folder names its store, so that it can also be opened by its path.

A folder is published under a place of its own, and exists from when its marker `DONE` is created, which names the place
and the checksums. Marker and place never change: of two that publish the same folder one wins, and a part of an upload
is seen by nobody but the garbage collector.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.errors import DamagedError, InputError, RemoteError
from xlray.storage.files import atomic_file, file_digest, file_lock, write_atomically
from xlray.storage.object_store import Remote, parallel

SCHEMES = ("s3", "gs")
REMOTE_FILE = ".remote"
MARKER = "DONE"


@dataclass(frozen=True)
class Storage:
    """A storage as this machine works on it.

    Attributes:
        root: its folder on this machine, absolute.
        remote: the object store behind it; None where the folder is the storage itself.
    """

    root: Path
    remote: Remote | None = None
    _sent: dict[Path, int] = field(default_factory=dict, init=False, repr=False, compare=False)  # see `send_changed`

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process opens it by its name: the working folder may be another one there."""
        return open_storage, (self.uri,)

    def __str__(self) -> str:
        return self.uri

    def __truediv__(self, name: str) -> Path:
        """A path in it."""
        return self.root / name

    @property
    def uri(self) -> str:
        """What another machine opens it by."""
        return str(self.root) if self.remote is None else self.remote.uri

    def relative(self, path: Path | str) -> str:
        """A path in it as another machine understands it: below its own working folder. Other paths stay."""
        return Path(path).relative_to(self.root).as_posix() if Path(path).is_relative_to(self.root) else str(path)

    def address(self, path: Path) -> str:
        """A path in it as another machine can `arrive` at it."""
        return str(path) if self.remote is None else f"{self.uri}#{self.relative(path)}"

    def publish(self, folder: Path, source: Path, marker: Mapping[str, Any]) -> bool:
        """Make a folder exist in the object store, unless it does.

        Args:
            folder: in the storage; its name is that of the published folder.
            source: where its files lie.
            marker: what `DONE` will hold; `files` (name to SHA-256) are sent.

        Returns:
            Whether it was this call's files that were published; True where there is no object store.
        """
        if self.remote is None:
            return True
        name = self.relative(folder)
        place = f"files-{secrets.token_hex(4)}"
        self.remote.upload({f"{name}/{place}/{file}": source / file for file in marker["files"]})
        document = json.dumps({**marker, "place": place}, indent=1, sort_keys=True).encode()
        return self.remote.write(f"{name}/{MARKER}", document, None) is not None

    def publish_folder(self, folder: Path) -> None:
        """Publish a folder that is whole and is made the same by everybody, such as tokenised data."""
        if self.remote is not None:
            paths = (p for p in folder.rglob("*") if p.is_file() and p.name != MARKER)
            files = sorted(path.relative_to(folder).as_posix() for path in paths)
            self.publish(folder, folder, {"files": {f: file_digest(folder / f) for f in files}, "time": time.time()})
            self.find(folder)

    def find(self, folder: Path) -> bool:
        """Whether a folder of the storage exists; its marker then lies on this machine, its files perhaps not yet."""
        if self.remote is None or (folder / MARKER).exists():
            return folder.exists()
        found = self.remote.read(f"{self.relative(folder)}/{MARKER}")
        if found is None:
            return False
        write_atomically(folder / MARKER, found[0].decode())
        return True

    def find_all(self, folders: Iterable[Path], parent: Path) -> frozenset[Path]:
        """`find` for many folders in one parent; those that are not there at all are not asked for one by one.

        Returns:
            Those that are finished.
        """
        by_name = {folder.name: folder for folder in folders}
        there = by_name if self.remote is None else self.remote.folders(self.relative(parent) + "/")
        found = parallel(lambda name: by_name[name] if self.find(by_name[name]) else None, by_name.keys() & there)
        return frozenset(folder for folder in found if folder is not None)

    def bring(self, folder: Path, names: Iterable[str] | None = None) -> None:
        """Have the files of a published folder on this machine; several processes that want them wait for one another.

        Does nothing where there is no object store, and for a folder that is not in the storage.

        Args:
            names: of the files, all by default.

        Raises:
            DamagedError: a file is not there or not what the marker says; the folder was moved to `quarantine/`.
            RemoteError: no such folder, or the store does not answer.
        """
        remote = self.remote
        if remote is None or not folder.is_relative_to(self.root):
            return
        name = self.relative(folder)
        with self.lock("bring", name):
            if not self.find(folder):
                raise RemoteError(f"{remote.uri}/{name}: there is no such folder.")
            marker = json.loads((folder / MARKER).read_text())
            wanted = [f for f in (marker["files"] if names is None else names) if not (folder / f).exists()]
            try:
                parallel(
                    lambda f: remote.download(f"{name}/{marker['place']}/{f}", folder / f, marker["files"][f]),
                    wanted,
                )
            except DamagedError as error:
                self.quarantine(folder)
                raise DamagedError(f"{name}: {error}; it was moved to quarantine/: run again.") from error

    def quarantine(self, folder: Path) -> None:
        """Move a damaged folder aside; it no longer exists for readers."""
        aside, marker = self / "quarantine" / f"{folder.name}-{secrets.token_hex(4)}", (folder / MARKER).read_bytes()
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)
        if self.remote is None:
            return
        found = self.remote.read(f"{self.relative(folder)}/{MARKER}")
        if found is not None and found[0] == marker:  # otherwise another process was here and it is recreated already
            self.remote.write(f"{self.relative(aside)}/{MARKER}", marker, None)
            self.remote.delete([f"{self.relative(folder)}/{MARKER}"])
        shutil.rmtree(aside)  # a copy

    def send(self, *paths: Path) -> None:
        """Write files of the storage through to the object store, over what is there."""
        if self.remote is not None:
            self.remote.upload({self.relative(path): path for path in paths})

    def send_small(self, path: Path) -> None:
        """`send` for one file that readers can do without: trouble with the store is ignored."""
        with contextlib.suppress(RemoteError):
            self.send(path)

    def send_changed(self, folder: Path, leave_out: Iterable[str] = ()) -> None:
        """Write every file below a folder through that has changed since it was sent from here.

        Args:
            leave_out: files and folders directly in it.
        """
        if self.remote is None:
            return
        left_out = frozenset(leave_out)
        times = {
            path: path.stat().st_mtime_ns
            for path in folder.rglob("*")
            if path.is_file() and not path.name.startswith(".") and path.relative_to(folder).parts[0] not in left_out
        }
        changed = [path for path, time_ns in times.items() if self._sent.get(path) != time_ns]
        self.send(*changed)
        self._sent.update((path, times[path]) for path in changed)

    def fetch_small(self, path: Path, again: bool = False) -> None:
        """Have one file on this machine, if the object store has it; `again` also if it is here already."""
        if self.remote is not None and (again or not path.exists()):
            found = self.remote.read(self.relative(path))
            if found is not None:
                with atomic_file(path) as file:
                    file.write(found[0])

    def refresh(self, folder: Path, entries: Iterable[str]) -> None:
        """Have files of a folder as the object store has them now: for what changes, such as the state of a sweep.

        Args:
            entries: files and folders in it.
        """
        if (remote := self.remote) is None:
            return
        prefix, wanted = self.relative(folder) + "/", frozenset(entries)
        known = {n: o for n, o in remote.list(prefix).items() if n.removeprefix(prefix).split("/")[0] in wanted}

        def fetch(name: str) -> None:
            path, (_, modified) = self / name, known[name]
            if not path.exists() or path.stat().st_mtime < modified:
                with contextlib.suppress(FileNotFoundError):  # removed since the listing
                    remote.download(name, path)
                    os.utime(path, (modified, modified))

        parallel(fetch, known)

    @contextlib.contextmanager
    def lock(self, purpose: str, name: str) -> Iterator[None]:
        """Keep other processes of this machine out; a few names share a lock, so one purpose must not nest in itself."""
        number = hashlib.sha256(name.encode()).hexdigest()[:2]
        with file_lock(self / ".locks" / f"{purpose}-{number}"):
            yield


def is_remote(uri: str) -> bool:
    """Whether a storage's name is that of an object store."""
    return "://" in uri


def open_storage(uri: str) -> Storage:
    """A storage by its name: a folder, also the working folder of an object store, or s3://BUCKET/PREFIX and the like.

    Working folders are in `$XLRAY_CACHE` or `~/.cache/xlray`, which may be deleted whenever nothing runs.

    Raises:
        InputError: a scheme that is not supported, or no bucket.
    """
    if not is_remote(uri):
        root = Path(uri).expanduser().absolute()
        try:
            return Storage(root, Remote((root / REMOTE_FILE).read_text().strip()))
        except (FileNotFoundError, NotADirectoryError):
            return Storage(root)
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES or not rest.split("/")[0]:
        raise InputError(f"storage must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, but got {uri!r}.")
    uri = f"{scheme}://{rest.rstrip('/')}"
    cache = Path(os.environ.get("XLRAY_CACHE", "~/.cache/xlray")).expanduser().absolute()
    root = cache / hashlib.sha256(uri.encode()).hexdigest()[:20]
    if not (root / REMOTE_FILE).exists():
        write_atomically(root / REMOTE_FILE, uri + "\n")
    return Storage(root, Remote(uri))


def named_storage(text: str) -> Storage:
    """The storage that a user names, after a look at whether it can be one.

    Raises:
        InputError: an object store that is not supported or does not answer, or a path below something that is no folder.
    """
    text = text.removeprefix("file://")
    storage = open_storage(text)
    there = next(p for p in (storage.root, *storage.root.parents) if p.exists())
    if not there.is_dir():
        raise InputError(f"--storage {text}: must be a folder that can be written, but {there} is a file.")
    if storage.remote is not None:
        try:
            storage.remote.check(write=False)
        except RemoteError as error:
            raise InputError(f"--storage {text}: must be a bucket that can be read, but: {error}") from error
    return storage


def arrive(text: str) -> Path:
    """The file that another machine called by `Storage.address`, as it is now, on this machine."""
    uri, _, name = text.partition("#")
    if not is_remote(uri):
        return Path(text)
    storage = open_storage(uri)
    storage.fetch_small(storage / name, again=True)
    return storage / name
