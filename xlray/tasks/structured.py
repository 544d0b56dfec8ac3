"""Shapes of sets on the Hub whose rows have a structure: spans, tags, lettered choices, answers, translations.

As in `shapes`, a shape makes a row the fields of a record, or None for a row that is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xlray.tasks.lines import fail, leave_out, listed, member
from xlray.tasks.shapes import Number, Row, labelled, multiple_choice, told_apart
from xlray.tasks.task import Record


def span_answers(
    row: Row,
    where: str,
    *,
    prefix: str = "",
    unanswerable: bool = False,
    impossible: str | None = None,
) -> Record | None:
    """SQuAD as a table: `question`, `context`, and `answers` with `text` and `answer_start`.

    Args:
        row: the row.
        where: its place, for messages.
        prefix: what the `id` of a row starts with; other rows are not of the task (TyDi QA holds its languages in one
            table).
        unanswerable: questions may have no answer.
        impossible: name of the column that is true where the answers are only plausible, and the question has none.
    """
    if prefix and not member(row, "id", str, where).startswith(prefix):
        return None
    has_none = impossible is not None and member(row, impossible, bool, where)
    answers = [] if has_none else structs(row, "answers", ("text", "answer_start"), where)
    if not (answers or has_none or unanswerable):
        fail(where, "a question must have an answer", "none")
    return {
        "question": member(row, "question", str, where),
        "context": member(row, "context", str, where),
        "answers": [span_answer(answer, where) for answer in answers],
    }


def span_answer(answer: Any, where: str) -> dict[str, Any]:
    """SQuAD's `text` and `answer_start` of one answer; whether it stands there is checked of every record."""
    return {"text": member(answer, "text", str, where), "start": member(answer, "answer_start", int, where)}


def structs(row: Row, key: str, names: tuple[str, ...], where: str) -> list[Row]:
    """A column of structs, which arrives as a list of dicts or as a dict of lists.

    Raises:
        InputError: it is neither, or the lists differ in length.
    """
    value = member(row, key, (dict, list), where)
    if isinstance(value, list):
        return value
    columns = [member(value, name, list, where) for name in names]
    if len({len(column) for column in columns}) > 1:
        fail(where, f"the lists of {key!r} must be of one length", [len(column) for column in columns])
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def tagged(row: Row, where: str, *, tags: str = "ner_tags", names: tuple[str, ...] = ()) -> Record | None:
    """Tokens and the numbers of their tags. A row without tokens is left out.

    Args:
        row: the row.
        where: its place, for messages.
        tags: name of the column of the tags.
        names: the tags in the order of the publisher's numbers; empty where the column holds the tags themselves.
    """
    tokens, numbers = member(row, "tokens", list, where), member(row, tags, list, where)
    if len(tokens) != len(numbers):
        fail(where, f"{tags!r} must hold a tag for each of {len(tokens)} tokens", f"{len(numbers)} tags")
    if not tokens:
        leave_out("rows without tokens")
        return None
    return {"tokens": tokens, "tags": [_tag(number, tags, names, where) for number in numbers]}


def _tag(value: Any, column: str, names: tuple[str, ...], where: str) -> str:
    if not names and isinstance(value, str):
        return value
    if type(value) is not int or not 0 <= value < len(names):
        fail(
            where,
            f"{column!r} must hold numbers of {len(names)} tags" if names else f"{column!r} must hold texts",
            value,
        )
    return names[value]


def lettered(
    row: Row,
    where: str,
    *,
    question: str,
    choices: str,
    answer: str,
    context: str | None = None,
    left_out: tuple[str, ...] = ("",),
) -> Record | None:
    """A question and the letter of its right choice. A row with a blank question is left out.

    Args:
        row: the row.
        where: its place, for messages.
        question: key of the question.
        choices: key of the choices: texts, which then go by the letters A, B, ..., or structs of `label` and `text`.
        answer: key of the letter.
        context: key of the passage, if there is one.
        left_out: letters that mean "no answer"; such rows are left out.
    """
    letter, text = member(row, answer, str, where), member(row, question, str, where)
    if letter in left_out or not text.strip():
        leave_out("rows without a question or its answer")
        return None
    known = member(row, choices, (dict, list), where)
    if isinstance(known, list) and all(isinstance(choice, str) for choice in known):
        known = [{"label": chr(ord("A") + index), "text": choice} for index, choice in enumerate(known)]
    else:
        known = structs(row, choices, ("label", "text"), where)
    labels = [member(choice, "label", str, where) for choice in known]
    if letter not in labels:
        fail(where, f"{answer!r} must be one of {listed(labels)}", letter)
    return {
        "context": member(row, context, str, where) if context else "",
        "question": text,
        **told_apart([member(choice, "text", str, where) for choice in known], labels.index(letter)),
    }


def exam(row: Row, where: str) -> Record | None:
    """EXAMS: the question is a struct of `stem` and `choices`. A few rows have the key `@`, which is no choice."""
    question = member(row, "question", dict, where)
    return lettered(
        question | {"answerKey": row.get("answerKey")},
        where,
        question="stem",
        choices="choices",
        answer="answerKey",
        left_out=("", "@"),
    )


def social(row: Row, where: str) -> Record | None:
    """Social IQa: the right answer is the number `label`, or in version 1.4 the letter `correct`."""
    if "correct" in row:
        letter = member(row, "correct", str, where)
        if letter not in ("A", "B", "C"):
            fail(where, "'correct' must be one of A, B, C", letter)
        row = row | {"label": "ABC".index(letter) + 1}
    return multiple_choice(
        row,
        where,
        context="context",
        question="question",
        choices=("answerA", "answerB", "answerC"),
        label=Number(first=1),
    )


def distractors(row: Row, where: str) -> Record | None:
    """SciQ: the right answer and three wrong ones, which are put in alphabetical order; the support may be empty."""
    right = member(row, "correct_answer", str, where)
    choices = sorted([right, *(member(row, f"distractor{number}", str, where) for number in (1, 2, 3))])
    return {
        "context": member(row, "support", str, where),
        "question": member(row, "question", str, where),
        **told_apart(choices, choices.index(right)),
    }


def blank_filled(row: Row, where: str) -> Record | None:
    """WinoGrande: the question is the sentence with its blank `_`, a choice the option and what follows the blank."""
    sentence = member(row, "sentence", str, where)
    _, blank, rest = sentence.partition("_")
    if not blank:
        fail(where, "'sentence' must hold a blank `_`", sentence)
    options = {name: member(row, name, str, where) + rest for name in ("option1", "option2")}
    return multiple_choice(
        row | options,
        where,
        question="sentence",
        choices=("option1", "option2"),
        label=Number("answer", 1, left_out=("",)),
    )


def checked_answer(row: Row, where: str, *, names: Mapping[str, str]) -> Record | None:
    """MultiRC: the paragraph, the pair of question and answer, and whether the answer is right (-1: not told)."""
    words = [member(row, name, str, where) for name in ("question", "answer")]
    joined = row | {"pair": " ".join(words)}
    return labelled(joined, where, text="paragraph", text_pair="pair", label="label", names=names, left_out=("-1",))


def translation(row: Row, where: str) -> Record | None:
    """Tatoeba: a sentence and its English translation, as a rule in this order; both end in a line end."""
    source, target = (member(row, name, str, where).strip() for name in ("source_sentence", "target_sentence"))
    english, other = (source, target) if member(row, "source_lang", str, where) == "eng" else (target, source)
    return {"text": english, "text_pair": other}
