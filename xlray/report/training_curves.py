"""Training curves for the report's section "Explore": some phases of each kind, thinned, as plain values by column."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xlray.analysis.results import Results

MOST_PHASES = 120  # on the page, over all kinds
MOST_POINTS = 40  # of a phase
METRICS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "padding_ratio")


def training_data(results: Results, places: Mapping[str, int]) -> dict[str, Any]:
    """Training curves of phases, as many of each kind and task, any of them where there are more.

    Args:
        places: of the trials on the page, by their ids.

    Returns:
        By column, an entry per phase: `name`, `kind` and `task` as in `results/steps.parquet`; `trials`: the places of those
        that need it, none for what is done before all trials; `examples` and each of `METRICS`: lists by point, None where a
        number is not finite. `total`: how many phases have a curve. `{}` if none has.

    Raises:
        InputError: the table cannot be read.
    """
    steps = results.steps
    if not steps.num_rows:
        return {}
    names = steps["phase"].combine_chunks().dictionary_encode()
    codes = names.indices.to_numpy()
    starts = np.flatnonzero(np.r_[True, codes[1:] != codes[:-1]])  # the rows of a phase follow one another
    ends = np.r_[starts[1:], len(codes)]
    labels = {name: steps[name].take(starts).to_pylist() for name in _LABELS.values()}
    needed: dict[str, list[int]] = {}
    for phase, trial in zip(*(results.phases[name].to_pylist() for name in ("phase", "trial_id")), strict=True):
        if trial in places:
            needed.setdefault(phase, []).append(places[trial])
    groups: dict[tuple[str, str], list[int]] = {}
    for number, group in enumerate(zip(labels["kind"], labels["task"], strict=True)):
        groups.setdefault(group, []).append(number)
    share = max(1, MOST_PHASES // len(groups))
    of_name = {name: number for number, name in enumerate(labels["phase"])}
    some = (shuffled([labels["phase"][number] for number in members])[:share] for members in groups.values())
    chosen = sorted(of_name[name] for names in some for name in names)
    found: dict[str, Any] = {
        **{key: [labels[name][number] for number in chosen] for key, name in _LABELS.items()},
        "trials": [sorted(set(needed.get(labels["phase"][number], ()))) for number in chosen],
        "total": len(starts),
    }
    for name in ("examples", *METRICS):
        values = steps[name].to_numpy()
        rows = [_spread(range(starts[number], ends[number]), MOST_POINTS) for number in chosen]
        found[name] = [[_short(values[row]) for row in points] for points in rows]
    return found


_LABELS = {"name": "phase", "kind": "kind", "task": "task"}


def shuffled(names: Sequence[str]) -> list[str]:
    """The names in an order that has nothing to do with theirs, the same each time."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())


def _spread(values: Any, most: int) -> list[int]:
    """At most so many of the values, evenly spread, the last one among them."""
    size = len(values)
    places = range(size) if size <= most else sorted({size - 1 - round(n * (size - 1) / most) for n in range(most)})
    return [int(values[place]) for place in places]


def _short(value: Any) -> float | int | None:
    if isinstance(value, np.integer):
        return int(value)
    return float(f"{value:.4g}") if math.isfinite(value) else None
