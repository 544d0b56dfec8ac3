import csv
import functools
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import reported_sweep
from reported_sweep import EFFECTS, RUNGS, SUBSETS, TARGETS, make_sweep
from synthetic import make_study

from xlray import analysis, load_results
from xlray.analysis import FI_ACCURACY, results
from xlray.analysis.results import PHASES, SCORES, TRIALS
from xlray.errors import InputError
from xlray.report import cost_tables, evidence, report, score_tables, task_figures, task_tables, warnings
from xlray.report.evidence import Findings
from xlray.storage import parquet
from xlray.storage.sweep_folder import open_sweep
from xlray.templates import ECHARTS

finished = reported_sweep.finished  # a fixture


@pytest.fixture(autouse=True)
def few_draws_and_no_pdf(monkeypatch):
    """Intervals are tested with the estimators and PDFs with the fixtures; here they only take time."""
    monkeypatch.setattr(report, "Sampling", functools.partial(analysis.Sampling, num_draws=200))
    canvas = "matplotlib.backends.backend_pdf.FigureCanvasPdf"
    monkeypatch.setattr(f"{canvas}.print_figure", lambda self, file, **_: file.write(b"%PDF"))


def page(folder):
    """The page without ECharts, which is not ours."""
    return (folder / "report/report.html").read_text().replace(ECHARTS.read_text(), "")


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


def test_one_seed_is_too_small_to_answer_and_has_no_interval(tmp_path):
    document = report.write_report(make_sweep(tmp_path / "s", seeds=(0,)))
    gain = next(e for e in document["estimates"] if e["name"] == "difference/fi_accuracy/8-all - 0")
    assert gain["low"] is None and gain["high"] is None and gain["num_seeds"] == 1
    assert document["answer"].startswith("This sweep is too small to answer: one seed, at least 3 are needed.")
    assert re.search(r"\nInstead of none: \+\d\.\d\.", document["answer"])
    assert any(warning.startswith("One seed:") for warning in document["warnings"])


def test_a_sweep_that_is_too_small_has_the_seeds_of_its_largest_comparison(tmp_path):
    folder = make_sweep(tmp_path / "s")
    loaded = results.load_results(folder)
    for name, schema in (
        ("scores", SCORES),
        ("trials", TRIALS),
    ):  # 8 tasks and 4 have one seed in common, 8 and none two
        rows = [r for r in getattr(loaded, name).to_pylist() if (r["cell"], r["seed"]) != ("4-all", 1)]
        parquet.write_table(folder / f"results/{name}.parquet", parquet.to_table(rows, schema))
    answer = report.write_report(folder)["answer"]
    assert answer.startswith("This sweep is too small to answer: two seeds are too few, at least 3 are needed.")


def test_unfinished_sweep_says_so_first_and_counts_failures(tmp_path):
    statuses = {(1, 4): "running", (1, 5): "created", (0, 7): "failed"}
    folder = make_sweep(tmp_path / "s", statuses=statuses)
    definition = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(
        json.dumps({**definition, "seeds": [0, 1, 2], "intermediate": {"rungs": [1, 2, 3, 4]}})
    )
    document = report.write_report(folder)
    assert document["warnings"][0].startswith("Unfinished sweep: 14 of 24 trials have ended, 2 are running")
    assert any("1 failed" in warning for warning in document["warnings"])
    assert "the last rung so far" in document["answer"]
    assert page(folder).index("Unfinished sweep") < page(folder).index("<main>")


