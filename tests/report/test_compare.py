import dataclasses
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reported_sweep import SUBSETS, make_sweep

from xlray.analysis import FI_ACCURACY, Point, Sampling, results
from xlray.analysis.results import ITEMS, SCORES
from xlray.errors import InputError
from xlray.report import compare
from xlray.storage import parquet

FEW = Sampling(num_draws=100)
THREE = (  # of each size, so that intervals are worth reading
    *SUBSETS[:5],
    (("paws", "qqp"), "measure"),
    (("mnli", "copa", "paws", "swag"), "measure"),
)
SEEDS = (0, 1, 2)


def shift(folder, points):
    rows = results.load_results(folder).scores.to_pylist()
    for row in rows:
        if row["metric"] == "headline" and row["language"] == "fi":
            row["value"] += points
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(rows, SCORES))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    root = tmp_path_factory.mktemp("compare")
    folders = [make_sweep(root / name, SEEDS, THREE) for name in ("plain", "better")]
    shift(folders[1], 1.5)
    return folders


def test_a_known_shift_is_found_by_pairing_without_any_spread(pair):
    document = compare.compare_sweeps(pair[0], pair[1], FEW)
    rows = [row for row in document["rows"] if row["outcome"] == "fi_accuracy"]
    assert {row["cell"] for row in rows} == {compare.ALL, "0", "2-all", "4-all"} and {row["rung"] for row in rows} == {
        1_024, 4_096, 16_384,
    }  # fmt: skip
    assert all(row["difference"] == pytest.approx(1.5) for row in rows)
    assert all(row["low"] == pytest.approx(1.5) == row["high"] for row in rows if row["cell"] == compare.ALL)
    assert next(row for row in rows if row["cell"] == compare.ALL)["num_pairs"] == 21
    assert re.match(
        r"better instead of plain: \+1\.5 points of Finnish dev accuracy over all shared", document["answer"]
    )


def test_the_page_has_table_and_figure(pair):
    document = compare.compare_sweeps(pair[0], pair[1], FEW)
    folder = pair[0] / "report"
    html = (folder / "compare-better.html").read_text()
    assert "better instead of plain" in html and html.count("<svg") == 1 and "http" not in html
    assert str(folder / "tables/compare-better.csv") in document["files"]


def test_other_seeds_have_means_but_no_interval(pair, tmp_path):
    other = make_sweep(tmp_path / "seeds", (7, 8, 9), THREE)
    document = compare.compare_sweeps(pair[0], other, FEW)
    assert all((row["num_pairs"], row["low"]) == (0, None) for row in document["rows"])
    assert "no trial has its pair" in document["answer"]


def test_differing_fields_and_warnings_are_named(pair):
    document = compare.compare_sweeps(pair[0], pair[1], FEW)
    assert document["differing"] == []
    assert any(warning.startswith("plain: ") for warning in document["warnings"])


def test_nothing_shared_or_the_same_sweep_is_refused(pair, tmp_path):
    with pytest.raises(InputError, match="two different sweeps"):
        compare.compare_sweeps(pair[0], pair[0], FEW)
    alone = make_sweep(tmp_path / "alone", subsets=SUBSETS[5:6])
    with pytest.raises(
        InputError, match="must share a cell at the same rung, but plain has no task, 2 tasks, 4 tasks; alone has"
    ):
        compare.compare_sweeps(pair[0], alone, FEW)


def with_items(folder, num_items=200, gain=0.0):
    """Tatoeba's headline from made-up items, which are written beside it."""
    table = pq.read_table(folder / "results/scores.parquet").to_pylist()
    generator, written = np.random.default_rng(4), []
    difficulty = generator.random(num_items)
    for row in table:
        if row["task"] == "tatoeba" and row["metric"] == "headline" and row["language"] == "fi" and row["selection"]:
            correct = (difficulty < 0.3 + gain + 0.1 * generator.random()).astype(float)
            row["value"] = 100 * correct.mean()
            place = {key: row[key] for key in ("trial_id", "rung", "task", "language")} | {"split": "dev"}
            for statistic, values in (("correct", correct), ("total", np.ones(num_items))):
                written += [{**place, "item": k, "statistic": statistic, "value": v} for k, v in enumerate(values)]
    parquet.write_table(folder / "results/scores.parquet", parquet.to_table(table, SCORES))
    pq.write_table(pa.Table.from_pylist(written, ITEMS), folder / "results/items.parquet")
    return folder


