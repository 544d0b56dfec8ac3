"""Tracking: TensorBoard, MLflow and Weights & Biases, all from the journal.

Where the last two write is said by their own environment variables: `MLFLOW_TRACKING_URI`; `WANDB_PROJECT` (by default the
sweep's name), `WANDB_API_KEY`, `WANDB_MODE`. Ray's callbacks for them would see only the trials that Ray runs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from xlray.config.sweep import Sweep, Trial
from xlray.errors import InputError, XlrayError
from xlray.phases.curves import STEPS_FILE, read_curve, thinned
from xlray.phases.spec import Phases, TrainSpec
from xlray.phases.store import Store
from xlray.plan.jobs import trial_title
from xlray.storage.journal import append_line, read_lines
from xlray.storage.standings import accuracy_name
from xlray.storage.sweep_folder import SweepFolder

PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}  # name in `Sweep.tracking` -> module
SHOWN = ("running", "rung", "finished", "stopped", "failed", "paused", "interrupted")  # events that a tracker shows
ELSEWHERE = ("rungs", "examples_per_task")  # the same in all trials, and by another name
CURVES = ("loss", "learning_rate", "grad_norm")
MOST_POINTS = 100  # of each training curve that a tracker is sent
GIVE_UP_S = 60.0  # at the end of a run, after a tracker has last answered


def check_tracking(sweep: Sweep) -> None:
    """Raise `InputError` where a tracker's package is missing."""
    for name in sweep.tracking:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise InputError(f"tracking: {name!r} needs the package {PACKAGES[name]}, but it is not installed.")


def parameters(trial: Trial, pool: Sequence[str]) -> dict[str, Any]:
    """What tells a trial from others: its place, its recipe, and which tasks it is trained on (`task.<name>` 1 or 0).

    Args:
        pool: every task that trials of the sweep may be trained on, in order.
    """
    config = trial.config
    recipe = {
        f"intermediate.{name}": value for name, value in vars(config.intermediate).items() if name not in ELSEWHERE
    }
    return {
        "num_tasks": len(config.tasks),
        "seed": config.seed,
        "cell": trial.cell,
        "role": trial.role,
        "source": trial.subset.source,
        "tasks": " ".join(config.tasks),
        "examples_per_task": config.intermediate.examples_per_task or 0,
        **(recipe if config.tasks else {}),  # which means nothing without
        **{name: getattr(config, name) for name in ("dropout", "clip_norm", "precision")},
        **{name: "none" if value is None else value for name, value in trial.values},
        **{f"task.{name}": int(name in config.tasks) for name in pool},
    }


def scores_of(entry: Mapping[str, Any], languages: Sequence[str]) -> dict[str, float]:
    """The numbers of a reported rung by name, without those that are none.

    Args:
        languages: that targets are evaluated in, that of the headline first.
    """
    by_language = {languages[0]: entry["scores"], **entry.get("scores_in", {})}
    named = {accuracy_name(language): entry.get(accuracy_name(language)) for language in languages}
    named["score"] = entry["score"]
    for language in languages:
        named |= {f"{language}/{task}": value for task, value in by_language.get(language, {}).items()}
    return {name: float(v) for name, v in named.items() if v is not None and math.isfinite(v)}


@dataclass(frozen=True)
class Progress:
    """How far a trial is, as a tracker shows it.

    Attributes:
        status: as `Standing.status`.
        rungs: journal entries of the rungs that it has reported, in order.
        phases: of the trial.
    """

    trial: Trial
    status: str
    rungs: tuple[Mapping[str, Any], ...]
    phases: Phases

    def document(self) -> dict[str, Any]:
        """What tells this from what was sent before."""
        return {"status": self.status, "rungs": [[entry["rung"], entry["time"]] for entry in self.rungs]}


