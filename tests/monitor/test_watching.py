"""The live page's data: what a journal comes to, what is sent again, what is read of the files."""

import json
import random
from collections import Counter

import pytest
import watched_sweep
from watched_sweep import TARGETS, created, rung, running

from xlray.errors import InputError, RemoteError
from xlray.monitor.following import Following, sweep_state
from xlray.monitor.page import SweepPage
from xlray.monitor.progress import PhaseWork, Watch
from xlray.monitor.reader import Reader
from xlray.storage import follower, journal
from xlray.storage.storage import Storage, open_storage
from xlray.storage.sweep_folder import SweepFolder, open_sweep, sweep_folder

sweep = watched_sweep.sweep  # a fixture


def follow(*entries):
    followed = Following()
    for second, entry in enumerate(entries):
        followed.add({"time": float(100 * second), **entry})
    followed.settle()
    return followed


def test_the_hours_of_a_sweep_are_those_of_its_jobs_also_of_one_whose_driver_died():
    followed = follow(
        {"event": "opened"},
        created("t0"),
        created("t1"),
        running("t0"),  # 300
        running("t1"),  # 400
        {"event": "finished", "trial_id": "t0"},  # 500
        {"event": "opened"},  # 600: t1 was last heard of at 500
        running("t1"),  # 700
    )
    assert followed.job_seconds(1000.0) == 200.0 + 100.0 + 300.0
    assert followed.row("t1").attempts == 2


def test_only_trials_that_changed_are_sent_again():
    followed = follow({"event": "opened"}, created("t0"), created("t1"), running("t0"))
    assert followed.version == 4
    assert followed.changed_since(3, 10) == ["t0"] and followed.changed_since(0, 10) == ["t1", "t0"]
    assert followed.changed_since(0, 1) == ["t1"] and followed.changed_since(4, 10) == []
    followed.add({"event": "opened", "time": 1.0})  # which opens t0 again, and leaves t1 as it was
    assert followed.changed_since(4, 10) == ["t0"] and followed.row("t0").status == "created"


def test_a_cell_has_the_means_of_its_rung_and_leaves_out_what_is_no_number():
    followed = follow(
        {"event": "opened"},
        *(created(f"t{n}") for n in range(4)),
        created("u0", "2"),
        rung("t0", 0, 60.0, tatoeba=20.0),
        rung("t1", 0, 70.0, tatoeba=None),
        rung("t2", 0, None, decision="stop"),
        rung("t0", 1, 61.0),
        rung("u0", 0, 50.0, cell="2"),
    )
    first, second, other = followed.cells()
    assert (first["cell"], first["rung"], first["reported"], first["trials"], first["ended"]) == ("1", 64, 3, 4, 1)
    assert (first["accuracy"], first["best"]) == (65.0, 70.0)
    assert first["scores"] == {"udpos": 65.0, "tatoeba": 20.0}
    assert (second["rung_index"], second["accuracy"]) == (1, 61.0) and (other["cell"], other["best"]) == ("2", 50.0)


@pytest.mark.parametrize(
    ("last", "is_running", "state"),
    [("running", True, "running"), ("interrupted", False, "interrupted"), ("finished", False, "finished")],
)
def test_the_state_of_a_sweep_is_that_of_its_trials(last, is_running, state):
    followed = follow(created("t0"), {"event": last, "trial_id": "t0", "run": "r"})
    assert sweep_state(followed.counts, is_running) == state
    assert sweep_state(Following().counts, False) == "planned"
    failed = follow(created("t0"), {"event": "failed", "trial_id": "t0", "error": "x"})
    assert sweep_state(failed.counts, False) == "failed"


def test_a_page_gets_everything_once_and_then_what_changed(sweep):
    page = SweepPage(open_sweep(sweep), price_per_hour=36.0)
    first = page.document()
    assert (first["state"], first["counts"]) == ("interrupted", {"finished": 1, "running": 1, "created": 1})
    assert (first["targets"], first["rungs"], first["device"]) == (TARGETS, [64, 128], "GPU")
    assert len(first["rows"]) == 3 and first["running"] == [] and not first["more"]
    assert first["cost"] == pytest.approx(36.0 * first["device_hours"])
    (sweep / "ray.json").write_text(json.dumps({"device_share": 0.25}))
    shared = SweepPage(open_sweep(sweep)).document()
    assert shared["device_hours"] == pytest.approx(first["device_hours"] / 4)
    again = page.document(first["version"], first["replay"])
    assert again["rows"] == [] and again["cells"] is None and first["cells"][0]["reported"] == 1
    open_sweep(sweep).journal.append(rung("t1", 0, 55.0))
    again = page.document(first["version"], first["replay"])
    assert [(row["trial_id"], row["accuracy"]) for row in again["rows"]] == [("t1", 55.0)]
    assert again["cells"][0]["reported"] == 2
    assert len(page.document(first["version"], "of another server")["rows"]) == 3


