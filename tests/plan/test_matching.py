"""Matched arms hold as many examples, whatever the files hold."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from xlray import mini, pools, subsets
from xlray.cli.tables import plan_lines
from xlray.config.recipes import Intermediate, Subset, Target
from xlray.config.subsets import Pool
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.phases.store import Store
from xlray.plan.forecast import summary
from xlray.plan.trials import SweepPlan, plan_sweep
from xlray.storage.storage import Storage
from xlray.tasks import TASKS, Generated, Task
from xlray.tasks.local import is_local

DATA = Path(__file__).parents[3] / "shared" / "data"


def numbered(name: str, number: int, language: str = "en", kind: str = "classification") -> Task:
    """A task of so many training examples."""
    rows: list[dict[str, Any]] = [
        {"id": str(n), "text": f"{name} number {n}", "text_pair": None, "label": "a"} for n in range(number)
    ]
    scored = [row | {"label": 1.0} for row in rows] if kind == "regression" else rows
    source = Generated((f"train/{language}",), lambda split: iter(scored))
    return Task(name, kind, (language,), source, labels=("a", "b") if kind != "regression" else ())


SAID = {"en_a": 90, "en_b": 60, "en_c": 30, "tr_a": 80, "tr_b": 70, "tr_c": 40}  # what the pools say
HELD = {"en_a": 50, "en_b": 60, "en_c": 30, "tr_a": 80, "tr_b": 45, "tr_c": 40}  # what the files hold


def a_pool(arm: str) -> Pool:
    names = tuple(name for name in SAID if name.startswith(arm))
    return Pool(names, arm, dict.fromkeys(names, "classification"), {}, SAID)


def sweep_of(held: dict[str, int], design: tuple[Subset, ...]) -> Sweep:
    return Sweep(
        "matched",
        mini.ENCODER,
        measure=design,
        intermediate=mini.INTERMEDIATE,
        targets=(Target("mini_tatoeba"),),
        drop_overlap=False,  # has tests of its own, and reads all of the Finnish data
        own_tasks=tuple(numbered(name, number, name[:2]) for name, number in held.items()),
    )


DESIGN = subsets.matched(a_pool("en"), a_pool("tr"), (2, 3), num=1, seed=1)


def examples(plan: SweepPlan) -> dict[tuple[int, int | None, str], dict[str, int]]:
    """(number of tasks, draw, arm) to the training examples of each task, as the trunk counts them."""
    found = {}
    for trial in plan.trials:
        trunk = next(spec for spec in plan.phases[trial.trial_id] if spec.kind == "trunk")
        place = (len(trial.config.tasks), trial.subset.chain, trial.subset.source)
        found[place] = {data.task: data.num_records for data in trunk.data}
    return found


def by_kind(plan: SweepPlan, arm: dict[str, int]) -> Counter[str]:
    return sum((Counter({plan.sources.task(name).kind: number}) for name, number in arm.items()), Counter())


def test_arms_hold_as_many_examples_where_files_hold_fewer_than_the_pools_say() -> None:
    plan = plan_sweep(sweep_of(HELD, DESIGN), None)
    found = examples(plan)
    assert len(found) == 4
    for (size, draw, arm), numbers in found.items():
        other = found[size, draw, "tr" if arm == "en" else "en"]
        assert sorted(numbers.values()) == sorted(other.values())
        assert size < 3 or Counter(numbers.values()) == Counter([50, 45, 30])
    assert all(dict(t.config.caps) == numbers for t, numbers in zip(plan.trials, found.values(), strict=True))


def test_a_cap_below_the_design_is_shown_with_its_pair(tmp_path: Path) -> None:
    plan = plan_sweep(sweep_of(HELD, DESIGN), None)
    document = summary(plan, Store(Storage(tmp_path)))
    assert document["lowered_caps"] == {
        "en_a / tr_a": {"cap": 50, "designed": 80},
        "en_b / tr_b": {"cap": 45, "designed": 60},
    }
    (line,) = [line for line in plan_lines(document) if line.startswith("matched")]
    assert "en_a / tr_a 50 of 80, en_b / tr_b 45 of 60" in line


def test_data_that_hold_what_the_pools_say_keep_the_caps_and_identities_of_the_design(tmp_path: Path) -> None:
    sweep = sweep_of(SAID, DESIGN)
    plan = plan_sweep(sweep, None)
    assert [t.trial_id for t in plan.trials] == [t.trial_id for t in sweep.trials()]
    assert plan.sweep == sweep and summary(plan, Store(Storage(tmp_path)))["lowered_caps"] == {}


def test_examples_that_are_left_out_lower_the_cap_of_both() -> None:
    sweep = sweep_of(SAID, DESIGN)
    twice = numbered("en_c", 30)
    rows = [*twice.source.generate("train/en"), {"id": "0", "text": "again", "text_pair": None, "label": "a"}]
    bad = dataclasses.replace(twice, source=Generated(("train/en",), lambda split: iter(rows[2:])))
    own = tuple(bad if task.name == "en_c" else task for task in sweep.own_tasks)
    plan = plan_sweep(dataclasses.replace(sweep, own_tasks=own), None, skip_bad_examples=True)
    assert plan.sources.lowered == {"en_c / tr_c": (29, 30)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tasks: tasks[:-1], r"matched pair en_c / tr_c: both tasks are read .* task 'tr_c' must be one of"),
        (
            lambda tasks: (*tasks[:-1], numbered("tr_c", 40, "tr", "regression")),
            "matched pair en_c / tr_c: both tasks must be of one kind, but are classification and regression",
        ),
    ],
)
def test_a_pair_that_cannot_be_kept_is_refused_and_named(change, message) -> None:
    only_english = tuple(subset for subset in DESIGN if subset.source == "en")
    sweep = sweep_of(SAID, only_english)
    with pytest.raises(InputError, match=message):
        plan_sweep(dataclasses.replace(sweep, own_tasks=change(sweep.own_tasks)), None)


# --- pools restricted to what is at hand ----------------------------------------------------------------------------


def test_a_pool_is_restricted_to_tasks_by_name() -> None:
    few = pools.english32.restricted_to(["rte", "squad", "cola"])
    assert (few.names, few.source) == (("cola", "rte", "squad"), "en")
    assert (few.kinds, few.sizes) == (pools.english32.kinds, pools.english32.sizes)
    with pytest.raises(InputError, match=r"of the 32 of the pool 'en', but got 'rtee'\. Did you mean 'rte'"):
        pools.english32.restricted_to(["rtee"])


def readable(english: bool) -> list[str]:
    """Tasks of the pool whose training files are here."""
    pool = pools.english if english else pools.nonenglish
    tasks = (TASKS[name] for name in pool.names)
    return [task.name for task in tasks if is_local(task, task.train_split, DATA)]


@pytest.mark.skipif(not DATA.is_dir(), reason=f"{DATA} is not here")
def test_a_matched_two_by_two_is_planned_from_registered_tasks_whose_files_are_here(tmp_path: Path) -> None:
    named = {english: readable(english) for english in (True, False)}
    kinds = {english: Counter(TASKS[name].kind for name in names) for english, names in named.items()}
    common = kinds[True] & kinds[False]  # as many of each kind as both have
    chosen = {
        english: [
            name for kind, number in common.items() for name in [n for n in names if TASKS[n].kind == kind][:number]
        ]
        for english, names in named.items()
    }
    sizes = (9, 20)
    english, other = pools.english.restricted_to(chosen[True]), pools.nonenglish.restricted_to(chosen[False])
    sweep = Sweep(
        "two-by-two",
        mini.ENCODER,
        measure=(*subsets.empty(), *subsets.matched(english, other, sizes=sizes, num=1, seed=1)),
        intermediate=Intermediate(rungs=(2_048,), batch_size=16, max_length=64, stride=32),
        targets=(Target("mini_tatoeba"),),
        drop_overlap=False,  # has tests of its own, and reads all of the Finnish data
    )
    plan = plan_sweep(sweep, DATA, Storage(tmp_path))
    found = examples(dataclasses.replace(plan, trials=tuple(t for t in plan.trials if t.config.tasks)))
    assert {(size, arm) for size, _, arm in found} == {(size, arm) for size in sizes for arm in ("en", "non-en")}
    for size, draw, _ in found:
        arms = [found[size, draw, arm] for arm in ("en", "non-en")]
        assert by_kind(plan, arms[0]) == by_kind(plan, arms[1])
        assert sorted(arms[0].values()) == sorted(arms[1].values())