@dataclass(frozen=True)
class Curve:
    """A phase's training curve.

    Attributes:
        name: the target, or trunk or cooldown.
        of_target: it begins anew at each rung; those of trunk and cooldown continue over the rungs.
        points: examples seen, and `CURVES` there by name, without those that are not finite.
    """

    name: str
    of_target: bool
    points: Sequence[tuple[int, Mapping[str, float]]]


def curves_at(directory: SweepFolder, progress: Progress, entry: Mapping[str, Any]) -> list[Curve]:
    """The training curves of what a trial has trained for a rung, since the rung before; phases may have none."""
    store = Store(directory.storage)
    specs = progress.phases.rungs[int(entry["rung_index"])].phases
    store.bring_tables(specs, [STEPS_FILE])
    curves = []
    for spec in (spec for spec in specs if isinstance(spec, TrainSpec)):
        rows = thinned(read_curve(store, spec), MOST_POINTS).to_pylist()
        points = [(row["examples"], {n: row[n] for n in CURVES if math.isfinite(row[n])}) for row in rows]
        of_target = spec.kind == "target"
        curves += [Curve(spec.data[0].task if of_target else spec.kind, of_target, points)] if points else []
    return curves


def tensorboard(
    sweep: Sweep, directory: SweepFolder, say: Callable[[str], None]
) -> Callable[[Mapping[str, Any], Progress], None]:
    """A tracker of the driver that writes each reported rung below `<directory>/tensorboard/<trial>/`.

    The trial's own folder has the curves over examples; each rung has a folder of its own in it, with its parameters and
    scores for the table of HParams, since rungs are compared only with themselves, and the curves of its targets' training.

    Args:
        say: gets a line for people where training curves cannot be read, which ends nothing.
    """
    with absent("torch"):  # it would import it only to know tensors by; a driver has no other use for it
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

    pool = sweep.pool

    def track(entry: Mapping[str, Any], progress: Progress) -> None:
        if entry["event"] != "rung":
            return
        trial, rung = progress.trial, int(entry["rung"])
        scores = scores_of(entry, sweep.evaluated)
        try:
            curves = curves_at(directory, progress, entry)
        except XlrayError as error:
            curves = []
            say(f"TensorBoard: {trial_title(trial)} at rung {rung} without training curves: {error}")
        folder = directory / "tensorboard" / trial_title(trial)
        # Files are named by the second: the suffix keeps two rungs of one second apart and in order.
        with SummaryWriter(str(folder), filename_suffix=f".{rung:012}") as writer:
            for name, value in scores.items():
                writer.add_scalar(name, value, rung)
            _add_curves(writer, [curve for curve in curves if not curve.of_target])
        with SummaryWriter(str(folder / f"rung-{rung}")) as writer:
            for summary in hparams({**parameters(trial, pool), "rung": rung}, scores):
                writer.file_writer.add_summary(summary)
            for name, value in scores.items():
                writer.add_scalar(name, value, rung)
            _add_curves(writer, [curve for curve in curves if curve.of_target])

    return track


def _add_curves(writer: Any, curves: Sequence[Curve]) -> None:
    for curve in curves:
        for examples, values in curve.points:
            for name, value in values.items():
                writer.add_scalar(f"train/{curve.name}/{name}", value, examples)


@contextlib.contextmanager
def absent(module: str) -> Iterator[None]:
    """While it lasts, a module that was not imported yet cannot be imported."""
    known = module in sys.modules
    if not known:
        sys.modules[module] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not known:
            del sys.modules[module]


def run_curves(directory: SweepFolder, progress: Progress, entry: Mapping[str, Any]) -> dict[str, Curve]:
    """`curves_at` by a prefix that is unique in a run without folders: `train/trunk`, `train/<target>-<rung>`."""
    curves = curves_at(directory, progress, entry)
    return {f"train/{c.name}-{entry['rung']}" if c.of_target else f"train/{c.name}": c for c in curves}


