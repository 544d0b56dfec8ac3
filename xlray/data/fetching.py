"""Downloading publishers' files: resumed, checked, and locked, so that a later download is known to be the same."""

from __future__ import annotations

import hashlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.data.publishers import NO_ADDRESS, PUBLICATIONS, Publication
from xlray.errors import DownloadError, InputError, nearest
from xlray.storage.files import atomic_file, write_atomically
from xlray.storage.object_store import storage_trouble

LOCK_FILE = "fetched.json"
DOWNLOADS = ".downloads"  # beside the tasks' folders, until their files are unpacked
CHUNK_BYTES = 1 << 20
TRIES = 4
TIMEOUT_S = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """What became of a task.

    Attributes:
        status: fetched, present (as an earlier fetch left it) or skipped.
        note: why it was skipped, or "".
        downloads: URL to `{sha256, bytes, known}`; known: whether the checksum was known before.
        files: names below the task's folder.
    """

    task: str
    status: str
    note: str = ""
    downloads: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Sequence[str] = ()


def fetch_tasks(names: Sequence[str], to: Path, say: Say, mirror: str | None = None) -> Iterator[Fetched]:
    """Download and unpack the files of tasks, one after another.

    Args:
        names: of tasks; all that publishers have where it is empty.
        to: the data directory.
        say: gets what is done, for people.
        mirror: address below which the files lie as `<host>/<path>`; None asks the publishers.

    Raises:
        InputError: a task without publisher's files, a checksum that differs, an archive that cannot be read.
        DownloadError: a server does not answer, or has no such file.
    """
    known = {**PUBLICATIONS, **NO_ADDRESS}
    for name in names:
        if name not in known:
            raise InputError(
                f"tasks fetch: a task must be one of {', '.join(known)}, but got {name!r}.{nearest(name, known)}"
            )
    for name in names or known:
        if name in NO_ADDRESS:
            yield Fetched(name, "skipped", NO_ADDRESS[name])
        else:
            yield _fetch(PUBLICATIONS[name], to, say, mirror)


def _fetch(publication: Publication, to: Path, say: Say, mirror: str | None) -> Fetched:
    lock, task = _read_lock(to), publication.task
    before = lock.get(task, {})
    files = before.get("files", {})
    same = set(before.get("downloads", ())) == {address.url for address in publication.addresses}
    if same and files and all(_sha256(to / task / name) == digest for name, digest in files.items()):
        return Fetched(task, "present", downloads=before["downloads"], files=list(files))
    found: dict[str, Path] = {}
    downloads: dict[str, dict[str, Any]] = {}
    for address in publication.addresses:
        path = to / DOWNLOADS / task / address.name
        url = address.url if mirror is None else f"{mirror.rstrip('/')}/{address.url.partition('://')[2]}"
        download(url, path, say)
        expected = address.sha256 or before.get("downloads", {}).get(address.url, {}).get("sha256")
        digest = _sha256(path)
        if expected is not None and digest != expected:
            path.unlink()
            raise InputError(f"{url}: its SHA-256 must be {expected}, but is {digest}; the file was deleted.")
        found[address.name] = path
        downloads[address.url] = {"sha256": digest, "bytes": path.stat().st_size, "known": address.sha256 is not None}
    say(f"{task}: unpacking")
    written = publication.unpack(found, to / task)
    made = {name: _sha256(to / task / name) for name in written}
    with atomic_file(to / LOCK_FILE) as file:
        file.write(json.dumps({**lock, task: {"downloads": downloads, "files": made}}, indent=1).encode() + b"\n")
    shutil.rmtree(to / DOWNLOADS / task)
    return Fetched(task, "fetched", downloads=downloads, files=written)


def _read_lock(to: Path) -> dict[str, Any]:
    path = to / LOCK_FILE
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_bytes()))
    except ValueError as error:
        raise InputError(f"{path}: must be JSON, but: {error}; delete it to fetch without what it knows.") from error


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def download(url: str, path: Path, say: Say, pause_s: float = 2.0) -> None:
    """Download a file; what an interrupted download left is continued, and a connection that breaks is tried again.

    Args:
        pause_s: before the second try; twice as long before each further one.

    Raises:
        DownloadError: the server refuses the file, or does not answer after all tries.
        OSError: the disk is full or read-only.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        return
    part = path.with_name(f"{path.name}.part")
    for number in range(1, TRIES + 1):
        try:
            _continue(url, part, say)
            part.replace(path)
            _version_file(part).unlink(missing_ok=True)
            return
        except urllib.error.HTTPError as error:
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR or number == TRIES:
                raise DownloadError(
                    f"{url}: must be there, but its server answers {error.code} {error.reason}."
                ) from error
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            if storage_trouble(error) is not None:
                raise
            if number == TRIES:
                reason = getattr(error, "reason", None) or error
                raise DownloadError(f"{url}: must be reachable, but after {TRIES} tries: {reason}.") from error
        say(f"{path.name}: trying again")
        time.sleep(pause_s * 2 ** (number - 1))


def _version_file(part: Path) -> Path:
    """Beside an unfinished download: what its server calls the version of the file that it is a part of."""
    return part.with_name(f"{part.name}.version")


def _continue(url: str, part: Path, say: Say) -> None:
    """One try: append what is missing, if the file is still the same; a server that names no versions begins at the start.

    Raises:
        OSError, http.client.HTTPException: the connection broke, or the file is shorter than was announced.
    """
    known = _version_file(part)
    start = part.stat().st_size if part.exists() and known.exists() else 0
    headers = {"Range": f"bytes={start}-", "If-Range": known.read_text(encoding="utf-8")} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if (
            error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start
        ):  # whole already, or another file by now
            part.unlink()
            return _continue(url, part, say)
        raise
    with answer:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0  # the server starts over
            known.unlink(missing_ok=True)
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        began, done, shown = time.monotonic(), start, 0.0
        with part.open("ab" if start else "wb") as file:
            if not start and (version := _version(answer.headers)):
                write_atomically(known, version)  # not before what was left of another version is gone
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if time.monotonic() - shown > 0.2:
                    shown = time.monotonic()
                    say(progress_line(part.name.removesuffix(".part"), done, total, done - start, shown - began))
        if total is not None and done < total:
            raise OSError(f"{done:,} of {total:,} bytes came")


def _version(headers: Mapping[str, str]) -> str | None:
    """What `If-Range` takes (RFC 9110, 13.1.5): an ETag that is not weak, else the time of the last change, else nothing."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def progress_line(name: str, done: int, total: int | None, new: int, seconds: float) -> str:
    """`x.tgz: 12.0 of 355.0 MB, 4.0 MB/s, 1:26 left`.

    Args:
        new: bytes that came in these seconds.
    """
    rate = new / max(seconds, 1e-6)
    said = f"{name}: {done / 1e6:,.1f}{'' if total is None else f' of {total / 1e6:,.1f}'} MB, {rate / 1e6:,.1f} MB/s"
    if total is None or rate <= 0:
        return said
    minutes, left = divmod(round((total - done) / rate), 60)
    return f"{said}, {minutes}:{left:02} left"
