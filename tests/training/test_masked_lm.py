"""Which tokens are masked for masked-LM training, and by what."""

import math

import helpers
import numpy as np
import pytest
import torch

from xlray.training.batches import Row, collate, layout, step_rows

CLS, SEP, LETTERS = 0, 2, np.arange(5, 200)


@pytest.fixture(scope="module")
def text():
    random = np.random.default_rng(3)
    rows = []
    for length in random.integers(3, 60, 800):
        tokens = np.concatenate([[CLS], random.choice(LETTERS, length - 2), [SEP]])
        rows.append((tokens, [length], range(1, length - 1), [], max(1, round(0.15 * (length - 2)))))
    return [helpers.make_examples("text", "mlm", 0, rows)]


def masks_of(text, rows, plan):
    """By row: (masked ids, positions masked, labels there)."""
    batch = collate(text, rows, plan)
    found = {}
    offsets = batch.sequences.offsets.tolist()
    masked = batch.masked.reads[1:].tolist()
    for (row, _), a, b in zip(batch.sequence_rows.tolist(), offsets[:-1], offsets[1:], strict=True):
        inside = [i for i, read in enumerate(masked, 1) if a <= read < b]
        positions = batch.masked.reads[inside] - a
        found[row] = (batch.input_ids[0, a:b], positions, batch.masked.labels[inside])
    return found


def test_fifteen_percent_of_a_rows_tokens_are_masked_and_never_special_ones(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    rows = step_rows(text, np.zeros(800, dtype=int), np.arange(800), 0, 5, plan)
    for row, (ids, positions, labels) in masks_of(text, rows, plan).items():
        original = torch.tensor(text[0].tokens_of(row)).long()
        assert len(set(positions.tolist())) == len(positions) == max(1, round(0.15 * (len(original) - 2)))
        assert torch.equal(original[positions], labels)
        assert not set(labels.tolist()) & {CLS, SEP}
        others = torch.ones(len(ids), dtype=torch.bool)
        others[positions] = False
        assert torch.equal(ids[others], original[others])


def test_masked_tokens_become_mask_another_token_or_stay_in_eighty_ten_ten(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    rows = step_rows(text, np.zeros(800, dtype=int), np.arange(800), 0, 6, plan)
    fates, where = [], []
    for ids, positions, labels in masks_of(text, rows, plan).values():
        now = ids[positions]
        fates += torch.where(now == helpers.MASK_ID, 0, torch.where(now == labels, 2, 1)).tolist()
        where += [(int(p) - 1) / max(1, len(ids) - 3) for p in positions]
    rates = np.bincount(fates) / len(fates)
    assert len(fates) > 3000
    np.testing.assert_allclose(rates, [0.8, 0.1, 0.1], atol=4 * 0.4 / math.sqrt(len(fates)))
    assert abs(np.mean(where) - 0.5) < 4 * 0.3 / math.sqrt(len(where))  # no part of a sentence is preferred


def test_masks_do_not_depend_on_packing_but_on_step_and_seed(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    chosen = np.arange(20)
    rows = step_rows(text, np.zeros(20, dtype=int), chosen, 0, 5, plan)
    wanted = masks_of(text, rows, plan)
    apart = {}
    for part in (rows[7:][::-1], rows[:7]):
        apart |= masks_of(text, part, plan)
    for row, values in wanted.items():
        assert all(torch.equal(a, b) for a, b in zip(apart[row], values, strict=True))
    for first, seed in ((20, 5), (0, 6)):
        other = masks_of(text, step_rows(text, np.zeros(20, dtype=int), chosen, first, seed, plan), plan)
        same = [row for row in wanted if torch.equal(wanted[row][0], other[row][0])]
        assert len(same) < 5


def test_evaluation_masks_nothing(text):
    plan = layout(text, 200, helpers.MASK_ID, False)
    batch = collate(text, [Row(0, 3, 0, 0.0)], plan, masked=False)
    assert batch.masked is None
    assert batch.input_ids[0].tolist() == text[0].tokens_of(3).tolist()
