"""Packed micro-batches: rows of prepared examples -> the tensors that the model reads."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xlray.data.examples import Examples

FIRST_POSITION = 2  # XLM-R's position ids start after the padding index 1

IntArray = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class PackedSequences:
    """Where the sequences of a pack lie; they are sorted by length, longest first.

    Attributes:
        runs: (first token, number of sequences, length) for each distinct length.
        offsets: `[sequences + 1]` int32, cumulative lengths.
        longest: tokens of the longest sequence.
    """

    runs: tuple[tuple[int, int, int], ...]
    offsets: Tensor
    longest: int


@dataclass(frozen=True)
class Group:
    """The examples of one task in a pack.

    Attributes:
        task: `[1]` int64, index of the task.
        first: first output of the task in the layer of heads; `count` outputs follow.
        reads: `[n]` int64, tokens whose states the head reads.
        labels: int64 (regression: fp32); span QA: start and end of each example, one after the other.
        weights: `[units]` fp32: one per label, for span QA one per example; 0 where there is no label.
        segments: `[examples, longest]` int64 into `reads`, -1 beyond an example's end; choice and span QA only.
        rows: `[examples]` row of each example in its data set; for collecting predictions.
    """

    task: Tensor
    kind: str
    first: int
    count: int
    reads: Tensor
    labels: Tensor
    weights: Tensor
    segments: Tensor | None
    rows: IntArray


@dataclass(frozen=True)
class Masked:
    """Masked tokens: `reads`, `labels` `[n]` int64, `weights` `[n]` fp32, `task` `[1]` int64."""

    task: Tensor
    reads: Tensor
    labels: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Batch:
    """One packed micro-batch of T tokens.

    Attributes:
        input_ids: `[1, T]` int64.
        position_ids: `[1, T]` int64.
        keys: `[T]` int64, key of each token's dropout.
        sequence_rows: `[sequences]` (row, sequence within the row) in the order of the pack.
    """

    input_ids: Tensor
    position_ids: Tensor
    keys: Tensor
    sequences: PackedSequences
    groups: tuple[Group, ...]
    masked: Masked | None
    sequence_rows: IntArray

    def to(self, device: torch.device) -> Batch:
        """The batch with every tensor on `device`; from pinned memory without waiting."""
        return _each(self, lambda tensor: tensor.to(device, non_blocking=True))  # type: ignore[no-any-return]

    def pinned(self) -> Batch:
        """The batch in page-locked memory."""
        return _each(self, Tensor.pin_memory)  # type: ignore[no-any-return]


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _each(getattr(value, f.name), change) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)
    if isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        return tuple(_each(item, change) for item in value)
    return value


@dataclass(frozen=True)
class Layout:
    """Which outputs of the layer of heads belong to which task.

    Attributes:
        first: first output of each task.
        count: number of outputs of each task; 0 for masked language modelling and retrieval.
        kinds: of each task.
        vocab_size, mask_id: of the tokenizer, for masking.
        scaled: divide losses by the log of the number of classes.
    """

    first: tuple[int, ...]
    count: tuple[int, ...]
    kinds: tuple[str, ...]
    vocab_size: int
    mask_id: int
    scaled: bool

    @property
    def num_outputs(self) -> int:
        return sum(self.count)

    @property
    def shifted(self) -> tuple[bool, ...]:
        """For each output, whether a bias on it changes any prediction: not where softmax runs over reads."""
        free = [kind not in ("multiple_choice", "span_qa") for kind in self.kinds]
        return tuple(flag for flag, n in zip(free, self.count, strict=True) for _ in range(n))


def layout(examples: Sequence[Examples], vocab_size: int, mask_id: int, scaled: bool) -> Layout:
    """Assign a slice of outputs to each task, in the order given."""
    counts = [e.num_outputs for e in examples]
    firsts = [sum(counts[:i]) for i in range(len(counts))]
    return Layout(tuple(firsts), tuple(counts), tuple(e.kind for e in examples), vocab_size, mask_id, scaled)


def mix(*parts: Any) -> Any:
    """splitmix64 folded over its arguments (integers or uint64 arrays); returns uint64."""
    state: Any = np.uint64(0)
    with np.errstate(over="ignore"):
        for part in parts:
            z = state + np.asarray(part).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = z ^ (z >> np.uint64(31))
    return state


@dataclass(frozen=True)
class Row:
    """A row chosen for a pack.

    Attributes:
        task: index of its task.
        row: row in its task's examples.
        key: identifies (seed, phase, position in the order of examples); dropout and masks depend on it alone.
        weight: of each of its labels in the loss of the step.
    """

    task: int
    row: int
    key: int
    weight: float


def step_rows(
    examples: Sequence[Examples], tasks: NDArray[np.integer[Any]], rows: IntArray, first: int, seed: int, plan: Layout
) -> list[Row]:
    """The rows of one optimizer step with their weights.

    The loss of a step is the mean over its examples of their task's loss; a task's loss is the mean over its label units
    in the step (words of a tagging task, masked tokens), divided by the log of its number of classes if `scaled`. So
    each unit's weight depends on the step's examples alone, never on ranks or packing.

    Args:
        tasks, rows: `[batch_size]` task and row of each example.
        first: position of the first example in the phase's order.
    """
    counts = np.bincount(tasks, minlength=len(examples))
    units = np.array([examples[t].units[r] for t, r in zip(tasks, rows, strict=True)], dtype=np.int64)
    total = np.bincount(tasks, weights=units, minlength=len(examples))
    keys = mix(seed, np.arange(first, first + len(tasks)))
    return [
        Row(int(t), int(r), int(key), float(counts[t] / (len(tasks) * total[t] * _divisor(examples[t], r, plan))))
        for t, r, key in zip(tasks, rows, keys, strict=True)
    ]


def _divisor(examples: Examples, row: int, plan: Layout) -> float:
    if not plan.scaled or examples.kind == "regression":
        return 1.0
    if examples.kind == "mlm":
        return float(np.log(plan.vocab_size))
    if examples.kind in ("multiple_choice", "span_qa"):
        return float(np.log(max(2, examples.num_reads(row))))
    return float(np.log(examples.num_outputs))


def collate(examples: Sequence[Examples], rows: Sequence[Row], plan: Layout, masked: bool = True) -> Batch:
    """Pack the rows into one micro-batch; no rows gives one dummy token of weight zero (a rank with nothing to do).

    Every rank's micro-batch reads the heads, and the masked-LM head where the mixture has one, so that no parameter is
    unused and no collective hangs when ranks see different tasks.

    Args:
        masked: whether to mask tokens of masked-LM rows; an evaluation of other tasks does not.
    """
    data = [examples[row.task] for row in rows]
    parts = [d.sequence_lengths(row.row) for d, row in zip(data, rows, strict=True)]
    # Of each sequence, in the order of the rows: its tokens, its row, and its number within the row.
    sizes = np.array([n for part in parts for n in part], dtype=np.int64)
    owners = np.repeat(np.arange(len(rows)), [len(part) for part in parts])
    numbers = np.array([k for part in parts for k in range(len(part))], dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    lengths = sizes[order] if len(rows) else np.ones(1, dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    starts = np.empty_like(sizes)
    starts[order] = offsets[: len(sizes)]
    totals = np.bincount(owners, weights=sizes, minlength=len(rows)).astype(np.int64)
    where = _ranges(starts, sizes)  # of each token of the rows: where it lies in the pack
    ids, keys = np.zeros(offsets[-1], dtype=np.int64), np.zeros(offsets[-1], dtype=np.uint64)
    if len(rows):
        row_keys = np.repeat(np.array([row.key for row in rows], dtype=np.uint64), totals)
        keys[where] = mix(row_keys, _ranges(np.zeros_like(totals), totals))
        ids[where] = np.concatenate([d.tokens_of(row.row) for d, row in zip(data, rows, strict=True)])
    place = np.split(where, np.cumsum(totals)[:-1])
    hidden = _mask(examples, rows, place, ids, plan) if masked else None
    row_numbers = np.array([row.row for row in rows], dtype=np.int64)
    return Batch(
        torch.from_numpy(ids)[None],
        torch.from_numpy(_ranges(np.full_like(lengths, FIRST_POSITION), lengths))[None],
        torch.from_numpy(keys.view(np.int64)),
        PackedSequences(_runs(lengths), torch.from_numpy(offsets.astype(np.int32)), int(lengths.max())),
        _groups(examples, rows, place, plan),
        hidden,
        np.stack([row_numbers[owners[order]], numbers[order]], axis=1),
    )


def _ranges(starts: IntArray, lengths: IntArray) -> IntArray:
    """`arange(start, start + length)` for each pair, one after the other."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - ends + lengths, lengths) + np.arange(ends[-1] if len(ends) else 0)


