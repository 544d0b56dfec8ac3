"""How far a sweep is, and how a terminal shows it."""

import io
import json
import time

import pytest
import stored_runs
from rich.console import Console

from xlray.monitor.following import Following
from xlray.monitor.live import LiveView
from xlray.monitor.progress import PhaseWork
from xlray.monitor.reader import Reader
from xlray.monitor.view import clock, time_left_s
from xlray.storage.sweep_folder import open_sweep

runs = stored_runs.runs  # a fixture


def make_reader(directory, *events, definition=None):
    """Of two trials of three phases, of which the first is common to both, after some events."""
    made = (("a", "trunk", 40), ("b", "cooldown", 10), ("c", "target", 50), ("d", "target", 100))
    phases = {name: PhaseWork(directory / "phases" / name, kind, name, steps) for name, kind, steps in made}
    reader = Reader(open_sweep(directory))
    reader.definition = definition or {"targets": [{"task": "udpos"}], "intermediate": {"rungs": [640]}}
    reader.held = True
    for number, role in enumerate(("measure", "explore")):
        place = {"role": role, "cell": "1-all", "tasks": ["x"], "seed": number}
        reader.following.place(f"t{number + 1}", {"trial_id": f"t{number + 1}", **place})
    reader.watch.know({"t1": (phases["a"], phases["b"], phases["c"]), "t2": (phases["a"], phases["d"])})
    for number, event in enumerate(events):
        reader.take({"time": float(number), **event})
    return reader


def steps(reader):
    view = reader.view(Following.members)
    return view.done, view.total


def finish(directory, name):
    (directory / "phases" / name).mkdir(parents=True)
    (directory / "phases" / name / "DONE").write_text("{}")


def show(directory, **progress):
    (directory / "progress").mkdir(exist_ok=True)
    (directory / "progress" / "t1.json").write_text(json.dumps({"loss": 1.0, "time": time.time() + 1, **progress}))


RUNS = {"event": "running", "trial_id": "t1"}


def test_steps_count_common_phases_once_and_leave_out_what_was_stored(tmp_path):
    reader = make_reader(tmp_path, RUNS)
    assert steps(reader) == (0, 200)
    finish(tmp_path, "a")
    assert steps(reader) == (40, 200)
    assert steps(make_reader(tmp_path, RUNS)) == (0, 160)


def test_steps_of_the_phase_that_runs_are_read_from_the_progress_of_that_phase(tmp_path):
    reader = make_reader(tmp_path, RUNS)
    show(tmp_path, kind="trunk", done=20, steps=40)
    row = reader.view(Following.members).rows[0]
    assert (row.phase, row.done, row.steps, steps(reader)) == ("a", 20, 40, (20, 200))
    finish(tmp_path, "a")  # the progress file still tells of the phase before
    row = reader.view(Following.members).rows[0]
    assert (row.phase, row.done, steps(reader)) == ("b", 0, (40, 200))
    (tmp_path / "progress" / "t1.json").write_text("{torn")
    assert reader.view(Following.members).rows[0].done == 0


def test_what_a_stopped_trial_leaves_undone_is_taken_out(tmp_path):
    reader = make_reader(tmp_path)
    finish(tmp_path, "a")
    for event in ("running", "stopped"):
        reader.take({"event": event, "trial_id": "t2"})
    assert steps(reader) == (40, 100)
    reader.take({"event": "retried", "trial_id": "t2", "kind": "phases"})  # opened again, it needs all of them
    assert steps(reader) == (40, 200)
    reader.take({"event": "dropped", "trial_id": "t2"})
    assert steps(reader) == (40, 100)


def test_a_trial_that_an_earlier_run_left_open_or_failed_is_waiting(tmp_path):
    reader = make_reader(tmp_path, RUNS, {"event": "failed", "trial_id": "t2", "error": "x"})

    def states():
        view = reader.view(Following.members)
        assert sum(view.counts.values()) == 2
        assert all(view.counts[row.status] for row in view.rows)
        return [row.status for row in view.rows]

    assert states() == ["running", "failed"]
    reader.take({"event": "opened"})
    assert states() == ["created", "created"]
    reader.take({"event": "running", "trial_id": "t2"})
    assert states() == ["created", "running"]


