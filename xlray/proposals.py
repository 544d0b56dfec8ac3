"""Trials that a search proposes, in a plan: those of the journal, the one to come, and stand-ins for what is not known yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from xlray.phases import PlannedPhase, Spec
from xlray.plan import SweepPlan, with_trials
from xlray.recipes import Subset
from xlray.search import SOURCE, next_trial, proposed


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
    phases: Sequence[PlannedPhase] = whole.phases[config.trial_id]
    return [planned.spec for planned in phases]
