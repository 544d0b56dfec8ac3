"""What a user writes: a sweep, its recipes and how to execute it. Frozen values and their checks; standard library only.

Identity and execution are two types. Everything in `TrialConfig` changes the numbers and is hashed; everything in
`Execution` changes only the speed and is recorded beside the result, never hashed.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

from xlray.canonical import fingerprint, require, to_plain


def _check_recipe(recipe: Any, where: str) -> None:
    for name in ("learning_rate", "batch_size", "max_length"):
        require(getattr(recipe, name) > 0, f"{name} > 0", getattr(recipe, name), where)
    ratio = getattr(recipe, "warmup_ratio", 0.0)
    require(0 <= ratio < 1, "0 <= warmup_ratio < 1", ratio, where)
    if hasattr(recipe, "stride"):
        require(0 < recipe.stride < recipe.max_length, "0 < stride < max_length", recipe.stride, where)
    require(recipe.weight_decay >= 0, "weight_decay >= 0", recipe.weight_decay, where)


@dataclass(frozen=True)
class Architecture:
    """Sizes of an `XLMRobertaModel` that starts from random weights.

    Attributes:
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
        require(
            self.hidden_size % self.num_heads == 0, "hidden_size % num_heads == 0", self.hidden_size, "Architecture"
        )
        require(self.max_positions > 2, "max_positions > 2", self.max_positions, "Architecture")


@dataclass(frozen=True)
class Pretraining:
    """An encoder made by xlray itself: a tokenizer and masked-LM pre-training from random weights.

    Attributes:
        tasks: names of masked-LM tasks; the tokenizer is trained on their training text.
        num_examples: examples seen; a multiple of `batch_size`. 0 keeps the random weights (a control).
        batch_size: examples per optimizer step.
        learning_rate: peak; linear warm-up over `warmup_ratio`, then linear decay to zero.
        seed: of the weights, the order and the masks. One encoder serves all trials.
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

    def __post_init__(self) -> None:
        _check_recipe(self, "Pretraining")
        require(bool(self.tasks), "tasks is not empty", self.tasks, "Pretraining")
        require(
            self.num_examples % self.batch_size == 0, "num_examples % batch_size == 0", self.num_examples, "Pretraining"
        )


@dataclass(frozen=True)
class Encoder:
    """A public encoder: a Hugging Face Hub id with a pinned revision, or a local folder in the same layout.

    Attributes:
        path: Hub id (`FacebookAI/xlm-roberta-large`) or folder (config.json, model.safetensors, tokenizer.json).
        revision: commit hash on the Hub; must be given for a Hub id, ignored for a folder (its files are hashed).
    """

    path: str
    revision: str | None = None


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
    """

    tasks: tuple[str, ...]
    source: str = "all"
    chain: int | None = None
    position: int = 0

    def __post_init__(self) -> None:
        require(len(set(self.tasks)) == len(self.tasks), "tasks are distinct", self.tasks, "Subset")