class Trackers:
    """Sends every trial of a sweep, computed or stored, to the trackers that the sweep names; the driver calls it.

    What was sent is written down in `tracked.jsonl` of the sweep's folder, so that a later run sends the rest. It is done
    in a thread of its own: a tracker that does not answer holds nothing up and ends nothing, but that is said.
    """

    def __init__(self, sweep: Sweep, directory: SweepFolder, say: Callable[[str], None]) -> None:
        """
        Args:
            say: gets a line for people.
        """
        self._say = say
        self._directory = directory
        self._file = directory / "tracked.jsonl"
        self._open = {name: partial(_OPEN[name], sweep, directory) for name in sweep.tracking}
        self._sent: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._waiting: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
        self._active_at = time.monotonic()
        self._thread = threading.Thread(target=self._work, name="xlray-trackers", daemon=True)

    def __enter__(self) -> Trackers:
        if self._open:
            self._directory.refresh(self._file.name)
            for line in read_lines(self._file) if self._file.exists() else ():
                self._sent[line["tracker"], line["to"], line["trial_id"]] = line
            self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._waiting.put(None)
        if kind is not None:
            return
        self._active_at = time.monotonic()
        while self._thread.is_alive() and time.monotonic() - self._active_at < GIVE_UP_S:
            self._thread.join(timeout=0.5)
        if self._thread.is_alive():
            self._say(f"{' and '.join(self._open)} do not answer; the same command again sends what is missing.")

    def __call__(self, entry: Mapping[str, Any], progress: Progress) -> None:
        """Take one entry of a trial, and how far that is."""
        if self._open and entry["event"] in SHOWN:
            self._waiting.put(progress)

    def catch_up(self, trials: Iterable[Progress]) -> None:
        """Send what earlier runs have not, and what is stored."""
        for progress in trials if self._open else ():
            if progress.rungs or progress.status not in ("created", "paused"):
                self._waiting.put(progress)

    def _work(self) -> None:
        trackers: dict[str, Tracker] = {}
        while (progress := self._waiting.get()) is not None:
            for name, make in list(self._open.items()):
                try:
                    if name not in trackers:
                        trackers[name] = make()
                    self._send(name, trackers[name], progress)
                except Exception as error:  # noqa: BLE001  a border: whatever a tracker's client raises
                    del self._open[name]
                    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                    self._say(f"{name}: nothing more is sent; the same command again sends what is missing: {reason}")
            self._active_at = time.monotonic()
        for tracker in trackers.values():
            tracker.close()

    def _send(self, name: str, tracker: Tracker, progress: Progress) -> None:
        key = (name, tracker.to, progress.trial.trial_id)
        before, now = self._sent.get(key, {}), progress.document()
        if {k: before.get(k) for k in now} == now:
            return
        new = [e for e in progress.rungs if [e["rung"], e["time"]] not in before.get("rungs", [])]
        run = tracker.send(progress, before.get("run"), new)
        line = {"tracker": name, "to": tracker.to, "trial_id": progress.trial.trial_id, "run": run, **now}
        self._sent[key] = append_line(self._directory.storage, self._file, line)


class Tracker(Protocol):
    """Where trials are sent.

    Attributes:
        to: what tells this place from others of its kind.
    """

    to: str

    def send(self, progress: Progress, run: str | None, new: Sequence[Mapping[str, Any]]) -> str:
        """Bring a trial's run, by its id if it is known, up to date; returns its id."""

    def close(self) -> None:
        """Wait until everything is there."""


MLFLOW_METRICS, MLFLOW_PARAMS = 1_000, 100  # that a server takes in one request


