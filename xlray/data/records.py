"""What a sweep's names stand for on this machine: records, their fingerprints, and the encoder's folder."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from xlray.canonical import fingerprint
from xlray.config.controls import Control, control_named
from xlray.config.sweep import Sweep
from xlray.data.contamination import (
    Exclusions,
    build_exclusions,
    drop_overlap,
    load_exclusions,
    merge,
    store_exclusions,
    target_splits,
    uncovered,
)
from xlray.data.controls import CONTROLS_VERSION, control_records, control_task
from xlray.data.mixture import nested_sample
from xlray.data.registry import find_task
from xlray.errors import InputError
from xlray.phases.spec import DataSpec
from xlray.storage.files import write_atomically
from xlray.storage.storage import Storage
from xlray.tasks import TASKS
from xlray.tasks.folders import has_folder
from xlray.tasks.languages import language_of
from xlray.tasks.lines import Remarks
from xlray.tasks.load import available, digest, load_records, source_identity, with_labels
from xlray.tasks.local import is_local, require_files
from xlray.tasks.task import Generated, Record, Task

KEPT_RECORDS = 50_000
ASSUMED_TRAINING, ASSUMED_EVALUATION = 10_000, 1_000  # examples of a split of which the registry knows no number


@dataclass(frozen=True)
class _Split:
    """A split of a task, or a sample of it."""

    task: str
    split: str
    sample: int | None

    @property
    def name(self) -> str:
        return f"{self.task} {self.split}"


@dataclass
class Sources:
    """Where the records of a sweep come from; the splits that were asked for.

    Attributes:
        data_dir: folder of original distribution files, or None.
        own_tasks: tasks of the sweep's own, by name, beside those of the registry or in the place of one.
        storage: remembers fingerprints, so that files that have not changed are not read again.
        skip_bad: leave bad training examples out instead of refusing the file.
        missing: splits that are not there and may be absent (test sets), as "task split".
        remarks: what was left out and what is doubtful of each split that was read, by "task split".
        exclusions: texts that no training example may have; None leaves nothing out.
        overlapping: number of training examples left out because of it, by "task split".
        assume: where a split is not on this machine, take its size from the registry instead of asking for it. For
            plans; nothing can be run from them.
        assumed: what was taken so, as "task split".
        lowered: of matched pairs of which less was read than the design says, their cap and that of the design.
    """

    data_dir: Path | None
    own_tasks: Mapping[str, Task] = field(default_factory=dict)
    storage: Storage | None = None
    skip_bad: bool = False
    missing: set[str] = field(default_factory=set)
    remarks: dict[str, Remarks] = field(default_factory=dict)
    exclusions: Exclusions | None = None
    overlapping: dict[str, int] = field(default_factory=dict)
    assume: bool = False
    assumed: set[str] = field(default_factory=set)
    lowered: dict[str, tuple[int, int]] = field(default_factory=dict)
    _records: dict[_Split, list[Record]] = field(default_factory=dict)
    _contents: dict[_Split, tuple[str, int]] = field(default_factory=dict)
    _specs: dict[DataSpec, _Split] = field(default_factory=dict)
    _made: dict[tuple[str, str, int, int, int | None], DataSpec] = field(default_factory=dict)
    _generated: dict[tuple[str, str], list[Record]] = field(default_factory=dict)

    def task(self, name: str) -> Task:
        """The task of that name: the sweep's own, the registry's, or a control made of one of them.

        Raises:
            InputError: there is none.
        """
        if (control := control_named(name)) is not None:
            return control_task(name, control, self.task(control.task))
        return self.own_tasks.get(name) or find_task(name, self.own_tasks)

    def spec(self, name: str, split: str, max_length: int, stride: int = 0, sample: int | None = None) -> DataSpec:
        """Describe a split by its content.

        Args:
            sample: at most this many examples, a hash-nested sample; None takes all.

        Raises:
            InputError: unknown task or split, missing or malformed files, training examples without labels.
        """
        key = (name, split, max_length, stride, sample)
        if key in self._made:
            return self._made[key]
        task, wanted = self.task(name), _Split(name, split, sample)
        if self.assume and not self.is_here(task, split):
            require_files(task, split, self.data_dir)
            made = control_named(name)  # of other examples than the task, and as many
            content = "assumed" if made is None else f"assumed {made}"
            num_records = self._assumed_size(task, wanted if made is None else replace(wanted, task=made.task))
        else:
            task = with_labels(task, self.data_dir)
            content, num_records = self.content(name, split, sample)
        spec = self._made[key] = DataSpec(
            task=name,
            kind=task.kind,
            split=split,
            fingerprint=content,
            num_records=num_records,
            max_length=max_length,
            stride=stride if task.kind == "span_qa" else 0,
            labels=tuple(task.labels),
            scale=(float(task.scale[0]), float(task.scale[1])),
        )
        self._specs[spec] = wanted
        return spec

    def is_here(self, task: Task, split: str) -> bool:
        """Whether a split can be read on this machine without asking the Hub."""
        return is_local(task, split, self.data_dir)

    def _assumed_size(self, task: Task, wanted: _Split) -> int:
        if wanted.split not in task.splits:
            raise InputError(
                f"task {task.name!r}: the split must be one of {', '.join(task.splits)}, but got {wanted.split!r}."
            )
        self.assumed.add(wanted.name)
        known = task.num_examples if wanted.split.startswith("train/") else ASSUMED_EVALUATION
        size = known if known is not None else ASSUMED_TRAINING
        return size if wanted.sample is None else min(size, wanted.sample)

    def num_training(self, name: str) -> int:
        """Training examples of a task that survive every filter, before any sample is taken of them."""
        if (control := control_named(name)) is not None:  # which has as many
            return self.num_training(control.task)
        task = self.task(name)
        whole = _Split(name, task.train_split, None)
        if self.assume and not self.is_here(task, whole.split):
            return self._assumed_size(task, whole)
        number = self.content(name, whole.split)[1]
        self._records.pop(whole, None)  # a sample of them is what will be prepared
        return number

    def content(self, name: str, split: str, sample: int | None = None) -> tuple[str, int]:
        """Digest and number of a split's records."""
        wanted = _Split(name, split, sample)
        if wanted not in self._contents:
            self._contents[wanted] = self._content(wanted)
        return self._contents[wanted]

    def _content(self, wanted: _Split) -> tuple[str, int]:
        """Digest and number of the records: remembered for files that were read before, else read."""
        note = self._note(wanted)
        if note is not None and self.storage is not None:
            self.storage.fetch_small(note)
        if note is not None and note.exists():
            known = json.loads(note.read_text())
            self.remarks[wanted.name] = Remarks(**known["remarks"])
            if known["overlapping"]:
                self.overlapping[wanted.name] = known["overlapping"]
            return str(known["fingerprint"]), int(known["num_records"])
        records = self._records[wanted] = self._read(wanted)
        found = digest(records), len(records)
        remarks, overlapping = self.remarks.get(wanted.name, Remarks()), self.overlapping.get(wanted.name, 0)
        left_out = {"remarks": asdict(remarks), "overlapping": overlapping}
        if note is not None:
            with contextlib.suppress(OSError):  # a storage that cannot be written: `plan` still plans
                note.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(note, json.dumps({"fingerprint": found[0], "num_records": found[1], **left_out}))
                assert self.storage is not None
                self.storage.send(note)
            if len(records) > KEPT_RECORDS:  # read again when they are prepared, rather than all held until then
                del self._records[wanted]
        return found

    def _note(self, wanted: _Split) -> Path | None:
        control = control_named(wanted.task)
        base = wanted.task if control is None else control.task
        if self.storage is None or not self.storage.root.is_dir() or base in self.own_tasks:
            return None
        identity = source_identity(self.task(wanted.task), wanted.split, self.data_dir)
        if identity is None:
            return None
        version = self.exclusions.version if self.exclusions is not None and self._is_filtered(wanted) else None
        made = [] if control is None else [wanted.task, CONTROLS_VERSION]
        key = fingerprint([identity, wanted.sample, self.skip_bad, version, *made])[:20]
        return self.storage / f"data/fingerprints/{key}.json"

    def _is_filtered(self, wanted: _Split) -> bool:
        """Whether overlapping examples are left out: of what is trained on with labels, not of text for pre-training."""
        return wanted.split.startswith("train/") and self.task(wanted.task).role != "text"

    def _read(self, wanted: _Split) -> list[Record]:
        if (control := control_named(wanted.task)) is not None:
            return self._read_control(control, wanted)
        task, records = self.task(wanted.task), self.all_records(wanted.task, wanted.split)
        if self.exclusions is not None and self._is_filtered(wanted):
            records, dropped = drop_overlap(records, task.kind, self.exclusions)
            if dropped:
                self.overlapping[wanted.name] = len(dropped)
            if not records:
                raise InputError(f"task {task.name!r}: every example of {wanted.split} is in the target data.")
        if wanted.sample is not None:
            records = [records[i] for i in nested_sample([r["id"] for r in records], wanted.sample, wanted.task)]
        if wanted.split.startswith("train"):
            _check_labelled(task, records)
        return records

    def _read_control(self, control: Control, wanted: _Split) -> list[Record]:
        """The same examples as of the task that it is made of; what is remarked of these holds for the control."""
        base = replace(wanted, task=control.task)
        records = control_records(control, self.task(base.task), self._read(base))
        self.remarks[wanted.name] = self.remarks[base.name]
        if base.name in self.overlapping:
            self.overlapping[wanted.name] = self.overlapping[base.name]
        return records

    def all_records(self, name: str, split: str) -> list[Record]:
        """Every record of a split, also those that overlap with target data."""
        if (name, split) in self._generated:
            return self._generated[name, split]
        task = self.task(name)
        remarks = Remarks(skip_bad=self.skip_bad and split.startswith("train/"))
        records = load_records(task, split, self.data_dir, remarks)
        self.remarks[f"{name} {split}"] = remarks
        if isinstance(task.source, Generated):  # made once; files are read again rather than all kept
            self._generated[name, split] = records
        return records

    def has(self, name: str, split: str) -> bool:
        """Whether the split is there; remembers it as missing if not."""
        task = self.task(name)
        assumed = self.assume and split in task.splits and not has_folder(task, self.data_dir)
        found = available(task, split, self.data_dir) or assumed
        if not found:
            self.missing.add(f"{name} {split}")
        return found

    def used(self) -> list[str]:
        """The splits that were described, as "task split", in order."""
        return sorted({wanted.name for wanted in self._specs.values()})

    def records(self, spec: DataSpec) -> list[Record]:
        """The records behind a spec made by `spec`; of splits that are too large to be kept, read again."""
        wanted = self._specs[spec]
        return self._records.get(wanted) or self._read(wanted)

    def release(self, spec: DataSpec) -> None:
        """Forget the records of a prepared split."""
        self._records.pop(self._specs[spec], None)


