"""A trial as a list of phases, and what a sweep costs before it is run. Pure: no framework, nothing is started."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from xlray.config.axes import ENCODER, short_value
from xlray.config.recipes import Architecture, Encoder, Pretraining, Target
from xlray.config.search import check_search
from xlray.config.sweep import Sweep, Trial, TrialConfig
from xlray.data.encoders import KNOWN_ARCHITECTURES, architecture_of, check_fit, encoder_folder, encoder_spec
from xlray.data.own_tasks import own_tasks
from xlray.data.records import Sources, find_exclusions
from xlray.errors import InputError
from xlray.phases.spec import (
    METHOD_VERSIONS,
    DataSpec,
    EncoderSpec,
    EvaluationSpec,
    Phases,
    RetrievalSpec,
    Rung,
    Spec,
    TokenizerSpec,
    TrainSpec,
    phase_hash,
)
from xlray.plan.matching import with_matched_caps
from xlray.plan.memory import ModelShape
from xlray.plan.zero_shot import check_languages, check_roles, check_signal
from xlray.storage.storage import Storage
from xlray.tasks.task import Task


@dataclass(frozen=True)
class Start:
    """What the trials of one encoder start from.

    Attributes:
        architecture: sizes of the encoder.
        root: the public encoder's identity, or None if the sweep pre-trains it.
        folder: the public encoder's files; None without one, and where its sizes are assumed.
        shared: phases that come before all trials (tokenizer, pre-training), in order.
    """

    architecture: Architecture
    root: EncoderSpec | None = None
    folder: Path | None = None
    shared: tuple[Spec, ...] = ()

    @property
    def parent(self) -> str:
        """Hash of what the first phases of trials start from."""
        last = self.shared[-1] if self.shared else self.root
        assert last is not None
        return phase_hash(last)


@dataclass(frozen=True)
class SweepPlan:
    """Everything a sweep will run.

    Attributes:
        starts: of each encoder, what its trials start from.
        phases: of each trial, by its id.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    starts: Mapping[Encoder | Pretraining, Start]
    phases: dict[str, Phases]
    sources: Sources

    @property
    def shared(self) -> tuple[Spec, ...]:
        """Phases that come before all trials, those of each encoder in order, each once."""
        specs = itertools.chain.from_iterable(start.shared for start in self.starts.values())
        return tuple({spec.key: spec for spec in specs}.values())

    @property
    def widest(self) -> Encoder | Pretraining:
        """The encoder with the most parameters, by whose sizes memory is predicted."""
        return max(self.starts, key=lambda encoder: ModelShape(self.starts[encoder].architecture).num_parameters)

    def specs_by_encoder(self) -> dict[Encoder | Pretraining, dict[str, Spec]]:
        """Every distinct phase by hash, those of each encoder's trials and what comes before them."""
        found = {encoder: {spec.key: spec for spec in start.shared} for encoder, start in self.starts.items()}
        for trial in self.trials:
            found[trial.config.encoder].update((spec.key, spec) for spec in self.phases[trial.trial_id])
        return found

    def all_specs(self) -> dict[str, Spec]:
        """Every distinct phase by hash."""
        specs = [*self.shared, *itertools.chain.from_iterable(self.phases.values())]
        return {spec.key: spec for spec in specs}


