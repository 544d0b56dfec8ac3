import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, items, results
from xlray.analysis.crossed import NO_ITEMS
from xlray.analysis.results import ITEMS, SCORES, Results
from xlray.errors import InputError
from xlray.training import metrics


def tagged(random, num_items=400):
    """Tags of short sentences, and predictions that are wrong now and then."""
    labels = ["O", "B-PER", "B-LOC"]
    gold = [
        [labels[k] for k in random.choice(3, size=size, p=(0.6, 0.2, 0.2))] for size in random.integers(2, 9, num_items)
    ]
    said = [[labels[random.integers(3)] if random.random() < 0.3 else tag for tag in tags] for tags in gold]
    return metrics.score_and_items("tagging", gold, said, labels)


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_shares_of_items_give_the_headline_and_the_spread_that_resampling_sentences_gives(metric):
    random = np.random.default_rng(0)
    scores, statistics = tagged(random)
    shares = items.item_shares(statistics, scores[metric])
    assert shares.mean() == pytest.approx(scores[metric])
    draws = random.multinomial(len(shares), np.full(len(shares), 1 / len(shares)), 4_000)
    sums = {name: draws @ values for name, values in statistics.items()}
    ratios = {
        "accuracy": sums["correct"] / sums["total"],
        "f1": 2 * sums["tp"] / (2 * sums["tp"] + sums["fp"] + sums["fn"]),
    }
    assert shares.std(ddof=1) / np.sqrt(len(shares)) == pytest.approx(100 * ratios[metric].std(), rel=0.06)


def test_a_headline_that_is_no_ratio_of_the_sums_has_no_shares():
    scores, statistics = tagged(np.random.default_rng(0))
    assert items.item_shares(statistics, scores["f1"] + 1) is None
    reading = {"f1": np.array([0.5, 1.0]), "em": np.array([0.0, 1.0])}
    assert items.item_shares(reading, 62.5).tolist() == [25.0, 100.0]


def test_what_single_trials_do_to_items_is_taken_off():
    """Items differ by 5 between the cells, and by 20 from trial to trial; the latter is noise of trials."""
    random = np.random.default_rng(1)
    num_items, num_trials = 20_000, 8
    weights = np.array([1.0, 1.0, 1.0, 5.0, 1.0, 5.0, 1.0, 1.0])
    gains = [random.normal(0, 5 / np.sqrt(2), num_items) for _ in range(2)]
    common = random.normal(50, 30, num_items)
    cells = [
        items.cell_items(items.sum_trials(common + gain + random.normal(0, 20, (num_trials, num_items)), weights))
        for gain in gains
    ]
    found = items.items_variance([(1.0, cells[0]), (-1.0, cells[1])])
    assert float(found.added) == pytest.approx(25 / num_items, rel=0.1)
    of_trials = 2 * 400 * (weights**2).sum() / weights.sum() ** 2
    assert float(found.least) == pytest.approx((25 + of_trials) / num_items, rel=0.05)
    assert float(items.items_variance([(1.0, cells[0])]).added) == pytest.approx((900 + 12.5) / num_items, rel=0.05)


def test_sums_of_trials_one_by_one_are_those_of_all():
    trials, weights = np.random.default_rng(2).normal(size=(3, 4, 50)), np.array([1.0, 5.0, 1.0, 1.0])
    together = items.sum_trials(trials, weights)
    one_by_one = [items.sum_trials(trials[:, [k]], weights[[k]]) for k in range(4)]
    summed = one_by_one[0] + one_by_one[1] + one_by_one[2] + one_by_one[3]
    assert summed.shares == pytest.approx(together.shares) and summed.squares == pytest.approx(together.squares)
    assert (summed.weight, summed.squared) == (together.weight, together.squared)


