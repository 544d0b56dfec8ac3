"""Scores in percent and the per-item statistics that they are sums of, by kind of task. Pure functions.

kind             references                      predictions     scores                 statistics per item
classification   label (str or int)              label           accuracy, macro_f1     correct, total
regression       number                          number          pearson, spearman      reference, prediction
multiple_choice  index of the right choice       index           accuracy               correct, total
tagging          tags of a sentence              tags, as many   accuracy, f1           correct, total, tp, fp, fn
span_qa          gold answers ([]: no answer)    answer ("")     f1, exact_match        f1, em
retrieval        index of the right candidate    index           accuracy               correct, total
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xlray.errors import InputError, nearest, require
from xlray.tasks.tag_sets import check_tag_set, is_iob2

Statistics = dict[str, NDArray[Any]]

KINDS = ("classification", "regression", "multiple_choice", "tagging", "span_qa", "retrieval")

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def score(
    kind: str, references: Sequence[Any], predictions: Sequence[Any], labels: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of a whole split in percent, 0 to 100 (correlations: -100 to 100).

    - accuracy: of items; of tokens for tagging.
    - macro_f1: mean F1 over the labels that occur among references or predictions.
    - pearson, spearman: x 100; 0 if predictions or references are constant or not finite.
    - f1 of tagging: micro F1 of spans as `items` counts them.
    - f1, exact_match: of answers as the scripts of SQuAD compute them, with the English articles in every language;
      XTREME runs that of version 1.1 on TyDiQA, which differs only where normalisation leaves nothing of an answer.

    Args:
        kind: one of `KINDS`.
        references: one per item, in the form of the table above.
        predictions: as many, in the same order.
        labels: the closed set of labels or tags; empty takes those among the references.

    Returns:
        metric to value, the metrics of the kind.

    Raises:
        InputError: for an unknown kind, no items, a missing prediction, a sentence with too few or too many tags, a
            label that is not in `labels`, or tags that are neither those of IOB2 nor plain names.
    """
    return score_and_items(kind, references, predictions, labels)[0]


def score_and_items(
    kind: str, references: Sequence[Any], predictions: Sequence[Any], labels: Sequence[str] = ()
) -> tuple[dict[str, float], Statistics]:
    """What `score` and `items` return, computed once."""
    found = items(kind, references, predictions, labels)
    return _score(kind, references, predictions, found), found


def _score(kind: str, references: Sequence[Any], predictions: Sequence[Any], found: Statistics) -> dict[str, float]:
    if kind == "regression":
        return {
            "pearson": 100 * _pearson(found["reference"], found["prediction"]),
            "spearman": 100 * _pearson(_ranks(found["reference"]), _ranks(found["prediction"])),
        }
    if kind == "span_qa":
        return {"f1": 100 * float(found["f1"].mean()), "exact_match": 100 * float(found["em"].mean())}
    scores = {"accuracy": 100 * int(found["correct"].sum()) / max(int(found["total"].sum()), 1)}
    if kind == "classification":
        scores["macro_f1"] = 100 * _macro_f1(references, predictions)
    if kind == "tagging":
        true, false, missed = (int(found[name].sum()) for name in ("tp", "fp", "fn"))
        scores["f1"] = 100 * 2 * true / max(2 * true + false + missed, 1)
    return scores


def items(kind: str, references: Sequence[Any], predictions: Sequence[Any], labels: Sequence[str] = ()) -> Statistics:
    """Sufficient statistics of each item, for resampling items; arguments and errors as for `score`.

    Spans of IOB2 tags are those of seqeval's default mode, that is of conlleval: an I- after another type begins one.
    Tags without prefixes (parts of speech) are read as seqeval 0.0.12 read them, the release of the time of XTREME,
    whose POS "F1" this is: a maximal run of one tag is one span of that type, except that every token of a tag that
    begins with B, E or S (of the universal tags SCONJ and SYM) is a span by itself, since the first letter was taken
    for a prefix. seqeval 1.2 cuts that letter off, so that SCONJ and CCONJ become one type; here tags get a prefix
    before they go to it.

    Returns:
        statistic to [num_items] array: correct, total, tp, fp, fn int64 (1 item = 1 sentence for tagging); f1 and em
        float64, 0 to 1; reference and prediction float64. Macro F1 is not a function of these.
    """
    _check(kind, references, predictions, labels)
    if kind == "regression":
        return {
            "reference": np.asarray(references, dtype=np.float64),
            "prediction": np.asarray(predictions, dtype=np.float64),
        }
    if kind == "span_qa":
        pairs = [_answer(gold, predicted) for gold, predicted in zip(references, predictions, strict=True)]
        return {"f1": np.array([f1 for f1, _ in pairs]), "em": np.array([em for _, em in pairs])}
    if kind == "tagging":
        rename = _prefixed(labels or {tag for tags in references for tag in tags})
        counts = [_sentence(gold, tags, rename) for gold, tags in zip(references, predictions, strict=True)]
        columns = np.array(counts, dtype=np.int64).T
        return dict(zip(("correct", "total", "tp", "fp", "fn"), columns, strict=True))
    correct = [gold == predicted for gold, predicted in zip(references, predictions, strict=True)]
    return {"correct": np.array(correct, dtype=np.int64), "total": np.ones(len(correct), dtype=np.int64)}


