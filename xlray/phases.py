"""What a phase is, and where its result lies: specs, their hashes, and the store.

A phase is a pure function of its spec; its result is stored under the hash of the spec. A spec names its parent by hash,
so a phase's hash covers everything that went into it. Only identity is in a spec; how it was executed is recorded beside.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlray.canonical import InputError, canonical_json, fingerprint, to_plain

# Bumped when a change of the code changes the numbers of that kind of phase; tests/test_golden.py holds the numbers.
METHOD_VERSIONS = {"tokenizer": 1, "pretrain": 1, "trunk": 1, "cooldown": 1, "target": 1, "retrieval": 1}


@dataclass(frozen=True)
class DataSpec:
    """Examples of one split, by content.

    Attributes:
        fingerprint: digest of the records that survive every filter and sample.
        labels: label set, in the order of ids.
        scale: range of a regression's labels.
    """

    task: str
    kind: str
    split: str
    fingerprint: str
    num_records: int
    max_length: int
    stride: int = 0
    labels: tuple[str, ...] = ()
    scale: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True)
class EncoderSpec:
    """Root of a chain: a public encoder (its files' digest or its pinned revision)."""

    source: str
    kind: str = "encoder"


@dataclass(frozen=True)
class TokenizerSpec:
    """A Unigram tokenizer trained on text."""

    data: tuple[DataSpec, ...]
    vocab_size: int
    method_version: int
    kind: str = "tokenizer"


@dataclass(frozen=True)
class EvaluationSpec:
    """One evaluation of a phase; `sealed` ones are test data, the headline of the `selection` ranks trials."""

    data: DataSpec
    language: str
    split: str
    sealed: bool
    selection: bool = False


@dataclass(frozen=True)
class TrainSpec:
    """A training phase: pretrain, trunk, cooldown or target.

    Attributes:
        parent: hash of the phase (or root) whose weights it starts from.
        continues: also take over the parent's optimizer state, heads and data position (trunk from trunk, cooldown).
        first_example: position in the order of examples at which it starts; a multiple of `batch_size`.
        schedule: "warmup_linear", "warmup_constant" or "decay" (linear to zero).
        warmup_examples: examples of linear warm-up, counted from position 0.
    """

    kind: str
    parent: str
    data: tuple[DataSpec, ...]
    num_examples: int
    batch_size: int
    learning_rate: float
    schedule: str
    seed: int
    dropout: float
    clip_norm: float
    precision: str
    method_version: int
    first_example: int = 0
    continues: bool = False
    warmup_examples: int = 0
    weight_decay: float = 0.0
    mixing: str = "proportional"
    cap: int = 2**17
    temperature: float = 1.0
    scaled_losses: bool = True
    architecture: Mapping[str, int] | None = None
    evaluations: tuple[EvaluationSpec, ...] = ()
    headline: tuple[str, ...] = ()

    @property
    def first_step(self) -> int:
        return self.first_example // self.batch_size

    @property
    def num_steps(self) -> int:
        return self.num_examples // self.batch_size

    @property
    def ends_at_zero(self) -> bool:
        """Whether the learning rate has decayed at the end: the phase yields weights, otherwise a state to go on from."""
        return self.schedule != "warmup_constant"

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of one step, counted from the start of the order of examples."""
        seen = step * self.batch_size
        if self.schedule == "decay":
            return self.learning_rate * (1 - (seen - self.first_example) / self.num_examples)
        if seen < self.warmup_examples:
            return self.learning_rate * min(1.0, (seen + self.batch_size) / self.warmup_examples)
        if self.schedule == "warmup_constant":
            return self.learning_rate
        end = self.first_example + self.num_examples
        return self.learning_rate * (end - seen) / (end - self.warmup_examples)


@dataclass(frozen=True)
class RetrievalSpec:
    """Evaluation of an encoder on sentence retrieval; nothing is trained."""

    parent: str
    evaluations: tuple[EvaluationSpec, ...]
    layer: int | None
    precision: str
    method_version: int
    headline: tuple[str, ...] = ()
    kind: str = "retrieval"


Spec = TokenizerSpec | TrainSpec | RetrievalSpec


def phase_hash(spec: Spec | EncoderSpec) -> str:
    """Twenty hexadecimal digits of the hash of the canonical spec."""
    return fingerprint(spec)[:20]


def label(spec: Spec) -> str:
    """A short readable part of the folder's name; not part of the identity."""
    if isinstance(spec, TokenizerSpec):
        return f"{spec.vocab_size}"
    if isinstance(spec, RetrievalSpec):
        return spec.evaluations[0].data.task
    if spec.kind == "target":
        return f"{spec.data[0].task}-s{spec.seed}"
    return f"{len(spec.data)}tasks-{spec.first_example + spec.num_examples}-s{spec.seed}"


def phase_name(spec: Spec) -> str:
    """`<kind>-<label>-<hash>`, the folder's name below `phases/`."""
    return f"{spec.kind}-{label(spec)}-{phase_hash(spec)}"


def differing_fields(stored: Any, wanted: Any, path: str = "") -> list[str]:
    """Lines `field: stored != wanted` for every field in which two plain values differ."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted(stored.keys() | wanted.keys())
            for line in differing_fields(stored.get(key), wanted.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        pairs = enumerate(zip(stored, wanted, strict=True))
        return [line for i, (a, b) in pairs for line in differing_fields(a, b, f"{path}[{i}]")]
    return [] if stored == wanted else [f"{path}: {stored!r} != {wanted!r}"]


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
            _fsync(staged / name)
            (staged / name).replace(folder / name)
        checksums["spec.json"] = file_digest(folder / "spec.json")
        done = {"files": checksums, "record": dict(record), "time": time.time()}
        write_atomically(folder / "DONE", json.dumps(done, indent=1, sort_keys=True))
        shutil.rmtree(folder / "attempt", ignore_errors=True)
        for leftover in folder.glob("staging-*"):
            if leftover != staged:
                shutil.rmtree(leftover, ignore_errors=True)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old text or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_TYPES = {c.__name__: c for c in (DataSpec, EvaluationSpec, EncoderSpec, TokenizerSpec, TrainSpec, RetrievalSpec)}


def from_plain(value: Any) -> Any:
    """The inverse of `config.to_plain` for specs."""
    if isinstance(value, list):
        return tuple(from_plain(item) for item in value)
    if isinstance(value, dict):
        fields = {key: from_plain(item) for key, item in value.items() if key != "type"}
        if "type" not in value:
            return fields
        if value["type"] not in _TYPES:
            raise InputError(f"unknown type of spec {value['type']!r}.")
        return _TYPES[value["type"]](**fields)
    return value


def check_writable(root: Path) -> None:
    """Raise `InputError` unless files can be created and renamed below `root`."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        probe = root / f".probe-{uuid.uuid4().hex[:8]}"
        write_atomically(probe, canonical_json({"time": time.time()}))
        probe.unlink()
    except OSError as error:
        raise InputError(f"storage {str(root)!r} must be a folder that can be written, but: {error}.") from error
