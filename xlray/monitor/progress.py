"""How far the phases of a sweep are: from their folders, the documents of their jobs and their workers' progress files."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xlray.errors import RemoteError
from xlray.phases.spec import Spec, TrainSpec, label
from xlray.phases.store import Store
from xlray.plan.forecast import steps_of
from xlray.plan.jobs import read_job
from xlray.storage.standings import OPEN_STATES
from xlray.storage.sweep_folder import SweepFolder

ASK_EVERY_S = 5.0  # an object store for what another machine may have done


@dataclass(frozen=True)
class PhaseWork:
    """A phase to be watched.

    Attributes:
        folder: where it lies in the storage; finished once `DONE` is in it.
        label: for people, such as "target udpos".
    """

    folder: Path
    kind: str
    label: str
    num_steps: int


def phase_work(spec: Spec, store: Store) -> PhaseWork:
    """What is watched of a phase."""
    name = spec.data[0].task if isinstance(spec, TrainSpec) and spec.kind == "target" else ""
    if isinstance(spec, TrainSpec) and spec.kind in ("trunk", "cooldown"):
        name = f"{spec.first_example + spec.num_examples if spec.kind == 'trunk' else spec.first_example:,}"
    if spec.kind == "retrieval":
        name = label(spec)
    return PhaseWork(store.folder(spec), spec.kind, f"{spec.kind} {name}".strip(), steps_of(spec))


def phases_of_job(path: Path) -> tuple[PhaseWork, ...]:
    """The phases of a job's document; none if it was not written."""
    if not path.is_file():
        return ()
    job = read_job(path)
    return tuple(phase_work(spec, Store(job.storage)) for spec in job.phases)


@dataclass
class Watch:
    """The phases of jobs as they become known, and what was found finished so far.

    Only phases of jobs that run are looked for, each until it is finished. In an object store a phase that is not
    finished on this machine is looked for now and then. Steps count once, however many jobs need the phase.

    Attributes:
        directory: of the sweep.
        phases: of each job that is known, in order.
        finished: folder to time of `DONE`.
        stored: folders that were finished when they became known; they cost nothing.
        done: steps of phases that are needed and finished, without those of what is stored.
        total: of all that are needed.
    """

    directory: SweepFolder
    phases: dict[str, tuple[PhaseWork, ...]] = field(default_factory=dict)
    finished: dict[Path, float] = field(default_factory=dict)
    stored: set[Path] = field(default_factory=set)
    done: int = 0
    total: int = 0
    _users: dict[Path, int] = field(default_factory=dict)  # jobs that need it
    _needed: dict[str, int] = field(default_factory=dict)  # how many of a job's phases are needed: the first ones
    _asked: dict[str, float] = field(default_factory=dict)  # what was looked for in an object store, and when

    def know(self, jobs: Mapping[str, tuple[PhaseWork, ...]]) -> None:
        """Take the phases of jobs; `need` says afterwards which of them are needed."""
        new = {p.folder: p for phases in jobs.values() for p in phases if p.folder not in self._users}
        storage = self.directory.storage
        if storage.remote is not None:
            storage.find_all(new, storage / "phases")
            self._asked |= dict.fromkeys(map(str, new), time.monotonic())
        for folder, phase in new.items():
            self._users[folder] = 0
            if self.look(phase):
                self.stored.add(folder)
        for job in jobs:
            self._need_first(job, 0)
        self.phases |= jobs

    def need(self, job: str, status: str) -> None:
        """Count what a job needs: everything while it is open, then what it finished, nothing once it was dropped."""
        phases = self.phases.get(job, ())
        number = len(phases)
        if status not in OPEN_STATES:  # phases run in order
            number = 0 if status == "dropped" else sum(1 for _ in itertools.takewhile(self.look, phases))
        self._need_first(job, number)

    def _need_first(self, job: str, number: int) -> None:
        phases, before = self.phases.get(job, ()), self._needed.get(job, 0)
        self._needed[job] = number
        for phase in (*phases[before:number], *phases[number:before]):
            was = self._users[phase.folder]
            now = self._users[phase.folder] = was + (1 if number > before else -1)
            if phase.folder not in self.stored:
                steps = phase.num_steps * (bool(now) - bool(was))
                self.total += steps
                self.done += steps if phase.folder in self.finished else 0

    def look(self, phase: PhaseWork) -> bool:
        """Whether the phase is finished."""
        if phase.folder not in self.finished:
            self._ask(phase.folder, self.directory.storage.find)
            try:
                self.finished[phase.folder] = (phase.folder / "DONE").stat().st_mtime
            except OSError:
                return False
            self.done += phase.num_steps if self._users[phase.folder] else 0
        return True

    def current(self, job: str) -> tuple[PhaseWork | None, int]:
        """The first phase of a job that is not finished, and its steps done by the worker's progress file."""
        before = 0.0
        for phase in self.phases.get(job, ()):
            if not self.look(phase):
                return phase, min(phase.num_steps, self._steps_done(phase, job, before))
            before = max(before, self.finished[phase.folder])
        return None, 0

    def _steps_done(self, phase: PhaseWork, job: str, before: float) -> int:
        # The file is of the phase before until this one has written it for the first time.
        path = self.directory / f"progress/{job}.json"
        self._ask(path, lambda path: self.directory.storage.fetch_small(path, again=True))
        try:
            found = json.loads(path.read_text())
            mine = found["kind"] == phase.kind and found["steps"] == phase.num_steps and found["time"] >= before
            return int(found["done"]) if mine else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def read_job(self, job: str, names: frozenset[str]) -> bool:
        """Read the phases of a job that was started, unless they are known; returns whether they are new.

        Args:
            names: of those that the journal says it has to compute. A document without them is that of an earlier run:
                the job's own is written just after the journal's entry.
        """
        if job in self.phases and names <= {phase.folder.name for phase in self.phases[job]}:
            return False
        path = self.directory / f"jobs/{job}.json"
        self._ask(path, lambda path: self.directory.storage.fetch_small(path, again=True))
        phases = phases_of_job(path)
        if phases in ((), self.phases.get(job)):
            return False
        self.know({job: phases})
        return True

    def _ask(self, path: Path, question: Callable[[Path], object]) -> None:
        """Ask an object store for a file or folder, now and then; what it does not answer now is asked again soon."""
        if self.is_due(str(path)):
            with contextlib.suppress(RemoteError):
                question(path)

    def is_due(self, what: str) -> bool:
        """Whether an object store is to be asked for something again; if so, it counts as asked."""
        now = time.monotonic()
        if self.directory.storage.remote is None or now - self._asked.get(what, -math.inf) < ASK_EVERY_S:
            return False
        self._asked[what] = now
        return True


def phases_of_jobs(jobs: Mapping[str, Sequence[Spec]], store: Store) -> dict[str, tuple[PhaseWork, ...]]:
    """What is watched of planned jobs."""
    return {job: tuple(phase_work(spec, store) for spec in specs) for job, specs in jobs.items()}
