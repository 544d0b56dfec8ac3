"""Folders of weights: what is written loads in transformers and here, what does not fit is named."""

import json

import helpers
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import RELATIVE, build, padded, relative, rows_task, unpack
from transformers import XLMRobertaForMaskedLM

from xlray.errors import InputError
from xlray.training.batches import collate, step_rows
from xlray.training.model import load_encoder, random_encoder
from xlray.training.weights import save_weights


@pytest.fixture
def data():
    return helpers.all_kinds()


@pytest.fixture
def saved(data, tmp_path):
    model, plan = build(data)
    save_weights(tmp_path / "encoder", helpers.parameters(model), model.encoder.config, None)
    return tmp_path / "encoder", model.eval(), plan


def test_a_saved_folder_loads_in_transformers_with_the_same_masked_lm_logits(data, saved):
    folder, model, plan = saved
    plain, info = XLMRobertaForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    batch = collate(data, step_rows(data, np.full(6, rows_task(data, "mlm")), np.arange(6), 0, 0, plan), plan)
    with torch.no_grad():
        states = model.encoder(
            input_ids=batch.input_ids, position_ids=batch.position_ids, sequences=batch.sequences
        ).last_hidden_state[0]
        own = model.lm_head(states, model.encoder.embeddings.word_embeddings)
        sequences = unpack(batch)
        logits = plain.eval()(**padded(sequences)).logits
        assert relative(own, torch.cat([logits[i, : len(s)] for i, s in enumerate(sequences)])) < RELATIVE


def test_a_saved_folder_loads_back_bit_equal(saved):
    folder, model, _ = saved
    encoder, head = load_encoder(folder)
    assert all(torch.equal(value, encoder.state_dict()[name]) for name, value in model.encoder.state_dict().items())
    assert head.keys() == model.lm_head.state_dict().keys()
    assert all(torch.equal(value, head[name]) for name, value in model.lm_head.state_dict().items())


def edit(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


DENSE = "roberta.encoder.layer.1.output.dense.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(DENSE), r"missing: \['encoder\.layer\.1\.output\.dense\.weight'\]"),
        (lambda w: w.update({"roberta.surplus.weight": torch.zeros(2)}), r"unexpected: \['surplus\.weight'\]"),
        (
            lambda w: w.update({DENSE: torch.zeros(3, 3)}),
            r"of another shape: \['encoder\.layer\.1\.output\.dense\.weight \[3, 3\] instead of \[64, 128\]'\]",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(saved, change, message):
    edit(saved[0], change)
    with pytest.raises(InputError, match=message):
        load_encoder(saved[0])


def test_an_encoder_folder_without_weights_is_refused(saved):
    (saved[0] / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"must hold model\.safetensors"):
        load_encoder(saved[0])


def test_pooler_and_position_buffers_of_public_encoders_are_passed_over_and_half_precision_is_read(saved):
    folder, model, _ = saved

    def change(weights):
        for name, value in weights.items():
            weights[name] = value.half()
        weights["roberta.pooler.dense.weight"] = torch.zeros(64, 64)
        weights["roberta.embeddings.position_ids"] = torch.arange(66)[None]

    edit(folder, change)
    encoder, _ = load_encoder(folder)
    for name, value in model.encoder.named_parameters():
        assert encoder.get_parameter(name).dtype == torch.float32
        torch.testing.assert_close(encoder.get_parameter(name), value.half().float(), rtol=0, atol=0)


def test_the_saved_configuration_is_that_of_xlm_roberta(saved):
    config = json.loads((saved[0] / "config.json").read_text())
    assert config["model_type"] == "xlm-roberta"
    assert "xlray" not in json.dumps(config)


def test_random_weights_depend_on_the_seed_alone(data):
    torch.manual_seed(1)
    a = random_encoder(helpers.TINY, 5).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    b, c = random_encoder(helpers.TINY, 5).state_dict(), random_encoder(helpers.TINY, 6).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a[name], b[name]) for name in a)
    name = "embeddings.word_embeddings.weight"
    assert not torch.equal(a[name], c[name])


def test_fresh_heads_depend_on_the_seed_alone(data):
    models = [build(data, seed=s)[0] for s in (0, 0, 1)]
    assert torch.equal(models[0].heads.weight, models[1].heads.weight)
    assert not torch.equal(models[0].heads.weight, models[2].heads.weight)
    assert float(models[0].heads.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
