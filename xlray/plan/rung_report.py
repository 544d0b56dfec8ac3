"""What a trial has to report at a rung, read from its stored phases. Standard library, numpy and pyarrow only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xlray.errors import InputError
from xlray.phases.spec import Phases, RetrievalSpec, TrainSpec, phase_hash
from xlray.phases.store import Store
from xlray.plan.asha import Decision
from xlray.plan.trials import ranking_languages
from xlray.storage.journal import finite
from xlray.storage.standings import accuracy_name, is_by_rank
from xlray.tasks.languages import language_name

NOT_FINITE = "the loss is not finite"


def not_finite(degenerate: str | None) -> bool:
    """Whether a degenerate phase left no weights. One that learned nothing keeps its own, and what follows continues."""
    return (degenerate or "").startswith(NOT_FINITE)


def diverged(kind: str, degenerate: str | None) -> bool:
    """Whether nothing can be built on a phase. One that degenerated in another way keeps its numbers."""
    return kind in ("trunk", "cooldown") and not_finite(degenerate)


def measured_by(phases: Phases, index: int) -> list[str]:
    """Hashes of the phases whose scores make up a rung; each covers all that came before it."""
    return [phase_hash(spec) for spec in phases.targets(index)]


def check_measured(phases: Phases, rungs: Mapping[int, Mapping[str, Any]], where: str) -> None:
    """Check that the rungs of a trial were read from these phases, those of its stored job document.

    The two differ while the inputs of a finished sweep have changed and changed back: its numbers are read from the store
    again, and its jobs are written at the end of that run.

    Args:
        rungs: the trial's entries in the journal, by index; entries of earlier versions do not name their phases.

    Raises:
        InputError: a rung was read from others.
    """
    for index, entry in rungs.items():
        if entry.get("phases") not in (None, measured_by(phases, index)):
            raise InputError(
                f"{where}: its stored job must describe the phases that its numbers were read from, but describes others at "
                f"rung {entry['rung']}: the sweep's inputs have changed and changed back since it was computed; run the sweep "
                "again, which writes its jobs."
            )


def rung_entry(
    place: tuple[str, str, str, int],
    report: Mapping[str, Any],
    read_from: Mapping[str, Any],
    decision: Decision,
    known: Mapping[str, Any],
    languages: Sequence[str],
) -> dict[str, Any]:
    """The journal's entry of a reported rung. `accuracy` and `scores` are of the first language.

    Args:
        place: id, cell and role of the trial, index of the rung.
        report: see `rung_report`.
        read_from: `basis` (what the score is a mean of) and `phases` (hashes of those that it was read from).
        decision: what was decided; one that stands was made on another score where this one is new: `decided_on`.
        known: the entry before, or {}.
        languages: that targets are evaluated in.
    """
    first, *others = languages

    def in_language(language: str) -> dict[str, Any]:
        prefix = f"{language}/"
        return {key.removeprefix(prefix): value for key, value in report.items() if key.startswith(prefix)}

    stands = decision.reason == known.get("reason") and is_by_rank(known)
    entry = {
        "event": "rung",
        **dict(zip(("trial_id", "cell", "role", "rung_index"), place, strict=True)),
        **{key: report[key] for key in ("rung", "score", "degenerate")},
        "accuracy": report[accuracy_name(first)],
        **{accuracy_name(language): report[accuracy_name(language)] for language in languages},
        "scores": in_language(first),
        **({"scores_in": {language: in_language(language) for language in others}} if others else {}),
        **read_from,
        "decision": decision.action,
        "reason": decision.reason,
        "cutoff": decision.cutoff,
        "probability": decision.probability,
        "decided_on": known.get("decided_on", known["score"]) if stands else report["score"],
    }
    return dict(finite(entry))


def rung_report(
    store: Store, phases: Phases, index: int, select_by: str, languages: Sequence[str]
) -> dict[str, Any] | None:
    """What is reported of a rung: see `rung_metrics`, and what degenerated.

    A target without a score makes the mean of its language NaN, and `degenerate` names it.

    Args:
        phases: of the trial.
        select_by: the signal that ranks trials.
        languages: that targets are evaluated in, that of the headline first.

    Returns:
        None if a phase up to this rung is not stored.

    Raises:
        StoreError: a stored score was damaged.
    """
    degenerate: list[str] = []
    headlines: dict[str, dict[str, float]] = {language: {} for language in languages}
    signals: dict[str, float] = {}
    retrieval: set[str] = set()
    broken = False
    rung, needed = phases.rungs[index], phases.up_to(index)
    first_target = len(needed) - len(rung.targets)
    for i, spec in enumerate(needed):
        if not store.has(spec):
            return None
        reason = store.done(spec)["record"]["degenerate"]
        degenerate += [f"{spec.kind}: {reason}"] if reason else []
        broken = diverged(spec.kind, reason)
        if broken:  # the rung has no scores
            break
        if i >= first_target:
            for language in languages:
                found = target_headlines(store, spec, (language,))
                headlines[language] |= found
                lacking = [task for task, value in found.items() if math.isnan(value) and not reason]
                degenerate += [f"{task}: no score on {language_name(language)} dev" for task in lacking]
            signals |= target_headlines(store, spec, ranking_languages(spec, select_by, languages))
            retrieval |= set(found) if isinstance(spec, RetrievalSpec) else set()
    if broken:
        headlines, signals = {language: {} for language in languages}, {}
    metrics = rung_metrics(headlines, signals, retrieval)
    place = {"rung_index": index, "rung": rung.num_examples, "degenerate": "; ".join(degenerate), "diverged": broken}
    return {**metrics, **place}


def target_headlines(store: Store, spec: TrainSpec | RetrievalSpec, languages: Sequence[str]) -> dict[str, float]:
    """`{task: headline}` of a finished target phase, as the mean over the dev sets in some languages; {} of none.

    NaN where one of these has no score, so that no mean is over fewer than it names.
    """
    if not languages:
        return {}
    rows = pq.read_table(store.open(spec, "scores.parquet")).to_pylist()
    dev = {r["language"]: r["value"] for r in rows if r["metric"] == "headline" and r["split"] == "dev"}
    return {spec.evaluations[0].data.task: float(np.mean([dev.get(language, math.nan) for language in languages]))}


def rung_metrics(
    headlines: Mapping[str, Mapping[str, float]],
    signals: Mapping[str, float],
    retrieval_tasks: Sequence[str] | set[str],
) -> dict[str, Any]:
    """The numbers of a rung: of each language the headlines of targets and their mean; `score`, by which trials rank.

    `score` is the mean of the trained targets: retrieval moves by tens of points and would
    decide every cut.

    Args:
        headlines: language to target to its headline on dev.
        signals: the same on the dev sets that rank trials.
        retrieval_tasks: targets that train nothing and do not rank trials.
    """
    trained = [v for task, v in signals.items() if task not in retrieval_tasks]
    ranked = trained or list(signals.values())
    found: dict[str, Any] = {"score": float(np.mean(ranked)) if ranked else math.nan}
    for language, values in headlines.items():
        found[accuracy_name(language)] = float(np.mean(list(values.values()))) if values else math.nan
        found |= {f"{language}/{task}": value for task, value in values.items()}  # flat, as Tune's loggers want it
    return found


def rung_line(metrics: Mapping[str, Any], num_rungs: int, languages: Sequence[str]) -> str:
    """One line for people about a rung that is reported; see `rung_report`."""
    first = languages[0]

    def shown(value: float) -> str:
        return f"{value:.1f}" if math.isfinite(value) else "-"

    each = ", ".join(
        f"{key.removeprefix(f'{first}/')} {shown(value)}"
        for key, value in metrics.items()
        if key.startswith(f"{first}/")
    )
    means = [f"{language_name(language)} {shown(metrics[accuracy_name(language)])} %" for language in languages]
    means[0] += f" ({each})"
    broken = f"; degenerate: {metrics['degenerate']}" if metrics["degenerate"] else ""
    place = f"rung {metrics['rung_index'] + 1} of {num_rungs} ({metrics['rung']:,} examples)"
    return f"{place}: {', '.join(means)}{broken}"
