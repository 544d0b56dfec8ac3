"""Sizes of an encoder, known before it is loaded, and the sequences that fit it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlray import mini
from xlray.canonical import fingerprint
from xlray.config.recipes import XLM_R_BASE, XLM_R_LARGE, Architecture, Encoder, Intermediate, Pretraining, Target
from xlray.config.search import extreme_settings
from xlray.config.sweep import Sweep
from xlray.data.records import Sources
from xlray.data.tokenization import Vocabulary, load_vocabulary
from xlray.errors import InputError, require
from xlray.phases.spec import EncoderSpec, phase_hash
from xlray.storage.files import atomic_folder, file_digest
from xlray.storage.storage import Storage

MODEL_TYPE = "xlm-roberta"  # others with weights of the same names, such as BERT's, number positions otherwise
# Positions count from the one after `pad_token_id`: with another one each token would have its neighbour's.
FIXED = {"pad_token_id": 1, "position_embedding_type": "absolute", "is_decoder": False}
CONVERTIBLE = " If its tokenizer is XLM-R's, `xlray.data.bert_layout.from_bert` converts it."
CONFIG, TOKENIZER, WEIGHTS = "config.json", "tokenizer.json", "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
PATTERNS = (CONFIG, TOKENIZER, WEIGHTS, INDEX, "model-*.safetensors")  # what is fetched of a repository on the Hub
EMBEDDED = {mini.PRETRAINED.path: Path(mini.__file__).parent / "encoder"}  # encoders that are installed with xlray
SIZES = (  # of an `Architecture`, in its order, by their names in CONFIG
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "vocab_size",
    "max_position_embeddings",
)


def read_config(folder: Path) -> tuple[Architecture, int]:
    """The sizes of the encoder in a folder, and of its table of token types.

    Raises:
        InputError: its config.json is no XLM-R configuration.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        found = Architecture(*(int(config[name]) for name in SIZES)), int(config["type_vocab_size"])
        kind = config.get("model_type")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / CONFIG} must be an XLM-R configuration, but: {error!r}.") from error
    if kind != MODEL_TYPE:
        other = CONVERTIBLE if kind == "bert" else ""
        raise InputError(f"{folder / CONFIG}: `model_type` must be {MODEL_TYPE!r}, but got {kind!r}.{other}")
    for name, wanted in FIXED.items():
        value = config.get(name, wanted)
        if value != wanted:
            raise InputError(f"{folder / CONFIG}: `{name}` must be {wanted!r}, as XLM-R's, but got {value!r}.")
    return found


def architecture_of(encoder: Encoder | Pretraining, folder: Path | None) -> Architecture:
    """The sizes of an encoder: its recipe's, its config.json's, or, without its files, those that are known of it.

    Raises:
        InputError: there are neither files nor sizes that are known.
    """
    if isinstance(encoder, Pretraining):
        return encoder.architecture
    if folder is None:
        if encoder.path not in KNOWN_ARCHITECTURES:
            known = ", ".join(KNOWN_ARCHITECTURES)
            raise InputError(f"encoder {encoder.path!r}: sizes can be assumed of {known} only; give a folder instead.")
        return KNOWN_ARCHITECTURES[encoder.path]
    return read_config(folder)[0]


def check_fit(sweep: Sweep, encoder: Encoder | Pretraining, architecture: Architecture, sources: Sources) -> None:
    """Raise `InputError` where a recipe does not fit its encoder: sequences its position table, layers its depth.

    Sequences must fit the token budget as well.
    """
    longest = architecture.max_positions - 2  # positions start at 2
    recipes: list[tuple[str, Intermediate | Target | Pretraining]] = []
    own = (setting for setting in sweep.settings if setting.encoder == encoder)
    for setting in (*own, *extreme_settings(sweep)):
        recipes += [("intermediate", setting.intermediate), *((f"target {t.task!r}", t) for t in setting.targets)]
    if isinstance(encoder, Pretraining):
        recipes.append(("pretraining", encoder))
    for where, recipe in dict.fromkeys(recipes):
        length = recipe.max_length
        pair = isinstance(recipe, Target) and sources.task(recipe.task).kind == "retrieval"
        require(length <= longest, f"max_length <= {longest} (the encoder's positions)", length, where)
        layer = recipe.retrieval_layer if isinstance(recipe, Target) else None
        deepest = architecture.num_layers
        require(layer is None or layer <= deepest, f"retrieval_layer <= {deepest} (the encoder's layers)", layer, where)
        budget = sweep.execution.micro_batch_tokens
        if budget == "auto":  # never below the longest row
            continue
        law = f"{'2 * ' if pair else ''}max_length <= micro_batch_tokens ({budget})"
        require((2 if pair else 1) * length <= budget, law, length, where)


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
        how = " `AutoTokenizer.from_pretrained(...).save_pretrained(...)` writes it." if absent == [TOKENIZER] else ""
        must = f"encoder folder {str(folder)!r} must hold {', '.join(names)}"
        raise InputError(f"{must}, but lacks {', '.join(absent)}.{how}")
    return names