def row_of(rows, outcome):
    return next(row for row in rows if (row["outcome"], row["cell"]) == (outcome, compare.ALL))


def test_items_widen_the_interval_by_what_another_test_set_would_change(tmp_path):
    folders = [
        with_items(make_sweep(tmp_path / name, SEEDS, THREE), gain=gain) for name, gain in (("a", 0.0), ("b", 0.2))
    ]
    wider = compare.compare_sweeps(folders[0], folders[1], FEW)["rows"]
    for folder in folders:
        (folder / "results/items.parquet").unlink()
    plain = compare.compare_sweeps(folders[0], folders[1], FEW)["rows"]
    of = [row_of(rows, "tatoeba") for rows in (plain, wider)]
    assert of[0]["difference"] == of[1]["difference"]
    # A fifth of the items are gained in all pairs: a share of 0.2 has a standard error of 2.8 points over 200 items.
    assert of[1]["high"] - of[1]["low"] > of[0]["high"] - of[0]["low"] + 2
    other = [row_of(rows, "udpos") for rows in (plain, wider)]
    assert other[0] == other[1]


def test_different_items_are_not_compared(tmp_path):
    folders = [
        with_items(make_sweep(tmp_path / name, subsets=SUBSETS[:5]), num_items=size)
        for name, size in (("a", 200), ("b", 150))
    ]
    with pytest.raises(InputError, match="one number of items per target` must hold, but got 200 and 150 for tatoeba"):
        compare.compare_sweeps(folders[0], folders[1], FEW)


def chained(sizes, num_chains, seeds, gain, generator, noise=0.0, spread=0.0):
    """Both sweeps of nested chains; the second has `gain(size)` more, a chain and a seed some of their own."""
    by_chain, by_seed = generator.normal(0, spread, num_chains), generator.normal(0, spread / 2, seeds)
    sides = []
    for more in (0.0, 1.0):
        points = []
        for chain, size, seed in ((c, s, q) for c in range(num_chains) for s in sizes for q in range(seeds)):
            tasks = tuple(f"t{chain}{k}" for k in range(size))
            value = 50 + generator.normal(0, noise) + more * (gain(size) + by_chain[chain] + by_seed[seed])
            place = (f"{size}-all", size, "all", tasks, f"chain {chain} of all", seed, 1_024, 0)
            points.append(Point(f"{chain}/{size}/{seed}", "measure", *place, {FI_ACCURACY: value}))
        sides.append(points)
    return sides


def test_a_gain_in_half_of_the_cells_of_chains_is_half_of_it_over_all():
    first, second = chained((2, 4), 5, 3, lambda size: 4.0 if size == 4 else 0.0, np.random.default_rng(0))
    rows = {row.cell: row for row in compare.compare_points(first, second, FEW)}
    found = rows[compare.ALL]
    assert (found.difference.value, found.second - found.first) == pytest.approx((2.0, 2.0))
    assert (found.num_pairs, found.difference.num_trials) == (30, 30)
    assert rows["4-all"].difference.value == pytest.approx(4.0) and rows["2-all"].difference.value == pytest.approx(0.0)


def test_sizes_of_examples_are_paired_within_their_cell():
    """The same subset and seed at two sizes is two trials."""
    first, second = chained((2,), 4, 3, lambda size: 1.0, np.random.default_rng(0))
    for points, gain in ((first, 0.0), (second, 3.0)):
        points += [
            dataclasses.replace(p, cell="2-all-1000", scores={FI_ACCURACY: p.scores[FI_ACCURACY] + gain})
            for p in points
        ]
    rows = {row.cell: row.difference.value for row in compare.compare_points(first, second, FEW)}
    assert rows == pytest.approx({compare.ALL: 2.5, "2-all": 1.0, "2-all-1000": 4.0})


def test_intervals_over_chains_hold_the_mean_difference():
    """Chains and seeds are drawn again: 95 % of 200 intervals should hold the mean over both sizes."""
    hits = 0
    for number in range(200):
        first, second = chained(
            (2, 4), 6, 4, lambda size: float(size), np.random.default_rng(number), noise=0.5, spread=1.0
        )
        found = next(r for r in compare.compare_points(first, second, FEW) if r.cell == compare.ALL).difference
        hits += found.low <= 3.0 <= found.high
    assert 180 <= hits <= 199
