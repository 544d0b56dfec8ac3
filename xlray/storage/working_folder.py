"""A storage in an object store: a working folder on each machine, and the store that stands behind it.

Everything reads and writes the working folder; what is finished is published, and what is missing is brought. The file
`.remote` in a working folder names its store, so that a path says by itself whether something stands behind it.

A folder is published under a place of its own, and exists from when its marker `DONE` is created, which names the place
and the checksums. Marker and place never change: of two that publish the same folder one wins, and a part of an upload
is seen by nobody but the garbage collector.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from xlray.errors import DamagedError, InputError, RemoteError
from xlray.storage.files import atomic_file, file_digest, file_lock, write_atomically
from xlray.storage.object_store import Remote, parallel

SCHEMES = ("s3", "gs")
REMOTE_FILE = ".remote"
MARKER = "DONE"

# --- storages, folders and paths -----------------------------------------------------------------------------------


def is_remote(uri: str) -> bool:
    """Whether a storage's name is that of an object store."""
    return "://" in uri


def working_folder(uri: str) -> Path:
    """The folder in which this machine works on a storage: a local one itself, or one in the cache.

    The cache is `$XLRAY_CACHE` or `~/.cache/xlray`; it may be deleted whenever nothing runs.

    Raises:
        InputError: a scheme that is not supported, or no bucket.
    """
    if not is_remote(uri):
        return Path(uri).expanduser().absolute()
    scheme, _, rest = uri.partition("://")
    if scheme not in SCHEMES or not rest.split("/")[0]:
        raise InputError(f"storage must be a folder, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX, but got {uri!r}.")
    uri = f"{scheme}://{rest.rstrip('/')}"
    cache = Path(os.environ.get("XLRAY_CACHE", "~/.cache/xlray")).expanduser().absolute()
    root = cache / hashlib.sha256(uri.encode()).hexdigest()[:20]
    if not (root / REMOTE_FILE).exists():
        write_atomically(root / REMOTE_FILE, uri + "\n")
        remote_of.cache_clear()
    return root


@functools.cache
def remote_of(root: Path) -> Remote | None:
    """The store behind a storage's folder; None if the folder is the storage itself."""
    try:
        return Remote((root / REMOTE_FILE).read_text().strip())
    except (FileNotFoundError, NotADirectoryError):
        return None


def uri_of(root: Path) -> str:
    """What another machine opens the storage by."""
    remote = remote_of(root)
    return str(root) if remote is None else remote.uri


def relative(root: Path, path: Path | str) -> str:
    """A path of the storage as another machine understands it: below its own working folder. Other paths stay."""
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else str(path)


def root_of(path: Path) -> Path | None:
    """The working folder that a path is in, if an object store stands behind it."""
    return next((folder for folder in path.absolute().parents if remote_of(folder)), None)


def address(path: Path) -> str:
    """A path as another machine can `arrive` at it."""
    root = root_of(path)
    return str(path) if root is None else f"{uri_of(root)}#{relative(root, path)}"


def arrive(text: str) -> Path:
    """The file that another machine called by `address`, as it is now, on this machine."""
    uri, _, name = text.partition("#")
    if not is_remote(uri):
        return Path(text)
    root = working_folder(uri)
    fetch_small(root, root / name, again=True)
    return root / name


# --- publishing and bringing ---------------------------------------------------------------------------------------


def publish(root: Path, folder: Path, source: Path, marker: Mapping[str, Any]) -> bool:
    """Make a folder exist in the store behind the storage, unless it does.

    Args:
        folder: of the storage; its name is that of the published folder.
        source: where its files lie.
        marker: what `DONE` will hold; `files` (name to SHA-256) are sent.

    Returns:
        Whether it was this call's files that were published; True where nothing stands behind the storage.
    """
    remote = remote_of(root)
    if remote is None:
        return True
    name = relative(root, folder)
    place = f"files-{secrets.token_hex(4)}"
    remote.upload({f"{name}/{place}/{file}": source / file for file in marker["files"]})
    document = json.dumps({**marker, "place": place}, indent=1, sort_keys=True).encode()
    return remote.write(f"{name}/{MARKER}", document, None) is not None


def publish_folder(root: Path, folder: Path) -> None:
    """Publish a folder that is whole and is made the same by everybody, such as tokenised data."""
    if remote_of(root) is not None:
        files = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and p.name != MARKER)
        publish(root, folder, folder, {"files": {f: file_digest(folder / f) for f in files}, "time": time.time()})
        find(root, folder)


def find(root: Path, folder: Path) -> bool:
    """Whether a folder of the storage exists; its marker then lies on this machine, its files perhaps not yet."""
    remote = remote_of(root)
    if remote is None or (folder / MARKER).exists():
        return folder.exists()
    found = remote.read(f"{relative(root, folder)}/{MARKER}")
    if found is None:
        return False
    write_atomically(folder / MARKER, found[0].decode())
    return True


