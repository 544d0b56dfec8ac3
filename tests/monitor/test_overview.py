"""All sweeps of a storage on one page, and the training curves of the trials that run: what is answered, and how much."""

import json
import time

import made_sweeps
import pytest
from made_sweeps import CELL, let_run, write_sweep

from xlray.monitor import curves, overview
from xlray.monitor.page import SweepPage
from xlray.monitor.server import Dashboard

served = made_sweeps.served  # a fixture
MOST_BYTES = 200_000  # of all that a page asks for in one refresh


def overview_of(board):
    """The overview once every sweep has been read."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        found = board.overview()["sweeps"]
        if all("state" in line for line in found):
            return found
        time.sleep(0.02)
    raise AssertionError("not every sweep was read")


def test_every_sweep_has_a_line_the_one_that_changed_last_first(tmp_path):
    first = write_sweep(tmp_path / "sweeps" / "first", ["finished", "failed", "created", "created"], 1_790_000_000.0)
    write_sweep(tmp_path / "sweeps" / "second", ["finished", "finished"], 1_790_000_100.0)
    lines = overview_of(Dashboard(first))
    assert [line["name"] for line in lines] == ["second", "first"]
    assert [line["share"] for line in lines] == [1.0, 0.25] and lines[0]["best_accuracy"] == 51.0
    assert (lines[0]["rung"], lines[0]["rungs"], lines[0]["question"]) == (2, 2, "Does it help?")


def test_the_share_of_a_line_counts_running_trials_by_their_steps(tmp_path):
    sweep = write_sweep(tmp_path / "sweeps" / "demo", ["finished", "running", "created", "created"], 1_790_000_000.0)
    board = Dashboard(sweep)
    let_run(board, "demo", ["t1"], steps=100, done=40)
    with sweep.journal.exclusive():
        (line,) = overview_of(board)
    assert line["state"] == "running" and line["share"] == pytest.approx((1 + 0.5) / 4)  # one of two phases is finished
    (line,) = overview_of(board)
    assert line["state"] == "interrupted" and line["share"] == 0.25


def test_a_sweep_that_cannot_be_read_hides_no_other(tmp_path):
    first = write_sweep(tmp_path / "sweeps" / "first", ["finished"], 1_790_000_000.0)
    second = write_sweep(tmp_path / "sweeps" / "second", ["finished"], 1_790_000_100.0)
    (second.path / "sweep.json").write_text("{")
    lines = {line["name"]: line for line in overview_of(Dashboard(first))}
    assert lines["first"]["state"] == "finished" and lines["second"]["state"] == "unreadable"
    assert "sweep.json" in lines["second"]["error"]


def test_an_answer_takes_its_time_and_no_longer(tmp_path, monkeypatch):
    """With no time left each answer renews one line, another one every time."""
    pages = {}
    for number in range(3):
        sweep = write_sweep(tmp_path / "sweeps" / f"s{number}", ["finished"], 1_790_000_000.0 + number)
        pages[sweep.name] = SweepPage(sweep)
    monkeypatch.setattr(overview, "MOST_S", -1.0)
    made = overview.Overview()
    for known in (1, 2, 3, 3):
        assert sum("state" in line for line in made.lines(pages, list(pages))) == known


def test_the_curve_of_a_trial_that_runs_is_that_of_all_segments_of_its_trunk(tmp_path):
    sweep = write_sweep(tmp_path / "sweeps" / "demo", ["finished", "running"], 1_790_000_000.0)
    board = Dashboard(sweep)
    let_run(board, "demo", ["t1"], steps=30, done=10)
    with sweep.journal.exclusive():
        found = board.curves("demo", "loss")
        padding = board.curves("demo", "padding_ratio")
        speed = board.curves("demo", "tokens_per_second")
    (line,) = found["lines"]
    assert (line["trial_id"], line["cell"], line["kind"], found["total"]) == ("t1", CELL, "trunk", 1)
    assert [step for step, _ in line["points"]] == list(range(1, 41))
    assert [value for _, value in line["points"]] == pytest.approx([4.0 / step for step in range(1, 41)], rel=1e-3)
    assert {value for _, value in padding["lines"][0]["points"]} == {0.25}
    assert {value for _, value in speed["lines"][0]["points"]} == {180.0}
    assert board.curves("demo", "loss") == {"metric": "loss", "lines": [], "total": 0}  # nobody runs it


def test_a_curve_grows_with_its_file_and_what_is_not_finite_is_none(tmp_path):
    sweep = write_sweep(tmp_path / "sweeps" / "demo", ["running"], 1_790_000_000.0)
    board = Dashboard(sweep)
    let_run(board, "demo", ["t0"], steps=5, done=2)
    (log,) = list(tmp_path.glob("phases/*-1/attempt/curve.log"))
    with sweep.journal.exclusive():
        before = board.curves("demo", "loss")["lines"][0]["points"]
        with log.open("a") as file:
            file.write("8 1 inf 1.0 0.001 90 120 0.5\n")
        after = board.curves("demo", "loss")["lines"][0]["points"]
    assert after == [*before, (8, None)]
    json.dumps(after, allow_nan=False)


def test_what_a_page_asks_for_in_one_refresh_is_bounded(tmp_path):
    """10,000 trials, of which 100 run, and long curves: the page's data and its curves together."""
    statuses = ["running"] * 100 + ["finished"] * 400 + ["created"] * 9_500
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        sweep = write_sweep(tmp_path / "sweeps" / "demo", statuses, 1_790_000_000.0)
    board = Dashboard(sweep)
    let_run(board, "demo", [f"t{number}" for number in range(40)], steps=300, done=299)
    with sweep.journal.exclusive():
        found, drawn = board.document("demo", 0), board.curves("demo", "tokens_per_second")
        assert len(found["running"]) == 100 and found["more"] and len(drawn["lines"]) == curves.MOST_JOBS
        assert max(len(line["points"]) for line in drawn["lines"]) == 2 * curves.MOST_POINTS
        assert len(json.dumps(found)) + len(json.dumps(drawn)) < MOST_BYTES
        assert len(json.dumps(board.overview())) < 2_000


