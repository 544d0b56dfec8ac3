"""Recipes: the encoder, the subsets and how each phase trains. Frozen values that change the numbers; standard library only."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from xlray.canonical import check_types
from xlray.errors import require


def _check_recipe(recipe: Any, where: str) -> None:
    check_types(recipe, where)
    for name in ("learning_rate", "batch_size", "max_length"):
        require(getattr(recipe, name) > 0, f"{name} > 0", getattr(recipe, name), where)
    ratio = getattr(recipe, "warmup_ratio", 0.0)
    require(0 <= ratio < 1, "0 <= warmup_ratio < 1", ratio, where)
    if hasattr(recipe, "stride"):
        require(0 < recipe.stride < recipe.max_length, "0 < stride < max_length", recipe.stride, where)
    require(recipe.weight_decay >= 0, "weight_decay >= 0", recipe.weight_decay, where)


def _check_name(name: str, where: str) -> None:
    law = "name consists of letters, digits, '-', '_' and '.'"
    require(re.fullmatch(r"[\w.-]*", name) is not None, law, name, where)


@dataclass(frozen=True)
class Architecture:
    """Sizes of an `XLMRobertaModel` that starts from random weights.

    Attributes:
        hidden_size: width of the hidden states, a multiple of `num_heads`.
        num_layers: number of transformer layers.
        num_heads: attention heads per layer.
        intermediate_size: width of the feed-forward layers.
        vocab_size: pieces of the tokenizer.
        max_positions: rows of the position embedding, two of which XLM-R leaves unused: the longest sequence plus 2.
        initializer_range: standard deviation of the weights; narrow models learn sooner from more than XLM-R's 0.02.
    """

    hidden_size: int = 128
    num_layers: int = 4
    num_heads: int = 4
    intermediate_size: int = 512
    vocab_size: int = 4000
    max_positions: int = 130
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        check_types(self, "Architecture")
        for name, size in vars(self).items():
            require(size > 0, f"{name} > 0", size, "Architecture")
        require(
            self.hidden_size % self.num_heads == 0, "hidden_size % num_heads == 0", self.hidden_size, "Architecture"
        )
        require(self.max_positions > 2, "max_positions > 2", self.max_positions, "Architecture")


@dataclass(frozen=True)
class Pretraining:
    """An encoder made by xlray itself: a tokenizer and masked-LM pre-training from random weights.

    Attributes:
        tasks: names of masked-LM tasks; the tokenizer is trained on their training text.
        architecture: sizes of the encoder.
        num_examples: examples seen; a multiple of `batch_size`. 0 keeps the random weights (a control).
        batch_size: examples per optimizer step.
        learning_rate: peak; linear warm-up over `warmup_ratio`, then linear decay to zero.
        warmup_ratio: share of the steps that are warm-up.
        weight_decay: of AdamW.
        max_length: longest sequence, in tokens.
        seed: of the weights, the order and the masks. One encoder serves all trials.
        name: what cells and tables call it where encoders vary; changes no number.
    """

    tasks: tuple[str, ...]
    architecture: Architecture = Architecture()
    num_examples: int = 32_768
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_ratio: float = 0.06
    weight_decay: float = 0.01
    max_length: int = 128
    seed: int = 0
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        _check_recipe(self, "Pretraining")
        _check_name(self.name, "Pretraining")
        require(bool(self.tasks), "tasks is not empty", self.tasks, "Pretraining")
        for name in ("seed", "num_examples"):
            require(getattr(self, name) >= 0, f"{name} >= 0", getattr(self, name), "Pretraining")
        require(
            self.num_examples % self.batch_size == 0, "num_examples % batch_size == 0", self.num_examples, "Pretraining"
        )


@dataclass(frozen=True)
class Encoder:
    """A public encoder: a Hugging Face Hub id with a pinned revision, or a local folder in the same layout.

    Attributes:
        path: Hub id (`FacebookAI/xlm-roberta-large`) or folder (config.json, model.safetensors, tokenizer.json).
        revision: commit hash on the Hub; must be given for a Hub id, ignored for a folder (its files are hashed).
        name: what cells and tables call it where encoders vary; "" takes the last part of the path. Changes no number.
    """

    path: str
    revision: str | None = None
    name: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check_types(self, "Encoder")
        _check_name(self.name, "Encoder")


def encoder_name(encoder: Encoder | Pretraining) -> str:
    """An encoder as a word of a cell's name: its name, else the last part of its path; "" where it has neither."""
    path = encoder.path if isinstance(encoder, Encoder) else ""
    return encoder.name or re.sub(r"[^\w.-]+", "-", PurePath(path).name)


