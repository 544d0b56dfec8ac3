"""What each phase of a plan costs: steps, tokens, arithmetic, bytes and seconds. Pure arithmetic over the plan and the store.

Seconds are measured where phases of the plan are stored, kind by kind; what no stored phase tells is taken at the overall
rate of those that are there; and where nothing is stored, at a stated assumption about the device.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xlray.config.execution import Execution
from xlray.data.mixture import probabilities
from xlray.phases.spec import DataSpec, EvaluationSpec, RetrievalSpec, Spec, TokenizerSpec
from xlray.plan.memory import ModelShape
from xlray.plan.trials import SweepPlan

# Tokens of an example as XLM-R's tokenizer cuts it, where the data is not there: rough means over the registry's tasks,
# all choices of an example and both sides of a pair together.
TOKENS_PER_EXAMPLE = {
    "classification": 60,
    "regression": 40,
    "multiple_choice": 300,
    "span_qa": 220,
    "tagging": 40,
    "mlm": 60,
    "retrieval": 50,
}
# Sustained arithmetic of one device, where nothing was measured: an A100 at about 35 % of its peak in bf16, the same
# card without tensor cores in fp32, a core of a server with AVX.
GPU_FLOPS = {"bf16": 110e12, "fp32": 10e12}
CPU_CORE_FLOPS = 15e9
# And its memory: an optimizer step reads and writes weights, gradients, masters and moments whatever the batch.
BYTES_PER_PARAMETER_AND_STEP = 40
GPU_BANDWIDTH, CPU_CORE_BANDWIDTH = 1.3e12, 5e9
# And what surrounds the steps: a phase loads its parent, builds an engine, evaluates, and writes its result.
PHASE_S, STORAGE_BYTES_PER_S = 2.0, 1e9

STATE_BYTES_PER_PARAMETER = 12  # fp32 masters and both moments: what a trunk leaves for the next segment
WEIGHT_BYTES_PER_PARAMETER = 4
SCORE_BYTES_PER_EXAMPLE = 200  # predictions and items of an evaluated example


@dataclass(frozen=True)
class Cost:
    """Of one phase.

    Attributes:
        tokens: trained on.
        flops: additions and multiplications, training and evaluation.
        bytes: what it leaves in the storage.
        moved: bytes that its optimizer steps read and write, whatever the batch.
    """

    steps: int
    tokens: float
    flops: float
    bytes: float
    moved: float = 0.0


def phase_cost(spec: Spec, shape: ModelShape) -> Cost:
    """Expected cost of a phase; 6 operations per parameter of the layers and token trained on, 2 per token evaluated."""
    whole, body = shape.num_parameters, shape.body
    if isinstance(spec, TokenizerSpec):
        return Cost(0, 0.0, 0.0, 100.0 * spec.vocab_size)
    seen, kept = _evaluated(spec.evaluations)
    if isinstance(spec, RetrievalSpec):
        return Cost(0, 0.0, 2.0 * body * seen, kept)
    if spec.kind != "target":
        kept += whole * float(WEIGHT_BYTES_PER_PARAMETER if spec.ends_at_zero else STATE_BYTES_PER_PARAMETER)
    tokens = _mean_tokens(spec.data, spec.mixing, spec.cap, spec.temperature) * spec.num_examples
    moved = float(BYTES_PER_PARAMETER_AND_STEP) * whole * spec.num_steps
    return Cost(spec.num_steps, tokens, 6.0 * body * tokens + 2.0 * body * seen, kept, moved)


@functools.lru_cache(maxsize=2**12)
def _evaluated(evaluations: tuple[EvaluationSpec, ...]) -> tuple[float, float]:
    """(tokens evaluated, bytes kept of that); the same for thousands of phases of a plan."""
    records = sum(e.data.num_records for e in evaluations)
    tokens = sum(e.data.num_records * tokens_per_example(e.data) for e in evaluations)
    return tokens, records * float(SCORE_BYTES_PER_EXAMPLE)


@functools.lru_cache(maxsize=2**14)
def _mean_tokens(data: tuple[DataSpec, ...], mixing: str, cap: int, temperature: float) -> float:
    """Tokens of an example of a mixture, the same at each rung and for each seed."""
    chances = probabilities([d.num_records for d in data], mixing, cap, temperature)
    return sum(float(p) * tokens_per_example(d) for p, d in zip(chances, data, strict=True))


def tokens_per_example(data: DataSpec) -> float:
    """Expected tokens of an example of a split."""
    most = data.max_length * {"multiple_choice": 4, "retrieval": 2}.get(data.kind, 1)
    return float(min(most, TOKENS_PER_EXAMPLE[data.kind]))


@dataclass(frozen=True)
class Rates:
    """Seconds of a device per operation.

    Attributes:
        by_kind: measured, by kind of phase; steps included.
        otherwise: for the kinds that were not.
        per_byte: on top of the operations, for what the steps of these move; 0 where `otherwise` is measured and includes it.
        source: where they are from, for people.
    """

    by_kind: Mapping[str, float]
    otherwise: float
    per_byte: float
    source: str

    def seconds(self, spec: Spec, cost: Cost) -> float:
        """Device-seconds that a phase is expected to take."""
        if spec.kind in self.by_kind:
            return cost.flops * self.by_kind[spec.kind]
        around = PHASE_S + cost.bytes / STORAGE_BYTES_PER_S if self.per_byte else 0.0
        return cost.flops * self.otherwise + cost.moved * self.per_byte + around


def rates_of(
    plan: SweepPlan, costs: Mapping[str, Cost], records: Mapping[str, Mapping[str, Any]], tflops: float | None
) -> Rates:
    """How fast this sweep runs here.

    Args:
        costs: of each phase, by hash.
        records: of the stored phases, by hash.
        tflops: sustained by a device, if the user says so; measured kinds go before it.
    """
    specs = plan.all_specs()
    seconds: dict[str, float] = {}
    flops: dict[str, float] = {}
    for key, record in records.items():
        took = float(record.get("device_seconds", 0.0))
        if took > 0 and costs[key].flops > 0:
            kind = specs[key].kind
            seconds[kind] = seconds.get(kind, 0.0) + took
            flops[kind] = flops.get(kind, 0.0) + costs[key].flops
    by_kind = {kind: seconds[kind] / flops[kind] for kind in seconds}
    execution = plan.sweep.execution
    flops_assumed, bandwidth, text = _assumption(execution, plan.sweep.precision)
    per_byte = 1 / bandwidth  # what a step moves is divided over the workers, which each count as a device
    if tflops is not None:
        return Rates(by_kind, 1 / (tflops * 1e12), per_byte, _said(by_kind, f"{tflops:g} TFLOP/s per device, as given"))
    if by_kind:
        overall = math.fsum(seconds.values()) / math.fsum(flops.values())
        return Rates(by_kind, overall, 0.0, _said(by_kind, "the overall rate of these"))
    return Rates({}, 1 / flops_assumed, per_byte, f"assumed: {text}; nothing was measured here")


def _said(by_kind: Mapping[str, float], otherwise: str) -> str:
    if not by_kind:
        return f"assumed: {otherwise}"
    return f"measured here for {', '.join(sorted(by_kind))}; other kinds: {otherwise}"


def _assumption(execution: Execution, precision: str) -> tuple[float, float, str]:
    """Operations and bytes per second of a device, and how to say so."""
    if execution.gpus_per_worker:
        flops, moved = GPU_FLOPS[precision], GPU_BANDWIDTH
        return flops, moved, f"a GPU that sustains {flops / 1e12:g} TFLOP/s in {precision} and {moved / 1e12:g} TB/s"
    cores = execution.cpus_per_worker
    flops, moved = CPU_CORE_FLOPS * cores, CPU_CORE_BANDWIDTH * cores
    return flops, moved, f"{flops / 1e9:g} GFLOP/s and {moved / 1e9:g} GB/s per worker of {cores} core(s)"
