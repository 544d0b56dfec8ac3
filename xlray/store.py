"""The store: finished and unfinished phases on disk, each under the hash of its spec."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlray.canonical import InputError, canonical_json, to_plain
from xlray.files import file_digest, fsync, write_atomically
from xlray.phases import Spec, differing_fields, phase_name


class StoreError(RuntimeError):
    """A stored phase is not what its folder's name says."""


@dataclass(frozen=True)
class Store:
    """Finished and unfinished phases below `<root>/phases/`, on a file system with atomic rename.

    A phase is finished when its folder holds `DONE`, which is written last and lists the SHA-256 of every other file.
    A folder without it does not exist for readers. Everything is written to a staging folder and renamed.
    """

    root: Path

    def folder(self, spec: Spec) -> Path:
        """Where the phase lies, finished or not."""
        return self.root / "phases" / phase_name(spec)

    def has(self, spec: Spec) -> bool:
        """Whether the phase is finished; compares the stored spec field by field.

        Raises:
            StoreError: the stored spec differs from the one asked for, under the same hash.
        """
        folder = self.folder(spec)
        if not (folder / "DONE").exists():
            return False
        stored = json.loads((folder / "spec.json").read_text())
        lines = differing_fields(stored, to_plain(spec))
        if lines:
            raise StoreError(f"{folder.name}: the stored spec differs from the one asked for: {'; '.join(lines)}")
        return True

    def done(self, spec: Spec) -> dict[str, Any]:
        """The contents of `DONE`: `files` (checksums) and `record` (steps, tokens, seconds, execution, versions)."""
        text = (self.folder(spec) / "DONE").read_text()
        return dict(json.loads(text))

    def open(self, spec: Spec, name: str) -> Path:
        """Path of one file of a finished phase, after checking its checksum.

        Raises:
            StoreError: not finished, no such file, or the file changed; a damaged phase is moved to `quarantine/`, so
                that running again computes it anew.
        """
        if not self.has(spec):
            raise StoreError(f"{phase_name(spec)} is not finished.")
        checksums = self.done(spec)["files"]
        path = self.folder(spec) / name
        if name not in checksums:
            raise StoreError(f"{phase_name(spec)} holds no file {name!r}.")
        if not path.exists() or file_digest(path) != checksums[name]:
            self.quarantine(spec)
            raise StoreError(f"{phase_name(spec)}/{name} is damaged; the phase was moved to quarantine/: run again.")
        return path

    def quarantine(self, spec: Spec) -> None:
        """Move a damaged phase aside; it no longer exists for readers."""
        target = self.root / "quarantine" / f"{phase_name(spec)}-{uuid.uuid4().hex[:8]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        self.folder(spec).rename(target)

    def begin(self, spec: Spec) -> Path:
        """The `attempt/` folder of an unfinished phase (states, ledger); created with the spec beside it."""
        folder = self.folder(spec)
        (folder / "attempt").mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "spec.json", json.dumps(to_plain(spec), indent=1, sort_keys=True))
        return folder / "attempt"

    @contextmanager
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
        if self.has(spec):
            return
        files = sorted(p.relative_to(staged) for p in staged.rglob("*") if p.is_file())
        checksums = {str(name): file_digest(staged / name) for name in files}
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            fsync(staged / name)
            (staged / name).replace(folder / name)
        checksums["spec.json"] = file_digest(folder / "spec.json")
        done = {"files": checksums, "record": dict(record), "time": time.time()}
        write_atomically(folder / "DONE", json.dumps(done, indent=1, sort_keys=True))
        shutil.rmtree(folder / "attempt", ignore_errors=True)
        for leftover in folder.glob("staging-*"):
            if leftover != staged:
                shutil.rmtree(leftover, ignore_errors=True)


def check_writable(root: Path) -> None:
    """Raise `InputError` unless files can be created and renamed below `root`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{uuid.uuid4().hex[:8]}"
        write_atomically(probe, canonical_json({"time": time.time()}))
        probe.unlink()
    except OSError as error:
        raise InputError(f"storage {str(root)!r} must be a folder that can be written, but: {error}.") from error
