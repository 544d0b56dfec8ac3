"""The one reader of a sweep under way, for terminals, pages and clients: each look costs what is new."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from xlray.monitor import progress
from xlray.monitor.following import Following, sweep_state
from xlray.monitor.progress import PhaseWork, Watch, phases_of_jobs
from xlray.monitor.view import Row, View, time_left_s
from xlray.phases.store import Store
from xlray.plan.jobs import created_entry, is_shared, shared_jobs
from xlray.plan.trials import SweepPlan
from xlray.storage.follower import Follower
from xlray.storage.standings import OPEN_STATES, Entry, accuracy_name
from xlray.storage.sweep_folder import SweepFolder, languages_of, read_definition

STAGES = {
    "lease": "waiting up to a minute: another driver had this sweep, and may still be running",
    "planned": "starting",
    "tokenizer": "training the tokenizer",
    "machines": "waiting for the cluster's machines to join",
    "prepare": "preparing the data",
    "tokenise": "tokenising",
    "pretrain": "pre-training the encoder",
    "trials": "running trials",
}


class Reader:
    """A sweep as it stands: its journal, taken in entry by entry, and the files of the jobs that run.

    A driver hands its entries to `take`; others call `refresh`, which reads what was added to the journal. One thread at
    a time may use it.

    Attributes:
        definition: as the sweep's folder has it.
        replay: a name of this reading of the journal; another one where it was cut or replaced, and read again from its start.
        held: a process runs the sweep, as far as is known.
        started: when the driver, or the look at it, began, in seconds UTC; None takes when the driver took over.
        current: the phase that each running job was at, and its steps done, when it was viewed last.
    """

    def __init__(self, directory: SweepFolder, started: float | None = None) -> None:
        self.directory = directory
        self.started = started
        self.held = False
        self._follower = Follower(directory.journal)
        self._looked = -math.inf
        self._begin()

    def _begin(self) -> None:
        self._replays = self._follower.replays
        self.definition: Mapping[str, Any] = {}
        self.following = Following()
        self.watch = Watch(self.directory)
        self.replay = secrets.token_hex(4)
        self.current: dict[str, tuple[PhaseWork | None, int]] = {}
        self.stage, self._detail = "planned", ""
        self._rate: tuple[float, int] | None = None  # time and steps from which it is measured: those of the stage
        self._without_phases: set[str] = set()  # open trials whose steps are not known

    def know(self, plan: SweepPlan, store: Store) -> None:
        """Take a plan: what trials there are and which phases they have, before the journal says so."""
        self.definition = plan.sweep.definition
        for trial in plan.trials:
            self.following.place(trial.trial_id, created_entry(trial))
        jobs = {trial.trial_id: list(plan.phases[trial.trial_id]) for trial in plan.trials}
        before = {name: plan.starts[encoder].shared for name, encoder in shared_jobs(plan).items()}
        self.watch.know(phases_of_jobs({**before, **jobs}, store))
        for name in before:
            self.watch.need(name, "running")

    def refresh(self) -> list[dict[str, Any]]:
        """Read what was added to the journal; in an object store now and then.

        Returns:
            The entries, but none of a journal that had to be read again from its start.

        Raises:
            InputError: the journal or the definition cannot be read.
        """
        now = time.monotonic()
        if self.directory.storage.remote is not None and now - self._looked < progress.ASK_EVERY_S:
            return []
        self._looked = now
        self.held = self.directory.journal.is_held()  # asked first: nothing follows what one that let go has written
        entries = self._follower.new()
        is_whole = self._follower.replays != self._replays
        if is_whole:
            self._begin()
        for entry in entries:
            self.take(entry)
        if not self.definition or any(entry["event"] == "opened" for entry in entries):
            self.directory.storage.fetch_small(self.directory / "sweep.json", again=True)
            self.definition = read_definition(self.directory.path)
        return [] if is_whole else entries

    def take(self, entry: Entry) -> None:
        """Take one entry of the journal, or one stage of its driver."""
        if entry["event"] == "stage":
            return self._enter(
                entry["stage"], f" {entry['task']} {entry['split']}" if entry["stage"] == "tokenise" else ""
            )
        self.following.add(entry)
        if entry["event"] in ("opened", "running"):
            self._enter(self.following.stage)

    def _enter(self, stage: str, detail: str = "") -> None:
        if stage != self.stage and stage in ("pretrain", "trials"):
            self._rate = None
        self.stage, self._detail = stage, detail

    @property
    def stage_text(self) -> str:
        """The stage for people."""
        return f"{STAGES.get(self.stage, self.stage)}{self._detail}"

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the target tasks, in the order of the definition."""
        return tuple(target["task"] for target in self.definition.get("targets", ()))

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that targets are evaluated in, that of the headline first."""
        return tuple(languages_of(self.definition)) or ("fi",)

    @property
    def num_rungs(self) -> int:
        return len(self.definition.get("intermediate", {}).get("rungs", ()))

    def _settle(self) -> None:
        changed = self.following.settle()
        read = [job for job, run in self.following.open_runs.items() if self.watch.read_job(job, run.phases)]
        for job in (*changed, *read):
            status = "running" if is_shared(job) else self.following.standing(job).status
            self.watch.need(job, status)
            if status in OPEN_STATES and job not in self.watch.phases:
                self._without_phases.add(job)
            else:
                self._without_phases.discard(job)

    def view(self, choose: Callable[[Following], Iterable[str]]) -> View:
        """The sweep as it stands.

        Args:
            choose: the trials that become rows, such as `Following.members`.
        """
        self._settle()
        followed, now = self.following, time.time()
        self.current = {job: self.watch.current(job) for job in followed.open_runs}
        total = self.watch.total
        done = min(total, self.watch.done + sum(steps for _, steps in self.current.values()))
        rate_from, rate_done = self._rate = self._rate or (now, done)
        knows_end = self.held and not self._without_phases
        opened = followed.opened if self.started is None else self.started
        return View(
            name=self.directory.name,
            question=self.definition.get("question", ""),
            state=sweep_state(followed.counts, self.held),
            stage=self.stage_text,
            targets=self.targets,
            languages=self.languages,
            num_rungs=self.num_rungs,
            done=done,
            total=total,
            has_more=bool(self._without_phases),
            elapsed_s=0.0 if opened is None else now - opened,
            left_s=time_left_s(now - rate_from, done - rate_done, total - rate_done) if knows_end else None,
            counts={status: number for status, number in followed.counts.items() if number},
            rows=tuple(self._row(trial_id) for trial_id in choose(followed)),
        )

    def _row(self, trial_id: str) -> Row:
        phase, done = self.current.get(trial_id, (None, 0))
        return self.following.row(trial_id, *(("", 0, 0) if phase is None else (phase.label, done, phase.num_steps)))


def means_of(row: Row, view: View) -> dict[str, float | None]:
    """Of each language of the sweep the mean of a trial's headlines at its last rung."""
    first, *others = view.languages
    return {first: row.accuracy, **{language: row.others.get(language) for language in others}}


def status_document(reader: Reader, view: View | None = None) -> dict[str, Any]:
    """What `xlray status --json` prints.

    Args:
        view: with the trials that are wanted; None takes all of them.
    """
    view = view or reader.view(Following.members)
    keys = ("role", "cell", "num_tasks", "seed", "rung", "scores", "phase", "done", "steps")
    return {
        "name": view.name,
        "state": view.state,
        "directory": str(reader.directory),
        "trials": [
            {
                "trial_id": row.trial_id,
                "status": row.status,
                **{key: getattr(row, key) for key in keys},
                **{accuracy_name(language): value for language, value in means_of(row, view).items()},
                **({"values": dict(row.values)} if row.values else {}),
                "error": reader.following.standing(row.trial_id).error,
                "degenerate": row.degenerate,
            }
            for row in view.rows
        ],
    }