class MLflow:
    """An experiment of the sweep's name at `MLFLOW_TRACKING_URI`, with one run per trial."""

    def __init__(self, sweep: Sweep, directory: SweepFolder) -> None:
        import mlflow

        self.directory, self.pool, self.languages = directory, sweep.pool, sweep.evaluated
        self._entities = mlflow.entities
        self.to = str(mlflow.get_tracking_uri())
        self.client = mlflow.MlflowClient(self.to)
        known = self.client.get_experiment_by_name(sweep.name)
        self.experiment = known.experiment_id if known else self.client.create_experiment(sweep.name)

    def send(self, progress: Progress, run: str | None, new: Sequence[Mapping[str, Any]]) -> str:
        run = run or self._run(progress.trial)
        for entry in new:
            found = [(name, value, int(entry["rung"])) for name, value in scores_of(entry, self.languages).items()]
            for prefix, curve in run_curves(self.directory, progress, entry).items():
                found += [(f"{prefix}/{name}", value, at) for at, row in curve.points for name, value in row.items()]
            time_ms = round(entry["time"] * 1000)
            metrics = [self._entities.Metric(name, value, time_ms, at) for name, value, at in found]
            for start in range(0, len(metrics), MLFLOW_METRICS):
                self.client.log_batch(run, metrics=metrics[start : start + MLFLOW_METRICS])
        status = {"finished": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
        if progress.status in status:
            self.client.set_terminated(run, status[progress.status])
        else:
            self.client.update_run(run, "RUNNING")
        return run

    def _run(self, trial: Trial) -> str:
        """The run that has the trial's tag, or a new one."""
        tag = "xlray.trial_id"
        found = self.client.search_runs([self.experiment], f"tags.`{tag}` = '{trial.trial_id}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        made = self.client.create_run(self.experiment, tags={tag: trial.trial_id}, run_name=trial_title(trial))
        params = [self._entities.Param(name, str(value)) for name, value in parameters(trial, self.pool).items()]
        for start in range(0, len(params), MLFLOW_PARAMS):
            self.client.log_batch(made.info.run_id, params=params[start : start + MLFLOW_PARAMS])
        return str(made.info.run_id)

    def close(self) -> None:
        pass


class WeightsAndBiases:
    """A project of the sweep's name, or `WANDB_PROJECT`, with one run per trial; it is open while the trial runs."""

    def __init__(self, sweep: Sweep, directory: SweepFolder) -> None:
        import wandb

        self.sweep, self.wandb = sweep, wandb
        self.project = os.environ.get("WANDB_PROJECT", sweep.name)
        self.to = f"{os.environ.get('WANDB_MODE', 'online')} {self.project}"
        self.directory, self.pool = directory, sweep.pool
        self.folder = os.environ.get("WANDB_DIR", str(directory))
        self.open: dict[str, Any] = {}

    def send(self, progress: Progress, run: str | None, new: Sequence[Mapping[str, Any]]) -> str:
        trial = progress.trial
        run = f"{self.sweep.name}-{trial.trial_id}"
        if run not in self.open:
            self.open[run] = self.wandb.init(
                project=self.project,
                group=self.sweep.name,
                id=run,
                name=trial_title(trial),
                config=parameters(trial, self.pool),
                dir=self.folder,
                resume="allow",
                reinit="create_new",
                settings=self.wandb.Settings(console="off"),
            )
        for entry in new:
            self._log(self.open[run], "rung", [(int(entry["rung"]), scores_of(entry, self.sweep.evaluated))])
            for prefix, curve in run_curves(self.directory, progress, entry).items():
                rows = [(at, {f"{prefix}/{name}": value for name, value in row.items()}) for at, row in curve.points]
                self._log(self.open[run], f"{prefix}/examples", rows)
        if progress.status != "running":
            self.open.pop(run).finish(exit_code=int(progress.status == "failed"))
        return run

    def _log(self, run: Any, axis: str, rows: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Log rows over an axis of their own: the examples of rungs, of the trunk and of targets are different ones."""
        for name in dict.fromkeys(name for _, values in rows for name in values):
            run.define_metric(name, step_metric=axis)
        for at, values in rows:
            run.log({**values, axis: at})

    def close(self) -> None:
        while self.open:
            self.open.popitem()[1].finish()


_OPEN: dict[str, Callable[[Sweep, SweepFolder], Tracker]] = {"mlflow": MLflow, "wandb": WeightsAndBiases}
