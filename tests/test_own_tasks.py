"""Tasks that a sweep file defines itself."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from xlray import mini
from xlray.canonical import InputError
from xlray.collect import sweep_folder
from xlray.config import Sweep
from xlray.definition import check_definition
from xlray.plan import plan_sweep
from xlray.recipes import Subset, Target
from xlray.tasks import Generated, Task


def colours(number: int) -> Task:
    rows = [{"id": str(n), "text": f"sky {n}", "text_pair": None, "label": "blue"} for n in range(number)]
    source = Generated(("train/en",), lambda split: iter(rows))
    return Task("my_colours", "classification", "intermediate", ("en",), source, labels=("blue", "red"))


SWEEP = Sweep(
    "own",
    mini.ENCODER,
    measure=(Subset(("mini_topic_en", "my_colours")),),
    intermediate=mini.INTERMEDIATE,
    targets=(Target("mini_tatoeba"),),
    own_tasks=(colours(4),),
)


def trunk_data(sweep: Sweep) -> dict[str, Any]:
    plan = plan_sweep(sweep, None)
    spec = next(p.spec for phases in plan.phases.values() for p in phases if p.spec.kind == "trunk")
    return {data.task: data for data in spec.data}


def test_an_own_task_is_trained_on_like_any_other() -> None:
    data = trunk_data(SWEEP)
    assert set(data) == {"mini_topic_en", "my_colours"}
    assert data["my_colours"].num_records == 4 and data["my_colours"].labels == ("blue", "red")


def test_what_an_own_task_holds_is_part_of_the_identity() -> None:
    changed = dataclasses.replace(SWEEP, own_tasks=(colours(5),))
    assert trunk_data(SWEEP)["my_colours"].fingerprint != trunk_data(changed)["my_colours"].fingerprint
    assert trunk_data(SWEEP)["mini_topic_en"] == trunk_data(changed)["mini_topic_en"]


def test_the_definition_names_own_tasks_and_can_be_written(tmp_path: Path) -> None:
    folder = sweep_folder(tmp_path, "own")
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(SWEEP.definition))
    assert json.loads((folder / "sweep.json").read_text())["own_tasks"] == ["my_colours"]
    check_definition(SWEEP, tmp_path)


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (("my_colours",), "own_tasks are `xlray.tasks.Task` values"),
        ((colours(4), colours(4)), "names of own tasks are distinct"),
        ((dataclasses.replace(colours(4), name="mini_topic_en"),), "the name of an own task is new"),
    ],
)
def test_own_tasks_that_are_none_or_take_a_name_are_refused(own: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_sweep(dataclasses.replace(SWEEP, own_tasks=own), None)


def test_an_unknown_task_gets_an_own_one_suggested() -> None:
    wrong = dataclasses.replace(SWEEP, measure=(Subset(("my_color",)),))
    with pytest.raises(InputError, match="my_colours"):
        plan_sweep(wrong, None)
