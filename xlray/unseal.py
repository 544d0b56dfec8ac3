"""Test scores of a sweep, opened for its report. A discipline, no encryption: each opening is recorded and reported."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from xlray.analysis import FI_ACCURACY, WITHOUT_TATOEBA, Point
from xlray.canonical import InputError
from xlray.files import file_digest
from xlray.jobs import read_job
from xlray.journal import append_line, journal_digest
from xlray.phases import RetrievalSpec, TrainSpec
from xlray.results import HEADLINE, UNSEALED_FILE, fi_accuracy, without_tatoeba
from xlray.store import Store

SEALED_SCORES = "sealed/scores.parquet"


def open_test_scores(directory: Path, points: Sequence[Point]) -> tuple[Point, ...]:
    """The points with their scores on the test sets in place of those on dev; recorded in `unsealed.jsonl`.

    Args:
        directory: `<storage>/sweeps/<name>`.
        points: of the rung that the answer is from. One without all its targets' test scores is left out.

    Raises:
        InputError: none of them has test scores, since their files were missing when it ran.
        StoreError: a stored file is damaged.
    """
    found = [opened for point in points if (opened := _opened(directory, point)) is not None]
    if not found:
        raise InputError(
            f"{directory.name}: a test set of every target must have been evaluated at the rung of the answer, but there "
            "is none: test files were missing when it ran, or no trial has finished a rung."
        )
    append_line(
        directory / UNSEALED_FILE,
        {
            "event": "report",
            "definition": file_digest(directory / "sweep.json"),
            "journal": journal_digest(directory / "journal"),
            "trials": sorted(point.trial_id for point in found),
            "rung": found[0].rung,
        },
    )
    return tuple(found)


def _opened(directory: Path, point: Point) -> Point | None:
    path = directory / "jobs" / f"{point.trial_id}.json"
    if not path.is_file():
        return None
    store, scores, retrieval, wanted = Store(directory.parents[1]), {}, set(), 0
    for planned in read_job(path).phases:
        spec = planned.spec
        if planned.rung_index != point.rung_index or not isinstance(spec, TrainSpec | RetrievalSpec):
            continue
        if not any(evaluation.selection for evaluation in spec.evaluations):
            continue
        wanted += 1
        if not store.has(spec) or SEALED_SCORES not in store.done(spec)["files"]:
            return None
        for row in pq.read_table(store.open(spec, SEALED_SCORES)).to_pylist():
            if row["metric"] == HEADLINE and row["value"] is not None:
                scores[row["task"]] = row["value"]
                retrieval |= {row["task"]} if isinstance(spec, RetrievalSpec) else set()
    if not scores or len(scores) < wanted:
        return None
    means = {FI_ACCURACY: fi_accuracy(scores), WITHOUT_TATOEBA: without_tatoeba(scores, retrieval)}
    return dataclasses.replace(point, scores={**means, **scores})
