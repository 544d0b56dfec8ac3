"""The driver of a running sweep: its decisions, journalled before they take effect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray.tune

from xlray.collect import statuses, sweep_folder
from xlray.config import Trial
from xlray.journal import append
from xlray.plan import SweepPlan
from xlray.scheduler import Decision, decide
from xlray.store import Store

Listener = Callable[[dict[str, Any]], None]


@dataclass
class Driver:
    """What the driver of a running sweep holds: the plan and the journal, which is written before it takes effect."""

    plan: SweepPlan
    store: Store
    listener: Listener
    journal: list[dict[str, Any]] = field(default_factory=list)

    @property
    def directory(self) -> Path:
        return sweep_folder(self.store.root, self.plan.sweep.name)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its configuration for a restore that is never made, and listeners hold terminals."""
        return {}

    def write(self, entry: Mapping[str, Any]) -> None:
        """Append to the journal, then tell the listener."""
        self.journal.append(append(self.directory / "journal", entry))
        self.listener(dict(entry))

    def trial(self, trial_id: str) -> Trial:
        return next(t for t in self.plan.trials if t.trial_id == trial_id)

    def on_rung(self, trial_id: str, result: Mapping[str, Any]) -> Decision:
        """Decide on a reported rung; the same report again (after a crash) gets the same answer and no new entry."""
        trial, index = self.trial(trial_id), int(result["rung_index"])
        known = any(
            e.get("event") == "rung" and e["trial_id"] == trial_id and e["rung_index"] == index for e in self.journal
        )
        decision = decide(
            self.journal,
            trial_id,
            trial.cell,
            trial.role,
            index,
            float(result["score"]),
            bool(result["diverged"]),
            self.plan.sweep.stopping,
            len(self.plan.sweep.intermediate.rungs) - 1,
        )
        if not known:
            fields = {key: result[key] for key in ("rung", "rung_index", "score", "fi_accuracy", "degenerate")}
            scores = {key.removeprefix("fi/"): value for key, value in result.items() if key.startswith("fi/")}
            self.write(
                {
                    "event": "rung",
                    "trial_id": trial_id,
                    "cell": trial.cell,
                    "role": trial.role,
                    **fields,
                    "scores": scores,
                    "decision": decision.action,
                    "reason": decision.reason,
                    "cutoff": decision.cutoff,
                    "probability": decision.probability,
                }
            )
        return decision

    def on_end(self, trial_id: str, error: str | None) -> None:
        """Journal how a trial ended."""
        if error is not None:
            self.write({"event": "failed", "trial_id": trial_id, "error": error})
            return
        rungs = statuses(self.journal).get(trial_id, {}).get("rungs", {})
        stopped = any(e["decision"] == "stop" for e in rungs.values())
        complete = len(rungs) == len(self.plan.sweep.intermediate.rungs)
        if stopped or complete:  # otherwise it was interrupted and stays open
            self.write({"event": "stopped" if stopped else "finished", "trial_id": trial_id})


class JournalCallback(ray.tune.Callback):  # type: ignore[misc]
    """Journals starts and ends of trials."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.driver.write({"event": "running", "trial_id": trial.config["trial_id"]})

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.driver.on_end(trial.config["trial_id"], None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        file = Path(trial.error_file) if trial.error_file else None
        text = file.read_text() if file is not None and file.exists() else "the trial's process died"
        self.driver.on_end(trial.config["trial_id"], text.strip()[-8000:])


def open_trials(driver: Driver) -> list[Trial]:
    """Trials that are not finished or stopped, or whose stored phases have gone."""
    known = statuses(driver.journal)
    finished = set()
    for trial in driver.plan.trials:
        status = known.get(trial.trial_id, {}).get("status", "created")
        here = all(driver.store.has(p.spec) for p in driver.plan.phases[trial.trial_id])
        if status == "stopped" or (status == "finished" and here):
            finished.add(trial.trial_id)
    return [t for t in driver.plan.trials if t.trial_id not in finished]
