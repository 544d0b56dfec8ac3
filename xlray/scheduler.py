"""When a trial goes on: a pure decision over the journal, and Ray Tune's scheduler around it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from xlray.config import Stopping

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """What happens to a trial at a rung.

    Attributes:
        action: "continue" or "stop".
        reason: for people.
        cutoff: score of the last trial above the cut, or None where there was no cut.
        probability: of going on, given the score: 1 above the cut, the survival probability below.
    """

    action: str
    reason: str
    cutoff: float | None
    probability: float


def decide(
    journal: Iterable[Entry],
    trial_id: str,
    cell: str,
    role: str,
    rung_index: int,
    score: float,
    diverged: bool,
    stopping: Stopping,
    last_rung_index: int,
) -> Decision:
    """ASHA's stopping rule (Li et al. 2020) within a cell, with recorded survival below the cut.

    A trial above the best `1 / reduction_factor` of the scores reported so far at this rung in its cell goes on; below,
    it goes on with the survival probability, by a draw that is a hash of (trial, rung), so that asking again gives the
    same answer. `measure` trials are never stopped and enter no cut. A score that is not a number, or a trunk that
    diverged, ends a trial of either role.

    Args:
        journal: entries with `event`, `trial_id`, `cell`, `role`, `rung_index`, `score`; only "rung" events count.
    """
    earlier = {e["trial_id"]: e for e in journal if e.get("event") == "rung" and e["rung_index"] == rung_index}
    if trial_id in earlier:  # reported before a crash: the decision that was made stands
        known = earlier[trial_id]
        return Decision(known["decision"], known["reason"], known["cutoff"], known["probability"])
    if diverged or not math.isfinite(score):
        return Decision("stop", "diverged", None, 0.0)
    if role == "measure":
        return Decision("continue", "measure", None, 1.0)
    if rung_index == last_rung_index:
        return Decision("continue", "last rung", None, 1.0)
    peers = [
        float(e["score"])
        for e in earlier.values()
        if e["cell"] == cell
        and e["role"] == "explore"
        and isinstance(e["score"], (int, float))
        and math.isfinite(e["score"])
    ]
    ranked = sorted([*peers, score], reverse=True)
    cutoff = ranked[max(1, math.ceil(len(ranked) / stopping.reduction_factor)) - 1]
    if score >= cutoff:
        return Decision("continue", "above the cut", cutoff, 1.0)
    draw = int(hashlib.sha256(f"{trial_id}/{rung_index}".encode()).hexdigest()[:12], 16) / 16**12
    if draw < stopping.survival_probability:
        return Decision("continue", "below the cut, drawn to go on", cutoff, stopping.survival_probability)
    return Decision("stop", "below the cut", cutoff, stopping.survival_probability)


class RungScheduler(FIFOScheduler):  # type: ignore[misc]
    """Hands every reported rung to `on_rung`, which journals it and decides."""

    def __init__(self, on_rung: Callable[[str, dict[str, Any]], Decision]) -> None:
        super().__init__()
        self.on_rung = on_rung

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ray Tune's hook: called for every report of a trial."""
        decision = self.on_rung(trial.config["trial_id"], result)
        return str(TrialScheduler.STOP if decision.action == "stop" else TrialScheduler.CONTINUE)
