"""Whether a training text is also in the target data: keys of normalised texts, and the list of those to leave out."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xlray.canonical import fingerprint
from xlray.errors import InputError
from xlray.storage.files import atomic_file, write_atomically
from xlray.storage.storage import Storage
from xlray.tasks.languages import language_of
from xlray.tasks.load import digest
from xlray.tasks.task import Record, Task

RULE_VERSION = 1  # bumped when the same records give other keys; lists of another rule are refused
ENGLISH = ("train/en", "dev/en")

# One word is in every large set by chance ("Suomi", a name) and says nothing about the target data. Scripts that put no
# spaces between words count 3 characters as a word, also where a data set has divided them into tokens.
MIN_WORDS = 2
CHARACTERS_PER_WORD = 3
_UNSPACED = re.compile(  # Thai, Lao; Myanmar; Khmer; kana; Han
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_GAPS = re.compile(r"[\W_]+")

_TEXT_FIELDS = {
    "classification": ("text", "text_pair"),
    "regression": ("text", "text_pair"),
    "mlm": ("text", "text_pair"),
    "retrieval": ("text", "text_pair"),
    "multiple_choice": ("question", "context"),
    "span_qa": ("question", "context"),
}

Array = np.ndarray[Any, Any]


def normalise(text: str) -> str:
    """The text as it is compared: NFKC, case folded, all that is neither letter nor digit one space, stripped.

    Marks belong to their letters: without its vowel signs a Hindi or Thai word would be another word.
    """
    # Folding can undo NFKC (U+1E97, t with diaeresis, becomes a letter and a mark), hence the second time.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(_GAPS.sub(" " if folded.isascii() else _marks_kept, folded).split())


def _marks_kept(gap: re.Match[str]) -> str:
    return _marks(gap[0])


@functools.lru_cache(maxsize=4096)  # nearly all gaps are one of a few
def _marks(gap: str) -> str:
    return "".join(c if unicodedata.category(c).startswith("M") else " " for c in gap)


def text_key(text: str) -> int:
    """64 bits of BLAKE2b of the normalised text, as a number below 2^64."""
    return _key(normalise(text))


def _key(normal: str) -> int:
    return int.from_bytes(hashlib.blake2b(normal.encode(), digest_size=8).digest(), "little")


def record_texts(record: Record, kind: str) -> list[str]:
    """The texts of a record that are compared: sentences, questions and passages; not choices, answers or labels.

    Args:
        kind: of the record's task; the tokens of a tagging record are joined by spaces.
    """
    if kind == "tagging":
        return [" ".join(record["tokens"])]
    return [record[name] for name in _TEXT_FIELDS[kind] if record[name]]


def record_keys(record: Record, kind: str) -> list[int]:
    """The keys of the record's texts that are long enough to be compared."""
    normal = (normalise(text) for text in record_texts(record, kind))
    return [_key(text) for text in normal if _is_compared(text)]


def _target_side(record: Record, kind: str) -> Record:
    """The record as target data: of a sentence and its translation, the translation alone is no English."""
    return {**record, "text": record["text_pair"], "text_pair": None} if kind == "retrieval" else record


def _is_compared(normal: str) -> bool:
    num_unspaced = 0
    if not normal.isascii():
        normal, num_unspaced = _UNSPACED.subn(" ", normal)
    return len(normal.split()) + num_unspaced // CHARACTERS_PER_WORD >= MIN_WORDS


@dataclass(frozen=True)
class Contribution:
    """One split that a list was made from.

    Attributes:
        digest: of its records, as `tasks.digest` gives it.
        num_keys: of a split of target data, how many different keys it has; of an English one, how many are in the list.
    """

    task: str
    split: str
    digest: str
    num_keys: int


