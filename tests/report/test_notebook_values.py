"""What notebooks show: sweeps of a storage, a forecast, results, figures, a comparison."""

from pathlib import Path

import pytest
from reported_sweep import make_sweep

import xlray
from xlray import load_results, mini


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("storage")
    for name in ("first", "second"):
        make_sweep(folder / "sweeps" / name, seeds=(0, 1, 2))
    return folder


def test_a_storage_lists_its_sweeps(storage: Path) -> None:
    found = xlray.list_sweeps(storage)
    assert sorted(line["name"] for line in found) == ["first", "second"]
    assert "<td>first</td>" in found._repr_html_() and xlray.list_sweeps(storage / "none") == []


def test_results_show_their_trials_best_first(storage: Path) -> None:
    results = load_results("first", storage)
    page = results._repr_html_()
    ids = [row["trial_id"] for row in results.trials.to_pylist()]
    assert page.startswith(f"<p><b>{results.name}</b>: {len(ids)} trials</p>")
    assert page.index(results.best()["trial_id"]) == min(page.index(name) for name in ids if name in page)


def test_figures_show_themselves_or_say_what_is_missing(storage: Path) -> None:
    plot = load_results("first", storage).plot
    for drawing in (plot.scaling(), plot.scaling(targets=True), plot.curves(), plot.contributions(), plot.transfer()):
        shown = drawing._repr_html_()
        assert drawing.title in shown and ("<svg" in shown) == (not drawing.missing), drawing.name
    assert not plot.scaling().missing and not plot.curves().missing


def test_a_comparison_shows_its_answer_and_its_rows(storage: Path) -> None:
    found = load_results("first", storage).compare(load_results("second", storage))
    page = found._repr_html_()
    assert all(line in page for line in found["answer"].splitlines()) and page.count("<tr>") == 1 + len(found["rows"])


def test_a_forecast_reads_as_the_plan_does(tmp_path: Path) -> None:
    targets = (xlray.Target("mini_tatoeba", retrieval_layer=1),)
    recipe = xlray.Intermediate(rungs=(64,), warmup_examples=32, max_length=128, stride=64)
    measure = (*xlray.subsets.empty(), *xlray.subsets.explicit(("mini_topic_de",)))
    sweep = xlray.Sweep("small", mini.ENCODER, measure=measure, intermediate=recipe, targets=targets)
    found = xlray.forecast(sweep, tmp_path)
    assert str(found).splitlines()[0].startswith(f"trials  {found['trials']} in cells")
    assert found._repr_html_() == f"<pre>{found}</pre>"