@pytest.mark.parametrize("stage", ["defined", "journal", "first scores", "one cell"])
def test_early_stages_are_reported_without_a_wrong_number(tmp_path, stage):
    folder = tmp_path / "early"
    if stage == "one cell":
        make_sweep(folder, seeds=(0,), subsets=SUBSETS[:1], rungs=1)
    else:
        folder.mkdir()
        (folder / "sweep.json").write_text(
            '{"name": "early", "seeds": [0, 1], "measure": [{"tasks": []}], "explore": []}'
        )
    if stage in ("journal", "first scores"):
        open_sweep(folder).journal.append({"event": "created", "trial_id": "t", "role": "measure", "cell": "0"})
    if stage == "first scores":
        row = {
            "trial_id": "t",
            "cell": "0",
            "num_tasks": 0,
            "tasks": [],
            "seed": 0,
            "rung": 8,
            "rung_index": 0,
            "num_examples": 8,
            "task": "udpos",
            "language": "fi",
            "split": "dev",
            "metric": "headline",
            "value": float("nan"),
            "selection": True,
            "role": "measure",
            "source": "all",
        }
        parquet.write_table(folder / "results/scores.parquet", parquet.to_table([row], SCORES))
    document = report.write_report(folder)
    assert any(warning.startswith("Unfinished sweep") for warning in document["warnings"])
    assert "is not drawn. Missing:" in page(folder) and "nan" not in page(folder).lower().replace("isnan", "")
    if stage == "one cell":
        assert "no second cell" in document["answer"] and len(document["estimates"]) > 0
    else:
        assert "no answer yet" in document["answer"] and document["estimates"] == []


def test_a_later_report_leaves_no_figure_behind_that_it_refuses(tmp_path):
    folder = make_sweep(tmp_path / "s")
    report.write_report(folder)
    for name, schema in (("scores", SCORES), ("phases", PHASES)):
        parquet.write_table(folder / f"results/{name}.parquet", schema.empty_table())
    document = report.write_report(folder)
    assert not list((folder / "report/figures").iterdir())
    assert sorted(str(p) for p in (folder / "report").rglob("*.*")) == document["files"]


def test_survivors_only_are_not_estimated_past_the_first_rung(tmp_path):
    explore = tuple((tasks, "explore") for tasks, _ in SUBSETS)
    folder = make_sweep(tmp_path / "s", subsets=explore)
    for file in (folder / "journal").glob("*.jsonl"):  # no chance of survival on record
        file.write_text(file.read_text().replace('"probability": 0.2', '"probability": null'))
    document = report.write_report(folder)
    assert any(warning.startswith("Survivors only") for warning in document["warnings"])
    assert {e["rung"] for e in document["estimates"]} == {RUNGS[0]}
    assert "not the last rung" in document["answer"]


@pytest.mark.parametrize(
    ("column", "one", "other", "warning"),
    [
        ("execution", '[{"num_workers": 2}]', '[{"num_workers": 8}]', "Mixed execution settings .*num_workers: 2, 8"),
        ("versions", '[{"torch": "2.13"}]', '[{"torch": "2.14"}]', "Mixed package versions .*torch: 2.13, 2.14"),
        ("method_versions", '{"trunk": 1}', '{"trunk": 2}', "Mixed method versions .*trunk: 1, 2"),
    ],
)
def test_cells_that_were_computed_differently_are_warned_about(tmp_path, column, one, other, warning):
    folder = make_sweep(tmp_path / "s", seeds=(0,), subsets=SUBSETS[:2], rungs=1)
    rows = results.load_results(folder).trials.to_pylist()
    for place, row in enumerate(rows):
        row[column] = other if place == 1 else one
    parquet.write_table(folder / "results/trials.parquet", parquet.to_table(rows, TRIALS))
    assert any(re.match(warning, text) for text in warnings.find_warnings(evidence.collect_evidence(folder)))


def test_hostile_names_are_escaped(tmp_path):
    folder = make_sweep(tmp_path / "s", seeds=(0,))
    definition = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**definition, "question": "<script>alert('x')</script> 5 & 6?"}))
    report.write_report(folder)
    assert "<script>alert" not in page(folder) and "&lt;script&gt;alert" in page(folder)