def plan_sweep(
    sweep: Sweep,
    data_dir: Path | None,
    storage: Storage | None = None,
    skip_bad_examples: bool = False,
    assume_sizes: bool = False,
) -> SweepPlan:
    """Read the data's fingerprints and lay out every trial's phases.

    Args:
        data_dir: folder of original distribution files.
        storage: may hold the encoder and remembers fingerprints.
        skip_bad_examples: leave them out, counted, instead of refusing the file; what is left decides every identity.
        assume_sizes: plan without the files: sizes of absent data and encoders are the registry's. Such a plan says what
            a sweep costs; it cannot be run.

    Raises:
        InputError: for anything that could be known to fail before a start: unknown tasks, missing or malformed files,
            lengths that do not fit, roles that do not fit.
    """
    sources = Sources(data_dir, own_tasks(sweep), storage, skip_bad_examples, assume=assume_sizes)
    check_search(sweep)
    check_roles(sweep, sources)
    check_languages(sweep, sources)
    # With sizes alone there are no texts to look for in one another.
    sources.exclusions = find_exclusions(sweep, sources) if sweep.drop_overlap and not assume_sizes else None
    starts = {encoder: _start(encoder, sweep, sources, assume_sizes) for encoder in sweep.encoders}
    check_signal(sweep, sources)
    sweep = with_matched_caps(sweep, sources)
    plan = with_trials(SweepPlan(sweep, (), starts, {}, sources), sweep.trials())
    check_axes(plan)
    return plan


def _start(encoder: Encoder | Pretraining, sweep: Sweep, sources: Sources, assume_sizes: bool) -> Start:
    """What the trials of an encoder start from; of several, an error says which it is of."""
    try:
        folder = None
        if isinstance(encoder, Encoder) and not (assume_sizes and encoder.path in KNOWN_ARCHITECTURES):
            folder = encoder_folder(encoder, sources.storage)
        architecture = architecture_of(encoder, folder)
        check_fit(sweep, encoder, architecture, sources)
        if isinstance(encoder, Pretraining):
            return Start(architecture, shared=pretraining_phases(encoder, sources, sweep))
        return Start(architecture, encoder_spec(encoder, folder), folder)
    except InputError as error:
        if len(sweep.encoders) == 1:
            raise
        raise InputError(f"vary: {ENCODER}={short_value(encoder)}: {error}") from error


def check_axes(plan: SweepPlan) -> None:
    """Raise `InputError` where values of an axis change nothing that is computed: such trials would count twice."""
    found: dict[tuple[str, ...], Trial] = {}
    for trial in plan.trials if plan.sweep.axes else ():
        same = found.setdefault(tuple(spec.key for spec in plan.phases[trial.trial_id]), trial)
        if same is not trial:
            there = dict(same.values)
            names = [name for name, value in trial.values if there.get(name) != value]
            cells = f"{same.cell!r} and {trial.cell!r}"
            raise InputError(
                f"vary: {', '.join(names)} must change what is computed, but the cells {cells} are trained alike; fields that "
                f"matter only together vary together, as a tuple of names."
            )


def with_trials(plan: SweepPlan, trials: Iterable[Trial]) -> SweepPlan:
    """The plan with further trials; those that it has already are skipped."""
    new = {trial.trial_id: trial for trial in trials if trial.trial_id not in plan.phases}
    targets = {target for trial in new.values() for target in trial.config.targets}
    measures = {target: _measure(target, plan.sweep.evaluated, plan.sources) for target in targets}
    parents, known = {encoder: start.parent for encoder, start in plan.starts.items()}, dict[Any, Any]()
    phases = {
        key: trial_phases(t.config, parents[t.config.encoder], plan.sources, measures, known) for key, t in new.items()
    }
    return replace(plan, trials=(*plan.trials, *new.values()), phases={**plan.phases, **phases})


def ranking_languages(spec: TrainSpec | RetrievalSpec, select_by: str, languages: Sequence[str]) -> tuple[str, ...]:
    """The languages whose dev headlines of a target phase rank its trial.

    Args:
        languages: of the sweep, as `Sweep.evaluated`; the others are the training language and pivots.
    """
    dev = [e for e in spec.evaluations if e.split == "dev"]
    if select_by not in ("pivot-dev", "english-dev"):
        return tuple(e.language for e in dev if e.selection)
    trained = spec.data[0].split.split("/")[1] if isinstance(spec, TrainSpec) else None
    english = select_by == "english-dev"
    return tuple(e.language for e in dev if e.language not in languages and (e.language == trained) == english)


