"""What a phase is, and where its result lies: specs, their hashes, and the store.

A phase is a pure function of its spec; its result is stored under the hash of the spec. A spec names its parent by hash,
so a phase's hash covers everything that went into it. Only identity is in a spec; how it was executed is recorded beside.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from xlray.canonical import canonical_json, fingerprint, object_json
from xlray.errors import InputError

# Bumped when a change of the code changes the numbers of that kind of phase; tests/training/test_golden.py holds the numbers.
METHOD_VERSIONS = {"tokenizer": 1, "pretrain": 2, "trunk": 2, "cooldown": 2, "target": 3, "retrieval": 2}


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

    @functools.cached_property
    def canonical(self) -> str:
        """Its canonical JSON, made once."""
        return object_json(self)


class Identified:
    """A value with a hash of its own, which is asked for again and again."""

    @functools.cached_property
    def digest(self) -> str:
        """The hash of the canonical JSON, 64 hexadecimal digits."""
        return fingerprint(self)

    @functools.cached_property
    def key(self) -> str:
        """The first twenty digits of it, by which it is stored."""
        return self.digest[:20]


@dataclass(frozen=True)
class EncoderSpec(Identified):
    """Root of a chain: a public encoder (its files' digest or its pinned revision)."""

    source: str
    kind: str = "encoder"


@dataclass(frozen=True)
class TokenizerSpec(Identified):
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

    @functools.cached_property
    def canonical(self) -> str:
        """Its canonical JSON, made once."""
        return object_json(self)


@dataclass(frozen=True)
class TrainSpec(Identified):
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
        """Whether the learning rate has decayed at the end: the phase yields weights, otherwise a state to resume from."""
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
class RetrievalSpec(Identified):
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
    return spec.key


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
    """Lines `field: stored != wanted` for every field in which two plain values differ, as they are hashed: 1 is not 1.0."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        return [
            line
            for key in sorted(stored.keys() | wanted.keys())
            for line in differing_fields(stored.get(key), wanted.get(key), f"{path}.{key}" if path else key)
        ]
    if isinstance(stored, list) and isinstance(wanted, list) and len(stored) == len(wanted):
        pairs = enumerate(zip(stored, wanted, strict=True))
        return [line for i, (a, b) in pairs for line in differing_fields(a, b, f"{path}[{i}]")]
    return [] if canonical_json(stored) == canonical_json(wanted) else [f"{path}: {stored!r} != {wanted!r}"]


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


CODE_VERSION = 3  # bumped when the same records give other files


def data_name(spec: DataSpec, tokenizer_digest: str) -> str:
    """The folder's name."""
    key = fingerprint([spec, tokenizer_digest, CODE_VERSION])[:16]
    return f"{spec.task}-{spec.split.replace('/', '-')}-{key}"


def data_key(spec: DataSpec) -> str:
    """Key of a data spec in `Job.folders`."""
    return fingerprint(spec)[:20]


def data_of(spec: Spec) -> tuple[DataSpec, ...]:
    """Every split that a phase reads."""
    if isinstance(spec, RetrievalSpec):
        return tuple(e.data for e in spec.evaluations)
    if isinstance(spec, TrainSpec):
        return (*spec.data, *(e.data for e in spec.evaluations))
    return spec.data


@dataclass(frozen=True)
class Rung:
    """What a trial runs from one report to the next.

    Attributes:
        num_examples: seen by the trunk at its report.
        training: segment of the trunk and cooldown on the way to it; none without intermediate tasks.
        targets: phases whose scores make it up.
    """

    num_examples: int
    training: tuple[TrainSpec, ...] = ()
    targets: tuple[TrainSpec | RetrievalSpec, ...] = ()

    @property
    def phases(self) -> tuple[TrainSpec | RetrievalSpec, ...]:
        """In the order in which they run."""
        return (*self.training, *self.targets)


@dataclass(frozen=True)
class Phases:
    """What a job runs, in the order in which it is iterated.

    Attributes:
        rungs: of a trial; they are without phases where there are shared ones.
        shared: phases that come before all trials and belong to no rung.
    """

    rungs: tuple[Rung, ...] = ()
    shared: tuple[TrainSpec | RetrievalSpec, ...] = ()

    def __iter__(self) -> Iterator[TrainSpec | RetrievalSpec]:
        return itertools.chain(self.shared, *(rung.phases for rung in self.rungs))

    def targets(self, index: int) -> tuple[TrainSpec | RetrievalSpec, ...]:
        """Phases whose scores make up a rung; none of one that the trial does not have, as before the sweep grew."""
        return self.rungs[index].targets if index < len(self.rungs) else ()

    def up_to(self, index: int) -> list[TrainSpec | RetrievalSpec]:
        """The phases of a trial up to its report at a rung."""
        return [spec for rung in self.rungs[: index + 1] for spec in rung.phases]
