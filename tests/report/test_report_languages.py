"""The report of a sweep in another language than Finnish, and of one in several: everything is named after its language."""

import csv
import dataclasses
import json

import pyarrow.parquet as pq
import pytest
from reported_sweep import RUNGS, TARGETS, make_sweep

from xlray import load_results
from xlray.analysis import Sampling, collect_points
from xlray.analysis.selection import selection_scores
from xlray.cli.tables import estimate_in_words
from xlray.report import report
from xlray.templates import ECHARTS

FEW = Sampling(num_draws=50)


@pytest.fixture(autouse=True)
def no_pdf(monkeypatch):
    canvas = "matplotlib.backends.backend_pdf.FigureCanvasPdf"
    monkeypatch.setattr(f"{canvas}.print_figure", lambda self, file, **_: file.write(b"%PDF"))


def in_languages(folder, languages, change):
    """A Finnish sweep as one in these languages, with what `change` makes of each row of scores: a list of rows."""
    path = folder / "results/scores.parquet"
    table = pq.read_table(path)
    rows = [made for row in table.to_pylist() for made in change(row)]
    pq.write_table(table.from_pylist(rows, table.schema), path)
    path = folder / "results/trials.parquet"
    trials = pq.read_table(path)
    place = trials.column_names.index("fi_accuracy")
    finnish = trials["fi_accuracy"]
    trials = trials.remove_column(place)
    for language in reversed(languages):
        trials = trials.add_column(place, f"{language}_accuracy", finnish)
    pq.write_table(trials, path)
    definition = json.loads((folder / "sweep.json").read_text()) | {"question": "Does it help?"}
    definition |= {"language": languages[0], "languages": list(languages)}
    definition["targets"] = [{"task": task} for task in TARGETS]
    (folder / "sweep.json").write_text(json.dumps(definition))
    return folder


def test_nothing_says_finnish_in_the_report_of_an_estonian_sweep(tmp_path):
    other = {"fi": "et", "et": "fi"}
    folder = make_sweep(tmp_path / "s")
    in_languages(folder, ["et"], lambda row: [{**row, "language": other.get(row["language"], row["language"])}])
    results = load_results(folder)
    assert results.accuracy_name == "et_accuracy" and results.best()["et_accuracy"] > 0
    assert "et_accuracy" in results.trials.column_names and "fi_accuracy" not in results.trials.column_names
    document = report.write_report(folder, FEW)
    assert "points of Estonian dev accuracy" in document["answer"] and document["headline"] == "et_accuracy"
    names = {estimate["name"] for estimate in document["estimates"]}
    assert "difference/et_accuracy/2-all - 0" in names and not any("fi_accuracy" in name for name in names)
    assert estimate_in_words("mean/et_accuracy/2-all", document["headline"]) == "mean of 2 tasks"
    said = (folder / "report/report.html").read_text().replace(ECHARTS.read_text(), "")
    said = said.replace("Finnish, official dev as test", "")  # of published numbers
    for files in (folder / "report/tables", folder / "report/figures"):
        said += "".join(
            f.read_text() for f in files.glob("*") if f.suffix in (".md", ".svg") and "anchors" not in f.name
        )
    assert "Finnish" not in said and "fi_accuracy" not in said
    assert "Evaluated in" in said and "by_language" not in {path.stem for path in (folder / "report/tables").iterdir()}


def test_further_languages_have_means_columns_and_one_table_of_all(tmp_path):
    def change(row):
        more = row["metric"] == "headline" and row["language"] == "fi"
        return [row, {**row, "language": "et", "value": row["value"] - 5, "selection": False}] if more else [row]

    folder = in_languages(make_sweep(tmp_path / "s"), ["fi", "et"], change)
    points = collect_points(load_results(folder))
    assert all(point.scores["et_accuracy"] == pytest.approx(point.accuracy - 5) for point in points)
    assert "pivot-dev" not in selection_scores(points[0]), "a language of the sweep is no pivot"
    alone = dataclasses.replace(points[0], languages=("fi",))
    assert "pivot-dev" in selection_scores(alone)
    document = report.write_report(folder, FEW)
    found = {(e["name"], e["rung"]): e for e in document["estimates"]}
    for rung in RUNGS:
        finnish, estonian = (found[f"mean/{code}_accuracy/0", rung]["value"] for code in ("fi", "et"))
        assert estonian == pytest.approx(finnish - 5)
    gain = found["difference/et_accuracy/2-all - 0", RUNGS[-1]]
    assert gain["value"] == pytest.approx(found["difference/fi_accuracy/2-all - 0", RUNGS[-1]]["value"])
    assert gain["p_holm"] is None, "only the headline's comparisons are a family"
    tables = folder / "report/tables"
    rows = list(csv.DictReader((tables / "by_language.csv").open()))
    assert {row["target"] for row in rows} == {"mean", *TARGETS}
    assert all(float(row["et"]) == pytest.approx(float(row["fi"]) - 5) for row in rows)
    assert all(row["et_interval_low"] == "" or float(row["et_interval_low"]) < float(row["et"]) for row in rows)
    for name in ("leaderboard", "by_num_tasks"):
        assert "et_accuracy" in next(iter(csv.DictReader((tables / f"{name}.csv").open()))), name
    page = (folder / "report/report.html").read_text()
    assert "Every language of the sweep" in page and "Estonian accuracy" in page
