"""From the examples of a step to this rank's micro-batches, made ahead of use."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from xlray.data.examples import Examples
from xlray.training.batches import Batch, Layout, Row, collate
from xlray.training.packing import num_slots, plan_step

Item = TypeVar("Item")


@dataclass(frozen=True)
class Step:
    """What one rank does in one optimizer step.

    Attributes:
        number: of the step in the phase's order.
        micro_batches: of this rank; all ranks have as many.
        num_tokens: tokens of the step's examples, over all ranks.
        num_slots: tokens the ranks have time for while the fullest one works; see `packing.num_slots`.
    """

    number: int
    micro_batches: list[Batch]
    num_tokens: int
    num_slots: int


def pack_step(
    number: int, examples: Sequence[Examples], rows: Sequence[Row], plan: Layout, budget: int, rank: int, num_ranks: int
) -> Step:
    """Pack the rows of one step; every rank computes the same plan and collates its own share.

    Args:
        budget: tokens per micro-batch.
    """
    lengths = np.array([examples[row.task].row_tokens[row.row] for row in rows])
    shares = plan_step(lengths, num_ranks, budget)
    micro_batches = [collate(examples, [rows[i] for i in batch], plan) for batch in shares[rank]]
    return Step(number, micro_batches, int(lengths.sum()), num_slots(shares, lengths))


def pinned(step: Step) -> Step:
    """The step in page-locked memory, from which copies to a GPU run beside its work."""
    return Step(step.number, [batch.pinned() for batch in step.micro_batches], step.num_tokens, step.num_slots)


def made_ahead(items: Iterator[Item]) -> Generator[Item, None, None]:
    """The same items, each made in a second thread while the one before it is in use.

    It pays where a device computes by itself. On CPU the thread competes with the computation, and packing takes a
    five-hundredth of a step.
    """
    end = object()
    with ThreadPoolExecutor(1) as maker:
        following = maker.submit(next, items, end)
        while (item := following.result()) is not end:
            following = maker.submit(next, items, end)
            yield item  # type: ignore[misc]