def test_a_page_takes_many_trials_in_answers_of_bounded_size(sweep, monkeypatch):
    monkeypatch.setattr("xlray.monitor.page.MOST_ROWS", 4)
    for number in range(3, 30):
        open_sweep(sweep).journal.append(created(f"t{number}"))
    open_sweep(sweep).journal.append({"event": "opened"})  # changes one trial, and more entries than rows
    page, since, replay, seen, more = SweepPage(open_sweep(sweep)), 0, "", [], True
    while more:
        found = page.document(since, replay)
        assert len(found["rows"]) <= 4
        seen += [row["trial_id"] for row in found["rows"]]
        since, replay, more = found["version"], found["replay"], found["more"]
    assert sorted(seen) == sorted(f"t{number}" for number in range(30)) and found["counts"]["created"] == 29


def test_a_page_that_is_loaded_anew_has_the_cells_whatever_changed_last(sweep, monkeypatch):
    monkeypatch.setattr("xlray.monitor.page.MOST_ROWS", 4)
    page = SweepPage(open_sweep(sweep))
    page.document()  # somebody has it open: what is settled by now is not settled again
    for number in range(3, 15):
        open_sweep(sweep).journal.append(created(f"t{number}"))
    page.document()
    for number in range(3, 15):
        open_sweep(sweep).journal.append({"event": "running", "trial_id": f"t{number}", "run": "r", "attempt": 1})
    since, replay, cells, more = 0, "", None, True
    while more:
        found = page.document(since, replay)
        cells = found["cells"] if found["cells"] is not None else cells
        since, replay, more = found["version"], found["replay"], found["more"]
    assert cells == page.reader.following.cells() and cells[0]["reported"] == 1


def test_a_page_is_told_when_the_journal_is_another_one(sweep):
    page = SweepPage(open_sweep(sweep))
    first = page.document()
    (sweep / "journal" / journal.JOURNAL_FILE).unlink()
    open_sweep(sweep).journal.append(created("u0"))
    found = page.document(first["version"], first["replay"])
    assert [row["trial_id"] for row in found["rows"]] == ["u0"] and found["replay"] != first["replay"]
    assert found["counts"] == {"created": 1} and found["cells"] == []


def test_a_trial_that_is_dropped_is_told_and_counted_no_more(sweep):
    page = SweepPage(open_sweep(sweep))
    first = page.document()
    open_sweep(sweep).journal.append({"event": "dropped", "trial_id": "t0"})
    found = page.document(first["version"], first["replay"])
    assert [(row["trial_id"], row["status"]) for row in found["rows"]] == [("t0", "dropped")]
    assert found["cells"] == [] and found["counts"] == {"running": 1, "created": 1}


def test_a_trial_that_runs_has_its_progress_and_the_processes_of_this_run_alone(sweep):
    place = {"run": "demo-t1-1", "job_id": "01000000", "actor_id": "a", "workers": []}
    (sweep / "progress").mkdir()
    (sweep / "progress" / "t1.ray.json").write_text(json.dumps(place))
    with open_sweep(sweep).journal.exclusive():
        page = SweepPage(open_sweep(sweep))
        (found,) = page.document()["running"]
        assert (found["trial_id"], found["title"], found["place"]) == ("t1", "1tasks-s3-t1", place)
        (sweep / "progress" / "t1.ray.json").write_text(json.dumps({**place, "run": "demo-t1-0"}))
        assert page.document()["running"][0]["place"] is None
    assert page.document()["state"] == "interrupted"
    detail = page.trial("t0")
    assert [entry["rung"] for entry in detail["history"]] == [64] and detail["title"] == "1tasks-s3-t0"
    with pytest.raises(InputError, match="no such trial"):
        page.trial("t9")


class SilentStore:
    uri = "s3://silent"

    def folders(self, _):
        return set()

    def read(self, *_):
        raise RemoteError("s3://silent does not answer")


def test_where_a_store_does_not_answer_progress_is_shown_as_it_was_known(tmp_path):
    watch = Watch(SweepFolder(Storage(tmp_path, SilentStore()), tmp_path / "sweeps/demo"))
    phase = PhaseWork(tmp_path / "phases/trunk-1", "trunk", "trunk 0", 10)
    watch.know({"t0": (phase,)})
    assert watch.current("t0") == (phase, 0) and not watch.read_job("t1", frozenset({"trunk-2"}))