def test_two_pools_have_two_sentences(tmp_path):
    folder = make_sweep(tmp_path / "s")
    loaded = results.load_results(folder)
    for name, schema in (("scores", SCORES), ("trials", TRIALS)):
        rows = getattr(loaded, name).to_pylist()
        for row in rows:
            if row["num_tasks"] == 4:
                row["source"] = "english" if "mnli" in row["tasks"] else "other"
                row["cell"] = f"4-{row['source']}"
        rows = [row for row in rows if row["num_tasks"] in (0, 4)]
        parquet.write_table(folder / f"results/{name}.parquet", parquet.to_table(rows, schema))
    document = report.write_report(folder)
    assert (
        "4 tasks from english instead of none" in document["answer"]
        and "4 tasks from other instead" in document["answer"]
    )
    assert any(e["name"] == "difference/fi_accuracy/4-other - 4-english" for e in document["estimates"])
    assert "4 tasks from other instead of 4 tasks from english: " in document["answer"]


def test_what_is_no_sweep_or_damaged_is_one_line(tmp_path):
    with pytest.raises(InputError, match="not a sweep's folder"):
        report.write_report(tmp_path)
    folder = make_sweep(tmp_path / "s", seeds=(0,))
    (folder / "sweep.json").write_text("{")
    with pytest.raises(InputError, match=r"sweep\.json must hold a whole JSON object") as caught:
        report.write_report(folder)
    assert "\n" not in str(caught.value)
    (folder / "sweep.json").unlink()
    report.write_report(folder)
    (folder / "results/scores.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match="not a readable Parquet file"):
        report.write_report(folder)


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


def test_the_journal_tells_the_latest_status(tmp_path):
    folder = make_sweep(tmp_path / "s", seeds=(0,))
    trials = results.load_results(folder).trials["trial_id"].to_pylist()
    open_sweep(folder).journal.append({"event": "failed", "trial_id": trials[0], "error": "x"})
    open_sweep(folder).journal.append({"event": "failed", "trial_id": trials[1], "error": "x"})
    open_sweep(folder).journal.append({"event": "created", "trial_id": trials[1]})
    open_sweep(folder).journal.append({"event": "paused", "trial_id": trials[3]})
    statuses = evidence.collect_evidence(folder).statuses
    assert [statuses[trial] for trial in trials[:4]] == ["failed", "created", "finished", "paused"]


def test_the_report_says_which_definition_was_run_from_when_on_and_what_was_known_by_then():
    opened = {"event": "opened", "definition": "a1", "commit": "c0ffee", "time": 0.0}
    score, older = {"event": "rung", "time": 1.0}, {"event": "opened", "time": 0.0}
    assert (
        report.openings([opened, score, opened]) == "a1 from 1970-01-01 00:00 UTC on, before any score, commit c0ffee"
    )
    grown = report.openings([opened, score, score, {**opened, "definition": "b2", "commit": None, "time": 60.0}])
    assert grown.endswith("; then b2 from 1970-01-01 00:01 UTC on, after 2 rungs of trials")
    assert report.openings([older, score, opened]).startswith("without a hash from 1970-01-01 00:00 UTC on")
    assert report.openings([]) == ""


def test_tidy_tables_for_notebooks(finished):
    loaded = load_results(finished[0])
    points = loaded.points().to_pandas()
    assert len(points) == 46 and list(points.columns[:3]) == ["trial_id", "role", "cell"]
    assert points.fi_accuracy.to_numpy() == pytest.approx(points[list(TARGETS)].mean(axis=1).to_numpy())
    estimates = loaded.estimates().to_pandas()
    assert {"mean/fi_accuracy/8-all", "difference/fi_accuracy/8-all - 0"} <= set(estimates.name)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("study") / "s", num_chains=3, seeds=3, num_explore=0, rungs=(1_024,))
    return folder, report.write_report(folder, analysis.Sampling(num_draws=30))


