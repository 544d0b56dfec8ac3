"""`xlray tasks check --online`: the registry against the Hub."""

import json
from functools import partial

import hub_sets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command_line import xlray
from hub_sets import COMMIT, failure, hub_task
from rich.console import Console

from xlray.cli.task_tables import print_comparison
from xlray.data import registry
from xlray.errors import InputError
from xlray.tasks import Hub, Task, online
from xlray.tasks.online import Comparison, Difference, Unreached, compare
from xlray.tasks.shapes import labelled
from xlray.tasks.structured import tagged
from xlray.tasks.task import CONVERTED, Joined

one_set = hub_sets.one_set  # a fixture


def fields(found):
    return [(d.field, d.registry, d.hub) for d in found.differences]


@pytest.mark.parametrize(("split", "differs"), [("dev/ja", False), ("train/ja", True)])
def test_an_inside_tag_that_begins_a_span_is_no_difference_of_an_evaluation_set(one_set, split, differs):
    rows = pa.table({"tokens": [["\u5927", "\u962a"]], "ner_tags": [[0, 2]]})
    pq.write_table(rows, one_set.folder / "data" / "train-00000-of-00001.parquet")
    names = ("O", "B-LOC", "I-LOC")
    hub = Hub(str(one_set.folder), None, {split: "train"}, partial(tagged, names=names))
    found = compare([Task("names", "tagging", ("ja",), hub, role="target", labels=names)])
    assert any("must be IOB2" in d.hub for d in found.differences) is differs


def test_a_set_that_is_as_the_registry_says_has_no_difference(one_set):
    splits = {"train/en": "train", "dev/en": "validation"}
    found = compare([hub_task("some/set", COMMIT, splits, num_examples=3, licence="MIT")])
    assert found == Comparison(num_sets=1)
    assert one_set.asked == [("some/set", None), ("some/set", COMMIT)]


def test_an_unknown_set_and_an_unknown_revision_are_differences(one_set):
    found = compare([hub_task("no/set", COMMIT), hub_task("some/set", "d" * 40)])
    assert [d.field for d in found.decisive] == ["id", "revision"] and not found.unreached
    assert found.commits == {"some/set": COMMIT}, "what it could be pinned to"


def test_a_set_that_is_not_pinned_gives_its_commit(one_set):
    found = compare([hub_task("some/set", licence="MIT")])
    assert found.commits == {"some/set": COMMIT} and not found.differences
    one_set.commits.add(CONVERTED)
    assert not compare([hub_task("some/set", CONVERTED)]).commits


def test_configurations_and_splits_that_are_not_there_are_differences(one_set):
    found = compare([hub_task("some/set", splits={"train/en": "train", "dev/en": "dev"}, licence="mit")])
    assert fields(found) == [("split", "dev/en: dev", "train, validation")]
    found = compare([hub_task("some/set", config="plain", licence="mit")])
    assert [(d.field, d.registry) for d in found.decisive] == [("config", "plain")] and "default" in found.differences[
        0
    ].hub


def test_splits_that_are_joined_are_looked_at_one_by_one(one_set):
    both = {"train/en": "train+validation"}
    assert not compare([hub_task("some/set", splits=both, num_examples=4, licence="mit")]).differences
    assert [
        d.field for d in compare([hub_task("some/set", splits={"train/en": "train+more"}, licence="mit")]).decisive
    ] == ["split"]


def test_a_set_that_is_a_script_is_a_difference(one_set):
    (one_set.folder / "set.py").write_text("raise SystemExit\n")
    found = compare([hub_task("some/set", licence="mit")])
    assert [d.field for d in found.decisive] == ["format"] and "script" in found.differences[0].hub


def test_columns_that_give_no_record_are_a_difference_and_single_bad_rows_a_remark(one_set):
    other = partial(labelled, text="text", label="label")
    found = compare([hub_task("some/set", shape=other, licence="mit")])
    assert [d.field for d in found.decisive] == ["columns"] and "3 of 3 rows" in found.differences[0].hub
    named = partial(labelled, text="sentence", label="label", names={"1": "yes"})
    found = compare([hub_task("some/set", shape=named, licence="mit")])
    assert [d.field for d in found.differences] == ["rows"] and not found.decisive
    foreign = partial(labelled, text="sentence", label="label", names={"0": "no", "1": "perhaps"})
    found = compare([hub_task("some/set", shape=foreign, licence="mit")])
    assert "'perhaps'" in found.differences[0].hub, "records are checked against the task's labels"


