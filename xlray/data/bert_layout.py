"""From BERT's layout to XLM-R's: encoders with XLM-R's tokenizer in a BERT, such as multilingual MiniLM and E5-small."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from xlray.data.encoders import CONFIG, MODEL_TYPE, TOKENIZER, WEIGHTS, check_weights, encoder_vocabulary, weight_files
from xlray.errors import InputError, require
from xlray.storage.files import atomic_folder

FIRST = 2  # XLM-R's positions start after those of the two rows that no token has
IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}  # of XLM-R's tokenizer
POSITIONS, TOKEN_TYPES = "embeddings.position_embeddings.weight", "embeddings.token_type_embeddings.weight"


def from_bert(source: Path | str, folder: Path | str) -> Path:
    """Write a BERT encoder as the XLM-R encoder that computes the same.

    Both have the same layers. BERT counts positions from 0, XLM-R from 2, so its table gets two rows more; and XLM-R has one
    type of token, which is BERT's first. Heads and the pooler are left out.

    Args:
        source: folder with config.json, tokenizer.json and safetensors in fp32 or fp16, as `save_pretrained` writes them.
        folder: to be made; must not be there.

    Returns:
        The new folder, which `Encoder(path)` takes.

    Raises:
        InputError: it is no BERT encoder with absolute positions, its tokenizer is not XLM-R's in kind, or `folder` is there.
    """
    source, folder = Path(source).expanduser(), Path(folder).expanduser()
    require(not folder.exists(), "a new folder is given", str(folder), "from_bert")
    config = _bert_config(source / CONFIG)
    weights: dict[str, Any] = {}
    for name in weight_files(source):
        weights |= load_file(source / name)
    own = {name.removeprefix("bert."): value for name, value in weights.items()}
    own = {
        name: v
        for name, v in own.items()
        if name.startswith(("embeddings.", "encoder.")) and ".position_ids" not in name
    }
    for name in (POSITIONS, TOKEN_TYPES):
        if name not in own:
            raise InputError(f"{source}: the weights of a BERT must be there, but {name} is not.")
    table = own[POSITIONS]
    own[POSITIONS] = np.concatenate([np.zeros((FIRST, table.shape[1]), table.dtype), table])
    own[TOKEN_TYPES] = own[TOKEN_TYPES][:1]
    changed = {
        "architectures": ["XLMRobertaModel"],
        "model_type": MODEL_TYPE,
        "max_position_embeddings": len(table) + FIRST,
        "type_vocab_size": 1,
        **IDS,
    }
    with atomic_folder(folder) as staging:
        (staging / CONFIG).write_text(json.dumps({**config, **changed}, indent=2))
        save_file(own, staging / WEIGHTS)
        shutil.copyfile(source / TOKENIZER, staging / TOKENIZER)
        check_weights(staging)
        encoder_vocabulary(staging)
    return folder


def _bert_config(path: Path) -> dict[str, Any]:
    try:
        config = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} must be a BERT configuration, but: {error!r}.") from error
    kind = config.get("model_type")
    require(kind == "bert", "`model_type` is 'bert'", kind, str(path))
    how = config.get("position_embedding_type", "absolute")
    require(how == "absolute", "`position_embedding_type` is 'absolute'", how, str(path))
    require(not config.get("is_decoder"), "it is an encoder", config, str(path))
    return config
