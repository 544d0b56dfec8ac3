import threading

import helpers
import numpy as np
import pytest

from xlray.training import batches, packing
from xlray.training.prefetch import made_ahead, pack_step


def test_all_ranks_together_pack_every_row_once_and_agree_on_the_counts():
    data = helpers.all_kinds()
    plan = batches.layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, True)
    random = np.random.default_rng(0)
    tasks, rows = random.integers(0, len(data), 24), random.integers(0, 64, 24)
    chosen = batches.step_rows(data, tasks, rows, 0, 5, plan)
    steps = [pack_step(7, data, chosen, plan, 150, rank, 3) for rank in range(3)]
    total = sum(int(data[row.task].row_tokens[row.row]) for row in chosen)
    lengths = np.array([data[row.task].row_tokens[row.row] for row in chosen])
    assert {(step.number, step.num_tokens, step.num_slots, len(step.micro_batches)) for step in steps} == {
        (7, total, packing.num_slots(packing.plan_step(lengths, 3, 150), lengths), len(steps[0].micro_batches))
    }
    packed = [int(b.input_ids.numel()) for step in steps for b in step.micro_batches if len(b.sequence_rows)]
    assert sum(packed) == total
    assert max(packed) <= 150
    found = sorted(int(row) for step in steps for b in step.micro_batches for row in {r for r, _ in b.sequence_rows})
    assert set(found) == {row.row for row in chosen}


def test_items_are_made_ahead_in_order_by_another_thread():
    made, makers = [], set()

    def items():
        for i in range(5):
            makers.add(threading.get_ident())
            made.append(i)
            yield i

    seen = []
    for item in made_ahead(items()):
        seen.append(item)
        assert len(made) <= item + 2  # at most one ahead
    assert seen == made == list(range(5))
    assert threading.get_ident() not in makers


def test_an_error_of_the_maker_reaches_the_user():
    def items():
        yield 1
        raise KeyError("lost")

    found = made_ahead(items())
    assert next(found) == 1
    with pytest.raises(KeyError, match="lost"):
        next(found)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    found = made_ahead(iter(range(100)))
    assert next(found) == 0
    found.close()
    assert threading.active_count() == before
