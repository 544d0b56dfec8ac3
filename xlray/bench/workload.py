"""The workload of `bench train` and `bench eval`: the same model, examples and clock on every side."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from xlray.bench.turns import Turn
from xlray.config.recipes import XLM_R_LARGE, Architecture
from xlray.data.encoders import KNOWN_ARCHITECTURES
from xlray.data.examples import Examples
from xlray.training import batches
from xlray.training.batches import Layout
from xlray.training.model import Model, initialise_heads, random_encoder

# Lengths of the training examples of `sweeps/finnish_small.py` in the proportions in which that sweep draws them (twelve
# intermediate tasks, then parts of speech, names and questions in English), one sequence of each, at most 256 tokens of
# a multilingual vocabulary of 20,000 pieces: the middles of 128 parts of equal size, with a mean of 51 tokens.
# fmt: off
LENGTHS = (
    4, 6, 7, 7, 8, 8, 9, 9, 9, 9, 10, 10, 10, 10, 11, 11, 11, 11, 11, 11, 12, 12, 12, 12, 12, 13, 13, 13, 13, 13,
    14, 14, 14, 14, 14, 14, 15, 15, 15, 15, 16, 16, 16, 16, 16, 17, 17, 17, 17, 18, 18, 18, 18, 19, 19, 19, 20, 20,
    20, 20, 21, 21, 21, 22, 22, 23, 23, 23, 24, 24, 25, 25, 25, 26, 26, 27, 27, 28, 29, 29, 30, 31, 31, 32, 33, 34,
    35, 36, 37, 38, 39, 41, 42, 43, 45, 47, 49, 51, 52, 55, 57, 60, 63, 66, 70, 74, 80, 86, 93, 102, 114, 129, 139,
    149, 159, 168, 181, 193, 208, 222, 238, 256, 256, 256, 256, 256, 256, 256,
)
# fmt: on
NUM_CLASSES = 3
FIRST_WORD = 5  # ids below are special tokens
SMALL = Architecture(
    hidden_size=256, num_layers=6, num_heads=4, intermediate_size=1_024, vocab_size=20_000, max_positions=258
)
LARGE = KNOWN_ARCHITECTURES[XLM_R_LARGE.path]


@dataclass(frozen=True)
class Setting:
    """What both sides have in common.

    Attributes:
        num_examples: of an epoch; each turn does every `stride`-th step of it, another part than the turn before.
        turns: the first, which is not counted, among them.
    """

    architecture: Architecture
    device: str
    precision: str
    num_threads: int
    num_examples: int
    stride: int
    turns: int
    batch_size: int
    micro_batch_tokens: int = 8_192
    dropout: float = 0.1
    learning_rate: float = 1e-5

    def steps(self) -> list[range]:
        """Steps of each turn."""
        return [
            range(turn % self.stride, self.num_examples // self.batch_size, self.stride) for turn in range(self.turns)
        ]


def make_examples(setting: Setting) -> Examples:
    """Examples of random words in random order, whose lengths are distributed as in `LENGTHS`."""
    random = np.random.default_rng(0)
    num = setting.num_examples
    lengths = random.permutation(np.resize(np.array(LENGTHS, dtype=np.int32), num))
    tokens = random.integers(FIRST_WORD, setting.architecture.vocab_size, lengths.sum(), dtype=np.int32)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    each = np.arange(num + 1, dtype=np.int32)
    labels = random.integers(0, NUM_CLASSES, num, dtype=np.int32)
    zeros, none = np.zeros(num + 1, dtype=np.int32), np.zeros(0, dtype=np.int32)
    return Examples(
        "bench",
        "classification",
        NUM_CLASSES,
        record=each[:-1],
        tokens=tokens,
        token_offsets=ends,
        lengths=lengths,
        length_offsets=each,
        reads=zeros[:-1],
        read_offsets=each,
        labels=labels,
        label_offsets=each,
        spans=none,
        span_offsets=zeros,
        units=np.ones(num, dtype=np.int32),
        folder=Path(),
    )


def make_model(setting: Setting, examples: Examples) -> tuple[Model, Layout]:
    """xlray's model with one head, the same weights in every process."""
    plan = batches.layout([examples], setting.architecture.vocab_size, FIRST_WORD - 1, scaled=False)
    model = Model(random_encoder(setting.architecture, 0), plan, setting.dropout)
    initialise_heads(model, 1)
    return model, plan


def alone(setting: Setting, folder: str) -> torch.device:
    """This process as the only rank of a process group, which meets in `folder`; its device."""
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    torch.set_num_threads(setting.num_threads)
    backend = "nccl" if setting.device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/init", rank=0, world_size=1)
    return torch.device(setting.device, 0) if setting.device == "cuda" else torch.device("cpu")


class Clock:
    """Time and peak memory of one turn."""

    def __init__(self, setting: Setting) -> None:
        self.device = setting.device
        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        else:
            _reset_peak()
        self.started, self.cpu_started = time.perf_counter(), time.process_time()

    def turn(self, num_steps: int, lengths: np.ndarray[Any, Any], num_slots: int, ceiling: float = 0.0) -> Turn:
        """What was done since the clock was made, for examples of these lengths."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        seconds, cpu_seconds = time.perf_counter() - self.started, time.process_time() - self.cpu_started
        peak = torch.cuda.max_memory_allocated() if self.device == "cuda" else _peak_bytes()
        if self.device == "cuda":
            torch.cuda.empty_cache()  # the other side's turn is next on the same device
        counted = lengths.astype(np.int64)
        sums = int(counted.sum()), int((counted**2).sum())
        return Turn(seconds, num_steps, *sums, num_slots, peak, cpu_seconds, ceiling)


def _reset_peak() -> None:
    """Start the system's count of this process's peak memory again, where it can be (Linux)."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def _peak_bytes() -> int:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return 1024 * (found[0] if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def matrix_rate(setting: Setting) -> float:
    """Operations per second of the best of some products of square matrices: what the machine can do just now."""
    size, number = (8_192, 10) if setting.device == "cuda" else (1_024, 20)
    dtype = torch.bfloat16 if setting.precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=setting.device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(number):
        if a.is_cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        torch.mm(a, b)
        if a.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 2.0 * size**3 / min(times)