def _runs(lengths: IntArray) -> tuple[tuple[int, int, int], ...]:
    starts = np.concatenate([[0], np.cumsum(lengths)])
    edges = np.flatnonzero(np.diff(lengths, prepend=-1, append=-1))
    return tuple((int(starts[a]), int(b - a), int(lengths[a])) for a, b in itertools.pairwise(edges))


def _groups(
    examples: Sequence[Examples], rows: Sequence[Row], place: list[IntArray], plan: Layout
) -> tuple[Group, ...]:
    groups = []
    for task in sorted({row.task for row in rows if plan.count[row.task]}):
        data = examples[task]
        chosen = [i for i, row in enumerate(rows) if row.task == task]
        reads = [place[i][data.reads_of(rows[i].row)] for i in chosen]
        labels = np.concatenate([data.labels_of(rows[i].row) for i in chosen])
        if data.kind == "tagging":
            weights = np.concatenate([np.full(len(r), rows[i].weight) for i, r in zip(chosen, reads, strict=True)])
        else:
            weights = np.array([rows[i].weight for i in chosen])
        groups.append(
            Group(
                torch.tensor([task]),
                data.kind,
                plan.first[task],
                plan.count[task],
                torch.from_numpy(np.concatenate(reads)),
                torch.from_numpy(labels.astype(np.float32 if data.kind == "regression" else np.int64)),
                torch.from_numpy(weights.astype(np.float32)),
                _segments([len(r) for r in reads]) if data.kind in ("multiple_choice", "span_qa") else None,
                np.array([rows[i].row for i in chosen], dtype=np.int64),
            )
        )
    if not groups and plan.num_outputs:
        task = int(np.flatnonzero(plan.count)[0])
        zero = torch.zeros(1)
        groups.append(
            Group(
                torch.tensor([task]),
                "regression",
                plan.first[task],
                plan.count[task],
                torch.zeros(1, dtype=torch.int64),
                zero,
                zero,
                None,
                np.zeros(0, dtype=np.int64),
            )
        )
    return tuple(groups)


