"""What a phase starts from and leaves: weights, the model that a state makes, and the ledger of executed steps."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from xlray.data.encoders import CONFIG
from xlray.phases.curves import POINTS_FILE, LogPoint, add_point, keep_points
from xlray.phases.spec import TrainSpec
from xlray.plan.jobs import Job
from xlray.storage.files import write_atomically
from xlray.training.batches import Layout
from xlray.training.model import Model, empty_encoder, initialise_heads, load_encoder

SHOW_EVERY_S = 0.5
SEND_EVERY_S = 5.0  # where the live view may be on another machine


def save_weights(folder: Path, weights: Mapping[str, Tensor], config: Any, tokenizer_from: str | None) -> None:
    """Write an encoder folder in XLM-R's layout (config.json, model.safetensors, tokenizer.json).

    Args:
        config: transformers' configuration of the encoder.
        tokenizer_from: folder of the phase or encoder whose tokenizer.json is copied.

    The heads of tasks are left out: what follows has heads of its own. The masked-LM head is kept.
    """
    folder.mkdir(parents=True)
    named = {}
    for name, value in weights.items():
        if name.startswith("encoder."):
            named[f"roberta.{name.removeprefix('encoder.')}"] = value
        elif name.startswith("lm_head."):
            named[name] = value
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    config.save_pretrained(folder)
    if tokenizer_from is not None:
        copy_tokenizer(Path(tokenizer_from), folder)


HEADS_FILE = "heads.safetensors"


def save_heads(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the linear layer of heads (`weight`, `bias`) beside the encoder."""
    heads = {n.removeprefix("heads."): value for n, value in weights.items() if n.startswith("heads.")}
    save_file(heads, folder / HEADS_FILE)


def copy_tokenizer(parent: Path, folder: Path) -> None:
    """Hand the parent's tokenizer.json on, from its weights, its state or (a public encoder) itself."""
    for source in (parent / "weights", parent / "state", parent):
        if (source / "tokenizer.json").exists():
            shutil.copyfile(source / "tokenizer.json", folder / "tokenizer.json")
            return


def weights_folder(parent: Path) -> Path:
    """Where an encoder lies: a public folder holds it directly, a phase under `weights/`."""
    return parent / "weights" if (parent / "weights").is_dir() else parent


def config_folder(parent: Path) -> Path:
    """Where the configuration of an encoder lies: with its weights, or with the state that a phase resumes from."""
    folders = (weights_folder(parent), parent / "state")
    return next((folder for folder in folders if (folder / CONFIG).exists()), folders[0])


def load_model(
    parent: Path, plan: Layout, dropout: float, seed: int, state_path: Path | None
) -> tuple[Model, dict[str, Tensor] | None]:
    """The model as it stands at the start of a phase, and the optimizer's state to resume from.

    Args:
        parent: folder of the encoder or phase it starts from; only its config is read if there is a state.
        seed: of fresh heads.
        state_path: a saved state, whose weights and moments are taken; None starts from the parent's weights.
    """
    if state_path is not None:
        state = load_file(state_path)
        where = state_path.parent if (state_path.parent / CONFIG).exists() else config_folder(parent)
        model = Model(empty_encoder(where), plan, dropout)
        load_weights(model, state)
        return model, state
    encoder, lm_head = load_encoder(weights_folder(parent))
    model = Model(encoder, plan, dropout)
    initialise_heads(model, seed)
    if model.lm_head is not None and lm_head:
        model.lm_head.load_state_dict(lm_head)
    return model, None


def load_weights(model: Model, state: Mapping[str, Tensor]) -> None:
    """Set the model's weights from a gathered state."""
    model.load_state_dict({k.removeprefix("model/"): v for k, v in state.items() if k.startswith("model/")})