def test_five_sizes_give_curves_for_every_target_and_pool(study):
    folder, document = study
    rows = list(csv.DictReader((folder / "report/tables/curves.csv").open()))
    assert {(row["outcome"], row["source"]) for row in rows} == set(
        itertools.product(("fi_accuracy", "without_tatoeba", *TARGETS), ("en", "non-en"))
    )
    errors = [float(row["held_out_error"]) for row in rows]
    best = [place for place, row in enumerate(rows) if row["best"]]
    assert best == list(range(0, len(rows), 3)) and all(errors[p] == min(errors[p : p + 3]) for p in best)
    svg = (folder / "report/figures/task_curves.svg").read_text()
    assert "extrapolation" in svg and "without Tatoeba" in svg
    assert "Missing: at least 5 sizes, found 1" in page(folder)
    assert "too small to answer" not in document["answer"]


def test_intervals_and_p_values_of_differences_are_the_estimates(study):
    folder, document = study
    found = {e["name"]: e for e in document["estimates"]}
    rows = list(csv.DictReader((folder / "report/tables/differences.csv").open()))
    assert rows
    for row in rows:
        e = found[f"difference/{row['outcome']}/{row['more']} - {row['fewer']}"]
        assert (float(row["interval_low"]), float(row["interval_high"])) == pytest.approx((e["low"], e["high"]))
        assert float(row["p_value"]) == pytest.approx(e["p_value"])
        assert (row["p_holm"] != "") == (row["outcome"] != "without_tatoeba")
    num_pairs = len({(row["more"], row["fewer"]) for row in rows})
    note = (folder / "report/tables/differences.md").read_text()
    assert f"for the {num_pairs} comparisons of fi_accuracy, and for the {4 * num_pairs} of the targets" in note
    assert f"Of {num_pairs} comparisons of cells" in document["answer"]


def test_blocks_of_a_chain_add_up_to_the_gain_of_the_whole(study):
    folder, _ = study
    rows = list(csv.DictReader((folder / "report/tables/blocks.csv").open()))
    frame = load_results(folder).points().to_pandas()
    trials = results.load_results(folder).trials.to_pandas().set_index("trial_id")
    frame["chain"] = trials.chain.reindex(frame.trial_id).to_numpy()
    none = frame[frame.num_tasks == 0].set_index("seed").fi_accuracy
    for chain in (0, 1, 2):
        own = frame[(frame.source == "en") & (frame.chain == chain)].set_index(["num_tasks", "seed"]).fi_accuracy
        blocks = [row for row in rows if row["chain"] == f"chain {chain} of en"]
        assert sum(int(row["num_tasks"]) for row in blocks) == 20 and {row["num_seeds"] for row in blocks} == {"3"}
        assert sum(float(row["gain"]) for row in blocks) == pytest.approx((own[20] - none).mean())


def test_the_design_that_was_run_says_what_it_can_find(study):
    rows = list(csv.DictReader((study[0] / "report/tables/power.csv").open()))
    assert len(rows) == 6 and {(row["num_subsets"], row["num_seeds"]) for row in rows} == {("3", "3")}
    assert all(0 < float(row["more_seeds"]) < float(row["effect"]) > float(row["more_subsets"]) for row in rows)


def test_chains_in_steps_of_one_stand_beside_the_regression():
    def estimate(name, value):
        return analysis.Estimate(name, value, value - 1, value + 1, 0.95, 5, 6, 1_024)

    names = ("mnli", "squad_it")
    ridge = analysis.Contributions(tuple(estimate(f"ranking/fi_accuracy/{n}", 1.0) for n in names))
    chains = analysis.ChainContributions("shapley", tuple(estimate(f"shapley/fi_accuracy/{n}", 2.5) for n in names))
    found = Findings({"fi_accuracy": ridge}, "fi_accuracy", (chains,), analysis.Interactions(()), {}, (), (), ())
    table = task_tables.contributions(found, 1_024)
    row = dict(zip([key for key, _ in table.columns], table.rows[1], strict=True))
    assert row["task"] == "squad_it" and (row["ranking"].value, row["chains"].value) == (1.0, 2.5)
    assert (row["language"], row["family"], row["kind"]) == ("it", "Romance", "span_qa")
    assert "Shapley values from complete chains" in table.note
    assert b"chains" in task_figures.contribution_forest(ridge, (chains,), 1_024).svg
    assert task_tables.blocks((chains,), 1_024).missing


