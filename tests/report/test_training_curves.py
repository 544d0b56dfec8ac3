"""Training curves on the page: some phases of each kind, thinned, with the trials that need them."""

import pytest
from reported_sweep import make_sweep

from xlray.analysis.results import STEPS, load_results
from xlray.report import training_curves
from xlray.report.training_curves import MOST_PHASES, MOST_POINTS, training_data
from xlray.storage import parquet


def curves(number, points, kind="trunk", task=""):
    """Rows of so many phases."""
    empty = dict.fromkeys(STEPS.names)
    return [
        {
            **empty,
            "phase": f"{kind}-{n:04}",
            "kind": kind,
            "task": task,
            "step": step,
            "examples": 10 * step,
            "loss": 1 / step,
        }
        for n in range(number)
        for step in range(1, points + 1)
    ]


@pytest.fixture
def results(tmp_path):
    return load_results(make_sweep(tmp_path / "sweep"))


def with_steps(results, rows):
    parquet.write_table(results.directory / "results" / "steps.parquet", parquet.to_table(rows, STEPS))
    return results


def test_a_sweep_without_curves_has_none_to_show(results):
    assert training_data(results, {}) == {}


def test_few_curves_are_whole_and_know_their_trials(results):
    phase, trial = (results.phases[name][0].as_py() for name in ("phase", "trial_id"))
    rows = [{**row, "phase": phase} for row in curves(1, 3)] + curves(1, 2, "target", "udpos")
    rows[1]["grad_norm"] = float("inf")
    found = training_data(with_steps(results, rows), {trial: 5})
    assert found["name"] == [phase, "target-0000"] and found["trials"] == [[5], []] and found["total"] == 2
    assert found["examples"] == [[10, 20, 30], [10, 20]] and found["loss"] == [[1.0, 0.5, 0.3333], [1.0, 0.5]]
    assert found["grad_norm"][0] == [None] * 3 and found["task"] == ["", "udpos"]


def test_many_and_long_curves_are_thinned_and_end_where_they_end(results):
    rows = curves(400, 50) + curves(3, 5, "target", "udpos")
    found = training_data(with_steps(results, rows), {})
    assert found["kind"].count("trunk") == MOST_PHASES // 2 and found["kind"].count("target") == 3
    assert found["total"] == 403 and found["name"] == sorted(found["name"], key=lambda name: (name[:2] != "tr", name))
    assert all(len(points) == MOST_POINTS and points[-1] == 500 for points in found["examples"][: MOST_PHASES // 2])
    assert all(points == sorted(set(points)) for points in found["examples"])
    assert {len(found[name]) for name in ("examples", *training_curves.METRICS)} == {MOST_PHASES // 2 + 3}
