"""A storage in an object store: a working folder on each machine, and the store that stands behind it.

Everything reads and writes the working folder; what is finished is pushed, and what is missing is fetched. The file
`.remote` in a working folder names its store, so that a path says by itself whether something stands behind it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import ObjectStore, from_url

from xlray.canonical import InputError
from xlray.files import write_atomically

SCHEMES = ("s3", "gs")
REMOTE_FILE = ".remote"
# A throttled request (429, 503) is sent again after a random pause that grows up to the last of these.
RETRIES: Any = {
    "max_retries": 12,
    "retry_timeout": timedelta(minutes=5),
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 2},
}


class RemoteError(OSError):
    """The object store did not do what was asked, after all retries; an `OSError` as a disk's is."""


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


@functools.cache
def _client(uri: str) -> ObjectStore:
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    options: Any = {"allow_http": True} if endpoint.startswith("http://") else {}
    return from_url(uri, client_options=options, retry_config=RETRIES)


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

    def read(self, name: str) -> tuple[bytes, Mapping[str, str]] | None:
        """An object and the tag of this version of it, or None."""
        with self._errors(name):
            try:
                found = obstore.get(self.client, name)
                content = bytes(found.bytes())
            except FileNotFoundError:
                return None
        tags = {"e_tag": found.meta["e_tag"], "version": found.meta["version"]}
        return content, {key: value for key, value in tags.items() if value is not None}

    def write(self, name: str, content: bytes, after: Mapping[str, str] | None) -> bool:
        """Create an object (`after` None) or replace the version `after` of it; False if another was faster.

        The content must be unlike any other writer's: a request that is repeated after a lost answer may find its own.
        """
        try:
            with self._errors(name):
                obstore.put(self.client, name, content, mode="create" if after is None else dict(after))  # type: ignore[arg-type]
        except RemoteError as error:
            if not isinstance(error.__cause__, (AlreadyExistsError, PreconditionError)):
                raise
            found = self.read(name)
            return found is not None and found[0] == content
        return True
