"""Controls made of a task: its labels shuffled among its examples, or its texts with words masked in place of labels.

A control is a task of its own, as its name says: `rte.shuffled0`, `rte.masked`. What trains, reports and hashes knows
nothing of controls; what they hold decides the identity of phases, as ever.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from xlray.config.controls import Control, control_named
from xlray.data.mixture import hashed_order
from xlray.errors import InputError
from xlray.tasks.task import Joined, Record, Task

CONTROLS_VERSION = 1  # bumped when the same examples give other controls


def control_task(name: str, control: Control, task: Task) -> Task:
    """The task that a control is.

    Raises:
        InputError: it cannot be made of that task.
    """
    if control_named(control.task) is not None:
        raise InputError(f"task {name!r}: a control is made of a task, but {control.task!r} is a control.")
    if task.role != "intermediate" or task.kind == "mlm":
        what = f"role {task.role!r} and kind {task.kind!r}"
        raise InputError(
            f"task {name!r}: a control is made of an intermediate task with labels, but {task.name!r} is of {what}."
        )
    if control.seed is not None:
        return replace(task, name=name)
    source = task.source
    if isinstance(source, Joined):  # whose parts are of its kind
        source = Joined(tuple(control_task(part.name, control, part) for part in source.parts))
    return replace(task, name=name, kind="mlm", source=source, labels=(), headline=(), scale=(0.0, 1.0))


def control_records(control: Control, task: Task, records: Sequence[Record]) -> list[Record]:
    """The examples of a control, as many as the task's and of the same ids and texts.

    Shuffled, each example gets the label of the next one in an order by hash of (seed, id), so no example is given its own
    label back (another's may be equal) and the labels stay as frequent as they are. A span of another passage lies at the
    same share of the way through this one, a tag sequence is cut or repeated to the length of the sentence, and the index of
    a choice wraps around.

    Args:
        task: that the records are of.
    """
    if control.seed is None:
        return [{"id": record["id"], **_TEXTS.get(task.kind, _pair)(record)} for record in records]
    order = hashed_order(
        [record["id"] for record in records], f"shuffled labels {control.seed} of {task.name}"
    ).tolist()
    following = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    given = _GIVEN.get(task.kind, _label)
    return [{**record, **given(record, records[following[i]])} for i, record in enumerate(records)]


# --- shuffled labels: (the example, the one whose label it gets) -> its new label ----------------------------------------


def _label(record: Record, other: Record) -> dict[str, Any]:
    return {"label": other["label"]}


def _choice(record: Record, other: Record) -> dict[str, Any]:
    return {"label": other["label"] % len(record["choices"])}


def _tags(record: Record, other: Record) -> dict[str, Any]:
    return {"tags": list(itertools.islice(itertools.cycle(other["tags"]), len(record["tokens"])))}


def _answers(record: Record, other: Record) -> dict[str, Any]:
    return {"answers": [_placed(answer, len(other["context"]), record["context"]) for answer in other["answers"]]}


def _placed(answer: Any, length: int, passage: str) -> dict[str, Any]:
    """As long a piece of the passage, as far through it as the answer was through its own of `length` characters."""
    size = min(len(answer["text"]), len(passage))
    start = min(round(answer["start"] / length * len(passage)), len(passage) - size)
    text = passage[start : start + size].strip()
    if not text:  # a gap between words: the next word, or the last one
        words = list(re.finditer(r"\S+", passage))
        word = next((w for w in words if w.start() >= start), words[-1])
        return {"text": word[0], "start": word.start()}
    return {"text": text, "start": passage.index(text[0], start)}


_GIVEN: dict[str, Callable[[Record, Record], dict[str, Any]]] = {
    "multiple_choice": _choice,
    "tagging": _tags,
    "span_qa": _answers,
}


# --- masked words: an example -> its texts, all of them, so that no label can be read from what is left out ---------------


def _pair(record: Record) -> dict[str, Any]:
    return {"text": record["text"], "text_pair": record["text_pair"]}


def _sentence(record: Record) -> dict[str, Any]:
    return {"text": " ".join(record["tokens"]), "text_pair": None}


def _question(record: Record) -> dict[str, Any]:
    return {"text": record["question"], "text_pair": record["context"]}


def _choices(record: Record) -> dict[str, Any]:
    asked = " ".join(filter(None, (record["context"], record["question"])))
    return {"text": asked, "text_pair": " ".join(record["choices"])}


_TEXTS: dict[str, Callable[[Record], dict[str, Any]]] = {
    "tagging": _sentence,
    "span_qa": _question,
    "multiple_choice": _choices,
}
