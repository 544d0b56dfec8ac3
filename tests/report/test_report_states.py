"""Reports of sweeps that are small, unfinished, damaged or mixed."""

import json
import re

import numpy as np
import pytest
import reported_sweep
from reported_sweep import RUNGS, SUBSETS, TARGETS, make_sweep, page

from xlray.analysis import results
from xlray.analysis.results import PHASES, SCORES, TRIALS
from xlray.errors import InputError
from xlray.report import evidence, report, score_tables, warnings
from xlray.storage import parquet
from xlray.storage.sweep_folder import open_sweep

few_draws_and_no_pdf = reported_sweep.few_draws_and_no_pdf  # a fixture that every test gets


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


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"value": 101.0}, r"scores of trial \w+: `0 <= headline <= 100` must hold, but got 101\.0 for udpos"),
        ({"value": -0.5}, r"`0 <= headline <= 100` must hold, but got -0\.5"),
        ({"task": "panx"}, r"`one selected headline per target and rung` must hold, but got 2 for panx"),
    ],
)
def test_headlines_that_cannot_be_are_refused_and_in_no_mean(tmp_path, changed, message):
    folder = make_sweep(tmp_path / "s", seeds=(0,), subsets=SUBSETS[:2], rungs=1)
    rows = results.load_results(folder).scores.to_pylist()
    place = next(
        n for n, r in enumerate(rows) if (r["task"], r["metric"], r["selection"]) == ("udpos", "headline", True)
    )
    rows[place] |= changed if "value" in changed else {**changed, "language": "et"}
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(rows, SCORES))
    with pytest.raises(InputError, match=message) as caught:
        report.write_report(folder)
    assert "\n" not in str(caught.value)


def test_a_cell_of_two_versions_of_a_method_is_refused(tmp_path):
    folder = make_sweep(tmp_path / "s", seeds=(0, 1), subsets=SUBSETS[:2], rungs=1)
    rows = results.load_results(folder).trials.to_pylist()
    for row in rows:
        row["method_versions"] = json.dumps({"trunk": 1 + (row["seed"] == 1)})
    parquet.write_table(folder / "results/trials.parquet", parquet.to_table(rows, TRIALS))
    with pytest.raises(
        InputError, match="`one version of the method` must hold, but got trunk phases made with 1 and with 2"
    ):
        report.write_report(folder)


def test_hostile_names_are_escaped(tmp_path):
    folder = make_sweep(tmp_path / "s", seeds=(0,))
    definition = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**definition, "question": "<script>alert('x')</script> 5 & 6?"}))
    report.write_report(folder)
    assert "<script>alert" not in page(folder) and "&lt;script&gt;alert" in page(folder)


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
