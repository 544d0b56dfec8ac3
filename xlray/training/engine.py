"""Execution -> DeepSpeed engine; one optimizer step; state by parameter name, the same for every ZeRO stage.

The only module that imports DeepSpeed. Its checkpoints (pickles tied to a stage and world size) are not used: state is
the fp32 master weights and AdamW's two moments by parameter name, gathered on rank 0 and restored under any stage.
"""

from __future__ import annotations

import contextlib
import gc
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from xlray.config.execution import Execution
from xlray.plan.memory import LIVE_PARAMETERS, REDUCE_BUCKET
from xlray.training.batches import Batch
from xlray.training.framework_internals import (
    add_gradients_without_a_copy,
    full_shape,
    keep_gradient_norm,
    leave_out_compiled_collectives,
    link_moments,
    release_partition,
    skip_backward_allreduce,
)
from xlray.training.model import Model

os.environ.setdefault("DEEPSPEED_LOG_LEVEL", "error")
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # DeepSpeed compiles an optimizer at import: a second for nothing

BETAS, EPSILON = (0.9, 0.999), 1e-8  # AdamW in transformers and fairseq's XLM-R fine-tuning
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class Optimization:
    """What the optimizer needs to know of a phase."""

    weight_decay: float
    clip_norm: float
    precision: str


def deepspeed_config(execution: Execution, optimization: Optimization) -> dict[str, Any]:
    """The DeepSpeed configuration of an execution; micro-batches are counted by xlray, so DeepSpeed's counts are 1."""
    stage = int(execution.zero_stage)  # a number by now: "auto" is settled before an engine starts
    zero: dict[str, Any] = {"stage": stage, "overlap_comm": False, "reduce_bucket_size": REDUCE_BUCKET}
    if stage == 3:
        zero["stage3_param_persistence_threshold"] = 0
        zero["stage3_max_live_parameters"] = LIVE_PARAMETERS
        zero["stage3_max_reuse_distance"] = LIVE_PARAMETERS  # by default all of XLM-R Large would stay gathered
        zero["stage3_prefetch_bucket_size"] = LIVE_PARAMETERS
    if execution.offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optimization.clip_norm,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "timers": {"throughput": {"enabled": False}},  # it waits for the device before and after each step
    }
    if optimization.precision == "bf16":
        # Each gradient is added to its fp32 sum as it arrives and then freed; otherwise all of them wait for the last.
        config["bf16"] = {"enabled": True, "immediate_grad_update": True}
        config["data_types"] = {"grad_accum_dtype": "fp32"}
        config["communication_data_type"] = "fp32"
    return config


def import_deepspeed(device: torch.device) -> Any:
    """DeepSpeed, without the ops it would compile at run time and without its log lines."""
    import logging

    if device.type == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"  # also where there is a GPU that is not asked for
    absent = "mlflow" not in sys.modules
    if absent:  # where it is installed, DeepSpeed's autotuner, which nobody calls, would import it for a second
        sys.modules["mlflow"] = None  # type: ignore[assignment]
    import deepspeed
    import deepspeed.ops

    if absent:
        del sys.modules["mlflow"]
    deepspeed.utils.logging.logger.setLevel(logging.ERROR)
    leave_out_compiled_collectives(deepspeed)
    return deepspeed


def start_engine(model: Model, execution: Execution, optimization: Optimization, device: torch.device) -> Any:
    """A fresh DeepSpeed engine around `model`, whose fp32 weights also become the fp32 masters.

    The process group must be initialised. In bf16 DeepSpeed would make its masters from rounded weights, so they are
    set from the fp32 weights afterwards.
    """
    os.environ.setdefault("LOCAL_RANK", "0")  # DeepSpeed wants it; Ray Train and torchrun set it
    deepspeed = import_deepspeed(device)
    deepspeed.init_distributed(dist_backend="nccl" if device.type == "cuda" else "gloo", verbose=False)
    masters = {n: p.detach() for n, p in model.named_parameters()} if optimization.precision == "bf16" else {}
    if execution.activation_checkpointing:
        model.encoder.gradient_checkpointing_enable({"use_reentrant": False})
    model.to(device)
    optimizer = torch.optim.AdamW(
        _parameter_groups(model, optimization.weight_decay),
        lr=0.0,
        betas=BETAS,
        eps=EPSILON,
        fused=True,
    )
    config = deepspeed_config(execution, optimization)
    with contextlib.redirect_stdout(io.StringIO()):  # ZeRO 1 in bf16 prints its memory, and stdout may be a document
        engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config, dist_init_required=False)
    if int(execution.zero_stage) == 3 and model.lm_head is not None:
        deepspeed.zero.register_external_parameter(model, model.encoder.embeddings.word_embeddings.weight)
    if masters:
        _set_masters(engine, masters)
    if execution.zero_stage == 0 and dist.get_world_size() == 1:
        skip_backward_allreduce(engine)
    if execution.zero_stage == 0:
        keep_gradient_norm(engine)
    add_gradients_without_a_copy(engine.optimizer)
    return engine


def _parameter_groups(model: Model, weight_decay: float) -> list[dict[str, Any]]:
    if weight_decay == 0:  # each group costs DeepSpeed a collective of its own
        return [{"params": list(model.parameters()), "weight_decay": 0.0}]
    plain = [p for n, p in model.named_parameters() if n.endswith("bias") or "norm" in n.lower()]
    decayed = [p for n, p in model.named_parameters() if not (n.endswith("bias") or "norm" in n.lower())]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]


