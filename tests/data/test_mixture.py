import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xlray.data import mixture
from xlray.errors import InputError

NAMES, SIZES = ["nli", "qqp", "squad"], [7, 100, 13]
CHANCES = mixture.probabilities(SIZES, "proportional", 50, 1.0)

GOLDEN_SAMPLE = [26, 51, 52, 73, 88]
GOLDEN_ORDER = ([2, 1, 2, 2, 1, 1, 1, 0, 1, 1], [9, 56, 2, 3, 1, 35, 15, 4, 37, 31])

SEEDS = st.integers(0, 10)
WEIGHTS = st.lists(st.integers(1, 10**7), min_size=1, max_size=20)


def uses_of(tasks, examples, task):
    return examples[tasks == task]


@given(WEIGHTS, st.integers(1, 10**6), st.floats(0.01, 100), st.sampled_from(["proportional", "uniform"]))
def test_probabilities_are_a_distribution(sizes, cap, temperature, mixing):
    found = mixture.probabilities(sizes, mixing, cap, temperature)
    assert found.shape == (len(sizes),) and found.min() >= 0
    assert found.sum() == pytest.approx(1)


def test_proportional_mixing_caps_and_tempers():
    sizes = [100, 400, 10**6]
    assert mixture.probabilities(sizes, "proportional", 10**9, 1.0) == pytest.approx(np.array(sizes) / sum(sizes))
    assert mixture.probabilities(sizes, "proportional", 500, 1.0) == pytest.approx([0.1, 0.4, 0.5])
    assert mixture.probabilities(sizes, "proportional", 900, 2.0) == pytest.approx(np.array([10, 20, 30]) / 60)
    assert mixture.probabilities(sizes, "uniform", 1, 9.0) == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(
    ("sizes", "mixing", "cap", "temperature"),
    [
        ([], "uniform", 1, 1.0),
        ([0, 1], "uniform", 1, 1.0),
        ([1], "other", 1, 1.0),
        ([1], "uniform", 0, 1.0),
        ([1], "proportional", 1, 0.0),
    ],
)
def test_probabilities_refuse_wrong_arguments(sizes, mixing, cap, temperature):
    with pytest.raises(InputError, match="must hold"):
        mixture.probabilities(sizes, mixing, cap, temperature)


@given(st.sets(st.text(max_size=5), max_size=40), st.integers(0, 45), st.integers(0, 45), st.randoms())
def test_a_smaller_sample_is_in_the_larger_and_order_does_not_matter(ids, small, large, random):
    small, large = sorted((small, large))
    ids = sorted(ids)
    shuffled = random.sample(ids, len(ids))
    one = {ids[i] for i in mixture.nested_sample(ids, small, "salt")}
    two = {shuffled[i] for i in mixture.nested_sample(shuffled, large, "salt")}
    assert one <= two
    assert (len(one), len(two)) == (min(small, len(ids)), min(large, len(ids)))


def test_a_sample_is_ascending_and_of_its_salt():
    ids = [f"example-{i}" for i in range(5_000)]
    sample = mixture.nested_sample(ids, 1_000, "nli")
    assert sample.dtype == np.int64 and len(sample) == 1_000 and (np.diff(sample) > 0).all()
    assert 100 < len(np.intersect1d(sample, mixture.nested_sample(ids, 1_000, "qqp"))) < 320  # 200 expected
    assert mixture.nested_sample(ids, None, "nli").tolist() == list(range(5_000))


def test_a_sample_is_the_same_on_every_machine():
    assert mixture.nested_sample([str(i) for i in range(100)], 5, "nli").tolist() == GOLDEN_SAMPLE


def test_a_sample_refuses_repeated_ids_and_negative_sizes():
    with pytest.raises(InputError, match=r"ids are distinct.*'b'"):
        mixture.nested_sample(["a", "b", "b"], 1, "")
    with pytest.raises(InputError, match="num >= 0"):
        mixture.nested_sample(["a"], -1, "")


@given(st.integers(0, 500), st.integers(0, 500), SEEDS)
def test_the_order_of_fewer_is_a_prefix(fewer, more, seed):
    fewer, more = sorted((fewer, more))
    short = mixture.order(NAMES, SIZES, CHANCES, fewer, seed)
    long = mixture.order(NAMES, SIZES, CHANCES, more, seed)
    for one, two in zip(short, long, strict=True):
        assert len(one) == fewer and len(two) == more
        assert (one == two[:fewer]).all()
    assert (short[0].dtype, short[1].dtype) == (np.dtype(np.int32), np.dtype(np.int64))


