"""What the answer and the notes beside it count, compare and leave out."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from reported_sweep import EFFECTS, make_sweep, rewrite, with_axis

from xlray.analysis import Sampling, detectable
from xlray.report import curve_tables, report, warnings
from xlray.report.answer import write_answer
from xlray.report.evidence import collect_evidence, power_of
from xlray.report.tables import number

FEW = Sampling(num_draws=50)
PAIRS = [(("mnli", "squad"), "measure"), (("copa", "random"), "measure"), (("paws", "qqp"), "measure")]
FOURS = [(("mnli", "squad", "paws", "qqp"), "measure"), (("copa", "random", "swag", "ccg"), "measure")]
FOURS += [(("mnli", "copa", "swag", "qqp"), "measure")]
DESIGN = [((), "measure"), *PAIRS, *FOURS]


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A sweep of three cells, two of them at two learning rates."""
    folder = make_sweep(tmp_path_factory.mktemp("s") / "axes", seeds=(0, 1, 2), subsets=DESIGN, rungs=1)
    return collect_evidence(with_axis(folder, {"lr=1e-5": 0.0, "lr=2e-5": -3.0}), FEW)


def test_comparisons_that_are_taken_together_are_those_of_the_family_and_not_of_the_grid(grid):
    known = [e for e in grid.estimates if e.name.startswith("difference/fi_accuracy/")]
    assert len(known) > 3 == sum(e.p_holm is not None for e in known)
    assert "Of 3 comparisons of cells" in write_answer(grid)


def test_the_answer_is_a_headline_with_its_interval_and_a_few_short_lines(tmp_path):
    found = collect_evidence(make_sweep(tmp_path / "s", seeds=(0, 1, 2), subsets=DESIGN, rungs=1), FEW)
    headline, *lines = write_answer(found).splitlines()
    said = r"4 tasks instead of 2: [+\u2212].* points of Finnish dev accuracy \(.*\), .*95 % CI \[.*\]\."
    assert re.fullmatch(said, headline)
    assert 3 <= len(lines) <= 6 and all(line.endswith(".") and len(line) < 130 for line in lines)


def test_comparisons_that_hold_are_named_by_what_they_compare_and_many_are_counted(tmp_path):
    sizes = [(tasks, "measure") for tasks in ((), ("random",), *(tuple(EFFECTS)[:n] for n in (2, 5, 8)))]
    made = make_sweep(tmp_path / "s", seeds=range(5), subsets=sizes, rungs=1, noise=0.01)
    (line,) = [line for line in write_answer(collect_evidence(made, FEW)).splitlines() if "(Holm)" in line]
    pair = r"[^,]+ against [^,]+"
    known = re.fullmatch(rf"Of 10 comparisons .*, ({pair}, {pair}, {pair}) and (\d+) more .* hold at .*", line)
    assert known and int(known[2]) > 1 and "-" not in known[1]


def test_a_warning_has_a_head_of_one_line_and_loses_nothing():
    short = "Unfinished sweep: 1 of 2 trials have ended. Numbers will change."
    long = f"Few repetitions (2 seeds): {'x' * 120}. End."
    assert warnings.headed(short) == ("Unfinished sweep: 1 of 2 trials have ended.", "Numbers will change.")
    assert warnings.headed(long) == ("Few repetitions (2 seeds)", f"{'x' * 120}. End.")
    assert warnings.headed("x" * 200) == ("x" * 200, "") and warnings.headed("One.") == ("One.", "")


def test_a_cell_that_no_axis_changes_is_estimated_once(grid):
    counts = Counter((e.name, e.rung) for e in grid.estimates)
    assert counts["mean/fi_accuracy/0", grid.rung] == 1 and max(counts.values()) == 1


