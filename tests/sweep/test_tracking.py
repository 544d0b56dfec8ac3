"""What trackers get: read back from event files, an SQLite store and an offline run."""

import dataclasses
import math

import pytest

from xlray.config.recipes import Encoder, Subset
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.storage.journal import read_lines
from xlray.storage.sweep_folder import open_sweep
from xlray.sweep.tracking import Progress, Trackers, check_tracking, parameters, tensorboard

SWEEP = Sweep("demo", Encoder("encoder"), measure=(Subset(()), Subset(("b", "a"), "en")), seeds=(0, 1))
TRIALS = {trial.trial_id: trial for trial in SWEEP.trials()}


def rung(trial_id, number, value):
    place = {"event": "rung", "trial_id": trial_id, "rung": number, "rung_index": 0, "score": value}
    return {**place, "fi_accuracy": value, "scores": {"udpos": value - 1, "panx": value + 1}}


def test_event_files_hold_curves_and_a_session_of_hparams_for_each_rung(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    track = tensorboard(open_sweep(tmp_path))
    for trial_id, trial in TRIALS.items():
        for entry in ({"event": "created"}, *(rung(trial_id, n, n / 10) for n in (64, 128))):
            track(entry, Progress(trial, "running", ()))
    track(rung(next(iter(TRIALS)), 256, math.nan), Progress(TRIALS[next(iter(TRIALS))], "running", ()))
    for trial in TRIALS.values():
        folder = tmp_path / "tensorboard" / f"{len(trial.config.tasks)}tasks-s{trial.config.seed}-{trial.trial_id}"
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
            assert (found["cell"], found["role"]) == (trial.cell, "measure")
            experiment = metadata.parse_experiment_plugin_data(content["_hparams_/experiment"].plugin_data.content)
            names = {info.name.tag for info in experiment.metric_infos}
            assert names == {"fi_accuracy", "score", "fi/udpos", "fi/panx"} and names <= set(session.Tags()["scalars"])


class Run:
    """A run of the sweep whose trials' progress is set by hand; returns the lines for people."""

    def __init__(self, folder, tracking):
        self.progress = {}
        self.said = []
        self.sweep = dataclasses.replace(SWEEP, tracking=tracking)
        self.folder = folder

    def of(self, trial_id, status, *rungs):
        entries = tuple({**rung(trial_id, number, value), "time": 1e9 + number} for number, value in rungs)
        self.progress[trial_id] = Progress(TRIALS[trial_id], status, entries)
        return {"event": status, "trial_id": trial_id}

    def run(self, *entries):
        with Trackers(self.sweep, open_sweep(open_sweep(self.folder)), self.said.append) as trackers:
            new = {entry["trial_id"] for entry in entries}
            trackers.catch_up(progress for trial_id, progress in self.progress.items() if trial_id not in new)
            for entry in entries:
                trackers(entry, self.progress[entry["trial_id"]])


def test_mlflow_has_every_trial_once_also_those_that_are_stored_and_after_a_rerun(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    client = mlflow.MlflowClient(uri)
    stored, computed, broken, open_ = TRIALS
    run = Run(tmp_path, ("mlflow",))
    run.of(stored, "finished", (64, 50.0), (128, 61.5))  # nothing of it happens in this run
    run.of(open_, "created")
    entries = [run.of(computed, "running"), run.of(broken, "failed")]
    run.run(*entries)
    run.run()
    run.run(run.of(computed, "finished", (64, 40.0), (128, 41.0)))
    (tmp_path / "tracked.jsonl").unlink()  # lost; or the process was killed before it was written
    run.run()
    assert run.said == []
    runs = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    found = {one.info.run_name.rsplit("-", 1)[-1]: one for one in runs}
    assert len(runs) == 3 and found.keys() == {stored, computed, broken}
    assert {found[t].info.status for t in (stored, computed)} == {"FINISHED"}
    assert found[broken].info.status == "FAILED"
    assert found[stored].data.params == {name: str(v) for name, v in parameters(TRIALS[stored]).items()}
    for trial_id, values in ((stored, [50.0, 61.5]), (computed, [40.0, 41.0])):
        history = client.get_metric_history(found[trial_id].info.run_id, "fi_accuracy")
        assert sorted((m.step, m.value) for m in history) == [(64, values[0]), (128, values[1])]
        assert found[trial_id].data.metrics["fi/udpos"] == values[1] - 1


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
    run.of(stored, "finished", (64, 50.0))
    entries = [run.of(computed, "running"), run.of(computed, "finished", (64, 40.0))]
    run.run(*entries)
    run.run()
    assert run.said == []
    lines = read_lines(tmp_path / "tracked.jsonl")
    assert {line["to"] for line in lines} == {"offline another"}
    folders = sorted(p.name.rsplit("-run-", 1)[-1] for p in tmp_path.glob("wandb/offline-run-*"))
    assert len(folders) == 2 and {name.rsplit("-", 1)[-1] for name in folders} == {stored, computed}
    assert all(file.stat().st_size > 1000 for file in tmp_path.glob("wandb/offline-run-*/run-*.wandb"))


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
