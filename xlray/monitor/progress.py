"""How far a sweep is: from its journal, its workers' progress files and the finished phases, without Ray."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from xlray.phases.spec import Spec, TrainSpec, label
from xlray.phases.store import Store
from xlray.plan.forecast import steps_of
from xlray.plan.jobs import read_job, trial_title
from xlray.plan.trials import SweepPlan
from xlray.storage.journal import is_held, read_journal
from xlray.storage.standings import OPEN_STATES, Standing, standings
from xlray.storage.sweep_folder import read_definition
from xlray.storage.working_folder import fetch_small, find, find_all, root_of

ASK_EVERY_S = 5.0  # an object store for what another machine may have done
KNOWN_SHARE = 0.05  # of the steps, before a rate is worth believing


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


@dataclass(frozen=True)
class TrialWork:
    """A trial to be watched, with its phases in order."""

    trial_id: str
    title: str
    role: str
    cell: str
    num_tasks: int
    seed: int
    phases: tuple[PhaseWork, ...] = ()


@dataclass(frozen=True)
class Work:
    """A sweep to be watched.

    Attributes:
        shared: phases before all trials.
        targets: names of the target tasks, in the order of the definition.
    """

    name: str
    question: str
    directory: Path
    num_rungs: int
    targets: tuple[str, ...]
    shared: tuple[PhaseWork, ...]
    trials: tuple[TrialWork, ...]


@dataclass(frozen=True)
class TrialState:
    """A trial as it stands now.

    Attributes:
        status: created, running, paused, interrupted, finished, stopped or failed.
        phase: label of the phase that runs, or "".
        done: steps done of that phase, of `steps`.
        rungs: number of rungs reported.
        rung: examples at the last one, or None.
        fi_accuracy: at the last rung, in percent; None if there is none or it is no number.
        scores: each target's headline at the last rung.
        changed: time of the last journal entry, in seconds UTC.
        degenerate: why the numbers of phases up to the last rung mean nothing, or "".
    """

    trial: TrialWork
    status: str
    phase: str = ""
    done: int = 0
    steps: int = 0
    rungs: int = 0
    rung: int | None = None
    fi_accuracy: float | None = None
    scores: Mapping[str, float | None] = field(default_factory=dict)
    changed: float = 0.0
    error: str = ""
    degenerate: str = ""


def phase_work(spec: Spec, store: Store) -> PhaseWork:
    """What is watched of a phase."""
    name = spec.data[0].task if isinstance(spec, TrainSpec) and spec.kind == "target" else ""
    if isinstance(spec, TrainSpec) and spec.kind in ("trunk", "cooldown"):
        name = f"{spec.first_example + spec.num_examples if spec.kind == 'trunk' else spec.first_example:,}"
    if spec.kind == "retrieval":
        name = label(spec)
    return PhaseWork(store.folder(spec), spec.kind, f"{spec.kind} {name}".strip(), steps_of(spec))


def work_of_plan(plan: SweepPlan, store: Store, directory: Path) -> Work:
    """Everything that a planned sweep consists of."""
    trials = tuple(
        TrialWork(
            t.trial_id,
            trial_title(plan.sweep, t),
            t.role,
            t.cell,
            len(t.config.tasks),
            t.config.seed,
            tuple(phase_work(p.spec, store) for p in plan.phases[t.trial_id]),
        )
        for t in plan.trials
    )
    return Work(
        plan.sweep.name,
        plan.sweep.question,
        directory,
        len(plan.sweep.intermediate.rungs),
        tuple(t.task for t in plan.sweep.targets),
        tuple(phase_work(s, store) for s in plan.shared),
        trials,
    )


def read_work(directory: Path) -> tuple[Work, list[dict[str, Any]]]:
    """What can be known of a sweep from its folder alone (definition, jobs that were written), and its journal."""
    journal = read_journal(directory / "journal")
    definition = read_definition(directory)
    rungs = definition.get("intermediate", {}).get("rungs", [])
    targets = tuple(t["task"] for t in definition.get("targets", []))
    trials: dict[str, TrialWork] = {}
    for entry in journal:
        trial_id = entry.get("trial_id")
        if entry["event"] == "dropped":
            del trials[entry["trial_id"]]
        elif trial_id and (trial_id not in trials or entry["event"] == "created"):  # once more where its place changed
            num_tasks, seed = len(entry.get("tasks", [])), int(entry.get("seed", 0))
            title, phases = (
                f"{num_tasks}tasks-s{seed}-{trial_id}",
                phases_of_job(directory / "jobs" / f"{trial_id}.json"),
            )
            role, cell = entry.get("role", ""), entry.get("cell", "")
            trials[trial_id] = TrialWork(trial_id, title, role, cell, num_tasks, seed, phases)
    work = Work(
        directory.name,
        definition.get("question", ""),
        directory,
        len(rungs),
        targets,
        phases_of_job(directory / "jobs" / "shared.json"),
        tuple(trials.values()),
    )
    return work, journal


def with_created(work: Work, entry: Mapping[str, Any]) -> Work:
    """The work with a trial that was proposed while the sweep ran; its phases are those of its job, once written."""
    trial_id, seed, num_tasks = entry["trial_id"], int(entry.get("seed", 0)), len(entry.get("tasks", ()))
    if any(trial.trial_id == trial_id for trial in work.trials):
        return work
    title = f"{num_tasks}tasks-s{seed}-{trial_id}"
    trial = TrialWork(trial_id, title, entry.get("role", ""), entry.get("cell", ""), num_tasks, seed)
    return replace(work, trials=(*work.trials, trial))


def with_phases(work: Work, trial_id: str) -> Work:
    """The work with the phases of a trial that was created while the sweep ran, now that its job is written."""
    phases = phases_of_job(work.directory / "jobs" / f"{trial_id}.json")
    trials = (replace(t, phases=phases) if t.trial_id == trial_id and not t.phases else t for t in work.trials)
    return replace(work, trials=tuple(trials))


def phases_of_job(path: Path) -> tuple[PhaseWork, ...]:
    """The phases of a job's document; none if it was not written."""
    if not path.is_file():
        return ()
    job = read_job(path)
    return tuple(phase_work(p.spec, Store(job.storage)) for p in job.phases)


