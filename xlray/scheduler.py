"""When a trial goes on: pure decisions over what the journal says. No framework.

`Standings` is the journal, indexed; it is built by adding entries one by one, so that a decision among 10,000 trials
looks at its own cell and rung only.
"""

from __future__ import annotations

import bisect
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xlray.config import Stopping

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Decision:
    """What happens to a trial at a rung.

    Attributes:
        action: "continue", "stop" or "pause" (holds no devices; goes on once it is promoted).
        reason: for people.
        cutoff: score of the last trial above the cut, or None where there was no cut.
        probability: of going on, given the score: 1 above the cut, the survival probability below.
    """

    action: str
    reason: str
    cutoff: float | None
    probability: float


@dataclass
class Standing:
    """What the journal says of one trial; later entries win.

    Attributes:
        status: created, running, paused, interrupted, finished, stopped, failed or dropped (no longer in the sweep).
        error: of the last failure.
        cell, role, seed: as the sweep has them now; entries of rungs keep the role under which they were reported.
        rungs: rung index to its entry. Its decision stands; its numbers are those of now unless it is outdated.
        outdated: rungs whose numbers are of other phases than the sweep's of now, and are to be read again.
        promoted: rungs that hold it no more, though it was reported below the cut: it rose into the best, or was opened
            again.
        reopened: those of them at which it was opened again, by hand or as a trial that is measured now.
        num_attempts: times it was started.
        failures: kind of failure to how often it was tried again for it, since the sweep was last opened.
    """

    status: str = "created"
    error: str = ""
    cell: str = ""
    role: str = ""
    seed: int | None = None
    rungs: dict[int, Entry] = field(default_factory=dict)
    outdated: set[int] = field(default_factory=set)
    promoted: set[int] = field(default_factory=set)
    reopened: set[int] = field(default_factory=set)
    num_attempts: int = 0
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def current(self) -> dict[int, Entry]:
        """The rungs whose numbers are those of the sweep as it is now."""
        return {index: entry for index, entry in self.rungs.items() if index not in self.outdated}

    @property
    def last(self) -> Entry:
        """The entry of the last of these; {} if there is none."""
        return max(self.current.items(), default=(0, {}), key=lambda item: item[0])[1]


