"""A sweep as its journal says it is, taken in entry by entry: pure, and an entry costs the same however long the journal is."""

from __future__ import annotations

import bisect
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from xlray.monitor.view import ORDER, Row, last_line
from xlray.plan.jobs import readable_name
from xlray.storage.cells import cell_order
from xlray.storage.standings import OPEN_STATES, Entry, Standing, Standings, accuracy_name, accuracy_of, population_of

ENDINGS = ("finished", "stopped", "paused", "interrupted", "failed", "retried")
NOTES = ("halted", "failed", "retried", "damaged", "promoted", "opened", "closed")
NUM_NOTES = 12


@dataclass(frozen=True)
class Run:
    """A job that runs.

    Attributes:
        name: of its Train run.
        phases: names of those that it has to compute.
    """

    started: float
    name: str
    phases: frozenset[str]


@dataclass
class Tally:
    """What the trials of a cell have reported at a rung.

    Attributes:
        best: means over the targets, lowest first.
        sums: number of scores and their sum, of each target and of the mean over them ("").
    """

    rung: int | None = None
    reported: int = 0
    ended: int = 0
    best: list[float] = field(default_factory=list)
    sums: dict[str, tuple[int, float]] = field(default_factory=dict)

    def count(self, entry: Entry, sign: int) -> None:
        """Add the entry of a rung, or take it out."""
        self.rung = entry.get("rung", self.rung)
        self.reported += sign
        self.ended += sign * (entry.get("decision") == "stop")
        for name, value in {**entry.get("scores", {}), "": accuracy_of(entry)}.items():
            number, total = self.sums.get(name, (0, 0.0))
            if is_number(value):
                number, total = number + sign, total + sign * float(value)
            self.sums[name] = number, total
        if is_number(value := accuracy_of(entry)):
            if sign > 0:
                bisect.insort(self.best, float(value))
            else:
                del self.best[bisect.bisect_left(self.best, float(value))]

    def means(self) -> dict[str, float | None]:
        """Of each target, and of the mean over them (""); None where there is no number."""
        return {name: total / number if number else None for name, (number, total) in self.sums.items()}


@dataclass(frozen=True)
class _Counted:
    """What a trial adds to the totals; `place` orders it among the trials."""

    status: str
    cell: str
    place: tuple[int, float, int]
    rungs: Mapping[int, Entry]


