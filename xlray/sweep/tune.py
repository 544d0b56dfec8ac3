"""Ray Tune around the driver: it starts what the driver launches and tells it what happens."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray.tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.trainable.function_trainable import wrap_function
from ray.util.state.exception import RayStateApiException

from xlray.config.recipes import Encoder, Pretraining
from xlray.plan.jobs import Prepared, encoder_of, make_job, trial_title, write_job
from xlray.signals import gently
from xlray.storage.leases import renewing
from xlray.storage.standings import accuracy_name
from xlray.sweep.driver import Driver
from xlray.sweep.prometheus import SweepMetrics
from xlray.sweep.ray_patches import ask_to_stop, withdraw_request
from xlray.sweep.ray_session import free_group, idle_groups
from xlray.sweep.train_run import run_trial

WITHDRAW_AFTER_S = 3.0  # a run that is being killed may still make its request once more
IDLE_S = 20.0  # a placement group of a run that starts is without actors for a moment
START_WITHIN_S = 20.0  # of being asked to stop, a trial must have a process that can
NOT_THERE = ("PENDING", "TERMINATED", "ERROR")  # what Tune calls trials without a process
MAX_JOBS = 1_000_000_000


class Queue(Searcher):  # type: ignore[misc]
    """Hands Tune the driver's launches, one by one, each with the document that its workers read.

    Args:
        num_slots: jobs that may run at one time.
        prepared: what jobs read, of each encoder.
    """

    def __init__(self, driver: Driver, num_slots: int, prepared: Mapping[Encoder | Pretraining, Prepared]) -> None:
        super().__init__(metric=accuracy_name(driver.plan.sweep.language), mode="max")
        self.driver = driver
        self.num_slots = num_slots
        self.prepared = prepared

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """A job to start, None to be asked again, or the end."""
        driver = self.driver
        launch = driver.next(self.num_slots)
        if launch is None:
            return str(Searcher.FINISHED) if driver.done() else None
        jobs, name = driver.directory / "jobs", launch.name
        prepared = self.prepared[encoder_of(name, driver.plan, driver.trials)]
        write_job(jobs / f"{name}.json", make_job(name, driver.jobs[name], driver.plan, driver.store, prepared))
        trial = driver.trials.get(name)
        title = name if trial is None else trial_title(trial)
        place = {"jobs": driver.store.storage.address(jobs), "stop": stop_key(driver)}
        return {"trial_id": name, "title": title, "run": launch.run, **place}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the driver hears of it from `Events`."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is what a later run resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing; see `save`."""


class RungScheduler(FIFOScheduler):  # type: ignore[misc]
    """Hands every reported rung to the driver, which journals it and decides. A trial that pauses is stopped, too."""

    def __init__(self, driver: Driver) -> None:
        super().__init__()
        self.driver = driver

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ray Tune's hook: called for every report of a trial."""
        if "rung_index" not in result:
            return str(TrialScheduler.CONTINUE)
        action = self.driver.on_rung(trial.config["trial_id"], result)
        return str(TrialScheduler.CONTINUE if action == "continue" else TrialScheduler.STOP)


@dataclass
class Leftovers:
    """Frees what runs that were killed left behind.

    Attributes:
        watching: whether a run has ended. From then on groups are looked for now and then: one that waits for devices
            gets them when nobody expects it any more.
        idle: placement groups without actors, and since when they are known to be.
    """

    watching: bool = False
    idle: dict[str, float] = field(default_factory=dict)
    looked_at: float = -math.inf

    def look(self, now: float) -> None:
        """Free the groups that have been idle for long enough."""
        if not self.watching or now - self.looked_at < IDLE_S / 4:
            return
        self.looked_at = now
        try:
            found = idle_groups()
        except RayStateApiException:  # asked again
            return
        self.idle = {group: self.idle.get(group, now) for group in found}
        for group, since in self.idle.items():
            if now - since >= IDLE_S:
                free_group(group)


