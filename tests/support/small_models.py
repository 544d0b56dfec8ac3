"""Small models over a batch of every kind of task, and comparing them with transformers' own."""

from __future__ import annotations

import itertools

import helpers
import torch

from xlray.training.batches import layout
from xlray.training.model import Model, initialise_heads, random_encoder

RELATIVE = 1e-5
PAD = 1


def build(data, dropout=0.0, scaled=True, seed=0):
    plan = layout(data, helpers.TINY.vocab_size, helpers.MASK_ID, scaled)
    model = Model(random_encoder(helpers.TINY, seed), plan, dropout)
    initialise_heads(model, seed + 1)
    with torch.no_grad():  # no bias or norm at its initial value, so that a forgotten one shows
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(name))))
    return model, plan


def unpack(batch):
    """Token ids of each sequence of a pack."""
    offsets = batch.sequences.offsets.tolist()
    return [batch.input_ids[0, a:b] for a, b in itertools.pairwise(offsets)]


def padded(sequences):
    ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=PAD)
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def relative(a, b):
    return float((a - b).norm() / b.norm())


def rows_task(data, kind):
    return [e.kind for e in data].index(kind)
