"""Which units dropout keeps: at its rate, independently, and as the token's key alone says."""

import math

import numpy as np
import pytest
import torch

from xlray.training import batches
from xlray.training.dropout import CounterDropout, keep_mask


def keys(n, seed=0):
    return torch.from_numpy(batches.mix(seed, np.arange(n)).view(np.int64))


@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_drops_at_its_rate_at_every_unit(probability):
    kept = keep_mask(keys(20_000), 3, 63, probability).bool()
    assert kept.shape == (20_000, 63)
    error = math.sqrt(probability * (1 - probability))
    assert abs(float(kept.double().mean()) - (1 - probability)) < 5 * error / math.sqrt(kept.numel())
    assert (kept.double().mean(0) - (1 - probability)).abs().max() < 5 * error / math.sqrt(20_000)


def test_dropout_of_units_sites_and_steps_is_independent():
    n, width = 20_000, 16
    masks = {
        name: keep_mask(k, site, width, 0.5).double()
        for name, k, site in (("one", keys(n), 0), ("another site", keys(n), 1), ("another step", keys(n, 1), 0))
    }
    tables = torch.cat(list(masks.values()), 1)
    correlations = torch.corrcoef(tables.T) - torch.eye(3 * width)
    assert correlations.abs().max() < 6 / math.sqrt(n)


def test_dropout_depends_on_the_key_alone():
    whole = keep_mask(keys(50), 2, 30, 0.3)
    order = torch.randperm(50)
    assert torch.equal(keep_mask(keys(50)[order], 2, 30, 0.3), whole[order])
    assert torch.equal(keep_mask(keys(50), 2, 32, 0.3)[:, :30], whole)  # both widths take eight hashes


def test_masks_are_those_of_splitmix64_bit_for_bit():
    table = keys(40).numpy().view(np.uint64)
    site, width, probability = 5, 10, 0.3  # ten units take three hashes
    counter = np.arange(site * 3 + 1, site * 3 + 4, dtype=np.uint64)
    with np.errstate(over="ignore"):
        z = table[:, None] + counter * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    lanes = np.ascontiguousarray(z).view(np.int16)[:, :width]
    wanted = lanes >= round(probability * 65536) - 32768
    assert torch.equal(keep_mask(keys(40), site, width, probability).bool(), torch.from_numpy(wanted))


def test_dropout_scales_what_it_keeps_and_only_in_training():
    module = CounterDropout(0, 0.25)
    module.keys = keys(4000)
    dropped = module(torch.ones(1, 4000, 32))
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert float(dropped.mean()) == pytest.approx(1.0, abs=0.01)
    assert torch.equal(module.eval()(torch.ones(1, 4000, 32)), torch.ones(1, 4000, 32))
