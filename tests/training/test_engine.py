"""Execution changes the result only by rounding, whatever the stage, the ranks, the token budget or a restart.

All cases of one world size run one after the other in the same processes, since importing torch and DeepSpeed costs more
than a case. The processes write parameters to files, and the tests compare them.
"""

import ctypes
import gc
import itertools
import json
import math
import os
import subprocess
import sys
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import helpers
import pytest
import ranks
import torch
from engine_steps import (
    BATCH_SIZE,
    BF16,
    CLIP_NORM,
    FP32,
    LEARNING_RATE,
    SAVED_AT,
    STEPS,
    build_model,
    minus,
    norm,
    save,
    wait_for,
)

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Encoder, Subset
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.training import batches
from xlray.training.model import Model, random_encoder

ONE_RANK = SimpleNamespace(get_world_size=lambda: 1)  # all that `train_step` asks of torch.distributed


@dataclass(frozen=True)
class Case:
    name: str
    world: int
    stage: int
    budget: int
    precision: str = "fp32"
    saves: bool = False
    resumes: str | None = None
    mutant: str | None = None


STAGES = [
    Case("w1s0", 1, 0, 4096, saves=True),
    Case("w1s1", 1, 1, 200),
    Case("w1s2", 1, 2, 500),
    Case("w1s3", 1, 3, 300, saves=True),
    Case("w2s0", 2, 0, 300),
    Case("w2s1", 2, 1, 200, saves=True),
    Case("w2s2", 2, 2, 250),
    Case("w2s3", 2, 3, 300, saves=True),
]
MOVED = [
    Case("w1s0 to w2s3", 2, 3, 250, resumes="w1s0"),
    Case("w1s0 to w1s2", 1, 2, 250, resumes="w1s0"),
    Case("w1s3 to w2s1", 2, 1, 250, resumes="w1s3"),
    Case("w2s1 to w1s0", 1, 0, 400, resumes="w2s1"),
    Case("w2s1 to w2s2", 2, 2, 250, resumes="w2s1"),
    Case("w2s3 to w1s1", 1, 1, 400, resumes="w2s3"),
    Case("w2s3 to w2s0", 2, 0, 250, resumes="w2s3"),
]
ROUNDED = [
    Case("bf16 w1s1", 1, 1, 200, "bf16", saves=True),
    Case("bf16 w1s2", 1, 2, 200, "bf16"),
    Case("bf16 w1s3", 1, 3, 300, "bf16"),
    Case("bf16 w2s1", 2, 1, 300, "bf16"),
    Case("bf16 w2s2", 2, 2, 200, "bf16"),
    Case("bf16 w2s3", 2, 3, 300, "bf16"),
    Case("bf16 w1s1 to w2s3", 2, 3, 250, "bf16", resumes="bf16 w1s1"),
]
MUTANTS = [
    Case("lost example", 1, 0, 4096, mutant="lost example"),
    Case("lost world size", 2, 1, 300, mutant="lost world size"),
    Case("dropout by rank", 2, 0, 300, mutant="dropout by rank"),
    Case("lost moments", 1, 0, 4096, resumes="w1s0", mutant="lost moments"),
]
CASES = {case.name: case for case in (*STAGES, *MOVED, *ROUNDED, *MUTANTS)}


def run_case(case, rank, folder):
    """Train the case's steps; rank 0 leaves its parameters, the losses and the norms of the gradients in a file."""
    import numpy as np
    import torch.distributed as dist

    from xlray.training import engine, packing

    data, plan, model = build_model()
    state = wait_for(folder / f"{case.resumes}.state") if case.resumes else None
    if state:
        model.load_state_dict({k.removeprefix("model/"): v for k, v in state.items() if k.startswith("model/")})
    execution = Execution(num_workers=case.world, zero_stage=case.stage)
    optimization = engine.Optimization(0.01, CLIP_NORM, case.precision)
    running = engine.start_engine(model, execution, optimization, torch.device("cpu"))
    if state:
        kept = {"step": state["step"]} if case.mutant == "lost moments" else state
        engine.restore_moments(running, kept, batches.collate(data, [], plan))
    running.train()
    random = np.random.default_rng(7)
    tasks, rows = random.integers(0, len(data), (STEPS, BATCH_SIZE)), random.integers(0, 64, (STEPS, BATCH_SIZE))
    seed = 123 + (rank if case.mutant == "dropout by rank" else 0)
    losses, norms = [], []
    for step in range(int(state["step"]) if state else 0, STEPS):
        chosen = batches.step_rows(data, tasks[step], rows[step], step * BATCH_SIZE, seed, plan)
        if case.mutant == "lost example" and step == 5:
            chosen = chosen[:-1]
        lengths = np.array([data[row.task].row_tokens[row.row] for row in chosen])
        mine = packing.plan_step(lengths, case.world, case.budget)[rank]
        micro = [batches.collate(data, [chosen[i] for i in batch], plan) for batch in mine]
        with mock.patch.object(engine, "dist", ONE_RANK) if case.mutant == "lost world size" else nullcontext():
            loss = engine.train_step(running, micro, LEARNING_RATE)
        dist.all_reduce(loss)
        losses.append(float(loss.sum()))
        norms.append(float(engine.gradient_norm(running)))
        if case.saves and step + 1 == SAVED_AT:
            gathered = dict(engine.state_entries(running))
            if rank == 0:
                save(gathered, folder / f"{case.name}.state")
    weights = engine.gather_weights(running)
    if rank == 0:
        save({"weights": weights, "losses": losses, "norms": norms}, folder / f"{case.name}.result")
    engine.stop_engine(running)