@dataclass
class Following:
    """A sweep that is followed through its journal. `settle` brings the totals up to date before they are read.

    Attributes:
        places: trial to its cell, role, tasks and seed, as it was created last.
        versions: trial to the number of the change that it had last, oldest first; what somebody has not seen is above
            the version that they saw.
        open_runs: of each job that runs.
        stage: planned, pretrain or trials.
        opened: when the last driver took over, in seconds UTC.
        spent_s: seconds of the jobs that ended.
        notes: the last entries that people want to know of.
        counts: trials by status, without those that the sweep has no more.
        cells_version: the version at which `cells` changed last.
    """

    found: Standings = field(default_factory=Standings)
    places: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    version: int = 0
    open_runs: dict[str, Run] = field(default_factory=dict)
    stage: str = "planned"
    opened: float | None = None
    spent_s: float = 0.0
    num_phases: int = 0
    changed: float = 0.0
    halted: str = ""
    notes: list[Mapping[str, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cells_version: int = 0
    _changed_at: dict[str, float] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)  # trials in the order in which they became known
    _unsettled: dict[str, None] = field(default_factory=dict)
    _counted: dict[str, _Counted] = field(default_factory=dict)
    _ranked: list[tuple[tuple[int, float, int], str]] = field(default_factory=list)
    _tallies: dict[tuple[str, int], Tally] = field(default_factory=dict)
    _members: Counter[str] = field(default_factory=Counter)  # trials of each cell

    def place(self, trial_id: str, place: Mapping[str, Any]) -> None:
        """Take that the sweep has a trial, whether or not its journal says so yet."""
        self.places[trial_id] = place
        self._numbers.setdefault(trial_id, len(self._numbers))
        self._touch(trial_id)

    def add(self, entry: Entry) -> None:
        """Take one entry of the journal."""
        self.version += 1
        event, name = entry["event"], entry.get("trial_id", entry.get("job"))
        if event == "opened":
            self._open()
        self.changed = float(entry.get("time", self.changed))
        self.found.add(entry)
        if "trial_id" in entry:
            self._changed_at[name] = self.changed
            if event == "created" or name not in self.places:
                self.place(name, entry)
            self._touch(name)
        if event == "opened":
            self.opened, self.stage = self.changed, "planned"
        elif event == "running":
            self.open_runs[name] = Run(self.changed, str(entry.get("run", "")), frozenset(entry.get("phases", ())))
            self.stage = "trials" if "trial_id" in entry else "pretrain"
        elif event == "phase":
            self.num_phases += 1
        elif event == "halted":
            self.halted = str(entry["text"])
        elif event in ENDINGS:
            self._end(name, self.changed)
        if event in NOTES:
            self.notes = [*self.notes, entry][-NUM_NOTES:]

    def _open(self) -> None:
        for job in list(self.open_runs):  # their driver died, some time after its last entry
            self._end(job, self.changed)
        for trial_id, standing in self.found.trials.items():
            if trial_id in self.places and standing.status in ("running", "interrupted", "failed"):
                self.version += 1
                self._touch(trial_id)
        self.halted = ""

    def _end(self, job: str, at: float) -> None:
        run = self.open_runs.pop(job, None)
        self.spent_s += 0.0 if run is None else at - run.started

    def _touch(self, trial_id: str) -> None:
        self.versions.pop(trial_id, None)
        self.versions[trial_id] = self.version
        self._unsettled[trial_id] = None

    # --- totals ----------------------------------------------------------------------------------------------------

    def settle(self) -> list[str]:
        """Bring the totals up to date; returns the trials that have changed since the last time."""
        changed = list(self._unsettled)
        self._unsettled.clear()
        for trial_id in changed:
            self._count(trial_id)
        return changed

    def _count(self, trial_id: str) -> None:
        standing, place = self.standing(trial_id), self.places[trial_id]
        was, status = self._counted.pop(trial_id, None), standing.status
        old: Mapping[int, Entry] = {}
        if was is not None:
            self.counts[was.status] -= 1
            self._members[was.cell] -= 1
            del self._ranked[bisect.bisect_left(self._ranked, (was.place, trial_id))]
            old = was.rungs
        new: Mapping[int, Entry] = {}
        cell = _group_of(place)
        if status != "dropped":
            since = 0.0 if status == "created" else -self._changed_at.get(trial_id, 0.0)
            new = standing.current
            now = _Counted(status, cell, (ORDER.get(status, 2), since, self._numbers[trial_id]), new)
            self._counted[trial_id] = now
            self.counts[status] += 1
            self._members[cell] += 1
            bisect.insort(self._ranked, (now.place, trial_id))
        if was is None or status == "dropped" or was.cell != cell:
            self.cells_version = self.version
        for index in old.keys() | new.keys():
            before, after = old.get(index), new.get(index)
            if before is after:
                continue
            self.cells_version = self.version
            for entry, sign in ((before, -1), (after, 1)):
                if entry is not None:
                    self._tallies.setdefault((_group_of(entry), index), Tally()).count(entry, sign)

    def members(self) -> list[str]:
        """The trials that the sweep has now, in the order in which they became known."""
        return [trial_id for trial_id in self.places if self.standing(trial_id).status != "dropped"]

    def shown_first(self, most: int) -> list[str]:
        """The trials that fit: those that run, then those that ended last, then those that wait."""
        return [trial_id for _, trial_id in self._ranked[: max(1, most)]]

    def changed_since(self, version: int, most: int) -> list[str]:
        """The trials that have changed since a version, oldest change first."""
        newer = itertools.takewhile(lambda trial_id: self.versions[trial_id] > version, reversed(self.versions))
        return list(newer)[: -most - 1 : -1]

    def cell_names(self) -> list[str]:
        """The cells that have trials, the smallest first."""
        return sorted((cell for cell, number in self._members.items() if number), key=cell_order)

    def cells(self) -> list[dict[str, Any]]:
        """What each cell's trials have reported at each rung: how many, mean and best accuracy, mean per target."""
        rows = []
        for (cell, index), tally in sorted(self._tallies.items()):
            if tally.reported:
                means = tally.means()
                rows.append(
                    {
                        "cell": cell,
                        "rung_index": index,
                        "rung": tally.rung,
                        "reported": tally.reported,
                        "ended": tally.ended,
                        "trials": self._members[cell],
                        "accuracy": means.pop(""),
                        "best": tally.best[-1] if tally.best else None,
                        "scores": dict(sorted(means.items())),
                    }
                )
        return rows

    def job_seconds(self, now: float) -> float:
        """Seconds of all jobs, each for as long as it held its workers."""
        return self.spent_s + sum(now - run.started for run in self.open_runs.values())

    # --- trials ----------------------------------------------------------------------------------------------------

    def standing(self, trial_id: str) -> Standing:
        """What the journal says of a trial; it is created where it says nothing yet."""
        return self.found.trials.get(trial_id) or Standing()

    def title(self, job: str) -> str:
        """A trial's readable name; that of another job is its own."""
        place = self.places.get(job)
        return job if place is None else _name_of(place)

    def row(self, trial_id: str, phase: str = "", done: int = 0, steps: int = 0) -> Row:
        """A trial as it stands, with where it is in the phase that runs."""
        place, standing = self.places[trial_id], self.standing(trial_id)
        last = standing.last
        return Row(
            trial_id=trial_id,
            title=self.title(trial_id),
            status=standing.status,
            role=place.get("role", ""),
            cell=place.get("cell", ""),
            tasks=tuple(place.get("tasks", ())),
            seed=int(place.get("seed", 0)),
            phase=phase,
            done=done,
            steps=steps,
            rungs=len(standing.current),
            rung=last.get("rung"),
            accuracy=accuracy_of(last),
            scores=last.get("scores", {}),
            others={language: last.get(accuracy_name(language)) for language in last.get("scores_in", {})},
            degenerate=last.get("degenerate") or "",
            reason=last.get("reason", "") if standing.status in ("stopped", "paused") else "",
            error=last_line(standing.error),
            attempts=standing.num_attempts,
            values=place.get("values", {}),
        )


def _group_of(entry: Entry) -> str:
    """What a trial counts with: its cell; every proposal of a search has one of its own, so the population that it is in."""
    return population_of(entry) if entry.get("role") == "search" else str(entry.get("cell", ""))


def _name_of(created: Entry) -> str:
    seed, label = int(created.get("seed", 0)), str(created.get("label", ""))
    return readable_name(str(created["trial_id"]), created.get("tasks", ()), seed, label)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a score is there and finite."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def sweep_state(counts: Mapping[str, int], held: bool) -> str:
    """planned, running, interrupted, failed (ended, some trials failed) or finished.

    Args:
        counts: trials by status.
        held: a process runs the sweep.
    """
    if held:
        return "running"
    if not any(counts.values()):
        return "planned"
    if any(counts.get(status) for status in OPEN_STATES):
        return "interrupted"
    return "failed" if counts.get("failed") else "finished"