@given(st.integers(0, 700), SEEDS)
def test_every_example_is_used_once_before_any_twice(num, seed):
    tasks, examples = mixture.order(NAMES, SIZES, CHANCES, num, seed)
    for task, size in enumerate(SIZES):
        uses = uses_of(tasks, examples, task)
        for start in range(0, len(uses), size):
            epoch = uses[start : start + size]
            assert len(set(epoch)) == len(epoch) and (epoch < size).all()


def test_epochs_tasks_and_seeds_have_permutations_of_their_own():
    tasks, examples = mixture.order(["a", "b"], [50, 50], [0.5, 0.5], 1_000, 0)
    a, b = uses_of(tasks, examples, 0), uses_of(tasks, examples, 1)
    other = uses_of(*mixture.order(["a", "b"], [50, 50], [0.5, 0.5], 1_000, 1), 0)
    permutations = [a[:50], a[50:100], b[:50], b[50:100], other[:50]]
    assert len({tuple(p) for p in permutations}) == 5
    assert all(sorted(p) == list(range(50)) for p in permutations)


def test_tasks_are_drawn_with_their_probabilities():
    tasks, _ = mixture.order(["a", "b", "c"], [10, 10, 10], [0.2, 0.0, 0.8], 100_000, 3)
    shares = np.bincount(tasks, minlength=3) / len(tasks)
    assert shares == pytest.approx([0.2, 0.0, 0.8], abs=0.006)  # four standard deviations are 0.005
    neighbours = (tasks[1:] == tasks[:-1]).mean()
    assert neighbours == pytest.approx(0.68, abs=0.01)  # independent draws: 0.2 ** 2 + 0.8 ** 2


def test_permutations_are_uniform():
    firsts = [mixture.order(["a"], [4], [1.0], 1, seed)[1][0] for seed in range(4_000)]
    assert np.bincount(firsts, minlength=4) / 4_000 == pytest.approx([0.25] * 4, abs=0.035)


def test_the_order_does_not_depend_on_how_tasks_are_listed():
    tasks, examples = mixture.order(NAMES, SIZES, CHANCES, 300, 5)
    turned_tasks, turned_examples = mixture.order(NAMES[::-1], SIZES[::-1], CHANCES[::-1], 300, 5)
    assert (2 - turned_tasks == tasks).all() and (turned_examples == examples).all()


def test_what_a_task_shows_does_not_depend_on_the_other_tasks():
    alone = mixture.order(["nli"], [7], [1.0], 30, 5)[1]
    among = uses_of(*mixture.order(NAMES, SIZES, [0.5, 0.25, 0.25], 200, 5), 0)
    assert (among[:30] == alone).all()


def test_the_order_is_the_same_on_every_machine_and_ignores_global_state():
    np.random.seed(1)
    tasks, examples = mixture.order(NAMES, SIZES, CHANCES, 10, 1)
    assert (tasks.tolist(), examples.tolist()) == GOLDEN_ORDER


@pytest.mark.parametrize(
    ("names", "sizes", "chances", "num", "law"),
    [
        (["a"], [1, 2], [1.0], 1, "one length"),
        (["a", "a"], [1, 2], [0.5, 0.5], 1, "names are distinct"),
        (["a", "b"], [1, 2], [0.5, 0.6], 1, "sum to 1"),
        (["a", "b"], [1, 2], [1.5, -0.5], 1, "sum to 1"),
        ([], [], [], 1, "sum to 1"),
        (["a"], [0], [1.0], 1, "has an example"),
        (["a"], [1], [1.0], -1, "num_examples >= 0"),
    ],
)
def test_the_order_refuses_wrong_arguments(names, sizes, chances, num, law):
    with pytest.raises(InputError, match=law):
        mixture.order(names, sizes, chances, num, 0)


def test_ten_million_positions_take_seconds():
    sizes = [10 * 3**i for i in range(13)]  # from 10 examples to 5 million
    chances = mixture.probabilities(sizes, "uniform", 1, 1.0)
    start = time.process_time()
    mixture.order([f"task-{i}" for i in range(13)], sizes, chances, 10_000_000, 0)
    assert time.process_time() - start < 15  # 2 s on an idle core