def _check_labelled(task: Task, records: list[Record]) -> None:
    name = {"tagging": "tags", "span_qa": "answers", "mlm": "text", "retrieval": "text"}.get(task.kind, "label")
    for record in records:
        if record.get(name) is None:
            raise InputError(
                f"task {task.name!r}, record {record['id']!r}: training examples must have a label, "
                f"but {name!r} is missing."
            )


def find_exclusions(sweep: Sweep, sources: Sources) -> Exclusions | None:
    """The list of texts that training must not hold: the storage's, if it covers the sweep's targets in their languages.

    Otherwise a list of the data in these languages of the sweep's targets, and of the registry's targets whose files are
    here, is joined to the storage's and takes its place. So a list only grows, and what is dropped depends on the
    storage, not on the files of the machine that plans.

    Returns:
        The list, or None where no target has data in a language that is evaluated.
    """
    names = [target.task for target in sweep.targets]
    targets = [sources.task(name) for name in names]
    languages = tuple(map(language_of, sweep.evaluated))
    here = [(t, split) for t, split in target_splits(targets, languages) if available(t, split, sources.data_dir)]
    if not here:
        return None
    storage = sources.storage if sources.storage is not None and sources.storage.root.is_dir() else None
    known = None if storage is None else load_exclusions(storage)
    found = {(task.name, split): sources.content(task.name, split)[0] for task, split in here}
    if known is not None and not uncovered(known, found):
        return known

    def load(task: Task, split: str) -> list[Record] | None:
        local = task if task.name in names else replace(task, hub=None)
        return sources.all_records(task.name, split) if available(local, split, sources.data_dir) else None

    others = [task for task in TASKS.values() if task.role == "target" and task.name not in names]
    made = build_exclusions([*targets, *others], load, languages)
    if known is not None:
        made = merge(known, made)
    if storage is not None:
        with contextlib.suppress(OSError):  # a storage that cannot be written: `plan` still plans
            store_exclusions(storage, made)
    return made
