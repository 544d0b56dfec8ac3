import numpy as np
import pytest
from scipy import stats

from xlray import analysis
from xlray.analysis import FI_ACCURACY, Point, Sampling, selection

SUBSETS = tuple((f"t{number}",) for number in range(6))


def make_point(subset, seed, finnish, english=None, pivots=(), rung_index=0, role="measure"):
    scores = {FI_ACCURACY: finnish, "panx": finnish}
    scores |= {} if english is None else {"panx@en": english}
    scores |= {f"panx@{language}": value for language, value in pivots}
    place = ("1-all", 1, "all", subset, " ".join(subset), seed, 1_000 * 4**rung_index, rung_index)
    return Point(f"{subset}/{seed}", role, *place, scores)


def test_what_is_chosen_without_finnish_labels_is_english_and_the_mean_of_pivots():
    point = make_point(SUBSETS[0], 0, 50.0, english=80.0, pivots=(("et", 60.0), ("hu", 70.0)))
    assert selection.selection_scores(point) == {"english-dev": 80.0, "pivot-dev": 65.0}
    assert selection.selection_scores(make_point(SUBSETS[0], 0, 50.0)) == {}


def test_the_gap_is_what_the_seed_left_out_says_of_both_choices():
    """Written out by hand: each choice is made on the other seeds and scored on the one left out."""
    generator = np.random.default_rng(0)
    finnish, english = generator.normal(50, 2, (6, 4)), generator.normal(80, 2, (6, 4))
    points = [make_point(SUBSETS[i], s, finnish[i, s], english[i, s]) for i in range(6) for s in range(4)]
    gaps = []
    for seed in range(4):
        rest = [s for s in range(4) if s != seed]
        gaps.append(finnish[finnish[:, rest].mean(1).argmax(), seed] - finnish[english[:, rest].mean(1).argmax(), seed])
    (found,) = analysis.selection_gaps(points, Sampling())
    error = np.std(gaps, ddof=1) * np.sqrt(
        1 / 4 + 1 / 3
    )  # two choices share two of three seeds (Nadeau and Bengio 2003)
    low, high = stats.t.interval(0.95, 3, np.mean(gaps), error)
    assert (found.value, found.low, found.high) == pytest.approx((np.mean(gaps), low, high))
    assert (found.name, found.num_subsets, found.num_seeds) == ("selection_gap/english-dev", 6, 4)


def test_a_signal_that_orders_alike_loses_nothing_and_one_that_reverses_loses_the_range():
    points = [make_point(SUBSETS[i], s, 50.0 + i, 80.0 + i, (("et", 90.0 - i),)) for i in range(6) for s in range(3)]
    english, pivot = analysis.selection_gaps(points, Sampling())
    assert (english.value, english.low, english.missing) == (0, None, "the same with every seed left out")
    assert (pivot.name, pivot.value, pivot.low) == ("selection_gap/pivot-dev", 5.0, None)


def test_subsets_without_all_seeds_cannot_be_chosen_and_one_seed_has_no_interval():
    points = [make_point(SUBSETS[i], s, 50.0 + i, 80.0 + i) for i in range(4) for s in range(3)]
    points = [p for p in points if not (p.tasks == SUBSETS[3] and p.seed == 1)]
    (found,) = analysis.selection_gaps(points, Sampling())
    assert found.num_subsets == 3
    (one,) = analysis.selection_gaps([p for p in points if p.seed == 0], Sampling())
    assert (one.low, one.missing) == (None, "one seed")
    assert analysis.selection_gaps(points[:2], Sampling()) == []


def test_correlations_with_signals_are_scipys_and_their_intervals_hold_them():
    generator = np.random.default_rng(1)
    finnish = generator.normal(50, 2, (6, 3))
    english = finnish + generator.normal(30, 1, (6, 3))
    points = [make_point(SUBSETS[i], s, finnish[i, s], english[i, s]) for i in range(6) for s in range(3)]
    (found,) = analysis.selection_correlations(points, Sampling(500))
    assert found.value == pytest.approx(stats.spearmanr(english.ravel(), finnish.ravel()).statistic)
    assert -1 <= found.low < found.value < found.high <= 1


def test_draws_in_pieces_are_those_at_once(monkeypatch):
    generator = np.random.default_rng(2)
    points = [
        make_point(SUBSETS[i], s, float(generator.normal()), float(generator.normal()))
        for i in range(6)
        for s in range(3)
    ]
    (whole,) = analysis.selection_correlations(points, Sampling(50))
    monkeypatch.setattr(selection, "CHUNK", 7 * len(points))
    assert analysis.selection_correlations(points, Sampling(50)) == [whole]


def test_dev_and_test_are_compared_where_both_are_there():
    points = [make_point(SUBSETS[i], s, 50.0 + i + 0.1 * s) for i in range(6) for s in range(3)]
    opened = {p.trial_id: {FI_ACCURACY: 2 * p.scores[FI_ACCURACY], "panx": -p.scores["panx"]} for p in points[:-1]}
    whole, panx = analysis.dev_test_correlations(points, opened, Sampling(100))
    assert (whole.name, whole.value, whole.num_trials) == ("rank_correlation/dev - test/fi_accuracy", 1.0, 17)
    assert (whole.low, whole.missing) == (None, "all draws are alike")
    assert panx.value == -1.0
    assert analysis.dev_test_correlations(points, {}, Sampling(100)) == []


def test_survivors_of_the_cut_say_nothing_of_the_order_at_a_later_rung():
    early = [make_point(SUBSETS[i], 0, float(i), rung_index=0, role="explore") for i in range(6)]
    late = [make_point(SUBSETS[i], 0, float(i), rung_index=1, role="explore") for i in range(6)]
    assert analysis.rank_correlations([*early, *late], FI_ACCURACY, Sampling()) == []
