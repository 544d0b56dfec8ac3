"""What a user writes: a sweep, its recipes and how to execute it. Frozen values and their checks; standard library only.

Identity and execution are two types. Everything in `TrialConfig` changes the numbers and is hashed; everything in
`Execution` changes only the speed and is recorded beside the result, never hashed.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from xlray.canonical import check_types, fingerprint, to_plain
from xlray.config.axes import (
    ENCODER,
    MOST_TRIALS,
    Axis,
    Setting,
    Values,
    axes_of,
    check_recipes,
    grid_size,
    plain_axes,
    replaced,
    settings,
    without_values,
)
from xlray.config.execution import Execution
from xlray.config.recipes import Encoder, Intermediate, Pretraining, Subset, Target
from xlray.config.search import Search, checked_search
from xlray.errors import require

SIGNALS = ("target-dev", "pivot-dev", "english-dev")  # by which trials may be ranked
LONGEST_NAME = 100  # bytes of a sweep's: file systems take 255, and it is a part of other names


@dataclass(frozen=True)
class TrialConfig:
    """Everything that changes a trial's numbers.

    Attributes:
        encoder: what is trained further.
        tasks: names of the intermediate tasks, sorted.
        intermediate: recipe of the intermediate phase.
        targets: recipes of the target phases.
        seed: of heads, order of examples, dropout and masks.
        dropout: hidden dropout, as in `Sweep`.
        clip_norm: as in `Sweep`.
        precision: as in `Sweep`.
        caps: (task, at most so many of its examples), sorted.
        varied: (field, value) of the fields of targets that the sweep varies, sorted.
    """

    encoder: Encoder | Pretraining
    tasks: tuple[str, ...]
    intermediate: Intermediate
    targets: tuple[Target, ...]
    seed: int
    dropout: float = 0.1
    clip_norm: float = 1.0
    precision: str = "fp32"
    caps: tuple[tuple[str, int], ...] = ()
    varied: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "TrialConfig")

    @functools.cached_property
    def trial_id(self) -> str:
        """Ten hexadecimal digits of the hash of what is trained, whatever is measured of it.

        Rungs and targets are where a trial is measured: a sweep that gets one more of either keeps the same
        trials and their entries in the journal. Of what was measured, phases hold the identity. Only the fields of targets
        that a sweep varies tell its trials apart.
        """
        recipe = [(f.name, getattr(self.intermediate, f.name)) for f in fields(self.intermediate) if f.name != "rungs"]
        apart = ("intermediate", "targets") if self.varied else ("intermediate", "targets", "varied")
        rest = [(f.name, getattr(self, f.name)) for f in fields(self) if f.name not in apart]
        return fingerprint([recipe, rest])[:10]


@dataclass(frozen=True)
class Trial:
    """A trial's configuration and its place in the design (the place changes no number).

    Attributes:
        config: everything that changes the trial's numbers.
        role: "measure" (never stopped) or "explore" (ASHA may stop it).
        subset: the subset of the design that the trial belongs to.
        values: of the sweep's axes, of those that change its numbers.
        label: these in words, such as `lr=1e-5 T=3`; "" without any.
    """

    config: TrialConfig
    role: str
    subset: Subset
    values: Values = ()
    label: str = ""

    @property
    def trial_id(self) -> str:
        return self.config.trial_id

    @property
    def cell(self) -> str:
        """Population x values of axes: trials are averaged only within it."""
        return f"{self.population} {self.label}" if self.label else self.population

    @property
    def population(self) -> str:
        """Number of tasks x source (x examples per task, if subsets vary it): trials compete only within it."""
        if not self.config.tasks:
            return "0"
        size = self.subset.examples_per_task
        return f"{len(self.config.tasks)}-{self.subset.source}{'' if size is None else f'-{size}'}"


@dataclass(frozen=True)
class Stopping:
    """ASHA (Li et al. 2020) over examples seen, among trials of one number and source of tasks, whatever axes say.

    Attributes:
        reduction_factor: the best 1/reduction_factor of a rung continue.
        survival_probability: chance that a trial below the cut continues anyway; recorded, so that estimates can
            weight it by its inverse.
        promote: a trial below the cut pauses and resumes from its stored trunk once it has risen into the best
            1/reduction_factor, as in the paper; otherwise it stops for good. A pause costs a start of workers.
    """

    reduction_factor: float = 3.0
    survival_probability: float = 0.2
    promote: bool = False

    def __post_init__(self) -> None:
        check_types(self, "Stopping")
        require(self.reduction_factor > 1, "reduction_factor > 1", self.reduction_factor, "Stopping")
        require(
            0 <= self.survival_probability <= 1, "0 <= survival_probability <= 1", self.survival_probability, "Stopping"
        )


@dataclass(frozen=True)
class Sweep:
    """One question: which subsets, how many seeds, which recipes, how executed.

    Attributes:
        name: folder of the sweep below `<storage>/sweeps/`.
        encoder: a public encoder or folder, or one that the sweep pre-trains itself; several are an axis, `vary={"encoder":
            (XLM_R_BASE, XLM_R_LARGE)}`, which takes its place.
        measure: subsets that are always run to the last rung.
        explore: subsets that ASHA may stop.
        seeds: run for every subset; the same in every cell, so that differences are paired.
        vary: axes: a field of a trial's recipes, named as for `--set`, to the values that it takes, each with every subset
            and seed: `{"intermediate.learning_rate": (1e-5, 2e-5), "targets.panx.batch_size": (16, 32)}`. Fields that vary
            together are a tuple of names, with a tuple of values at each place:
            `{("intermediate.batch_size", "intermediate.learning_rate"): ((16, 1e-5), (32, 2e-5))}`.
        intermediate: recipe of the intermediate phase.
        targets: recipes of the target phases, one per target task.
        language: that targets are evaluated in after English training (ISO 639-1); no intermediate task may have labels in it.
        languages: several of them. The first takes the place of `language`: trials are ranked, stopped and compared by it. All
            are evaluated after the same training.
        stopping: when `explore` trials are stopped.
        execution: workers, devices, memory and retries; changes results by floating-point rounding at most.
        dropout: hidden dropout, in all phases; there is no attention dropout.
        clip_norm: gradients are clipped to this global norm.
        precision: "fp32", or "bf16" with fp32 master weights; on a GPU in fp32, attention takes a call per distinct length.
        question: one sentence, printed at the top of the report.
        select_by: the dev scores by which `explore` trials are ranked and stopped, as the mean over the trained targets:
            "target-dev" (an oracle: real zero-shot transfer has no labels in the target language; "finnish-dev" is its
            older name), "pivot-dev" (`Target.pivots`) or "english-dev". The mean that is reported, such as `fi_accuracy`, is
            that of the target language in any case.
        tracking: "mlflow" and "wandb", beside TensorBoard; their own environment variables say where to.
        search: proposes further subsets, or values of fields, from the scores so far; see `Search`.
        drop_overlap: leave training examples out of which a text is in the target data of the language that is evaluated.
        own_tasks: `xlray.tasks.Task` values of the sweep's own, named like those of the registry. What they hold enters
            every phase's identity; that they are defined here does not.
        sources: registered task to the `Files` (or `Hub`) that it is read from in this sweep, with the same splits; its
            kind, languages, labels and checks stay. What is read decides identities, as ever.
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
    sources: Mapping[str, Any] = field(default_factory=dict)
    select_by: str = "target-dev"
    search: Search | None = None
    tracking: tuple[str, ...] = ()
    vary: Mapping[Any, Any] = field(default_factory=dict)
    language: str = "fi"
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"Sweep({self.name!r})"
        check_types(self, where)
        ok = bool(self.name) and all(c.isalnum() or c in "-_." for c in self.name) and not self.name.startswith(".")
        require(ok, "name consists of letters, digits, '-', '_' and '.'", self.name, where)
        length = len(self.name.encode())
        require(length <= LONGEST_NAME, f"name has at most {LONGEST_NAME} bytes", length, where)
        require(bool(self.measure or self.explore), "measure or explore is not empty", (), where)
        require(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), "seeds are distinct", self.seeds, where)
        require(min(self.seeds) >= 0, "seed >= 0", min(self.seeds), where)
        require(bool(self.targets), "targets is not empty", self.targets, where)
        names = [t.task for t in self.targets]
        require(len(set(names)) == len(names), "target tasks are distinct", names, where)
        self._check_languages(where)
        require(0 <= self.dropout < 1, "0 <= dropout < 1", self.dropout, where)
        require(self.clip_norm > 0, "clip_norm > 0", self.clip_norm, where)
        require(self.precision in ("fp32", "bf16"), "precision in ('fp32', 'bf16')", self.precision, where)
        if self.select_by == "finnish-dev":
            object.__setattr__(self, "select_by", "target-dev")
        require(self.select_by in SIGNALS, f"select_by in {SIGNALS}", self.select_by, where)
        known = ("mlflow", "wandb")
        require(all(name in known for name in self.tracking), f"tracking in {known}", self.tracking, where)
        bf16_at_zero = self.precision == "bf16" and self.execution.zero_stage == 0
        require(not bf16_at_zero, "bf16 needs zero_stage >= 1", self.execution.zero_stage, where)
        if self.vary:
            self._check_axes(where)
        if self.search is not None and self.search.space:
            object.__setattr__(self, "search", checked_search(self, where))

    def _check_languages(self, where: str) -> None:
        first = self.languages[0] if self.languages else self.language
        found = (self.language, self.languages)
        require(self.language in ("fi", first), "language is the first of languages", found, where)
        object.__setattr__(self, "language", first)
        require(len(set(self.evaluated)) == len(self.evaluated), "languages are distinct", self.languages, where)
        for target in self.targets:
            both = sorted(set(target.pivots) & set(self.evaluated))
            require(
                not both, f"{' and '.join(map(repr, both))}, evaluated in itself, is no pivot", target.pivots, where
            )

    def _check_axes(self, where: str) -> None:
        varied = {name for axis in self.axes for name in axis.fields}
        sizes = [s.examples_per_task for s in (*self.measure, *self.explore) if s.examples_per_task is not None]
        size = "intermediate.examples_per_task"
        require(not (sizes and size in varied), f"where {size} varies no subset has a size", sizes[:1], where)
        alone = self.search is not None and not self.search.space
        require(not alone, "a search beside `vary` has a space", self.search, where)
        law = "a search has one encoder: run a sweep for each"
        require(self.search is None or ENCODER not in varied, law, self.encoders, where)
        with_tasks = sum(bool(subset.tasks) for subset in (*self.measure, *self.explore))
        inside = sorted(name for name in varied if name.startswith("intermediate."))
        law = "a subset has tasks where the intermediate recipe varies; without any it changes nothing"
        require(bool(with_tasks) or not inside, law, inside, where)
        num = len(self.seeds) * with_tasks * grid_size(self.axes)
        require(num <= MOST_TRIALS, f"subsets x seeds x values <= {MOST_TRIALS:,} trials", num, where)
        check_recipes(
            self.axes,
            self.setting,
            lambda setting: replace(self, vary={}, search=None, **without_values(setting)),
            where,
        )

    @functools.cached_property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of `vary`."""
        return axes_of(self.vary, self.setting, [f.name for f in fields(self)], f"Sweep({self.name!r})")

    @functools.cached_property
    def settings(self) -> tuple[Setting, ...]:
        """Every point of the grid of axes; the one setting of a sweep that varies nothing."""
        return settings(self.setting, self.axes, with_tasks=True)

    @property
    def setting(self) -> Setting:
        """What trials are trained with where nothing varies."""
        return Setting(self.encoder, self.intermediate, self.targets, self.dropout, self.clip_norm, self.precision)

    @property
    def encoders(self) -> tuple[Encoder | Pretraining, ...]:
        """The encoders that trials start from, in the order of their axis; without one that of the sweep."""
        found = [row[axis.fields.index(ENCODER)] for axis in self.axes if ENCODER in axis.fields for row in axis.rows]
        return tuple(dict.fromkeys(found)) or (self.encoder,)

    @property
    def evaluated(self) -> tuple[str, ...]:
        """The languages that targets are evaluated in; trials are ranked by the first."""
        return self.languages or (self.language,)

    @property
    def definition(self) -> dict[str, Any]:
        """All fields as plain values, as `sweep.json` holds them; of its own tasks the names, of sources the places."""
        named = None if self.search is None else replace(self.search, method=None)
        plain: dict[str, Any] = to_plain(replace(self, own_tasks=(), sources={}, vary={}, search=named))
        del plain["vary"]
        if self.search is not None:
            plain["search"]["method"] = self.search.title
        vary = {"vary": plain_axes(self.axes)} if self.axes else {}
        return {**plain, "own_tasks": [task.name for task in self.own_tasks], "sources": self.places, **vary}

    @property
    def places(self) -> dict[str, str]:
        """Of each registered task that is read from elsewhere the folder, or the id on the Hub."""

        def place(source: Any) -> str:
            return str(getattr(source, "folder", "") or getattr(source, "id", "") or type(source).__name__)

        return {name: place(source) for name, source in sorted(self.sources.items())}

    def trials(self) -> tuple[Trial, ...]:
        """All trials: seeds outermost, so that early trials cover all subsets; `measure` wins over `explore`."""
        found: dict[str, Trial] = {}
        grids = {True: self.settings, False: settings(self.setting, self.axes, with_tasks=False)}
        lists = [
            (role, bool(subset.tasks), subset)
            for role, subsets in (("measure", self.measure), ("explore", self.explore))
            for subset in subsets
        ]
        for seed in self.seeds:
            for number in range(len(grids[True])):
                for role, with_tasks, subset in lists:
                    if number < len(grids[with_tasks]):
                        setting = grids[with_tasks][number]
                        config = self.trial_config(subset, seed, setting)
                        trial = Trial(config, role, subset, setting.values, setting.label)
                        found.setdefault(trial.trial_id, trial)
        return tuple(found.values())

    def trial_config(self, subset: Subset, seed: int, setting: Setting | None = None) -> TrialConfig:
        """What one subset and one seed are trained with, at a point of the grid of axes."""
        setting = setting or self.setting
        size = subset.examples_per_task
        recipe = setting.intermediate
        return TrialConfig(
            setting.encoder,
            tuple(sorted(subset.tasks)),
            recipe if size is None else replaced(recipe, (("examples_per_task", size),)),
            setting.targets,
            seed,
            setting.dropout,
            setting.clip_norm,
            setting.precision,
            tuple(sorted(subset.caps)),
            tuple(sorted(item for item in setting.values if item[0].startswith("targets."))),
        )

    @property
    def pool(self) -> tuple[str, ...]:
        """Every intermediate task that a trial may be trained on, sorted."""
        listed = {name for subset in (*self.measure, *self.explore) for name in subset.tasks}
        return tuple(sorted(listed | set(self.search.pool if self.search is not None else ())))

    def basis(self, rung_index: int) -> str:
        """What the scores of a rung are means of: two scores rank against one another only if this is equal."""
        last = rung_index == len(self.intermediate.rungs) - 1
        sizes = [t.num_examples if last or t.probe_examples is None else t.probe_examples for t in self.targets]
        recipes = [replace(t, num_examples=n, probe_examples=None) for t, n in zip(self.targets, sizes, strict=True)]
        plain = [{**to_plain(recipe), "language": self.language} for recipe in recipes]
        signal = "finnish-dev" if self.select_by == "target-dev" else self.select_by  # as journals have it
        return fingerprint([signal, sorted(plain, key=lambda recipe: str(recipe["task"]))])[:10]
