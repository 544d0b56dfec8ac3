"""Which subset to try next: a pure function of what the journal says. For the best subset, not for estimates."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from xlray.config.recipes import Subset
from xlray.config.sweep import SOURCE, Search, Sweep, Trial
from xlray.phases.spec import Spec
from xlray.plan.trials import SweepPlan, with_trials

NOISE = 0.5  # standard deviation of a score about the linear surrogate, that of all scores being 1
ATTEMPTS = 200

Tried = tuple[frozenset[str], float]


def proposed(sweep: Sweep, journal: Iterable[Mapping[str, Any]]) -> tuple[Trial, ...]:
    """The trials that the journal says were proposed, in order."""
    created = (e for e in journal if e["event"] == "created" and e.get("role") == SOURCE)
    entries = {e["trial_id"]: e for e in created}  # one that was dropped and is back is created twice
    return tuple(_trial(sweep, tuple(e["tasks"]), int(e["seed"]), i) for i, e in enumerate(entries.values()))


def next_trial(sweep: Sweep, journal: Sequence[Mapping[str, Any]]) -> Trial | None:
    """The trial to propose next; None once there are as many as the search may make.

    Seeds take turns. A subset that its seed has tried already is not proposed again.
    """
    search = sweep.search
    if search is None:
        return None
    before = proposed(sweep, journal)
    if len(before) >= search.num_trials:
        return None
    number, seed = len(before), sweep.seeds[len(before) % len(sweep.seeds)]
    created = [e for e in journal if e["event"] == "created" and int(e["seed"]) == seed]
    known = {frozenset(e["tasks"]) for e in created}
    draw = int(hashlib.sha256(f"{search.seed}/{number}".encode()).hexdigest()[:15], 16)
    propose = propose_optuna if search.method == "optuna" else propose_surrogate
    tasks = propose(search, observations(journal, search), known, draw)
    return None if tasks is None else _trial(sweep, tasks, seed, number)


def _trial(sweep: Sweep, tasks: Sequence[str], seed: int, position: int) -> Trial:
    subset = Subset(tuple(sorted(tasks)), SOURCE, None, position)
    return Trial(sweep.trial_config(subset, seed), SOURCE, subset)


def observations(journal: Iterable[Mapping[str, Any]], search: Search) -> list[Tried]:
    """What is known of subsets of the pool, in the journal's order: each trial's mean score above its rungs' means.

    Scores of different rungs are not comparable, so each counts from the mean of its rung and basis; a score that is no
    number counts for nothing.
    """
    tasks: dict[str, frozenset[str]] = {}
    scores: dict[str, dict[tuple[int, Any], float]] = {}
    for entry in journal:
        if entry["event"] in ("created", "outdated", "dropped"):  # until it is reported again, nothing is known there
            before, gone = scores.pop(entry["trial_id"], {}), entry.get("rungs")
            left = {place: score for place, score in before.items() if gone is not None and place[0] not in gone}
            scores |= {entry["trial_id"]: left} if left else {}
        if entry["event"] == "created":
            tasks[entry["trial_id"]] = frozenset(entry["tasks"])
        elif entry["event"] == "rung" and isinstance(entry["score"], (int, float)) and math.isfinite(entry["score"]):
            place = (entry["rung_index"], entry.get("basis"))
            scores.setdefault(entry["trial_id"], {})[place] = float(entry["score"])
    inside = {t: s for t, s in scores.items() if t in tasks and tasks[t] <= set(search.pool)}
    rungs: dict[tuple[int, Any], list[float]] = {}
    for found in inside.values():
        for place, score in found.items():
            rungs.setdefault(place, []).append(score)
    means = {place: float(np.mean(values)) for place, values in rungs.items()}
    return [(tasks[t], float(np.mean([v - means[place] for place, v in s.items()]))) for t, s in inside.items()]


def propose_surrogate(
    search: Search, tried: Sequence[Tried], known: set[frozenset[str]], draw: int
) -> tuple[str, ...] | None:
    """Thompson sampling (Thompson 1933) over a Bayesian linear model of membership.

    Each task adds its own weight to the score (as in Li, Nguyen and Zhang 2023); weights are normal a priori, so that the
    first proposals are random. One sample of the posterior is drawn, and the subset that is best under it proposed.
    """
    pool = sorted(search.pool)
    x = np.array([[name in tasks for name in pool] for tasks, _ in tried], dtype=float).reshape(len(tried), len(pool))
    y = np.array([value for _, value in tried])
    spread = float(y.std()) if len(y) > 1 and y.std() > 0 else 1.0
    design = np.column_stack([x, np.ones(len(tried))])  # the last column is the level
    precision = np.eye(len(pool) + 1) + design.T @ design / NOISE**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ design.T @ (y / spread) / NOISE**2
    random = np.random.Generator(np.random.PCG64(draw))
    root = np.linalg.cholesky((covariance + covariance.T) / 2)
    for _ in range(ATTEMPTS):
        weights = (mean + root @ random.standard_normal(len(pool) + 1))[:-1]
        order = np.argsort(-weights, kind="stable")
        size = max(search.sizes, key=lambda k: float(weights[order[:k]].sum()))
        tasks = frozenset(pool[i] for i in order[:size])
        if tasks not in known:
            return tuple(sorted(tasks))
    return None


def propose_optuna(
    search: Search, tried: Sequence[Tried], known: set[frozenset[str]], draw: int
) -> tuple[str, ...] | None:
    """Ray Tune's searcher over Optuna's TPE (Bergstra et al. 2011): one yes or no for each task, told all that was tried.

    A choice whose size is not asked for is taken to the nearest one that is, by tasks drawn at random. The searcher is
    recreated from the journal for each proposal: Tune would keep what it knows in a file of its own.
    """
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pool = sorted(search.pool)
    searcher = OptunaSearch(
        {name: optuna.distributions.CategoricalDistribution((False, True)) for name in pool},
        metric="score",
        mode="max",
        points_to_evaluate=[{name: name in tasks for name in pool} for tasks, _ in tried],
        evaluated_rewards=[value for _, value in tried],
        seed=draw % 2**32,
    )
    random = np.random.Generator(np.random.PCG64(draw))
    for attempt in range(ATTEMPTS):
        params = searcher.suggest(f"attempt-{attempt}") or {}
        inside = [name for name in pool if params[name]]
        outside = [name for name in pool if not params[name]]
        size = min(search.sizes, key=lambda k: (abs(k - len(inside)), k))
        for _ in range(len(inside) - size):
            inside.pop(int(random.integers(len(inside))))
        for _ in range(size - len(inside)):
            inside.append(outside.pop(int(random.integers(len(outside)))))
        if frozenset(inside) not in known:
            return tuple(sorted(inside))
    return None


def with_proposed(plan: SweepPlan, journal: Sequence[Mapping[str, Any]]) -> SweepPlan:
    """The plan with the trials that were proposed so far."""
    return with_trials(plan, proposed(plan.sweep, journal)) if plan.sweep.search is not None else plan


def propose(plan: SweepPlan, journal: Sequence[Mapping[str, Any]]) -> SweepPlan | None:
    """The plan with one more trial, or None where the search is over."""
    trial = next_trial(plan.sweep, journal)
    return None if trial is None else with_trials(plan, (trial,))


def with_stand_ins(plan: SweepPlan, before: Sequence[Mapping[str, Any]]) -> SweepPlan:
    """The plan with as many trials as the search may make, for its cost; which they will be is not known yet.

    Proposals that are told no more scores take their place: a phase costs the same whatever its tasks are, but for lengths.

    Args:
        before: the sweep's journal so far.
    """
    known = {entry.get("trial_id") for entry in before}
    new = (t for t in plan.trials if t.trial_id not in known)
    journal = [*before, *(_created(t.trial_id, t.config.tasks, t.config.seed, t.role) for t in new)]
    while (more := propose(plan, journal)) is not None:
        plan, trial = more, more.trials[-1]
        journal.append(_created(trial.trial_id, trial.config.tasks, trial.config.seed, trial.role))
    return plan


def _created(trial_id: str, tasks: Sequence[str], seed: int, role: str) -> dict[str, Any]:
    return {"event": "created", "trial_id": trial_id, "tasks": list(tasks), "seed": seed, "role": role}


def pool_specs(plan: SweepPlan) -> list[Spec]:
    """Phases that read everything that a proposed trial can: one trial on the whole pool, which is never run."""
    if plan.sweep.search is None:
        return []
    stand_in = replace(plan.trials[0], subset=Subset(plan.sweep.search.pool, SOURCE))
    config = plan.sweep.trial_config(stand_in.subset, plan.sweep.seeds[0])
    whole = with_trials(plan, (replace(stand_in, config=config),))
    return list(whole.phases[config.trial_id])
