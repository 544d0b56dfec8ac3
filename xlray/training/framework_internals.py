"""What is private of DeepSpeed and transformers and needed here, each with the reason.

tests/training/test_framework_doors.py names the versions that this was read at, and what a later one has changed.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLMHead

# --- transformers ----------------------------------------------------------------------------------------------------


def set_attention(config: Any, name: str) -> None:
    """Have models of a configuration use an attention: its public parameter is lost where the configuration was loaded."""
    config._attn_implementation = name


def masked_lm_head(config: Any) -> Any:
    """XLM-R's masked-LM head alone; public models have it only together with an encoder of their own."""
    return XLMRobertaLMHead(config)


def training_order(trainer: Any, dataset: Any) -> list[Any]:
    """What a Trainer's sampler gives for training, row by row or batch by batch, laid out without training."""
    return list(trainer._get_train_sampler(dataset))


def evaluation_order(trainer: Any, dataset: Any) -> list[int]:
    """Rows in the order in which a Trainer would evaluate them."""
    return list(trainer._get_eval_sampler(dataset))


# --- DeepSpeed -------------------------------------------------------------------------------------------------------


def leave_out_compiled_collectives(deepspeed: Any) -> None:
    """Keep DeepSpeed from compiling C++ for 30 s at the first use of a process group on CPUs; no setting does."""
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False


def skip_backward_allreduce(engine: Any) -> None:
    """Have a single process without ZeRO not copy all gradients twice for nothing; no setting does."""
    engine.enable_backward_allreduce = False


def keep_gradient_norm(engine: Any) -> None:
    """Have an engine without ZeRO keep the norm that it clips by, as the other stages do; no setting does."""
    from deepspeed.runtime.utils import clip_grad_norm_

    def clip() -> None:  # what the method does, and keeps what it throws away
        parameters, most = engine.module.parameters(), engine.gradient_clipping()
        engine._global_grad_norm = clip_grad_norm_(parameters=parameters, max_norm=most, mpu=engine.mpu)

    engine.clip_fp32_gradients = clip


def add_gradients_without_a_copy(optimizer: Any) -> None:
    """Have bf16 gradients added to their fp32 sums in one pass each; no setting does.

    DeepSpeed makes an fp32 copy of each first, of the embedding's 1 GB in XLM-R Large. Every bf16 number is one of fp32, so the
    sums are the same.
    """

    def add(parameter: Any, group: int, index: int, clear_lp_grads: bool) -> None:  # what the method does otherwise
        if parameter.grad is None:
            return
        total = optimizer.fp32_groups_gradients[group][index]
        total.data.add_(parameter.grad.data.view(total.shape))
        parameter._hp_grad = total
        optimizer.fp32_groups_has_gradients[group][index] = True
        if clear_lp_grads:
            parameter.grad.zero_()

    if hasattr(optimizer, "_update_hp_grad"):  # the optimizer of stage 1 in bf16
        optimizer._update_hp_grad = add


def full_shape(parameter: Tensor) -> tuple[int, ...]:
    """Of a parameter that ZeRO 3 may have partitioned, known without gathering it."""
    return tuple(getattr(parameter, "ds_shape", parameter.shape))


def link_moments(optimizer: Any) -> None:
    """Link parameters to their moments once all groups have made a step, so that both can be read and set.

    ZeRO 1 and 2 link them after the first *group* has made its first step, so that the second group's links are empty
    (DeepSpeed 0.19.8); linking again completes them.
    """
    if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
        optimizer._hp_optimizer_states_linked = False
        optimizer._lazy_init_hp_params_optimizer_state()


def release_partition(parameter: Tensor) -> None:
    """Free a parameter's partition and its way back to the optimizer, which ZeRO 3's `destroy` leaves alive."""
    for name in ("ds_tensor", "_z3_optimizer"):
        if hasattr(parameter, name):
            setattr(parameter, name, None)
