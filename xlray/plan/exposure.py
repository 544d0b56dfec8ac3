"""What a trial is trained on beside which tasks: how evenly, how many different examples, how many of them translated."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xlray.data.mixture import probabilities
from xlray.phases.spec import Rung, phase_hash


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


def exposure(rungs: Sequence[Rung], translated: Collection[str]) -> Exposure | None:
    """The intermediate data of a trial; None without intermediate tasks.

    Args:
        rungs: of the trial.
        translated: tasks whose training texts are translations.
    """
    trunk = next((spec for rung in rungs for spec in rung.training if spec.kind == "trunk"), None)
    if trunk is None:
        return None
    sizes = [data.num_records for data in trunk.data]
    shares = probabilities(sizes, trunk.mixing, trunk.cap, trunk.temperature).tolist()
    return Exposure(
        num_distinct=sum(sizes),
        effective_tasks=math.exp(-math.fsum(share * math.log(share) for share in shares)),
        translated=math.fsum(s for s, data in zip(shares, trunk.data, strict=True) if data.task in translated),
    )


def rung_tokens(rungs: Sequence[Rung], records: Mapping[str, Any]) -> list[int | None]:
    """Tokens of the intermediate training that each rung's targets start from, the cooldown among them.

    Args:
        rungs: of a trial.
        records: what was recorded of finished phases, by hash, whoever computed them.

    Returns:
        by rung; None where a phase of it is not finished. Empty without intermediate tasks.
    """
    found: list[int | None] = []
    trunk: set[str] = set()
    for rung in rungs:
        trunk |= {phase_hash(spec) for spec in rung.training if spec.kind == "trunk"}
        needed = trunk | {phase_hash(spec) for spec in rung.training}
        found.append(sum(records[key]["num_tokens"] for key in needed) if needed <= records.keys() else None)
    return found if trunk else []
