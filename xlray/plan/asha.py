"""When a trial continues: pure decisions over what the journal says. No framework.

`Standings` is the journal, indexed; it is built by adding entries one by one, so that a decision among 10,000 trials
looks at its own population and rung only.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xlray.config.sweep import Stopping
from xlray.storage.standings import Standing, Standings, passed


@dataclass(frozen=True)
class Report:
    """What a trial reports at a rung; `diverged` is whether its trunk did."""

    trial_id: str
    population: str
    role: str
    rung_index: int
    score: float
    diverged: bool = False


@dataclass(frozen=True)
class Decision:
    """What happens to a trial at a rung.

    Attributes:
        action: "continue", "stop" or "pause" (holds no devices; continues once it is promoted).
        reason: for people.
        cutoff: score of the last trial above the cut, or None where there was no cut.
        probability: of continuing, given the score: 1 above the cut, the survival probability below.
    """

    action: str
    reason: str
    cutoff: float | None
    probability: float


def decide(found: Standings, report: Report, stopping: Stopping, last_rung_index: int) -> Decision:
    """ASHA (Li et al. 2020) within a population, with recorded survival below the cut.

    A trial among the best `1 / reduction_factor` of the scores reported so far at this rung in its population continues; below,
    it continues with the survival probability, by a draw that is a hash of (trial, rung), so that asking again gives the
    same answer. Otherwise it stops, or under `promote` pauses until it has risen; see `promotions`. `measure` trials are
    never stopped and enter no cut. A score that is not a number, or a trunk that diverged, ends a trial of either role.
    """
    trial_id, rung_index, score = report.trial_id, report.rung_index, report.score
    standing = found.trials.get(trial_id)
    known = None if standing is None else standing.rungs.get(rung_index)
    broken = report.diverged or not math.isfinite(score)
    # Reported before a crash, or on other numbers: that decision stands, unless there are numbers on one side only. Where
    # the sweep got a further rung there was none yet.
    stands = known is not None and (known["reason"] == "diverged") == broken
    if known is not None and stands and (known["reason"] != "last rung" or rung_index == last_rung_index):
        return Decision(known["decision"], known["reason"], known["cutoff"], known["probability"])
    if broken:
        return Decision("stop", "diverged", None, 0.0)
    if report.role == "measure":
        return Decision("continue", "measure", None, 1.0)
    if rung_index == last_rung_index:
        return Decision("continue", "last rung", None, 1.0)
    ranked = found.ranked.get((report.population, rung_index), [])
    if known is not None:
        ranked = [peer for peer in ranked if peer[1] != trial_id]
    place = bisect.bisect_left(ranked, (-score, trial_id)) + 1
    above = num_above(len(ranked) + 1, stopping)
    cutoff = score
    if above == 0:
        cutoff = math.inf
    elif place > above:
        cutoff = -ranked[above - 1][0]
    elif above > place:  # the place of this trial pushes one down
        cutoff = -ranked[above - 2][0]
    if score >= cutoff:
        return Decision("continue", "above the cut", cutoff, 1.0)
    shown = None if math.isinf(cutoff) else cutoff
    if survives(trial_id, rung_index, stopping):
        return Decision("continue", "below the cut, drawn to continue", shown, stopping.survival_probability)
    action = "pause" if stopping.promote else "stop"
    return Decision(action, "below the cut", shown, stopping.survival_probability)


def num_above(num_scores: int, stopping: Stopping) -> int:
    """How many of a rung's scores are above the cut.

    Rounded up where a trial below is lost, so that the first continues; rounded down where it waits for its promotion.
    """
    share = num_scores / stopping.reduction_factor
    return math.floor(share) if stopping.promote else max(1, math.ceil(share))


def survives(trial_id: str, rung_index: int, stopping: Stopping) -> bool:
    """Whether a trial below the cut is drawn to continue anyway."""
    draw = int(hashlib.sha256(f"{trial_id}/{rung_index}".encode()).hexdigest()[:12], 16) / 16**12
    return draw < stopping.survival_probability


def promotions(found: Standings, population: str, rung_index: int, stopping: Stopping) -> list[dict[str, Any]]:
    """The `promoted` entries that are due at a rung: trials reported below the cut that are above it by now.

    A trial that had been drawn to continue is promoted too: it would have gone on without the draw, so its probability of
    continuing becomes 1, and weights by its inverse stay right.
    """
    if not stopping.promote:
        return []
    ranked = found.ranked.get((population, rung_index), [])
    above = ranked[: num_above(len(ranked), stopping)]
    due = []
    for _, trial_id in above:
        standing = found.trials[trial_id]
        below = standing.rungs[rung_index]["reason"].startswith("below the cut")
        if below and rung_index not in standing.promoted:
            place = {"event": "promoted", "trial_id": trial_id, "cell": standing.cell, "rung_index": rung_index}
            due.append({**place, "cutoff": -above[-1][0], "probability": 1.0})
    return due


def outcome(standing: Standing, last_rung_index: int) -> str:
    """What became of a trial that ended without an error: stopped, paused, finished or interrupted."""
    if not standing.rungs or standing.outdated:
        return "interrupted"
    last = max(standing.rungs)
    if not passed(standing, last):
        return "stopped" if standing.rungs[last]["decision"] == "stop" else "paused"
    return "finished" if last >= last_rung_index else "interrupted"


def next_trials(order: Sequence[str], found: Standings) -> list[str]:
    """The trials that may be started, in the order in which they should be.

    Promoted ones first, those at higher rungs before others (Li et al. 2020); then those that had been started; then in
    the order of the plan.
    """
    begun: list[str] = []
    fresh: list[str] = []
    for name in order:
        standing = found.trials.get(name)
        if standing is not None and standing.status == "created":
            (begun if standing.num_attempts or standing.promoted else fresh).append(name)
    return sorted(begun, key=lambda name: -max(found.trials[name].promoted, default=-1)) + fresh