def test_one_trunk_for_all_sizes_saves_what_each_size_would_repeat():
    common = {"status": "computed", "num_steps": 10, "trial_id": "t"}
    hours = (1.0, 2.0, 4.0)
    rows = [{**common, "phase": f"trunk-{h}", "kind": "trunk", "device_hours": h} for h in hours]
    rows.append({**common, "phase": "target", "kind": "target", "device_hours": 8.0})
    tables = (SCORES.empty_table(), TRIALS.empty_table(), parquet.to_table(rows, PHASES))
    costs = cost_tables.device_hours(results.Results("s", Path(), *tables), {"t": "finished"})
    assert costs.trunk == 1.0 + (1.0 + 2.0) and costs.spent == 15.0


def test_a_rung_without_a_target_of_the_definition_is_not_complete(tmp_path):
    folder = make_sweep(tmp_path / "s", seeds=(0,))
    rows = [row for row in results.load_results(folder).scores.to_pylist() if row["task"] != "tydiqa"]
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(rows, SCORES))
    assert len(evidence.collect_evidence(folder).points) > 0  # the definition does not name the targets
    definition = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**definition, "targets": [{"task": task} for task in TARGETS]}))
    document = report.write_report(folder)
    assert "no answer yet" in document["answer"] and document["estimates"] == []
    assert any("nothing can be estimated" in warning for warning in document["warnings"])


def test_a_trunk_that_diverged_counts_as_the_majority_answer_from_there_on(tmp_path):
    """Eight tasks, three seeds; one trial is lost at the second rung, and the mean falls by its share."""
    folder = make_sweep(tmp_path / "s", seeds=(0, 1, 2))
    loaded = results.load_results(folder)
    (lost,) = [r["trial_id"] for r in loaded.trials.to_pylist() if (r["num_tasks"], r["seed"]) == (8, 1)]
    rows = [r for r in loaded.scores.to_pylist() if r["trial_id"] != lost or r["rung_index"] == 0]
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(rows, SCORES))
    for file in (folder / "journal").glob("*.jsonl"):
        kept = [json.loads(line) for line in file.read_text().splitlines()]
        kept = [e for e in kept if (e.get("trial_id"), e["event"]) != (lost, "rung") or e["rung_index"] == 0]
        file.write_text("".join(json.dumps(e) + "\n" for e in kept))
    entry = {"event": "rung", "trial_id": lost, "cell": "8-all", "role": "measure", "rung": RUNGS[1], "rung_index": 1}
    entry |= {"score": None, "scores": {}, "decision": "stop", "reason": "diverged", "probability": 0.0}
    open_sweep(folder).journal.append(entry)
    found = evidence.collect_evidence(folder)
    for rung in (1, 2):
        inside = {p.seed: p for p in found.points if (p.cell, p.rung_index) == ("8-all", rung)}
        assert len(inside) == 3 and inside[1].degenerate
        assert {t: inside[1].scores[t] for t in TARGETS} == pytest.approx({t: v / 2 for t, v in TARGETS.items()})
    means = {(e.name, e.rung): e.value for e in found.estimates}
    expected = np.mean([p.scores["fi_accuracy"] for p in found.points if (p.cell, p.rung_index) == ("8-all", 2)])
    assert means["mean/fi_accuracy/8-all", RUNGS[2]] == pytest.approx(expected)
    said = " ".join(warnings.find_warnings(found))
    assert "diverged ones count as the majority answer" in said
    # On English dev as well, where the majority answer is known.
    assert inside[1].scores["panx@en"] == pytest.approx(TARGETS["panx"] / 3) and "tatoeba@en" not in inside[1].scores
    assert "English means" not in score_tables.by_target(found.tuned_here, found.estimates, found.majority).note
    rows = [r for r in rows if (r["metric"], r["language"]) != ("majority", "en")]
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(rows, SCORES))
    found = evidence.collect_evidence(folder)
    note = score_tables.by_target(found.tuned_here, found.estimates, found.majority).note
    assert "English means leave out 1 diverged: what the majority answer scores in English is not known." in note


