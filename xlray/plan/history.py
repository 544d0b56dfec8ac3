"""The history of a search: what its sweep's journal says of trials, read once and carried on as entries are added."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xlray.config.search import SOURCE, Search
from xlray.storage.standings import Standings

Entry = Mapping[str, Any]
Point = dict[str, Any]
Told = tuple[frozenset[str], float]


@dataclass(frozen=True)
class Tried:
    """A point of the space that a trial stands at.

    Attributes:
        scores: of the rungs that it has reported, in order; () where it diverged.
        ended: it has reported the last rung.
    """

    point: Point
    scores: tuple[float, ...] = ()
    ended: bool = False


@dataclass
class History:
    """What proposals are made from. It is of one sweep, whose journal only grows.

    Attributes:
        position: entries of the journal that were read.
        found: how every trial stands.
        created: trial to the entry that it was created with, the last one of a trial that was dropped and is back.
        proposals: those of trials that the search proposed.
    """

    position: int = 0
    found: Standings = field(default_factory=Standings)
    created: dict[str, Entry] = field(default_factory=dict)
    proposals: dict[str, Entry] = field(default_factory=dict)
    _scores: dict[str, dict[tuple[int, Any], float]] = field(default_factory=dict)  # of trials by rung and basis
    _tried: dict[str, Tried | None] = field(default_factory=dict)  # of trials of which nothing was read since

    def read(self, journal: Sequence[Entry]) -> None:
        """Take what the journal says now and was not read yet."""
        for entry in journal[self.position :]:
            self._add(entry)
        self.position = len(journal)

    def _add(self, entry: Entry) -> None:
        self.found.add(entry)
        event, trial_id = entry["event"], entry.get("trial_id")
        if event == "opened":  # trials that failed are tried again
            self._tried.clear()
        if trial_id is None:
            return
        self._tried.pop(trial_id, None)
        if event == "created":
            self.created[trial_id] = entry
            if entry.get("role") == SOURCE:
                self.proposals[trial_id] = entry
        if event in ("created", "outdated", "dropped"):  # until it is reported again, nothing is known there
            before, gone = self._scores.pop(trial_id, {}), entry.get("rungs")
            left = {place: score for place, score in before.items() if gone is not None and place[0] not in gone}
            self._scores |= {trial_id: left} if left else {}
        elif event == "rung" and _is_number(entry["score"]):
            place = (entry["rung_index"], entry.get("basis"))
            self._scores.setdefault(trial_id, {})[place] = float(entry["score"])

    def subsets(self, seed: int) -> set[frozenset[str]]:
        """The subsets of the trials of a seed."""
        return {frozenset(e["tasks"]) for e in self.created.values() if int(e["seed"]) == seed}

    def tried(self, seed: int, place: Callable[[Entry], Point | None], last_rung: int) -> list[Tried]:
        """What a searcher is told: the trials of a seed that stand inside the space, in the order of the journal.

        The sweep's own count, too: they have the values of the sweep's recipe. A trial that failed says nothing.

        Args:
            place: where the trial of an entry stands; None outside of the space. The same in every call.
            last_rung: its number.
        """
        for trial_id, entry in self.created.items():
            if trial_id not in self._tried:
                inside = int(entry["seed"]) == seed
                self._tried[trial_id] = self._tried_at(place(entry), trial_id, last_rung) if inside else None
        found = (self._tried[trial_id] for trial_id in self.created)
        return [one for one in found if one is not None]

    def _tried_at(self, point: Point | None, trial_id: str, last_rung: int) -> Tried | None:
        standing = self.found.trials[trial_id]
        if point is None or standing.status in ("failed", "dropped"):
            return None
        rungs = [rung for _, rung in sorted(standing.current.items())]
        scores = [float(rung["score"]) for rung in rungs if _is_number(rung["score"])]
        if len(scores) < len(rungs):  # it diverged: nothing that it reported before speaks for it
            return Tried(point)
        return Tried(point, tuple(scores), ended=last_rung in standing.current)

    def observations(self, search: Search) -> list[Told]:
        """What is known of subsets of the pool, by first report: each trial's mean score above its rungs' means.

        Scores of different rungs are not comparable, so each counts from the mean of its rung and basis; a score that is
        no number counts for nothing.
        """
        tasks = {trial_id: frozenset(entry["tasks"]) for trial_id, entry in self.created.items()}
        inside = {t: s for t, s in self._scores.items() if t in tasks and tasks[t] <= set(search.pool)}
        rungs: dict[tuple[int, Any], list[float]] = {}
        for found in inside.values():
            for place, score in found.items():
                rungs.setdefault(place, []).append(score)
        means = {place: float(np.mean(values)) for place, values in rungs.items()}
        return [(tasks[t], float(np.mean([v - means[place] for place, v in s.items()]))) for t, s in inside.items()]


def history(journal: Sequence[Entry]) -> History:
    """What a whole journal says."""
    found = History()
    found.read(journal)
    return found


def _is_number(score: Any) -> bool:
    return isinstance(score, int | float) and math.isfinite(score)