def test_time_left_is_known_from_five_percent_on_and_falls_to_zero():
    assert time_left_s(10.0, 0, 100) is None and time_left_s(10.0, 4, 100) is None
    assert time_left_s(10.0, 5, 100) == pytest.approx(190.0)
    assert time_left_s(60.0, 50, 100) == pytest.approx(60.0)
    assert time_left_s(60.0, 50, 75) == pytest.approx(30.0), "a stopped trial brings the end nearer"
    assert time_left_s(60.0, 100, 100) == 0.0 and time_left_s(3.0, 0, 0) == 0.0
    rate, total = 7.0, 1000
    for done in range(50, 1001, 50):
        assert time_left_s(done / rate, done, total) == pytest.approx((total - done) / rate)


def test_a_clock_shows_hours_only_where_there_are_some():
    assert [clock(s) for s in (None, 0, 61, 3723)] == ["–", "0:00", "1:01", "1:02:03"]


def test_the_live_table_puts_what_runs_first_and_fits_the_height(runs):
    reader = Reader(open_sweep(runs / "sweeps" / "demo"))
    reader.refresh()

    def shown(most):
        return [row.trial_id for row in reader.view(lambda followed: followed.shown_first(most)).rows]

    assert shown(2) == ["dddd", "cccc"] and len(shown(100)) == 4


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_the_live_view_fits_the_terminal_and_keeps_the_titles(runs, width):
    shown = io.StringIO()
    console = Console(file=shown, width=width, height=9)
    reader = Reader(open_sweep(runs / "sweeps" / "demo"))
    reader.refresh()
    console.print(LiveView(console, reader, time.time()).renderable())
    lines = shown.getvalue().splitlines()
    assert len(lines) <= 9 and max(map(len, lines)) <= width
    assert "2tasks-s0-dddd" in lines[5] and "(2 not shown)" in lines[-1] and "51.0" not in lines[5]


def test_an_onlooker_is_told_the_stage_and_that_trials_which_wait_have_steps_that_are_not_counted(tmp_path):
    reader = Reader(open_sweep(tmp_path))
    for entry, stage, opened in (
        ({"event": "opened", "time": 5.0}, "starting", 5.0),
        ({"event": "running", "job": "shared", "time": 6.0}, "pre-training the encoder", 5.0),
        ({"event": "running", "trial_id": "t1", "time": 7.0}, "running trials", 5.0),
        ({"event": "opened", "time": 9.0}, "starting", 9.0),
    ):
        reader.take(entry)
        assert (reader.view(Following.members).stage, reader.following.opened) == (stage, opened)
    known, waiting = make_reader(tmp_path), make_reader(tmp_path)
    waiting.take({"event": "created", "trial_id": "t3"})
    for shown, text in ((known, "0 of 200 steps"), (waiting, "0 of at least 200 steps")):
        printed = io.StringIO()
        console = Console(file=printed, width=80, height=9)
        console.print(LiveView(console, shown, time.time()).renderable())
        assert text in printed.getvalue()


def test_plain_progress_is_one_line_per_event(tmp_path):
    output = io.StringIO()
    with LiveView(Console(file=output), make_reader(tmp_path), time.time()) as view:
        view({"event": "stage", "stage": "trials", "open": 2})
        view({"event": "created", "trial_id": "t1", "role": "measure", "tasks": ["x"]})
        view({"event": "running", "trial_id": "t1"})
        view(
            {
                "event": "rung",
                "trial_id": "t1",
                "rung_index": 0,
                "rung": 640,
                "fi_accuracy": 51.26,
                "scores": {"udpos": 51.26},
                "decision": "stop",
                "reason": "below the cut",
            }
        )
        view({"event": "failed", "trial_id": "t2", "error": "Traceback\nValueError: no"})
    assert output.getvalue().splitlines() == [
        "[0:00] running trials",
        "[0:00] 1tasks-s0-t1: running",
        "[0:00] 1tasks-s0-t1: rung 1/1 (640 examples): Finnish 51.3 % (udpos 51.3), stopped: below the cut",
        "[0:00] 1tasks-s1-t2: failed: ValueError: no",
    ]
