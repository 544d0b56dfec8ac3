"""The files of an XLM-R encoder: which there must be, and whether their shapes fit. Headers only; standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlray.errors import InputError

CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PATTERNS = (CONFIG, TOKENIZER, WEIGHTS, INDEX, "model-*.safetensors")  # what is fetched of a repository on the Hub


def weight_files(folder: Path) -> tuple[str, ...]:
    """Names of the safetensors files that hold the weights: one, or the shards that an index names.

    Raises:
        InputError: there are none, or the index is no index.
    """
    if (folder / WEIGHTS).is_file():
        return (WEIGHTS,)
    if not (folder / INDEX).is_file():
        pickled = any(folder.glob("pytorch_model*.bin"))
        has = "holds pytorch_model.bin only, a pickle that is not loaded: save it again as safetensors"
        raise InputError(
            f"encoder folder {str(folder)!r} must hold {WEIGHTS}, but {has if pickled else 'there is none'}."
        )
    try:
        shards = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
        if not shards or any(Path(name).name != name for name in shards):
            raise ValueError("shards must be files beside it")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / INDEX} must name the shard of each weight, but: {error!r}.") from error
    return tuple(shards)


def encoder_files(folder: Path) -> tuple[str, ...]:
    """Names of all files of an encoder, of which its identity is made.

    Raises:
        InputError: one is missing; names it.
    """
    shards = weight_files(folder)
    names = (CONFIG, TOKENIZER, *shards, *(() if shards == (WEIGHTS,) else (INDEX,)))
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise InputError(f"encoder folder {str(folder)!r} must hold {', '.join(names)}, but lacks {', '.join(absent)}.")
    return names


def check_weights(folder: Path) -> None:
    """Raise `InputError` unless the weights are those of the configuration; names what is not. Reads headers only.

    Heads are not looked at: they are made anew, but for the one of masked language modelling.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        expected = expected_shapes(config)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / CONFIG} must be an XLM-R configuration, but: {error!r}.") from error
    found: dict[str, list[int]] = {}
    for name in weight_files(folder):
        found |= _shapes(folder / name)
    body = body_names(found)
    missing, extra = sorted(expected.keys() - body.keys()), sorted(body.keys() - expected.keys())
    wrong = [f"{k} {found[body[k]]} instead of {v}" for k, v in expected.items() if k in body and found[body[k]] != v]
    if missing or extra or wrong:
        raise InputError(
            f"{folder}: weights must fit config.json, but missing: {missing[:4]}, unexpected: {extra[:4]}, "
            f"of another shape: {wrong[:4]}."
        )


def body_names(names: Mapping[str, Any]) -> dict[str, str]:
    """The encoder's own weights: name in the model -> name in the file. Heads, pooler and position ids are left out."""
    prefix = "roberta." if any(name.startswith("roberta.") for name in names) else ""
    own = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    heads = ("lm_head.", "pooler.", "classifier.", "qa_outputs.")
    return {
        k: v for k, v in own.items() if not k.startswith(heads) and not k.endswith((".position_ids", ".token_type_ids"))
    }


def expected_shapes(config: Mapping[str, Any]) -> dict[str, list[int]]:
    """Name and shape of each weight of XLM-R's encoder without a pooler."""
    h, i = int(config["hidden_size"]), int(config["intermediate_size"])
    tables = {"word": "vocab_size", "position": "max_position_embeddings", "token_type": "type_vocab_size"}
    shapes = {f"embeddings.{k}_embeddings.weight": [int(config[v]), h] for k, v in tables.items()}
    linear = {f"attention.self.{name}": (h, h) for name in ("query", "key", "value")}
    linear |= {"attention.output.dense": (h, h), "intermediate.dense": (i, h), "output.dense": (h, i)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(int(config["num_hidden_layers"])):
        where = f"encoder.layer.{layer}"
        norms += [f"{where}.attention.output.LayerNorm", f"{where}.output.LayerNorm"]
        for name, (rows, columns) in linear.items():
            shapes |= {f"{where}.{name}.weight": [rows, columns], f"{where}.{name}.bias": [rows]}
    return shapes | {f"{name}.{kind}": [h] for name in norms for kind in ("weight", "bias")}


def _shapes(path: Path) -> dict[str, list[int]]:
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 0 < size <= path.stat().st_size:
                raise ValueError("not a safetensors file")
            header = json.loads(file.read(size))
        end = max((entry["data_offsets"][1] for k, entry in header.items() if k != "__metadata__"), default=0)
        if path.stat().st_size != 8 + size + end:
            raise ValueError(f"it has {path.stat().st_size} bytes instead of {8 + size + end}")
        return {name: list(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} must be a whole safetensors file, but: {error}.") from error
