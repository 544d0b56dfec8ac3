"""Matched arms: the caps of paired tasks against what was read of both, so that the arms hold as many examples."""

from __future__ import annotations

from dataclasses import replace

from xlray.config.recipes import Subset
from xlray.config.sweep import Sweep
from xlray.data.records import Sources
from xlray.errors import InputError


def with_matched_caps(sweep: Sweep, sources: Sources) -> Sweep:
    """The sweep with each pair of tasks capped at the smallest of its cap and the training examples of either.

    A design knows the publishers' numbers. Files may hold fewer, and so do sets of which bad or overlapping examples are
    left out. `sources.lowered` says which caps are below the design's.

    Raises:
        InputError: one task of a pair cannot be read, or the two are not of one kind; names the pair.
    """

    def matched(subset: Subset) -> Subset:
        partners = dict(subset.partners)
        caps = [
            (task, _cap(task, partners[task], cap, sources) if task in partners else cap) for task, cap in subset.caps
        ]
        return replace(subset, caps=tuple(caps))

    return replace(sweep, measure=tuple(map(matched, sweep.measure)), explore=tuple(map(matched, sweep.explore)))


def _cap(task: str, partner: str, cap: int, sources: Sources) -> int:
    pair = " / ".join(sorted((task, partner)))
    try:
        kinds = [sources.task(name).kind for name in (task, partner)]
        found = min(cap, *(sources.num_training(name) for name in (task, partner)))
    except InputError as error:
        raise InputError(f"matched pair {pair}: both tasks are read to be held to the smaller, but: {error}") from error
    if kinds[0] != kinds[1]:
        raise InputError(f"matched pair {pair}: both tasks must be of one kind, but are {kinds[0]} and {kinds[1]}.")
    if found < cap:
        sources.lowered[pair] = (found, cap)
    return found
