"""The live page in a real browser, on made-up sweeps: what it says of progress, cost and a sweep that has ended."""

import made_sweeps
import pytest
from made_sweeps import write_sweep

from xlray.monitor.page import SweepPage, hours_left, share_done
from xlray.monitor.progress import PhaseWork

served = made_sweeps.served  # a fixture


def as_running(share, **more):
    """The answer for a page as it is while trial t1 runs."""

    def change(found):
        job = {"trial_id": "t1", "title": "t1", "phase": "trunk", "number": 1, "phases": 4, "done": 0, "steps": 287}
        job |= {"share": share, "loss": None, "tokens_per_second": None, "padding_ratio": None, "since": found["time"]}
        known = {"running": [{**job, "place": None}], "state": "running", "done": 0, "total": 287, "has_more": True}
        return {**found, **known, **more}

    return change


def widths(tab):
    return tab.locator("#bar i").evaluate_all("parts => parts.map(part => parseFloat(part.style.width))")


@pytest.mark.slow
def test_a_trial_that_runs_colours_the_bar_by_its_steps(served):
    tab, faults = served(["finished", "running", "created", "created"], change=as_running(0.0))
    assert widths(tab) == [25.0] and tab.locator("#progress").inner_text().startswith("25 % done: 1 of 4")
    assert "0 of at least 287" in tab.locator("#progress").inner_text() and faults == []


@pytest.mark.slow
def test_a_trial_that_is_half_done_counts_half(served):
    tab, _ = served(["finished", "running", "created", "created"], change=as_running(0.5))
    assert widths(tab) == [25.0, 12.5] and tab.locator("#bar").get_attribute("aria-label") == "progress: 37 percent"


@pytest.mark.slow
def test_cost_to_come_is_shown_as_an_estimate(served):
    more = {"device_hours_left": 3.0, "cost_left": 6.0, "left_s": 5_400.0}
    tab, _ = served(["finished", "running"], change=as_running(0.5, **more))
    cards = tab.locator("#cards").inner_text().replace("\n", " ")
    assert "3.00 GPU-hours to come, estimated" in cards and "6.00 cost to come, estimated" in cards
    assert "cost so far" in cards


@pytest.mark.slow
@pytest.mark.parametrize("width", [380, 1600])
def test_a_sweep_that_has_ended_is_no_fault_and_fits(served, width):
    tab, faults = served(["finished", "finished"], width)
    text = tab.locator("main").inner_text()
    assert "cannot be reached" not in text and "The sweep is not running" in text and widths(tab) == [100.0]
    assert "to come" not in text and "50.5" in text
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth") and faults == []
    if width == 1600:
        cells = tab.locator("#cells").evaluate("table => [table.scrollWidth, table.parentElement.clientWidth]")
        assert cells[0] <= cells[1]


@pytest.mark.slow
def test_a_ray_that_is_away_while_the_sweep_runs_is_said(served):
    tab, _ = served(["finished", "running"], change=as_running(0.5))
    assert "Ray cannot be reached" in tab.locator("#ray").inner_text()


@pytest.mark.slow
def test_a_dark_screen_gets_a_dark_page(served):
    tab, _ = served(["finished", "finished"])
    tab.emulate_media(color_scheme="dark")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    line = tab.locator("#chart polyline").first
    assert line.evaluate("line => getComputedStyle(line).stroke") == "rgb(228, 228, 228)"


def test_hours_to_come_are_those_of_the_devices_that_are_held():
    assert hours_left(7_200.0, 4) == 8.0 and hours_left(None, 4) is None


def test_a_jobs_share_counts_the_steps_of_finished_phases(tmp_path):
    phases = [PhaseWork(tmp_path / str(steps), "trunk", "trunk", steps) for steps in (60, 40, 100)]
    assert share_done(phases[:1], 20, phases) == 0.4 and share_done(phases, 0, phases) == 1.0
    assert share_done([], 0, []) == 0.0


def test_the_document_has_cost_to_come_only_where_time_and_price_are_known(tmp_path):
    sweep = write_sweep(tmp_path / "demo", ["finished", "running"], 1_790_000_000.0)
    found = SweepPage(sweep, 2.0).document()
    assert found["left_s"] is None and found["device_hours_left"] is None and found["cost_left"] is None
    page = SweepPage(sweep)
    assert page.document()["cost_left"] is None and page.document()["cost"] is None


@pytest.mark.slow
def test_trials_are_sorted_by_the_values_of_fields(served):
    rates = {"t0": 2e-5, "t1": 1e-5, "t2": 3e-5}

    def change(found):
        values = {"intermediate.learning_rate": 0.0, "intermediate.mixing": "uniform"}
        rows = [
            {**row, "values": {**values, "intermediate.learning_rate": rates[row["trial_id"]]}} for row in found["rows"]
        ]
        return {**found, "rows": rows}

    tab, faults = served(["finished"] * 3, change=change)
    button = tab.locator("#trials thead button", has_text="learning_rate")
    for order in (["0.00003", "0.00002", "0.00001"], ["0.00001", "0.00002", "0.00003"]):
        button.click()
        column = tab.locator("#trials thead th").all_inner_texts().index("learning_rate")
        rows = tab.locator("#trials tbody tr")
        assert [rows.nth(n).locator("td").nth(column).inner_text() for n in range(3)] == order
    assert faults == []