XLM_R_LARGE = Encoder("FacebookAI/xlm-roberta-large", "c23d21b0620b635a76227c604d44e43a9f0ee389")


XLM_R_BASE = Encoder("FacebookAI/xlm-roberta-base", "e73636d4f797dec63c3081bb6ed5c7b0bb3f2089")


@dataclass(frozen=True)
class Subset:
    """One choice of intermediate tasks.

    Attributes:
        tasks: names, sorted; empty for the control without an intermediate phase.
        source: label of the pool the tasks were drawn from; part of the cell (number of tasks x source).
        chain: index of the nested chain this is a prefix of, or None.
        position: number of the subset within its design.
        examples_per_task: hash-nested sample of at most this many examples of each task, a size that the design varies:
            part of the cell. None leaves it to the recipe.
        caps: (task, at most so many of its examples) where single tasks are held to the size of others; not part of the
            cell.
        partners: (task, the task of the other arm that it is matched with): the cap of either is lowered to what was read
            of the other.
        design: what the chain was drawn by: equal numbers of two designs are two chains.
    """

    tasks: tuple[str, ...]
    source: str = "all"
    chain: int | None = None
    position: int = 0
    examples_per_task: int | None = None
    caps: tuple[tuple[str, int], ...] = ()
    partners: tuple[tuple[str, str], ...] = ()
    design: str = ""

    def __post_init__(self) -> None:
        check_types(self, "Subset")
        require(len(set(self.tasks)) == len(self.tasks), "tasks are distinct", self.tasks, "Subset")
        size = self.examples_per_task
        require(size is None or size > 0, "examples_per_task > 0", size, "Subset")
        capped = [name for name, _ in self.caps]
        require(set(capped) <= set(self.tasks), "caps are of tasks of the subset", capped, "Subset")
        require(len(set(capped)) == len(capped), "caps name a task once", capped, "Subset")
        require(all(cap > 0 for _, cap in self.caps), "caps > 0", self.caps, "Subset")
        matched = [name for name, _ in self.partners]
        require(set(matched) <= set(capped), "partners are of tasks that have a cap", matched, "Subset")


