"""An encoder's files: one or several shards, shapes by the configuration, and what is refused."""

import json

import helpers
import pytest
import torch
from safetensors.torch import load_file, save_file

from xlray.config.recipes import Encoder
from xlray.data.encoders import (
    check_weights,
    encoder_files,
    encoder_folder,
    expected_shapes,
    read_config,
    weight_files,
)
from xlray.errors import InputError
from xlray.training.model import load_encoder


@pytest.fixture
def encoder(tmp_path):
    folder, _, _ = helpers.encoder_folder(tmp_path / "encoder", ["word"])
    return folder


def change(folder, edit):
    weights = load_file(folder / "model.safetensors")
    edit(weights)
    save_file(weights, folder / "model.safetensors")


def shard(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    where = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in sorted(set(where.values())):
        save_file({name: weights[name] for name in names if where[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def test_the_expected_shapes_are_those_of_the_model(encoder):
    model, _ = load_encoder(encoder)
    found = {name: list(value.shape) for name, value in model.state_dict().items()}
    assert expected_shapes(*read_config(encoder)) == found
    check_weights(encoder)


def test_sizes_are_read_from_the_configuration_and_what_is_none_is_refused(encoder):
    assert read_config(encoder) == (helpers.TINY, 1)
    path = encoder / "config.json"
    config = json.loads(path.read_text())
    few = [
        {**config, "max_position_embeddings": 2},
        {**config, "hidden_size": None},
        {},
        [],
        {**config, "num_attention_heads": 7},
    ]
    for text in (*map(json.dumps, few), "{"):
        path.write_text(text)
        with pytest.raises(InputError, match=r"config\.json must be an XLM-R configuration, but: "):
            read_config(encoder)


def test_an_encoder_of_another_kind_is_refused_though_its_weights_have_the_same_names(encoder):
    path = encoder / "config.json"
    config = json.loads(path.read_text())
    for other in ("bert", "camembert", None):
        path.write_text(json.dumps({**config, "model_type": other}))
        with pytest.raises(InputError, match=rf"`model_type` must be 'xlm-roberta', but got {other!r}"):
            read_config(encoder)


# What the configurations of encoders in XLM-R's layout hold beside their sizes, as published.
PUBLISHED = {
    "XLM-R, multilingual E5-base and E5-large": {"output_past": True, "layer_norm_eps": 1e-05, "use_cache": True},
    "XLM-V and Glot500": {"classifier_dropout": None, "bos_token_id": 0, "eos_token_id": 2, "torch_dtype": "float32"},
    "without what is XLM-R's by default": {"pad_token_id": None, "position_embedding_type": None},
}


@pytest.mark.parametrize("more", PUBLISHED.values(), ids=PUBLISHED)
def test_published_configurations_of_the_layout_load(encoder, more):
    path = encoder / "config.json"
    config = json.loads(path.read_text()) | {"pad_token_id": 1, "position_embedding_type": "absolute", **more}
    path.write_text(
        json.dumps({name: value for name, value in config.items() if name not in more or value is not None})
    )
    assert encoder_folder(Encoder(str(encoder))) == encoder
    load_encoder(encoder)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"model_type": "bert"},
            "but got 'bert'. If its tokenizer is XLM-R's, `xlray.data.bert_layout.from_bert` converts",
        ),
        ({"model_type": "xlm-roberta-xl"}, "`model_type` must be 'xlm-roberta', but got 'xlm-roberta-xl'."),
        ({"pad_token_id": 0}, "`pad_token_id` must be 1, as XLM-R's, but got 0"),
        ({"position_embedding_type": "relative_key"}, "`position_embedding_type` must be 'absolute', as XLM-R's, but"),
        ({"is_decoder": True}, "`is_decoder` must be False, as XLM-R's, but got True"),
    ],
)
def test_what_would_be_read_otherwise_than_it_was_trained_is_refused(encoder, changes, said):
    path = encoder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as caught:
        encoder_folder(Encoder(str(encoder)))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_slow_tokenizer_alone_is_refused_with_what_makes_a_fast_one(encoder):
    (encoder / "tokenizer.json").rename(encoder / "sentencepiece.bpe.model")
    with pytest.raises(
        InputError, match=r"lacks tokenizer\.json\. `AutoTokenizer.*save_pretrained\(\.\.\.\)` writes it"
    ):
        encoder_folder(Encoder(str(encoder)))


def test_shards_load_like_one_file(encoder):
    whole, _ = load_encoder(encoder)
    shard(encoder)
    check_weights(encoder)
    parts, _ = load_encoder(encoder)
    assert all(torch.equal(value, parts.state_dict()[name]) for name, value in whole.state_dict().items())
    assert len(encoder_files(encoder)) == 5
    (encoder / weight_files(encoder)[1]).unlink()
    with pytest.raises(InputError, match=r"but lacks model-00002-of-00002\.safetensors"):
        encoder_files(encoder)


def test_pickled_weights_are_refused_by_name(encoder):
    (encoder / "model.safetensors").rename(encoder / "pytorch_model.bin")
    for look in (encoder_files, check_weights, load_encoder):
        with pytest.raises(
            InputError, match=r"holds pytorch_model\.bin only, a pickle .* save it again as safetensors"
        ):
            look(encoder)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda w: w.pop("roberta.encoder.layer.0.output.dense.bias"),
            "missing: ['encoder.layer.0.output.dense.bias']",
        ),
        (lambda w: w.update({"roberta.extra": torch.zeros(2)}), "unexpected: ['extra']"),
        (
            lambda w: w.update({"roberta.embeddings.word_embeddings.weight": torch.zeros(7, 64)}),
            "of another shape: ['embeddings.word_embeddings.weight [7, 64] instead of [200, 64]']",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(encoder, edit, message):
    change(encoder, edit)
    for look in (check_weights, load_encoder):
        with pytest.raises(InputError) as caught:
            look(encoder)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_heads_a_pooler_and_position_ids_may_be_there(encoder):
    extra = {"classifier.dense.weight": torch.zeros(2, 2), "roberta.pooler.dense.bias": torch.zeros(2)}
    extra |= {"roberta.embeddings.position_ids": torch.zeros(1, 2), "lm_head.bias": torch.zeros(200)}
    change(encoder, lambda weights: weights.update(extra))
    check_weights(encoder)
    _, head = load_encoder(encoder)
    assert head.keys() == {"bias"}


@pytest.mark.parametrize("content", [b"", b"weights", b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_reported(encoder, content):
    (encoder / "model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="must be a whole safetensors file"):
        check_weights(encoder)


def test_a_truncated_file_and_a_broken_index_are_reported(encoder):
    path = encoder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match=r"it has \d+ bytes instead of \d+"):
        check_weights(encoder)
    path.unlink()
    for text in ("{}", "[]", '{"weight_map": {"a": "../elsewhere.safetensors"}}', '{"weight_map": {}}'):
        (encoder / "model.safetensors.index.json").write_text(text)
        with pytest.raises(InputError, match="must name the shard of each weight"):
            weight_files(encoder)
