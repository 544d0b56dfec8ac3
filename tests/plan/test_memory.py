"""Predicted memory and what "auto" makes of it."""

import dataclasses
import itertools

import pytest

from xlray.config.execution import Execution
from xlray.config.recipes import XLM_R_LARGE
from xlray.data.encoders import KNOWN_ARCHITECTURES
from xlray.errors import InputError
from xlray.plan import machine, memory
from xlray.plan.memory import GIB, ModelShape, candidates, choose, predict, table

LARGE = ModelShape(KNOWN_ARCHITECTURES[XLM_R_LARGE.path])
AUTO = Execution(zero_stage="auto", activation_checkpointing="auto")


def device(precision, tokens=0, **fields):
    execution = Execution(**{"zero_stage": 1, **fields})
    return predict(LARGE, precision, execution, tokens).device / GIB


@pytest.mark.parametrize("masked_lm", [False, True])
@pytest.mark.parametrize("hidden_size", [32, 64])
def test_parameters_are_counted_as_the_model_has_them(hidden_size, masked_lm):
    import helpers

    from xlray.training import batches
    from xlray.training.model import Model, random_encoder

    architecture = dataclasses.replace(helpers.TINY, hidden_size=hidden_size)
    plan = batches.Layout((0,), (0,), ("mlm" if masked_lm else "retrieval",), architecture.vocab_size, 4, False)
    model = Model(random_encoder(architecture, 0), plan, 0.1)
    assert ModelShape(architecture, masked_lm).num_parameters == sum(p.numel() for p in model.parameters())


def test_xlm_r_large_has_its_560_million_parameters():
    assert LARGE.num_parameters == 558_840_832  # 559,890,432 with the pooler, which is left out


def test_the_textbook_bytes_per_parameter_at_one_worker_without_stages():
    need = predict(LARGE, "fp32", Execution(zero_stage=0), 0)
    assert need.device == 16 * LARGE.num_parameters


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_more_workers_and_higher_stages_need_no_more(precision):
    for low, high in itertools.pairwise([1, 2, 3]):
        assert device(precision, zero_stage=high, num_workers=8) <= device(precision, zero_stage=low, num_workers=8)
    for stage in (1, 2, 3):
        sizes = [device(precision, zero_stage=stage, num_workers=n) for n in (2, 4, 8)]
        assert sizes == sorted(sizes, reverse=True)


def test_offload_moves_the_optimizer_to_the_host():
    here, there = (predict(LARGE, "bf16", Execution(zero_stage=2, offload=o, num_workers=4), 0) for o in (False, True))
    assert there.device < here.device
    assert (there.masters, there.moments, here.host) == (0, 0, 0)
    assert there.host >= here.masters + here.moments


def test_checkpointing_trades_activations_for_arithmetic():
    plain, checkpointed = (
        predict(LARGE, "bf16", Execution(activation_checkpointing=c), 8_192).activations for c in (False, True)
    )
    assert checkpointed < plain / 5
    assert predict(LARGE, "bf16", Execution(), 16_384).activations == pytest.approx(2 * plain)


def test_masked_language_modelling_needs_its_logits():
    masked = dataclasses.replace(LARGE, masked_lm=True)
    assert (
        predict(masked, "bf16", Execution(), 8_192).activations > predict(LARGE, "bf16", Execution(), 8_192).activations
    )


def settled(device_gib, precision="bf16", execution=AUTO, longest=256, host_gib=1_000):
    found = choose(LARGE, precision, execution, int(device_gib * GIB), host_gib * GIB, longest)
    return found.zero_stage, found.activation_checkpointing


def test_the_cheapest_that_fits_is_chosen():
    assert settled(80) == (1, False)
    assert settled(80, "fp32") == (0, False)
    eight = dataclasses.replace(AUTO, num_workers=8)
    seen = [settled(gib, execution=eight) for gib in (80, 16, 12, 8, 6, 5, 4.5)]
    order = [(c.zero_stage, c.activation_checkpointing) for c in candidates("bf16", eight)]
    assert [order.index(choice) for choice in seen] == sorted(order.index(choice) for choice in seen)
    assert len(set(seen)) >= 3


def test_what_is_fixed_stays_and_what_is_given_is_not_checked():
    assert settled(80, execution=dataclasses.replace(AUTO, zero_stage=3)) == (3, False)
    assert settled(0.1, execution=Execution(zero_stage=2)) == (2, False)
    assert settled(80, execution=dataclasses.replace(AUTO, activation_checkpointing=True))[1] is True