@dataclass(frozen=True)
class Intermediate:
    """Recipe of the intermediate phase: multi-task training on a subset.

    Attributes:
        rungs: examples seen at which a cooldown branches off, strictly increasing multiples of `batch_size`.
        schedule: "constant" (warm-up, constant trunk, a cooldown of `cooldown_ratio` of the rung's examples at each
            rung) or "linear" (warm-up, linear decay to zero at the single rung; Phang et al. 2020).
        warmup_examples: examples of linear warm-up.
        mixing: "proportional" (p ~ min(n, cap), then temperature) or "uniform".
        cap: examples-proportional mixing counts at most this many per task (2^17 in Phang et al. 2020).
        temperature: p ~ p^(1/temperature).
        examples_per_task: hash-nested sample of at most this many examples of each task; None takes all.
        scaled_losses: divide each task's loss by the log of its number of classes (Muppet, Aghajanyan et al. 2021).
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
        language: evaluation language of the headline.
        english: also evaluate English dev (training language).
        retrieval_layer: hidden layer that is mean-pooled, 0 is the embedding; None takes round(13 / 24 x layers),
            which is XTREME's layer 13 for XLM-R Large.
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
    language: str = "fi"
    english: bool = True
    retrieval_layer: int | None = None

    def __post_init__(self) -> None:
        where = f"Target({self.task!r})"
        _check_recipe(self, where)
        for name in ("num_examples", "probe_examples"):
            value = getattr(self, name)
            require(
                value is None or (value > 0 and value % self.batch_size == 0),
                f"{name} is a positive multiple of batch_size",
                value,
                where,
            )


@dataclass(frozen=True)
class TrialConfig:
    """Everything that changes a trial's numbers; its hash is the trial's id."""

    encoder: Encoder | Pretraining
    tasks: tuple[str, ...]
    intermediate: Intermediate
    targets: tuple[Target, ...]
    seed: int
    dropout: float = 0.1
    clip_norm: float = 1.0
    precision: str = "fp32"

    @property
    def trial_id(self) -> str:
        """Ten hexadecimal digits of the hash of this configuration."""
        return fingerprint(to_plain(self))[:10]


@dataclass(frozen=True)
class Trial:
    """A trial's configuration and its place in the design (the place changes no number).

    Attributes:
        role: "measure" (never stopped) or "explore" (ASHA may stop it).
    """

    config: TrialConfig
    role: str
    subset: Subset

    @property
    def trial_id(self) -> str:
        return self.config.trial_id

    @property
    def cell(self) -> str:
        """Number of tasks x source: trials compete and are averaged only within a cell."""
        return f"{len(self.config.tasks)}-{self.subset.source}" if self.config.tasks else "0"


@dataclass(frozen=True)
class Execution:
    """How to run; changes results by rounding only.

    Attributes:
        num_workers: processes per trial.
        cpus_per_worker: CPU cores (and threads of torch) per worker.
        gpus_per_worker: 0 runs on CPU with gloo.
        zero_stage: DeepSpeed ZeRO stage 0 to 3; bf16 needs at least 1.
        offload: optimizer state on the CPU (stages 1 to 3).
        micro_batch_tokens: token budget of one forward and backward per worker.
        activation_checkpointing: recompute activations in the backward pass.
        checkpoint_every_steps: steps between two saved states of an unfinished phase.
        max_concurrent_trials: trials that hold devices at one time.
        max_failures: times a worker group is restarted after a crash before the trial counts as failed.
    """

    num_workers: int = 1
    cpus_per_worker: int = 1
    gpus_per_worker: int = 0
    zero_stage: int = 1
    offload: bool = False
    micro_batch_tokens: int = 8_192
    activation_checkpointing: bool = False
    checkpoint_every_steps: int = 500
    max_concurrent_trials: int = 1
    max_failures: int = 3

    def __post_init__(self) -> None:
        where = "Execution"
        for name in (
            "num_workers",
            "cpus_per_worker",
            "micro_batch_tokens",
            "checkpoint_every_steps",
            "max_concurrent_trials",
        ):
            require(getattr(self, name) >= 1, f"{name} >= 1", getattr(self, name), where)
        require(self.zero_stage in (0, 1, 2, 3), "zero_stage in (0, 1, 2, 3)", self.zero_stage, where)
        require(not self.offload or self.zero_stage >= 1, "offload needs zero_stage >= 1", self.zero_stage, where)


@dataclass(frozen=True)
class Stopping:
    """ASHA (Li et al. 2020) over examples seen, within cells.

    Attributes:
        reduction_factor: the best 1/reduction_factor of a rung go on.
        survival_probability: chance that a trial below the cut goes on all the same; recorded, so that estimates can
            weight it by its inverse.
    """

    reduction_factor: float = 3.0
    survival_probability: float = 0.2

    def __post_init__(self) -> None:
        require(self.reduction_factor > 1, "reduction_factor > 1", self.reduction_factor, "Stopping")
        require(
            0 <= self.survival_probability <= 1, "0 <= survival_probability <= 1", self.survival_probability, "Stopping"
        )


@dataclass(frozen=True)
class Sweep:
    """One question: which subsets, how many seeds, which recipes, how executed.

    Attributes:
        name: folder of the sweep below `<storage>/sweeps/`.
        measure: subsets that are always run to the last rung.
        explore: subsets that ASHA may stop.
        seeds: run for every subset; the same in every cell, so that differences are paired.
        question: one sentence, printed at the top of the report.
        drop_overlap: leave training examples out of which a text is in the Finnish target data.
        own_tasks: `xlray.tasks.Task` values of the sweep's own, named like those of the registry. What they hold enters
            every phase's identity; that they are defined here does not.
    """

    name: str
    encoder: Encoder | Pretraining
    measure: tuple[Subset, ...] = ()
    explore: tuple[Subset, ...] = ()
    seeds: tuple[int, ...] = (0,)
    intermediate: Intermediate = Intermediate()
    targets: tuple[Target, ...] = (Target("udpos"), Target("panx"), Target("tydiqa"), Target("tatoeba"))
    stopping: Stopping = Stopping()
    execution: Execution = Execution()
    dropout: float = 0.1
    clip_norm: float = 1.0
    precision: str = "fp32"
    question: str = ""
    drop_overlap: bool = True
    own_tasks: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        where = f"Sweep({self.name!r})"
        ok = bool(self.name) and all(c.isalnum() or c in "-_." for c in self.name) and not self.name.startswith(".")
        require(ok, "name consists of letters, digits, '-', '_' and '.'", self.name, where)
        require(bool(self.measure or self.explore), "measure or explore is not empty", (), where)
        require(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), "seeds are distinct", self.seeds, where)
        require(bool(self.targets), "targets is not empty", self.targets, where)
        names = [t.task for t in self.targets]
        require(len(set(names)) == len(names), "target tasks are distinct", names, where)
        require(0 <= self.dropout < 1, "0 <= dropout < 1", self.dropout, where)
        require(self.clip_norm > 0, "clip_norm > 0", self.clip_norm, where)
        require(self.precision in ("fp32", "bf16"), "precision in ('fp32', 'bf16')", self.precision, where)
        bf16_at_zero = self.precision == "bf16" and self.execution.zero_stage == 0
        require(not bf16_at_zero, "bf16 needs zero_stage >= 1", self.execution.zero_stage, where)

    @property
    def definition(self) -> dict[str, Any]:
        """All fields as plain values, as `sweep.json` holds them; of its own tasks the names."""
        plain: dict[str, Any] = to_plain(replace(self, own_tasks=()))
        return {**plain, "own_tasks": [task.name for task in self.own_tasks]}

    def trials(self) -> tuple[Trial, ...]:
        """All trials: seeds outermost, so that early trials cover all subsets; `measure` wins over `explore`."""
        found: dict[str, Trial] = {}
        for seed in self.seeds:
            for role, subsets in (("measure", self.measure), ("explore", self.explore)):
                for subset in subsets:
                    config = TrialConfig(
                        self.encoder,
                        tuple(sorted(subset.tasks)),
                        self.intermediate,
                        self.targets,
                        seed,
                        self.dropout,
                        self.clip_norm,
                        self.precision,
                    )
                    trial = Trial(config, role, subset)
                    found.setdefault(trial.trial_id, trial)
        return tuple(found.values())
