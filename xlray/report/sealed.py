"""Test scores of a sweep, opened for its report. A discipline, no encryption: each opening is recorded and reported."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from xlray.analysis import WITHOUT_TATOEBA, Point
from xlray.analysis.results import HEADLINE, UNSEALED_FILE, mean_headline, without_tatoeba
from xlray.errors import InputError
from xlray.phases.spec import RetrievalSpec
from xlray.phases.store import Store
from xlray.plan.jobs import read_job
from xlray.plan.rung_report import check_measured
from xlray.storage.files import file_digest
from xlray.storage.journal import append_line
from xlray.storage.standings import Entry, standings
from xlray.storage.sweep_folder import SweepFolder

SEALED_SCORES = "sealed/scores.parquet"


@dataclass(frozen=True)
class Opened:
    """Test scores of the answer's rung.

    Attributes:
        points: with their scores on the test sets in place of those on dev.
        missing: why others have none, to their number.
    """

    points: tuple[Point, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)


def open_test_scores(directory: SweepFolder, points: Sequence[Point]) -> Opened:
    """The scores on the test sets; that they were opened is recorded in `unsealed.jsonl`.

    Args:
        directory: of the sweep.
        points: that the answer is from. One without all its targets' test scores is left out.

    Raises:
        InputError: none of them has test scores, the text says why; or a stored job describes other phases than those that
            were measured.
        StoreError: a stored file is damaged.
    """
    measured = {name: found.current for name, found in standings(directory.journal.read()).trials.items()}
    tried = [_opened(directory, point, measured.get(point.trial_id, {})) for point in points]
    found = [point for point in tried if isinstance(point, Point)]
    reasons = Counter(reason for reason in tried if isinstance(reason, str))
    if not found:
        raise InputError(
            f"{directory.name}: a test set of every target must have been scored at the rung of the answer, but "
            f"{'; '.join(reasons) or 'no trial has finished a rung'}."
        )
    append_line(
        directory.storage,
        directory / UNSEALED_FILE,
        {
            "event": "report",
            "definition": file_digest(directory / "sweep.json"),
            "journal": directory.journal.digest(),
            "trials": sorted(point.trial_id for point in found),
            "rung": found[0].rung,
        },
    )
    return Opened(tuple(found), dict(reasons))


def _opened(directory: SweepFolder, point: Point, rungs: Mapping[int, Entry]) -> Point | str:
    """The point with its scores on test, or what it lacks of them."""
    if point.diverged:
        return "its trial diverged"
    path = directory / f"jobs/{point.trial_id}.json"
    if not path.is_file():
        return f"{path.name} of its trial is not there"
    store, scores, retrieval = Store(directory.storage), {}, set()
    job = read_job(path)
    check_measured(job.phases, rungs, f"{directory.name}: trial {point.trial_id}")
    for spec in job.phases.targets(point.rung_index):
        if not any(evaluation.selection for evaluation in spec.evaluations):
            continue
        task = spec.evaluations[0].data.task
        language = point.languages[0]
        if not any(evaluation.sealed and evaluation.language == language for evaluation in spec.evaluations):
            return f"no test file of {task} was there when it ran"
        if not store.has(spec) or SEALED_SCORES not in store.done(spec)["files"]:
            return f"the phase that scores {task} is not in the storage"
        rows = pq.read_table(store.open(spec, SEALED_SCORES)).to_pylist()
        rows = [row for row in rows if row["metric"] == HEADLINE and row["language"] == language]
        headlines = [row["value"] for row in rows if row["value"] is not None]
        if not headlines:
            return f"the test set of {task} has no labels"
        scores[task] = headlines[0]
        retrieval |= {task} if isinstance(spec, RetrievalSpec) else set()
    if not scores:
        return "no target was evaluated"
    means = {point.headline: mean_headline(scores), WITHOUT_TATOEBA: without_tatoeba(scores, retrieval)}
    return dataclasses.replace(point, scores={**means, **scores})
