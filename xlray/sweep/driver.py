"""The driver of a running sweep: a queue of trials, and decisions that are journalled before they take effect.

It knows no framework: `tune` asks it what to start and tells it what was reported and how trials ended.
"""

from __future__ import annotations

import functools
import itertools
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from xlray.config.sweep import Trial
from xlray.errors import StoreError
from xlray.phases.spec import Phases, Spec, phase_hash, phase_name
from xlray.phases.store import Store
from xlray.plan.asha import Report, decide, next_trials, outcome, promotions
from xlray.plan.failures import classify, common_error, may_retry
from xlray.plan.jobs import before_trials, created_entry, is_shared, lease_keys, opened_entry, place_of
from xlray.plan.rung_report import measured_by, rung_entry, rung_report
from xlray.plan.search import propose, with_proposed
from xlray.plan.searchers import Replay
from xlray.plan.trials import SweepPlan
from xlray.storage.files import temporary_trouble
from xlray.storage.leases import Leases
from xlray.storage.standings import Standing, Standings, is_cut, passed, standings
from xlray.storage.sweep_folder import SweepFolder, sweep_folder
from xlray.sweep.tracking import Progress

Listener = Callable[[dict[str, Any]], None]

LEASE_TTL_S = 60.0
LOOK_EVERY_S = 1.0  # between two looks at a phase that somebody is working on


@dataclass(frozen=True)
class Launch:
    """A job to start: `name` is a trial's id or that of a job before all trials, `run` a name that no other run has."""

    name: str
    run: str


@dataclass
class Running:
    """A job that was launched.

    Attributes:
        claims: leases it holds.
        left: its phases that were not stored when last looked at, in order.
    """

    started: float
    claims: set[str]
    left: list[Spec]


