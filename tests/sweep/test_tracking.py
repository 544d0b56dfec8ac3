"""What trackers get: read back from event files, an SQLite store and an offline run."""

import dataclasses
import math
import subprocess
import sys

import helpers
import pytest

from xlray.config.recipes import Encoder, Subset
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.phases.curves import POINTS_FILE, STEPS_FILE, LogPoint, add_point, write_curve
from xlray.phases.spec import Phases, RetrievalSpec, Rung
from xlray.phases.store import Store
from xlray.plan.jobs import trial_title
from xlray.storage.journal import read_lines
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder
from xlray.sweep import tracking
from xlray.sweep.tracking import MOST_POINTS, Progress, Trackers, check_tracking, parameters, tensorboard

SWEEP = Sweep(
    "demo",
    Encoder("encoder"),
    measure=(Subset(()), Subset(("b", "a"), "en")),
    explore=(Subset(("c",), "fr"),),
    seeds=(0, 1),
    vary={"intermediate.learning_rate": (1e-5, 2e-5)},
)
TRIALS = {trial.trial_id: trial for trial in SWEEP.trials()}
RUNGS = (64, 128)


def rung(trial_id, number, value):
    place = {"event": "rung", "trial_id": trial_id, "rung": number, "rung_index": number // 128, "score": value}
    return {**place, "fi_accuracy": value, "scores": {"udpos": value - 1, "panx": value + 1}}


def phases_of(trial_id):
    """Trunk, cooldown, a trained target and retrieval, at three rungs; those before the targets only with tasks."""
    data = helpers.data_spec("udpos", "tagging", "train/en", [], 32)
    rungs = []
    for index, first in enumerate((0, 64, 192)):
        trunk = helpers.train_spec("trunk", trial_id, [], first_example=first, schedule="warmup_constant")
        cooldown = helpers.train_spec("cooldown", trial_id, [], first_example=first + 64, num_examples=16)
        target = helpers.train_spec("target", trial_id, [data], seed=index)
        targets = (target, RetrievalSpec(trial_id, (), index, "fp32", 1))
        rungs.append(Rung(first + 64, (trunk, cooldown) if TRIALS[trial_id].config.tasks else (), targets))
    return Phases(tuple(rungs))


def finish(storage, spec, num_looks=4, loss=1.0):
    """Store a training phase that was looked at after every step, with losses that fall from `loss`."""
    store = Store(storage)
    attempt = store.begin(spec)
    with (attempt / POINTS_FILE).open("ab") as file:
        for number in range(1, num_looks + 1):
            place = (spec.first_step + number, 1)
            add_point(file, LogPoint(*place, loss / number, float(number), 1e-3, 10, 10, 1.0))
    with store.staging(spec) as staged:
        write_curve(staged, attempt, spec)
        store.commit(spec, staged, {})


def finish_all(storage, trial_id, **changes):
    for spec in (spec for spec in phases_of(trial_id) if not isinstance(spec, RetrievalSpec)):
        finish(storage, spec, **changes)


def progress_of(trial_id, status="running", entries=()):
    return Progress(TRIALS[trial_id], status, tuple(entries), phases_of(trial_id))


def test_event_files_hold_curves_and_a_session_of_hparams_for_each_rung(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    directory = sweep_folder(Storage(tmp_path), "demo")
    track = tensorboard(SWEEP, directory, print)
    for trial_id in TRIALS:
        for entry in ({"event": "created"}, *(rung(trial_id, n, n / 10) for n in RUNGS)):
            track(entry, progress_of(trial_id))
    track(rung(next(iter(TRIALS)), 256, math.nan), progress_of(next(iter(TRIALS))))
    for trial in TRIALS.values():
        folder = directory / "tensorboard" / trial_title(trial)
        curve = EventAccumulator(str(folder))
        curve.Reload()
        assert [(e.step, round(e.value, 4)) for e in curve.Scalars("fi/udpos")][:2] == [(64, 5.4), (128, 11.8)]
        for number in (64, 128):
            session = EventAccumulator(str(folder / f"rung-{number}"))
            session.Reload()
            content = session.summary_metadata
            assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= content.keys()
            start = metadata.parse_session_start_info_plugin_data(
                content["_hparams_/session_start_info"].plugin_data.content
            )
            found = {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()}
            assert (found["num_tasks"], found["rung"]) == (len(trial.config.tasks), number)
            assert (found["cell"], found["role"]) == (trial.cell, trial.role)
            assert {name: found[f"task.{name}"] for name in "abc"} == {n: n in trial.config.tasks for n in "abc"}
            experiment = metadata.parse_experiment_plugin_data(content["_hparams_/experiment"].plugin_data.content)
            names = {info.name.tag for info in experiment.metric_infos}
            assert names == {"fi_accuracy", "score", "fi/udpos", "fi/panx"} and names <= set(session.Tags()["scalars"])


def test_event_files_hold_the_training_of_each_phase_within_bounds(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    directory = sweep_folder(Storage(tmp_path), "demo")
    stored, partly = [trial_id for trial_id, trial in TRIALS.items() if trial.config.tasks][:2]
    finish_all(directory.storage, stored)
    long = phases_of(partly).rungs[0].targets[0]  # its trunk was stored by an earlier version
    finish(directory.storage, long, num_looks=450, loss=math.nan)
    track = tensorboard(SWEEP, directory, print)
    for trial_id in (stored, partly):
        for number in RUNGS:
            track(rung(trial_id, number, 50.0), progress_of(trial_id))

    def read(trial_id, *rung_folder):
        events = EventAccumulator(
            str((directory / "tensorboard" / trial_title(TRIALS[trial_id])).joinpath(*rung_folder))
        )
        events.Reload()
        return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"] if "/" in tag}

    own, at_rung = read(stored), read(stored, "rung-64")
    losses = [1.0, 1 / 2, 1 / 3, 1 / 4]
    assert [at for at, _ in own["train/trunk/loss"]] == [16, 32, 48, 64, 80, 96, 112, 128]  # one line over both rungs
    assert [value for _, value in own["train/trunk/loss"]] == pytest.approx(2 * losses)
    assert [at for at, _ in own["train/cooldown/grad_norm"]] == [80, 96, 112, 128, 144, 160, 176, 192]
    assert [value for _, value in own["train/cooldown/grad_norm"]] == 2 * [1.0, 2.0, 3.0, 4.0]
    assert [value for _, value in own["train/cooldown/learning_rate"]] == pytest.approx(8 * [1e-3])
    assert [at for at, _ in at_rung["train/udpos/loss"]] == [16, 32, 48, 64] and "train/udpos/loss" not in own
    assert read(stored, "rung-128")["train/udpos/loss"] == at_rung["train/udpos/loss"]
    assert not any(tag.startswith("train/") for tag in read(partly))
    bounded = read(partly, "rung-64")
    assert "train/udpos/loss" not in bounded  # not one was finite
    assert 50 <= len(bounded["train/udpos/grad_norm"]) <= MOST_POINTS
    assert bounded["train/udpos/grad_norm"][-1] == (450 * 16, 450.0)


def test_event_files_are_written_without_torch():
    code = """
import sys
from types import SimpleNamespace
from xlray.sweep.tracking import tensorboard

tensorboard(SimpleNamespace(pool=()), None, print)
print("torch" in sys.modules, end=" ")
import torch
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "False True\n"), done.stderr


def test_a_curve_that_cannot_be_read_ends_nothing_and_is_said(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    directory, said = sweep_folder(Storage(tmp_path), "demo"), []
    trial_id = next(trial_id for trial_id, trial in TRIALS.items() if trial.config.tasks)
    finish_all(directory.storage, trial_id)
    path = Store(directory.storage).folder(phases_of(trial_id).rungs[0].training[1]) / STEPS_FILE
    path.write_bytes(b"cut")
    track = tensorboard(SWEEP, directory, said.append)
    for number in RUNGS:
        track(rung(trial_id, number, 50.0), progress_of(trial_id))
    assert len(said) == 1 and "at rung 64 without training curves" in said[0] and str(path) in said[0]
    events = EventAccumulator(str(directory / "tensorboard" / trial_title(TRIALS[trial_id])))
    events.Reload()
    assert [e.step for e in events.Scalars("fi_accuracy")] == list(RUNGS)
    assert [e.step for e in events.Scalars("train/trunk/loss")] == [80, 96, 112, 128]  # of the second rung


def test_a_parameter_says_of_every_task_of_the_sweep_whether_a_trial_has_it():
    found = {trial_id: parameters(trial, SWEEP.pool) for trial_id, trial in TRIALS.items()}
    for trial_id, trial in TRIALS.items():
        tasks = {name.removeprefix("task.") for name, value in found[trial_id].items() if name[:5] == "task." and value}
        assert tasks == set(trial.config.tasks)
        assert {name for name in found[trial_id] if name.startswith("task.")} == {"task.a", "task.b", "task.c"}
        rate = found[trial_id].get("intermediate.learning_rate")
        assert rate == (trial.config.intermediate.learning_rate if trial.config.tasks else None)
        assert found[trial_id]["clip_norm"] == 1.0
    assert {row.get("intermediate.learning_rate") for row in found.values()} == {None, 1e-5, 2e-5}


class Run:
    """A run of the sweep whose trials' progress is set by hand; returns the lines for people."""

    def __init__(self, folder, tracking):
        self.progress = {}
        self.said = []
        self.sweep = dataclasses.replace(SWEEP, tracking=tracking)
        self.directory = sweep_folder(Storage(folder), "demo")
        self.directory.path.mkdir(parents=True, exist_ok=True)

    def of(self, trial_id, status, *rungs):
        entries = tuple({**rung(trial_id, number, value), "time": 1e9 + number} for number, value in rungs)
        self.progress[trial_id] = progress_of(trial_id, status, entries)
        return {"event": status, "trial_id": trial_id}

    def run(self, *entries):
        with Trackers(self.sweep, self.directory, self.said.append) as trackers:
            new = {entry["trial_id"] for entry in entries}
            trackers.catch_up(progress for trial_id, progress in self.progress.items() if trial_id not in new)
            for entry in entries:
                trackers(entry, self.progress[entry["trial_id"]])


def test_mlflow_has_every_trial_once_also_those_that_are_stored_and_after_a_rerun(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    monkeypatch.setattr(tracking, "MLFLOW_METRICS", 70)  # so that a rung takes several requests, and so do parameters
    monkeypatch.setattr(tracking, "MLFLOW_PARAMS", 9)
    client = mlflow.MlflowClient(uri)
    stored, computed, broken, open_ = list(TRIALS)[1:5]
    run = Run(tmp_path, ("mlflow",))
    finish_all(run.directory.storage, stored, num_looks=300)
    run.of(stored, "finished", (64, 50.0), (128, 61.5))  # nothing of it happens in this run
    run.of(open_, "created")
    entries = [run.of(computed, "running"), run.of(broken, "failed")]
    run.run(*entries)
    run.run()
    run.run(run.of(computed, "finished", (64, 40.0), (128, 41.0)))
    (run.directory / "tracked.jsonl").unlink()  # lost; or the process was killed before it was written
    run.run()
    assert run.said == []
    runs = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    found = {one.info.run_name.rsplit("-", 1)[-1]: one for one in runs}
    assert len(runs) == 3 and found.keys() == {stored, computed, broken}
    assert {found[t].info.status for t in (stored, computed)} == {"FINISHED"}
    assert found[broken].info.status == "FAILED"
    assert found[stored].data.params == {name: str(v) for name, v in parameters(TRIALS[stored], SWEEP.pool).items()}
    assert found[stored].data.params["task.a"] == str(int("a" in TRIALS[stored].config.tasks))
    for trial_id, values in ((stored, [50.0, 61.5]), (computed, [40.0, 41.0])):
        history = client.get_metric_history(found[trial_id].info.run_id, "fi_accuracy")
        assert sorted((m.step, m.value) for m in history) == [(64, values[0]), (128, values[1])]
        assert found[trial_id].data.metrics["fi/udpos"] == values[1] - 1
    names = [f"train/{name}/{of}" for name in ("trunk", "udpos-64", "udpos-128") for of in ("loss", "grad_norm")]
    assert set(names) <= found[stored].data.metrics.keys() and not set(names) & found[computed].data.metrics.keys()
    history = client.get_metric_history(found[stored].info.run_id, "train/udpos-64/grad_norm")
    assert sorted((m.step, m.value) for m in history) == [(16 * n, n) for n in range(3, 303, 3)]


def test_a_tracker_that_is_away_ends_nothing_is_reported_once_and_gets_all_later(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: "http://127.0.0.1:9")
    run = Run(tmp_path, ("mlflow",))
    for trial_id in TRIALS:
        run.of(trial_id, "finished", (64, 50.0))
    run.run()
    assert len(run.said) == 1 and run.said[0].startswith("mlflow: nothing more is sent; the same command again sends")
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    run.run()
    client = mlflow.MlflowClient(uri)
    assert len(client.search_runs([client.get_experiment_by_name("demo").experiment_id])) == len(TRIALS)


def test_wandb_has_every_trial_once_also_those_that_are_stored_and_after_a_rerun(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "another")
    stored, computed, *_ = TRIALS
    run = Run(tmp_path, ("wandb",))
    finish_all(run.directory.storage, stored)
    run.of(stored, "finished", (64, 50.0))
    entries = [run.of(computed, "running"), run.of(computed, "finished", (64, 40.0))]
    run.run(*entries)
    run.run()
    assert run.said == []
    lines = read_lines(run.directory / "tracked.jsonl")
    assert {line["to"] for line in lines} == {"offline another"}
    folders = sorted(p.name.rsplit("-run-", 1)[-1] for p in tmp_path.glob("sweeps/demo/wandb/offline-run-*"))
    assert len(folders) == 2 and {name.rsplit("-", 1)[-1] for name in folders} == {stored, computed}
    assert all(file.stat().st_size > 1000 for file in tmp_path.glob("sweeps/demo/wandb/offline-run-*/run-*.wandb"))


def test_a_missing_package_and_an_unknown_tracker_are_reported_before_a_start(monkeypatch):
    check_tracking(SWEEP)
    with pytest.raises(InputError, match="tracking in"):
        dataclasses.replace(SWEEP, tracking=("neptune",))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_tracking(SWEEP)
    with pytest.raises(InputError, match="'wandb' needs the package wandb, but it is not installed"):
        check_tracking(dataclasses.replace(SWEEP, tracking=("wandb",)))


@pytest.mark.ray
@pytest.mark.slow
def test_a_sweep_is_in_mlflow_and_in_an_offline_run_of_weights_and_biases(tmp_path, monkeypatch):
    from running_sweeps import TASKS, finish, journal, start, table

    mlflow, wandb = pytest.importorskip("mlflow"), pytest.importorskip("wandb")
    assert wandb.__version__
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    code, output = finish(start(tmp_path, "--set", 'tracking=["mlflow","wandb"]', tasks=TASKS[:1]))
    assert code == 0, output
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name("small").experiment_id])
    trials = {t["trial_id"]: t for t in table(tmp_path, "trials").to_pylist()}
    known = {run.info.run_name.rsplit("-", 1)[-1]: run for run in runs}
    assert known.keys() == trials.keys() and len(runs) == len(trials)
    for trial_id, run in known.items():
        last = [e for e in journal(tmp_path) if e["event"] == "rung" and e["trial_id"] == trial_id][-1]
        assert run.data.params["cell"] == trials[trial_id]["cell"]
        assert run.data.metrics["fi_accuracy"] == pytest.approx(last["fi_accuracy"])
    offline = list(tmp_path.rglob("offline-run-*/run-*.wandb"))
    assert len(offline) == len(trials) and all(file.stat().st_size > 1000 for file in offline)
