"""Stopping in the middle of a phase: all ranks agree on the step, so that the state they save is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist


class Interrupted(Exception):  # noqa: N818  no error: the phase did what it was asked to
    """The phase was stopped, its state is saved; not an error."""


class StopSignal:
    """Agrees over the ranks, once per step and one step late, so that no step waits for it."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        """
        Args:
            asked: whether this rank was asked to stop; must cost nothing.
        """
        self.asked = asked
        # On the CPU whatever trains: a flag on the device would make the host wait for the device.
        self.group = dist.new_group(backend="gloo") if dist.get_backend() != "gloo" else None
        self.flag = torch.zeros(1, dtype=torch.int32)
        self.pending: Any = None

    def agreed(self) -> bool:
        """Whether some rank had been asked before the step before; the same on all ranks. Collective."""
        if dist.get_world_size() == 1:
            return self.asked()
        stop = False
        if self.pending is not None:
            self.pending.wait()
            stop = bool(self.flag.item())
        self.flag.fill_(int(self.asked()))
        self.pending = dist.all_reduce(self.flag, dist.ReduceOp.MAX, group=self.group, async_op=True)
        return stop

    def agreed_now(self) -> bool:
        """The same without the delay, for between two phases."""
        self.agreed()
        return self.agreed()
