"""Degenerate runs: nothing learned, one answer to everything. Pure functions over numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlray.data.examples import Examples

JUDGED_FROM_STEPS = 100  # a shorter run may not have begun to learn
LAST = 0.1  # share of the steps whose mean loss is judged


def chance_loss(examples: Examples, vocab_size: int, scaled: bool) -> float:
    """Loss per example of one and the same guess for all, in nats: what a model reaches that ignores its input.

    Classification and tagging: the entropy of the training labels. Multiple choice and span QA: the log of the number of
    choices or positions. Masked language modelling: the log of the vocabulary. Regression: the variance of the values.

    Args:
        scaled: whether losses are divided by the log of the number of classes, as in training.
    """
    kind = examples.kind
    if kind == "regression":
        return float(np.var(examples.labels))
    if kind == "mlm":
        return 1.0 if scaled else math.log(vocab_size)
    if kind in ("multiple_choice", "span_qa"):
        reads = np.log(np.maximum(1, np.diff(examples.read_offsets)))
        return float(np.mean(reads / np.maximum(math.log(2), reads))) if scaled else float(np.mean(reads))
    counts = np.bincount(examples.labels[examples.labels >= 0])
    shares = counts[counts > 0] / counts.sum()
    entropy = float(-(shares * np.log(shares)).sum())
    return entropy / math.log(examples.num_outputs) if scaled else entropy


def nothing_learned(
    history: Sequence[tuple[int, float]], num_steps: int, tasks: NDArray[np.integer[Any]], chance: Sequence[float]
) -> str | None:
    """Why a run that ended learned nothing, or None: its loss is not below what one guess for all would reach.

    Short runs are not judged, nor those that continued within their last tenth, whose losses are incomplete.

    Args:
        history: (number of steps, sum of their losses) of consecutive stretches up to the end.
        num_steps: of the whole phase.
        tasks: task of each example of the phase in order.
        chance: `chance_loss` of each task.
    """
    steps, loss = 0, 0.0
    for count, total in reversed(history):
        if steps >= LAST * num_steps:
            break
        steps, loss = steps + count, loss + total
    if num_steps < JUDGED_FROM_STEPS or steps < LAST * num_steps:
        return None
    seen = tasks[-(len(tasks) * steps // num_steps) :]
    expected = float(np.mean(np.asarray(chance)[seen]))
    mean = loss / steps
    if expected < 0.01 or mean < expected:  # with (nearly) one label there is nothing to learn
        return None
    return f"the mean loss of the last {steps} steps, {mean:.3f}, is not below the label entropy, {expected:.3f}"


def constant(predictions: Sequence[Any], kind: str, contexts: Sequence[str] = ()) -> bool:
    """Whether every prediction is the same: the mark of a collapsed run.

    For span QA the same answer everywhere (such as none), or the same words by position.

    Args:
        contexts: span QA: the passage of each prediction.
    """
    if kind == "span_qa":
        places = [_place(text, context) for text, context in zip(predictions, contexts, strict=True)]
        return len(places) > 1 and (len(set(predictions)) == 1 or len(set(places)) == 1)
    flat = [tag for tags in predictions for tag in tags] if kind == "tagging" else list(predictions)
    return len(predictions) > 1 and all(value == flat[0] for value in flat)


def _place(answer: str, context: str) -> tuple[int, int]:
    """(words before the answer, words of the answer)."""
    return len(context[: max(0, context.find(answer))].split()), len(answer.split())
