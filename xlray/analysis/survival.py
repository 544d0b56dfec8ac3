"""The probability with which a trial got past the cuts, and the weight that this gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xlray.storage.standings import Standing, is_by_rank


def survival_weights(trials: Mapping[str, Standing]) -> dict[tuple[str, int], float]:
    """Of each (trial, rung number): the inverse of the recorded probability of getting there, given its scores.

    A rung at which a trial could be stopped for certain has no survivors that stand for it: past such a rung no trial
    that met the cut has a weight in that population. Where all trials that were cut have been reopened, the cut has chosen
    nothing. Where only some were, they have no weight: people chose them. A trial that diverged was not stopped for its
    rank and counts as failed.

    Args:
        trials: what the journal says of each.
    """
    cuts = _cuts(trials)
    found: dict[tuple[str, int], float] = {}
    for trial_id, standing in trials.items():
        weight: float | None = 1.0
        for rung in range(max(standing.rungs, default=-1) + 2):
            if rung and weight is not None:
                entry = standing.rungs.get(rung - 1, {})
                chance = _chance(standing, rung - 1, entry, cuts.get((standing.population, rung - 1), []))
                weight = None if not chance else weight / chance
            if weight is not None:
                found[trial_id, rung] = weight
    return found


def _cuts(trials: Mapping[str, Standing]) -> dict[tuple[str, int], list[Standing]]:
    """Trials that their rank kept from continuing, by (population, rung), in the seeds that the sweep has."""
    seeds = {standing.seed for standing in trials.values() if standing.status != "dropped"}
    found: dict[tuple[str, int], list[Standing]] = {}
    for standing in trials.values():
        for index, entry in standing.rungs.items():
            kept = entry.get("decision", "continue") != "continue" and entry.get("reason") != "diverged"
            rose = index in standing.promoted - standing.reopened
            if kept and not rose and standing.seed in seeds:
                found.setdefault((standing.population, index), []).append(standing)
    return found


def _chance(standing: Standing, rung: int, entry: Mapping[str, Any], cut: Sequence[Standing]) -> float | None:
    """Of going beyond a rung, given the score there; None where it is not known, or was not drawn."""
    measured = entry.get("role") == "measure" and not is_by_rank(entry)
    if measured or (not entry and standing.role == "measure") or (cut and all(rung in s.reopened for s in cut)):
        return 1.0
    certain = any(not s.rungs[rung].get("probability") and rung not in s.reopened for s in cut)
    left_out = standing.role == "measure" and any(s.status == "dropped" for s in cut)
    if rung in standing.reopened or certain or left_out:
        return None
    return 1.0 if rung in standing.promoted else entry.get("probability")
