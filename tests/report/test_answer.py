"""What the answer and the notes beside it count, compare and leave out."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest
from reported_sweep import EFFECTS, make_sweep, rewrite, with_axis

from xlray.analysis import Sampling
from xlray.report import curve_tables, report, warnings
from xlray.report.answer import write_answer
from xlray.report.evidence import collect_evidence

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


def test_a_cell_that_no_axis_changes_is_estimated_once(grid):
    counts = Counter((e.name, e.rung) for e in grid.estimates)
    assert counts["mean/fi_accuracy/0", grid.rung] == 1 and max(counts.values()) == 1


def test_a_value_that_changes_nothing_narrows_no_interval_of_single_cells(tmp_path):
    """The same subsets at five values are no more subsets: what is known of their tasks stays what the tuned cells say."""
    tasks = [tuple(EFFECTS)[a:b] for a, b in ((0, 4), (4, 8))]
    tasks += [(*tuple(EFFECTS)[a:b], *tuple(EFFECTS)[c:d]) for a, b, c, d in ((0, 2, 4, 6), (2, 4, 6, 8))]
    subsets = [((), "measure"), *((subset, "measure") for subset in tasks), *PAIRS]
    found = []
    for number in (1, 5):
        folder = make_sweep(tmp_path / f"{number}", seeds=(0, 1, 2), subsets=subsets, rungs=1)
        made = collect_evidence(with_axis(folder, {f"lr={place}e-5": 0.0 for place in range(1, number + 1)}), FEW)
        found.append({e.name: e for e in made.estimates})
    for cell in ("4-all", "2-all"):
        few, many = (names[f"mean/fi_accuracy/{cell} lr=1e-5"] for names in found)
        assert (many.value, many.low, many.high) == pytest.approx((few.value, few.low, few.high))


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
