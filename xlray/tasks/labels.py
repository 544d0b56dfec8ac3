"""Which records of a split must have labels: all but those of a test set whose labels are hidden."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from xlray.errors import InputError
from xlray.tasks.lines import shown
from xlray.tasks.task import Record, Task

Place: TypeAlias = Callable[[Record | None], str]  # names a record in messages, or its split


def check_labelled(kind: str, part: str, record: Record, where: str) -> None:
    """Raise `InputError` where a record has no label, unless it is of a test set.

    Args:
        kind: of the task.
        part: "train", "dev", "test" or "all".
        record: the record.
        where: its place, for messages.
    """
    if part != "test" and _lacks_label(record):
        raise InputError(_message(kind, "training" if part == "train" else part, record, where))


def is_unlabelled(task: Task, split: str, records: Sequence[Record], place: Place) -> bool:
    """Whether a split is a test set whose labels are hidden.

    Raises:
        InputError: only some of its labels are there; its tags are there, but in no column of their own; or none of its
            questions has an answer, and it is no test set.
    """
    if task.kind == "span_qa":
        hidden = not any(record["answers"] for record in records)
        if hidden and not split.startswith("test/"):
            raise InputError(f"{place(None)}: a question must have an answer, but none of {len(records)} has one.")
        return hidden
    lacking = [record for record in records if _lacks_label(record)]
    if lacking and len(lacking) < len(records):
        law = f"a test set must have all its labels or none, but {len(lacking)} of {len(records)} records have none"
        raise InputError(f"{place(lacking[0])}: {law}.")
    if lacking and task.kind == "tagging" and all(_ends_in_tags(record, task.labels) for record in lacking):
        raise InputError(_message(task.kind, "test", lacking[0], place(lacking[0])))
    return bool(lacking)


def _lacks_label(record: Record) -> bool:
    return None in (record.get("label", ""), record.get("tags", ""))


def _message(kind: str, part: str, record: Record, where: str) -> str:
    law = f"{where}: a {part} record must have a label"
    if kind != "tagging":
        return f"{law}, but got none."
    return f"{law} (in columns: a token, the separator and a tag in each line), but got {shown(record['tokens'][0])}."


def _ends_in_tags(record: Record, labels: Sequence[str]) -> bool:
    """Whether each token is a word, white space and a tag: a file of columns with another separator."""
    parts = [token.split() for token in record["tokens"]]
    return all(len(words) > 1 and words[-1] in labels for words in parts)
