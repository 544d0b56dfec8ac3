"""What a trial is trained on beside which tasks: how evenly, how many different examples, how many of them translated."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlray.data.mixture import probabilities
from xlray.phases.spec import PlannedPhase, TrainSpec, phase_hash


@dataclass(frozen=True)
class Exposure:
    """The intermediate data of a trial.

    Attributes:
        num_distinct: training examples of its tasks that survive every filter and cap.
        effective_tasks: exp of the entropy of the mixture, the number of equally frequent tasks that is as even: nine tasks of
            which one takes nearly every example are little more than one.
        translated: share of the mixture that was translated into its language, 0 to 1.
    """

    num_distinct: int
    effective_tasks: float
    translated: float


def exposure(phases: Sequence[PlannedPhase], translated: Collection[str]) -> Exposure | None:
    """The intermediate data of a trial; None without intermediate tasks.

    Args:
        phases: of the trial.
        translated: tasks whose training texts are translations.
    """
    trunk = next((p.spec for p in phases if isinstance(p.spec, TrainSpec) and p.spec.kind == "trunk"), None)
    if trunk is None:
        return None
    sizes = [data.num_records for data in trunk.data]
    shares = probabilities(sizes, trunk.mixing, trunk.cap, trunk.temperature).tolist()
    return Exposure(
        num_distinct=sum(sizes),
        effective_tasks=math.exp(-math.fsum(share * math.log(share) for share in shares)),
        translated=math.fsum(s for s, data in zip(shares, trunk.data, strict=True) if data.task in translated),
    )


def rung_tokens(phases: Sequence[PlannedPhase], records: Mapping[str, Any]) -> list[int | None]:
    """Tokens of the intermediate training that each rung's targets start from, the cooldown among them.

    Args:
        phases: of a trial.
        records: what was recorded of finished phases, by hash, whoever computed them.

    Returns:
        by rung; None where a phase of it is not finished. Empty without intermediate tasks.
    """
    found: list[int | None] = []
    trunk: int | None = 0
    for spec in (planned.spec for planned in phases):
        tokens = records[key]["num_tokens"] if (key := phase_hash(spec)) in records else None
        if spec.kind == "trunk":
            trunk = None if trunk is None or tokens is None else trunk + tokens
            found.append(trunk)
        elif spec.kind == "cooldown":
            before = found[-1]
            found[-1] = None if before is None or tokens is None else before + tokens
    return found