MEGABYTE = 2**20


class Mallinfo(ctypes.Structure):
    """The struct mallinfo2 of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


COUNTED = hasattr(ctypes.CDLL(None), "mallinfo2")  # of glibc from 2.33 on
counted = pytest.mark.skipif(not COUNTED, reason="this C library does not count what is allocated (mallinfo2)")


def allocated_bytes():
    """Bytes that are allocated and not freed. Resident memory also holds what malloc keeps, which varies by 30 MB."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    found = mallinfo()
    return found.uordblks + found.hblkhd


def run_memory(stage, phases=6, leak=False):
    """Allocated bytes after each of some phases, each with an engine, two steps, a gathered state and its end."""
    from xlray.training import engine

    data = helpers.all_kinds()
    plan = batches.layout(data, 8_000, helpers.MASK_ID, True)
    architecture = Architecture(
        hidden_size=256, num_layers=2, num_heads=4, intermediate_size=512, vocab_size=8_000, max_positions=66
    )
    six = torch.arange(6).numpy()
    rows = batches.step_rows(data, six, six, 0, 0, plan)
    found, kept = [], []
    for _ in range(phases):
        model = Model(random_encoder(architecture, 0), plan, 0.1)
        running = engine.start_engine(
            model, Execution(zero_stage=stage), engine.Optimization(0.0, 1.0, "fp32"), torch.device("cpu")
        )
        for _ in range(2):
            engine.train_step(running, [batches.collate(data, rows, plan)], 1e-3)
        state = dict(engine.state_entries(running))
        if leak:
            kept.append(state)
        engine.stop_engine(running)
        del model, running, state
        gc.collect()
        found.append(allocated_bytes())
    return found


def work(rank, world, folder):
    """Entry of one process of a group: every case of its world size; the single process measures memory as well."""
    import torch.distributed as dist

    warnings.filterwarnings("ignore")
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/init{world}", rank=rank, world_size=world)
    mine = [case for case in CASES.values() if case.world == world]
    seconds = {}
    for case in sorted(mine, key=lambda c: (not c.saves, c.resumes is not None)):
        started = time.process_time()
        run_case(case, rank, folder)
        seconds[case.name] = time.process_time() - started
    if world == 1 and COUNTED:
        started = time.process_time()
        memory = {"1": run_memory(1), "3": run_memory(3), "leak": run_memory(1, 5, leak=True)}
        (folder / "memory.json").write_text(json.dumps(memory))
        seconds["memory"] = time.process_time() - started
    (folder / f"seconds{world}{rank}.json").write_text(json.dumps(seconds))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("engine")
    ranks.run_groups((1, 2), work, path)
    return path


@pytest.fixture(scope="module")
def start():
    return helpers.parameters(build_model()[2])


@pytest.fixture(scope="module")
def result(folder):
    return lambda name: torch.load(folder / f"{name}.result")


@pytest.fixture(scope="module")
def difference(result, start):
    """||a - b|| / ||b - start||: the difference of two runs over the update."""

    def compute(name, other="w1s0"):
        a, b = result(name)["weights"], result(other)["weights"]
        return norm(minus(a, b)) / norm(minus(b, start))

    return compute


@pytest.mark.parametrize("name", [case.name for case in STAGES[1:]])
def test_stage_ranks_and_budget_change_the_update_by_rounding(difference, name):
    assert difference(name) < FP32


@pytest.mark.parametrize("name", [case.name for case in MOVED])
def test_a_state_moved_between_executions_continues_as_if_undisturbed(difference, name):
    assert difference(name) < FP32


def test_executions_in_bf16_differ_by_the_rounding_of_bf16(difference):
    for a, b in itertools.combinations([case.name for case in ROUNDED], 2):
        assert difference(a, b) < BF16, (a, b)


def test_bf16_stays_near_fp32(difference):
    assert all(difference(case.name) < 0.5 for case in ROUNDED)


@pytest.mark.parametrize("name", [case.name for case in MUTANTS])
def test_planted_mutants_exceed_the_bound(difference, name):
    assert difference(name) > 10 * FP32


def test_every_parameter_group_moves_and_the_update_is_real(result, start):
    end = result("w1s0")["weights"]
    assert norm(minus(end, start)) > 0.05 * norm(start)
    assert [name for name in start if torch.equal(start[name], end[name]) and not name.endswith("self.key.bias")] == []