def headline(metrics: Mapping[str, float], names: Sequence[str]) -> float:
    """Mean of the named metrics, in their unit.

    Raises:
        InputError: for no names or a metric that is not there.
    """
    require(len(names) > 0, "a headline names at least one metric", tuple(names), "metrics.headline")
    for name in names:
        if name not in metrics:
            raise InputError(
                f"metrics.headline: each name must be one of {', '.join(metrics)}, but got {name!r}."
                f"{nearest(name, metrics)}"
            )
    return sum(metrics[name] for name in names) / len(names)


def majority(
    kind: str, train_references: Sequence[Any], eval_references: Sequence[Any], labels: Sequence[str] = ()
) -> dict[str, float]:
    """Scores of the baseline that does not look at the input.

    It gives every item the most frequent training label (every token the most frequent tag; ties go to the first in
    `labels`, or the smallest), the mean for a regression, "no answer" for span QA: zero, unless items have no answer.
    For retrieval it is the expected accuracy of a guess; `labels` then lists the candidates, without them there are as
    many as references, or as the highest index says.

    Args:
        train_references: references of the training split; unused for span QA and retrieval.
        eval_references: references of the split that is scored.

    Returns:
        what `score` returns.
    """
    require(len(eval_references) > 0, "there is at least one item", 0, "metrics.majority")
    if kind == "retrieval":
        return {"accuracy": 100 / (len(labels) or max(len(eval_references), max(eval_references) + 1))}
    if kind == "span_qa":
        return score(kind, eval_references, [""] * len(eval_references))
    require(len(train_references) > 0, "there is at least one training reference", 0, "metrics.majority")
    if kind == "regression":
        return score(kind, eval_references, [float(np.mean(train_references))] * len(eval_references))
    if kind == "tagging":
        tag = _most_frequent(Counter(tag for tags in train_references for tag in tags), labels)
        return score(kind, eval_references, [[tag] * len(tags) for tags in eval_references], labels)
    answer = _most_frequent(Counter(train_references), labels)
    return score(kind, eval_references, [answer] * len(eval_references), labels)


def cosine_retrieval(queries: NDArray[Any], index: NDArray[Any], block: int = 1024) -> NDArray[np.int64]:
    """The nearest candidate of each query by cosine similarity, as XTREME's `similarity_search` finds it for Tatoeba.

    Args:
        queries: [N, D] float, N embeddings of length D, of any norm.
        index: [M, D] float, the candidates.
        block: rows compared at a time; the working memory is block x block similarities.

    Returns:
        [N] int64, rows of `index`, the first of equals; -1 for a query that is not finite.

    Raises:
        InputError: for arrays of another shape or an index without rows.
    """
    where = "metrics.cosine_retrieval"
    shapes = (queries.shape, index.shape)
    require(
        queries.ndim == index.ndim == 2 and queries.shape[1] == index.shape[1],
        "queries [N, D], index [M, D]",
        shapes,
        where,
    )
    require(len(index) > 0, "the index has a row", shapes, where)
    nearest_row = np.full(len(queries), -1, dtype=np.int64)
    best = np.full(len(queries), -np.inf, dtype=np.float32)
    for column in range(0, len(index), block):
        candidates = _unit(index[column : column + block])
        for row in range(0, len(queries), block):
            rows = slice(row, row + block)
            similarity = _unit(queries[rows]) @ candidates.T
            similarity[np.isnan(similarity)] = -np.inf
            winner = similarity.argmax(axis=1)
            value = similarity[np.arange(len(winner)), winner]
            better = value > best[rows]  # strictly, so that the first of equals stays
            nearest_row[rows] = np.where(better, winner + column, nearest_row[rows])
            best[rows] = np.maximum(best[rows], value)
    return nearest_row


