"""What reports say of designs: five sizes, chains, two pools, a two by two."""

import csv
import itertools
from pathlib import Path

import pytest
import reported_sweep
from reported_sweep import EFFECTS, SUBSETS, TARGETS, make_sweep, page
from synthetic import make_study

from xlray import analysis, load_results
from xlray.analysis import FI_ACCURACY, results
from xlray.analysis.results import PHASES, SCORES, TRIALS
from xlray.report import cost_tables, evidence, report, score_figures, task_figures, task_tables
from xlray.report.evidence import Findings
from xlray.storage import parquet

few_draws_and_no_pdf = reported_sweep.few_draws_and_no_pdf  # a fixture that every test gets


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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = make_study(tmp_path_factory.mktemp("study") / "s", num_chains=3, seeds=3, num_explore=0, rungs=(1_024,))
    return folder, report.write_report(folder, analysis.Sampling(num_draws=30))


def test_labels_of_sizes_do_not_touch():
    assert score_figures.few([0, 1, 9, 20], 6) == [0, 9, 20]
    assert score_figures.few([0, 1, 9, 20]) == [0, 1, 9, 20]
    assert score_figures.few([0, 9, 19, 20], 6) == [0, 9, 20]
    assert score_figures.few(list(range(41)), 6) == [0, 8, 16, 24, 32, 40]
    assert score_figures.few([1_024, 2_048, 16_384], 4, logarithmic=True) == [1_024, 2_048, 16_384]
    assert score_figures.few([5]) == [5]


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
