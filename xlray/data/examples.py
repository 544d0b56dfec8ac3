"""Rows of a prepared split, as the workers see them: views of a memory-mapped file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Examples:
    """Rows of one prepared split; views of a memory-mapped Arrow file.

    Attributes:
        record: `[rows]` record each row comes from.
        tokens, token_offsets: ids of row r are `tokens[token_offsets[r]:token_offsets[r + 1]]`; likewise the others.
        lengths: tokens of each sequence of a row (several for multiple choice).
        reads: positions within the row that the head reads.
        labels: class ids, tag ids, choice, (start, end) among the reads, or the scaled value; -1 without a label.
        spans: span QA: (first, last + 1) character in the context of each read but the first, whole graphemes.
        units: `[rows]` label units of a row: its weight among its task's examples in a step.
        meta: what `prepare` counted and the references of an evaluation split.
    """

    name: str
    kind: str
    num_outputs: int
    record: Array
    tokens: Array
    token_offsets: Array
    lengths: Array
    length_offsets: Array
    reads: Array
    read_offsets: Array
    labels: Array
    label_offsets: Array
    spans: Array
    span_offsets: Array
    units: Array
    folder: Path

    def __len__(self) -> int:
        return len(self.record)

    @cached_property
    def row_tokens(self) -> Array:
        """`[rows]` number of tokens of each row."""
        return np.diff(self.token_offsets).astype(np.int64)

    @cached_property
    def references(self) -> dict[str, Any]:
        """References and contexts by record, as written for an evaluation split."""
        return dict(json.loads((self.folder / "references.json").read_text()))

    def tokens_of(self, row: int) -> Array:
        return self.tokens[self.token_offsets[row] : self.token_offsets[row + 1]]

    def sequence_lengths(self, row: int) -> list[int]:
        return [int(n) for n in self.lengths[self.length_offsets[row] : self.length_offsets[row + 1]]]

    def reads_of(self, row: int) -> Array:
        return self.reads[self.read_offsets[row] : self.read_offsets[row + 1]]

    def num_reads(self, row: int) -> int:
        return int(self.read_offsets[row + 1] - self.read_offsets[row])

    def labels_of(self, row: int) -> Array:
        return self.labels[self.label_offsets[row] : self.label_offsets[row + 1]]

    def spans_of(self, row: int) -> Array:
        return self.spans[self.span_offsets[row] : self.span_offsets[row + 1]].reshape(-1, 2)
