"""A report over a sweep with an axis and a search: what it says of values, and what it draws."""

import csv
import dataclasses

import played
import pytest
from played import MIXING, RATE

from xlray.analysis import Sampling
from xlray.monitor.page import SweepPage
from xlray.report.evidence import collect_evidence
from xlray.report.explore import explore_data
from xlray.report.field_values import field_importance
from xlray.report.report import write_report
from xlray.storage.sweep_folder import open_sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return played.play(tmp_path_factory.mktemp("searched"), played.plan_of(played.SEARCHED, played.World()))[0]


@pytest.fixture(scope="module")
def report(folder):
    return write_report(folder, Sampling(num_draws=50))


def rows(folder, name):
    with (folder / "report" / "tables" / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_importance_and_main_effects_are_in_the_report(folder, report):
    assert [row["field"] for row in rows(folder, "importance")][-1] == "interactions of fields"
    assert {row["field"] for row in rows(folder, "importance")[:-1]} == {"dropout", RATE, MIXING}
    effects = rows(folder, "main_effects")
    assert [(row["cell"], row["axis"], row["value"]) for row in effects] == [
        ("2-en", "dropout", v) for v in ("0", "0.1")
    ]
    assert float(effects[0]["effect"]) == pytest.approx(-float(effects[1]["effect"]))
    page = (folder / "report" / "report.html").read_text()
    assert "Importance of fields" in page and "Main effects of axes" in page
    assert "20 trials proposed by a search" in " ".join(report["warnings"])
    named = [e["name"] for e in report["estimates"]]
    assert "axis/fi_accuracy/2-en/dropout=0.1" in named and not any("search" in name for name in named)


def test_trials_of_the_sweep_count_with_the_recipe_in_the_importance_of_fields(folder):
    e = collect_evidence(folder, Sampling(num_draws=50))
    found = field_importance(e.results, e.definition, e.points, 1)
    proposed = sum(point.role == "search" and point.rung_index == 1 for point in e.points)
    assert found.num_trials == proposed + 2 and "without a value of every field" not in found.left_out
    assert found.left_out["at other seeds or numbers of tasks than any proposal"] == 4


def test_proposals_are_drawn_as_one_group_over_the_fields_that_they_differ_in(folder):
    data = explore_data(collect_evidence(folder, Sampling(num_draws=50)))
    assert data["cells"] == ["2-en dropout=0", "2-en dropout=0.1", "2-search"]
    assert data["axes"] == ["dropout", RATE, MIXING] and data["log"] == [RATE]
    assert data["searched"] == [RATE], "a choice is drawn in steps, and so are the values of an axis"
    assert sum(rate is not None for rate in data["groups"][RATE]) == 20


def test_an_axis_over_a_factor_of_ten_is_drawn_on_a_logarithmic_scale(folder):
    e = collect_evidence(folder, Sampling(num_draws=50))
    for values, log in (([1e-5, 1e-4], [RATE]), ([1e-5, 9e-5], []), ([0, 1], []), (["uniform", None], [])):
        definition = {**e.definition, "search": None, "vary": [{"fields": [RATE], "rows": [[v] for v in values]}]}
        assert explore_data(dataclasses.replace(e, definition=definition))["log"] == log


def test_the_live_page_counts_proposals_as_one_cell(folder):
    cells = SweepPage(open_sweep(folder)).document()["cells"]
    assert {row["cell"] for row in cells} == {"2-en dropout=0", "2-en dropout=0.1", "2-search"}
    assert {row["trials"] for row in cells if row["cell"] == "2-search"} == {20}


def test_without_optuna_the_report_says_what_is_missing(folder, monkeypatch):
    monkeypatch.setattr("xlray.analysis.importance.PACKAGES", {"optuna_that_is_not_there": "optuna"})
    write_report(folder, Sampling(num_draws=50))
    assert not (folder / "report" / "tables" / "importance.csv").exists()
    assert "the packages optuna: pip install" in (folder / "report" / "report.html").read_text()
