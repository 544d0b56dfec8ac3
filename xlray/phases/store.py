"""The store: finished and unfinished phases, each under the hash of its spec."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.canonical import canonical_json, to_plain
from xlray.errors import DamagedError, InputError, StoreError
from xlray.phases.spec import Spec, differing_fields, phase_hash, phase_name
from xlray.storage.files import file_digest, fsync, write_atomically
from xlray.storage.storage import Storage


@dataclass(frozen=True)
class Store:
    """Finished and unfinished phases below `<storage>/phases/`, on a file system with atomic rename.

    A phase is finished when its folder holds `DONE`, which is written last and lists the SHA-256 of every other file.
    A folder without it does not exist for readers. Everything is written to a staging folder and renamed.

    In an object store, a phase is finished when `DONE` exists there; what this machine lacks of it is brought when it is
    asked for.
    """

    storage: Storage
    _compared: set[str] = field(default_factory=set, init=False, repr=False, compare=False)  # folders whose spec was

    def folder(self, spec: Spec) -> Path:
        """Where the phase lies, finished or not."""
        return self.storage / "phases" / phase_name(spec)

    def has(self, spec: Spec) -> bool:
        """Whether the phase is finished; compares the stored spec field by field.

        Raises:
            StoreError: the stored spec differs from the one asked for, under the same hash.
        """
        folder = self.folder(spec)
        if not (folder / "DONE").exists() and (self.storage.remote is None or not self.storage.find(folder)):
            return False
        if folder.name not in self._compared:
            self.storage.bring(folder, ["spec.json"])
            stored = (folder / "spec.json").read_bytes()
            if hashlib.sha256(stored).hexdigest() != spec.digest:  # else all fields are equal, seen many times faster
                lines = differing_fields(json.loads(stored), to_plain(spec))
                if lines:
                    raise StoreError(
                        f"{folder.name}: the stored spec differs from the one asked for: {'; '.join(lines)}"
                    )
            self._compared.add(folder.name)
        return True

    def finished(self, specs: Iterable[Spec]) -> frozenset[str]:
        """Hashes of those that are finished, for many at once, also in an object store.

        Unlike `has` it does not read the stored specs: ten thousand trials have a hundred thousand phases, and a folder's
        name holds the spec's hash. A phase whose folder has gone from the object store is forgotten on this machine, too.
        """
        wanted = {phase_hash(spec): spec for spec in specs}
        phases = self.storage / "phases"
        if self.storage.remote is None:
            names = {path.name for path in phases.glob("*")}  # of most of a new plan there is nothing
            found = {key: name for key, spec in wanted.items() if (name := phase_name(spec)) in names}
            return frozenset(key for key, name in found.items() if os.path.exists(f"{phases}/{name}/DONE"))  # noqa: PTH110
        stored = self.storage.find_all([self.folder(spec) for spec in wanted.values()], phases)
        for folder in (self.folder(spec) for spec in wanted.values()):
            if folder not in stored and (folder / "DONE").exists():
                shutil.rmtree(folder)
        return frozenset(key for key, spec in wanted.items() if self.folder(spec) in stored)

    def done(self, spec: Spec) -> dict[str, Any]:
        """The contents of `DONE`: `files` (checksums) and `record` (steps, tokens, seconds, execution, versions)."""
        text = (self.folder(spec) / "DONE").read_text()
        return dict(json.loads(text))

    def open(self, spec: Spec, name: str) -> Path:
        """Path of one file of a finished phase, after checking its checksum.

        Raises:
            StoreError: not finished, no such file, or the file changed; a damaged phase is moved to `quarantine/`, so
                that running again computes it again.
        """
        if not self.has(spec):
            raise StoreError(f"{phase_name(spec)} is not finished.")
        checksums = self.done(spec)["files"]
        path = self.folder(spec) / name
        if name not in checksums:
            raise StoreError(f"{phase_name(spec)} holds no file {name!r}.")
        if self.storage.remote is not None:
            if path.exists() and file_digest(path) != checksums[name]:
                path.unlink()  # a copy
            self.storage.bring(self.folder(spec), [name])
        elif not path.exists() or file_digest(path) != checksums[name]:
            self.quarantine(spec)
            raise DamagedError(f"{phase_name(spec)}/{name} is damaged; the phase was moved to quarantine/: run again.")
        return path

    def bring(self, spec: Spec, names: Iterable[str] | None = None) -> Path:
        """The folder of a finished phase, with all of its files, or those named, on this machine."""
        self.storage.bring(self.folder(spec), names)
        return self.folder(spec)

    def bring_tables(self, specs: Iterable[Spec], names: Collection[str]) -> None:
        """Have those of the named files that finished phases hold on this machine, of several phases at once."""

        def bring(spec: Spec) -> None:
            held = self.done(spec)["files"]
            self.bring(spec, [name for name in names if name in held])

        if self.storage.remote is not None:
            wanted = {phase_hash(spec): spec for spec in specs}
            finished = [spec for spec in wanted.values() if (self.folder(spec) / "DONE").exists()]
            with ThreadPoolExecutor(32) as pool:
                list(pool.map(bring, finished))

    def quarantine(self, spec: Spec) -> None:
        """Move a damaged phase aside; it no longer exists for readers."""
        self.storage.quarantine(self.folder(spec))

    def begin(self, spec: Spec) -> Path:
        """The `attempt/` folder of an unfinished phase (states, ledger); created with the spec beside it."""
        folder = self.folder(spec)
        (folder / "attempt").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "spec.json", canonical_json(spec))
        return folder / "attempt"

    @contextlib.contextmanager
    def staging(self, spec: Spec) -> Iterator[Path]:
        """A fresh folder to write the results into; give it to `commit`. It is removed when left uncommitted."""
        folder = self.begin(spec).parent / f"staging-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, spec: Spec, staged: Path, record: Mapping[str, Any]) -> None:
        """Move the staged files into the phase's folder and write `DONE` last. A phase finished meanwhile is kept."""
        folder = self.folder(spec)
        with self.storage.lock("commit", folder.name):
            if self.has(spec):
                return
            files = sorted(p.relative_to(staged) for p in staged.rglob("*") if p.is_file())
            checksums = {name.as_posix(): file_digest(staged / name) for name in files}
            (staged / "spec.json").write_bytes((folder / "spec.json").read_bytes())
            checksums["spec.json"] = file_digest(folder / "spec.json")
            done = {"files": checksums, "record": dict(record), "time": time.time()}
            if not self.storage.publish(folder, staged, done):
                return  # another machine was faster; its files are brought when they are wanted
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                fsync(staged / name)
                (staged / name).replace(folder / name)
            if self.storage.remote is None:
                write_atomically(folder / "DONE", json.dumps(done, indent=1, sort_keys=True))
            else:
                self.storage.find(folder)
        self._clear(folder, staged)

    def _clear(self, folder: Path, staged: Path) -> None:
        """Remove what was needed only until the phase was finished."""
        shutil.rmtree(folder / "attempt", ignore_errors=True)
        for leftover in folder.glob("staging-*"):
            if leftover != staged:
                shutil.rmtree(leftover, ignore_errors=True)
        if (remote := self.storage.remote) is not None:
            remote.delete(remote.list(f"{self.storage.relative(folder)}/attempt/"))

    # An unfinished phase on an object store, so that another machine can resume it.

    def save_attempt(self, spec: Spec) -> None:
        """Write the files of `attempt/` through to the object store, and drop those there that are not here any more."""
        if (remote := self.storage.remote) is None:
            return
        attempt = self.folder(spec) / "attempt"
        names = {self.storage.relative(path): path for path in attempt.iterdir() if not path.name.startswith(".")}
        remote.upload(names)
        remote.delete(remote.list(self.storage.relative(attempt) + "/").keys() - names)

    def load_attempt(self, spec: Spec) -> None:
        """Bring the files of `attempt/` that another machine has left, unless this one has gone further itself."""
        if (remote := self.storage.remote) is None:
            return
        attempt = self.folder(spec) / "attempt"
        with self.storage.lock("attempt", attempt.parent.name):
            for name, (size, _) in remote.list(self.storage.relative(attempt) + "/").items():
                path = self.storage / name
                if not path.exists() or path.stat().st_size < size:  # a state is whole; the ledger only grows
                    with contextlib.suppress(FileNotFoundError):
                        remote.download(name, path)


def check_writable(storage: Storage) -> None:
    """Raise `InputError` unless files can be created and renamed in the storage, and objects in its object store."""
    try:
        if storage.remote is not None:
            storage.remote.check(write=True)
        storage.root.mkdir(parents=True, exist_ok=True)
        probe = storage / f".probe-{uuid.uuid4().hex[:8]}"
        write_atomically(probe, canonical_json({"time": time.time()}))
        probe.unlink()
    except OSError as error:
        kind = "folder" if storage.remote is None else "bucket"
        raise InputError(f"storage {storage.uri!r} must be a {kind} that can be written, but: {error}.") from error
