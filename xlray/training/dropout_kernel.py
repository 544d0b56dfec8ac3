"""Counter-based dropout in one pass over the states on a GPU, with the masks of `dropout.keep_mask` bit for bit.

Only the keys are kept for the backward pass, which hashes again: no mask takes memory.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from xlray.training.dropout import kept_scale

NUM_QUADS = 128  # hashes of one program, each for four units
GOLDEN = tl.constexpr(0x9E3779B97F4A7C15)  # of splitmix64
MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9)
MIX_2 = tl.constexpr(0x94D049BB133111EB)


@triton.jit  # type: ignore[untyped-decorator]
def _drop(  # type: ignore[no-untyped-def]  # noqa: PLR0913, PLR0917 (of a kernel)
    states, keys, out, width, first, cut, scale, block: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)
    quads = tl.program_id(1) * block + tl.arange(0, block)
    z = tl.load(keys + token).to(tl.uint64, bitcast=True) + (first + quads).to(tl.uint64) * GOLDEN
    z = (z ^ (z >> 30)) * MIX_1
    z = (z ^ (z >> 27)) * MIX_2
    z = z ^ (z >> 31)
    lanes = tl.arange(0, 4)
    bits = (z[:, None] >> (16 * lanes).to(tl.uint64)[None, :]).to(tl.int16)
    units = quads[:, None] * 4 + lanes[None, :]
    inside = units < width
    value = tl.load(states + token * width + units, mask=inside, other=0.0).to(tl.float32)
    dropped = value * tl.where(bits >= cut, scale, 0.0)
    tl.store(out + token * width + units, dropped.to(out.dtype.element_ty), mask=inside)


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, keys: Tensor, site: int, probability: float) -> Tensor:
        ctx.save_for_backward(keys)
        ctx.given = site, probability
        return _launch(states, keys, site, probability)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _launch(gradient, *ctx.saved_tensors, *ctx.given), None, None, None


def _launch(states: Tensor, keys: Tensor, site: int, probability: float) -> Tensor:
    states = states.contiguous()
    out = torch.empty_like(states)
    width = states.shape[-1]
    num_quads = triton.cdiv(width, 4)
    grid = (len(keys), triton.cdiv(num_quads, NUM_QUADS))
    cut = round(probability * 65536) - 32768
    scale = kept_scale(probability, states.dtype)
    _drop[grid](states, keys, out, width, site * num_quads + 1, cut, scale, block=NUM_QUADS)
    return out


def drop(states: Tensor, keys: Tensor, site: int, probability: float) -> Tensor:
    """`states` `[..., T, width]` with dropped units at zero and the others scaled up; see `dropout.keep_mask`."""
    return _Dropout.apply(states, keys, site, probability)  # type: ignore[no-any-return, no-untyped-call]