def running(found):
    """The answer for a page while t1 and t2 run."""
    return {**found, "state": "running"}


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1600])
def test_training_curves_can_be_hovered_and_their_metric_chosen(served, width):
    def prepare(board):
        let_run(board, "demo", ["t1", "t2"], steps=50, done=30)
        board.held = board._page("demo").directory.journal.exclusive()
        board.held.__enter__()

    tab, faults = served(["finished", "running", "running"], width, prepare=prepare)
    tab.locator("#training canvas").wait_for()
    assert "2 lines" in tab.locator("#training").get_attribute("aria-label")
    chart = "echarts.getInstanceByDom(document.getElementById('training'))"
    place = tab.evaluate(
        f"(() => {{ const it = {chart}; return it.convertToPixel({{seriesIndex: 0}}, it.getOption().series[0].data[40].value) }})()"
    )
    tab.locator("#training").scroll_into_view_if_needed()
    box = tab.locator("#training").bounding_box()
    tab.mouse.move(box["x"] + place[0], box["y"] + place[1])
    tip = tab.locator("#training", has_text="Loss after 41 steps: 0.09756")
    tip.wait_for()
    tab.locator("#metric").select_option("learning_rate")
    tab.locator("#training[aria-label^='Learning rate']").wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth") and faults == []


@pytest.mark.slow
def test_two_trials_are_compared_by_what_differs_and_their_scores(served):
    tab, faults = served(["finished", "finished", "created"])
    buttons = tab.locator("#trials button[aria-label^='compare']")
    first = tab.locator("#trials tbody tr").nth(0).locator("td").first.inner_text()
    buttons.nth(0).click()
    assert "choose another trial" in tab.locator("#pair-note").inner_text()
    buttons.nth(0).click()  # the first one has become A
    tab.locator("#two tbody tr", has_text="Finnish").wait_for()
    assert (
        f"A: {first}" in tab.locator("#two thead").inner_text()
        and "after 128 examples" in tab.locator("#two").inner_text()
    )
    rows = {
        row[0]: row[1:]
        for row in tab.locator("#two tbody tr").evaluate_all(
            "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
    }
    assert sorted(rows["Seed"][:2]) == ["0", "1"] and "Status" not in rows
    assert sorted(rows["Finnish"][:2]) == ["50.0", "51.0"] and rows["Finnish"][2] in ("+1.0", "\u22121.0")
    tab.locator("#trials button[aria-pressed=true]", has_text="A").click()
    tab.locator("#two tbody tr").first.wait_for(state="detached")
    assert faults == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1600])
def test_the_overview_leads_to_each_sweep_and_filters(served, width):
    def prepare(board):
        write_sweep(board.sweeps / "other", ["finished", "created"], 1_790_000_200.0)

    tab, faults = served(["finished", "finished"], width, prepare=prepare)
    tab.locator("#others").click()
    tab.locator("#sweeps tbody tr", has_text="50 %").wait_for()
    assert tab.locator("#sweeps tbody tr").count() == 2 and "51.0" in tab.locator("#sweeps").inner_text()
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.locator("#words").fill("other")
    assert tab.locator("#sweeps tbody tr").count() == 1 and "1 of 2 sweeps" in tab.locator("#shown").inner_text()
    tab.get_by_role("link", name="other").click()
    tab.locator("#trials tbody tr").first.wait_for()
    assert tab.url.endswith("/other/") and tab.locator("#chart title").first.text_content().startswith(
        "8 tasks at learning_rate"
    )
    assert faults == []
