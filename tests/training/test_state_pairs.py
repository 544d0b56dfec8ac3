"""A state saved under any ZeRO stage with one or two workers, restored under any other: the next update agrees.

Every state goes through its file, as a phase writes and reads it.
"""

import os
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from engine_steps import BATCH_SIZE, BF16, CLIP_NORM, FP32, LEARNING_RATE, build_model, minus, norm, save, wait_for
from safetensors.torch import load_file
from torch.multiprocessing.spawn import spawn

from xlray.config.execution import Execution
from xlray.training import batches, packing
from xlray.training.checkpoint import write_state
from xlray.training.weights import load_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SAVED_AT = 4  # steps; the next one is compared


@dataclass(frozen=True)
class Way:
    """An execution and a precision."""

    world: int
    stage: int
    precision: str

    @property
    def name(self):
        return f"{self.precision} w{self.world}s{self.stage}"


WAYS = [
    Way(world, stage, precision)
    for precision in ("fp32", "bf16")
    for world in (1, 2)
    for stage in range(precision == "bf16", 4)
]
PAIRS = [(a, b) for a in WAYS for b in WAYS if a.precision == b.precision]


def run(way, rank, folder, source=None, mutant=False):
    """Steps up to the one after `SAVED_AT`, from the start or from the state of `source`; the weights go to a file.

    A mutant loses the moments of the state.
    """
    from xlray.training import engine

    data, plan, model = build_model()
    state = None
    if source is not None:
        wait_for(folder / f"{source.name}.written")
        state = load_file(folder / f"{source.name}.safetensors")
        load_weights(model, state)
    running = engine.start_engine(
        model,
        Execution(num_workers=way.world, zero_stage=way.stage),
        engine.Optimization(0.01, CLIP_NORM, way.precision),
        torch.device("cpu"),
    )
    if state is not None:
        kept = {"step": state["step"]} if mutant else state
        engine.restore_moments(running, kept, batches.collate(data, [], plan))
    running.train()
    random = np.random.default_rng(7)
    size = (SAVED_AT + 1, BATCH_SIZE)
    tasks, rows = random.integers(0, len(data), size), random.integers(0, 64, size)
    for step in range(0 if state is None else int(state["step"]), SAVED_AT + 1):
        if source is None and step == SAVED_AT:
            entries = engine.state_entries(running)
            if rank == 0:
                write_state(folder / f"{way.name}.safetensors", engine.state_layout(running), entries)
                save(True, folder / f"{way.name}.written")
            else:
                list(entries)
        chosen = batches.step_rows(data, tasks[step], rows[step], step * BATCH_SIZE, 123, plan)
        lengths = np.array([data[row.task].row_tokens[row.row] for row in chosen])
        mine = packing.plan_step(lengths, way.world, 300)[rank]
        micro = [batches.collate(data, [chosen[i] for i in batch], plan) for batch in mine]
        engine.train_step(running, micro, LEARNING_RATE)
    weights = engine.gather_weights(running)
    if rank == 0:
        name = way.name if source is None else f"{source.name} to {way.name}"
        save(weights, folder / f"{'mutant' if mutant else name}.weights")
    engine.stop_engine(running)


def work(rank, world, folder):
    """Entry of one process of a group: all states of its world size, then all restores."""
    import torch.distributed as dist

    warnings.filterwarnings("ignore")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init{world}", rank=rank, world_size=world)
    for way in (w for w in WAYS if w.world == world):
        run(way, rank, folder)
    for source, way in ((a, b) for a, b in PAIRS if b.world == world):
        run(way, rank, folder, source)
    if world == 1:
        run(WAYS[0], rank, folder, WAYS[0], mutant=True)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs")
    groups = [spawn(work, (world, path), nprocs=world, join=False) for world in (1, 2)]
    try:
        while [group for group in groups if not group.join(timeout=0.5)]:  # raises if a process failed
            pass
    finally:
        for process in (p for group in groups for p in group.processes if p.is_alive()):
            process.kill()
    return path


def change(folder, source, name):
    """Difference of the next update from that of the source, which continued without a restore, over the latter."""
    state = load_file(folder / f"{source.name}.safetensors")
    before = {name.removeprefix("model/"): value for name, value in state.items() if name.startswith("model/")}
    stayed = torch.load(folder / f"{source.name}.weights")
    update = norm(minus(stayed, before))
    assert update > 0
    return norm(minus(torch.load(folder / f"{name}.weights"), stayed)) / update


@pytest.mark.parametrize(("source", "way"), PAIRS, ids=[f"{a.name} to {b.name}" for a, b in PAIRS])
def test_the_next_update_agrees(folder, source, way):
    assert change(folder, source, f"{source.name} to {way.name}") < (FP32 if way.precision == "fp32" else BF16)


def test_a_state_that_lost_its_moments_is_seen(folder):
    assert change(folder, WAYS[0], "mutant") > 10 * FP32
