"""Test scores of a sweep, opened for its report. A discipline, no encryption: each opening is recorded and reported."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from xlray.analysis import WITHOUT_TATOEBA, Point
from xlray.analysis.other_languages import means_in
from xlray.analysis.results import HEADLINE, UNSEALED_FILE, mean_headline, without_tatoeba
from xlray.errors import InputError
from xlray.phases.spec import RetrievalSpec, TrainSpec
from xlray.phases.store import Store
from xlray.plan.jobs import read_job
from xlray.plan.rung_report import check_measured
from xlray.storage.files import file_digest
from xlray.storage.journal import append_line
from xlray.storage.standings import Entry, standings
from xlray.storage.sweep_folder import SweepFolder
from xlray.tasks.languages import language_name

SEALED_SCORES = "sealed/scores.parquet"


@dataclass(frozen=True)
class Opened:
    """Test scores of the answer's rung.

    Attributes:
        points: with their scores on the test sets in place of those on dev, in every language of the sweep.
        missing: why others have none, to their number.
        lacks: what these points have no score of in further languages, and why, to their number.
    """

    points: tuple[Point, ...] = ()
    missing: Mapping[str, int] = field(default_factory=dict)
    lacks: Mapping[str, int] = field(default_factory=dict)


def open_test_scores(directory: SweepFolder, points: Sequence[Point]) -> Opened:
    """The scores on the test sets; that they were opened is recorded in `unsealed.jsonl`.

    Args:
        directory: of the sweep.
        points: that the answer is from. One without all its targets' test scores in the language of the headline is left out.

    Raises:
        InputError: none of them has test scores, the text says why; or a stored job describes other phases than those that
            were measured.
        StoreError: a stored file is damaged.
    """
    measured = {name: found.current for name, found in standings(directory.journal.read()).trials.items()}
    lacks: Counter[str] = Counter()
    tried = [_opened(directory, point, measured.get(point.trial_id, {}), lacks) for point in points]
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
            "languages": list(found[0].languages),
        },
    )
    return Opened(tuple(found), dict(reasons), dict(lacks))


def _opened(directory: SweepFolder, point: Point, rungs: Mapping[int, Entry], lacks: Counter[str]) -> Point | str:
    """The point with its scores on test, or why it has none.

    Args:
        rungs: of its trial, by the journal.
        lacks: gets what it has no score of in further languages.
    """
    if point.diverged:
        return "its trial diverged"
    path = directory / f"jobs/{point.trial_id}.json"
    if not path.is_file():
        return f"{path.name} of its trial is not there"
    store = Store(directory.storage)
    scores, further, without, retrieval = dict[str, float](), dict[str, float](), list[str](), set[str]()
    job = read_job(path)
    check_measured(job.phases, rungs, f"{directory.name}: trial {point.trial_id}")
    for spec in job.phases.targets(point.rung_index):
        if not any(evaluation.selection for evaluation in spec.evaluations):
            continue
        task = spec.evaluations[0].data.task
        first, *others = (_headline(store, spec, task, language) for language in point.languages)
        if isinstance(first, str):
            return first
        scores[task] = first
        retrieval |= {task} if isinstance(spec, RetrievalSpec) else set()
        for language, value in zip(point.languages[1:], others, strict=True):
            if isinstance(value, str):
                without.append(f"{language_name(language)}: {value}")
            else:
                further[f"{task}@{language}"] = value
    if not scores:
        return "no target was evaluated"
    lacks.update(without)
    means = {point.headline: mean_headline(scores), WITHOUT_TATOEBA: without_tatoeba(scores, retrieval)}
    means |= means_in(point.languages[1:], scores, further)
    return dataclasses.replace(point, scores={**means, **scores, **further})


def _headline(store: Store, spec: TrainSpec | RetrievalSpec, task: str, language: str) -> float | str:
    """The headline of a target's phase on test in a language, or why there is none."""
    if not any(evaluation.sealed and evaluation.language == language for evaluation in spec.evaluations):
        return f"no test file of {task} was there when it ran"
    if not store.has(spec) or SEALED_SCORES not in store.done(spec)["files"]:
        return f"the phase that scores {task} is not in the storage"
    rows = pq.read_table(store.open(spec, SEALED_SCORES)).to_pylist()
    rows = [row for row in rows if row["metric"] == HEADLINE and row["language"] == language]
    return next((row["value"] for row in rows if row["value"] is not None), f"the test set of {task} has no labels")
