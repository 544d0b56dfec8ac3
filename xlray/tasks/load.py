"""From a task and a split to checked records, and the fingerprint that is the identity of these examples."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlray.errors import InputError, nearest
from xlray.tasks.doubts import find_doubts
from xlray.tasks.folders import source_of
from xlray.tasks.hub import hub_records
from xlray.tasks.labels import Place, check_labelled, is_unlabelled
from xlray.tasks.lines import (
    Remarks,
    fail,
    file_names,
    line_of,
    listed,
    one_example,
    remarks_go_to,
    shown,
    text_lines,
)
from xlray.tasks.own_code import own_code_named
from xlray.tasks.task import CONVERTED, Files, Generated, Hub, Joined, Record, Task, check_labels

FIELDS = {
    "classification": {"id", "text", "text_pair", "label"},
    "regression": {"id", "text", "text_pair", "label"},
    "multiple_choice": {"id", "context", "question", "choices", "label"},
    "span_qa": {"id", "question", "context", "answers"},
    "tagging": {"id", "tokens", "tags"},
    "mlm": {"id", "text", "text_pair"},
    "retrieval": {"id", "text", "text_pair"},
}

# What ends the error of a bad example.
SKIP = "`--on-bad-example skip` trains without such examples."
MEND = "Bad examples of evaluation sets are not left out: mend the file."


@own_code_named
def load_records(
    task: Task, split: str, data_dir: Path | str | None = None, remarks: Remarks | None = None
) -> list[Record]:
    """All records of one split, repaired as the task says, and checked.

    Args:
        task: the task.
        split: a key of its splits, such as `"dev/fi"`.
        data_dir: holds the tasks' folders; generated tasks need none.
        remarks: gets what was left out and what is doubtful, and says whether bad examples are left out.

    Raises:
        InputError: the split is unknown, a file is missing or cannot be read, a record breaks the task's definition, or
            has no label, which only a test set as a whole may lack.
    """
    task = with_labels(task, data_dir)
    remarks = remarks or Remarks()
    source = source_of(task, split, data_dir)
    named = f"task {task.name!r}, split {split!r}"
    place = _record_place(named, None, {})
    if isinstance(source, Files):
        paths, source = existing_paths(task, source, split, data_dir)
        where = paths[0] if len(paths) == 1 else paths[0].parent
        place = _record_place(named, where, {name: path for path, name in file_names(paths).items()})
        records: Iterable[Record] = source.reader(split)(paths)
    else:
        _check_split(task, split, source.splits)
        match source:
            case Hub():
                files = task.source if isinstance(task.source, Files) else None
                otherwise = f", or the folder {files.folder!r} must lie below --data-dir" if files else ""
                records = hub_records(source, split, named, otherwise)
            case Joined():
                records = _joined(source, split, data_dir, remarks)
            case Generated():
                records = source.generate(split)
    with remarks_go_to(remarks, SKIP if split.startswith("train/") else MEND):
        checked = _checked(task, split, records, place)
    remarks.unlabelled = is_unlabelled(task, split, checked, place)
    if not isinstance(source, Joined):  # whose parts have said what they say
        remarks.doubts += find_doubts(task.kind, checked)
    return checked


def _record_place(named: str, folder: Path | None, paths: Mapping[str, Path]) -> Place:
    """What names a record in messages, by its file and line where its id tells them; None is the whole split."""

    def place(record: Record | None) -> str:
        if record is None:
            return f"{folder}: {named}" if folder else named
        name, _, number = str(record.get("id")).rpartition(":")
        line = line_of(paths[name], int(number)) if name in paths and number.isdecimal() else folder
        return f"{line}: {named}, record {record.get('id')!r}" if line else f"{named}, record {record.get('id')!r}"

    return place


def with_labels(task: Task, data_dir: Path | str | None) -> Task:
    """The task with its labels, where they are listed in a file beside the data.

    Raises:
        InputError: that file is not there, or its labels are no label set.
    """
    source = task.source
    if task.labels or task.kind == "mlm" or not isinstance(source, Files) or not source.label_file:
        return task
    path = Path(data_dir or "") / source.folder / source.label_file
    if data_dir is None or not path.is_file():
        raise InputError(f"task {task.name!r}: {path} must list the labels, one per line, but there is no such file.")
    labels = tuple(line for _, line in text_lines(path) if line.strip())
    check_labels(task.kind, labels, f"task {task.name!r}, {path}")
    return replace(task, labels=labels)


def _joined(joined: Joined, split: str, data_dir: Path | str | None, remarks: Remarks) -> Iterator[Record]:
    for part in joined.having(split):
        for record in load_records(part, split, data_dir, remarks):
            yield record | {"id": f"{part.name}/{record['id']}"}


def source_identity(task: Task, split: str, data_dir: Path | str | None = None) -> str | None:
    """What decides the records of a split: the files' contents, the Hub's commit or the generator, and the code that reads.

    None where that is not known beforehand: sets on the Hub that are not pinned to a commit, and what is joined of such.
    """
    source = source_of(task, split, data_dir)
    if isinstance(source, Files):
        paths, _ = existing_paths(task, source, split, data_dir)
        made_of = [[path.name, _file_hash(path)] for path in paths]
        made_of.append(list(with_labels(task, data_dir).labels))
    elif isinstance(source, Hub) and source.revision is not None and source.revision != CONVERTED:
        made_of = [[source.id, source.revision], [source.config_of(split) or "", source.splits[split]]]
    elif isinstance(source, Generated) and inspect.isfunction(source.generate):
        code = _code_hash(Path(inspect.getfile(source.generate)).parent)
        made_of = [[str(source.version), code], [*source.splits]]
    elif isinstance(source, Joined):
        parts = [(part.name, source_identity(part, split, data_dir)) for part in source.having(split)]
        made_of = [[name, identity] for name, identity in parts if identity is not None]
        if len(made_of) < len(parts):
            return None
    else:
        return None
    return hashlib.sha256(
        json.dumps([task.name, split, made_of, _code_hash(Path(__file__).parent)]).encode()
    ).hexdigest()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _code_hash(folder: Path) -> str:
    return "".join(_file_hash(path) for path in sorted(folder.glob("*.py")))


def available(task: Task, split: str, data_dir: Path | str | None = None) -> bool:
    """Whether the split exists and, for a task of files, all its files lie in `data_dir`; of joined tasks, in all parts."""
    source = source_of(task, split, data_dir)
    if isinstance(source, Joined):
        parts = source.having(split)
        return bool(parts) and all(available(part, split, data_dir) for part in parts)
    if not isinstance(source, Files):
        return split in source.splits
    if data_dir is None:
        return False
    folder = Path(data_dir) / source.folder
    names = source.chosen(folder).splits.get(split, ())
    return bool(names) and all(source.found(folder, name) for name in names)


def digest(records: Iterable[Record]) -> str:
    """SHA-256 over the canonical JSON of the records in order, as 64 hexadecimal digits: the identity of the examples.

    Records that `load_records` returned always have one.
    """
    encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
    total = hashlib.sha256()
    for record in records:
        total.update(encode(record).encode())
        total.update(b"\n")
    return total.hexdigest()


def _check_split(task: Task, split: str, splits: Iterable[str]) -> None:
    known = list(splits)
    if split not in known:
        hint = nearest(split, known)
        raise InputError(f"task {task.name!r}: the split must be one of {', '.join(known)}, but got {split!r}.{hint}")


def existing_paths(task: Task, files: Files, split: str, data_dir: Path | str | None) -> tuple[tuple[Path, ...], Files]:
    """Paths of a split's files, and the task's files or the alternative that the folder holds; `InputError` without."""
    where = f"task {task.name!r}"
    _check_split(task, split, files.splits)
    if data_dir is None:
        raise InputError(f"{where}: a data directory must be given, but got none; set --data-dir or XLRAY_DATA_DIR.")
    folder = Path(data_dir) / files.folder
    chosen = files.chosen(folder)
    _check_split(task, split, chosen.splits)
    found = [(name, chosen.found(folder, name)) for name in chosen.splits[split]]
    missing = [name for name, paths in found if not paths]
    if not missing:
        return tuple(path for _, paths in found for path in paths), chosen
    law = f"{where}, split {split!r}: the file(s) {', '.join(missing)} must lie in {folder}"
    if not Path(data_dir).is_dir():
        raise InputError(f"{law}, but {data_dir} is not a directory; set --data-dir or XLRAY_DATA_DIR.")
    if not folder.is_dir():
        known = sorted(path.name for path in Path(data_dir).iterdir() if path.is_dir())
        raise InputError(f"{law}, but there is no such folder.{nearest(files.folder, known)}")
    others = {", ".join(other.splits.get(split, ())) for other in files.when_present.values()} - {
        "",
        ", ".join(missing),
    }
    if others and chosen is files:
        law += f" (or {', or '.join(sorted(others))})"
    held = sorted(path.name for path in folder.iterdir())
    raise InputError(f"{law}, but the folder holds {listed(held) or 'nothing'}.{nearest(missing[0], held)}")


def _checked(task: Task, split: str, records: Iterable[Record], place: Place) -> list[Record]:
    checked: list[Record] = []
    seen: set[str] = set()
    part = split.partition("/")[0]
    for read in records:
        where = place(read)
        with one_example():
            record = read if task.repair is None else task.repair(read)
            if record is None:
                continue
            check_record(task, record, where, strict=part == "train")
            if record["id"] in seen:
                raise InputError(f"{where}: ids must be unique within a split, but this one came before.")
            check_labelled(task.kind, part, record, where)
            seen.add(record["id"])
            checked.append(record)
    if not checked:
        raise InputError(f"{place(None)}: a split must hold at least one record, but this one holds none.")
    return checked


def check_record(task: Task, record: Record, where: str, strict: bool = True) -> None:
    """Check one record against the definition of its task.

    Args:
        task: the task.
        record: the record.
        where: its place, for messages.
        strict: tags must follow IOB2. Otherwise an `I-X` that follows no X begins a span, as seqeval scores it.

    Raises:
        InputError: a field is missing, unexpected or of the wrong type; a label lies outside the task's; tokens and
            tags differ in number; tags break IOB2; there are fewer than two choices, or the right one is there twice; an
            answer is not in its context.
    """
    if record.keys() != FIELDS[task.kind]:
        fail(where, f"a {task.kind} record must have the fields {sorted(FIELDS[task.kind])}", sorted(record))
    _check_text(record["id"], "id", where)
    CHECKS[task.kind](task, record, where)
    if task.kind == "tagging" and strict and record["tags"] is not None:
        check_iob2(record["tags"], where)


def _check_text(value: Any, name: str, where: str) -> None:
    if not isinstance(value, str) or not value.strip():
        fail(where, f"{name!r} must be text that is not blank", value)
    _check_unicode(value, name, where)


def _check_unicode(value: str, name: str, where: str) -> None:
    # JSON can spell half of a surrogate pair, which no file and no tokenizer can take.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            fail(where, f"{name!r} must be valid Unicode", value[error.start : error.end])


def _check_texts(record: Record, where: str) -> None:
    _check_text(record["text"], "text", where)
    if record["text_pair"] is not None:
        _check_text(record["text_pair"], "text_pair", where)


def _check_classification(task: Task, record: Record, where: str) -> None:
    _check_texts(record, where)
    label = record["label"]
    if label is not None and label not in task.labels:
        fail(where, f"'label' must be one of {listed(task.labels)}", label)


def _check_regression(task: Task, record: Record, where: str) -> None:
    _check_texts(record, where)
    label, (low, high) = record["label"], task.scale
    if label is not None and (not isinstance(label, float) or not low <= label <= high):
        fail(where, f"'label' must be a number from {low} to {high}", label)


def _check_choices(task: Task, record: Record, where: str) -> None:
    _check_text(record["question"], "question", where)
    choices, label = record["choices"], record["label"]
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(choice, str) for choice in choices):
        fail(where, "'choices' must be a list of two or more texts", choices)
    if not isinstance(record["context"], str):
        fail(where, "'context' must be text", record["context"])
    for name, text in (("context", record["context"]), *(("choices", choice) for choice in choices)):
        _check_unicode(text, name, where)
    if label is not None and (type(label) is not int or not 0 <= label < len(choices)):
        fail(where, f"'label' must be the index of one of {len(choices)} choices", label)
    if label is not None and choices.count(choices[label]) > 1:
        fail(where, "the text of the right choice must be there once", choices)


def _check_span(task: Task, record: Record, where: str) -> None:
    _check_text(record["question"], "question", where)
    _check_text(record["context"], "context", where)
    if not isinstance(record["answers"], list):
        fail(where, "'answers' must be a list", record["answers"])
    for answer in record["answers"]:
        match answer:
            case {"text": str(text), "start": int(start)} if len(answer) == 2 and text and start >= 0:
                if not record["context"].startswith(text, start):
                    fail(
                        where,
                        f"the answer {shown(text)} must stand at character {start}",
                        record["context"][start:][:40],
                    )
            case _:
                fail(where, "an answer must be {text, start}", answer)


def _check_tagging(task: Task, record: Record, where: str) -> None:
    tokens, tags = record["tokens"], record["tags"]
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) and token for token in tokens):
        fail(where, "'tokens' must be a list of texts that are not empty", tokens)
    _check_unicode("".join(tokens), "tokens", where)
    if tags is None:
        return
    if not isinstance(tags, list) or len(tags) != len(tokens):
        fail(where, f"'tags' must be a list of {len(tokens)}, one for each token", tags)
    for position, tag in enumerate(tags, 1):
        if tag not in task.labels:
            fail(where, f"the tag of token {position} must be one of {listed(task.labels)}", tag)


def check_iob2(tags: Sequence[str], where: str) -> None:
    """Check that tags, where they are `B-X`, `I-X` and `O`, follow IOB2.

    Raises:
        InputError: `I-X` follows neither `B-X` nor `I-X`.
    """
    previous = "O"
    for position, tag in enumerate(tags, 1):
        if tag.startswith("I-") and previous[2:] != tag[2:]:
            fail(
                where,
                f"the tags must be IOB2, where {tag} follows B-{tag[2:]} or {tag}",
                f"{previous} before token {position}",
            )
        previous = tag


def _check_pair(task: Task, record: Record, where: str) -> None:
    _check_texts(record, where)
    if task.kind == "retrieval" and record["text_pair"] is None:
        fail(where, "'text_pair' must be there", None)


CHECKS: dict[str, Callable[[Task, Record, str], None]] = {
    "classification": _check_classification,
    "regression": _check_regression,
    "multiple_choice": _check_choices,
    "span_qa": _check_span,
    "tagging": _check_tagging,
    "mlm": _check_pair,
    "retrieval": _check_pair,
}
