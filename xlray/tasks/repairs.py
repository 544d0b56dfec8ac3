"""Repairs: what is done about the defects that a task's publishers' own data have, whichever source they are read from.

A repair makes a record of a record, before its checks; or None, counted by `leave_out`. A task that has none is taken as
it is, and a defect refuses it.
"""

from __future__ import annotations

from typing import Any

from xlray.tasks.lines import leave_out
from xlray.tasks.task import Record


def begun_spans(record: Record) -> Record:
    """Tagging: an `I-X` that follows no X begins a span, as CoNLL's evaluation and seqeval take it, and becomes `B-X`.

    So IOB1, which has `B-X` only between neighbours, and bare types written `I-X` become IOB2.
    """
    if record["tags"] is None:
        return record
    before = ["O", *record["tags"]]
    return record | {
        "tags": [
            f"B-{tag[2:]}" if tag.startswith("I-") and last[2:] != tag[2:] else tag
            for last, tag in zip(before, record["tags"], strict=False)
        ]
    }


def spans_of_characters(record: Record) -> Record | None:
    """Tagging of characters: blank ones are dropped, then as `begun_spans`."""
    if record["tags"] is None:
        return record
    pairs = zip(record["tokens"], record["tags"], strict=True)
    kept = [(token, tag) for token, tag in pairs if not (isinstance(token, str) and not token.strip())]
    if not kept:
        leave_out("sentences without characters")
        return None
    return begun_spans(record | {"tokens": [token for token, _ in kept], "tags": [tag for _, tag in kept]})


def spans_of_types(record: Record) -> Record:
    """Tagging with bare types, `X` for `B-X` and `I-X`, and a zero for the letter `O`: neighbours of a type are one span."""
    if record["tags"] is None:
        return record
    return begun_spans(record | {"tags": ["O" if tag in ("O", "0") else f"I-{tag}" for tag in record["tags"]]})


def placed_answers(record: Record, *, unanswerable: bool = False) -> Record | None:
    """Span QA: an answer that does not stand where it says is moved to the only place where it stands, or dropped.

    Blanks around the question, the passage and the answers are dropped first; the Hub's copies of many sets lack them. A
    question that is blank or has no answer left is left out.

    Args:
        record: the record.
        unanswerable: questions may have no answer from the beginning.
    """
    question, passage = record["question"].strip(), record["context"]
    context = passage.strip()
    shift = len(passage) - len(passage.lstrip())
    placed = [_placed(answer["text"].strip(), answer["start"] - shift, context) for answer in record["answers"]]
    answers = [answer for answer in placed if answer is not None]
    if not question:
        leave_out("blank questions")
        return None
    if not record["answers"] and not unanswerable:
        leave_out("questions without an answer")
        return None
    if record["answers"] and not answers:
        leave_out("questions whose answers do not stand in the passage, or in several places but where they say")
        return None
    return record | {"question": question, "context": context, "answers": answers}


def _placed(text: str, start: int, context: str) -> dict[str, Any] | None:
    if start >= 0:  # the blanks that the answer began with
        start += len(context[start:]) - len(context[start:].lstrip())
    if not text or start < 0 or not context.startswith(text, start):
        start = context.find(text) if text else -1
        if start < 0 or context.find(text, start + 1) >= 0:
            return None
    return {"text": text, "start": start}
