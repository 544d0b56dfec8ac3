"""One phase again, in this process and without Ray: to step through it, to check it, or for weights that were not kept."""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from xlray.errors import InputError
from xlray.phases.spec import RetrievalSpec, Spec, TrainSpec, data_key, data_of, phase_name
from xlray.phases.store import Store
from xlray.plan.jobs import Job, bring_inputs, read_job
from xlray.storage.storage import Storage
from xlray.training import autotune
from xlray.training.train import run_phase

TENSORS = ("weights/model.safetensors", "state/state.safetensors")


@dataclass(frozen=True)
class Comparison:
    """A number of a phase as it is stored and as it came out now, NaN where there is none.

    Attributes:
        name: such as `dev/udpos/fi/accuracy`.
    """

    name: str
    stored: float
    rerun: float

    @property
    def difference(self) -> float:
        """How far apart the two are; 0 where neither is a number."""
        missing = [math.isnan(value) for value in (self.stored, self.rerun)]
        return 0.0 if all(missing) else abs(self.stored - self.rerun)


def find_job(storage: Storage, phase: str) -> tuple[Spec, Job]:
    """A phase with a job that it is part of, which says where its data and its parent lie.

    Args:
        phase: its name, as `lineage.find_phase` gives it.

    Raises:
        InputError: no sweep in the storage has it in a job.
    """
    for path in sorted((storage / "sweeps").glob("*/jobs/*.json")):
        job = read_job(path)
        for spec in job.phases:
            if phase_name(spec) == phase:
                return spec, job
    raise InputError(
        f"{phase}: must be a phase that workers ran for a sweep in {storage}, but no sweep's jobs name it "
        "(a tokenizer has none)."
    )


def check_inputs(spec: Spec, job: Job) -> None:
    """Raise `InputError` unless what the phase starts from and its data are still in the storage; bring them here."""
    bring_inputs(spec, job)
    needed = [job.folders.get(data_key(data)) for data in data_of(spec)]
    needed += [job.parents.get(spec.parent)] if isinstance(spec, TrainSpec | RetrievalSpec) else []
    for folder in needed:
        if folder is not None and not Path(folder).is_dir():
            raise InputError(
                f"{phase_name(spec)}: {folder} must be there, since the phase reads it, but was deleted; run the sweep "
                f"{job.sweep!r} again to have it back."
            )


@contextlib.contextmanager
def single_process() -> Iterator[None]:
    """This process as the only rank of a process group, unless it is in one."""
    if dist.is_initialized():
        yield
        return
    before = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    path = Path(tempfile.gettempdir()) / f"xlray-rendezvous-{uuid.uuid4().hex}"
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, init_method=f"file://{path}", rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()
        path.unlink(missing_ok=True)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def rerun(spec: Spec, job: Job, keep_targets: bool = False) -> Iterator[Path]:
    """Run a phase in this process into a folder of its own; the storage is only read.

    Args:
        keep_targets: a target's weights are among the results.

    Yields:
        The finished phase's folder; it goes when the context is left.
    """
    check_inputs(spec, job)
    torch.set_num_threads(job.execution.cpus_per_worker)
    scratch = Storage(Path(tempfile.mkdtemp(prefix="xlray-rerun-")))
    try:
        # On the device that is here, whatever the sweep had.
        gpus = int(torch.cuda.is_available())
        execution = replace(job.execution, num_workers=1, gpus_per_worker=gpus, trials_per_gpu=1)
        here = replace(job, storage=scratch, progress=scratch / "progress.json")
        here = replace(here, execution=execution, keep_targets=keep_targets)
        with single_process():
            settled = autotune.settle(here, [spec], autotune.device_of(execution))
            run_phase(spec, replace(here, execution=settled))
        yield Store(scratch).folder(spec)
    finally:
        shutil.rmtree(scratch.root, ignore_errors=True)


def compare(storage: Storage, spec: Spec, folder: Path) -> list[Comparison]:
    """The numbers of a rerun beside the stored ones; of a phase without scores how far the weights are apart.

    Test scores are sealed and stay so. Training curves are not compared: their speeds come from the clock.

    Args:
        folder: of the rerun.

    Raises:
        StoreError: the stored phase is damaged.
    """
    store = Store(storage)
    if not store.has(spec):
        return []
    if not (isinstance(spec, TrainSpec) and not spec.evaluations):
        stored, now = (_scores(path) for path in (store.open(spec, "scores.parquet"), folder / "scores.parquet"))
        return [
            Comparison(name, stored.get(name, math.nan), now.get(name, math.nan))
            for name in dict.fromkeys((*stored, *now))
        ]
    name = next(name for name in TENSORS if (folder / name).exists())
    one, other = load_file(store.open(spec, name)), load_file(folder / name)
    gaps = [float((one[key].float() - other[key].float()).abs().max()) for key in one if one[key].numel()]
    return [Comparison(f"largest difference of {name}", 0.0, max(gaps))]


def _scores(path: Path) -> dict[str, float]:
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return {f"{r['split']}/{r['task']}/{r['language']}/{r['metric']}": r["value"] for r in rows}
