"""Stopping or saving in the middle of a phase: all ranks agree on the step, so that the state they save is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

GO_ON, SAVE, STOP = 0, 1, 2  # what a rank asks for; over several ranks the greatest holds


class Interrupted(Exception):  # noqa: N818  no error: the phase did what it was asked to
    """The phase was stopped, its state is saved; not an error."""


class StopSignal:
    """Agrees over the ranks, once per step and one step late, so that no step waits for it."""

    def __init__(self, asked: Callable[[], int]) -> None:
        """
        Args:
            asked: what this rank was asked to do: GO_ON, SAVE (once for each time it is said) or STOP; must cost nothing.
        """
        self.asked = asked
        # On the CPU whatever trains: a flag on the device would make the host wait for the device.
        self.group = dist.new_group(backend="gloo") if dist.get_backend() != "gloo" else None
        self.flag = torch.zeros(1, dtype=torch.int32)
        self.pending: Any = None

    def agreed(self) -> int:
        """What some rank had been asked for before the step before; the same on all ranks. Collective."""
        if dist.get_world_size() == 1:
            return self.asked()
        found = GO_ON
        if self.pending is not None:
            self.pending.wait()
            found = int(self.flag.item())
        self.flag.fill_(self.asked())
        self.pending = dist.all_reduce(self.flag, dist.ReduceOp.MAX, group=self.group, async_op=True)
        return found

    def stops_now(self) -> bool:
        """Whether all stop, without the delay: for between two phases, where there is nothing to save."""
        self.agreed()
        return self.agreed() == STOP