def test_clipping_was_active_in_some_steps_and_not_in_others(result):
    norms = torch.tensor(result("w1s1")["norms"])
    assert len(norms) == STEPS
    assert (norms > CLIP_NORM).sum() >= 3
    assert (norms < CLIP_NORM).sum() >= 3


def test_losses_of_every_step_are_equal_everywhere(result):
    expected = torch.tensor(result("w1s0")["losses"])
    for case in STAGES[1:]:
        torch.testing.assert_close(torch.tensor(result(case.name)["losses"]), expected, rtol=1e-4, atol=1e-4)


def test_norms_of_the_gradients_are_equal_everywhere(result):
    expected = torch.tensor(result("w1s0")["norms"])
    for case in STAGES[1:]:
        torch.testing.assert_close(torch.tensor(result(case.name)["norms"]), expected, rtol=1e-4, atol=0)
    for case in ROUNDED:
        norms = torch.tensor(result(case.name)["norms"])
        torch.testing.assert_close(norms, expected[-len(norms) :], rtol=0.05, atol=0)


@pytest.mark.parametrize("name", ["w1s0", "w1s3", "w2s1", "w2s3"])
def test_a_gathered_state_holds_weights_and_both_moments_of_every_parameter(folder, start, name):
    state = torch.load(folder / f"{name}.state")
    kinds = ("model", "exp_avg", "exp_avg_sq")
    assert state.keys() == {"step"} | {f"{kind}/{parameter}" for kind in kinds for parameter in start}
    assert int(state["step"]) == SAVED_AT
    for parameter, value in start.items():
        assert {(state[f"{k}/{parameter}"].shape, state[f"{k}/{parameter}"].dtype) for k in kinds} == {
            (value.shape, torch.float32)
        }
        assert state[f"exp_avg_sq/{parameter}"].min() >= 0


def test_gathered_moments_are_the_same_under_every_stage(folder):
    expected = torch.load(folder / "w1s0.state")
    for name in ("w1s3", "w2s1", "w2s3"):
        state = torch.load(folder / f"{name}.state")
        for kind in ("exp_avg", "exp_avg_sq"):
            own = {k: v for k, v in state.items() if k.startswith(f"{kind}/")}
            wanted = {k: v for k, v in expected.items() if k.startswith(f"{kind}/")}
            assert norm(minus(own, wanted)) < 1e-4 * norm(wanted), (name, kind)


# The model has 3.1 M parameters: 13 MB each of weights, gradients, and two moments. A leak is one of them, or the embedding
# alone (8 MB), kept per phase: 24 MB or more over three phases. Under stage 3 DeepSpeed's hooks keep the modules, without
# their weights: 0.6 MB a phase. The third measurement keeps the gathered state.


@counted
@pytest.mark.parametrize("stage", ["1", "3"])
def test_memory_is_flat_over_phases(folder, stage):
    used = json.loads((folder / "memory.json").read_text())[stage]
    assert used[5] - used[2] < 4 * MEGABYTE, [round(value / MEGABYTE) for value in used]


@counted
def test_a_leak_would_be_seen(folder):
    used = json.loads((folder / "memory.json").read_text())["leak"]
    assert used[4] - used[2] > 60 * MEGABYTE, [round(value / MEGABYTE) for value in used]


NO_COMPILER = """
import gc, shutil, sys
import torch
import torch.distributed as dist
from engine_steps import build_model, one_step
from xlray.config.sweep import Execution

assert not any(map(shutil.which, ("cc", "c++", "gcc", "g++", "clang", "ninja")))
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=0, world_size=1)
torch.set_num_threads(1)
gc.freeze()
ways = ((0, False, "fp32"), (1, True, "fp32"), (1, False, "bf16"), (2, False, "bf16"), (3, True, "bf16"))
for stage, offload, precision in ways:
    print(one_step(Execution(zero_stage=stage, offload=offload), precision))
"""


def test_training_on_a_cpu_needs_no_compiler(tmp_path):
    (tmp_path / "bin").mkdir()
    paths = {"PATH": str(tmp_path / "bin"), "TORCH_EXTENSIONS_DIR": str(tmp_path / "extensions")}
    paths["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1] / "support"), str(Path(__file__).parents[2])])
    known = {name: value for name, value in os.environ.items() if name not in ("CC", "CXX")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NO_COMPILER, str(tmp_path / "meeting")],
        capture_output=True,
        text=True,
        check=False,
        env={**known, **paths, "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
    )
    assert done.returncode == 0, done.stderr
    losses = [float(line) for line in done.stdout.splitlines()]  # and nothing else is printed
    assert len(losses) == 5 and all(map(math.isfinite, losses))
    assert not (tmp_path / "extensions").exists(), "something was compiled"


def test_bf16_without_a_zero_stage_is_refused():
    with pytest.raises(InputError, match=r"bf16 needs zero_stage >= 1"):
        Sweep("s", Encoder("x"), (Subset(()),), precision="bf16", execution=Execution(zero_stage=0))
