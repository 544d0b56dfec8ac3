"""XLM-R Large at its full size with random weights: two workers train it, one resumes from their state and evaluates.

Takes 24 GiB of memory and 20 GB of disk.
"""

import dataclasses
import gc
import math
import os
import shutil
import warnings

import helpers
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open
from torch.multiprocessing.spawn import spawn

from xlray.config.execution import Execution
from xlray.config.recipes import XLM_R_LARGE
from xlray.data.encoders import KNOWN_ARCHITECTURES
from xlray.phases.spec import EvaluationSpec, phase_hash
from xlray.phases.store import Store
from xlray.plan import machine, memory
from xlray.plan.jobs import read_job, write_job
from xlray.storage.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

LARGE = KNOWN_ARCHITECTURES[XLM_R_LARGE.path]
WORDS = [f"word{i}" for i in range(40)]
TWO = Execution(num_workers=2, zero_stage=2, micro_batch_tokens=64, checkpoint_every_steps=1)
ONE = Execution(num_workers=1, zero_stage=1, micro_batch_tokens=64)


def work(rank, world, path, meeting):
    """One process of a worker group: the phases of a job."""
    import torch.distributed as dist

    from xlray.training.train import run_phases

    warnings.filterwarnings("ignore")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), LOCAL_WORLD_SIZE=str(world))
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=world)
    run_phases(read_job(path), lambda metrics: None)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(store, trunk of two steps under ZeRO-2 with two workers, cooldown and target of one step each with one worker)"""
    path = tmp_path_factory.mktemp("large")
    if shutil.disk_usage(path).free < 20e9 or machine.free_host_bytes() < 17e9:
        pytest.skip("it takes 17 GB of free memory and 20 GB of free disk")
    folder, root, vocabulary = helpers.encoder_folder(path / "encoder", WORDS, LARGE)
    gc.collect()
    random = np.random.default_rng(0)
    records = [
        {"id": str(i), "text": " ".join(random.choice(WORDS, 1 + i % 12)), "text_pair": None, "label": "ab"[i % 2]}
        for i in range(16)
    ]
    train, dev = (
        helpers.data_spec("toy", "classification", split, records, 32, 0, ("a", "b"))
        for split in ("train/en", "dev/fi")
    )
    same = {"batch_size": 4, "precision": "bf16", "learning_rate": 1e-5}
    trunk = helpers.train_spec("trunk", root, [train], schedule="warmup_constant", num_examples=8, **same)
    cooldown = helpers.train_spec(
        "cooldown", trunk, [train], schedule="decay", first_example=8, num_examples=4, continues=True, **same
    )
    evaluations = (EvaluationSpec(dev, "fi", "dev", False, True),)
    target = helpers.train_spec(
        "target", cooldown, [train], evaluations=evaluations, headline=("accuracy",), num_examples=4, **same
    )
    storage, known = Storage(path / "storage"), {train: records, dev: records}
    for execution, specs in ((TWO, [trunk]), (ONE, [cooldown, target])):
        job = helpers.make_job(storage, specs, known, vocabulary, {root: folder}, execution)
        parents = {**job.parents, phase_hash(trunk): str(Store(storage).folder(trunk))}
        write_job(path / "job.json", dataclasses.replace(job, parents=parents))
        world = execution.num_workers
        spawn(work, (world, path / "job.json", path / f"meeting-{world}"), nprocs=world)
    yield Store(storage), trunk, cooldown, target
    shutil.rmtree(path)


def test_two_workers_train_it_and_leave_a_state_of_fp32_masters_and_moments(trained):
    store, trunk, *_ = trained
    record = store.done(trunk)["record"]
    assert (record["num_executed_steps"], record["degenerate"]) == (2, None)
    assert (record["execution"]["num_workers"], record["execution"]["zero_stage"]) == (2, 2)
    with safe_open(store.open(trunk, "state/state.safetensors"), "pt") as state:
        names = [name for name in state.keys() if name.startswith("model/")]  # noqa: SIM118 -- it is no dictionary
        shape = memory.ModelShape(LARGE)
        sizes = [math.prod(state.get_slice(name).get_shape()) for name in names if "heads" not in name]
        assert sum(sizes) == shape.num_parameters
        assert int(state.get_tensor("step")) == int(state.get_tensor("next_step")) == 2
        moments = state.get_tensor("exp_avg/encoder.encoder.layer.23.output.dense.weight")
        assert moments.dtype == torch.float32
        assert moments.abs().max() > 0


def test_one_worker_resumes_from_their_state_and_evaluates(trained):
    store, _, cooldown, target = trained
    for spec in (cooldown, target):
        record = store.done(spec)["record"]
        assert (record["num_executed_steps"], record["execution"]["num_workers"]) == (1, 1)
    rows = pq.read_table(store.open(target, "scores.parquet")).to_pylist()
    assert {r["metric"] for r in rows} >= {"accuracy", "headline"}
    assert all(math.isfinite(r["value"]) for r in rows)


def test_each_worker_needed_about_what_was_predicted(trained):
    store, trunk, cooldown, _ = trained
    shape = memory.ModelShape(LARGE)
    for spec, execution in ((trunk, TWO), (cooldown, ONE)):
        need = memory.predict(shape, "bf16", execution, 64).device
        read = 12 * shape.num_parameters if spec.continues else 0  # the pages of the state that it resumes from
        peak = store.done(spec)["record"]["peak_memory_bytes"]
        print(f"{spec.kind}: {peak / memory.GIB:.2f} GiB, of {(need + read) / memory.GIB:.2f} predicted")
        assert 0.6 * need < peak < 1.3 * (need + read)
