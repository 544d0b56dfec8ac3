"""Execution's "auto" fields made numbers on the machine that runs, and token budgets after memory ran out."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

from xlray.canonical import fingerprint
from xlray.config.execution import Execution
from xlray.config.recipes import Architecture
from xlray.data.encoders import read_config
from xlray.data.examples import Examples
from xlray.data.tokenization import open_examples
from xlray.errors import InputError
from xlray.phases.spec import Spec, TrainSpec, data_key
from xlray.plan import machine, memory
from xlray.plan.failures import classify
from xlray.plan.jobs import Job, bring_inputs
from xlray.plan.memory import ModelShape
from xlray.plan.sharing import limit_bytes
from xlray.storage.files import write_atomically
from xlray.storage.storage import Storage
from xlray.training import batches
from xlray.training.batches import Batch, Layout
from xlray.training.model import Model, random_encoder
from xlray.training.weights import config_folder

CPU_BUDGETS = (1_024, 2_048, 4_096, 8_192, 16_384)  # tokens; beyond, a pack no longer fits a cache of any CPU
LEAST_BUDGET, MOST_BUDGET, GRAIN = 1_024, 2**20, 256  # tokens: ends of the search on a GPU; a budget is a multiple of
PATIENCE_S = 5.0  # a budget that takes longer for one step ends the search on a CPU
OUT_OF_MEMORY = "out-of-memory-"  # and the budget: names of notes beside an unfinished phase


def device_of(execution: Execution) -> torch.device:
    """The device of this worker.

    Raises:
        InputError: a GPU is asked for, but this process sees none.
    """
    if not execution.gpus_per_worker:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        law = "`gpus_per_worker = 0` must hold on a machine without a GPU"
        raise InputError(f"Execution: {law}, but got {execution.gpus_per_worker:g}.")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def settle(job: Job, phases: Iterable[Spec], device: torch.device) -> Execution:
    """The job's execution with every "auto" decided, the same on all ranks; collective.

    ZeRO stage and checkpointing follow from the predicted memory, the token budget from a search on this hardware that is
    remembered in the storage.

    Raises:
        InputError: nothing fits, or the optimizer's state does not fit the host.
    """
    training = [spec for spec in phases if isinstance(spec, TrainSpec)]
    if not training:
        return _without_training(job.execution)
    spec = next((s for s in training if any(d.kind == "mlm" for d in s.data)), training[0])
    bring_inputs(spec, job)
    precision, shape = spec.precision, _shape(spec, job)
    host = machine.free_host_bytes()
    memory.check_offload(shape, precision, job.execution, workers_on_host(), host)
    device_bytes = int(least_of_all(free_bytes(job.execution, device), device))
    own_host = int(least_of_all(host // workers_on_host(), device))
    examples = [open_examples(Path(job.folders[data_key(d)]), d) for d in spec.data]
    longest = max(int(e.row_tokens.max()) for e in examples)
    execution = memory.choose(shape, precision, job.execution, device_bytes, own_host, longest)
    if execution.micro_batch_tokens != "auto":
        return execution
    note = job.storage / f"tuning/{_hardware_key(shape, precision, execution, device)}.json"
    job.storage.fetch_small(note)
    known = json.loads(note.read_text())["micro_batch_tokens"] if note.exists() else 0
    budget = int(least_of_all(known, device))  # ranks that look at different storages search together
    if not budget:
        layout = batches.layout(examples, job.vocab_size, job.mask_id, spec.scaled_losses)
        need = partial(memory.predict, shape, precision, execution)
        run, pack = _probe(shape, precision, execution, device, layout), partial(_pack, examples, layout)
        if device.type == "cuda":
            own = 2 * (2 if precision == "bf16" else 4) * shape.num_parameters  # weights and gradients of the probe
            found = _largest_that_fits(run, pack, max(0, need(0).state - own), device)
        else:
            found = _fastest(run, pack, lambda tokens: need(tokens).device <= memory.USABLE * device_bytes)
        del run  # and its model
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        budget = int(least_of_all(found, device))
        if dist.get_rank() == 0:
            write_atomically(note, json.dumps({"micro_batch_tokens": budget, "time": time.time()}))
            job.storage.send(note)
    return replace(execution, micro_batch_tokens=budget)


def _without_training(execution: Execution) -> Execution:
    stage = 1 if execution.zero_stage == "auto" else execution.zero_stage
    tokens = memory.ENOUGH_TOKENS if execution.micro_batch_tokens == "auto" else execution.micro_batch_tokens
    recompute = execution.activation_checkpointing is True
    return replace(execution, zero_stage=stage, micro_batch_tokens=tokens, activation_checkpointing=recompute)


def _shape(spec: TrainSpec, job: Job) -> ModelShape:
    masked = any(d.kind == "mlm" for d in spec.data)
    if spec.architecture is not None:
        return ModelShape(Architecture(**spec.architecture), masked)
    return ModelShape(read_config(config_folder(Path(job.parents[spec.parent])))[0], masked)


def _hardware_key(shape: ModelShape, precision: str, execution: Execution, device: torch.device) -> str:
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    names = ("num_workers", "cpus_per_worker", "gpus_per_worker", "zero_stage", "offload", "activation_checkpointing")
    return fingerprint([asdict(shape), precision, name, {n: getattr(execution, n) for n in names}])[:20]


def least_of_all(value: float, device: torch.device) -> float:
    """The smallest value that any rank has; collective."""
    box = torch.tensor(float(value), dtype=torch.float64, device=device)
    dist.all_reduce(box, op=dist.ReduceOp.MIN)
    return float(box)


def greatest_of_all(value: float, device: torch.device) -> float:
    """The largest value that any rank has; collective."""
    return -least_of_all(-value, device)


# --- the token budget ----------------------------------------------------------------------------------------------


def _pack(examples: Sequence[Examples], layout: Layout, budget: int) -> Batch:
    """A micro-batch of the longest rows, over and over, of at most `budget` tokens but at least one row."""
    longest = sorted(
        ((int(e.row_tokens[r]), t, int(r)) for t, e in enumerate(examples) for r in np.argsort(-e.row_tokens)[:64]),
        reverse=True,
    )
    chosen, total = [longest[0]], longest[0][0]
    for row in itertools.islice(itertools.cycle(longest), 1, None):
        total += row[0]
        if total > budget:
            break
        chosen.append(row)
    tasks, rows = (np.array([row[column] for row in chosen], dtype=np.int64) for column in (1, 2))
    return batches.collate(examples, batches.step_rows(examples, tasks, rows, 0, 0, layout), layout)


def _probe(
    shape: ModelShape, precision: str, execution: Execution, device: torch.device, layout: Layout
) -> Callable[[Batch], None]:
    """A function that runs forward and backward of one micro-batch on a model of random weights, without collectives."""
    model = Model(random_encoder(shape.architecture, 0), layout, 0.1)
    if execution.activation_checkpointing:
        model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    model.to(device, torch.bfloat16 if precision == "bf16" else torch.float32).train()

    def run(batch: Batch) -> None:
        model(batch.to(device)).losses.sum().backward()
        model.zero_grad(set_to_none=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def _largest_that_fits(
    run: Callable[[Batch], None], pack: Callable[[int], Batch], state_bytes: int, device: torch.device
) -> int:
    """The most tokens of which forward and backward fit beside the optimizer's state: doubled until memory runs out."""
    state = torch.empty(state_bytes, dtype=torch.uint8, device=device)

    def fits(tokens: int) -> bool:
        try:
            run(pack(tokens))
        except torch.OutOfMemoryError:
            return False
        finally:
            torch.cuda.empty_cache()
        return True

    good = most_that_fit(fits, LEAST_BUDGET, MOST_BUDGET)
    del state
    return max(GRAIN, int(memory.USABLE * good) // GRAIN * GRAIN)


def most_that_fit(fits: Callable[[int], bool], least: int, most: int) -> int:
    """The most tokens that fit, to an eighth: doubled from `least` until they do not, then halved in between."""
    good = least
    while good < most and fits(2 * good):
        good *= 2
    step = good // 2
    for _ in range(2 if good < most else 0):
        good += step if fits(good + step) else 0
        step //= 2
    return good


def _fastest(run: Callable[[Batch], None], pack: Callable[[int], Batch], fits: Callable[[int], bool]) -> int:
    """The budget with the most tokens per second of forward and backward; of nearly equal ones the smallest.

    Args:
        fits: whether a phase with so many tokens is predicted to fit the memory.
    """
    speeds: dict[int, float] = {}
    for budget in CPU_BUDGETS:
        if speeds and not fits(budget):
            break
        batch, seconds = pack(budget), []
        for _ in range(3):
            started = time.monotonic()
            run(batch)
            seconds.append(time.monotonic() - started)
            if seconds[-1] > PATIENCE_S:
                break
        speeds[budget] = batch.input_ids.numel() / min(seconds)
        if seconds[-1] > PATIENCE_S:
            break
    return next(b for b in sorted(speeds) if speeds[b] >= 0.97 * max(speeds.values()))


# --- when memory runs out ------------------------------------------------------------------------------------------


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the device or the host has no memory left for a tensor."""
    return classify(f"{type(error).__name__}: {error}") == "memory"


def note_out_of_memory(storage: Storage, attempt: Path, budget: int) -> None:
    """Record beside the unfinished phase that this budget did not fit; any rank may call it, without a collective.

    The file's name says it all, so that ranks on several machines need not wait for one another.
    """
    note = attempt / f"{OUT_OF_MEMORY}{budget}.json"
    write_atomically(note, json.dumps({"micro_batch_tokens": budget, "rank": dist.get_rank(), "time": time.time()}))
    storage.send(note)


def failed_budgets(attempt: Path) -> list[int]:
    """Budgets that did not fit in earlier attempts at a phase, the largest first."""
    found = [int(note.stem.removeprefix(OUT_OF_MEMORY)) for note in attempt.glob(f"{OUT_OF_MEMORY}*.json")]
    return sorted(found, reverse=True)


def phase_budget(budget: int, failed: Sequence[int], longest: int) -> int:
    """Tokens per micro-batch of a phase: half of the smallest that failed, but never less than its longest row.

    Raises:
        InputError: the longest row alone does not fit.
    """
    if failed and min(failed) <= longest:
        raise InputError(f"Execution: a row of {longest} tokens must fit the memory of a worker, but it ran out.")
    return max(longest, min([budget, *(tokens // 2 for tokens in failed)]))


# --- memory --------------------------------------------------------------------------------------------------------


def workers_on_host() -> int:
    """Workers of the group that share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def limit_memory(execution: Execution, device: torch.device) -> None:
    """Keep this process to its part of a GPU that trials share: one that wants more runs out of memory by itself."""
    if device.type == "cuda" and execution.device_share < 1:
        total = int(torch.cuda.mem_get_info(device)[1])
        torch.cuda.set_per_process_memory_fraction(limit_bytes(execution, total) / total, device)


def free_bytes(execution: Execution, device: torch.device) -> int:
    """Memory that this worker may use on its device; on a CPU its share of what is free."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(free) if execution.device_share == 1 else min(int(free), limit_bytes(execution, int(total)))
    return machine.free_host_bytes() // workers_on_host()


def resident_bytes() -> int:
    """Memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_meter(device: torch.device) -> Callable[[], int]:
    """A function that says how much memory was taken at most since now.

    On a GPU by torch's allocator, what it holds between tensors included; on a CPU resident.
    """
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what an earlier phase left
        torch.cuda.reset_peak_memory_stats(device)
        return lambda: int(torch.cuda.max_memory_reserved(device))
    before = resident_bytes()
    with contextlib.suppress(OSError):  # some containers forbid it: the peak is then that of the whole process
        Path("/proc/self/clear_refs").write_text("5")
    return lambda: max(0, _resident_peak() - before)


def _resident_peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
