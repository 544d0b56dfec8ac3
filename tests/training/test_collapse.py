"""Which runs are called degenerate, and which are not."""

import math

import helpers
import numpy as np
import pytest

from xlray.plan.rung_report import NOT_FINITE, diverged, not_finite
from xlray.training.collapse import chance_loss, constant, nothing_learned


def test_only_a_loss_that_is_no_number_ends_a_trial():
    lost = f"{NOT_FINITE} at step 20"
    assert not_finite(lost)
    assert diverged("trunk", lost)
    assert not diverged("target", lost)
    for reason in (None, "one prediction for all of panx dev fi", learned([1.2] * 100)):
        assert not not_finite(reason)
        assert not diverged("trunk", reason)


@pytest.mark.parametrize(
    ("predictions", "kind", "expected"),
    [
        (["A", "A", "A"], "classification", True),
        (["A", "B", "A"], "classification", False),
        (["A"], "classification", False),
        ([], "classification", False),
        ([["A", "A"], ["A"]], "tagging", True),
        ([["A", "B"], ["A"]], "tagging", False),
        ([2, 2], "multiple_choice", True),
        ([0.25, 0.5], "regression", False),
    ],
)
def test_constant_predictions_are_recognised(predictions, kind, expected):
    assert constant(predictions, kind) == expected


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["", "", ""], True),  # no answer to everything
        (["1952 in", "the old", "Oulu was"], True),  # the same two words by position
        (["1952 in", "the old town", "Oulu was"], False),
        (["Turku", "castle", "founded"], False),
        (["in", "in", "in"], True),
    ],
)
def test_answers_that_are_the_same_by_text_or_by_position_are_constant(answers, expected):
    contexts = ["1952 in the city of Turku", "the old town and its castle in", "Oulu was founded in 1605"]
    assert constant(answers, "span_qa", contexts) == expected


def test_the_chance_loss_is_the_entropy_of_the_training_labels():
    def rows(labels):
        return [(np.array([0, 5, 2]), [3], [0], [label], 1) for label in labels]

    balanced = helpers.make_examples("c", "classification", 3, rows([0, 1, 2] * 4))
    skewed = helpers.make_examples("c", "classification", 3, rows([0] * 9 + [1] + [-1] * 5))
    assert chance_loss(balanced, 200, False) == pytest.approx(math.log(3))
    assert chance_loss(balanced, 200, True) == pytest.approx(1.0)
    assert chance_loss(skewed, 200, False) == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    values = helpers.make_examples("r", "regression", 1, rows([0.0, 1.0]))
    assert chance_loss(values, 200, True) == pytest.approx(0.25)


@pytest.mark.parametrize("kind", ["multiple_choice", "span_qa", "mlm"])
def test_where_there_are_no_fixed_classes_chance_is_uniform(kind):
    examples = helpers.random_examples(kind, 0)
    assert chance_loss(examples, 200, True) == pytest.approx(1.0)
    reads = [examples.num_reads(r) for r in range(len(examples))]
    expected = math.log(200) if kind == "mlm" else np.mean(np.log(reads))
    assert chance_loss(examples, 200, False) == pytest.approx(expected)


def learned(losses, num_steps=100, tasks=None, chance=(1.0986,), stretch=20):
    parts = np.split(np.array(losses), range(stretch, len(losses), stretch))
    history = [(len(part), float(sum(part))) for part in parts]
    return nothing_learned(history, num_steps, np.zeros(num_steps * 4, dtype=int) if tasks is None else tasks, chance)


def test_a_loss_that_stays_at_the_entropy_is_degenerate_and_both_numbers_are_reported():
    reason = learned([1.2] * 100)
    assert reason == "the mean loss of the last 20 steps, 1.200, is not below the label entropy, 1.099"


def test_a_loss_that_fell_is_not_and_only_the_end_counts():
    assert learned([2.0] * 80 + [1.0] * 20) is None
    assert learned([0.5] * 80 + [1.5] * 20) is not None


def test_short_runs_and_runs_seen_in_their_last_steps_only_are_not_judged():
    assert learned([1.5] * 99, num_steps=99) is None
    assert learned([1.5] * 10, num_steps=200) is None
    assert learned([1.5] * 20, num_steps=200) is not None


def test_with_one_label_there_is_nothing_to_learn():
    assert learned([0.5] * 100, chance=(0.0,)) is None


def test_of_a_mixture_the_tasks_of_the_last_steps_count():
    tasks = np.array([0] * 320 + [1] * 80)  # the last 20 steps of four examples
    assert learned([1.0] * 100, tasks=tasks, chance=(0.5, 2.0)) is None
    assert learned([1.0] * 100, tasks=tasks, chance=(2.0, 0.5)) is not None