@dataclass(frozen=True, eq=False)
class Exclusions:
    """Keys of the texts that no training example may have.

    Attributes:
        keys: [N] uint64, sorted, distinct: the texts of the target data, in Finnish or whatever was evaluated.
        in_english: [N] bool, whether English training or dev data of a target hold the text, too.
        sources: what it was made from, in the order of task and split.
    """

    keys: Array
    in_english: Array
    sources: tuple[Contribution, ...]

    def document(self) -> dict[str, Any]:
        """All of the list but the keys, which it names by their digest; its hash is the version."""
        return {
            "rule": RULE_VERSION,
            "num_keys": len(self.keys),
            "keys_sha256": hashlib.sha256(self.keys.astype("<u8").tobytes()).hexdigest(),
            "in_english": np.flatnonzero(self.in_english).tolist(),
            "sources": [asdict(source) for source in self.sources],
        }

    @property
    def version(self) -> str:
        """Sixteen hexadecimal digits of the hash of the content."""
        return fingerprint(self.document())[:16]

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages of the target data that it was made from."""
        return tuple(sorted({language_of(s.split.split("/")[1]) for s in self.sources if s.split not in ENGLISH}))

    @functools.cached_property
    def members(self) -> frozenset[int]:
        """The keys, for looking up one by one: a set, since making the keys takes all the time there is."""
        return frozenset(self.keys.tolist())


Load = Callable[[Task, str], Sequence[Record] | None]


def target_splits(tasks: Iterable[Task], languages: Collection[str] = ("fi",)) -> Iterator[tuple[Task, str]]:
    """The splits of the targets among `tasks` in some languages (ISO 639-1)."""
    for task in tasks:
        if task.role == "target":
            yield from ((task, split) for split in task.splits if language_of(split.split("/")[1]) in languages)


def build_exclusions(tasks: Iterable[Task], load: Load, languages: Collection[str] = ("fi",)) -> Exclusions:
    """A list of the texts of all targets in some languages; those that English training or dev data hold, too, are marked.

    Args:
        tasks: any tasks; only targets count.
        load: a split's records, or None where it is not there.
        languages: that targets are evaluated in, not English.

    Raises:
        InputError: no such split is there, so that the list would let everything pass.
    """
    targets = [task for task in tasks if task.role == "target"]
    found, sources = _keys_of_splits(target_splits(targets, languages), load)
    if not sources:
        law = f"exclusions: the target data in {', '.join(languages)} of at least one target must be there"
        raise InputError(f"{law}, but there are none.")
    splits = ((task, split) for task in targets for split in ENGLISH if split in task.splits)
    english, more = _keys_of_splits(splits, load, within=found)
    keys = np.array(sorted(found), dtype=np.uint64)
    in_english = np.isin(keys, np.array(sorted(english), dtype=np.uint64))
    return Exclusions(keys, in_english, tuple(sorted((*sources, *more), key=lambda s: (s.task, s.split))))


def merge(one: Exclusions, other: Exclusions) -> Exclusions:
    """A list with the texts of both."""
    keys = np.union1d(one.keys, other.keys)
    english = np.union1d(one.keys[one.in_english], other.keys[other.in_english])
    sources = sorted({*one.sources, *other.sources}, key=lambda s: (s.task, s.split, s.digest))
    return Exclusions(keys, np.isin(keys, english), tuple(sources))


def _keys_of_splits(
    splits: Iterable[tuple[Task, str]], load: Load, within: set[int] | None = None
) -> tuple[set[int], list[Contribution]]:
    """The keys of the splits that are there, and what each of them has; only those in `within`, if given."""
    total: set[int] = set()
    sources = []
    for task, split in splits:
        records = load(task, split)
        if records is None:
            continue
        texts = (_target_side(record, task.kind) for record in records)
        keys = {key for record in texts for key in record_keys(record, task.kind)}
        keys = keys if within is None else keys & within
        total |= keys
        sources.append(Contribution(task.name, split, digest(records), len(keys)))
    return total, sources


def uncovered(exclusions: Exclusions, found: Mapping[tuple[str, str], str]) -> list[str]:
    """Splits of target data that a list was made without, or from other records, as "task split".

    Args:
        found: digests of the splits that are there, by task and split.
    """
    covered = {(s.task, s.split, s.digest) for s in exclusions.sources}
    return [f"{task} {split}" for (task, split), value in sorted(found.items()) if (task, split, value) not in covered]


def drop_overlap(records: Iterable[Record], kind: str, exclusions: Exclusions) -> tuple[list[Record], list[Record]]:
    """Divide training records into those to keep and those of which a text is in the list, each in their order.

    Whether a record is dropped depends on itself and the list alone.
    """
    kept: list[Record] = []
    dropped: list[Record] = []
    members = exclusions.members
    for record in records:
        (kept if members.isdisjoint(record_keys(record, kind)) else dropped).append(record)
    return kept, dropped


def overlapping_text(record: Record, kind: str, exclusions: Exclusions) -> str:
    """The first text of a dropped record that is in the list."""
    return next(
        t for t in record_texts(record, kind) if _is_compared(normalise(t)) and text_key(t) in exclusions.members
    )


def store_exclusions(storage: Storage, exclusions: Exclusions) -> None:
    """Write a list below `<storage>/exclusions/` and make it the one in use; earlier ones stay beside it."""
    folder = _write_files(storage, exclusions)
    write_atomically(folder / "current", exclusions.version + "\n")
    storage.send(folder / f"{exclusions.version}.npy", folder / f"{exclusions.version}.json")
    storage.send(folder / "current")


def _write_files(storage: Storage, exclusions: Exclusions) -> Path:
    folder = storage / "exclusions"
    with atomic_file(folder / f"{exclusions.version}.npy") as file:
        np.save(file, exclusions.keys, allow_pickle=False)
    write_atomically(folder / f"{exclusions.version}.json", json.dumps(exclusions.document(), indent=1, sort_keys=True))
    return folder


def load_exclusions(storage: Storage) -> Exclusions | None:
    """The list that a storage uses, or None where it has none.

    Raises:
        InputError: a file of it is missing or damaged, or it was made by another rule of comparison.
    """
    folder = storage / "exclusions"
    storage.fetch_small(folder / "current", again=True)
    try:
        version = (folder / "current").read_text().strip()
    except FileNotFoundError:
        return None
    law = f"{folder}: the list {version!r} that `current` names must be whole"
    remedy = "`xlray tasks check --overlap --update` creates a new one."
    for kind in ("json", "npy"):
        storage.fetch_small(folder / f"{version}.{kind}")
    try:
        document = json.loads((folder / f"{version}.json").read_text())
        keys = np.load(io.BytesIO((folder / f"{version}.npy").read_bytes()), allow_pickle=False)
        rule, positions = document["rule"], document["in_english"]
        sources = tuple(Contribution(**source) for source in document["sources"])
        in_english = np.zeros(len(keys), dtype=np.bool_)
        in_english[np.array(positions, dtype=np.int64)] = True
    except (OSError, ValueError, KeyError, TypeError, IndexError, EOFError) as error:
        raise InputError(f"{law}, but: {error!r}; {remedy}") from error
    if rule != RULE_VERSION:
        raise InputError(f"{law} and made by rule {RULE_VERSION} of comparison, but got rule {rule!r}; {remedy}")
    exclusions = Exclusions(keys, in_english, sources)
    if keys.dtype != np.uint64 or exclusions.version != version:
        raise InputError(f"{law}, but its content is not what its name says; {remedy}")
    return exclusions
