"""A BERT with XLM-R's kind of tokenizer becomes the XLM-R encoder that computes the same."""

import json

import helpers
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel, XLMRobertaModel

from xlray.config.recipes import Encoder
from xlray.data.bert_layout import from_bert
from xlray.data.encoders import encoder_folder, read_config
from xlray.errors import InputError
from xlray.training.model import load_encoder


@pytest.fixture
def bert(tmp_path):
    """As multilingual MiniLM and E5-small are published, in their shape if not in their size."""
    folder = tmp_path / "bert"
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=200,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=32,
        type_vocab_size=2,
        layer_norm_eps=1e-12,
    )
    model = BertModel(config).eval()
    model.save_pretrained(folder)
    helpers.word_tokenizer(folder / "tokenizer.json", ["word"], 200)
    return folder, model


def test_the_states_are_those_of_the_bert(bert, tmp_path):
    folder, model = bert
    made = from_bert(folder, tmp_path / "made")
    assert encoder_folder(Encoder(str(made))) == made
    sizes, num_token_types = read_config(made)
    assert (sizes.max_positions, num_token_types) == (34, 1)
    encoder = XLMRobertaModel.from_pretrained(made, add_pooling_layer=False)
    ids = torch.tensor([[0, 5, 17, 33, 2]])
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        found = encoder.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(found, wanted)


def test_shards_and_the_prefix_of_a_masked_language_model_are_read_too(bert, tmp_path):
    folder, _ = bert
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    where = {f"bert.{name}": f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        save_file({name: weights[name[5:]] for name in where if where[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    encoder, _ = load_encoder(from_bert(folder, tmp_path / "made"))
    positions = encoder.state_dict()["embeddings.position_embeddings.weight"]
    assert torch.equal(positions[2:], weights["embeddings.position_embeddings.weight"]) and not positions[:2].any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "xlm-roberta"}, "`model_type` is 'bert'` must hold, but got 'xlm-roberta'"),
        ({"position_embedding_type": "relative_key"}, "is 'absolute'` must hold, but got 'relative_key'"),
    ],
)
def test_what_is_no_such_bert_is_refused(bert, tmp_path, changes, said):
    folder, _ = bert
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(InputError) as caught:
        from_bert(folder, tmp_path / "made")
    assert said in str(caught.value).replace("``", "`") and not (tmp_path / "made").exists()


def test_a_folder_that_is_there_is_kept(bert, tmp_path):
    (tmp_path / "made").mkdir()
    with pytest.raises(InputError, match="a new folder is given"):
        from_bert(bert[0], tmp_path / "made")
