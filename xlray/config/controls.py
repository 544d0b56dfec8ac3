"""Controls by name, and designs of them: the subsets of a design with labels shuffled, or with words masked in their texts."""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from xlray.config.recipes import Subset
from xlray.errors import require

SHUFFLED, MASKED = "shuffled", "masked"  # what the names of controls end in, after the task's and a dot
MOST_SEEDS = 10**9

_NAME = re.compile(f"(.+)\\.(?:{SHUFFLED}(0|[1-9][0-9]{{0,8}})|{MASKED})")


@dataclass(frozen=True)
class Control:
    """What a control is made of.

    Attributes:
        task: name of the task.
        seed: of the shuffled labels; None for masked words.
    """

    task: str
    seed: int | None


def control_named(name: str) -> Control | None:
    """The control of that name; None for the name of a task. A control has one name: `rte.shuffled00` is none."""
    found = _NAME.fullmatch(name)
    return None if found is None else Control(found[1], None if found[2] is None else int(found[2]))


def control_design(design: Iterable[Subset], seed: Any, where: str) -> tuple[Subset, ...]:
    """The subsets that have tasks, under the names of the controls of these.

    Args:
        design: subsets of any design.
        seed: of the shuffled labels; None for masked words.
        where: the function that was called.

    Raises:
        InputError: not a design, one of controls or without tasks, or a seed outside 0 to 10^9.
    """
    whole = seed is None or (isinstance(seed, numbers.Integral) and not isinstance(seed, bool))
    require(whole and (seed is None or 0 <= seed < MOST_SEEDS), "0 <= seed < 10^9, a whole number", seed, where)
    label, suffix = (MASKED, MASKED) if seed is None else (SHUFFLED, f"{SHUFFLED}{int(seed)}")
    found = [subset for subset in subsets_of(design, where) if subset.tasks]
    require(bool(found), "the design has a subset with tasks", (), where)
    controls = sorted({task for subset in found for task in subset.tasks if control_named(task) is not None})
    require(not controls, "a control is made of tasks, not of controls", controls, where)
    return tuple(
        replace(
            subset,
            tasks=tuple(sorted(f"{task}.{suffix}" for task in subset.tasks)),
            source=f"{subset.source}-{label}",
            position=position,
            caps=tuple((f"{task}.{suffix}", cap) for task, cap in subset.caps),
            partners=tuple((f"{task}.{suffix}", f"{other}.{suffix}") for task, other in subset.partners),
        )
        for position, subset in enumerate(found)
    )


def subsets_of(design: Any, where: str) -> tuple[Subset, ...]:
    """The subsets of what should be a design.

    Raises:
        InputError: it is none.
    """
    law = "the design is a list of subsets, such as `subsets.explicit(['rte'])`"
    require(isinstance(design, Iterable) and not isinstance(design, str), law, design, where)
    found = tuple(design)
    others = [subset for subset in found if not isinstance(subset, Subset)]
    require(not others, law, others[:1], where)
    return found