@dataclass
class Watch:
    """What was found finished so far, so that each phase's folder is checked until it is finished, not longer.

    Behind an object store a phase that is not finished on this machine is looked for there now and then.

    Attributes:
        finished: folder to time of `DONE`.
        stored: folders that were finished at the start of the watch; they cost nothing.
    """

    work: Work
    finished: dict[Path, float] = field(default_factory=dict)
    stored: frozenset[Path] = frozenset()
    _asked: dict[str, float] = field(default_factory=dict)  # what was looked for in an object store, and when

    def __post_init__(self) -> None:
        self._root = root_of(self.work.directory)
        if self._root is not None:
            folders = {p.folder for phases in (self.work.shared, *(t.phases for t in self.work.trials)) for p in phases}
            find_all(self._root, folders, self._root / "phases")
            self._asked = dict.fromkeys(map(str, folders), time.monotonic())
        for phases in (self.work.shared, *(t.phases for t in self.work.trials)):
            for phase in phases:
                self.look(phase)
        self.stored = frozenset(self.finished)

    def look(self, phase: PhaseWork) -> bool:
        """Whether the phase is finished."""
        if phase.folder not in self.finished:
            if self._root is not None and self._due(str(phase.folder)):
                find(self._root, phase.folder)
            try:
                self.finished[phase.folder] = (phase.folder / "DONE").stat().st_mtime
            except OSError:
                return False
        return True

    def current(self, phases: Sequence[PhaseWork], name: str) -> tuple[PhaseWork | None, int]:
        """The first phase that is not finished, and its steps done by the worker's progress file."""
        before = 0.0
        for phase in phases:
            if not self.look(phase):
                return phase, min(phase.num_steps, self._steps_done(phase, name, before))
            before = max(before, self.finished[phase.folder])
        return None, 0

    def _steps_done(self, phase: PhaseWork, name: str, before: float) -> int:
        # The file is of the phase before until this one has written it for the first time.
        path = self.work.directory / "progress" / f"{name}.json"
        if self._root is not None and self._due(name):
            fetch_small(self._root, path, again=True)
        try:
            found = json.loads(path.read_text())
            mine = found["kind"] == phase.kind and found["steps"] == phase.num_steps and found["time"] >= before
            return int(found["done"]) if mine else 0
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _due(self, what: str) -> bool:
        now = time.monotonic()
        if now - self._asked.get(what, -math.inf) < ASK_EVERY_S:
            return False
        self._asked[what] = now
        return True

    def states(self, journal: Sequence[Mapping[str, Any]]) -> tuple[TrialState, ...]:
        """Every trial as it stands."""
        known = standings(journal).trials
        changed = {e["trial_id"]: float(e.get("time", 0.0)) for e in journal if "trial_id" in e}
        found = []
        for trial in self.work.trials:
            standing = known.get(trial.trial_id, Standing())
            status, rungs = standing.status, standing.current
            phase, done = self.current(trial.phases, trial.trial_id) if status == "running" else (None, 0)
            last = standing.last
            found.append(
                TrialState(
                    trial,
                    status,
                    phase.label if phase else "",
                    done,
                    phase.num_steps if phase else 0,
                    len(rungs),
                    last.get("rung"),
                    last.get("fi_accuracy"),
                    last.get("scores", {}),
                    changed.get(trial.trial_id, 0.0),
                    standing.error,
                    last.get("degenerate", ""),
                )
            )
        return tuple(found)

    def steps(self, states: Sequence[TrialState]) -> tuple[int, int]:
        """(steps done, steps in all) of what was not stored at the start, without what stopped trials leave undone."""
        needed = {p.folder: p.num_steps for p in self.work.shared}
        current = self.current(self.work.shared, "shared")[1]
        for state in states:
            ended = state.status not in OPEN_STATES
            for phase in state.trial.phases:
                if ended and not self.look(phase):
                    break  # phases run in order
                needed[phase.folder] = phase.num_steps
            current += state.done if state.status == "running" else 0
        total = sum(steps for folder, steps in needed.items() if folder not in self.stored)
        done = sum(steps for folder, steps in needed.items() if folder in self.finished and folder not in self.stored)
        return min(total, done + current), total