def test_a_page_shows_a_sweep_that_another_machine_runs_on_an_object_store(tmp_path, monkeypatch, s3_uri):
    monkeypatch.setattr("xlray.monitor.progress.ASK_EVERY_S", 0.0)
    sweeps = []
    for machine in ("head", "laptop"):
        monkeypatch.setenv("XLRAY_CACHE", str(tmp_path / machine))
        sweeps.append(sweep_folder(open_storage(s3_uri), "demo"))
    head, laptop = sweeps
    place = {"run": "demo-t0-1", "job_id": "01", "actor_id": "a", "workers": []}
    files = {
        "sweep.json": '{"question": "Why?"}',
        "progress/t0.ray.json": json.dumps(place),
        "report/report.html": "answer",
    }
    for name, text in files.items():
        (head / name).parent.mkdir(parents=True, exist_ok=True)
        (head / name).write_text(text)
    head.storage.send(head / "sweep.json", head / "progress/t0.ray.json")
    with head.journal.exclusive():
        for entry in ({"event": "opened"}, created("t0"), running("t0", "demo-t0-1")):
            head.journal.append(entry)
        page = SweepPage(laptop)
        found = page.document()
        assert (found["question"], found["state"], found["counts"]) == ("Why?", "running", {"running": 1})
        assert found["running"][0]["place"] == place and not found["report"] and page.report_file("report.html") is None
        head.journal.append(rung("t0", 0, 60.0))
        head.storage.send(head / "report/report.html")
        found = page.document(found["version"], found["replay"])
        assert found["rows"][0]["accuracy"] == 60.0 and found["report"]
        assert page.report_file("report.html").read_text() == "answer"
    assert page.document()["state"] == "interrupted"


# --- a look costs what is new --------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_trials", [10, 1_000])
def test_a_look_takes_in_what_is_new_however_long_the_journal_is(tmp_path, monkeypatch, num_trials):
    names = [f"t{number}" for number in range(num_trials)]
    entries = [
        {"time": float(number), **entry}
        for number, name in enumerate(names)
        for entry in (created(name), running(name), rung(name, 0, 50.0), {"event": "finished", "trial_id": name})
    ]
    path = tmp_path / "large" / "journal" / journal.JOURNAL_FILE
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    parsed, counted, count = [], [], Following._count

    def parse(*given):
        found = journal.parse_lines(*given)
        parsed.extend(found)
        return found

    def counting(self, name):
        counted.append(name)
        return count(self, name)

    monkeypatch.setattr(follower, "parse_lines", parse)
    monkeypatch.setattr(Following, "_count", counting)
    reader = Reader(open_sweep(tmp_path / "large"))

    def look():
        parsed.clear()
        counted.clear()
        reader.refresh()
        view = reader.view(lambda followed: followed.shown_first(2))
        return len(parsed), len(counted), [row.trial_id for row in view.rows]

    assert look() == (4 * num_trials, num_trials, [names[-1], names[-2]])
    for entry in (running("t3"), rung("t3", 1, 51.0), {"event": "retried", "trial_id": "t4", "kind": "died"}):
        open_sweep(path.parents[1]).journal.append(entry)
    assert look() == (3, 2, ["t3", names[-1]])
    assert look() == (0, 0, ["t3", names[-1]])


def random_journal(seed):
    """Events in any order that a driver may write them."""
    draw = random.Random(seed)
    rungs = {f"t{number}": 0 for number in range(6)}
    yield from (created(name, draw.choice("12")) for name in rungs)
    for _ in range(120):
        name = draw.choice(list(rungs))
        kinds = (
            "running",
            "rung",
            "outdated",
            "finished",
            "stopped",
            "failed",
            "retried",
            "dropped",
            "created",
            "opened",
        )
        event = draw.choice((*kinds, *(("paused", "promoted") if rungs[name] else ())))
        if event == "rung":
            index = draw.randrange(min(rungs[name], 2) + 1)
            value = draw.choice((None, draw.uniform(0, 100)))
            decision = draw.choice(("continue", "continue", "stop"))
            rungs[name] = index + 1 if decision == "stop" else max(rungs[name], index + 1)
            yield rung(name, index, value, draw.choice("12"), decision, tatoeba=draw.choice((None, 1.0, 2.0)))
        elif event == "created":
            yield created(name, draw.choice("12"))
        elif event == "promoted":
            yield {"event": event, "trial_id": name, "rung_index": 0}
        else:
            yield (
                {"event": event, "trial_id": name, "kind": "x", "error": "y"} if event != "opened" else {"event": event}
            )


@pytest.mark.parametrize("seed", range(20))
def test_totals_that_were_kept_up_are_those_of_a_whole_replay(seed):
    kept, entries = Following(), []
    for second, entry in enumerate(random_journal(seed)):
        entries.append({"time": float(second), **entry})
        kept.add(entries[-1])
        kept.settle()
        whole = Following()
        for known in entries:
            whole.add(known)
        whole.settle()
        assert +kept.counts == +whole.counts and kept.shown_first(9) == whole.shown_first(9)
        assert +kept.counts == Counter(kept.standing(name).status for name in kept.members())
        by_replay = [dict(row, accuracy=pytest.approx(row["accuracy"])) for row in whole.cells()]
        assert kept.cells() == [dict(row, scores=pytest.approx(row["scores"])) for row in by_replay]