class Ledger:
    """Counts the steps that were executed, also those that a crash lost, and feeds the live view.

    `steps.log` gets one line per executed step with a plain write, which survives SIGKILL of the process: "step tokens
    slots device-seconds". The cost of a phase and the steps repeated after crashes are read from it. `curve.log` gets one
    line per point of the training curve; see `xlray.phases.curves`.
    """

    def __init__(self, attempt: Path, job: Job, spec: TrainSpec, num_workers: int, first_step: int) -> None:
        """
        Args:
            first_step: that is executed; what an earlier attempt saw after it is forgotten.
        """
        self.path = attempt / "steps.log"
        self.job = job
        self.spec = spec
        self.num_devices = num_workers * job.execution.device_share
        self.show_every_s = SHOW_EVERY_S if job.storage.remote is None else SEND_EVERY_S
        self.file = self.path.open("ab", buffering=0)
        keep_points(attempt / POINTS_FILE, first_step)
        self.points = (attempt / POINTS_FILE).open("ab", buffering=0)
        self.before = self.since = self.logged_at = time.monotonic()
        self.shown = 0.0
        self.loss: float | None = None  # mean at the last point
        self.num_tokens = self.num_slots = 0  # of all ranks, since the live view was told
        self.seen_tokens = self.seen_slots = 0  # the same since the last point
        self.first_step_at: float | None = None

    def step(self, step: int, num_tokens: int, num_slots: int) -> None:
        """Record one executed step of all ranks, and tell the live view."""
        now = time.monotonic()
        self.first_step_at = self.first_step_at or time.time()
        self.file.write(f"{step} {num_tokens} {num_slots} {(now - self.before) * self.num_devices:.4f}\n".encode())
        self.before = now
        self.num_tokens += num_tokens
        self.num_slots += num_slots
        self.seen_tokens += num_tokens
        self.seen_slots += num_slots
        self.show(step + 1 - self.spec.first_step)

    def log(self, step: int, num_steps: int, loss: float, grad_norm: float) -> None:
        """Add a point to the training curve.

        Args:
            step: steps done, counted from the beginning of the order of examples.
            num_steps: of them since the point before.
            loss: sum over these.
            grad_norm: sum over these.
        """
        now, rate = time.monotonic(), self.spec.learning_rate_at(step - 1)
        counts = (self.seen_tokens, self.seen_slots, now - self.logged_at)
        add_point(self.points, LogPoint(step, num_steps, loss, grad_norm, rate, *counts))
        self.logged_at, self.seen_tokens, self.seen_slots = now, 0, 0
        if math.isfinite(loss):
            self.loss = loss / num_steps

    def show(self, done: int) -> None:
        """Tell the live view how far the phase is, at most twice a second (see SEND_EVERY_S)."""
        if time.monotonic() - self.shown < self.show_every_s:
            return
        self.shown = time.monotonic()
        document = {
            "kind": self.spec.kind,
            "done": done,
            "steps": self.spec.num_steps,
            "loss": self.loss,
            "time": time.time(),
        }
        if self.num_slots:
            document["tokens_per_second"] = self.num_tokens / max(1e-9, self.shown - self.since)
            document["padding_ratio"] = 1 - self.num_tokens / self.num_slots
        self.since, self.num_tokens, self.num_slots = self.shown, 0, 0
        write_atomically(self.job.progress, json.dumps(document))
        self.job.storage.send_small(self.job.progress)

    def record(self) -> dict[str, Any]:
        """Steps, tokens, share of idle and padding tokens, and device-seconds over all attempts at this phase."""
        self.file.close()
        self.points.close()
        seconds = (time.monotonic() - self.before) * self.num_devices  # evaluation and saving
        lines = [line.split() for line in self.path.read_text().splitlines() if line.count(" ") == 3]
        steps = [int(line[0]) for line in lines]
        seconds += sum(float(line[3]) for line in lines)
        num_tokens, num_slots = (sum(int(line[i]) for line in lines) for i in (1, 2))
        return {
            "num_steps": self.spec.num_steps,
            "num_executed_steps": len(steps),
            "num_repeated_steps": len(steps) - len(set(steps)),
            "num_tokens": num_tokens,
            "padding_ratio": 1 - num_tokens / num_slots if num_slots else 0.0,
            "device_seconds": seconds,
            "first_step_at": self.first_step_at,
        }