def test_where_nothing_fits_the_least_need_is_reported():
    with pytest.raises(InputError, match=r"a device's 2\.0 GiB` must hold .* but the least is [\d.]+ GiB"):
        settled(2)


def test_a_budget_that_is_to_be_found_may_be_small():
    searching = dataclasses.replace(AUTO, micro_batch_tokens="auto")
    fixed = dataclasses.replace(AUTO, micro_batch_tokens=262_144)
    assert settled(14, execution=searching)
    with pytest.raises(InputError, match="predicted memory"):
        settled(14, execution=fixed)


def test_offload_without_the_memory_is_refused_in_one_line():
    execution = Execution(offload=True, zero_stage="auto", num_workers=2)
    memory.check_offload(LARGE, "bf16", execution, 2, 64 * GIB)
    memory.check_offload(LARGE, "bf16", Execution(), 2, 0)
    with pytest.raises(InputError, match=r"memory for offload \(\d+\.\d GiB\) <= free memory .* got 4.0 GiB"):
        memory.check_offload(LARGE, "bf16", execution, 2, 4 * GIB)


def test_free_memory_is_less_than_all_of_it():
    assert 0 < machine.free_host_bytes() < 2**50


def test_the_table_sets_what_was_measured_beside_what_is_predicted():
    ran = {"zero_stage": 1, "offload": False, "activation_checkpointing": False, "num_workers": 1, "gpus_per_worker": 0}
    records = [
        {"execution": ran, "micro_batch_tokens": 8_192, "peak_memory_bytes": size} for size in (5 * GIB, 7 * GIB)
    ]
    others = [
        {"execution": {**ran, "num_workers": 2}, "micro_batch_tokens": 8_192, "peak_memory_bytes": 9 * GIB},
        {"execution": ran, "micro_batch_tokens": 512, "peak_memory_bytes": 9 * GIB},
        {"execution": ran, "micro_batch_tokens": 8_192},
    ]
    rows = table(LARGE, "bf16", Execution(), [*records, *others])
    assert len(rows) == 3 * 4
    (own,) = [row for row in rows if row["asked_for"]]
    assert (own["zero_stage"], own["offload"], own["measured_bytes"]) == (1, False, 7 * GIB)
    assert own["device_bytes"] == own["state_bytes"] + own["activation_bytes"]
    assert [row["measured_bytes"] for row in rows if not row["asked_for"]] == [None] * 11
    assert len(table(LARGE, "fp32", AUTO, [])) == 2 + 3 * 4


def test_a_budget_that_was_searched_for_is_predicted_as_it_was_measured():
    ran = {"zero_stage": 2, "offload": False, "activation_checkpointing": True, "num_workers": 1, "gpus_per_worker": 0}
    record = {"execution": ran, "micro_batch_tokens": 2_048, "peak_memory_bytes": GIB}
    auto = dataclasses.replace(AUTO, micro_batch_tokens="auto")
    found = {row["micro_batch_tokens"]: row for row in table(LARGE, "bf16", auto, [record])}
    assert found.keys() == {2_048, memory.ENOUGH_TOKENS}
    assert (found[2_048]["measured_bytes"], found[2_048]["zero_stage"]) == (GIB, 2)
    assert table(LARGE, "bf16", dataclasses.replace(auto, gpus_per_worker=1), [record]) == table(
        LARGE, "bf16", dataclasses.replace(auto, gpus_per_worker=1), []
    )


def test_a_gpu_keeps_no_masks_of_dropout():
    tokens, sizes = 8_192, LARGE.architecture
    here, there = (predict(LARGE, "bf16", Execution(gpus_per_worker=g), tokens).activations for g in (0, 1))
    assert here - there == 2 * 2 * sizes.num_layers * sizes.hidden_size * tokens  # two masks in bf16
    assert 0.08 < 1 - there / here < 0.12


def test_the_embeddings_gradient_is_cast_where_activations_were_but_not_on_a_gpu():
    cast = 4 * LARGE.embedding
    assert predict(LARGE, "bf16", Execution(gpus_per_worker=1), 64).activations < cast
    assert predict(LARGE, "bf16", Execution(), 64).activations == cast
    assert predict(LARGE, "fp32", Execution(), 64).activations < cast
    assert predict(LARGE, "bf16", Execution(), 8_192).activations > cast
