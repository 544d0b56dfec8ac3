"""What a task is: one frozen value that holds all that is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.canonical import InputError

KINDS = (
    "classification",
    "regression",
    "multiple_choice",
    "span_qa",
    "tagging",
    "mlm",
    "retrieval",
)

# A record is one example in the form that all readers agree on, by kind of task ("id": text, unique in its split):
#   classification   {id, text, text_pair or None, label: str or None}
#   regression       {id, text, text_pair or None, label: float or None}
#   multiple_choice  {id, context, question, choices: [str], label: int or None}  context may be ""
#   span_qa          {id, question, context, answers: [{text, start}]}              start in characters; [] = no answer
#   tagging          {id, tokens: [str], tags: [str] or None}
#   mlm              {id, text, text_pair or None}                                 a pair is a translation
#   retrieval        {id, text, text_pair}                                         text: English, text_pair: the other
Record = dict[str, Any]
Reader = Callable[[tuple[Path, ...]], Iterator[Record]]
Shape = Callable[[dict[str, Any], str], Record | None]
Repair = Callable[[Record], Record | None]

CONVERTED = "refs/convert/parquet"  # the Hub's own branch with the Parquet conversion of a set that is a script

# Said in the notes of sets on the Hub.
CONVERSION = "The Hub's conversion of a script; its branch moves."
UNPINNED = "Revision not pinned: not verified offline."


@dataclass(frozen=True)
class Files:
    """Original distribution files below `<data_dir>/<folder>/`.

    Attributes:
        folder: folder of the task below the data directory.
        splits: `"split/language"` (such as `"dev/fi"`) to the file names that together hold that split; a name with `*`
            stands for all files that match.
        read: the reader; gets the paths in the order named and yields records. It raises `InputError` naming
            file and line (or record) for what it cannot read.
        readers: the reader of single splits, where it is not `read`.
        when_present: name of a file that some distributions add, to the `Files` that hold instead of these when it lies
            in the folder. Such a value has the same folder and no alternatives of its own.
        label_file: name of a file with one label per line, in the order of their ids, for a label set that is not ours
            to publish; the task's `labels` are empty then.
    """

    folder: str
    splits: Mapping[str, tuple[str, ...]]
    read: Reader
    readers: Mapping[str, Reader] = field(default_factory=dict)
    when_present: Mapping[str, Files] = field(default_factory=dict)
    label_file: str = ""

    def chosen(self, folder: Path) -> Files:
        """These files, or the first alternative whose file lies in `folder`."""
        for name, alternative in self.when_present.items():
            if (folder / name).is_file():
                return alternative
        return self

    def found(self, folder: Path, name: str) -> list[Path]:
        """The files in `folder` that a name of `splits` stands for, in the order of their names."""
        paths = sorted(folder.glob(name)) if "*" in name else [folder / name]
        return [path for path in paths if path.is_file()]

    def reader(self, split: str) -> Reader:
        """The reader of one split."""
        return self.readers.get(split, self.read)


@dataclass(frozen=True)
class Hub:
    """A Parquet-backed set on the Hugging Face Hub, or a local folder in the Hub's layout.

    Attributes:
        id: such as `"nyu-mll/glue"`; a folder's path also works.
        revision: commit of the set, never a branch but `CONVERTED`. None: not pinned; what was read is still part of
            every phase's identity, since fingerprints are made of the examples themselves.
        splits: `"split/language"` to the Hub's split.
        shape: row and its place to the fields of a record without `id`, or None for a row that is left out.
        config: the Hub's configuration ("subset"); in the branch `CONVERTED` the folder of that name, and None where
            the set has one configuration.
        configs: the configuration of single splits, where it is not `config`.
        shapes: the shape of single splits, where it is not `shape`.
    """

    id: str
    revision: str | None
    splits: Mapping[str, str]
    shape: Shape
    config: str | None = None
    configs: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)

    def config_of(self, split: str) -> str | None:
        """The configuration that holds one split."""
        return self.configs.get(split, self.config)

    def shape_of(self, split: str) -> Shape:
        """The shape of one split's rows."""
        return self.shapes.get(split, self.shape)