@dataclass
class Driver:
    """What the driver of a running sweep holds.

    Attributes:
        trackers: told of every entry of a trial, with how far that is.
        budget_hours: device-hours after which nothing more is started.
        halted: why nothing more is started: (reason, text), or None.
        asked_to_stop: set by a signal's handler; taken up at the next `look`.
        stored: hashes of the phases that are known to be stored.
    """

    plan: SweepPlan
    store: Store
    listener: Listener
    leases: Leases
    trackers: Sequence[Callable[[Mapping[str, Any], Progress], None]] = ()
    budget_hours: float | None = None
    journal: list[dict[str, Any]] = field(default_factory=list)
    halted: tuple[str, str] | None = None
    asked_to_stop: bool = False
    found: Standings = field(default_factory=Standings)
    trials: dict[str, Trial] = field(default_factory=dict)
    jobs: dict[str, Phases] = field(default_factory=dict)
    running: dict[str, Running] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    opened_at: float = field(default_factory=time.monotonic)
    _stage: str = ""
    _spent_s: float = 0.0
    _looked_at: float = -math.inf
    _busy: dict[str, float] = field(default_factory=dict)  # leases of other drivers, and when they were seen
    _alike: dict[str, str] = field(default_factory=dict)  # errors of the trials that failed since a rung was reported
    _replay: Replay = field(default_factory=Replay)

    @functools.cached_property
    def directory(self) -> SweepFolder:
        return sweep_folder(self.store.storage, self.plan.sweep.name)

    @functools.cached_property
    def bases(self) -> list[str]:
        """What the scores of each rung are means of."""
        return [self.plan.sweep.basis(index) for index in range(self.last_rung_index + 1)]

    @property
    def last_rung_index(self) -> int:
        return len(self.plan.sweep.intermediate.rungs) - 1

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its configuration for a restore that is never made, and listeners hold terminals."""
        return {}

    def write(self, *entries: Mapping[str, Any]) -> None:
        """Append to the journal, all at once, then take each in and tell the listener and the trackers."""
        for entry, full in zip(entries, self.directory.journal.extend(entries), strict=True):
            self.journal.append(full)
            self.found.add(full)
            self.listener(dict(entry))
            for tracker in self.trackers if full.get("trial_id") in self.trials else ():
                tracker(entry, self.progress(full["trial_id"]))

    def progress(self, trial_id: str) -> Progress:
        """How far a trial is."""
        standing = self.found.trials[trial_id]
        rungs = tuple(entry for _, entry in sorted(standing.rungs.items()))
        return Progress(self.trials[trial_id], standing.status, rungs, self.jobs[trial_id])

    def open(self, journal: list[dict[str, Any]]) -> bool:
        """Take over from the drivers before; returns whether anything is left to do."""
        self.journal, self.found, self.plan = journal, standings(journal), with_proposed(self.plan, journal)
        self.write(opened_entry(self.directory.path))
        self.jobs = {**(before := before_trials(self.plan)), **self.plan.phases}
        self.stored = set(self.store.finished(self.specs().values()))
        for name in before:
            shared = self.found.trials.setdefault(name, Standing())
            shared.status = "created" if self._left(name) else "finished"
        self.write(*(created_entry(trial) for trial in self.plan.trials if self._is_new(trial)))
        for trial in self.plan.trials:
            self._settle(trial)
        known = ((n, s) for n, s in self.found.trials.items() if s.status != "dropped" and not is_shared(n))
        gone = [name for name, _ in known if name not in self.jobs]
        self.write(*({"event": "dropped", "trial_id": trial_id} for trial_id in gone))
        for population, rung_index in list(self.found.ranked):
            self._promote(population, rung_index)
        for name in next_trials(list(self.trials), self.found):
            self._advance(name)
        return self._any_open()

    def specs(self) -> dict[str, Spec]:
        """Every distinct phase of the jobs by hash."""
        return {phase_hash(spec): spec for phases in self.jobs.values() for spec in phases}

    def admit(self, plan: SweepPlan) -> None:
        """Take the plan with one more trial, its last one; the data of that must be prepared."""
        self.plan, trial = plan, plan.trials[-1]
        self.jobs[trial.trial_id] = phases = plan.phases[trial.trial_id]
        self.stored |= {phase_hash(spec) for spec in phases if self.store.has(spec)}
        self._settle(trial)

    def _settle(self, trial: Trial) -> None:
        """Journal a new trial, or what keeps one that an earlier driver knew from being what it was."""
        self.trials[trial_id := trial.trial_id] = trial
        if self._is_new(trial):
            self.write(created_entry(trial))
        standing = self.found.trials[trial_id]
        if outdated := [index for index, entry in standing.current.items() if not self._is_of_now(trial_id, entry)]:
            self.write({"event": "outdated", "trial_id": trial_id, "rungs": outdated})
        if trial.role == "measure" and is_cut(standing):
            entry = {"kind": "role", "error": "it is a measure trial now, which is stopped at no rung"}
            self.write({"event": "retried", "trial_id": trial_id, **entry, "rung_index": max(standing.rungs)})
        elif lost := self._lost(trial_id, standing.status):
            text = f"no longer in the storage: {phase_name(lost[0])}"
            self.write({"event": "retried", "trial_id": trial_id, "kind": "phases", "error": text})

    def _is_new(self, trial: Trial) -> bool:  # to the journal, or its place is
        known = self.found.trials.get(trial.trial_id)
        return known is None or known.status == "dropped" or (known.cell, known.role) != (trial.cell, trial.role)

    def _is_of_now(self, trial_id: str, entry: Mapping[str, Any]) -> bool:
        """Whether a rung's numbers are of the plan's phases; journals of earlier versions do not say, and are read again."""
        return {key: entry.get(key) for key in ("basis", "phases")} == self._read_from(trial_id, entry["rung_index"])

    def _read_from(self, trial_id: str, rung_index: int) -> dict[str, Any]:
        return {"basis": self.bases[rung_index], "phases": measured_by(self.jobs[trial_id], rung_index)}

    def _lost(self, trial_id: str, end: str) -> list[Spec]:
        """Phases that are not stored of a trial that has ended: all of a finished one, else those that it reported from."""
        rungs = self.found.trials[trial_id].rungs
        reported = [index for index, entry in rungs.items() if entry["reason"] != "diverged"]
        if end == "finished":
            return self._left(trial_id)
        if end not in ("stopped", "paused") or not reported:
            return []
        return [spec for spec in self.jobs[trial_id].up_to(max(reported)) if phase_hash(spec) not in self.stored]

    def _left(self, name: str) -> list[Spec]:
        """Phases of a job that are not stored, as far as known, in order and each once."""
        specs = {phase_hash(spec): spec for spec in self.jobs[name]}
        return [spec for key, spec in specs.items() if key not in self.stored]

    def _is_open(self, name: str) -> bool:
        return name in self.found.trials and self.found.trials[name].status == "created"

    def _any_open(self) -> bool:
        return any(self._is_open(name) for name in self.jobs)

    def done(self) -> bool:
        """Whether nothing will be started any more, after `next` had nothing to start."""
        return self.halted is not None or (not self.running and not self._any_open())

    def next(self, num_slots: int) -> Launch | None:
        """The job to start now, journalled and with its leases taken; None if there is none, or `num_slots` run."""
        self.look()
        if self.halted is not None or len(self.running) >= num_slots:
            return None
        name = self._next_job() or self._next_proposed()
        if name is None:
            return None
        attempt = self.found.trials[name].num_attempts + 1
        run = f"{self.plan.sweep.name}-{name}-{attempt}-{secrets.token_hex(2)}"
        if self._stage != (stage := "pretrain" if is_shared(name) else "trials"):
            self._stage = stage
            self.listener({"event": "stage", "stage": stage})
        left = [phase_name(spec) for spec in self.running[name].left]
        self.write({"event": "running", **_named(name), "attempt": attempt, "run": run, "phases": left})
        return Launch(name, run)

    def _next_proposed(self) -> str | None:
        more = None if self._any_open() else propose(self.plan, self.journal, self._replay)
        if more is None:
            return None
        self.admit(more)
        return self._next_job()

    def _next_job(self) -> str | None:
        before = [name for name in itertools.takewhile(is_shared, self.jobs) if self._left(name)]
        waiting = list(filter(self._is_open, before)) if before else next_trials(list(self.jobs), self.found)
        for name in waiting:
            if self._claim(name):
                if not self._advance(name):
                    return name
                self._release(name)
        return None

    def _advance(self, name: str) -> bool:
        """Report what a trial has stored already; whether that brings it to its end, so that no worker is needed.

        The scores of a phase that another trial or sweep has computed, or that was finished just before a crash, are
        read here.
        """
        if is_shared(name):
            return False
        phases, sweep = self.jobs[name], self.plan.sweep
        for index, rung in enumerate(phases.rungs):
            if any(phase_hash(spec) not in self.stored for spec in rung.phases):
                break
            try:
                found = rung_report(self.store, phases, index, sweep.select_by, sweep.evaluated)
            except StoreError as error:  # damaged, and moved aside: it is computed again
                self.stored -= {phase_hash(spec) for spec in phases if not self.store.has(spec)}
                self.write({"event": "damaged", "trial_id": name, "error": str(error)})
                break
            if found is None or self.on_rung(name, found) != "continue":
                break
        known = outcome(self.found.trials[name], self.last_rung_index)
        ends = known != "interrupted" and not self._lost(name, known)
        if ends:
            self.write({"event": known, "trial_id": name})
        return ends

    def _release(self, name: str) -> None:
        for key in self.running.pop(name).claims:
            self.leases.release(key)

    def _claim(self, name: str) -> bool:
        """Take the leases of everything that a job would compute, all or none; it then counts as running."""
        claims = set(lease_keys(self.jobs[name], self._left(name)).values())
        now = time.monotonic()
        just_seen = any(now - self._busy.get(key, -math.inf) < LOOK_EVERY_S for key in claims)
        if just_seen or any(job.claims & claims for job in self.running.values()):
            return False
        if (busy := self.leases.take_all(claims)) is not None:
            self._busy[busy] = now
            return False
        # What another driver finished before it gave the lease back is stored by now.
        self.stored |= {phase_hash(spec) for spec in self._left(name) if self.store.has(spec)}
        self.running[name] = Running(time.monotonic(), claims, self._left(name))
        return True

    def look(self) -> None:
        """Journal which phases have been finished, give their leases back, and see whether it is time to stop."""
        if self.asked_to_stop:
            self.halt("interrupted", "asked to stop: open phases save their state at the next step.")
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        for name, job in self.running.items():
            self._look_at(name, job)
        if (trouble := temporary_trouble()) is not None and self.running:
            self.halt("storage", f"temporary files cannot be written: {trouble}; free space there, or set TMPDIR.")
        hours, limit_s = self.device_hours(), self.plan.sweep.execution.time_budget_s
        if self.budget_hours is not None and hours >= self.budget_hours:
            text = f"{hours:.2f} device-hours are spent of a budget of {self.budget_hours:g}"
            self.halt("budget", f"{text}: nothing more is started.")
        if limit_s is not None and now - self.opened_at >= limit_s:
            self.halt("interrupted", f"the time budget of {limit_s:g} s is used up: open phases save their state.")

    def _look_at(self, name: str, job: Running) -> None:
        while job.left and self.store.has(job.left[0]):
            spec = job.left.pop(0)
            self.stored.add(phase_hash(spec))
            self.write({"event": "phase", **_named(name), "phase": phase_name(spec)})
            over = job.claims - set(lease_keys(self.jobs[name], job.left).values())
            for key in over:
                self.leases.release(key)
            job.claims -= over

    def device_hours(self) -> float:
        """Device-hours of this run so far, at most: the time of every job on all the workers that it may have."""
        now = time.monotonic()
        seconds = self._spent_s + sum(now - job.started for job in self.running.values())
        execution = self.plan.sweep.execution
        return seconds * execution.max_workers * execution.device_share / 3600

    def on_rung(self, trial_id: str, result: Mapping[str, Any]) -> str:
        """Decide on a reported rung: "continue", "stop" or "pause".

        The same report again (after a crash or a promotion) gets the answer that stands and makes no new entry, unless
        the sweep has changed: other numbers make a new entry with the decision that stands, a further rung a new decision.
        """
        trial, index, standing = self.trials[trial_id], int(result["rung_index"]), self.found.trials[trial_id]
        place, known = (trial_id, trial.cell, trial.role, index), standing.rungs.get(index, {})
        report = Report(trial_id, trial.population, trial.role, index, float(result["score"]), bool(result["diverged"]))
        decision = decide(self.found, report, self.plan.sweep.stopping, self.last_rung_index)
        read_from, languages = self._read_from(trial_id, index), self.plan.sweep.evaluated
        entry = {**rung_entry(place, result, read_from, decision, known, languages), **place_of(trial)}
        if index in standing.outdated or entry != {key: value for key, value in known.items() if key != "time"}:
            self._alike.clear()
            self.write(entry)
            self._promote(trial.population, index)
        return "continue" if passed(standing, index) else decision.action

    def _promote(self, population: str, rung_index: int) -> None:
        for entry in promotions(self.found, population, rung_index, self.plan.sweep.stopping):
            self.write(entry)

    def on_end(self, name: str, error: str | None) -> None:
        """Journal how a job ended, and whether it is retried."""
        job = self.running[name]
        self._look_at(name, job)
        self._spent_s += time.monotonic() - job.started
        self._write_end(name, job, error)
        self._release(name)

    def _write_end(self, name: str, job: Running, error: str | None) -> None:
        standing = self.found.trials[name]
        if error is None:
            known = "finished" if is_shared(name) and not job.left else outcome(standing, self.last_rung_index)
            if known == "interrupted" and max(standing.rungs, default=-1) in standing.promoted:
                known = "paused"  # it rose into the best while it was being stopped, and is restarted
            if known != "interrupted" or self.halted is not None:
                self.write({"event": known, **_named(name)})
                return
            error = "the trial's process died or ended without a reason."
        kind = classify(error)
        again = self.halted is None and may_retry(kind, standing.failures, self.plan.sweep.execution.max_failures)
        self.write({"event": "retried" if again else "failed", **_named(name), "kind": kind, "error": error})
        if again:
            return
        self._alike[name] = error
        last = (error.strip().splitlines() or [""])[-1]
        if kind == "storage":
            self.halt("storage", f"the storage cannot be written: {last}")
        elif is_shared(name):
            self.halt("failed", f"the phases before all trials failed: {last}")
        elif common_error(list(self._alike.values())) is not None:
            self.halt("failed", f"{len(self._alike)} trials in a row failed alike; no more are started: {last}")

    def halt(self, reason: str, text: str) -> None:
        """Start nothing more; what runs continues, unless it was interrupted.

        Args:
            reason: interrupted, budget, storage or failed; decides the exit code.
        """
        if self.halted is None:
            self.write({"event": "halted", "reason": reason, "text": text})
            self.halted = (reason, text)

    def close(self) -> None:
        """End the run: trials that are still paused have no chance to rise any more."""
        if self.halted is None:
            for trial_id in (name for name in self.trials if self.found.trials[name].status == "paused"):
                self.write({"event": "stopped", "trial_id": trial_id, "reason": "left below the cut"})
        self.write({"event": "closed"})


def _named(name: str) -> dict[str, str]:
    return {"job": name} if is_shared(name) else {"trial_id": name}