@dataclass
class Standings:
    """What the journal says of every trial, and the scores of each cell and rung.

    Attributes:
        trials: by id.
        ranked: (cell, rung index) to (-score, trial id) of the explored trials, best first; a score that is no number
            is not in it, nor one that is outdated.
    """

    trials: dict[str, Standing] = field(default_factory=dict)
    ranked: dict[tuple[str, int], list[tuple[float, str]]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Take one entry of the journal."""
        event = entry["event"]
        if event == "opened":  # what an earlier driver left running, or failed, is tried again by this one
            for standing in self.trials.values():
                standing.failures = {}
                if standing.status in ("running", "interrupted", "failed"):
                    standing.status = "created"
            return
        name = entry.get("trial_id", entry.get("job"))
        if name is None:
            return
        standing = self.trials.setdefault(name, Standing())
        if event == "rung":
            self._add_rung(standing, entry)
        elif event in ("created", "dropped", "outdated"):
            self._place(standing, entry)
        elif event == "promoted":
            standing.promoted.add(entry["rung_index"])
            standing.status = "created" if standing.status in ("paused", "stopped") else standing.status
        elif event == "retried":
            standing.status, standing.error = "created", entry.get("error", "") or ""
            standing.failures[entry["kind"]] = standing.failures.get(entry["kind"], 0) + 1
            if "rung_index" in entry:  # opened again: what was decided at that rung holds it no more
                standing.promoted.add(entry["rung_index"])
                standing.reopened.add(entry["rung_index"])
        elif event in ("running", "paused", "interrupted", "finished", "stopped", "failed"):
            standing.status, standing.error = event, entry.get("error", "") or ""
            standing.num_attempts += event == "running"
            if event == "paused" and max(standing.rungs) in standing.promoted:  # it rose while it was being stopped
                standing.status = "created"

    def _place(self, standing: Standing, entry: Entry) -> None:
        """Take that a trial was created (once more where it is back, or its place changed), dropped or is outdated."""
        if entry["event"] != "outdated":
            standing.status, standing.error = entry["event"], ""
            for name in ("cell", "role", "seed"):
                setattr(standing, name, entry.get(name, getattr(standing, name)))
        elif standing.status in ("paused", "finished", "stopped"):
            standing.status = "created"
        self._outdate(standing, entry.get("rungs", list(standing.rungs)))

    def _add_rung(self, standing: Standing, entry: Entry) -> None:
        index, score = entry["rung_index"], entry.get("score")
        standing.cell, standing.role = standing.cell or entry.get("cell", ""), standing.role or entry.get("role", "")
        self._outdate(standing, [index])
        standing.rungs[index] = entry
        standing.outdated.discard(index)
        if entry.get("role") != "measure" and isinstance(score, (int, float)) and math.isfinite(score):
            bisect.insort(
                self.ranked.setdefault((entry.get("cell", ""), index), []), (-float(score), entry["trial_id"])
            )
        if entry.get("decision") == "stop" and not passed(standing, index):  # what it reported further on is void
            standing.rungs = {i: known for i, known in standing.rungs.items() if i <= index}
            standing.outdated &= standing.rungs.keys()

    def _outdate(self, standing: Standing, rungs: Iterable[int]) -> None:
        """Take rungs out of the ranking until they are reported anew."""
        for index in rungs:
            entry = standing.rungs.get(index)
            if entry is None:
                continue
            standing.outdated.add(index)
            if isinstance(entry.get("score"), (int, float)) and math.isfinite(entry["score"]):
                ranked = self.ranked.get((entry.get("cell", ""), index), [])
                place = (-float(entry["score"]), entry["trial_id"])
                position = bisect.bisect_left(ranked, place)
                if ranked[position : position + 1] == [place]:
                    del ranked[position]


def standings(journal: Iterable[Entry]) -> Standings:
    """What a whole journal says."""
    found = Standings()
    for entry in journal:
        found.add(entry)
    return found


def decide(
    found: Standings,
    trial_id: str,
    cell: str,
    role: str,
    rung_index: int,
    score: float,
    diverged: bool,
    stopping: Stopping,
    last_rung_index: int,
) -> Decision:
    """ASHA (Li et al. 2020) within a cell, with recorded survival below the cut.

    A trial among the best `1 / reduction_factor` of the scores reported so far at this rung in its cell goes on; below,
    it goes on with the survival probability, by a draw that is a hash of (trial, rung), so that asking again gives the
    same answer. Otherwise it stops, or under `promote` pauses until it has risen; see `promotions`. `measure` trials are
    never stopped and enter no cut. A score that is not a number, or a trunk that diverged, ends a trial of either role.
    """
    standing = found.trials.get(trial_id)
    known = None if standing is None else standing.rungs.get(rung_index)
    broken = diverged or not math.isfinite(score)
    # Reported before a crash, or on other numbers: that decision stands, unless there are numbers on one side only. Where
    # the sweep got a further rung there was none yet.
    stands = known is not None and (known["reason"] == "diverged") == broken
    if known is not None and stands and (known["reason"] != "last rung" or rung_index == last_rung_index):
        return Decision(known["decision"], known["reason"], known["cutoff"], known["probability"])
    if broken:
        return Decision("stop", "diverged", None, 0.0)
    if role == "measure":
        return Decision("continue", "measure", None, 1.0)
    if rung_index == last_rung_index:
        return Decision("continue", "last rung", None, 1.0)
    ranked = found.ranked.get((cell, rung_index), [])
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
        return Decision("continue", "below the cut, drawn to go on", shown, stopping.survival_probability)
    action = "pause" if stopping.promote else "stop"
    return Decision(action, "below the cut", shown, stopping.survival_probability)


def num_above(num_scores: int, stopping: Stopping) -> int:
    """How many of a rung's scores are above the cut.

    Rounded up where a trial below is lost, so that the first goes on; rounded down where it waits for its promotion.
    """
    share = num_scores / stopping.reduction_factor
    return math.floor(share) if stopping.promote else max(1, math.ceil(share))


def survives(trial_id: str, rung_index: int, stopping: Stopping) -> bool:
    """Whether a trial below the cut is drawn to go on all the same."""
    draw = int(hashlib.sha256(f"{trial_id}/{rung_index}".encode()).hexdigest()[:12], 16) / 16**12
    return draw < stopping.survival_probability


def promotions(found: Standings, cell: str, rung_index: int, stopping: Stopping) -> list[dict[str, Any]]:
    """The `promoted` entries that are due at a rung: trials reported below the cut that are above it by now.

    A trial that had been drawn to go on is promoted too: it would have gone on without the draw, so its probability of
    going on becomes 1, and weights by its inverse stay right.
    """
    if not stopping.promote:
        return []
    ranked = found.ranked.get((cell, rung_index), [])
    above = ranked[: num_above(len(ranked), stopping)]
    due = []
    for _, trial_id in above:
        standing = found.trials[trial_id]
        below = standing.rungs[rung_index]["reason"].startswith("below the cut")
        if below and rung_index not in standing.promoted:
            place = {"event": "promoted", "trial_id": trial_id, "cell": cell, "rung_index": rung_index}
            due.append({**place, "cutoff": -above[-1][0], "probability": 1.0})
    return due


def is_by_rank(entry: Entry) -> bool:
    """Whether what was decided at a rung was decided by the trial's rank there."""
    return str(entry.get("reason")).startswith(("above the cut", "below the cut"))


def is_cut(standing: Standing) -> bool:
    """Whether a trial was kept by its rank from going beyond the last rung that it has reported."""
    last = max(standing.rungs, default=None)
    return last is not None and not passed(standing, last) and is_by_rank(standing.rungs[last])


def passed(standing: Standing, rung_index: int) -> bool:
    """Whether a trial may go beyond a rung that it has reported."""
    entry = standing.rungs[rung_index]
    return entry["decision"] == "continue" or (rung_index in standing.promoted and entry["reason"] != "diverged")


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


def replay(journal: Iterable[Entry], stopping: Stopping, last_rung_index: int) -> list[str]:
    """Decide again everything that a journal holds, each time from what stood before it.

    Returns:
        the differences, one line each: a rung whose decision would be another one, a promotion that was not due, one that
        was due and is missing at the end. Empty if the journal is the journal of its own decisions.
    """
    found, differences = Standings(), list[str]()
    due: dict[tuple[str, int], Entry] = {}
    for entry in journal:
        event = entry["event"]
        if event == "rung":
            trial_id, index = entry["trial_id"], entry["rung_index"]
            score = float("nan") if entry["score"] is None else float(entry["score"])
            place = (trial_id, entry["cell"], entry["role"], index)
            last = index if entry["reason"] == "last rung" else last_rung_index  # the sweep may have grown since
            made = (entry["decision"], entry["reason"], entry["cutoff"], entry["probability"])
            again = decide(found, *place, score, entry["reason"] == "diverged", stopping, last)
            if made != (again.action, again.reason, again.cutoff, again.probability):
                differences.append(f"{trial_id} at rung {index}: {made} was decided, {again} is now.")
        elif event == "promoted":
            key = (entry["trial_id"], entry["rung_index"])
            if due.pop(key, None) is None:
                differences.append(f"{key[0]} at rung {key[1]}: promoted, but that was not due.")
        found.add(entry)
        if event == "rung":
            cell, index = entry["cell"], entry["rung_index"]
            due |= {(p["trial_id"], index): p for p in promotions(found, cell, index, stopping)}
    return differences + [f"{key[0]} at rung {key[1]}: a promotion was due." for key in due]
