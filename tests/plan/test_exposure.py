"""What a trial is trained on, counted by hand."""

from __future__ import annotations

import math
from typing import Any

import helpers
import pytest

from xlray.phases.spec import DataSpec, Rung, TrainSpec, phase_hash
from xlray.plan.exposure import exposure, rung_tokens


def data_of(sizes: dict[str, int]) -> list[DataSpec]:
    return [
        DataSpec(name, "classification", "train/en", "f", size, 64, labels=("a", "b")) for name, size in sizes.items()
    ]


def trunk(sizes: dict[str, int], first: int = 0, **changes: Any) -> TrainSpec:
    spec: TrainSpec = helpers.train_spec(
        "trunk", "p", data_of(sizes), schedule="warmup_constant", first_example=first, **changes
    )
    return spec


def test_equal_tasks_count_fully_and_a_large_one_makes_them_fewer() -> None:
    even = exposure([Rung(64, (trunk({"a": 500, "b": 500, "c": 500}),))], ())
    assert even is not None and even.num_distinct == 1_500
    assert even.effective_tasks == pytest.approx(3) and even.translated == 0
    uneven = exposure([Rung(64, (trunk({"a": 800, "b": 100, "c": 100}),))], ["b", "elsewhere"])
    assert uneven is not None and uneven.translated == pytest.approx(0.1)
    assert uneven.effective_tasks == pytest.approx(math.exp(-0.8 * math.log(0.8) - 0.2 * math.log(0.1)))


def test_uniform_mixing_and_a_cap_change_the_mixture_and_not_what_there_is() -> None:
    sizes = {"a": 800, "b": 100}
    mixtures: list[tuple[dict[str, Any], float]] = [
        ({"mixing": "uniform"}, 0.5),
        ({"cap": 100}, 0.5),
        ({"cap": 300}, 0.25),
    ]
    for changes, share in mixtures:
        found = exposure([Rung(64, (trunk(sizes, **changes),))], ["b"])
        assert found is not None and found.num_distinct == 900 and found.translated == pytest.approx(share)


def test_without_intermediate_tasks_there_is_no_exposure() -> None:
    rungs = [Rung(64, targets=(helpers.train_spec("target", "p", data_of({"a": 100})),))]
    assert exposure(rungs, ()) is None and rung_tokens(rungs, {}) == []


def test_a_rungs_tokens_are_the_trunk_so_far_and_its_own_cooldown() -> None:
    first, second = trunk({"a": 100}), trunk({"a": 100}, first=64)
    cooldowns = [helpers.train_spec("cooldown", "p", data_of({"a": 100}), schedule="decay", seed=s) for s in (1, 2)]
    target = helpers.train_spec("target", "p", data_of({"b": 100}))
    specs = [first, cooldowns[0], target, second, cooldowns[1]]
    rungs = [Rung(64, (first, cooldowns[0]), (target,)), Rung(128, (second, cooldowns[1]))]
    records = {phase_hash(spec): {"num_tokens": 10**n} for n, spec in enumerate(specs)}
    assert rung_tokens(rungs, records) == [11, 1 + 1_000 + 10_000]
    missing = {key: record for key, record in records.items() if key != phase_hash(cooldowns[0])}
    assert rung_tokens(rungs, missing) == [None, 11_001]
    missing = {key: record for key, record in records.items() if key != phase_hash(first)}
    assert rung_tokens(rungs, missing) == [None, None]
