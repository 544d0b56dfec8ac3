import re

import pytest
from test_report import SUBSETS, make_sweep

from xlray import compare, results
from xlray.analysis import Sampling
from xlray.canonical import InputError
from xlray.results import SCORES

FEW = Sampling(num_draws=100)


def shift(folder, points):
    rows = results.load_results(folder).scores.to_pylist()
    for row in rows:
        if row["metric"] == "headline" and row["language"] == "fi":
            row["value"] += points
    results.write_table(folder / "results/scores.parquet", results.to_table(rows, SCORES))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    folders = [make_sweep(root / name, subsets=SUBSETS[:5]) for name in ("plain", "better")]
    shift(folders[1], 1.5)
    return folders


def test_a_known_shift_is_found_by_pairing_without_any_spread(pair):
    document = compare.compare_sweeps(*pair, FEW)
    rows = [row for row in document["rows"] if row["outcome"] == "fi_accuracy"]
    assert {row["cell"] for row in rows} == {compare.ALL, "0", "2-all", "4-all"} and {row["rung"] for row in rows} == {
        1_024, 4_096, 16_384,
    }  # fmt: skip
    assert all(row["difference"] == pytest.approx(1.5) for row in rows)
    assert all(row["low"] == pytest.approx(1.5) == row["high"] for row in rows if row["cell"] == compare.ALL)
    assert next(row for row in rows if row["cell"] == compare.ALL)["num_pairs"] == 10
    assert re.match(
        r"better instead of plain: \+1\.5 points of Finnish dev accuracy over all shared", document["answer"]
    )


def test_the_page_has_table_and_figure(pair):
    document = compare.compare_sweeps(*pair, FEW)
    folder = pair[0] / "report"
    html = (folder / "compare-better.html").read_text()
    assert "better instead of plain" in html and html.count("<svg") == 1 and "http" not in html
    assert str(folder / "tables/compare-better.csv") in document["files"]


def test_other_seeds_have_means_but_no_interval(pair, tmp_path):
    other = make_sweep(tmp_path / "seeds", seeds=(7, 8), subsets=SUBSETS[:5])
    document = compare.compare_sweeps(pair[0], other, FEW)
    assert all((row["num_pairs"], row["low"]) == (0, None) for row in document["rows"])
    assert "no trial has its pair" in document["answer"]


def test_differing_fields_and_warnings_are_named(pair):
    document = compare.compare_sweeps(*pair, FEW)
    assert document["differing"] == []
    assert any(warning.startswith("plain: ") for warning in document["warnings"])


def test_nothing_shared_or_the_same_sweep_is_refused(pair, tmp_path):
    with pytest.raises(InputError, match="two different sweeps"):
        compare.compare_sweeps(pair[0], pair[0], FEW)
    alone = make_sweep(tmp_path / "alone", subsets=SUBSETS[5:6])
    with pytest.raises(
        InputError, match="must share a cell at the same rung, but plain has 0, 2-all, 4-all; alone has"
    ):
        compare.compare_sweeps(pair[0], alone, FEW)
