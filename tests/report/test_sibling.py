import json

import pytest
from reported_sweep import SUBSETS, make_sweep, with_axis

from xlray.analysis import Sampling, results
from xlray.analysis.results import SCORES
from xlray.report import evidence, reliability_figures, reliability_tables
from xlray.report.answer import main_pairs
from xlray.report.evidence import collect_evidence
from xlray.storage import parquet, sweep_folder

FEW = Sampling(num_draws=50)


def define(folder, **fields):
    path = folder / "sweep.json"
    definition = json.loads(path.read_text()) if path.exists() else {"name": folder.name}
    path.write_text(json.dumps({**definition, "name": folder.name, **fields}))


@pytest.fixture
def pair(tmp_path):
    """A sweep, and the same one with overlapping examples kept, in which trials with tasks score two points more."""
    plain, kept = (make_sweep(tmp_path / name, seeds=(0, 1, 2), subsets=SUBSETS[:5]) for name in ("plain", "kept"))
    rows = results.load_results(kept).scores.to_pylist()
    for row in rows:
        if row["num_tasks"] and row["language"] == "fi" and row["metric"] == "headline":
            row["value"] += 2
    parquet.write_table(kept / "results/scores.parquet", parquet.to_table(rows, SCORES))
    define(plain, seeds=[0, 1, 2])
    define(kept, seeds=[0, 1, 2], drop_overlap=False)
    return plain, kept


def robustness_of(folder):
    """(estimates with those of the sibling, their table) as the report has them."""
    found = collect_evidence(folder, FEW)
    estimates = [*found.estimates, *evidence.with_other_overlap(found, FEW)]
    kept = not found.definition.get("drop_overlap", True)
    return found, estimates, reliability_tables.robustness(estimates, kept_overlap=kept)


def test_differences_with_and_without_overlapping_examples_stand_side_by_side(pair):
    for folder, variant, sign in zip(pair, ("with_overlap", "without_overlap"), (1, -1), strict=True):
        found, estimates, table = robustness_of(folder)
        values = {e.name: e.value for e in estimates}
        own, other = (values[f"robustness/{name}/4-all - 0"] for name in ("all", variant))
        assert other - own == pytest.approx(2 * sign)
        assert variant in dict(table.columns) and "of the same sweep with the other choice" in table.note
        drawn = reliability_figures.robustness(estimates, main_pairs(found))
        assert reliability_tables.VARIANTS[variant].lower() in drawn.svg.decode()


def test_a_sibling_with_axes_is_taken_at_its_best_values_as_the_sweep_itself(pair):
    for folder in pair:
        with_axis(folder, {"lr=1e-5": 0.0, "lr=2e-5": -3.0})
    _, estimates, table = robustness_of(pair[0])
    found = {e.name: e.value for e in estimates}
    names = {name.split("/")[2] for name in found if name.startswith("robustness/all/")}
    assert names == {name.split("/")[2] for name in found if name.startswith("robustness/with_overlap/")}
    assert found["robustness/with_overlap/4-all - 0"] - found["robustness/all/4-all - 0"] == pytest.approx(2)
    assert "with_overlap" in dict(table.columns) and not any("lr=" in name for name in names)


def test_only_the_same_sweep_is_a_sibling(pair):
    plain, kept = pair
    definition = sweep_folder.read_definition(plain)
    assert evidence.find_sibling(plain, definition) == kept.resolve()
    define(kept, tracking=["mlflow"], sources={"mnli": "hub"}, execution={"max_workers": 4})  # they change no number
    assert evidence.find_sibling(plain, definition) == kept.resolve()
    define(kept, seeds=[0, 1])
    assert evidence.find_sibling(plain, definition) is None
    define(kept, seeds=[0, 1, 2], drop_overlap=True)
    assert evidence.find_sibling(plain, definition) is None
    (kept / "sweep.json").write_text("{no JSON")
    assert evidence.find_sibling(plain, definition) is None and evidence.find_sibling(plain, {}) is None


def test_without_a_sibling_the_table_says_how_to_make_one(pair):
    plain, kept = pair
    (kept / "sweep.json").unlink()
    _, _, table = robustness_of(plain)
    assert "Run the sweep with drop_overlap=False under another name" in table.note
    assert not {"with_overlap", "without_overlap"} & dict(table.columns).keys()
