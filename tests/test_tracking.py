"""What trackers get: read back from event files, an SQLite store and an offline run."""

import dataclasses
import math
from types import SimpleNamespace

import pytest

from xlray.canonical import InputError
from xlray.config import Sweep
from xlray.recipes import Encoder, Subset
from xlray.tracking import callbacks, check_tracking, parameters, tensorboard

SWEEP = Sweep("demo", Encoder("encoder"), measure=(Subset(()), Subset(("b", "a"), "en")), seeds=(0, 1))
TRIALS = {trial.trial_id: trial for trial in SWEEP.trials()}


def rung(trial_id, number, value):
    place = {"event": "rung", "trial_id": trial_id, "rung": number, "rung_index": 0, "score": value}
    return {**place, "fi_accuracy": value, "scores": {"udpos": value - 1, "panx": value + 1}}


def test_event_files_hold_curves_and_a_session_of_hparams_for_each_rung(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    listen = tensorboard(SWEEP, tmp_path, TRIALS.__getitem__)
    for entry in ({"event": "opened"}, *(rung(t, n, n / 10) for t in TRIALS for n in (64, 128))):
        listen(entry)
    listen(rung(next(iter(TRIALS)), 256, math.nan))
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


def fake_trial(tmp_path, trial, name):
    """As much of Ray Tune's trial as its callbacks read."""

    class Shown(SimpleNamespace):
        __hash__ = object.__hash__

        def __str__(self):
            return name

    config = {"trial_id": trial.trial_id, **parameters(trial)}
    return Shown(trial_id=trial.trial_id, config=config, local_path=str(tmp_path), evaluated_params={})


def test_mlflow_gets_parameters_and_scores(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (callback,) = callbacks(dataclasses.replace(SWEEP, tracking=("mlflow",)))
    trial = next(t for t in TRIALS.values() if t.config.tasks)
    shown = fake_trial(tmp_path, trial, "2tasks-s0-x")
    callback.setup()
    callback.log_trial_start(shown)
    callback.log_trial_result(1, shown, {"training_iteration": 1, "fi_accuracy": 61.5, "fi/udpos": 80.0})
    callback.log_trial_end(shown)
    client = mlflow.MlflowClient(uri)
    (found,) = client.search_runs([client.get_experiment_by_name("demo").experiment_id])
    assert found.info.run_name == "2tasks-s0-x" and found.info.status == "FINISHED"
    assert (found.data.params["num_tasks"], found.data.params["tasks"]) == ("2", "a b")
    assert found.data.metrics["fi_accuracy"] == 61.5 and found.data.metrics["fi/udpos"] == 80.0


def test_wandb_is_asked_for_by_name(monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    (callback,) = callbacks(dataclasses.replace(SWEEP, tracking=("wandb",)))
    callback.setup()
    assert (callback.project, callback.group) == ("demo", "demo")
    monkeypatch.setenv("WANDB_PROJECT", "another")
    assert callbacks(dataclasses.replace(SWEEP, tracking=("wandb",)))[0].project == "another"


def test_a_missing_package_and_an_unknown_tracker_are_said_before_a_start(monkeypatch):
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
    from test_sweep import TASKS, finish, journal, start, table

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
    known = {run.info.run_name.rsplit("-", 1)[-1]: run for run in runs if run.info.run_name != "shared"}
    assert known.keys() == trials.keys()
    for trial_id, run in known.items():
        last = [e for e in journal(tmp_path) if e["event"] == "rung" and e["trial_id"] == trial_id][-1]
        assert run.data.params["cell"] == trials[trial_id]["cell"]
        assert run.data.metrics["fi_accuracy"] == pytest.approx(last["fi_accuracy"])
    offline = list(tmp_path.rglob("offline-run-*/run-*.wandb"))
    assert len(offline) >= len(trials) and all(file.stat().st_size > 1000 for file in offline)