def pretraining_phases(recipe: Pretraining, sources: Sources, sweep: Sweep) -> tuple[Spec, ...]:
    """Tokenizer and masked-LM pre-training from random weights."""
    data = tuple(sources.spec(name, sources.task(name).train_split, recipe.max_length) for name in recipe.tasks)
    tokenizer = TokenizerSpec(data, recipe.architecture.vocab_size, METHOD_VERSIONS["tokenizer"])
    architecture = asdict(recipe.architecture)
    pretrain = TrainSpec(
        kind="pretrain",
        parent=phase_hash(tokenizer),
        data=data,
        num_examples=recipe.num_examples,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        schedule="warmup_linear",
        warmup_examples=int(recipe.warmup_ratio * recipe.num_examples),
        weight_decay=recipe.weight_decay,
        seed=recipe.seed,
        dropout=0.0,
        clip_norm=sweep.clip_norm,
        precision=sweep.precision,
        scaled_losses=False,
        architecture=architecture,
        method_version=METHOD_VERSIONS["pretrain"],
    )
    return (tokenizer, pretrain)


@dataclass(frozen=True)
class Measure:
    """What is the same in every trial that is measured by a target.

    Attributes:
        train: English training data; None for a task that is evaluated only.
    """

    task: Task
    train: DataSpec | None
    evaluations: tuple[EvaluationSpec, ...]


def _measure(target: Target, languages: Sequence[str], sources: Sources) -> Measure:
    task = sources.task(target.task)
    evaluations = _evaluations(target, languages, sources)
    if task.kind == "retrieval":
        return Measure(task, None, evaluations)
    return Measure(task, sources.spec(target.task, task.train_split, target.max_length, target.stride), evaluations)


def trial_phases(
    config: TrialConfig, start: str, sources: Sources, measures: Mapping[Target, Measure], known: dict[Any, Any]
) -> Phases:
    """The phases of one trial.

    At every rung: a segment of the trunk, a cooldown that branches off it, and the targets from the cooldown. Without
    intermediate tasks the targets start from the encoder itself.

    Args:
        start: hash of the encoder (a root or a pre-training phase).
        measures: of each target's recipe.
        known: what was made for other trials, by all that it is made of: those that differ in a recipe of a target share
            the rest, which is hashed once.
    """
    own = (config.seed, config.dropout, config.clip_norm, config.precision)
    trunk = (start, config.tasks, config.caps, config.intermediate, *own)
    if trunk not in known:
        known[trunk] = _intermediate_phases(config, start, sources)
    rungs: list[Rung] = []
    for num_examples, (training, parent) in zip(config.intermediate.rungs, known[trunk], strict=True):
        last = num_examples == config.intermediate.rungs[-1]
        targets: list[TrainSpec | RetrievalSpec] = []
        for target in config.targets:
            key = (parent, target, last, *own)
            if key not in known:
                known[key] = _target_spec(config, target, parent, last, measures[target])
            targets.append(known[key])
        rungs.append(Rung(num_examples, training, tuple(targets)))
    return Phases(tuple(rungs))


def _intermediate_phases(config: TrialConfig, start: str, sources: Sources) -> list[tuple[tuple[TrainSpec, ...], str]]:
    """For every rung: what is trained on the way to it, and the hash of what targets start from there."""
    recipe = config.intermediate
    caps = dict(config.caps)
    data = tuple(
        sources.spec(
            name,
            sources.task(name).train_split,
            recipe.max_length,
            recipe.stride,
            min((n for n in (recipe.examples_per_task, caps.get(name)) if n is not None), default=None),
        )
        for name in config.tasks
    )
    if not data:
        return [((), start)] * len(recipe.rungs)
    found: list[tuple[tuple[TrainSpec, ...], str]] = []
    trunk, seen = start, 0
    for rung in recipe.rungs:
        segment = _intermediate_spec(config, data, "trunk", trunk, seen, rung - seen)
        trunk, seen = phase_hash(segment), rung
        if recipe.schedule == "constant":
            length = max(1, round(recipe.cooldown_ratio * rung / recipe.batch_size)) * recipe.batch_size
            cooldown = _intermediate_spec(config, data, "cooldown", trunk, rung, length)
            found.append(((segment, cooldown), phase_hash(cooldown)))
        else:  # a linear trunk ends at rate zero by itself
            found.append(((segment,), trunk))
    return found


