"""A task's examples as the model sees them: token pieces and what the head reads; their labels and lengths, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from xlray.data.tokenization import Vocabulary, tokenise
from xlray.phases.spec import DataSpec
from xlray.tasks.task import Record, Task

MAX_MEASURED = 2_000  # records whose length is taken
LIMITS = (128, 256, 384)  # lengths that recipes commonly allow
NUM_BINS = 12
NUM_LABELS = 20
UNREACHED = 1_000_000  # a length that cuts nothing
STRIDE = 128


@dataclass(frozen=True)
class View:
    """One row of an example as the model sees it.

    Attributes:
        record: id of the example.
        label: its label in words; empty where there is one per token, or none.
        window: which of the example's windows this is, from 1: of span QA the first with the answer.
        num_windows: rows that the example is cut into.
        sequences: pieces of each sequence, special tokens too; several for multiple choice and retrieval.
        reads: of each sequence the positions whose states the head reads.
        tags: of each read its tag; empty but for tagging.
        answer: first and last position of the answer in the window, or None.
    """

    record: str
    label: str
    window: int
    num_windows: int
    sequences: tuple[tuple[str, ...], ...]
    reads: tuple[tuple[int, ...], ...]
    tags: tuple[str, ...] = ()
    answer: tuple[int, int] | None = None


@dataclass(frozen=True)
class Bin:
    """How many values lie in `low <= value <= high` (whole numbers) or `low <= value < high` (others; the last closed)."""

    low: float
    high: float
    count: int


@dataclass(frozen=True)
class Lengths:
    """Lengths of examples or answers.

    Attributes:
        unit: "tokens", or "words" as split at spaces.
        counted: how many were measured, out of `total`.
        over: limit to the number of those measured that exceed it.
    """

    unit: str
    counted: int
    total: int
    median: int
    p95: int
    maximum: int
    over: dict[int, int]
    histogram: tuple[Bin, ...]


@dataclass(frozen=True)
class Distribution:
    """The labels of a split.

    Attributes:
        what: "labels", "tags" (one per token), "choices" (position of the right one, from 0), "values" or "answers".
        total: labelled units: examples, or tokens for tags.
        unlabelled: units without a label; for answers the examples without one.
        num_distinct: distinct labels.
        most_common: the first `NUM_LABELS` with their counts.
        histogram: of values.
        lengths: of answers.
    """

    what: str
    total: int
    unlabelled: int
    num_distinct: int = 0
    most_common: tuple[tuple[str, int], ...] = ()
    histogram: tuple[Bin, ...] = ()
    lengths: Lengths | None = None


def view_length(kind: str) -> int:
    """The longest sequence in views: questions with passages get more, as is usual."""
    return 384 if kind == "span_qa" else 256


def views(task: Task, records: Sequence[Record], vocabulary: Vocabulary) -> Iterator[View]:
    """One view of each record, tokenised as for training."""
    spec = _spec(task, view_length(task.kind), STRIDE)
    rows = groupby(tokenise(spec, records, vocabulary), key=lambda row: row.record)
    for number, group in rows:
        yield _view(task, records[number], list(group), vocabulary)


def _spec(task: Task, max_length: int, stride: int) -> DataSpec:
    return DataSpec(task.name, task.kind, "", "", 0, max_length, stride, tuple(task.labels), task.scale)


def _view(task: Task, record: Record, rows: Sequence[Any], vocabulary: Vocabulary) -> View:
    with_answer = [i for i, row in enumerate(rows) if task.kind == "span_qa" and row.labels != [0, 0]]
    window = with_answer[0] if with_answer else 0
    row = rows[window]
    pieces = [str(vocabulary.tokenizer.id_to_token(token)) for token in row.tokens]
    sequences, reads, start = [], [], 0
    for length in row.lengths:
        sequences.append(tuple(pieces[start : start + length]))
        reads.append(tuple(p - start for p in row.reads if start <= p < start + length))
        start += length
    answer = (row.reads[row.labels[0]], row.reads[row.labels[1]]) if with_answer else None
    tags = tuple(task.labels[tag] for tag in row.labels if tag >= 0) if task.kind == "tagging" else ()
    return View(record["id"], _label(task, record), window + 1, len(rows), tuple(sequences), tuple(reads), tags, answer)


def _label(task: Task, record: Record) -> str:
    label = record.get("label")
    if task.kind == "span_qa":
        return repr(record["answers"][0]["text"]) if record["answers"] else "no answer"
    if task.kind in ("tagging", "mlm", "retrieval"):
        return ""
    if label is None:
        return "none"
    if task.kind == "regression":
        low, high = task.scale
        return f"{label:g}, to the model {(label - low) / (high - low):.3f}"
    return f"choice {label + 1}" if task.kind == "multiple_choice" else str(label)


def lengths_of(task: Task, records: Sequence[Record], vocabulary: Vocabulary | None) -> Lengths:
    """How long examples are before anything is cut; of several sequences the longest counts.

    Args:
        vocabulary: counts tokens, special ones too; None counts words.
    """
    some = _some(records)
    if vocabulary is None:
        found = [_num_words(task.kind, record) for record in some]
    else:
        found = [max(row.lengths) for row in tokenise(_spec(task, UNREACHED, 0), some, vocabulary)]
    return _lengths(found, len(records), vocabulary)


def _some(records: Sequence[Record]) -> list[Record]:
    """At most `MAX_MEASURED` records, evenly over all: files are often sorted."""
    number = min(len(records), MAX_MEASURED)
    return [records[i * len(records) // number] for i in range(number)]


def _num_words(kind: str, record: Record) -> int:
    match kind:
        case "tagging":
            return len(record["tokens"])
        case "span_qa":
            return _words(record["question"], record["context"])
        case "multiple_choice":
            return max(_words(record["context"], record["question"], choice) for choice in record["choices"])
        case "retrieval":
            return max(_words(record["text"]), _words(record["text_pair"]))
    return _words(record["text"], record["text_pair"] or "")


def _words(*texts: str) -> int:
    return sum(len(text.split()) for text in texts)


def _lengths(found: Sequence[int], total: int, vocabulary: Vocabulary | None) -> Lengths:
    ordered = sorted(found)

    def quantile(share: float) -> int:
        return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]

    return Lengths(
        unit="words" if vocabulary is None else "tokens",
        counted=len(ordered),
        total=total,
        median=quantile(0.5),
        p95=quantile(0.95),
        maximum=ordered[-1],
        over={limit: sum(value > limit for value in ordered) for limit in LIMITS},
        histogram=_whole_bins(ordered, quantile(0.98)),
    )


def _whole_bins(ordered: Sequence[int], top: int) -> tuple[Bin, ...]:
    """Bins of one round width up to about `top`; the last takes what lies above."""
    need = (top - ordered[0]) / NUM_BINS
    width = next(base * 10**e for e in range(12) for base in (1, 2, 5) if base * 10**e >= need)
    lowest, last = ordered[0] // width, top // width
    counts = Counter(min(value // width, last) for value in ordered)
    ends = [*(width * (b + 1) - 1 for b in range(lowest, last)), max(ordered[-1], width * (last + 1) - 1)]
    return tuple(Bin(width * b, end, counts[b]) for b, end in zip(range(lowest, last + 1), ends, strict=True))


def distribution_of(task: Task, records: Sequence[Record], vocabulary: Vocabulary | None) -> Distribution | None:
    """What the labels of a split are; None for tasks without labels.

    Args:
        vocabulary: counts the tokens of answers; None counts words.
    """
    match task.kind:
        case "mlm" | "retrieval":
            return None
        case "tagging":
            tags = [tag for record in records for tag in record["tags"] or [None] * len(record["tokens"])]
            return _counted("tags", tags)
        case "span_qa":
            return _answers(records, vocabulary)
        case "regression":
            values = [record["label"] for record in records if record["label"] is not None]
            histogram = _scale_bins(values, *task.scale)
            return Distribution("values", len(values), len(records) - len(values), len(set(values)), (), histogram)
    return _counted("choices" if task.kind == "multiple_choice" else "labels", [record["label"] for record in records])


def _counted(what: str, labels: Sequence[Any]) -> Distribution:
    counts = Counter(str(label) for label in labels if label is not None)
    most = tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:NUM_LABELS])
    return Distribution(what, counts.total(), len(labels) - counts.total(), len(counts), most)


def _scale_bins(values: Sequence[float], low: float, high: float, number: int = 10) -> tuple[Bin, ...]:
    width = (high - low) / number
    counts = Counter(min(int((value - low) / width), number - 1) for value in values)
    return tuple(Bin(low + width * b, low + width * (b + 1), counts[b]) for b in range(number))


def _answers(records: Sequence[Record], vocabulary: Vocabulary | None) -> Distribution:
    answered = [record for record in records if record["answers"]]
    texts = [record["answers"][0]["text"] for record in _some(answered)] if answered else []
    if vocabulary is None:
        found = [_words(text) for text in texts]
    else:
        found = [len(e.ids) for e in vocabulary.tokenizer.encode_batch(texts, add_special_tokens=False)]
    lengths = _lengths(found, len(answered), vocabulary) if found else None
    return Distribution("answers", len(answered), len(records) - len(answered), lengths=lengths)