def _segments(lengths: list[int]) -> Tensor:
    table = np.full((len(lengths), max(lengths)), -1, dtype=np.int64)
    start = 0
    for i, length in enumerate(lengths):
        table[i, :length] = np.arange(start, start + length)
        start += length
    return torch.from_numpy(table)


def _mask(
    examples: Sequence[Examples],
    rows: Sequence[Row],
    place: list[IntArray],
    ids: IntArray,
    plan: Layout,
) -> Masked | None:
    """Choose and replace the tokens of masked-LM rows in `ids`; each choice is a hash of the row's key and position."""
    tasks = [i for i, e in enumerate(examples) if e.kind == "mlm"]
    if not tasks:
        return None
    texts = [i for i, row in enumerate(rows) if examples[row.task].kind == "mlm"]
    # The first entry, of weight zero, keeps the head in use on a rank without text.
    reads, labels, weights = (np.zeros(1, dtype=kind) for kind in (np.int64, np.int64, np.float32))
    if texts:
        parts = [examples[rows[i].task].reads_of(rows[i].row) for i in texts]
        counts = np.array([len(part) for part in parts])
        units = np.array([examples[rows[i].task].units[rows[i].row] for i in texts])
        owners, positions = np.repeat(np.arange(len(texts)), counts), np.concatenate(parts)
        keys = np.array([rows[i].key for i in texts], dtype=np.uint64)[owners]
        by_rank = np.lexsort((mix(keys, 1, positions), owners))  # within each row
        chosen = np.sort(by_rank[_ranges(np.zeros_like(counts), counts) < units[owners]])
        where = np.concatenate([place[i][part] for i, part in zip(texts, parts, strict=True)])[chosen]
        owners, positions, keys = owners[chosen], positions[chosen], keys[chosen]
        reads, labels = np.append(reads, where), np.append(labels, ids[where])
        weights = np.append(weights, np.array([rows[i].weight for i in texts], dtype=np.float32)[owners])
        fate = mix(keys, 2, positions) % np.uint64(10)
        other = (mix(keys, 3, positions) % np.uint64(plan.vocab_size)).astype(np.int64)
        ids[where] = np.where(fate < 8, plan.mask_id, np.where(fate == 8, other, ids[where]))
    return Masked(
        torch.tensor([tasks[0]]), torch.from_numpy(reads), torch.from_numpy(labels), torch.from_numpy(weights)
    )