def _check(kind: str, references: Sequence[Any], predictions: Sequence[Any], labels: Sequence[str]) -> None:
    where = f"metrics of {kind}"
    if kind not in KINDS:
        raise InputError(f"metrics: `kind` must be one of {', '.join(KINDS)}, but got {kind!r}.{nearest(kind, KINDS)}")
    require(len(references) > 0, "there is at least one item", 0, where)
    require(
        len(references) == len(predictions),
        "one prediction per reference",
        f"{len(predictions)} for {len(references)}",
        where,
    )
    for name, values in (("reference", references), ("prediction", predictions)):
        missing = next((i for i, value in enumerate(values) if value is None), None)
        require(missing is None, f"every item has a {name}", f"none for item {missing}", where)
    if kind == "tagging":
        wrong = [i for i, (a, b) in enumerate(zip(references, predictions, strict=True)) if len(a) != len(b)]
        require(not wrong, "one tag per token", f"other numbers of tags in items {wrong[:3]}", where)
        check_tag_set(labels or {tag for tags in references for tag in tags}, where)
    if labels and kind in ("classification", "tagging"):
        flat = kind == "classification"
        used = {label for both in (references, predictions) for value in both for label in ([value] if flat else value)}
        for label in sorted(used.difference(labels), key=str)[:1]:
            raise InputError(
                f"{where}: every label must be one of the {len(labels)} labels, but got {label!r}."
                f"{nearest(str(label), labels)}"
            )


def _prefixed(tags: Sequence[str] | set[str]) -> Callable[[Sequence[str]], list[str]]:
    """How a sentence's tags are written for seqeval 1.2: as they are, or with the prefix that 0.0.12 read into them."""
    if is_iob2(tags):
        return list
    new = {tag: f"S-{tag}" if tag[:1] in "BES" else f"I-{tag}" for tag in tags} | {"O": "O"}
    return lambda sentence: [new.get(tag) or f"I-{tag}" for tag in sentence]


def _sentence(
    gold: Sequence[str], tags: Sequence[str], rename: Callable[[Sequence[str]], list[str]]
) -> tuple[int, ...]:
    """Correct tokens, tokens, and true positive, false positive and false negative spans of a sentence."""
    from seqeval.metrics.sequence_labeling import get_entities  # brings scikit-learn: half a second of every worker

    wanted = set(get_entities(rename(gold)))
    found = wanted if gold == tags else set(get_entities(rename(tags)))
    correct = sum(a == b for a, b in zip(gold, tags, strict=True))
    both = len(wanted & found)
    return correct, len(gold), both, len(found) - both, len(wanted) - both


def _answer(gold: Sequence[str], predicted: str) -> tuple[float, float]:
    """F1 and exact match of one answer, 0 to 1: the best over the gold answers.

    As in the script of SQuAD 2 (Rajpurkar et al. 2018): gold answers of which normalisation leaves nothing do not
    count; if none is left, or nothing was predicted, both numbers say whether the two agree on that.
    """
    words = _words(predicted)
    golds = [answer for answer in map(_words, gold) if answer] or [[]]
    return max(_overlap(words, answer) for answer in golds), float(words in golds)


def _words(text: str) -> list[str]:
    """Lower case, without ASCII punctuation, English articles and extra white space (Rajpurkar et al. 2016)."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _overlap(words: list[str], gold: list[str]) -> float:
    if not words or not gold:
        return float(words == gold)
    return 2 * sum((Counter(words) & Counter(gold)).values()) / (len(words) + len(gold))


def _macro_f1(references: Sequence[Any], predictions: Sequence[Any]) -> float:
    gold, found = Counter(references), Counter(predictions)
    right = Counter(a for a, b in zip(references, predictions, strict=True) if a == b)
    names = gold.keys() | found.keys()
    return sum(sorted(2 * right[name] / (gold[name] + found[name]) for name in names)) / len(names)


def _pearson(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Correlation, -1 to 1; 0 where it is not defined."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()) or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    a, b = a / np.abs(a).max(), b / np.abs(b).max()  # so that squares neither vanish nor overflow
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1, 1))


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal values get the mean of theirs. Values that are not finite stay as they are."""
    if not np.isfinite(values).all():
        return values
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[inverse], dtype=np.float64)


def _most_frequent(counts: Counter[Any], labels: Sequence[str]) -> Any:
    place = {label: i for i, label in enumerate(labels)}
    return min(counts, key=lambda value: (-counts[value], place.get(value, len(place)), value))


def _unit(rows: NDArray[Any]) -> NDArray[np.float32]:
    """Rows scaled to length 1; a row of zeros stays."""
    rows = np.asarray(rows, dtype=np.float32)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinities become NaN, which no query finds
        return np.asarray(rows / np.where(lengths == 0, 1, lengths), dtype=np.float32)
