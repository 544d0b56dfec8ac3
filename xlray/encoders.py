"""Sizes of an encoder, known before it is loaded, and the sequences that fit it."""

from __future__ import annotations

import json
from pathlib import Path

from xlray.config import Sweep
from xlray.errors import InputError, require
from xlray.recipes import KNOWN_ARCHITECTURES, Architecture, Encoder, Intermediate, Pretraining, Target
from xlray.sources import Sources


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
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")
    try:
        config = json.loads((folder / "config.json").read_text())
        return Architecture(*(int(config[name]) for name in (*names, "max_position_embeddings")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / 'config.json'} must be an XLM-R configuration, but: {error!r}.") from error


def check_fit(sweep: Sweep, architecture: Architecture, sources: Sources) -> None:
    """Raise `InputError` where a recipe does not fit the encoder: sequences its position table, layers its depth.

    Sequences must fit the token budget as well.
    """
    longest = architecture.max_positions - 2  # positions start at 2
    recipes: list[tuple[str, Intermediate | Target | Pretraining]] = [("intermediate", sweep.intermediate)]
    recipes += [(f"target {t.task!r}", t) for t in sweep.targets]
    if isinstance(sweep.encoder, Pretraining):
        recipes.append(("pretraining", sweep.encoder))
    for where, recipe in recipes:
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
