"""The catalogue of tasks: what is known of the tasks, examples of them, and whether their files can be read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xlray.config.recipes import Encoder
from xlray.data.registry import ALL_TASKS, find_task
from xlray.errors import InputError, nearest
from xlray.tasks import Task, available, load_records
from xlray.tasks.lines import Remarks
from xlray.tasks.load import digest, with_labels
from xlray.tasks.local import is_local, require_files
from xlray.tasks.task import KINDS, ROLES, Files, Generated, Hub, Joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from xlray.data.contamination import Exclusions
    from xlray.data.tokenization import Vocabulary
    from xlray.tasks import Record

NUM_SHOWN = 3
SHORT_TEXT = 60


def describe(task: Task) -> dict[str, Any]:
    """All that is known of a task, as plain values."""
    source = task.source
    hub = source if isinstance(source, Hub) else task.hub
    return {
        "name": task.name,
        "kind": task.kind,
        "role": task.role,
        "languages": list(task.languages),
        "source": _place(source),
        "hub": None if hub is None else {"id": hub.id, "config": hub.config, "revision": hub.revision},
        "licence": task.licence or ("Apache-2.0" if isinstance(source, Generated) else ""),
        "num_examples": task.num_examples,
        "splits": list(task.splits),
        "labels": list(task.labels),
        "headline": list(task.headline),
        "contains": list(task.contains),
        "derived_from": list(task.derived_from),
        "translated": task.translated,
        "multi_source": task.multi_source,
        "citation": task.citation,
        "notes": task.notes,
    }


def _place(source: Files | Generated | Hub | Joined) -> str:
    if isinstance(source, Files):
        return source.folder
    if isinstance(source, Joined):
        return " + ".join(part.name for part in source.parts)
    return source.id if isinstance(source, Hub) else "generated"


def listed(
    kind: str | None, language: str | None, role: str | None, licence: str | None = None
) -> list[dict[str, Any]]:
    """The tasks that pass all filters.

    Args:
        licence: part of the licence's text, in any case.

    Raises:
        InputError: a filter's value is unknown.
    """
    languages = sorted({code for task in ALL_TASKS.values() for code in task.languages})
    for option, value, known in (("--kind", kind, KINDS), ("--language", language, languages), ("--role", role, ROLES)):
        if value is not None and value not in known:
            raise InputError(f"{option} {value}: must be one of {', '.join(known)}.{nearest(value, known)}")
    found = [
        describe(task)
        for task in ALL_TASKS.values()
        if kind in (None, task.kind) and role in (None, task.role) and (language is None or language in task.languages)
    ]
    return [task for task in found if (licence or "").casefold() in task["licence"].casefold()]


def shown(name: str, data_dir: Path | None, encoder: str | None = None) -> dict[str, Any]:
    """A task with its sources, the splits that are there, its first examples and what can be counted of them.

    Args:
        encoder: folder with a tokenizer.json, or ID@COMMIT of an encoder on the Hub, whose tokens are shown.

    Returns:
        What `describe` gives and `files`, `hub_splits`, `sizes` (split to examples), `unread` (split to reason),
        `examples`, `views` (with an encoder), and of the training split, or the first that is there, its name `split`,
        its `distribution` of labels and its `lengths`.

    Raises:
        InputError: unknown task, no such encoder, or a file that is there cannot be read.
    """
    from xlray.cli import task_previews

    task = find_task(name)
    vocabulary = None if encoder is None else _vocabulary(encoder)
    sizes, unread, kept = _read(task, data_dir)
    document = {**describe(task), **_sources(task), "sizes": sizes, "unread": unread, "encoder": encoder}
    if not kept:
        return {**document, "examples": [], "views": [], "split": None, "distribution": None, "lengths": None}
    split, records = kept
    task = with_labels(task, data_dir)
    examples = records[:NUM_SHOWN]
    views = [] if vocabulary is None else [asdict(view) for view in task_previews.views(task, examples, vocabulary)]
    distribution = task_previews.distribution_of(task, records, vocabulary)
    return {
        **document,
        "labels": list(task.labels),
        "examples": examples,
        "views": views,
        "max_length": task_previews.view_length(task.kind),
        "split": split,
        "distribution": None if distribution is None else asdict(distribution),
        "lengths": asdict(task_previews.lengths_of(task, records, vocabulary)),
    }


def _read(task: Task, data_dir: Path | None) -> tuple[dict[str, int], dict[str, str], tuple[str, list[Record]] | None]:
    """Sizes of the splits that are there, why others on the Hub are not, and the first training split (or first split)."""
    sizes: dict[str, int] = {}
    unread: dict[str, str] = {}
    kept: tuple[str, list[Record]] | None = None
    own = isinstance(task.source, Files) and data_dir is not None and (data_dir / task.source.folder).is_dir()
    for split in task.splits:
        if not available(task, split, data_dir):
            continue
        try:
            records = load_records(task, split, data_dir)
        except InputError as error:
            if own or not _hubs(task):
                raise
            unread[split] = str(error)
            continue
        sizes[split] = len(records)
        if kept is None or (split.startswith("train") and not kept[0].startswith("train")):
            kept = split, records
    return sizes, unread, kept


def _hubs(task: Task) -> list[Hub]:
    if isinstance(task.source, Joined):
        return [hub for part in task.source.parts for hub in _hubs(part)]
    return [source for source in (task.source, task.hub) if isinstance(source, Hub)]


def _sources(task: Task) -> dict[str, Any]:
    """Where each split comes from: the names of its files, and its place on the Hub."""
    files = task.source if isinstance(task.source, Files) else None
    hubs = [] if isinstance(task.source, Joined) else _hubs(task)
    return {
        "files": {} if files is None else {split: list(names) for split, names in files.splits.items()},
        "hub_splits": {
            split: {"config": hub.config_of(split), "split": name} for hub in hubs for split, name in hub.splits.items()
        },
    }


def _vocabulary(encoder: str) -> Vocabulary:
    """The tokenizer of a folder (a bare tokenizer.json is enough) or of an encoder on the Hub."""
    from xlray.data.encoders import encoder_folder, encoder_vocabulary
    from xlray.data.tokenization import load_vocabulary

    folder = Path(encoder).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        return load_vocabulary(folder / "tokenizer.json")
    path, _, revision = (encoder, "", "") if folder.is_dir() else encoder.partition("@")
    return encoder_vocabulary(folder if folder.is_dir() else encoder_folder(Encoder(path, revision or None)))


def checked(
    names: Sequence[str], data_dir: Path | None, progress: Callable[[str], None] = lambda _: None
) -> Iterator[dict[str, Any]]:
    """Load every split that is there; one row each: task, split, examples, status (ok, failed, absent), error.

    And what `Remarks` has of it: `unlabelled`, `left_out` and `doubts`. An absent split of a task whose folder is there
    says in `error` which files are looked for; a folder of which nothing is read is a failure.

    Args:
        names: of tasks; none takes all, but of sets on the Hub only those whose files are here.
    """
    for task in [find_task(name) for name in names] or ALL_TASKS.values():
        rows = []
        for split in task.splits:
            progress(f"{task.name} {split}")
            rows.append(_checked(task, split, data_dir, ask_hub=bool(names)))
        if all(row["status"] == "absent" and row["error"] for row in rows):
            rows[0]["status"] = "failed"  # a folder of which nothing is read
        yield from rows


def _checked(task: Task, split: str, data_dir: Path | None, ask_hub: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"task": task.name, "split": split, "examples": None, "status": "absent", "error": ""}
    remarks = Remarks()
    try:
        if is_local(task, split, data_dir) or (ask_hub and available(task, split, data_dir)):
            row |= {"examples": len(load_records(task, split, data_dir, remarks)), "status": "ok"}
    except InputError as error:
        row |= {"status": "failed", "error": str(error)}
    if row["status"] == "absent":
        try:
            require_files(task, split, data_dir)
        except InputError as error:
            row["error"] = str(error)
    return row | {"unlabelled": remarks.unlabelled, "left_out": remarks.left_out, "doubts": remarks.doubts}


def local_records(task: Task, split: str, data_dir: Path | None, remarks: Remarks | None = None) -> list[Record] | None:
    """A split's records if they are generated or all its files are there, else None; the Hub is not asked.

    Raises:
        InputError: a file that is there cannot be read.
    """
    return load_records(task, split, data_dir, remarks) if is_local(task, split, data_dir) else None


def made_exclusions(data_dir: Path | None, progress: Callable[[str], None] = lambda _: None) -> Exclusions:
    """A new list of all Finnish target data that can be had: generated, in files, or on the Hub if it is in reach.

    Raises:
        InputError: a file that is there cannot be read.
    """
    from xlray.data.contamination import build_exclusions

    unreachable: set[str] = set()

    def load(task: Task, split: str) -> list[Record] | None:
        progress(f"{task.name} {split}")
        records = local_records(task, split, data_dir)
        if records is not None or task.hub is None or task.hub.id in unreachable:
            return records
        if not available(task, split, data_dir):
            return None
        try:
            return load_records(task, split, data_dir)
        except InputError:  # each try waits for half a minute where there is no network
            unreachable.add(task.hub.id)
            return None

    return build_exclusions(ALL_TASKS.values(), load)


def exclusions_document(exclusions: Exclusions, stored: bool, data_dir: Path | None) -> dict[str, Any]:
    """A list as plain values: what it was made from, and what it was made without.

    `lacking` are the splits in its languages that it was made without, `outdated` those that are there, in files or generated,
    but were not when it was made, or were others.
    """
    from xlray.data.contamination import ENGLISH, target_splits, uncovered

    splits = list(target_splits(ALL_TASKS.values(), exclusions.languages))
    covered = {(source.task, source.split) for source in exclusions.sources}
    there = ((task.name, split, local_records(task, split, data_dir)) for task, split in splits)
    found = {(name, split): digest(records) for name, split, records in there if records is not None}
    document = exclusions.document()
    return {
        "version": exclusions.version,
        "stored": stored,
        "num_keys": document["num_keys"],
        "num_splits": sum(split not in ENGLISH for _, split in covered),
        "languages": list(exclusions.languages),
        "num_in_english": len(document["in_english"]),
        "sources": document["sources"],
        "lacking": [f"{task.name} {split}" for task, split in splits if (task.name, split) not in covered],
        "outdated": uncovered(exclusions, found),
    }


def overlaps(
    names: Sequence[str],
    exclusions: Exclusions,
    data_dir: Path | None,
    progress: Callable[[str], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """Count the training records that hold a text of the target data; one row for each training set.

    Rows have task, role, split, status (ok, failed, absent), examples, overlapping, share, texts (up to three) and error.

    Args:
        names: of tasks; none takes all intermediate ones and targets.
    """
    from xlray.data.contamination import drop_overlap, overlapping_text

    chosen = [find_task(name) for name in names] or [task for task in ALL_TASKS.values() if task.role != "text"]
    for task in chosen:
        for split in (split for split in task.splits if split.startswith("train/")):
            progress(f"{task.name} {split}")
            row: dict[str, Any] = {"task": task.name, "role": task.role, "split": split, "status": "absent"}
            row |= {"examples": None, "overlapping": None, "share": None, "texts": [], "error": ""}
            try:
                records = local_records(task, split, data_dir)
            except InputError as error:
                row |= {"status": "failed", "error": str(error)}
                records = None
            if records is not None:
                dropped = drop_overlap(records, task.kind, exclusions)[1]
                texts = dict.fromkeys(overlapping_text(record, task.kind, exclusions) for record in dropped)
                row |= {"status": "ok", "examples": len(records), "overlapping": len(dropped)}
                row |= {"share": len(dropped) / len(records), "texts": [_short(t) for t in list(texts)[:NUM_SHOWN]]}
            yield row


def _short(text: str) -> str:
    return text if len(text) <= SHORT_TEXT else text[: SHORT_TEXT - 1] + "\u2026"
