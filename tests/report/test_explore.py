"""What the section "Explore" draws: the values of a sweep by column, rounded and bounded."""

import dataclasses
import hashlib
import json
import re

import pytest
import reported_sweep
from reported_sweep import SUBSETS, TARGETS, make_sweep

from xlray.analysis import Sampling
from xlray.report import explore
from xlray.report.evidence import collect_evidence
from xlray.templates import ECHARTS

finished = reported_sweep.finished  # a fixture
FEW = Sampling(num_draws=20)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return collect_evidence(make_sweep(tmp_path_factory.mktemp("explore") / "sweep"), FEW)


def test_every_trial_has_a_place_in_every_column(evidence):
    data = explore.explore_data(evidence)
    trials = data["trials"]
    assert len(trials["id"]) == len(set(trials["id"])) == 2 * len(SUBSETS)
    columns = {name: column for name, column in trials.items() if name not in ("degenerate", "scores")}
    assert {len(column) for column in (*columns.values(), *trials["scores"].values())} == {2 * len(SUBSETS)}
    assert [name for name, _ in data["outcomes"]] == ["fi_accuracy", "without_tatoeba", *sorted(TARGETS)]
    assert list(trials["scores"]) == [name for name, _ in data["outcomes"]]
    assert {len(column) for column in data["groups"].values()} == {len(SUBSETS)}  # seeds share what is not theirs
    assert sorted(trials["group"]) == sorted(2 * list(range(len(SUBSETS))))


def test_scores_are_those_of_the_points_by_rung(evidence):
    data = explore.explore_data(evidence)
    for place, trial in enumerate(data["trials"]["id"]):
        points = [point for point in evidence.points if point.trial_id == trial]
        for outcome, column in data["trials"]["scores"].items():
            assert column[place] == pytest.approx([point.scores[outcome] for point in points], abs=0.005)
        assert data["rungs"][data["trials"]["last"][place]] == points[-1].rung
        tasks = data["groups"]["tasks"][data["trials"]["group"][place]]
        assert tuple(data["tasks"][task] for task in tasks) == points[-1].tasks
    assert data["rungs"][data["rung"]] == evidence.rung


def test_means_are_the_estimates_of_the_report(evidence):
    data = explore.explore_data(evidence)
    known = {(estimate.name, estimate.rung): estimate for estimate in evidence.estimates}
    assert {row[0] for row in data["means"]} == set(range(len(data["outcomes"])))
    for outcome, cell, rung, value, low, high in data["means"]:
        estimate = known[f"mean/{data['outcomes'][outcome][0]}/{data['cells'][cell]}", data["rungs"][rung]]
        assert value == pytest.approx(estimate.value, abs=0.005)
        assert (low is None) == (estimate.low is None) and (high is None) == (estimate.high is None)


def test_a_trial_that_waits_is_there_without_scores(tmp_path):
    folder = make_sweep(tmp_path / "sweep")
    entry = {"event": "created", "trial_id": "new", "role": "measure", "cell": "2-all", "tasks": ["a", "b"], "seed": 7}
    with next((folder / "journal").glob("*.jsonl")).open("a") as file:
        file.write(json.dumps(entry) + "\n")
    data = explore.explore_data(collect_evidence(folder, FEW))
    trials = data["trials"]
    place = trials["id"].index("new")
    assert (data["statuses"][trials["status"][place]], trials["seed"][place], trials["last"][place]) == (
        "created",
        7,
        -1,
    )
    assert all(column[place] == [] for column in trials["scores"].values())


def test_scores_that_were_not_measured_are_not_shown(evidence):
    trial = evidence.points[0].trial_id
    lost = [dataclasses.replace(p, diverged=p.trial_id == trial and p.rung_index > 0) for p in evidence.points]
    trials = explore.explore_data(dataclasses.replace(evidence, points=tuple(lost)))["trials"]
    assert trials["last"][trials["id"].index(trial)] == 0


def test_nothing_scored_is_nothing_to_explore(evidence):
    assert explore.explore_data(dataclasses.replace(evidence, points=())) == {}


def test_of_many_trials_some_keep_their_curves_evenly_over_the_cells(evidence, monkeypatch):
    cells = ["0"] * 5 + ["4"] * 6_000 + ["9"] * 3_995
    names = [f"trial{number}" for number in range(len(cells))]
    kept = explore.with_curves(cells, names)
    by_cell = {cell: sum(k for k, c in zip(kept, cells, strict=True) if c == cell) for cell in ("0", "4", "9")}
    assert by_cell == {"0": 1, "4": 600, "9": 399}
    assert explore.with_curves(cells[:1_000], names[:1_000]) == [True] * 1_000
    seeds = [sum(k for k, name in zip(kept, names, strict=True) if int(name[5:]) % 5 == seed) for seed in range(5)]
    assert min(seeds) > 150  # not every tenth, which would be the same seed each time
    whole = explore.explore_data(evidence)["trials"]
    monkeypatch.setattr(explore.with_curves, "__defaults__", (4,))
    thinned = explore.explore_data(evidence)["trials"]
    scores = list(zip(thinned["scores"]["udpos"], whole["scores"]["udpos"], strict=True))
    assert 3 <= sum(isinstance(some, list) for some, _ in scores) < len(scores)
    assert all(some in (every, every[-1]) for some, every in scores)


def test_the_json_ends_no_element_of_the_page():
    text = explore.as_json({"tasks": ["</script><!--", "\u2028ä"]})
    assert "<" not in text and json.loads(text)["tasks"] == ["</script><!--", "\u2028ä"]


def test_the_page_holds_the_data_and_echarts_once(finished):
    html = (finished[0] / "report" / "report.html").read_text()
    (found,) = re.findall(r'<script type="application/json" id="explore-data">(.*?)</script>', html, re.DOTALL)
    assert json.loads(found) == explore.explore_data(collect_evidence(finished[0], Sampling(num_draws=200)))
    assert html.count(ECHARTS.read_text()) == 1


def test_echarts_is_the_file_of_the_pinned_version_with_its_licences():
    name, version, digest = (ECHARTS.parent / "VERSIONS").read_text().splitlines()[-1].split()
    assert name == ECHARTS.name and digest == hashlib.sha256(ECHARTS.read_bytes()).hexdigest()
    text = ECHARTS.read_text()
    assert f'version="{version}"' in text and "</script" not in text and "<!--" not in text
    for licence in ("LICENSE", "NOTICE", "LICENSE-d3"):
        assert (ECHARTS.parent / f"echarts.{licence}").stat().st_size > 100