def study(folder, num_items=300, last_items=None):
    """Two cells x three seeds with two targets, of which one has items; scores are what the items say."""
    random = np.random.default_rng(3)
    rows, written, points = [], [], []
    for size in (0, 1):
        for seed in range(3):
            trial, tasks = f"{size}-{seed}", ("a",) * size
            count = last_items if last_items and (size, seed) == (1, 2) else num_items
            correct = (random.random(count) < 0.5 + 0.2 * size).astype(float)
            scores = {"tatoeba": 100 * correct.mean(), "udpos": 70.0}
            place = {"sweep": "s", "trial_id": trial, "rung": 100, "language": "fi", "split": "dev"}
            for task, value in scores.items():
                row = {
                    "cell": str(size),
                    "num_tasks": size,
                    "tasks": list(tasks),
                    "seed": seed,
                    "rung_index": 0,
                    "role": "measure",
                }
                row |= {"source": "all", "num_examples": 0 if task == "tatoeba" else 10}
                row |= {"task": task, "metric": "headline", "value": value, "selection": True}
                rows.append({**place, **row})
            for statistic, values in (("correct", correct), ("total", np.ones(count))):
                for split in ("test", "dev"):
                    written += [
                        {**place, "split": split, "task": "tatoeba", "item": k, "statistic": statistic, "value": v}
                        for k, v in enumerate(values.tolist())
                    ]
            found = {**scores, FI_ACCURACY: float(np.mean(list(scores.values())))}
            points.append(Point(trial, "measure", str(size), size, "all", tasks, " ".join(tasks), seed, 100, 0, found))
    folder.mkdir(parents=True)
    (folder / "results").mkdir()
    pq.write_table(pa.Table.from_pylist(written, ITEMS), folder / "results" / "items.parquet")
    table = pa.Table.from_pylist(rows, SCORES)
    return Results("s", folder, table, results.TRIALS.empty_table(), results.PHASES.empty_table()), points


def test_items_of_a_sweep_widen_its_intervals(tmp_path):
    found, points = study(tmp_path / "s")
    (variance,) = analysis.item_variances(found, points).values()
    of_target, of_mean = variance("tatoeba", {"1": 1.0}), variance(FI_ACCURACY, {"1": 1.0})
    assert 0 <= of_target.added < of_target.least < 10_000 * 0.25 / 300
    assert of_mean.added == pytest.approx(of_target.added / 4) and variance("udpos", {"1": 1.0}) == NO_ITEMS
    plain, wider = (
        analysis.cell_differences(points, "tatoeba", analysis.Sampling(), given)[0] for given in (None, variance)
    )
    part = variance("tatoeba", {"1": 1.0, "0": -1.0})
    expected = max(plain.standard_error**2 + part.added, part.least)
    assert wider.standard_error**2 == pytest.approx(expected) and wider.value == plain.value


def test_no_interval_is_narrower_than_the_items_allow(tmp_path):
    """Trials that happen to agree make the spread over seeds tiny; the test set is as small as before."""
    found, points = study(tmp_path / "s")
    (variance,) = analysis.item_variances(found, points).values()
    alike = [dataclasses.replace(p, scores={**p.scores, "tatoeba": 50.0 + p.num_tasks}) for p in points]
    (gap,) = analysis.cell_differences(alike, "tatoeba", analysis.Sampling(), variance)
    assert gap.standard_error**2 == pytest.approx(variance("tatoeba", {"1": 1.0, "0": -1.0}).least)
    assert gap.high - gap.low >= 2 * 1.95 * gap.standard_error


def test_trials_with_different_items_are_refused_and_no_file_is_no_variance(tmp_path):
    found, points = study(tmp_path / "s", last_items=299)
    with pytest.raises(InputError, match="one number of items per target"):
        analysis.item_variances(found, points)
    (found.directory / "results" / "items.parquet").unlink()
    assert analysis.item_variances(found, points) == {}


def test_a_sweep_that_has_evaluated_nothing_yet_has_no_items(tmp_path):
    path = tmp_path / "items.parquet"
    pq.write_table(ITEMS.empty_table(), path)
    assert list(items.read_items(path, {("udpos", "fi"): "udpos"})) == []
    row = {"trial_id": "t", "rung": 64, "task": "udpos", "language": "fi", "split": "test", "item": 0, "value": 1.0}
    pq.write_table(pa.Table.from_pylist([{**row, "sweep": "s", "statistic": "correct"}], schema=ITEMS), path)
    assert list(items.read_items(path, {("udpos", "fi"): "udpos"})) == []  # sealed ones alone