@dataclass(frozen=True)
class Generated:
    """Examples made by code: the embedded world.

    Attributes:
        splits: the `"split/language"` keys that exist.
        generate: `"split/language"` to records; a pure function of the code in its folder and of what is pinned there.
        version: bumped when the generator changes what it makes.
    """

    splits: tuple[str, ...]
    generate: Callable[[str], Iterable[Record]]
    version: int = 1


@dataclass(frozen=True)
class Joined:
    """Several tasks as one: the records of their same splits, one part after the other; ids start with `<part>/`.

    Attributes:
        parts: the tasks; a part without a split is passed over in it.
    """

    parts: tuple[Task, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """The `"split/language"` keys that any part has."""
        return tuple(dict.fromkeys(split for part in self.parts for split in part.splits))

    def having(self, split: str) -> tuple[Task, ...]:
        """The parts that have the split."""
        return tuple(part for part in self.parts if split in part.splits)


@dataclass(frozen=True)
class Task:
    """All that is known of a task.

    Attributes:
        name: the key in the registry.
        kind: one of `KINDS`.
        role: "intermediate", "target" or "text" (masked language modelling).
        languages: ISO 639-1 codes of the training language(s) first, then those of the evaluation.
        source: where examples come from.
        hub: the same examples on the Hub, taken where the task's folder is not in the data directory.
        labels: the closed set of labels or tags, in the order of their ids (classification, tagging).
        headline: names of the metrics whose mean is the task's headline score.
        multi_source: the same task as a target, in another language; kept out of default pools.
        contains: names of tasks whose examples this one includes.
        scale: (low, high) of a regression's labels.
        num_examples: training examples in the publisher's distribution, where known.
        licence: as the publisher states it.
        citation: short reference.
        notes: overlap, oddities, what could not be verified.
        repair: what is done about known defects of the publisher's data, in records of files and of the Hub alike: a
            record becomes one that passes the checks, or None, counted, where it is left out.
    """

    name: str
    kind: str
    role: str
    languages: tuple[str, ...]
    source: Files | Generated | Hub | Joined
    labels: tuple[str, ...] = ()
    headline: tuple[str, ...] = ("accuracy",)
    multi_source: bool = False
    contains: tuple[str, ...] = ()
    scale: tuple[float, float] = (0.0, 1.0)
    num_examples: int | None = None
    licence: str = ""
    citation: str = ""
    notes: str = ""
    hub: Hub | None = None
    repair: Repair | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"task {self.name!r}: `kind` must be one of {', '.join(KINDS)}, but got {self.kind!r}.")
        listed = bool(self.labels) or (isinstance(self.source, Files) and bool(self.source.label_file))
        if self.kind in ("classification", "tagging") and not listed:
            raise InputError(f"task {self.name!r}: a {self.kind} task must name its `labels`, but got none.")
        if self.role == "intermediate" and "fi" in self.languages:
            raise InputError(f"task {self.name!r}: an intermediate task must hold no Finnish, but lists 'fi'.")
        if isinstance(self.source, Joined) and {part.kind for part in self.source.parts} != {self.kind}:
            kinds = ", ".join(f"{part.name} of kind {part.kind}" for part in self.source.parts) or "no part"
            raise InputError(f"task {self.name!r}: its parts must be of its kind {self.kind!r}, but got {kinds}.")

    @property
    def splits(self) -> tuple[str, ...]:
        """The `"split/language"` keys this task knows."""
        return tuple(dict.fromkeys((*self.source.splits, *(self.hub.splits if self.hub else ()))))

    @property
    def train_split(self) -> str:
        """The key of its training split, `train/<first language>`."""
        return next((s for s in self.splits if s.startswith("train/")), f"train/{self.languages[0]}")
