"""The client of an object store: objects that are read, written over a known version, sent and fetched in bulk."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore, from_url

from xlray.errors import DamagedError, RemoteError
from xlray.storage.files import atomic_file, file_digest

PART_BYTES = 16 * 2**20  # of large files, which are sent and fetched in parts at once
NUM_PARALLEL = 16
# A throttled request (429, 503) is sent again after a random pause that grows up to the second of these.
# What machines that are started elsewhere must know, too; credentials they have themselves.
ENVIRONMENT = ("AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
NUM_RETRIES = 12
RETRIES = {
    "retry_timeout": timedelta(minutes=5),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
}


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it was raised because of, each once: libraries raise errors that are their own cause."""
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if not isinstance(one, BaseException) or any(one is other for other in seen):
            continue
        seen.append(one)
        yield one
        waiting += [one.__cause__, getattr(one, "cause", None), one.__context__]  # `cause` is of Ray's errors of tasks


def storage_trouble(error: BaseException | None) -> OSError | None:
    """What says that a storage is full, read-only or does not answer, among an error and its causes; or None."""
    for found in causes(error):
        full = isinstance(found, OSError) and found.errno in (errno.ENOSPC, errno.EROFS, errno.EDQUOT)
        if full or isinstance(found, RemoteError):
            assert isinstance(found, OSError)
            return found
    return None


def parallel(action: Callable[[str], Any], names: Iterable[str]) -> list[Any]:
    """The action on each name, several at a time: what takes long is waiting for answers."""
    with ThreadPoolExecutor(NUM_PARALLEL) as pool:
        return list(pool.map(action, names))


@functools.cache
def _client(uri: str, max_retries: int = NUM_RETRIES) -> ObjectStore:
    # A server of one's own, where the machine's settings name one, may do without TLS.
    named = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "GOOGLE_SERVICE_ACCOUNT_KEY"))
    options: Any = {"allow_http": True} if any("http://" in value for value in named) else {}
    retries: Any = {**RETRIES, "max_retries": max_retries}
    return from_url(uri, client_options=options, retry_config=retries)


def _tags(meta: Any) -> dict[str, str]:
    return {key: meta[key] for key in ("e_tag", "version") if meta[key] is not None}


@dataclass(frozen=True)
class Remote:
    """An object store below a prefix. Credentials, region and endpoint come from the usual environment variables."""

    uri: str

    @property
    def client(self) -> ObjectStore:
        return _client(self.uri)

    @contextlib.contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Turn the client's errors into `RemoteError`, which names the store and gives the first line of the reason."""
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise RemoteError(f"{self.uri}/{name}: {lines[0] if lines else type(error).__name__}") from error

    def check(self, write: bool) -> None:
        """List, or write and remove an object, with few retries: a wrong name or missing credentials show at once.

        Raises:
            RemoteError: that failed; says why.
        """
        name, client = f".probe-{secrets.token_hex(4)}", _client(self.uri, 2)
        with self._errors(name if write else ""):
            if write:
                obstore.put(client, name, b"")
                obstore.delete(client, name)
            else:
                obstore.list_with_delimiter(client, prefix="sweeps/")

    def read(self, name: str) -> tuple[bytes, Mapping[str, str]] | None:
        """An object and the tag of this version of it, or None."""
        with self._errors(name):
            try:
                found = obstore.get(self.client, name)
                content = bytes(found.bytes())
            except FileNotFoundError:
                return None
        return content, _tags(found.meta)

    def write(self, name: str, content: bytes, after: Mapping[str, str] | None) -> Mapping[str, str] | None:
        """Create an object (`after` None) or replace the version `after` of it.

        Returns:
            The tag of the new version; None if another writer was faster.

        The content must be unlike any other writer's: a request that is repeated after a lost answer may find its own.
        """
        mode: Any = "create" if after is None else dict(after)
        try:
            with self._errors(name):
                return _tags(obstore.put(self.client, name, content, mode=mode))
        except RemoteError as error:
            if not isinstance(error.__cause__, (AlreadyExistsError, PreconditionError)):
                raise
            found = self.read(name)
            return found[1] if found is not None and found[0] == content else None

    def upload(self, files: Mapping[str, Path]) -> None:
        """Write objects from files, several at once, over what is there."""

        def put(name: str) -> None:
            with self._errors(name):
                obstore.put(self.client, name, files[name], chunk_size=PART_BYTES)

        parallel(put, files)

    def download(self, name: str, path: Path, checksum: str | None = None) -> None:
        """Write an object to a file, which appears once it is whole.

        Raises:
            FileNotFoundError: there is none and no checksum was given.
            DamagedError: there is none, or its SHA-256 is another one, also when it is fetched again.
        """
        for is_last in (False, True):
            try:
                with atomic_file(path) as file:
                    self._fetch(name, file.fileno())
                    file.flush()
                    if checksum is None or file_digest(Path(file.name)) == checksum:
                        return
                    raise DamagedError(f"{path.name} is damaged")
            except DamagedError:
                if is_last:
                    raise
            except FileNotFoundError as error:
                if checksum is None:
                    raise
                raise DamagedError(f"{path.name} is missing") from error

    def _fetch(self, name: str, descriptor: int) -> None:
        try:
            size = obstore.head(self.client, name)["size"]

            def part(start: int) -> None:
                content = obstore.get_range(self.client, name, start=start, end=min(start + PART_BYTES, size))
                os.pwrite(descriptor, content, start)

            with ThreadPoolExecutor(min(NUM_PARALLEL, size // PART_BYTES + 1)) as pool:
                list(pool.map(part, range(0, size, PART_BYTES)))
        except BaseError as error:
            with self._errors(name):
                raise error

    def changed(self, name: str) -> float | None:
        """When an object was written last, in seconds UTC; None if there is none."""
        with self._errors(name):
            try:
                return obstore.head(self.client, name)["last_modified"].timestamp()
            except FileNotFoundError:
                return None

    def list(self, prefix: str, after: str | None = None) -> dict[str, tuple[int, float]]:
        """Every object below a prefix: its size in bytes, and its time in seconds UTC.

        Args:
            after: only those whose names are greater.
        """
        with self._errors(prefix):
            pages = obstore.list(self.client, prefix=prefix or None, offset=after)
            return {o["path"]: (o["size"], o["last_modified"].timestamp()) for page in pages for o in page}

    def folders(self, prefix: str) -> frozenset[str]:
        """Names of the folders directly below a prefix."""
        with self._errors(prefix):
            found = obstore.list_with_delimiter(self.client, prefix=prefix)["common_prefixes"]
        return frozenset(path.rstrip("/").rsplit("/", 1)[-1] for path in found)

    def delete(self, names: Iterable[str]) -> None:
        """Remove objects; those that are not there are skipped."""
        names = sorted(names)

        def delete(some: Sequence[str]) -> None:
            with self._errors(some[0]):
                try:
                    obstore.delete(self.client, some)
                except FileNotFoundError:  # Google's store says so, S3 does not; which one it was remains open
                    if len(some) > 1:
                        parallel(lambda name: delete([name]), some)

        for start in range(0, len(names), 1000):
            delete(names[start : start + 1000])
