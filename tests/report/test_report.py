import csv
import functools
import itertools
import json
import re
from pathlib import Path

import pytest
import reported_sweep
from reported_sweep import EFFECTS, RUNGS, TARGETS, make_sweep, page

from xlray import analysis, load_results
from xlray.analysis import results
from xlray.analysis.results import SCORES, TRIALS
from xlray.report import evidence, report, warnings
from xlray.storage import parquet
from xlray.templates import ECHARTS

few_draws_and_no_pdf = reported_sweep.few_draws_and_no_pdf  # a fixture that every test gets
finished = reported_sweep.finished  # a fixture


def test_document_and_files(finished):
    folder, document = finished
    assert set(document) == {"answer", "headline", "estimates", "warnings", "files"}
    fields = {"name", "value", "low", "high", "level", "num_seeds", "num_subsets", "rung"}
    assert document["estimates"] and all(fields <= set(estimate) for estimate in document["estimates"])
    json.dumps(document, allow_nan=False)
    names = {str(Path(file).relative_to(folder / "report")) for file in document["files"]}
    tables = ("leaderboard", "by_num_tasks", "by_target", "rungs", "decisions", "cost", "differences", "correlations")
    for table in (*tables, "selection_gap", "robustness", "power", "device_hours", "anchors"):
        assert {f"tables/{table}.csv", f"tables/{table}.md", f"tables/{table}.tex"} <= names
    for figure in ("by_num_tasks", "by_target", "learning_curves", "device_hours", "orders", "robustness"):
        assert {f"figures/{figure}.svg", f"figures/{figure}.pdf"} <= names
    assert "report.html" in names and all(Path(file).stat().st_size > 0 for file in document["files"])


def test_numbers_equal_an_independent_computation(finished):
    folder, document = finished
    frame = results.load_results(folder).scores.to_pandas()
    last = frame[(frame.metric == "headline") & frame.selection & (frame.role == "measure") & (frame.rung_index == 2)]
    means = last.groupby(["num_tasks", "trial_id"]).value.mean().groupby("num_tasks").mean()
    found = {e["name"]: e for e in document["estimates"] if e["rung"] == RUNGS[2]}
    assert found["mean/fi_accuracy/8-all"]["value"] == pytest.approx(means[8])
    gain = found["difference/fi_accuracy/8-all - 0"]
    assert gain["value"] == pytest.approx(means[8] - means[0])
    trained = last[last.task != "tatoeba"].groupby("num_tasks").value.mean()
    assert found["difference/without_tatoeba/8-all - 0"]["value"] == pytest.approx(trained[8] - trained[0])
    panx = last[last.task == "panx"].groupby("num_tasks").value.mean()
    assert found["mean/panx/4-all"]["value"] == pytest.approx(panx[4])
    half = found["difference/fi_accuracy/8-all - 4-all"]["value"]
    assert half == pytest.approx(means[8] - means[4])
    assert f"These 8 tasks instead of 4: +{half:.1f} points of Finnish dev accuracy" in document["answer"]
    assert f"(from {means[4]:.1f} to {means[8]:.1f} %)" in document["answer"]
    assert f"\nInstead of none: +{gain['value']:.1f}." in document["answer"]
    assert "2 seeds \u00d7 1 subset, after 16,384 intermediate examples (the last rung)" in document["answer"]
    first = frame[(frame.metric == "headline") & frame.selection & (frame.rung_index == 0) & (frame.num_tasks == 2)]
    early = next(e for e in document["estimates"] if e["name"] == "mean/fi_accuracy/2-all" and e["rung"] == RUNGS[0])
    assert early["value"] == pytest.approx(first.value.mean()) and early["num_subsets"] == 4


def test_tables_hold_the_numbers(finished):
    folder, document = finished
    rows = list(csv.DictReader((folder / "report/tables/leaderboard.csv").open()))
    best = results.load_results(folder).best()
    assert len(rows) == 16 and rows[0]["trial_id"] == best["trial_id"]
    assert float(rows[0]["fi_accuracy"]) == pytest.approx(best["fi_accuracy"])
    assert float(rows[0]["tatoeba"]) == pytest.approx(best["scores"]["tatoeba"])
    assert [row["status"] for row in rows[-2:]] == ["stopped", "stopped"]
    cells = list(csv.DictReader((folder / "report/tables/by_num_tasks.csv").open()))
    row = next(r for r in cells if r["cell"] == "8-all" and r["rung"] == str(RUNGS[2]))
    gain = next(
        e for e in document["estimates"] if e["name"] == "difference/fi_accuracy/8-all - 0" and e["rung"] == RUNGS[2]
    )
    assert float(row["gain"]) == pytest.approx(gain["value"]) and row["gain_interval_low"] == ""
    targets = list(csv.DictReader((folder / "report/tables/by_target.csv").open()))
    row = next(r for r in targets if r["target"] == "udpos" and r["cell"] == "0")
    assert float(row["majority"]) == pytest.approx(37.5) and float(row["english"]) == pytest.approx(
        float(row["dev"]) + 12
    )
    stops = [r for r in csv.DictReader((folder / "report/tables/decisions.csv").open()) if r["decision"] == "stop"]
    assert len(stops) == 2 and {r["rung"] for r in stops} == {str(RUNGS[1])}
    (total,) = [r for r in csv.DictReader((folder / "report/tables/cost.csv").open()) if r["kind"] == "all"]
    assert (total["phases_computed"], total["phases_shared"], total["steps_repeated"]) == ("46", "2", "230")
    assert total["steps_computed"] == str(14 * 105 + 16 * 205 + 16 * 305) and total["steps_shared"] == "200"
    assert float(total["hours_computed"]) == 11.5
    latex = (folder / "report/tables/leaderboard.tex").read_text()
    assert r"\toprule" in latex and r"fi\_accuracy (\%)" in latex and latex.count(r"\\") == 17


