"""What a task is: one frozen value that holds all that is known of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xlray.canonical import check_types
from xlray.errors import InputError, nearest
from xlray.tasks.languages import UNNAMED, language_of
from xlray.tasks.tag_sets import check_tag_set, is_iob2

# By kind: the metrics that a task of it has. Masked language modelling is not evaluated.
METRICS: dict[str, tuple[str, ...]] = {
    "classification": ("accuracy", "macro_f1"),
    "regression": ("pearson", "spearman"),
    "multiple_choice": ("accuracy",),
    "span_qa": ("f1", "exact_match"),
    "tagging": ("accuracy", "f1"),
    "mlm": (),
    "retrieval": ("accuracy", "accuracy_reverse"),
}
KINDS = tuple(METRICS)
ROLES = ("intermediate", "target", "text")
TRANSLATED = ("", "machine", "human")  # how a text came into its language
PARTS = ("train", "dev", "test", "all")  # of a split's name; `all` is divided by a hash
MAX_NAME = 100  # characters

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


def usual_splits(language: str, *parts: str) -> dict[str, str]:
    """`Hub.splits` of one language where the Hub's splits have their usual names: those of `parts`, or all three."""
    return {f"{part}/{language}": "validation" if part == "dev" else part for part in parts or ("train", "dev", "test")}


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
        parts: the tasks; a part without a split is skipped in it.
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
    """All that is known of a task. A definition that would lead to wrong numbers raises `InputError`.

    Attributes:
        name: the key in the registry; part of names of folders.
        kind: one of `KINDS`.
        languages: ISO 639-1 codes of the training language(s) first, then those of the evaluation. There is one training
            split, `train/<first language>`; files of several languages are listed in it together.
        source: where examples come from.
        role: "intermediate", "target" or "text" (masked language modelling).
        hub: the same examples on the Hub, taken where the task's folder is not in the data directory.
        labels: the closed set of labels or tags, in the order of their ids (classification, tagging). Tags are those of
            IOB2, or plain names such as parts of speech.
        headline: names of the metrics whose mean is the task's headline score, of `METRICS` of its kind; () takes the
            two correlations, both F1 and exact match, the F1 of spans where the tags are those of IOB2, or accuracy.
        multi_source: the same task as a target, in another language; kept out of default pools.
        contains: names of tasks whose examples this one includes.
        derived_from: names of what its training examples were translated or adapted from: tasks, or sets that are none here.
        translated: how its training texts came into their language: "" (written in it), "machine" or "human" translation
            of what `derived_from` names.
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
    languages: tuple[str, ...]
    source: Files | Generated | Hub | Joined
    role: str = "intermediate"
    labels: tuple[str, ...] = ()
    headline: tuple[str, ...] = ()
    multi_source: bool = False
    contains: tuple[str, ...] = ()
    derived_from: tuple[str, ...] = ()
    translated: str = ""
    scale: tuple[float, float] = (0.0, 1.0)
    num_examples: int | None = None
    licence: str = ""
    citation: str = ""
    notes: str = ""
    hub: Hub | None = None
    repair: Repair | None = None

    def __post_init__(self) -> None:
        where = f"task {self.name!r}"
        _check_name(self.name)
        for label in self.labels if isinstance(self.labels, tuple) else ():
            if not isinstance(label, str):
                raise InputError(f"{where}: `labels` must be texts, such as {str(label)!r}, but got {label!r}.")
        check_types(self, where)
        _check_role(self, where)
        _check_languages(self, where)
        _check_splits(self, where)
        has_file = isinstance(self.source, Files) and bool(self.source.label_file)
        if self.kind in ("classification", "tagging") and (self.labels or not has_file):
            check_labels(self.kind, self.labels, where)
        _check_headline(self, where)
        _check_origin(self, where)
        low, high = self.scale
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(
                f"{where}: `scale` must be (low, high), finite numbers with low < high, but got {self.scale}."
            )
        if isinstance(self.source, Joined):
            _check_parts(self, self.source.parts, where)

    @property
    def splits(self) -> tuple[str, ...]:
        """The `"split/language"` keys this task knows."""
        return tuple(dict.fromkeys((*self.source.splits, *(self.hub.splits if self.hub else ()))))

    @property
    def train_split(self) -> str:
        """The key of its one training split, `train/<first language>`."""
        return next((s for s in self.splits if s.startswith("train/")), f"train/{self.languages[0]}")

    @property
    def all_languages(self) -> frozenset[str]:
        """ISO 639-1 codes of all that it holds: of the languages that it lists, of its splits, of what it is joined of."""
        codes = (*self.languages, *(split.partition("/")[2] for split in self.splits))
        parts = self.source.parts if isinstance(self.source, Joined) else ()
        return frozenset(map(language_of, codes)).union(*(part.all_languages for part in parts))


def check_labels(kind: str, labels: tuple[str, ...], where: str) -> None:
    """Check a label set: two labels or more, none twice, none blank; tags as `check_tag_set` has them.

    Raises:
        InputError: they are not so.
    """
    if not labels:
        raise InputError(f"{where}: a {kind} task must name its `labels`, but got none.")
    if len(labels) < 2:
        raise InputError(f"{where}: `labels` must name at least two, to choose from, but got {labels[0]!r} alone.")
    for label in labels:
        if not label.strip() or labels.count(label) > 1:
            raise InputError(f"{where}: `labels` must name each once and none blank, but got {label!r} among them.")
    if kind == "tagging":
        check_tag_set(labels, where)


def _check_name(name: Any) -> None:
    valid = isinstance(name, str) and name and all(c.isalnum() or c in "-_." for c in name)
    if not valid or name.startswith(".") or len(name) > MAX_NAME:
        raise InputError(
            f"task {name!r}: its name is part of folders' names and must consist of at most {MAX_NAME} letters, digits, "
            "'-', '_' and '.', the first no '.'."
        )


def _check_role(task: Task, where: str) -> None:
    for field_name, value, known in (("kind", task.kind, KINDS), ("role", task.role, ROLES)):
        if value not in known:
            law = f"{where}: `{field_name}` must be one of {', '.join(known)}"
            raise InputError(f"{law}, but got {value!r}.{nearest(value, known)}")
    if task.role == "text" and task.kind != "mlm":  # the only role that may hold Finnish
        raise InputError(f"{where}: text without labels is of kind 'mlm', but got role 'text' and kind {task.kind!r}.")
    if (task.role, task.kind) in (("target", "mlm"), ("intermediate", "retrieval")):
        what = "evaluated" if task.role == "target" else "trained on"
        raise InputError(f"{where}: a task of kind {task.kind!r} is never {what}, but its role is {task.role!r}.")


def _check_languages(task: Task, where: str) -> None:
    if not task.languages:
        raise InputError(f"{where}: `languages` must name at least one, but is empty.")
    for code in (*task.languages, *(split.partition("/")[2] for split in task.splits)):
        try:
            language = language_of(code)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if task.role != "text" and language in UNNAMED:
            raise InputError(
                f"{where}: `languages` must name the languages of labelled examples, but got {code!r}; files of several "
                "are listed together in the training split of the first."
            )
    if task.role == "intermediate" and "fi" in task.all_languages:
        code = next((c for c in (*task.languages, *task.splits) if language_of(c.rpartition("/")[2]) == "fi"), "a part")
        raise InputError(f"{where}: an intermediate task must hold no Finnish, but lists {code!r}.")


def _check_splits(task: Task, where: str) -> None:
    named = {*task.languages, *(UNNAMED if task.role == "text" else ())}
    for split in task.splits:
        part, _, language = split.partition("/")
        if part not in PARTS:
            law = f"{where}: a split must be named {', '.join(f'{name}/LANGUAGE' for name in PARTS)}"
            raise InputError(f"{law}, but got {split!r}.{nearest(split, [f'{name}/{language}' for name in PARTS])}")
        if language not in named:
            raise InputError(
                f"{where}: the language of split {split!r} must be in `languages`, but got {task.languages}."
            )
    for split, files in task.source.splits.items() if isinstance(task.source, Files) else ():
        if isinstance(files, str) or not files:
            raise InputError(f"{where}: split {split!r} must be a tuple of one file name or more, but got {files!r}.")
    train = [split for split in task.splits if split.startswith("train/")]
    first = f"train/{task.languages[0]}"
    if len(train) > 1:
        raise InputError(
            f"{where}: there must be one training split, but got {', '.join(train)}; list the files of all languages in "
            f"{first!r}, or write a task for each language."
        )
    if train and train[0] != first and task.role != "text":
        raise InputError(
            f"{where}: the training split must be of the first of `languages`, {first!r}, but got {train[0]!r}."
        )


def _check_headline(task: Task, where: str) -> None:
    known = METRICS[task.kind]
    if not task.headline:
        spans = task.kind == "tagging" and bool(task.labels) and is_iob2(task.labels)
        one = ("f1",) if spans else known[:1]
        object.__setattr__(task, "headline", known if task.kind in ("regression", "span_qa") else one)
    for name in task.headline:
        if name not in known or task.headline.count(name) > 1:
            law = (
                f"{where}: `headline` must name metrics of a {task.kind} task ({', '.join(known) or 'none'}), each once"
            )
            raise InputError(
                f"{law}, but got {', '.join(task.headline)}.{'' if name in known else nearest(name, known)}"
            )


def _check_origin(task: Task, where: str) -> None:
    if task.translated not in TRANSLATED:
        law = f"{where}: `translated` must be one of {', '.join(map(repr, TRANSLATED))}"
        raise InputError(f"{law}, but got {task.translated!r}.{nearest(task.translated, TRANSLATED)}")
    if task.translated and not task.derived_from:
        raise InputError(f"{where}: `derived_from` must name what was translated, but is empty.")
    if task.name in (*task.contains, *task.derived_from):
        raise InputError(f"{where}: a task neither contains itself nor is derived from itself, but names itself.")


def _check_parts(task: Task, parts: tuple[Task, ...], where: str) -> None:
    if {part.kind for part in parts} != {task.kind}:
        kinds = ", ".join(f"{part.name} of kind {part.kind}" for part in parts) or "no part"
        raise InputError(f"{where}: its parts must be of its kind {task.kind!r}, but got {kinds}.")
    for part in parts:
        if task.kind == "regression" and part.scale != task.scale:
            raise InputError(f"{where}: its parts must have its scale {task.scale}, but {part.name} has {part.scale}.")