def _intermediate_spec(
    config: TrialConfig, data: tuple[DataSpec, ...], kind: str, parent: str, first: int, num_examples: int
) -> TrainSpec:
    recipe = config.intermediate
    trunk = "warmup_linear" if recipe.schedule == "linear" else "warmup_constant"
    schedule = trunk if kind == "trunk" else "decay"
    return TrainSpec(
        kind=kind,
        parent=parent,
        data=data,
        num_examples=num_examples,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        schedule=schedule,
        seed=config.seed,
        dropout=config.dropout,
        clip_norm=config.clip_norm,
        precision=config.precision,
        method_version=METHOD_VERSIONS[kind],
        first_example=first,
        continues=first > 0,
        warmup_examples=recipe.warmup_examples,
        weight_decay=recipe.weight_decay,
        mixing=recipe.mixing,
        cap=recipe.cap,
        temperature=recipe.temperature,
        scaled_losses=recipe.scaled_losses,
    )


def _target_spec(config: TrialConfig, target: Target, parent: str, last: bool, measure: Measure) -> Spec:
    headline = tuple(measure.task.headline)
    if measure.train is None:
        return RetrievalSpec(
            parent,
            measure.evaluations,
            target.retrieval_layer,
            config.precision,
            METHOD_VERSIONS["retrieval"],
            headline,
        )
    probe = target.probe_examples if not last else None
    num_examples = probe if probe is not None else target.num_examples
    return TrainSpec(
        kind="target",
        parent=parent,
        data=(measure.train,),
        num_examples=num_examples,
        batch_size=target.batch_size,
        learning_rate=target.learning_rate,
        schedule="warmup_linear",
        seed=config.seed,
        dropout=config.dropout,
        clip_norm=config.clip_norm,
        precision=config.precision,
        method_version=METHOD_VERSIONS["target"],
        warmup_examples=int(target.warmup_ratio * num_examples),
        weight_decay=target.weight_decay,
        scaled_losses=False,
        evaluations=measure.evaluations,
        headline=headline,
    )


def _evaluations(target: Target, languages: Sequence[str], sources: Sources) -> tuple[EvaluationSpec, ...]:
    """Of the first language dev (selection) and test, English dev, pivots' dev, then dev and test of further languages.

    Test sets are sealed, and left out where their files are not there. One language gives what it gave before sweeps had
    several, in the same order, so that stored phases are found again.
    """
    task = sources.task(target.task)
    first, *others = languages
    english = [("dev", task.languages[0])] if target.english and f"dev/{task.languages[0]}" in task.splits else []
    pivots = [("dev", language) for language in target.pivots]
    further = [(split, language) for language in others for split in ("dev", "test")]
    wanted = [("dev", first), *english, *pivots, ("test", first), *further]
    if f"all/{first}" in task.splits:  # one file: queries are divided between dev and test, all candidates stay
        wanted = [("dev", first), ("test", first), *pivots, *further]
    found = []
    for split, language in wanted:
        whole = f"all/{language}"
        key = whole if whole in task.splits else f"{split}/{language}"
        if split == "test" and key != whole and not sources.has(target.task, key):
            continue
        data = sources.spec(target.task, key, target.max_length, target.stride)
        found.append(EvaluationSpec(data, language, split, split == "test", (split, language) == ("dev", first)))
    return tuple(found)
