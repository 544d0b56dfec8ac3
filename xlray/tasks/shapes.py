"""Shapes: one row of a table or one JSON object becomes the fields of a record, or None for a row that is left out.

A shape is used through `functools.partial` with the publisher's names of columns or keys. The readers add the id. What is
left out is counted with `leave_out`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xlray.tasks.lines import fail, leave_out, listed, member
from xlray.tasks.task import Record, Shape

Row = dict[str, Any]

UNLABELLED = "rows without a label"
COPA_QUESTIONS = {"cause": "What was the cause of this?", "effect": "What happened as a result?"}


def named(value: str, names: Mapping[str, str], where: str) -> str:
    """Our name of a publisher's label.

    Raises:
        InputError: the label is none of the publisher's.
    """
    if value not in names:
        fail(where, f"the label must be one of {listed(names)}", value)
    return names[value]


def labelled(
    row: Row,
    where: str,
    *,
    text: str,
    label: str,
    text_pair: str | None = None,
    names: Mapping[str, str] | None = None,
    left_out: tuple[str, ...] = (),
) -> Record | None:
    """Classification: a text or a pair, and a label.

    Args:
        row: the row; numbers as labels are taken as their text.
        where: its place, for messages.
        text: name of the column of the text.
        label: name of the column of the label.
        text_pair: name of the column of the second text, if there is one.
        names: the publisher's labels to ours; None keeps them.
        left_out: labels that mean "no label"; such rows are left out.
    """
    value = str(member(row, label, (str, int), where))
    if value in left_out:
        leave_out(UNLABELLED)
        return None
    return {
        "text": member(row, text, str, where),
        "text_pair": member(row, text_pair, str, where) if text_pair else None,
        "label": named(value, names, where) if names else value,
    }


def classified(
    row: Row,
    where: str,
    *,
    text: str,
    names: tuple[str, ...] | Mapping[str, str],
    label: str = "label",
    text_pair: str | None = None,
    unlabelled: tuple[str, ...] = ("-1",),
) -> Record | None:
    """Classification as published, on the Hub and in files; rows without a label or with a blank text are left out.

    Args:
        row: the row.
        where: its place, for messages.
        text: name of the column of the text.
        names: our names of the labels in the order of the publisher's numbers, which files may spell out; or by the
            publisher's names.
        label: name of the column of the label.
        text_pair: name of the column of the second text, if there is one.
        unlabelled: labels that mean "no label".
    """
    # Sets of hundreds of thousands of crawled or translated texts hold a few empty ones.
    if any(key in row and _is_blank(row[key]) for key in (text, text_pair)):
        leave_out("rows with a blank text")
        return None
    if isinstance(names, Mapping):
        ours = names
    else:
        ours = {str(number): name for number, name in enumerate(names)} | {name: name for name in names}
    return labelled(row, where, text=text, label=label, text_pair=text_pair, names=ours, left_out=unlabelled)


def told(row: Row, where: str, *, shape: Shape) -> Record | None:
    """A row of SuperGLUE's files, which write `true` and `false` where the Hub has 1 and 0."""
    return shape(row | {"label": int(member(row, "label", bool, where))}, where)


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def scored(row: Row, where: str, *, text: str, text_pair: str, label: str) -> Record | None:
    """Regression: a pair and a number."""
    value = member(row, label, (str, int, float), where)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        fail(where, f"{label!r} must be a number", value)
    return {"text": member(row, text, str, where), "text_pair": member(row, text_pair, str, where), "label": number}


@dataclass(frozen=True)
class Number:
    """Where a row has the number of its right choice.

    Attributes:
        key: of the number, which may be written as text in any script's digits.
        first: the number of the first choice.
        left_out: what means "no label"; such rows are left out.
    """

    key: str = "label"
    first: int = 0
    left_out: tuple[str, ...] = ()


def multiple_choice(
    row: Row,
    where: str,
    *,
    question: str,
    choices: tuple[str, ...] | str,
    label: Number = Number(),
    context: str | None = None,
) -> Record | None:
    """A question, its choices and the number of the right one.

    Args:
        row: the row.
        where: its place, for messages.
        question: key of the question.
        choices: keys of the choices, or the one key of a list of them.
        label: of the right one.
        context: key of the passage, if there is one.
    """
    value = member(row, label.key, (int, str), where)
    if str(value) in label.left_out:
        leave_out(UNLABELLED)
        return None
    if isinstance(choices, str):
        texts = member(row, choices, list, where)
    else:
        texts = [member(row, key, str, where) for key in choices]
    index = whole_number(value, label.key, where) - label.first
    if not 0 <= index < len(texts):
        fail(where, f"{label.key!r} must be the number of one of {len(texts)} choices from {label.first}", value)
    return {
        "context": member(row, context, str, where) if context else "",
        "question": member(row, question, str, where),
        **told_apart(texts, index),
    }


def told_apart(choices: list[Any], label: int) -> Record:
    """`choices` and `label` of a record, without choices that repeat the right one's text: they would be right, too.

    Published sets have a few; no question becomes another by it.
    """
    right = choices[label]
    kept = [choice for index, choice in enumerate(choices) if index == label or choice != right]
    return {"choices": kept, "label": kept.index(right)}


def copa(row: Row, where: str) -> Record | None:
    """COPA: the premise is the context, and the kind of question is put into words as in SuperGLUE's baselines."""
    fields = multiple_choice(row, where, question="question", choices=("choice1", "choice2"))
    assert fields is not None
    fields["question"] = named(fields["question"], COPA_QUESTIONS, where)
    return fields | {"context": member(row, "premise", str, where)}


def whole_number(value: int | str, name: str, where: str) -> int:
    """The number, also where it is written as text.

    Raises:
        InputError: it is not a whole number.
    """
    try:
        return int(value)
    except ValueError:
        fail(where, f"{name!r} must be a whole number", value)