@dataclass(frozen=True)
class Intermediate:
    """Recipe of the intermediate phase: multi-task training on a subset.

    Attributes:
        rungs: examples seen at which a cooldown branches off, strictly increasing multiples of `batch_size`.
        batch_size: examples per optimizer step.
        learning_rate: peak.
        schedule: "constant" (warm-up, constant trunk, a cooldown of `cooldown_ratio` of the rung's examples at each
            rung) or "linear" (warm-up, linear decay to zero at the single rung; Phang et al. 2020).
        warmup_examples: examples of linear warm-up.
        cooldown_ratio: examples of a cooldown, as a share of its rung's examples.
        weight_decay: of AdamW.
        mixing: "proportional" (p ~ min(n, cap), then temperature) or "uniform".
        cap: examples-proportional mixing counts at most this many per task (2^17 in Phang et al. 2020).
        temperature: p ~ p^(1/temperature).
        examples_per_task: hash-nested sample of at most this many examples of each task; None takes all.
        scaled_losses: divide each task's loss by the log of its number of classes (Muppet, Aghajanyan et al. 2021).
        max_length: longest sequence, in tokens. Longer sentences to tag and passages to answer from are read in windows,
            other texts truncated.
        stride: tokens from the start of one window of a passage to that of the next.
    """

    rungs: tuple[int, ...] = (4_096, 16_384, 65_536)
    batch_size: int = 32
    learning_rate: float = 1e-5
    schedule: str = "constant"
    warmup_examples: int = 1_024
    cooldown_ratio: float = 0.2
    weight_decay: float = 0.0
    mixing: str = "proportional"
    cap: int = 2**17
    temperature: float = 1.0
    examples_per_task: int | None = None
    scaled_losses: bool = True
    max_length: int = 256
    stride: int = 128

    def __post_init__(self) -> None:
        where = "Intermediate"
        _check_recipe(self, where)
        require(bool(self.rungs), "rungs is not empty", self.rungs, where)
        require(
            all(a < b for a, b in itertools.pairwise((0, *self.rungs))),
            "0 < rungs[0] < rungs[1] < ...",
            self.rungs,
            where,
        )
        require(all(r % self.batch_size == 0 for r in self.rungs), "rung % batch_size == 0", self.rungs, where)
        require(self.schedule in ("constant", "linear"), "schedule in ('constant', 'linear')", self.schedule, where)
        require(self.schedule != "linear" or len(self.rungs) == 1, "linear schedule: one rung", self.rungs, where)
        require(0 < self.cooldown_ratio < 1, "0 < cooldown_ratio < 1", self.cooldown_ratio, where)
        require(self.mixing in ("proportional", "uniform"), "mixing in ('proportional', 'uniform')", self.mixing, where)
        for name in ("temperature", "cap"):
            require(getattr(self, name) > 0, f"{name} > 0", getattr(self, name), where)
        require(
            0 <= self.warmup_examples < self.rungs[0], "0 <= warmup_examples < rungs[0]", self.warmup_examples, where
        )
        if self.examples_per_task is not None:
            require(self.examples_per_task > 0, "examples_per_task > 0", self.examples_per_task, where)


@dataclass(frozen=True)
class Target:
    """Recipe of one target phase: English fine-tuning with a new head, then evaluation.

    Attributes:
        task: name of a target task. A retrieval task is evaluated only; its training fields are unused.
        num_examples: English training examples seen at the last rung; a multiple of `batch_size`.
        probe_examples: the same at earlier rungs; None uses `num_examples` at every rung.
        batch_size: examples per optimizer step.
        learning_rate: peak; linear warm-up over `warmup_ratio`, then linear decay to zero.
        warmup_ratio: share of the steps that are warm-up.
        weight_decay: of AdamW.
        max_length: as in `Intermediate`.
        stride: as in `Intermediate`.
        english: also evaluate English dev (training language).
        pivots: languages whose dev set is evaluated as well; `select_by="pivot-dev"` ranks by them. No intermediate task
            may have labels in them.
        retrieval_layer: hidden layer that is mean-pooled, 0 is the embedding; None takes `default_retrieval_layer`.
    """

    task: str
    num_examples: int = 8_192
    probe_examples: int | None = None
    batch_size: int = 32
    learning_rate: float = 2e-5
    warmup_ratio: float = 0.1
    weight_decay: float = 0.0
    max_length: int = 128
    stride: int = 64
    english: bool = True
    pivots: tuple[str, ...] = ()
    retrieval_layer: int | None = None

    def __post_init__(self) -> None:
        where = f"Target({self.task!r})"
        _check_recipe(self, where)
        require(len(set(self.pivots)) == len(self.pivots), "pivots are distinct", self.pivots, where)
        layer = self.retrieval_layer
        require(layer is None or layer >= 0, "retrieval_layer >= 0", layer, where)
        for name in ("num_examples", "probe_examples"):
            value = getattr(self, name)
            require(
                value is None or (value > 0 and value % self.batch_size == 0),
                f"{name} is a positive multiple of batch_size",
                value,
                where,
            )


def default_retrieval_layer(num_layers: int) -> int:
    """The hidden layer that is mean-pooled for retrieval, 0 being the embedding: 14 of 24, 7 of 12, 3 of 4.

    XTREME's script (Hu et al. 2020) leaves the embedding out and takes index 13 of what 24 layers return. Other depths
    take the layer in which 13/24 of the depth is passed, so that it is always one of the layers.
    """
    return 13 * num_layers // 24 + 1