def find_all(root: Path, folders: Iterable[Path], parent: Path) -> frozenset[Path]:
    """`find` for many folders in one parent; those that are not there at all are not asked for one by one.

    Returns:
        Those that are finished.
    """
    remote, by_name = remote_of(root), {folder.name: folder for folder in folders}
    names = by_name.keys() if remote is None else by_name.keys() & remote.folders(relative(root, parent) + "/")
    found = parallel(lambda name: by_name[name] if find(root, by_name[name]) else None, names)
    return frozenset(folder for folder in found if folder is not None)


def bring(root: Path, folder: Path, names: Iterable[str] | None = None) -> None:
    """Have the files of a published folder on this machine; several processes that want them wait for one another.

    Does nothing where nothing stands behind the storage, and for a folder that is not the storage's.

    Args:
        names: of the files, all by default.

    Raises:
        DamagedError: a file is not there or not what the marker says; the folder was moved to `quarantine/`.
        RemoteError: no such folder, or the store does not answer.
    """
    remote = remote_of(root)
    if remote is None or not folder.is_relative_to(root):
        return
    name = relative(root, folder)
    with node_lock(root, "bring", name):
        if not find(root, folder):
            raise RemoteError(f"{remote.uri}/{name}: there is no such folder.")
        marker = json.loads((folder / MARKER).read_text())
        wanted = [f for f in (marker["files"] if names is None else names) if not (folder / f).exists()]
        try:
            parallel(
                lambda f: remote.download(f"{name}/{marker['place']}/{f}", folder / f, marker["files"][f]),
                wanted,
            )
        except DamagedError as error:
            quarantine(root, folder)
            raise DamagedError(f"{name}: {error}; it was moved to quarantine/: run again.") from error


def quarantine(root: Path, folder: Path) -> None:
    """Move a damaged folder aside; it no longer exists for readers."""
    aside = root / "quarantine" / f"{folder.name}-{secrets.token_hex(4)}"
    remote, marker = remote_of(root), (folder / MARKER).read_bytes()
    aside.parent.mkdir(parents=True, exist_ok=True)
    folder.rename(aside)
    if remote is None:
        return
    found = remote.read(f"{relative(root, folder)}/{MARKER}")
    if found is not None and found[0] == marker:  # otherwise another process was here and it is recreated already
        remote.write(f"{relative(root, aside)}/{MARKER}", marker, None)
        remote.delete([f"{relative(root, folder)}/{MARKER}"])
    shutil.rmtree(aside)  # a copy


def send(root: Path, paths: Iterable[Path]) -> None:
    """Write files of the storage through to the store behind it, over what is there."""
    if (remote := remote_of(root)) is not None:
        remote.upload({relative(root, path): path for path in paths})


def refresh(root: Path, folder: Path, entries: Iterable[str]) -> None:
    """Have files of a folder as the store has them now: for what changes, such as the state of a sweep.

    Args:
        entries: files and folders in it.
    """
    if (remote := remote_of(root)) is None:
        return
    prefix, wanted = relative(root, folder) + "/", frozenset(entries)
    known = {n: o for n, o in remote.list(prefix).items() if n.removeprefix(prefix).split("/")[0] in wanted}

    def fetch(name: str) -> None:
        path, (_, modified) = root / name, known[name]
        if not path.exists() or path.stat().st_mtime < modified:
            with contextlib.suppress(FileNotFoundError):  # removed since the listing
                remote.download(name, path)
                os.utime(path, (modified, modified))

    parallel(fetch, known)


_sent: dict[Path, int] = {}  # files -> the time of change, in ns, that was sent last


def send_changed(folder: Path, leave_out: Iterable[str] = ()) -> None:
    """Write every file below a folder through that has changed since this process sent it.

    Args:
        leave_out: files and folders directly in it.
    """
    if (root := root_of(folder)) is None:
        return
    left_out = frozenset(leave_out)
    times = {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.relative_to(folder).parts[0] not in left_out
    }
    changed = [path for path, time_ns in times.items() if _sent.get(path) != time_ns]
    send(root, changed)
    _sent.update((path, times[path]) for path in changed)


def send_small(root: Path, path: Path) -> None:
    """`send` for one file that readers can do without: trouble with the store is ignored."""
    with contextlib.suppress(RemoteError):
        send(root, [path])


def fetch_small(root: Path, path: Path, again: bool = False) -> None:
    """Have one file of the storage on this machine, if the store has it; `again` also if it is here already."""
    remote = remote_of(root)
    if remote is not None and (again or not path.exists()):
        found = remote.read(relative(root, path))
        if found is not None:
            with atomic_file(path) as file:
                file.write(found[0])


@contextlib.contextmanager
def node_lock(root: Path, purpose: str, name: str) -> Iterator[None]:
    """Keep other processes on this storage out; a few names share a lock, so one purpose must not nest in itself."""
    number = hashlib.sha256(name.encode()).hexdigest()[:2]
    with file_lock(root / ".locks" / f"{purpose}-{number}"):
        yield