def time_left_s(elapsed_s: float, done: int, total: int) -> float | None:
    """Seconds until `total` steps are done, at the rate of the `done` ones; None until 5 % are.

    Elapsed time includes the starts of trials and evaluations, so these are in the rate.
    """
    if done >= total:
        return 0.0
    if done <= 0 or done < KNOWN_SHARE * total:
        return None
    return elapsed_s * (total - done) / done


def clock(seconds: float | None) -> str:
    """`1:02:03` or `2:03`; a dash for what is not known."""
    if seconds is None or not math.isfinite(seconds):
        return "\u2013"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def is_running(directory: Path) -> bool:
    """Whether a process holds the sweep's journal."""
    return is_held(directory / "journal")


def opened_at(journal: Sequence[Mapping[str, Any]]) -> float:
    """When the last driver took over, in seconds UTC; now if there was none."""
    return max((float(e["time"]) for e in journal if e["event"] == "opened"), default=time.time())


def stage_of(journal: Sequence[Mapping[str, Any]]) -> str:
    """What a driver that runs is at, as far as its journal says."""
    events = [e for e in journal if e["event"] in ("opened", "running")]
    if not events or events[-1]["event"] == "opened":
        return "planned"
    return "trials" if "trial_id" in events[-1] else "pretrain"


def sweep_state(states: Sequence[TrialState], running: bool) -> str:
    """planned, running, interrupted, failed (ended, some trials failed) or finished."""
    if running:
        return "running"
    if not states:
        return "planned"
    if any(s.status in OPEN_STATES for s in states):
        return "interrupted"
    return "failed" if any(s.status == "failed" for s in states) else "finished"


def status_document(work: Work, states: Sequence[TrialState], state: str) -> dict[str, Any]:
    """What `xlray status --json` prints."""
    return {
        "name": work.name,
        "state": state,
        "directory": str(work.directory),
        "trials": [
            {
                "trial_id": s.trial.trial_id,
                "status": s.status,
                "role": s.trial.role,
                "cell": s.trial.cell,
                "num_tasks": s.trial.num_tasks,
                "seed": s.trial.seed,
                "rung": s.rung,
                "fi_accuracy": s.fi_accuracy,
                "scores": dict(s.scores),
                "phase": s.phase,
                "done": s.done,
                "steps": s.steps,
                "error": s.error,
                "degenerate": s.degenerate,
            }
            for s in states
        ],
    }
