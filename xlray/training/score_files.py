"""The files a finished phase leaves: scores, items and predictions of its evaluations; test data under `sealed/`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from xlray.phases.spec import EvaluationSpec
from xlray.storage.parquet import write_table

SCORE_FIELDS = pa.schema(
    [
        ("task", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("metric", pa.string()),
        ("value", pa.float64()),
        ("num_eval_examples", pa.int64()),
        ("selection", pa.bool_()),
    ]
)
ITEM_FIELDS = pa.schema(
    [
        ("task", pa.string()),
        ("language", pa.string()),
        ("split", pa.string()),
        ("item", pa.int64()),
        ("statistic", pa.string()),
        ("value", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """One evaluation's result.

    Attributes:
        scores: metric to percent; `headline` and `majority` among them.
        items: statistic to one value per item.
        predictions: one per record; None for retrieval and degenerate runs.
    """

    evaluation: EvaluationSpec
    scores: Mapping[str, float]
    items: Mapping[str, np.ndarray[Any, Any]]
    num_items: int
    predictions: Sequence[Any] | None


def nothing(evaluation: EvaluationSpec) -> Outcome:
    """The outcome of a run that diverged: no number."""
    return Outcome(evaluation, {"headline": math.nan}, {}, 0, None)


def write_outcomes(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """Write `scores.parquet`, `items.parquet`, `predictions/*.parquet`, and the same under `sealed/` for test data.

    The rows that take part in selection are the headlines of the evaluations marked so.
    """
    for sealed in (False, True):
        chosen = [o for o in outcomes if o.evaluation.sealed == sealed]
        if not chosen:
            continue
        where = folder / "sealed" if sealed else folder
        (where / "predictions").mkdir(parents=True, exist_ok=True)
        write_table(where / "scores.parquet", _scores(chosen))
        write_table(where / "items.parquet", _items(chosen))
        for outcome in chosen:
            if outcome.predictions is not None:
                e = outcome.evaluation
                table = pa.table({"record": list(range(len(outcome.predictions))), "prediction": outcome.predictions})
                write_table(where / "predictions" / f"{e.data.task}-{e.split}-{e.language}.parquet", table)


def _scores(outcomes: Sequence[Outcome]) -> pa.Table:
    rows = []
    for outcome in outcomes:
        e = outcome.evaluation
        for metric, value in outcome.scores.items():
            rows.append(
                {
                    "task": e.data.task,
                    "language": e.language,
                    "split": e.split,
                    "metric": metric,
                    "value": float(value),
                    "num_eval_examples": outcome.num_items,
                    "selection": metric == "headline" and e.selection,
                }
            )
    return pa.Table.from_pylist(rows, SCORE_FIELDS)


def _items(outcomes: Sequence[Outcome]) -> pa.Table:
    tables = []
    for outcome in outcomes:
        e = outcome.evaluation
        for statistic, values in outcome.items.items():
            n = len(values)
            columns = [
                [e.data.task] * n,
                [e.language] * n,
                [e.split] * n,
                list(range(n)),
                [statistic] * n,
                np.asarray(values, dtype=np.float64),
            ]
            tables.append(pa.table(columns, schema=ITEM_FIELDS))
    return pa.concat_tables(tables) if tables else ITEM_FIELDS.empty_table()
