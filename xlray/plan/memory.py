"""Predicted memory of a training phase for each ZeRO stage, with and without offload and checkpointing. Stdlib only.

What is counted: weights, gradients, fp32 masters, AdamW's moments, buffers of the collectives, and activations per token
of a packed micro-batch. The counts follow how DeepSpeed 0.19 lays them out; docs/benchmarks.md compares them with what
was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture
from xlray.errors import InputError

REDUCE_BUCKET = 50_000_000  # elements that one collective of gradients carries; DeepSpeed's own 5e8 would hold 2 GB
LIVE_PARAMETERS = 50_000_000  # elements that ZeRO 3 keeps gathered beyond the layer in use
USABLE = 0.9  # of a device's memory; the rest is fragmentation and the libraries' own
ENOUGH_TOKENS = 8_192  # a micro-batch of this size keeps a GPU busy
MASKED_SHARE = 0.15  # of the tokens of a masked-LM mixture that reach the vocabulary

GIB = 2**30


@dataclass(frozen=True)
class ModelShape:
    """What decides the memory of an XLM-R.

    Attributes:
        masked_lm: whether its mixtures hold masked language modelling, whose logits are as wide as the vocabulary.
    """

    architecture: Architecture
    masked_lm: bool = False

    @property
    def embedding(self) -> int:
        """Parameters of the word embedding, the largest single tensor."""
        return self.architecture.vocab_size * self.architecture.hidden_size

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        h, i = self.architecture.hidden_size, self.architecture.intermediate_size
        return 4 * (h * h + h) + h * i + i + i * h + h + 4 * h

    @property
    def body(self) -> int:
        """Parameters of all layers: what arithmetic grows with."""
        return self.architecture.num_layers * self.layer

    @property
    def num_parameters(self) -> int:
        """All parameters but the heads of tasks."""
        sizes, h = self.architecture, self.architecture.hidden_size
        head = h**2 + 3 * h + sizes.vocab_size if self.masked_lm else 0
        return self.embedding + (sizes.max_positions + 3) * h + self.body + head


@dataclass(frozen=True)
class Need:
    """Predicted bytes of one worker: on its device, and on its host through offload."""

    parameters: int
    gradients: int
    masters: int
    moments: int
    buffers: int
    activations: int
    host: int

    @property
    def state(self) -> int:
        """What the device holds whatever the micro-batch."""
        return self.parameters + self.gradients + self.masters + self.moments + self.buffers

    @property
    def device(self) -> int:
        return self.state + self.activations


def activation_bytes(shape: ModelShape, precision: str, checkpointing: bool, on_gpu: bool, tokens: int) -> int:
    """What the backward pass of `tokens` packed tokens needs.

    A layer saves 9 vectors of the hidden size (its input, q, k, v, attention before and after it is put in order, two
    sums, one norm) and two of the intermediate size, on a CPU two masks of dropout as well, which on a GPU are hashed
    again; with checkpointing its input alone, and one layer at a time all.
    """
    sizes = shape.architecture
    h, i = sizes.hidden_size, sizes.intermediate_size
    layer, moving = (
        (9 if on_gpu else 11) * h + 2 * i,
        4 * h + 2 * i,
    )  # `moving`: gradients on their way through one layer
    kept = sizes.num_layers * h + layer if checkpointing else sizes.num_layers * layer
    size = 2 if precision == "bf16" else 4
    logits = round(MASKED_SHARE * 16 * sizes.vocab_size) if shape.masked_lm else 0
    return tokens * (size * (kept + 3 * h + moving) + logits)


def predict(shape: ModelShape, precision: str, execution: Execution, tokens: int) -> Need:
    """Peak bytes per worker, were there no more than the fewest, under an execution whose stage and checkpointing are given."""
    everything, workers, stage = shape.num_parameters, execution.min_workers, int(execution.zero_stage)
    size = 2 if precision == "bf16" else 4
    share = 4 * everything // workers  # an fp32 copy of what one worker owns
    parameters = size * everything
    largest = 4 * shape.embedding  # its gradient is whole for a moment, and is reduced in fp32
    buffers = min(4 * everything, 4 * REDUCE_BUCKET) if workers > 1 else 0
    masters, moments, gradients = share, 2 * share, share
    if stage == 0:
        masters, moments, gradients = 0, 8 * everything, 4 * everything
    elif stage == 1:
        gradients = 4 * everything + (share if precision == "fp32" else size * shape.embedding)
    else:
        gradients = share + largest + min(size * everything, size * REDUCE_BUCKET)
    if stage == 3:
        live = min(everything, shape.embedding + LIVE_PARAMETERS + 2 * shape.layer)
        parameters = size * everything // workers + size * live
    host = 0
    if execution.offload:
        host = masters + moments + share + size * everything // workers
        masters, moments = 0, 0
    recompute, on_gpu = bool(execution.activation_checkpointing), execution.gpus_per_worker > 0
    activations = activation_bytes(shape, precision, recompute, on_gpu, tokens)
    if stage == 1 and precision == "bf16" and not on_gpu:
        activations = max(activations, largest)  # when they are gone, torch casts it to fp32, to add it
    return Need(parameters, gradients, masters, moments, buffers, activations, host)


def candidates(precision: str, execution: Execution) -> tuple[Execution, ...]:
    """The executions that "auto" may stand for, the cheapest first.

    A stage is cheaper the less it communicates. Recomputing activations costs a third of the arithmetic, which is less
    than gathering all weights twice a step over a network (stage 3).
    """
    lowest = 1 if precision == "bf16" or execution.offload else 0
    stages = range(lowest, 4) if execution.zero_stage == "auto" else (execution.zero_stage,)
    recompute = (False, True) if execution.activation_checkpointing == "auto" else (execution.activation_checkpointing,)
    pairs = [(s, c) for late in (False, True) for c in recompute for s in stages if (s == 3) == late]
    return tuple(replace(execution, zero_stage=s, activation_checkpointing=c) for s, c in pairs)


def choose(
    shape: ModelShape, precision: str, execution: Execution, device_bytes: int, host_bytes: int, longest: int
) -> Execution:
    """The execution with its ZeRO stage and checkpointing decided: the cheapest that fits.

    With a token budget that is to be found, the cheapest that leaves room for `ENOUGH_TOKENS`, else the one that leaves
    room for most.

    Args:
        device_bytes, host_bytes: memory of one worker's device and its share of the host's.
        longest: tokens of the longest row.

    Raises:
        InputError: nothing that is allowed fits.
    """
    allowed = candidates(precision, execution)
    if len(allowed) == 1:
        return allowed[0]
    auto_tokens = execution.micro_batch_tokens == "auto"
    wanted = max(longest, ENOUGH_TOKENS) if auto_tokens else int(execution.micro_batch_tokens)

    def fits(choice: Execution, tokens: int) -> bool:
        need = predict(shape, precision, choice, tokens)
        return need.device <= USABLE * device_bytes and need.host <= USABLE * host_bytes

    found = next((choice for choice in allowed if fits(choice, wanted)), None)
    if found is None and auto_tokens:
        room = [choice for choice in allowed if fits(choice, longest)]
        found = min(room, key=lambda c: predict(shape, precision, c, wanted).device, default=None)
    if found is None:
        least = min(predict(shape, precision, c, longest if auto_tokens else wanted).device for c in allowed)
        raise InputError(
            f"Execution: `predicted memory <= {USABLE:.0%} of a device's {device_bytes / GIB:.1f} GiB` must hold for some "
            f"zero_stage and activation_checkpointing that it allows, but the least is {least / GIB:.1f} GiB."
        )
    return found


def check_offload(
    shape: ModelShape, precision: str, execution: Execution, workers_on_host: int, host_bytes: int
) -> None:
    """Raise `InputError` where the optimizer state of the workers of one host does not fit its memory.

    Args:
        host_bytes: free memory of the host.
    """
    if not execution.offload:
        return
    need = workers_on_host * predict(shape, precision, candidates(precision, execution)[0], 1).host
    if need > host_bytes:
        raise InputError(
            f"Execution: `memory for offload ({need / GIB:.1f} GiB) <= free memory of the host` must hold, but got "
            f"{host_bytes / GIB:.1f} GiB."
        )


def table(
    shape: ModelShape, precision: str, execution: Execution, records: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One row per ZeRO stage, offload and checkpointing: predicted bytes beside the largest that was measured.

    With a token budget that is found by a search, a row is for the budget that was measured, or `ENOUGH_TOKENS`.

    Args:
        records: of stored training phases of this encoder and precision.
    """
    auto = execution.micro_batch_tokens == "auto"
    measured: dict[tuple[Any, ...], tuple[int, int]] = {}  # bytes, tokens
    for record in records:
        ran, peak = record.get("execution", {}), record.get("peak_memory_bytes")
        wanted = (execution.min_workers, execution.gpus_per_worker > 0)
        same = (ran.get("num_workers"), ran.get("gpus_per_worker", 0) > 0) == wanted
        if peak and same and (auto or record["micro_batch_tokens"] == execution.micro_batch_tokens):
            key = (ran["zero_stage"], ran["offload"], ran["activation_checkpointing"])
            measured[key] = max(measured.get(key, (0, 0)), (int(peak), int(record["micro_batch_tokens"])))
    asked = {(c.zero_stage, c.offload, c.activation_checkpointing) for c in candidates(precision, execution)}
    rows = []
    for stage in range(1 if precision == "bf16" else 0, 4):
        for offload in (False, True) if stage else (False,):
            for checkpointing in (False, True):
                key = (stage, offload, checkpointing)
                peak, tokens = measured.get(key, (None, ENOUGH_TOKENS if auto else int(execution.micro_batch_tokens)))
                choice = replace(execution, zero_stage=stage, offload=offload, activation_checkpointing=checkpointing)
                need = predict(shape, precision, choice, tokens)
                rows.append(
                    {
                        "zero_stage": stage,
                        "offload": offload,
                        "activation_checkpointing": checkpointing,
                        "micro_batch_tokens": tokens,
                        "state_bytes": need.state,
                        "activation_bytes": need.activations,
                        "device_bytes": need.device,
                        "host_bytes": need.host,
                        "measured_bytes": peak,
                        "asked_for": key in asked,
                    }
                )
    return rows
