"""The encoder that is installed with xlray, `mini.PRETRAINED`, once more: `python tests/studies/embedded_encoder.py FOLDER`.

Pre-trains `mini.ENCODER` on three times as many examples, in this process, and writes an encoder folder with weights in 16 bits.
About twelve minutes on one core. Weights differ in their last bits between processors; what they are worth does not.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from xlray import Execution, Pretraining, Sweep, mini, subsets
from xlray.phases.spec import Phases, TokenizerSpec
from xlray.phases.store import Store
from xlray.plan.jobs import make_job
from xlray.plan.trials import plan_sweep
from xlray.storage.leases import Leases, process_name
from xlray.storage.storage import Storage
from xlray.sweep.driver import LEASE_TTL_S
from xlray.sweep.run import make_vocabularies, prepare_data
from xlray.training.rerun import single_process
from xlray.training.train import run_phase

RECIPE: Pretraining = dataclasses.replace(mini.ENCODER, num_examples=614_400, learning_rate=4e-3)


def pretrain(root: Path) -> Path:
    """The folder of weights that the recipe gives, in a storage at `root`."""
    sweep = Sweep(
        "embedded",
        RECIPE,
        measure=subsets.empty(),
        intermediate=mini.INTERMEDIATE,
        targets=mini.TARGETS,
        execution=Execution(micro_batch_tokens=4_096),
    )
    storage = Storage(root)
    store, plan = Store(storage), plan_sweep(sweep, None, storage)
    vocabularies = make_vocabularies(plan, store, print, Leases(storage, process_name(), LEASE_TTL_S))
    phases = [spec for spec in plan.shared if not isinstance(spec, TokenizerSpec)]
    prepared = prepare_data(plan, store, {RECIPE: phases}, vocabularies, print)[RECIPE]
    with single_process():
        for spec in phases:
            run_phase(spec, make_job("pretrain", Phases(shared=(spec,)), plan, store, prepared))
    return store.folder(phases[-1]) / "weights"


def write(weights: Path, folder: Path) -> None:
    """An encoder folder with the weights in 16 bits."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "tokenizer.json"):
        shutil.copyfile(weights / name, folder / name)
    halved = {name: value.to(torch.float16) for name, value in load_file(weights / "model.safetensors").items()}
    save_file(halved, folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        write(pretrain(Path(scratch)), Path(sys.argv[1]))