def test_a_two_by_two_is_answered_first_and_what_compares_single_cells_is_called_exploratory(tmp_path):
    pools = {"en": ("mnli", "squad", "paws"), "non-en": ("copa", "random", "swag")}
    lists = [tasks for pool in pools.values() for size in (1, 2) for tasks in itertools.combinations(pool, size)]
    design = [((), "measure"), (("qqp",), "measure"), *((tasks, "measure") for tasks in lists)]
    folder = make_sweep(tmp_path / "s", seeds=(0, 1, 2), subsets=design, rungs=1)
    loaded = results.load_results(folder)
    for name, schema in (("scores", SCORES), ("trials", TRIALS)):
        rows = getattr(loaded, name).to_pylist()
        for row in (row for row in rows if row["tasks"]):
            row["source"] = next((s for s, pool in pools.items() if row["tasks"][0] in pool), "control")
            row["cell"] = f"{row['num_tasks']}-{row['source']}"
        parquet.write_table(folder / f"results/{name}.parquet", parquet.to_table(rows, schema))
    document = report.write_report(folder)
    found = {e["name"]: e for e in document["estimates"]}
    mean = {c: found[f"mean/fi_accuracy/{c}"]["value"] for c in ("1-en", "2-en", "1-non-en", "2-non-en")}
    expected = {
        "number 2 - 1": (mean["2-en"] - mean["1-en"] + mean["2-non-en"] - mean["1-non-en"]) / 2,
        "source non-en - en": (mean["2-non-en"] - mean["2-en"] + mean["1-non-en"] - mean["1-en"]) / 2,
        "interaction 2 - 1 x non-en - en": mean["2-non-en"] - mean["1-non-en"] - mean["2-en"] + mean["1-en"],
    }
    rows = list(csv.DictReader((folder / "report/tables/two_by_two.csv").open()))
    assert {r["effect"]: float(r["difference"]) for r in rows if r["outcome"] == FI_ACCURACY} == pytest.approx(expected)
    assert {row["outcome"] for row in rows} == {FI_ACCURACY, "without_tatoeba", *TARGETS} and len(rows) == 18
    gain, answer = found["factor/fi_accuracy/number 2 - 1"], document["answer"]
    planned = f"2 tasks instead of 1, mean of both sources: {gain['value']:+.1f} points of Finnish dev accuracy"
    assert answer.startswith(f"Planned, as a two by two: {planned}, rough 95 % CI [")
    assert answer.index("Interaction") < answer.index("Exploratory") < answer.index("2 English tasks instead of 1")
    assert answer.index("without Tatoeba: ") < answer.index("Exploratory")
    assert "2 English tasks instead of qqp alone: " in answer and "The same" not in answer
    assert page(folder).index("Number of tasks by source") < page(folder).index("Differences between cells")
    assert "planned was the two by two" in (folder / "report/tables/differences.md").read_text()


def test_shrunken_values_are_called_a_ranking_wherever_they_are_drawn(tmp_path):
    """Ridge values order the tasks: no figure of them says effect or contribution."""
    subsets = [*SUBSETS[:6], *(((task,), "measure") for task in EFFECTS)]
    folder = make_sweep(tmp_path / "s", subsets=subsets, rungs=1)
    found = evidence.collect_findings(evidence.collect_evidence(folder), analysis.Sampling(num_draws=50))
    ridge = found.effects[FI_ACCURACY]
    drawn = [
        task_figures.contribution_forest(ridge, (), 64),
        task_figures.group_forest(found.groups, "", 64),
        task_figures.transfer_matrix(found.effects, 64),
    ]
    for drawing in drawn:
        said = " ".join([drawing.title, drawing.caption, drawing.alt, drawing.svg.decode()])
        assert drawing.svg and "anking" in drawing.alt and "ffect" not in said and "ontribution" not in said, (
            drawing.name
        )
