"""Tracking: TensorBoard from the journal; MLflow and Weights & Biases through Ray's callbacks."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xlray.canonical import InputError
from xlray.config import Sweep, Trial
from xlray.jobs import trial_title

PACKAGES = {"mlflow": "mlflow", "wandb": "wandb"}  # name in `Sweep.tracking` -> module


def check_tracking(sweep: Sweep) -> None:
    """Raise `InputError` where a tracker's package is missing."""
    for name in sweep.tracking:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise InputError(f"tracking: {name!r} needs the package {PACKAGES[name]}, but it is not installed.")


def parameters(trial: Trial) -> dict[str, Any]:
    """What tells a trial from the others of its sweep."""
    config = trial.config
    return {
        "num_tasks": len(config.tasks),
        "seed": config.seed,
        "cell": trial.cell,
        "role": trial.role,
        "source": trial.subset.source,
        "tasks": " ".join(config.tasks),
        "examples_per_task": config.intermediate.examples_per_task or 0,
    }


def tensorboard(sweep: Sweep, directory: Path, find: Callable[[str], Trial]) -> Callable[[Mapping[str, Any]], None]:
    """A listener that writes each reported rung below `<directory>/tensorboard/<trial>/`.

    The trial's own folder has the curves over examples; each rung has a folder of its own in it, with its parameters and
    scores for the table of HParams, since rungs are compared only with themselves.

    Args:
        find: the trial of an id.
    """
    from tensorboardX import SummaryWriter
    from tensorboardX.summary import hparams

    def listen(entry: Mapping[str, Any]) -> None:
        if entry["event"] != "rung":
            return
        trial, rung = find(entry["trial_id"]), int(entry["rung"])
        named = {"fi_accuracy": entry["fi_accuracy"], "score": entry["score"]}
        named |= {f"fi/{task}": value for task, value in entry["scores"].items()}
        scores = {name: float(v) for name, v in named.items() if v is not None and math.isfinite(v)}
        folder = directory / "tensorboard" / trial_title(sweep, trial)
        # Files are named by the second: the suffix keeps two rungs of one second apart and in order.
        with SummaryWriter(str(folder), filename_suffix=f".{rung:012}") as writer:
            for name, value in scores.items():
                writer.add_scalar(name, value, rung)
        with SummaryWriter(str(folder / f"rung-{rung}")) as writer:
            for summary in hparams({**parameters(trial), "rung": rung}, scores):
                writer.file_writer.add_summary(summary)
            for name, value in scores.items():
                writer.add_scalar(name, value, rung)

    return listen


def callbacks(sweep: Sweep) -> list[Any]:
    """Ray's callbacks for the trackers that a sweep names.

    Where they write is said by their own environment variables: `MLFLOW_TRACKING_URI`, `WANDB_PROJECT` (by default the
    sweep's name), `WANDB_API_KEY`, `WANDB_MODE`.
    """
    made: list[Any] = []
    if "mlflow" in sweep.tracking:
        from ray.air.integrations.mlflow import MLflowLoggerCallback

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        made.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name=sweep.name))
    if "wandb" in sweep.tracking:
        from ray.air.integrations.wandb import WandbLoggerCallback

        made.append(WandbLoggerCallback(project=os.environ.get("WANDB_PROJECT", sweep.name), group=sweep.name))
    return made
