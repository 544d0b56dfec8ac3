"""Dropout whose masks are a hash of the example and the place, never of ranks, packing or torch's generators."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # of splitmix64 (Steele, Lea and Flood 2014), as a signed integer
_MIX_1 = 0xBF58476D1CE4E5B9 - 2**64
_MIX_2 = 0x94D049BB133111EB - 2**64


def keep_mask(keys: Tensor, site: int, width: int, probability: float) -> Tensor:
    """Which units survive dropout: `[T, width]` int16, 1 or 0, a pure function of each token's key and the unit.

    Four units share one 64-bit splitmix64 hash, 16 bits each, so the probability is exact to 1 / 65536. All in place and
    never through bool, whose conversion is slow on CPU: half the time of torch's own dropout.

    Args:
        keys: `[T]` int64, one per token: a hash of (seed, phase, step, example, position).
        site: number of the dropout module (layer and place).
    """
    quads = (width + 3) // 4
    counter = torch.arange(site * quads + 1, (site + 1) * quads + 1, device=keys.device, dtype=torch.int64)
    z = keys[:, None] + counter * _GOLDEN
    high = z >> 30
    z.bitwise_xor_(high.bitwise_and_(2**34 - 1)).mul_(_MIX_1)
    torch.bitwise_right_shift(z, 27, out=high)
    z.bitwise_xor_(high.bitwise_and_(2**37 - 1)).mul_(_MIX_2)
    torch.bitwise_right_shift(z, 31, out=high)
    z.bitwise_xor_(high.bitwise_and_(2**33 - 1))
    return z.view(torch.int16)[:, :width].ge_(round(probability * 65536) - 32768)


@functools.cache
def kept_scale(probability: float, dtype: torch.dtype) -> float:
    """What units that survive are multiplied by, as `dtype` rounds it."""
    return float(torch.ones((), dtype=dtype).div_(1 - probability))


class CounterDropout(nn.Module):
    """Dropout whose mask is `keep_mask`: independent of rank, packing and order of execution."""

    def __init__(self, site: int, probability: float) -> None:
        super().__init__()
        self.site = site
        self.probability = probability
        self.keys: Tensor | None = None

    def forward(self, hidden: Tensor) -> Tensor:
        """`hidden`: `[..., T, width]`; the keys of the T tokens are set by the model before each forward."""
        if not self.training or self.probability == 0 or self.keys is None:
            return hidden
        if hidden.is_cuda:
            from xlray.training.dropout_kernel import drop  # Triton comes with torch for CUDA alone

            return drop(hidden, self.keys, self.site, self.probability)
        keep = keep_mask(self.keys, self.site, hidden.shape[-1], self.probability)
        return hidden * keep.to(hidden.dtype).div_(1 - self.probability)