class Events(ray.tune.Callback):  # type: ignore[misc]
    """Tells the driver how jobs end, and clears away what Ray keeps of a killed one.

    Args:
        refresh: called in each round of Tune's loop.
    """

    def __init__(self, driver: Driver, refresh: Callable[[], None] = lambda: None) -> None:
        self.driver = driver
        self.refresh = refresh
        now = time.monotonic()
        self.to_withdraw = [(now, run) for run in unended_runs(driver.journal)]  # of a driver that was killed
        self.asked_at = math.inf
        self.leftovers = Leftovers()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self.driver.look()
        self.refresh()
        halted = self.driver.halted
        if halted is not None and halted[0] in ("interrupted", "storage") and self.asked_at == math.inf:
            self.asked_at = time.monotonic()
            ask_to_stop(stop_key(self.driver))
        nobody = time.monotonic() - self.asked_at > START_WITHIN_S and all(t.status in NOT_THERE for t in trials)
        if nobody and callable(signal.getsignal(signal.SIGUSR1)):
            signal.raise_signal(signal.SIGUSR1)  # ends Tune's loop: it would wait for ever for processes to start
        self.withdraw(time.monotonic())
        self.leftovers.look(time.monotonic())

    def withdraw(self, until: float) -> None:
        """Withdraw what the runs that ended `WITHDRAW_AFTER_S` before a moment had asked of the autoscaler."""
        while self.to_withdraw and until >= self.to_withdraw[0][0]:
            withdraw_request(self.to_withdraw.pop(0)[1])

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: Any, **info: Any) -> None:
        with contextlib.suppress(OSError):  # the journal decides; curves and the like follow at the end
            self.driver.directory.send()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._ended(trial, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        file = Path(trial.error_file) if trial.error_file else None
        text = file.read_text() if file is not None and file.exists() else "the trial's process died"
        self._ended(trial, text.strip()[-8000:])

    def _ended(self, trial: Any, error: str | None) -> None:
        group = (trial.last_result or {}).get("placement_group")
        if group is not None:  # at once: a run that Tune stops frees nothing
            free_group(group)
        self.leftovers.watching = True
        self.to_withdraw.append((time.monotonic() + WITHDRAW_AFTER_S, trial.config["run"]))
        self.driver.on_end(trial.config["trial_id"], error)


def trainable(function: Callable[[dict[str, Any]], None]) -> Any:
    """A function as Tune runs it, in actors that say in Ray's dashboard which trial they are."""

    class Trial(wrap_function(ray.tune.with_resources(function, {"CPU": 0, "trial_driver": 1}))):  # type: ignore[misc]
        __qualname__ = "Trial"  # the name of the actor's class

        def __repr__(self) -> str:
            return f"trial {self.config['title']}"

    return Trial


def tune(
    driver: Driver,
    num_slots: int,
    prepared: Mapping[Encoder | Pretraining, Prepared],
    function: Callable[[dict[str, Any]], None] = run_trial,
) -> None:
    """Run the queue of an opened driver to its end.

    Args:
        num_slots: jobs that may run at one time.
        function: what a job runs as; see `run_trial`.
    """

    def title(trial: Any) -> str:
        return str(trial.config["title"])

    os.environ.update(
        {
            "TUNE_MAX_PENDING_TRIALS_PG": str(num_slots),
            "TUNE_GLOBAL_CHECKPOINT_S": str(10**9),  # Tune's own restore is not used
            "TUNE_DISABLE_SIGINT_HANDLER": "1",
            "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a job may end before its first rung
        }
    )
    metrics = SweepMetrics(driver)
    events = Events(driver, metrics.refresh)
    tuner = ray.tune.Tuner(
        trainable(function),
        tune_config=ray.tune.TuneConfig(
            metric=accuracy_name(driver.plan.sweep.language),
            mode="max",
            search_alg=Queue(driver, num_slots, prepared),
            num_samples=MAX_JOBS,
            scheduler=RungScheduler(driver),
            trial_name_creator=title,
            trial_dirname_creator=title,
        ),
        run_config=ray.tune.RunConfig(
            name="tensorboard",
            storage_path=str(driver.directory),
            callbacks=[events],
            failure_config=ray.tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )

    def ask() -> None:
        driver.asked_to_stop = True

    with gently(ask), renewing(driver.leases):
        tuner.fit()
        for name in list(driver.running):  # they never started
            driver.on_end(name, None)
        events.withdraw(math.inf)


def unended_runs(journal: Sequence[Mapping[str, Any]]) -> list[str]:
    """Train runs that drivers before the present one started and did not see to their end."""
    open_runs: dict[str, str] = {}
    unended: list[str] = []
    for entry in journal:
        name = str(entry.get("trial_id", entry.get("job")))
        if entry["event"] == "opened":
            unended = list(open_runs.values())
            open_runs = {}
        elif entry["event"] == "running":
            open_runs[name] = entry["run"]
        elif entry["event"] in ("finished", "stopped", "paused", "interrupted", "failed", "retried"):
            open_runs.pop(name, None)
    return unended


def stop_key(driver: Driver) -> str:
    """What the workers of this run check to see whether to stop."""
    number = sum(entry["event"] == "opened" for entry in driver.journal)
    return f"xlray/{driver.plan.sweep.name}/{number}/stop"