def test_what_cells_differ_in_beside_the_number_of_tasks_stands_in_their_table_and_is_reported(finished):
    folder, document = finished
    rows = csv.DictReader((folder / "report/tables/by_num_tasks.csv").open())
    last = {row["cell"]: row for row in rows if row["rung"] == str(RUNGS[2])}
    columns = ("effective_tasks", "passes", "tokens", "translated")
    found = {cell: [float(row[name]) if row[name] else None for name in columns] for cell, row in last.items()}
    tokens = RUNGS[2] * 100 / 1e6
    assert found["0"] == [None] * 4
    here = [point for point in evidence.collect_evidence(folder).here if point.cell == "2-all"]
    share = sum((p.weight or 1) * ("random" in p.tasks) for p in here) / sum(p.weight or 1 for p in here)
    assert 0 < share < 0.5 and found["2-all"] == pytest.approx([1, RUNGS[2] / 4_096, tokens, 25 * share])
    assert found["8-all"] == pytest.approx([4, RUNGS[2] / 16_384, tokens, 25])
    (said,) = [text for text in document["warnings"] if text.startswith("Cells differ in more than")]
    assert "effective number" not in said  # half as many as tasks in every cell
    assert "passes over the data 1.00 (8 tasks) to 4.00 (2 tasks)" in said
    assert f"% of examples translated {25 * share:.1f} (2 tasks) to 25.0 (8 tasks)" in said and "tokens" not in said


def test_subsets_whose_tasks_are_made_of_the_same_examples_are_named(tmp_path, monkeypatch):
    subsets = ((), "measure"), (("xnli_ar", "nli_tr"), "measure"), (("squad", "ccg"), "measure")
    monkeypatch.setattr(reported_sweep, "EFFECTS", dict.fromkeys(("xnli_ar", "nli_tr", "squad", "ccg"), 1.0))
    found = warnings.find_warnings(evidence.collect_evidence(make_sweep(tmp_path / "s", subsets=subsets)))
    (said,) = [text for text in found if "made of the same examples" in text]
    assert said.startswith(
        "In 1 of 2 subsets tasks are made of the same examples, such as nli_tr and xnli_ar among 2 tasks"
    )


def test_published_numbers_name_their_paper_and_whether_they_were_checked_in_it(finished):
    rows = list(csv.DictReader((finished[0] / "report/tables/anchors.csv").open()))
    assert all(re.search(r"arXiv \d{4}\.\d{5}", row["source_of"]) for row in rows)
    assert len({row["what"] + row["status_of"] for row in rows}) == len(rows)
    checked = {row["published"]: row["what"] for row in rows if row["checked"] != "no"}
    assert (
        checked.keys() == {"+5.4", "above 15"} and "best English intermediate model of each target" in checked["+5.4"]
    )


def test_every_table_counts_the_trials_behind_it(finished):
    folder, _ = finished
    said = "Of 16 trials: 14 finished, 2 stopped early, 0 failed; 0 degenerate (0 diverged, without scores)."
    files = [*(folder / "report/tables").glob("*.md"), *(folder / "report/tables").glob("*.tex")]
    assert len(files) > 20 and all(said in file.read_text() for file in files)


def test_differences_and_robustness_are_the_estimates(finished):
    folder, document = finished
    found = {e["name"]: e for e in document["estimates"] if e["rung"] == RUNGS[2]}
    rows = list(csv.DictReader((folder / "report/tables/differences.csv").open()))
    outcomes = {"fi_accuracy", "without_tatoeba", *TARGETS}
    assert {row["outcome"] for row in rows} == outcomes and len(rows) == 6 * len(outcomes)
    for row in rows:
        e = found[f"difference/{row['outcome']}/{row['more']} - {row['fewer']}"]
        assert float(row["difference"]) == pytest.approx(e["value"])
        unknown = ("interval_low", "interval_high", "p_value", "p_holm", "standardised")  # from two seeds
        assert {row[name] for name in unknown} == {""} and e["low"] is None
    (pair,) = [
        r for r in csv.DictReader((folder / "report/tables/robustness.csv").open()) if r["pair"] == "8-all - 4-all"
    ]
    apart = found["difference/without_tatoeba/8-all - 4-all"]
    assert float(pair["without_tatoeba"]) == pytest.approx(apart["value"])
    assert "No trial behind them collapsed" in (folder / "report/tables/robustness.md").read_text()


