"""Tasks that a sweep file defines itself."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from xlray import mini
from xlray.cli.tables import plan_lines
from xlray.config.recipes import Subset, Target
from xlray.config.sweep import Sweep
from xlray.data.registry import find_task
from xlray.errors import InputError
from xlray.phases.store import Store
from xlray.plan.definition import check_definition
from xlray.plan.forecast import summary
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder
from xlray.tasks import Files, Generated, Task, load_records
from xlray.tasks.readers import json_lines
from xlray.tasks.shapes import labelled

TOPIC = find_task("mini_topic_en")


def colours(number: int) -> Task:
    rows = [{"id": str(n), "text": f"sky {n}", "text_pair": None, "label": "blue"} for n in range(number)]
    source = Generated(("train/en",), lambda split: iter(rows))
    return Task("my_colours", "classification", ("en",), source, labels=("blue", "red"))


SWEEP = Sweep(
    "own",
    mini.ENCODER,
    measure=(Subset(("mini_topic_en", "my_colours")),),
    intermediate=mini.INTERMEDIATE,
    targets=(Target("mini_tatoeba"),),
    own_tasks=(colours(4),),
    drop_overlap=False,  # has tests of its own
)


def trunk_data(sweep: Sweep) -> dict[str, Any]:
    plan = plan_sweep(sweep, None)
    spec = next(s for phases in plan.phases.values() for s in phases if s.kind == "trunk")
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
    folder = sweep_folder(Storage(tmp_path), "own").path
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(SWEEP.definition))
    assert json.loads((folder / "sweep.json").read_text())["own_tasks"] == ["my_colours"]
    check_definition(SWEEP, Storage(tmp_path))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (("my_colours",), "own_tasks are `xlray.tasks.Task` values"),
        ((colours(4), colours(4)), "names of own tasks are distinct"),
        (
            (dataclasses.replace(colours(4), name="mini_topic_en"),),
            "the name of an own task is new .`sources` says where",
        ),
    ],
)
def test_own_tasks_that_are_none_or_take_a_name_are_refused(own: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_sweep(dataclasses.replace(SWEEP, own_tasks=own), None)


# --- registered tasks read from elsewhere ---------------------------------------------------------------------------


def topics(*rows: tuple[str, str]) -> Generated:
    records = [{"id": str(n), "text": text, "text_pair": None, "label": label} for n, (text, label) in enumerate(rows)]
    return Generated(("train/en",), lambda split: iter(records))


def reading(**sources: Any) -> Sweep:
    return dataclasses.replace(SWEEP, sources=sources)


def test_a_registered_task_is_read_from_other_files_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "news").mkdir()
    lines = [{"headline": f"line {n}", "topic": TOPIC.labels[n % 2]} for n in range(6)]
    (tmp_path / "news" / "part.jsonl").write_text("\n".join(map(json.dumps, lines)))
    shape = partial(labelled, text="headline", label="topic")
    files = Files("news", {"train/en": ("part.jsonl",)}, partial(json_lines, shape=shape))
    sweep = reading(mini_topic_en=files)
    plan = plan_sweep(sweep, tmp_path)
    spec = next(s for phases in plan.phases.values() for s in phases if s.kind == "trunk")
    data = next(data for data in spec.data if data.task == "mini_topic_en")
    assert (data.num_records, data.kind, data.labels) == (6, TOPIC.kind, TOPIC.labels)
    document = summary(plan, Store(Storage(tmp_path / "runs")))
    assert document["sources"] == {"mini_topic_en": "news"}
    assert "sources mini_topic_en from news" in plan_lines(document)
    assert json.loads(json.dumps(sweep.definition))["sources"] == {"mini_topic_en": "news"}
    with pytest.raises(InputError, match="news"):
        plan_sweep(sweep, tmp_path / "elsewhere")  # never another place in silence


def test_what_is_read_decides_the_identity_not_where() -> None:
    as_registered = Generated(TOPIC.source.splits, lambda split: iter(load_records(TOPIC, split)))
    assert trunk_data(reading(mini_topic_en=as_registered)) == trunk_data(SWEEP)
    other = trunk_data(reading(mini_topic_en=topics(("a", TOPIC.labels[0]), ("b", TOPIC.labels[1]))))
    assert other["mini_topic_en"].fingerprint != trunk_data(SWEEP)["mini_topic_en"].fingerprint
    assert other["my_colours"] == trunk_data(SWEEP)["my_colours"]


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ({"mini_topic_e": topics()}, "sources: task 'mini_topic_e' must be one of .*Did you mean 'mini_topic_en'"),
        ({"my_colours": topics()}, "sources: task 'my_colours' must be one of"),
        ({"mini_topic_en": "news"}, "a source is a `Files`, `Hub` or `Generated`` must hold, but got 'news'"),
        (
            {"mini_topic_en": Generated(("train/fi",), lambda split: iter(()))},
            r"the splits of task 'mini_topic_en' must be of train/en.*but got 'train/fi'\. Did you mean 'train/en'",
        ),
        (
            {"mini_topic_en": Generated((), lambda split: iter(()))},
            "the source of task 'mini_topic_en' must have the split 'train/en', but has none",
        ),
        ({"mini_topic_en": topics(("a", "no topic"))}, "'label' must be one of .*'no topic'"),
    ],
)
def test_a_source_that_does_not_fit_its_task_is_refused(sources: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_sweep(reading(**sources), None)


def test_what_the_code_of_an_own_task_raises_is_one_line_with_its_place() -> None:
    def fields(row: dict[str, str]) -> dict[str, Any]:
        return {"text": row["txt"]}  # a key that no row has

    def generate(split: str) -> Any:
        yield from (fields(row) for row in [{"text": "sky"}])

    def leaves(split: str) -> Any:
        raise SystemExit

    for source, what in (
        (Generated(("train/en",), generate), "KeyError: 'txt'"),
        (Generated(("train/en",), leaves), "SystemExit"),
    ):
        task = dataclasses.replace(colours(4), source=source)
        with pytest.raises(InputError) as caught:
            plan_sweep(dataclasses.replace(SWEEP, own_tasks=(task,)), None)
        place, _, rest = str(caught.value).partition(": ")
        assert place.rpartition(":")[0] == __file__ and place.rpartition(":")[2].isdigit()
        assert rest == f"task 'my_colours', split 'train/en': its own code raised {what}."


def test_a_fault_of_xlrays_own_readers_is_not_put_on_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    from xlray.tasks import load

    def broken(*_: Any) -> None:
        raise IndexError

    broken.__code__ = broken.__code__.replace(co_filename=load.__file__)
    monkeypatch.setattr(load, "_checked", broken)
    with pytest.raises(IndexError):
        plan_sweep(SWEEP, None)


def test_an_unknown_task_gets_an_own_one_suggested() -> None:
    wrong = dataclasses.replace(SWEEP, measure=(Subset(("my_color",)),))
    with pytest.raises(InputError, match="my_colours"):
        plan_sweep(wrong, None)
