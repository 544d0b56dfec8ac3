"""Steps of the training engine on tiny models, over processes, stages and budgets."""

from __future__ import annotations

import time

import helpers
import torch

from xlray.training import batches
from xlray.training.model import Model, initialise_heads, random_encoder

STEPS, SAVED_AT, BATCH_SIZE, LEARNING_RATE = 12, 6, 16, 1e-3


CLIP_NORM = 1.5  # between the norms of the run, so that some steps are clipped and others are not


FP32, BF16 = 1e-4, 5e-2


def build_model():
    data = helpers.all_kinds()
    plan = batches.layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, True)
    model = Model(random_encoder(helpers.TINY, 0), plan, 0.1)
    initialise_heads(model, 1)
    return data, plan, model


def wait_for(path):
    limit = time.monotonic() + 1_000  # a bound on hanging, not a measurement
    while not path.exists():
        assert time.monotonic() < limit, f"{path} did not appear"
        time.sleep(0.05)
    return torch.load(path)


def save(value, path):
    torch.save(value, path.with_suffix(".part"))
    path.with_suffix(".part").rename(path)


def norm(weights):
    return sum(float((value**2).sum()) for value in weights.values()) ** 0.5


def minus(a, b):
    assert a.keys() == b.keys()
    return {name: a[name] - b[name] for name in a}


def one_step(execution, precision):
    """Loss of one training step."""
    from xlray.training import engine

    data, plan, model = build_model()
    running = engine.start_engine(
        model, execution, engine.Optimization(0.01, CLIP_NORM, precision), torch.device("cpu")
    )
    six = torch.arange(6).numpy()
    rows = batches.step_rows(data, six, six, 0, 0, plan)
    loss = float(engine.train_step(running, [batches.collate(data, rows, plan)], LEARNING_RATE).sum())
    engine.stop_engine(running)
    return loss