def train_step(engine: Any, micro_batches: Sequence[Batch], learning_rate: float) -> Tensor:
    """One optimizer step over this rank's micro-batches.

    Each unit's weight already divides by the global count, and DeepSpeed averages gradients over ranks, so the loss is
    multiplied by the world size.

    Returns:
        `[num_tasks]` fp32, this rank's part of each task's loss; the sum over ranks and tasks is the step's loss.
    """
    for group in engine.optimizer.param_groups:
        group["lr"] = learning_rate
    losses = []
    for i, batch in enumerate(micro_batches):
        engine.set_gradient_accumulation_boundary(i == len(micro_batches) - 1)
        output = engine(batch.to(engine.device))
        engine.backward(output.losses.sum() * dist.get_world_size())
        losses.append(output.losses.detach())
    engine.step()
    return torch.stack(losses).sum(0)


def gradient_norm(engine: Any) -> Tensor:
    """The global L2 norm of the last step's gradients before clipping, where clipping has left it.

    Nothing is computed or waited for. Infinite where the step overflowed.

    Returns:
        Scalar, fp32, on the engine's device or the CPU; the same on all ranks.
    """
    return torch.as_tensor(engine.get_global_grad_norm(), dtype=torch.float32)


def state_layout(engine: Any) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """Type and shape of everything that `state_entries` yields, in its order; without a collective."""
    layout: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for name, parameter in engine.module.named_parameters():
        layout |= {f"{kind}/{name}": (torch.float32, full_shape(parameter)) for kind in ("model", *MOMENTS)}
    return {**layout, "step": (torch.int64, ())}


def state_entries(engine: Any) -> Iterator[tuple[str, Tensor]]:
    """`("model/<name>" | "exp_avg/<name>" | "exp_avg_sq/<name>", fp32 on the CPU)` and `("step", int64)`; collective.

    Every rank must walk through all of it; rank 0 gets the tensors, the others nothing. One parameter is whole at a
    time, so that a state larger than the memory can be written.
    """
    from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

    link_moments(engine.optimizer)
    keep = dist.get_rank() == 0
    for name, parameter in engine.module.named_parameters():
        for kind in ("model", *MOMENTS):
            if _stage(engine) == 0:
                value = parameter if kind == "model" else engine.optimizer.state[parameter][kind]
            elif kind == "model":
                value = safe_get_full_fp32_param(parameter)
            else:
                value = safe_get_full_optimizer_state(parameter, kind)
            if keep:
                yield f"{kind}/{name}", value.detach().to("cpu", torch.float32, copy=True)
    if keep:
        yield "step", torch.tensor(max(int(s["step"]) for s in _inner(engine).state.values()))


def gather_weights(engine: Any) -> dict[str, Tensor]:
    """fp32 weights by parameter name on rank 0 (an empty dictionary elsewhere); collective."""
    from deepspeed.utils import safe_get_full_fp32_param

    keep = dist.get_rank() == 0
    weights: dict[str, Tensor] = {}
    for name, parameter in engine.module.named_parameters():
        value = parameter.detach() if _stage(engine) == 0 else safe_get_full_fp32_param(parameter)
        if keep:
            weights[name] = value.float().cpu().clone()
    return weights


def restore_moments(engine: Any, state: Mapping[str, Tensor], dummy: Batch) -> None:
    """Set AdamW's moments and step from a gathered state; collective. Parameters absent from it start from zero.

    The weights must have been in the model before `start_engine`. DeepSpeed creates optimizer state at the first step,
    so one step with zero gradients and rate 0 is made first; it changes nothing.

    Args:
        dummy: a micro-batch of weight zero.
    """
    from deepspeed.utils import safe_set_full_optimizer_state

    train_step(engine, [dummy], 0.0)
    link_moments(engine.optimizer)
    for name, parameter in engine.module.named_parameters():
        for key in MOMENTS:
            value = state.get(f"{key}/{name}")
            if value is None:
                continue
            if _stage(engine) == 0:
                engine.optimizer.state[parameter][key].copy_(value)
            else:
                safe_set_full_optimizer_state(parameter, value.to(engine.device), key)
    for moments in _inner(engine).state.values():
        if torch.is_tensor(moments["step"]):
            moments["step"].fill_(float(state["step"]))
        else:
            moments["step"] = int(state["step"])


def _set_masters(engine: Any, masters: Mapping[str, Tensor]) -> None:
    from deepspeed.utils import safe_set_full_fp32_param

    for name, parameter in engine.module.named_parameters():
        safe_set_full_fp32_param(parameter, masters[name].to(engine.device))


def _stage(engine: Any) -> int:
    return int(engine.zero_optimization_stage())


def _inner(engine: Any) -> torch.optim.Optimizer:
    """torch's optimizer under DeepSpeed's wrapper."""
    wrapped = engine.optimizer
    return wrapped if isinstance(wrapped, torch.optim.Optimizer) else wrapped.optimizer


def stop_engine(engine: Any) -> None:
    """Free everything the engine holds; under ZeRO 3 `destroy` alone leaves the partitions alive."""
    engine.destroy()
    wrapped = engine.optimizer
    inner = _inner(engine)
    inner.state.clear()
    for group in inner.param_groups:
        group["params"] = []
    if _stage(engine) == 3:
        for parameter in engine.module.parameters():
            parameter.data = torch.empty(0)
            release_partition(parameter)
    if wrapped is not inner:
        for name in [n for n, v in vars(wrapped).items() if isinstance(v, (list, dict, Tensor))]:
            setattr(wrapped, name, None)
    engine.optimizer = None
    engine.module = None
    gc.collect()