def check_weights(folder: Path) -> None:
    """Raise `InputError` unless the weights are those of the configuration; names what is not. Reads headers only.

    Heads are not looked at: they are recreated, but for the one of masked language modelling.
    """
    expected = expected_shapes(*read_config(folder))
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


def expected_shapes(sizes: Architecture, num_token_types: int) -> dict[str, list[int]]:
    """Name and shape of each weight of XLM-R's encoder without a pooler."""
    h, i = sizes.hidden_size, sizes.intermediate_size
    rows_of = {"word": sizes.vocab_size, "position": sizes.max_positions, "token_type": num_token_types}
    shapes = {f"embeddings.{table}_embeddings.weight": [rows, h] for table, rows in rows_of.items()}
    linear = {f"attention.self.{name}": (h, h) for name in ("query", "key", "value")}
    linear |= {"attention.output.dense": (h, h), "intermediate.dense": (i, h), "output.dense": (h, i)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(sizes.num_layers):
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


def stored_encoder(storage: Storage, spec: EncoderSpec) -> Path:
    """Where the storage keeps an encoder."""
    return storage / "encoders" / phase_hash(spec)[:20]


def bring_encoder(storage: Storage, spec: EncoderSpec, folder: Path) -> Path:
    """Copy an encoder's files into the storage, once, so that workers ask neither the Hub nor another machine's disk.

    Returns:
        The folder in the storage; it appears by one rename.
    """
    there = stored_encoder(storage, spec)
    if storage.find(there):
        storage.bring(there)
        return there
    if not there.is_dir():
        with atomic_folder(there) as staging:
            for name in encoder_files(folder):
                shutil.copyfile(folder / name, staging / name)
    storage.publish_folder(there)
    return there


def _pinned(encoder: Encoder) -> str:
    """The public encoder that was probably meant, with the revision that xlray pins."""
    for known in (XLM_R_BASE, XLM_R_LARGE):
        if known.path.rpartition("/")[2] == encoder.path.rpartition("/")[2].lower():
            return f" Did you mean {known.path}@{known.revision}?"
    return ""


def encoder_folder(encoder: Encoder, storage: Storage | None = None) -> Path:
    """The folder of an encoder: an embedded or local one as it is, one of the Hub from the storage or its cache, else fetched.

    Args:
        storage: may hold it.

    Raises:
        InputError: neither a folder nor a Hub id with a pinned revision, or files are missing or do not fit one another.
    """
    local = EMBEDDED.get(encoder.path, Path(encoder.path).expanduser().absolute())  # workers run in another folder
    if local.is_dir():
        return _fitting(local)
    hub_id = encoder.path.count("/") == 1 and not encoder.path.startswith((".", "/", "~"))
    if not hub_id:
        raise InputError(
            f"encoder {encoder.path!r} must be a folder or a Hub id, but there is no such folder.{_pinned(encoder)}"
        )
    if encoder.revision is None:
        raise InputError(
            f"encoder {encoder.path!r}: a Hub id must be given with a pinned revision (ID@COMMIT).{_pinned(encoder)}"
        )
    stored = None if storage is None else stored_encoder(storage, EncoderSpec(f"{encoder.path}@{encoder.revision}"))
    if storage is not None and stored is not None and storage.find(stored):
        storage.bring(stored)
        return stored
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(encoder.path, revision=encoder.revision, allow_patterns=list(PATTERNS)))
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["no answer"])[0]
        raise InputError(
            f"encoder {encoder.path}@{encoder.revision} must be in the Hub's cache or reachable, but: {reason}"
        ) from error
    return _fitting(folder)


def _fitting(folder: Path) -> Path:
    """The folder, once weights and tokenizer are known to be there and to fit its configuration."""
    encoder_files(folder)
    check_weights(folder)
    encoder_vocabulary(folder)
    return folder


def encoder_spec(encoder: Encoder, folder: Path | None) -> EncoderSpec:
    """Identity of a public encoder: the pinned revision, or the digest of a folder's files."""
    if folder is None or (encoder.revision is not None and not Path(encoder.path).expanduser().is_dir()):
        return EncoderSpec(f"{encoder.path}@{encoder.revision}")
    return EncoderSpec(fingerprint({name: file_digest(folder / name) for name in encoder_files(folder)}))


def encoder_vocabulary(folder: Path) -> Vocabulary:
    """The tokenizer of a public encoder, checked against its embedding."""
    return load_vocabulary(folder / TOKENIZER, read_config(folder)[0].vocab_size)


# What their config.json says, for plans that are made without them.
KNOWN_ARCHITECTURES = {
    XLM_R_LARGE.path: Architecture(1024, 24, 16, 4096, 250_002, 514),
    XLM_R_BASE.path: Architecture(768, 12, 12, 3072, 250_002, 514),
}