def test_a_design_too_small_for_an_interval_says_so_before_any_number(finished):
    answer = finished[1]["answer"]
    assert answer.startswith("This sweep is too small to answer: two seeds") and "at least 3 are needed." in answer
    assert "says nothing about others" in answer and "CI" not in answer and "[" not in answer


def test_the_known_helpful_tasks_rank_above_the_harmful_one(finished):
    _, document = finished
    effect = {
        e["name"].rsplit("/", 1)[1]: e["value"]
        for e in document["estimates"]
        if e["name"].startswith("ranking/") and e["rung"] == RUNGS[0]
    }
    assert min(effect["mnli"], effect["squad"]) > 0 > effect["random"] == min(effect.values())


def test_with_as_many_subsets_as_tasks_the_tasks_are_ranked_and_with_fewer_they_are_not(finished, tmp_path):
    few = tuple(EFFECTS)[:4]
    subsets = tuple((tasks, "measure") for size in (0, 1, 2) for tasks in itertools.combinations(few, size))
    folder = make_sweep(tmp_path / "s", seeds=(0, 1, 2), subsets=subsets)
    document = report.write_report(folder, analysis.Sampling(num_draws=50))
    rows = list(csv.DictReader((folder / "report/tables/contributions.csv").open()))
    values = {row["task"]: float(row["ranking"]) for row in rows}
    assert set(values) == set(few) and min(values["mnli"], values["squad"]) > values["copa"] > values["random"]
    ranked = [e for e in document["estimates"] if e["name"].startswith(("ranking/", "group/"))]
    assert ranked and all(e["low"] is None for e in ranked)
    assert all((folder / f"report/figures/{name}.svg").is_file() for name in ("contributions", "groups", "transfer"))
    assert "as many different subsets as tasks (8), found" in page(finished[0])


def test_page_is_self_contained_and_every_figure_has_a_text_alternative(finished):
    html = page(finished[0])
    assert "http" not in html and len(html) + len(ECHARTS.read_text()) < 5_000_000
    assert '<link rel="stylesheet' not in html and "<script src" not in html and "<img" not in html
    images = re.findall(
        r'<svg [^>]*role="img" aria-labelledby="([^"]+)"[^>]*><title id="([^"]+)">([^<]{40,})</title>', html
    )
    assert len(images) == html.count("<svg") == 6 and all(label == id_ for label, id_, _ in images)
    assert any(re.search(r"8 tasks: \d\d\.\d", text) for _, _, text in images)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', html)
    assert used and set(used) <= set(ids)
    svg = (finished[0] / "report/figures/by_num_tasks.svg").read_text()
    assert "<text" in svg and "Intermediate tasks" in svg


def test_the_same_data_give_the_same_bytes(finished, monkeypatch):
    folder, document = finished
    monkeypatch.undo()
    monkeypatch.setattr(report, "Sampling", functools.partial(analysis.Sampling, num_draws=200))
    before = {file: Path(file).read_bytes() for file in document["files"]}
    assert report.write_report(folder) == document
    assert {file: Path(file).read_bytes() for file in document["files"]} == before


def test_warnings_of_a_finished_sweep(finished):
    text = " ".join(finished[1]["warnings"])
    assert "Oracle selection" in text and "2 were stopped early, 0 failed" in text and "2 seeds" in text
    assert "Unfinished" not in text and "One seed" not in text and "Mixed" not in text


def test_points_take_the_rung_of_their_index_and_chains_as_clusters(tmp_path):
    folder = make_sweep(tmp_path / "s", seeds=(0,))
    loaded = results.load_results(folder)
    scores = [{**row, "rung": 0 if row["num_tasks"] == 0 else row["rung"]} for row in loaded.scores.to_pylist()]
    trials = [{**row, "chain": 3 if row["num_tasks"] == 2 else None} for row in loaded.trials.to_pylist()]
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(scores, SCORES))
    parquet.write_table(folder / "results/trials.parquet", parquet.to_table(trials, TRIALS))
    points = analysis.collect_points(results.load_results(folder))
    assert {(p.rung_index, p.rung) for p in points} == set(enumerate(RUNGS))
    assert {p.cluster for p in points if p.num_tasks == 2} == {"chain 3 of all"}
    assert all(p.scores["udpos@en"] == pytest.approx(p.scores["udpos"] + 12) for p in points)


def test_tidy_tables_for_notebooks(finished):
    loaded = load_results(finished[0])
    points = loaded.points().to_pandas()
    assert len(points) == 46 and list(points.columns[:3]) == ["trial_id", "role", "cell"]
    assert points.fi_accuracy.to_numpy() == pytest.approx(points[list(TARGETS)].mean(axis=1).to_numpy())
    estimates = loaded.estimates().to_pandas()
    assert {"mean/fi_accuracy/8-all", "difference/fi_accuracy/8-all - 0"} <= set(estimates.name)