def test_the_number_of_examples_and_the_licence_differ_without_keeping_a_task_from_being_read(one_set):
    one_set.licence = "cc-by-4.0"
    found = compare([hub_task("some/set", COMMIT, num_examples=5, licence="MIT")])
    assert fields(found) == [("licence", "MIT", "cc-by-4.0"), ("num_examples", "5", "3")] and not found.decisive
    one_set.licence = ["cc-by-4.0", "other"]
    assert not compare([hub_task("some/set", COMMIT, licence="CC BY 4.0 (text: CC0)")]).differences
    one_set.licence = None
    assert not compare([hub_task("some/set", COMMIT, licence="research only")]).differences


def test_where_rows_are_left_out_the_hub_may_hold_more(one_set):
    without = partial(labelled, text="sentence", label="label", names={"1": "yes"}, left_out=("0",))
    assert not compare([hub_task("some/set", shape=without, num_examples=2, licence="mit")]).differences
    assert fields(compare([hub_task("some/set", shape=without, num_examples=4, licence="mit")])) == [
        ("num_examples", "4", "3")
    ]


def test_a_local_folder_is_compared_without_a_network(one_set):
    found = compare([hub_task(one_set.folder, num_examples=2)])
    assert fields(found) == [("num_examples", "2", "3")] and one_set.asked == []


def test_parts_of_a_joined_task_are_compared_once(one_set):
    part = hub_task("some/set", num_examples=9, licence="mit")
    joined = Task("both", "classification", ("en",), Joined((part,)), labels=("no", "yes"))
    found = compare([joined, part])
    assert (found.num_sets, [d.task for d in found.differences]) == (1, ["both/yes_no"])


def test_a_set_that_cannot_be_reached_is_no_difference(one_set):
    tasks = [
        hub_task("some/set", licence="mit"),
        hub_task("far/set"),
        hub_task("some/set", COMMIT, num_examples=4, licence="mit"),
    ]
    for name in ("GatedRepoError", "HfHubHTTPError", "OfflineModeIsEnabled"):
        seen = []

        def progress(line, name=name, seen=seen):
            seen.append(line)
            one_set.error = failure(name) if "far/set" in line else None

        found = compare(tasks, progress)
        assert found.unreached == [Unreached("yes_no", "far/set", name)] and len(seen) == 3
        assert [d.field for d in found.differences] == ["num_examples"]


def test_no_network_is_one_line(one_set, capfd, monkeypatch):
    one_set.error = failure("OfflineModeIsEnabled")
    code, out, err = xlray(capfd, "tasks", "check", "--online", "squad", "--json")
    assert (code, out) == (2, "") and err.count("\n") == 1 and "Hub must be reachable" in err
    assert len(one_set.asked) == 1, "one question is enough"
    http_error = next(c for c in type(failure("HfHubHTTPError")).__mro__ if c.__name__ == "HTTPError")
    one_set.error = http_error("Name or service not known")  # of the HTTP client, and no OSError
    with pytest.raises(InputError, match="Name or service not known"):
        compare([hub_task("some/set")])


def test_the_command_fails_for_what_cannot_be_read_alone(one_set, capfd, monkeypatch):
    monkeypatch.setitem(registry.ALL_TASKS, "yes_no", hub_task("some/set", num_examples=9, licence="mit"))
    code, out, err = xlray(capfd, "tasks", "check", "--online", "yes_no")
    assert (code, err) == (0, "") and "num_examples" in out and f"some/set@{COMMIT}" in out
    monkeypatch.setitem(registry.ALL_TASKS, "yes_no", hub_task("some/set", splits={"train/en": "more"}))
    code, out, err = xlray(capfd, "tasks", "check", "--online", "yes_no", "--json")
    document = json.loads(out)
    assert code == 2 and err.count("\n") == 1 and "split of yes_no" in err
    assert {d["field"] for d in document["differences"]} == {"licence", "split"}
    assert document["commits"] == {"some/set": COMMIT} and document["num_sets"] == 1


def test_comparing_stores_no_data(one_set, tmp_path):
    compare([hub_task("some/set", num_examples=3)])
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.suffix in (".arrow", ".parquet")]


def test_the_screen_of_a_comparison_names_everything(capsys):
    found = Comparison(
        2, [Difference("t", "id", "a/b", "not found")], [Unreached("u", "c/d", "gated")], {"e/f": COMMIT}
    )
    print_comparison(Console(width=100), found)
    out = capsys.readouterr().out
    assert all(part in out for part in ("a/b", "not found", "c/d", "gated", f"e/f@{COMMIT}", "1 of which"))


def test_only_what_keeps_a_task_from_being_read_is_decisive():
    assert {"licence", "num_examples", "rows"}.isdisjoint(online.DECISIVE)