def test_a_value_that_changes_nothing_narrows_no_interval_of_single_cells(tmp_path):
    """The same subsets at five values are no more subsets: what is known of their tasks stays what the tuned cells say."""
    tasks = [tuple(EFFECTS)[a:b] for a, b in ((0, 4), (4, 8))]
    tasks += [(*tuple(EFFECTS)[a:b], *tuple(EFFECTS)[c:d]) for a, b, c, d in ((0, 2, 4, 6), (2, 4, 6, 8))]
    subsets = [((), "measure"), *((subset, "measure") for subset in tasks), *PAIRS]
    found = []
    for many in (1, 5):
        folder = make_sweep(tmp_path / f"{many}", seeds=(0, 1, 2), subsets=subsets, rungs=1)
        made = collect_evidence(with_axis(folder, {f"lr={place}e-5": 0.0 for place in range(1, many + 1)}), FEW)
        found.append({e.name: e for e in made.estimates})
    for cell in ("4-all", "2-all"):
        one, five = (names[f"mean/fi_accuracy/{cell} lr=1e-5"] for names in found)
        assert (five.value, five.low, five.high) == pytest.approx((one.value, one.low, one.high))


def test_the_note_of_the_differences_counts_the_comparisons_that_have_p_values(grid, tmp_path):
    note = curve_tables.differences(grid.tuned_here, grid.estimates).note
    assert "for the 3 comparisons of fi_accuracy, and for the 12 of the targets" in note
    two = collect_evidence(make_sweep(tmp_path / "two", seeds=(0, 1, 2), subsets=DESIGN[:4], rungs=1), FEW)
    assert "for the 1 comparison of fi_accuracy, " in curve_tables.differences(two.tuned_here, two.estimates).note
    one_seed = collect_evidence(make_sweep(tmp_path / "one", seeds=(0,), subsets=DESIGN, rungs=1), FEW)
    assert "Holm" not in curve_tables.differences(one_seed.tuned_here, one_seed.estimates).note


def test_a_single_subset_makes_no_interval_rough_and_no_repetitions_few(tmp_path):
    subsets = [*DESIGN, (("mnli", "copa"), "measure"), (("squad", "swag"), "measure")]
    subsets += [(("mnli", "random", "swag", "ccg"), "measure"), (("squad", "random", "paws", "ccg"), "measure")]
    one = [(("squad",), "measure")]

    def as_control(row):
        return [{**row, "source": "control", "cell": "1-control"} if row["num_tasks"] == 1 else row]

    made = make_sweep(tmp_path / "s", seeds=range(5), subsets=subsets + one, rungs=1)
    found = collect_evidence(rewrite(made, as_control), FEW)
    answer, said = write_answer(found), " ".join(warnings.find_warnings(found))
    assert "4 tasks instead of squad alone: " in answer and "4 tasks instead of 2: " in answer
    assert "rough" not in answer and "Few repetitions" not in said
    few = collect_evidence(make_sweep(tmp_path / "few", seeds=range(5), subsets=subsets[:7], rungs=1), FEW)
    assert "rough 95 % CI" in write_answer(few)
    assert "as few as 3 subsets per cell" in " ".join(warnings.find_warnings(few))


def test_the_coverage_that_the_report_states_is_that_of_the_statistics_page():
    path = Path(__file__).parents[2] / "docs/statistics/coverage.csv"
    rows = [row for row in csv.DictReader(path.open()) if row["outcome"] == "fi_accuracy"]
    covered = {float(row["coverage"]): row["scenario"] for row in rows}
    (text,) = [paragraph.text for paragraph in report.METHOD if paragraph.lead == "Intervals"]
    low, high = map(int, re.search(r"in (\d+) to (\d+) % of", text).groups())
    assert (low, high) == (int(100 * min(covered)), int(100 * max(covered)))
    assert {scenario for share, scenario in covered.items() if share < 0.93} == {"matched, not additive"}


def with_sources(folder, sources):
    """The sweep with other sources of subsets: `{tasks: source}`."""

    def change(row):
        source = sources.get(tuple(row["tasks"]), row["source"])
        cell = f"{row['num_tasks']}-{source}" if row["num_tasks"] else row["cell"]
        return [{**row, "source": source, "cell": cell}]

    return rewrite(folder, change)


