"""Stopping or saving in the middle of a phase: all ranks agree on the step, so that the state they save is one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

# What a rank asks for; over several ranks the greatest holds. A state that is due is written while training goes on; one that
# was asked for is waited for: whoever asked may be about to take the machine away.
GO_ON, DUE, SAVE, STOP = range(4)


class Interrupted(Exception):  # noqa: N818  no error: the phase did what it was asked to
    """The phase was stopped, its state is saved; not an error."""


def every(seconds: float, now: Callable[[], float] = time.monotonic) -> Callable[[], bool]:
    """A function that is true once whenever so many seconds have passed, since now or since it was true before."""
    last = now()

    def is_due() -> bool:
        nonlocal last
        passed = (moment := now()) - last >= seconds
        last = moment if passed else last
        return passed

    return is_due


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

    def agreed(self, own: int = GO_ON) -> int:
        """What some rank had been asked for before the step before; the same on all ranks. Collective.

        Args:
            own: what this rank asks for by itself, if it is asked for nothing greater.
        """
        if dist.get_world_size() == 1:
            return max(own, self.asked())
        found = GO_ON
        if self.pending is not None:
            self.pending.wait()
            found = int(self.flag.item())
        self.flag.fill_(max(own, self.asked()))
        self.pending = dist.all_reduce(self.flag, dist.ReduceOp.MAX, group=self.group, async_op=True)
        return found

    def stops_now(self) -> bool:
        """Whether all stop, without the delay: for between two phases, where there is nothing to save."""
        self.agreed()
        return self.agreed() == STOP
