"""Model x (task, language, split) -> predictions, scores and per-item statistics. Sharded over ranks, packed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from xlray.data.examples import Examples
from xlray.phases.spec import DataSpec, EvaluationSpec
from xlray.training import metrics, packing
from xlray.training.batches import Batch, Group, Layout, Row, collate
from xlray.training.model import Output
from xlray.training.prefetch import made_ahead

MAX_ANSWER_TOKENS = 30  # of SQuAD's and XTREME's scripts

Scored = tuple[dict[str, float], dict[str, np.ndarray[Any, Any]], int]


@dataclass(frozen=True)
class Evaluator:
    """A model (or the engine around one) ready to be evaluated.

    Attributes:
        plan: layout of the one task evaluated.
        budget: tokens per micro-batch.
    """

    model: Any
    device: torch.device
    plan: Layout
    budget: int


def longest_row(examples: Sequence[Examples]) -> int:
    """Tokens of the longest row: the least that a token budget must hold."""
    return max(int(e.row_tokens.max(initial=1)) for e in examples)


def forward_all(evaluator: Evaluator, examples: Examples, layer: int | None = None) -> Iterator[tuple[Batch, Output]]:
    """This rank's packed batches of a whole split with the model's outputs; every rank makes as many forward passes.

    The outputs stay on the device: reading one there would wait for it, and the device then for the next batch.
    """
    evaluator.model.eval()
    shares = packing.plan_evaluation(examples.row_tokens, dist.get_world_size(), evaluator.budget)
    batches = (
        collate([examples], [Row(0, int(r), 0, 0.0) for r in rows], evaluator.plan, masked=False)
        for rows in shares[dist.get_rank()]
    )
    with torch.no_grad():
        for batch in made_ahead(map(Batch.pinned, batches)) if evaluator.device.type == "cuda" else batches:
            yield batch, evaluator.model(batch.to(evaluator.device), layer=layer)


def on_host(tensors: Sequence[Tensor]) -> list[Tensor]:
    """fp32 tensors of one device on the CPU, by a single copy."""
    if not tensors:
        return []
    flat = torch.cat([tensor.flatten() for tensor in tensors]).cpu()
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def predict(evaluator: Evaluator, examples: Examples, spec: DataSpec) -> list[Any] | None:
    """One prediction per record, in the order of the records; rank 0 only, the others get None. Collective.

    Returns:
        Label names, values in the task's own scale, choices, lists of tags, or answer texts.
    """
    groups: list[Group] = []
    logits: list[Tensor] = []
    for batch, output in forward_all(evaluator, examples):
        groups += batch.groups
        logits += output.logits
    decoded = (_decode(group, part, examples, spec) for group, part in zip(groups, on_host(logits), strict=True))
    rows = _gather(list(itertools.chain.from_iterable(decoded)))
    return None if rows is None else _by_record(rows, examples, spec)


def _gather(found: Sequence[tuple[Any, Any]]) -> list[Any] | None:
    """Everything found by all ranks in the order of its first element; rank 0 only."""
    world = dist.get_world_size()
    parts: list[Any] | None = [None] * world if dist.get_rank() == 0 else None
    dist.gather_object(found, parts)
    if parts is None:
        return None
    return [value for _, value in sorted((item for part in parts for item in part), key=lambda item: item[0])]


def _decode(group: Group, logits: Tensor, examples: Examples, spec: DataSpec) -> list[tuple[int, Any]]:
    rows = [int(r) for r in group.rows]
    if not rows:
        return []
    if spec.kind == "tagging":
        best = logits.argmax(-1).tolist()
        ends = np.cumsum([examples.num_reads(r) for r in rows]).tolist()
        starts = [0, *ends[:-1]]
        return [(r, [spec.labels[t] for t in best[a:b]]) for r, a, b in zip(rows, starts, ends, strict=True)]
    if spec.kind == "regression":
        low, high = spec.scale
        return [(r, low + (high - low) * v) for r, v in zip(rows, logits[:, 0].tolist(), strict=True)]
    if spec.kind == "span_qa":
        return [(r, _best_span(scores, examples.spans_of(r))) for r, scores in zip(rows, logits, strict=True)]
    best = logits.argmax(-1).tolist()
    named = [spec.labels[b] for b in best] if spec.kind == "classification" else best
    return list(zip(rows, named, strict=True))


def _best_span(scores: Tensor, characters: np.ndarray[Any, Any]) -> tuple[float, int, int]:
    """(score, first, last + 1 character) of the best answer in one window; the first read, "no answer", is left out.

    Args:
        scores: `[positions, 2]` start and end logits, -inf beyond the window.
        characters: `[positions - 1, 2]`.
    """
    size = len(characters)
    if size == 0:
        return (-np.inf, 0, 0)
    start, end = scores[1 : size + 1, 0].numpy(), scores[1 : size + 1, 1].numpy()
    total = start[:, None] + end[None, :]
    allowed = np.triu(np.ones((size, size), dtype=bool)) & ~np.triu(
        np.ones((size, size), dtype=bool), MAX_ANSWER_TOKENS
    )
    total = np.where(allowed, total, -np.inf)
    first, last = np.unravel_index(int(total.argmax()), total.shape)
    return (float(total[first, last]), int(characters[first, 0]), int(characters[last, 1]))


def _by_record(rows: list[Any], examples: Examples, spec: DataSpec) -> list[Any]:
    """Join the windows of each record: tags one after the other, of several spans the best."""
    if spec.kind not in ("tagging", "span_qa"):
        return rows
    joined: list[Any] = [[] if spec.kind == "tagging" else (-np.inf, 0, 0) for _ in range(spec.num_records)]
    for record, value in zip(examples.record.tolist(), rows, strict=True):
        joined[record] = joined[record] + value if spec.kind == "tagging" else max(joined[record], value)
    if spec.kind == "tagging":
        return joined
    contexts = examples.references["contexts"]
    return [contexts[i][first:last].strip() for i, (_, first, last) in enumerate(joined)]


def score_predictions(evaluation: EvaluationSpec, examples: Examples, predictions: Sequence[Any]) -> Scored:
    """(metrics in percent, statistics per item, number of items) of one split.

    An evaluation without labels scores nothing: an empty dictionary.
    """
    spec = evaluation.data
    references = examples.references["references"]
    if spec.kind == "span_qa":
        hidden = not any(references)  # of all questions: that some have no answer is the answer
        references = [None if hidden else [a["text"] for a in answers] for answers in references]
    known = [i for i, reference in enumerate(references) if reference is not None]
    if not known:
        return {}, {}, 0
    gold, answers = [references[i] for i in known], [predictions[i] for i in known]
    return (*metrics.score_and_items(spec.kind, gold, answers, spec.labels), len(known))


def majority_scores(
    evaluation: EvaluationSpec, examples: Examples, train: Examples, train_spec: DataSpec
) -> dict[str, float]:
    """Metrics of always giving the most frequent training label."""
    spec = evaluation.data
    references = examples.references["references"]
    gold = [r for r in references if r is not None]
    if spec.kind == "span_qa":
        gold = [[a["text"] for a in answers] for answers in gold]
        seen: list[Any] = []
    elif spec.kind == "regression":
        low, high = train_spec.scale
        seen = [low + (high - low) * float(v) for v in train.labels]
    elif spec.kind == "multiple_choice":
        seen = train.labels.tolist()
    else:
        names = [train_spec.labels[i] for i in train.labels.tolist()]
        seen = [names] if spec.kind == "tagging" else names
    return metrics.majority(spec.kind, seen, gold, spec.labels)


def retrieve(evaluator: Evaluator, examples: Examples, layer: int) -> tuple[list[int], list[int]] | None:
    """Nearest candidate of each query by cosine of mean-pooled states; rank 0 only. Collective.

    Returns:
        (English queries against the other language's index, and the other direction): indices of records.
    """
    places: list[tuple[int, int]] = []
    pooled: list[Tensor] = []
    for batch, output in forward_all(evaluator, examples, layer):
        if len(batch.sequence_rows):
            assert output.pooled is not None
            places += [(int(row), int(sequence)) for row, sequence in batch.sequence_rows]
            pooled.append(output.pooled)
    found = itertools.chain.from_iterable(part.numpy() for part in on_host(pooled))
    vectors = _gather(list(zip(places, found, strict=True)))
    if vectors is None:
        return None
    table = np.stack(vectors).reshape(len(examples), 2, -1)
    english, other = table[:, 0], table[:, 1]
    forward = metrics.cosine_retrieval(english, other).tolist()
    return forward, metrics.cosine_retrieval(other, english).tolist()


def retrieval_scores(evaluation: EvaluationSpec, examples: Examples, nearest: tuple[list[int], list[int]]) -> Scored:
    """Accuracy of both directions on the queries of one split; the headline is English queries, as in XTREME's script."""
    halves = examples.references["halves"]
    whole = not evaluation.data.split.startswith("all/")
    wanted = [i for i, half in enumerate(halves) if whole or (half == 1) == (evaluation.split == "test")]
    forward = [nearest[0][i] for i in wanted]
    backward = [nearest[1][i] for i in wanted]
    scores, items = metrics.score_and_items("retrieval", wanted, forward)
    scores["accuracy_reverse"] = metrics.score("retrieval", wanted, backward)["accuracy"]
    return scores, items, len(wanted)