def test_the_answer_is_of_pools_and_controls_are_what_these_are_compared_with(tmp_path):
    """A control with as many tasks as the largest cell, and one with more, are no pools of their own."""
    larger = (("mnli", "squad", "paws", "qqp", "copa"), "measure")
    made = make_sweep(
        tmp_path / "s",
        seeds=(0, 1, 2),
        subsets=[*DESIGN, larger, (("random", "ccg", "qqp", "paws"), "measure")],
        rungs=1,
    )
    sources = {tuple(sorted(larger[0])): "control", ("ccg", "paws", "qqp", "random"): "all-shuffled"}
    found = collect_evidence(with_sources(made, sources), FEW)
    answer = write_answer(found)
    assert answer.startswith("4 tasks instead of 2: ") and "5 tasks" not in answer and "from all-shuffled" not in answer
    for control, words in (("5-control", "5 control tasks"), ("4-all-shuffled", "4 tasks with shuffled labels")):
        (said,) = [sentence for sentence in answer.splitlines() if f"4 tasks instead of {words}: " in sentence]
        means = {e.name: e.value for e in found.estimates if e.rung == found.rung}
        gap = means["mean/fi_accuracy/4-all"] - means[f"mean/fi_accuracy/{control}"]
        assert f"{words}: {number(gap, signed=True)} points" in said


def test_what_the_design_can_detect_is_of_its_pools_and_as_a_plan_says(tmp_path):
    made = make_sweep(tmp_path / "s", seeds=(0, 1, 2), subsets=[*DESIGN, (("swag",), "measure")], rungs=1)
    here = collect_evidence(with_sources(made, {("swag",): "control"}), FEW).tuned_here
    power = power_of(here, "fi_accuracy", 0.95)
    assert (power.num_subsets, power.num_seeds) == (3, 3)  # not the one of the control
    cells = {cell: {" ".join(p.tasks): p.tasks for p in here if p.cell == cell} for cell in {p.cell for p in here}}
    sources = {p.cell: p.source for p in here}
    gap = {"gap": {"4-all": 1.0, "2-all": -1.0}}
    assert power.effect == detectable(cells, sources, gap, 3, power.variances)["gap"]
    assert power.more_seeds < power.effect and power.more_subsets < power.effect


def test_cautions_are_of_cells_of_pools_that_are_compared(tmp_path):
    """Effective tasks are compared per task, and a control that is trained for more epochs causes no caution."""
    made = make_sweep(tmp_path / "s", seeds=(0, 1), subsets=[*DESIGN, (("swag",), "measure")], rungs=1)
    found = with_sources(made, {("swag",): "control"})
    (said,) = [w for w in warnings.find_warnings(collect_evidence(found, FEW)) if w.startswith("Cells differ in more")]
    assert "passes over the data 0.12 (4 tasks) to 0.25 (2 tasks)" in said
    assert "control" not in said and "effective" not in said and said.count("(") == 2

    def uneven(row):
        tasks = {2: 0.6, 4: 2.0}.get(row["num_tasks"])
        return [{**row, "effective_tasks": tasks} if "effective_tasks" in row else row]

    (said,) = [
        w for w in warnings.find_warnings(collect_evidence(rewrite(found, uneven), FEW)) if w.startswith("Cells differ")
    ]
    assert "effective number of tasks per task 0.30 (2 tasks) to 0.50 (4 tasks)" in said


def test_rank_correlations_of_a_sweep_with_axes_are_of_the_trials_at_the_best_values(grid):
    """Not of all points of the grid, whose order would be that of the learning rates."""
    orders = [e for e in grid.estimates if e.name == "rank_correlation/english-dev/fi_accuracy"]
    assert [e.num_trials for e in orders] == [len(grid.tuned_here)] and len(grid.tuned_here) < len(grid.here)
