"""What the journal says of each trial, indexed as entries are added: a decision reads its own population and rung only."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Entry = Mapping[str, Any]


def accuracy_name(language: str) -> str:
    """The name under which the mean of a language's headlines is reported: `fi_accuracy`."""
    return f"{language}_accuracy"


def accuracy_of(entry: Entry) -> float | None:
    """The mean headline of a rung's entry in the sweep's language; earlier versions named it after Finnish alone."""
    found: float | None = entry.get("accuracy", entry.get("fi_accuracy"))
    return found


@dataclass
class Standing:
    """What the journal says of one trial; later entries win.

    Attributes:
        status: created, running, paused, interrupted, finished, stopped, failed or dropped (no longer in the sweep).
        error: of the last failure.
        cell, population, role, seed: as the sweep has them now; entries of rungs keep the role under which they were
            reported.
        rungs: rung index to its entry. Its decision stands; its numbers are those of now unless it is outdated.
        outdated: rungs whose numbers are of other phases than the sweep's of now, and are to be read again.
        promoted: rungs that hold it no more, though it was reported below the cut: it rose into the best, or was opened
            again.
        reopened: those of them at which it was reopened, manually or as a trial that is measured now.
        num_attempts: times it was started.
        failures: kind of failure to how often it was retried for it, since the sweep was last opened.
    """

    status: str = "created"
    error: str = ""
    cell: str = ""
    population: str = ""
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
    """What the journal says of every trial, and the scores of each population and rung.

    Attributes:
        trials: by id.
        ranked: (population, rung index) to (-score, trial id) of the explored trials, best first; a score that is no number
            is not in it, nor one that is outdated.
    """

    trials: dict[str, Standing] = field(default_factory=dict)
    ranked: dict[tuple[str, int], list[tuple[float, str]]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Take one entry of the journal."""
        event = entry["event"]
        if event == "opened":  # what an earlier driver left running, or failed, is retried by this one
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
            if "rung_index" in entry:  # reopened: what was decided at that rung holds it no more
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
            standing.population = population_of(entry) or standing.population
        elif standing.status in ("paused", "finished", "stopped"):
            standing.status = "created"
        self._outdate(standing, entry.get("rungs", list(standing.rungs)))

    def _add_rung(self, standing: Standing, entry: Entry) -> None:
        index, score = entry["rung_index"], entry.get("score")
        standing.cell, standing.role = standing.cell or entry.get("cell", ""), standing.role or entry.get("role", "")
        standing.population = standing.population or population_of(entry)
        self._outdate(standing, [index])
        standing.rungs[index] = entry
        standing.outdated.discard(index)
        if entry.get("role") != "measure" and isinstance(score, (int, float)) and math.isfinite(score):
            bisect.insort(self.ranked.setdefault((population_of(entry), index), []), (-float(score), entry["trial_id"]))
        if entry.get("decision") == "stop" and not passed(standing, index):  # what it reported further on is void
            standing.rungs = {i: known for i, known in standing.rungs.items() if i <= index}
            standing.outdated &= standing.rungs.keys()

    def _outdate(self, standing: Standing, rungs: Iterable[int]) -> None:
        """Take rungs out of the ranking until they are reported again."""
        for index in rungs:
            entry = standing.rungs.get(index)
            if entry is None:
                continue
            standing.outdated.add(index)
            if isinstance(entry.get("score"), (int, float)) and math.isfinite(entry["score"]):
                ranked = self.ranked.get((population_of(entry), index), [])
                place = (-float(entry["score"]), entry["trial_id"])
                position = bisect.bisect_left(ranked, place)
                if ranked[position : position + 1] == [place]:
                    del ranked[position]


def population_of(entry: Entry) -> str:
    """Within which a trial competes: its cell, unless a sweep with axes says which cells compete together."""
    return str(entry.get("population", entry.get("cell", "")))


def standings(journal: Iterable[Entry]) -> Standings:
    """What a whole journal says."""
    found = Standings()
    for entry in journal:
        found.add(entry)
    return found


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


OPEN_STATES = ("created", "running", "paused", "interrupted")
