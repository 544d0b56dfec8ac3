"""Controls hold the examples of their task; their labels are those of others, or none."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from xlray import mini, subsets
from xlray.config.controls import control_named
from xlray.config.recipes import Intermediate, Subset, Target
from xlray.config.sweep import Sweep
from xlray.data.controls import control_records, control_task
from xlray.data.records import Sources
from xlray.errors import InputError
from xlray.mini import MINI_TASKS
from xlray.phases.spec import TrainSpec
from xlray.plan.trials import SweepPlan, plan_sweep
from xlray.storage.storage import Storage
from xlray.tasks import TASKS, Files, Generated, Record, Task, check_record

TASK_OF = {task.kind: task for task in MINI_TASKS.values() if task.role == "intermediate"}
KINDS = ("classification", "regression", "multiple_choice", "span_qa", "tagging")
GIVEN = {"multiple_choice": "label", "span_qa": "answers", "tagging": "tags"}


def examples_of(kind: str) -> tuple[Task, list[Record]]:
    task = TASK_OF[kind]
    assert isinstance(task.source, Generated)
    return task, list(itertools.islice(task.source.generate(task.train_split), 300))


def shuffled(task: Task, records: list[Record], seed: int = 1) -> list[Record]:
    control = control_named(f"{task.name}.shuffled{seed}")
    assert control is not None and control.task == task.name
    return control_records(control, task, records)


@pytest.mark.parametrize("kind", KINDS)
def test_shuffled_examples_are_the_same_with_valid_labels_of_others(kind: str) -> None:
    task, records = examples_of(kind)
    found, label = shuffled(task, records), GIVEN.get(kind, "label")
    for record in found:
        check_record(task, record, task.train_split)
    rest = [[{k: v for k, v in r.items() if k != label} for r in made] for made in (records, found)]
    assert rest[0] == rest[1]
    assert sum(a[label] != b[label] for a, b in zip(records, found, strict=True)) > 0.2 * len(records)
    if kind in ("classification", "regression"):
        assert Counter(r["label"] for r in records) == Counter(r["label"] for r in found)


def test_the_shuffle_depends_on_the_seed_and_not_on_the_order_of_the_file() -> None:
    task, records = examples_of("classification")
    by_id = {record["id"]: record for record in shuffled(task, records)}
    assert shuffled(task, records[::-1]) == [by_id[record["id"]] for record in records[::-1]]
    assert shuffled(task, records) != shuffled(task, records, seed=2)
    agree = sum(a["label"] == b["label"] for a, b in zip(records, shuffled(task, records), strict=True)) / len(records)
    shares = [number / len(records) for number in Counter(r["label"] for r in records).values()]
    assert agree == pytest.approx(sum(share**2 for share in shares), abs=0.1)  # by chance


def test_spans_keep_their_length_and_their_place_in_the_passage() -> None:
    def record(name: str, context: str, *answers: tuple[str, int]) -> Record:
        found = [{"text": text, "start": start} for text, start in answers]
        return {"id": name, "question": "?", "context": context, "answers": found}

    long, short = record("a", "abcde fghij klmno pqrst", ("pqrst", 18)), record("b", "xy z", ("xy", 0))
    first, second = shuffled(TASKS["squad"], [long, short])
    assert first["answers"] == [{"text": "ab", "start": 0}]
    assert second["answers"] == [{"text": "xy z", "start": 0}]  # as long as the passage at most
    gap = record("c", "a" + " " * 9 + "b", ("b", 10))
    there = record("d", "cc d  dd ee", (" ", 5))
    assert shuffled(TASKS["squad"], [gap, there])[0]["answers"] == [{"text": "b", "start": 10}]
    none = record("e", "no answer here")
    answers = [record["answers"] for record in shuffled(TASKS["squad_v2"], [long, none])]
    assert answers == [[], [{"text": "here", "start": 10}]]


@pytest.mark.parametrize("kind", KINDS)
def test_masked_examples_are_text_alone(kind: str) -> None:
    task, records = examples_of(kind)
    name = f"{task.name}.masked"
    control = control_named(name)
    assert control is not None
    masked = control_task(name, control, task)
    found = control_records(control, task, records)
    assert (masked.kind, masked.labels, masked.role, masked.languages) == ("mlm", (), "intermediate", task.languages)
    for record in found:
        check_record(masked, record, task.train_split)
    assert [record["id"] for record in found] == [record["id"] for record in records]
    first = records[0]
    words = [*first.get("choices", ()), first.get("text") or first.get("question") or " ".join(first["tokens"])]
    assert all(text in f"{found[0]['text']} {found[0]['text_pair']}" for text in words)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mini_udpos.masked", "made of an intermediate task with labels, but 'mini_udpos' is of role 'target'"),
        ("mini_text.shuffled0", "but 'mini_text' is of role 'text' and kind 'mlm'"),
        ("rtee.masked", "task 'rtee' must be one of .* Did you mean 'rte'"),
        ("rte.shuffled", r"task 'rte\.shuffled' must be one of"),
        ("rte.shuffled00", r"task 'rte\.shuffled00' must be one of"),
        ("rte.shuffled07", r"task 'rte\.shuffled07' must be one of"),
        ("rte.shuffled0.masked", r"a control is made of a task, but 'rte\.shuffled0' is a control"),
        ("rte.masked.masked", r"a control is made of a task, but 'rte\.masked' is a control"),
    ],
)
def test_a_control_of_nothing_is_refused(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sources(None).task(name)


def test_every_intermediate_task_with_labels_has_both_controls() -> None:
    sources = Sources(None)
    for name, task in TASKS.items():
        if task.role == "intermediate":
            masked, labels = (sources.task(f"{name}.{control}") for control in ("masked", "shuffled0"))
            assert masked.kind == "mlm" and masked.splits == labels.splits == task.splits
            assert dataclasses.replace(labels, name=name) == task


# --- in a sweep --------------------------------------------------------------------------------------------------------


def own_task(name: str, number: int) -> Task:
    rows = [
        {"id": str(n), "text": f"{name} {n}", "text_pair": None, "label": ("no", "yes")[n % 2]} for n in range(number)
    ]
    source = Generated(("train/en",), lambda split: rows)
    return Task(name, "classification", ("en",), source, labels=("no", "yes"))


LINES = [{"id": str(n), "text": f"line {n} of some text", "text_pair": None} for n in range(50)]
PRETRAINED_ON = Task("lines", "mlm", ("en",), Generated(("train/en",), lambda split: LINES), "text")
OWN = (own_task("first", 60), own_task("second", 120))
DRAWN = (Subset(("first", "second"), "en", 0, caps=(("second", 100),)),)


def plan_of(*design: Subset, own_tasks: tuple[Task, ...] = OWN) -> SweepPlan:
    sweep = Sweep(
        "controls",
        dataclasses.replace(mini.ENCODER, tasks=("lines",)),
        measure=design,
        intermediate=Intermediate((64,), 32, warmup_examples=32, max_length=64, stride=32),
        targets=(Target("mini_tatoeba"),),
        drop_overlap=False,
        own_tasks=(PRETRAINED_ON, *own_tasks),
    )
    return plan_sweep(sweep, None)


def trunk_of(plan: SweepPlan, source: str) -> TrainSpec:
    (trial,) = [trial for trial in plan.trials if trial.subset.source == source]
    spec = next(iter(plan.phases[trial.trial_id]))
    assert isinstance(spec, TrainSpec) and spec.kind == "trunk"
    return spec


def test_controls_are_trained_on_as_many_of_the_same_examples_and_are_phases_of_their_own() -> None:
    plan = plan_of(*DRAWN, *subsets.shuffled(DRAWN, seed=3), *subsets.masked_lm((*subsets.empty(), *DRAWN)))
    assert [trial.cell for trial in plan.trials] == ["2-en", "2-en-shuffled", "2-en-masked"]
    plain, labels, masked = (trunk_of(plan, source) for source in ("en", "en-shuffled", "en-masked"))
    assert [data.task for data in labels.data] == ["first.shuffled3", "second.shuffled3"]
    for other in (labels, masked):
        assert [data.num_records for data in other.data] == [data.num_records for data in plain.data]
        assert plain.data[1].num_records == 100
        same = {"data": plain.data, "parent": plain.parent}
        assert dataclasses.replace(other, **same) == plain and other.key != plain.key
        for mine, base in zip(other.data, plain.data, strict=True):
            ids = [[record["id"] for record in plan.sources.records(spec)] for spec in (mine, base)]
            assert ids[0] == ids[1] and mine.fingerprint != base.fingerprint
    assert {data.kind for data in masked.data} == {"mlm"} and {data.kind for data in labels.data} == {"classification"}
    assert trunk_of(plan_of(*DRAWN), "en").key == plain.key


def test_matched_controls_are_capped_as_what_they_are_made_of() -> None:
    """One task by the cap of the design, one by its partner, of which there are fewer examples than the design says."""
    paired = Subset(
        ("first", "second"), "en", 0,
        caps=(("first", 40), ("second", 50)), partners=(("first", "third"), ("second", "third")),
    )  # fmt: skip
    own = (*OWN, own_task("third", 45))
    plan = plan_of(paired, *subsets.shuffled([paired]), *subsets.masked_lm([paired]), own_tasks=own)
    for source in ("en", "en-shuffled", "en-masked"):
        assert [data.num_records for data in trunk_of(plan, source).data] == [40, 45]


def test_a_control_of_an_own_task_holds_what_its_reader_gives_now(tmp_path: Path) -> None:
    """No code of the project's tells of an own reader that it is another one, so that nothing of it is remembered."""
    (tmp_path / "data" / "mine").mkdir(parents=True)
    (tmp_path / "data" / "mine" / "t.txt").write_text("".join(f"text {number}\n" for number in range(30)))
    (tmp_path / "runs").mkdir()

    def contents(before: str) -> list[str]:
        def read(paths: Sequence[Path]) -> Iterator[Record]:
            for number, line in enumerate(paths[0].read_text().splitlines()):
                label = ("no", "yes")[number % 2]
                yield {"id": str(number), "text": before + line, "text_pair": None, "label": label}

        source = Files("mine", {"train/en": ("t.txt",)}, read)
        task = Task("mine", "classification", ("en",), source, labels=("no", "yes"))
        sources = Sources(tmp_path / "data", {"mine": task}, Storage(tmp_path / "runs"))
        return [sources.content(name, "train/en")[0] for name in ("mine", "mine.masked", "mine.shuffled0")]

    changed = [old != new for old, new in zip(contents(""), contents("changed "), strict=True)]
    assert changed == [True, True, True]


def test_an_own_task_has_no_control_for_a_name() -> None:
    own = Task("mine.masked", "mlm", ("en",), Generated(("train/en",), lambda split: ()))
    with pytest.raises(InputError, match="no own task has the name of a control"):
        plan_of(*subsets.empty(), own_tasks=(own,))


def test_other_text_is_an_intermediate_task_without_finnish() -> None:
    text = Task("my_text", "mlm", ("en",), Generated(("train/en",), lambda split: LINES))
    plan = plan_of(*subsets.explicit(["my_text"], source="text"), own_tasks=(text,))
    (data,) = trunk_of(plan, "text").data
    assert (data.task, data.kind, data.num_records) == ("my_text", "mlm", 50)
    with pytest.raises(InputError, match="must hold no Finnish"):
        dataclasses.replace(text, languages=("fi",), source=Generated(("train/fi",), lambda split: LINES))
