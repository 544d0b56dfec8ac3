"""Results in and out: the Parquet tables of a sweep and its journal. pyarrow only, so that notebooks load it fast."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlray.errors import InputError
from xlray.storage.parquet import read_schema, read_table
from xlray.storage.standings import accuracy_name
from xlray.storage.sweep_folder import languages_of, read_definition

HEADLINE = "headline"
MAJORITY = "majority"
SETTING = "setting"  # column of trials in a sweep with axes: their values in words, such as `lr=1e-5 T=3`
UNSEALED_FILE = "unsealed.jsonl"  # in the sweep's folder: one entry for each opening of its test data

_TEXT, _WHOLE, _REAL, _FLAG, _TEXTS = pa.string(), pa.int64(), pa.float64(), pa.bool_(), pa.list_(pa.string())
_SINGLE = pa.float32()
# fmt: off

# One row per measured number. `rung` counts examples seen by the trunk, `num_examples` those of the target phase.
# `selection` marks the numbers that are averaged into a trial's accuracy; other rows never decide anything.
SCORES = pa.schema([
    ("sweep", _TEXT), ("trial_id", _TEXT), ("cell", _TEXT), ("num_tasks", _WHOLE), ("tasks", _TEXTS),
    ("seed", _WHOLE), ("rung", _WHOLE), ("rung_index", _WHOLE), ("num_examples", _WHOLE), ("task", _TEXT),
    ("language", _TEXT), ("split", _TEXT), ("metric", _TEXT), ("value", _REAL), ("num_eval_examples", _WHOLE),
    ("selection", _FLAG), ("role", _TEXT), ("source", _TEXT), ("phase", _TEXT),
])
# One row per trial; status: created, running, paused, interrupted, finished, stopped or failed. `method_versions` is JSON;
# so are `execution` and `versions`: lists of the different ones that the trial's finished phases were computed with.
TRIALS = pa.schema([
    ("sweep", _TEXT), ("trial_id", _TEXT), ("status", _TEXT), ("role", _TEXT), ("cell", _TEXT), ("num_tasks", _WHOLE),
    ("tasks", _TEXTS), ("source", _TEXT), ("chain", _WHOLE), ("position", _WHOLE), ("seed", _WHOLE),
    ("last_rung", _WHOLE), ("degenerate", _FLAG), ("error", _TEXT), ("execution", _TEXT), ("method_versions", _TEXT),
    ("fi_accuracy", _REAL), ("versions", _TEXT), ("examples_per_task", _WHOLE), ("design", _TEXT),
    ("num_distinct", _WHOLE), ("effective_tasks", _REAL), ("translated", _REAL), ("rung_tokens", pa.list_(_WHOLE)),
])
# The cost ledger: one row per phase that a trial needed. `num_steps` is what the phase consists of,
# `num_executed_steps` what was run for it here (0 if shared or stored), `num_repeated_steps` the part of that which a
# crash lost and which was run again; `padding_ratio` is the share of idle and padding tokens among all that ranks computed.
PHASES = pa.schema([
    ("phase", _TEXT), ("kind", _TEXT), ("status", _TEXT), ("num_steps", _WHOLE), ("num_tokens", _WHOLE),
    ("device_hours", _REAL), ("trial_id", _TEXT), ("num_executed_steps", _WHOLE), ("num_repeated_steps", _WHOLE),
    ("degenerate", _FLAG), ("padding_ratio", _REAL),
])
# Sufficient statistics per evaluated item (correct and total; tp, fp, fn; em, f1), for resampling items.
ITEMS = pa.schema([
    ("sweep", _TEXT), ("trial_id", _TEXT), ("rung", _WHOLE), ("task", _TEXT), ("language", _TEXT), ("split", _TEXT),
    ("item", _WHOLE), ("statistic", pa.dictionary(pa.int32(), pa.string())), ("value", _REAL),
])
# Training curves: several rows per phase that trained, each for the steps since the row before; once per phase, however
# many trials share it: `PHASES` says which. Thinned where there are many phases; the phase's own file has up to 500 rows.
STEPS = pa.schema([
    ("phase", _TEXT), ("kind", _TEXT), ("task", _TEXT), ("rung", _WHOLE), ("step", _WHOLE), ("examples", _WHOLE),
    ("loss", _SINGLE), ("learning_rate", _SINGLE), ("grad_norm", _SINGLE), ("tokens_per_second", _SINGLE),
    ("padding_ratio", _SINGLE),
])
# fmt: on


def trials_schema(languages: Sequence[str]) -> pa.Schema:
    """The columns of `TRIALS`, with a mean of headlines for each language of the sweep in the place of `fi_accuracy`."""
    place = TRIALS.get_field_index("fi_accuracy")
    means = [pa.field(accuracy_name(language), _REAL) for language in languages]
    fields = list(TRIALS)
    return pa.schema([*fields[:place], *means, *fields[place + 1 :]])


# Unknown of sweeps that were stored without them.
ADDED = ("design", "num_distinct", "effective_tasks", "translated", "rung_tokens")


@dataclass(frozen=True)
class Results:
    """What a sweep has measured so far.

    Attributes:
        name: the sweep's name.
        directory: `<storage>/sweeps/<name>`.
        scores: table with the columns `SCORES`.
        trials: table with the columns `TRIALS`; of a sweep with axes also `setting` and a column for each field that varies.
        phases: table with the columns `PHASES`.
        targets: target tasks of the definition; () if it does not name them.
        languages: that targets are evaluated in, by the definition, that of the headline first.
    """

    name: str
    directory: Path
    scores: pa.Table
    trials: pa.Table
    phases: pa.Table
    targets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ("fi",)

    @property
    def accuracy_name(self) -> str:
        """The name of the mean of the headlines in the first language: `fi_accuracy`."""
        return accuracy_name(self.languages[0])

    @functools.cached_property
    def steps(self) -> pa.Table:
        """Training curves, with the columns `STEPS`; read at the first use, and empty if the sweep has none."""
        path = self.directory / "results" / "steps.parquet"
        return read_table(path, STEPS) if path.exists() else STEPS.empty_table()

    def best(self) -> dict[str, Any]:
        """The trial with the highest accuracy on dev in the sweep's language among those that reached the last rung seen.

        Returns:
            its row of `trials` with that accuracy (`fi_accuracy`), `without_tatoeba`, `rung`, `rung_index` and `scores`
            (target task to headline, in percent). Equal trials are ordered by id.

        Raises:
            InputError: no trial has all its targets scored at any rung.
        """
        complete = complete_rungs(self.scores, self.targets)
        if not complete:
            raise InputError(f"{self.directory}: no trial has finished a rung yet, so there is no best one.")
        last = max(rung_index for _, rung_index in complete)
        means = {trial: mean_headline(found) for (trial, rung_index), found in complete.items() if rung_index == last}
        trial_id = min(means, key=lambda trial: (-means[trial], trial))
        rows = self.trials.filter(pc.equal(self.trials["trial_id"], trial_id)).to_pylist()
        scores = complete[trial_id, last]
        at_last = pc.and_(pc.equal(self.scores["trial_id"], trial_id), pc.equal(self.scores["rung_index"], last))
        rung = pc.max(self.scores.filter(at_last)["rung"]).as_py()
        return {
            **(rows[0] if rows else {"trial_id": trial_id}),
            self.accuracy_name: means[trial_id],
            "without_tatoeba": without_tatoeba(scores, retrieval_tasks(self.scores)),
            "rung": rung,
            "rung_index": last,
            "scores": scores,
        }

    def majority(self) -> dict[str, float]:
        """Of each target what always giving the most frequent training answer scores on the split of its headline."""
        place = ["task", "language", "split"]
        headlines = {tuple(row.values()) for row in _distinct(headline_rows(self.scores, place), place)}
        known = pc.and_(pc.equal(self.scores["metric"], MAJORITY), pc.is_finite(self.scores["value"]))
        rows = self.scores.select([*place, "value"]).filter(known)
        found = sorted(tuple(row.values()) for row in _distinct(rows, [*place, "value"]))
        return {task: value for task, *where, value in found if (task, *where) in headlines}


def _distinct(table: pa.Table, columns: list[str]) -> list[dict[str, Any]]:
    """The different rows of some columns."""
    return list(table.group_by(columns).aggregate([]).to_pylist())


def mean_headline(scores: Mapping[str, float]) -> float:
    """Plain mean of the headline scores of one trial at one rung.

    Args:
        scores: target task to headline score, in percent; not empty.
    """
    if not scores:
        raise InputError("mean of headlines: `scores is not empty` must hold, but got {}.")
    return math.fsum(scores.values()) / len(scores)


def without_tatoeba(scores: Mapping[str, float], retrieval: Collection[str] = ("tatoeba",)) -> float:
    """Mean over the targets that are trained; NaN if there is none. Schedulers rank by it.

    Args:
        scores: target task to headline score, in percent.
        retrieval: targets that are evaluated only and left out.
    """
    trained = [value for task, value in scores.items() if task not in retrieval]
    return math.fsum(trained) / len(trained) if trained else math.nan


def retrieval_tasks(scores: pa.Table) -> frozenset[str]:
    """Targets that are evaluated without training, read from the table: they saw no target training examples."""
    headline = headline_rows(scores, ["task", "num_examples"])
    seen = pc.fill_null(headline["num_examples"], 0)
    totals = headline.append_column("seen", seen).group_by("task").aggregate([("seen", "max")])
    pairs = zip(totals["task"].to_pylist(), totals["seen_max"].to_pylist(), strict=True)
    return frozenset(task for task, most in pairs if most == 0 or task.endswith("tatoeba"))


def headline_rows(scores: pa.Table, columns: Sequence[str] = ()) -> pa.Table:
    """The rows that are averaged into a trial's accuracy: headline metric, marked for selection; all columns or some."""
    selected = pc.fill_null(scores["selection"], False)
    wanted = pc.and_(pc.equal(scores["metric"], HEADLINE), selected)
    return scores.select(list(columns or scores.column_names)).filter(wanted)


def complete_rungs(scores: pa.Table, targets: Collection[str] = ()) -> dict[tuple[str, int], dict[str, float]]:
    """(trial_id, rung_index) to {target task: headline}, for rungs where every target of the sweep has its score.

    A rung with a target that is not evaluated yet, or whose score is no number, is left out: its mean would be over
    other tasks than the means beside it.

    Args:
        targets: of the definition, since a sweep that has just begun has no score of some of them.
    """
    names = ["trial_id", "rung_index", "task", "value"]
    headline = headline_rows(scores, names)
    columns = (headline[name].to_pylist() for name in names)
    found: dict[tuple[str, int], dict[str, float]] = {}
    for trial_id, rung_index, task, value in zip(*columns, strict=True):
        if value is not None and math.isfinite(value):
            found.setdefault((trial_id, rung_index), {})[task] = value
    wanted = {*targets, *headline["task"].to_pylist()}
    return {key: dict(sorted(values.items())) for key, values in found.items() if set(values) == wanted}


def load_results(directory: Path | str) -> Results:
    """The tables of a sweep's folder; one that is not written yet is empty.

    Raises:
        InputError: the folder is no sweep's, a table cannot be read, or a score is there twice.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder.")
    if not any((directory / name).exists() for name in ("sweep.json", "journal", "results/scores.parquet")):
        raise InputError(f"{directory}: not a sweep's folder (no sweep.json, journal/ or results/scores.parquet).")
    definition = read_definition(directory)
    tables = {}
    languages = tuple(languages_of(definition)) or ("fi",)
    added = (*ADDED, *map(accuracy_name, languages[1:]))  # a language may be new to the sweep
    for name, schema in (("scores", SCORES), ("trials", trials_schema(languages)), ("phases", PHASES)):
        path = directory / "results" / f"{name}.parquet"
        more = _axis_columns(path, axis_fields(definition)) if name == "trials" and path.exists() else []
        asked = pa.schema([*schema, *more])
        tables[name] = read_table(path, asked, added) if path.exists() else schema.empty_table()
    _check_unique(tables["scores"], directory / "results" / "scores.parquet")
    targets = definition.get("targets") or ()
    names = tuple(str(target["task"]) for target in targets if isinstance(target, Mapping) and target.get("task"))
    return Results(directory.resolve().name, directory, **tables, targets=names, languages=languages)


def axis_fields(definition: Mapping[str, Any]) -> list[str]:
    """Dotted names of the fields that a sweep varies or searches, by its definition; each is a column of `trials`."""
    varied = [str(name) for axis in definition.get("vary") or () for name in axis["fields"]]
    return [*varied, *searched_space(definition)]


def searched_space(definition: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Dotted names of the fields that a sweep searches, by its definition, to their domains (`type`, `low`, ...)."""
    return dict((definition.get("search") or {}).get("space") or {})


def _axis_columns(path: Path, fields: Sequence[str]) -> list[pa.Field]:
    """The columns of the table of trials that hold the values of axes."""
    found = read_schema(path)
    return [found.field(name) for name in (SETTING, *fields) if fields and name in found.names]


def _check_unique(scores: pa.Table, path: Path) -> None:
    """A score that is there twice would count twice in every mean."""
    key = ["trial_id", "rung_index", "task", "language", "split", "metric"]
    counts = scores.select(key).group_by(key).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()
    if twice:
        row = twice[0]
        raise InputError(
            f"{path}: `one row per score` must hold, but trial {row['trial_id']} has {row['split']} {row['metric']} of "
            f"{row['task']} in {row['language']} at rung number {row['rung_index']} {row['count_all']} times."
        )


COLUMNS = {  # what the columns of all tables mean
    "sweep": "name of the sweep",
    "trial_id": "ten hexadecimal digits that identify the trial",
    "cell": (
        "number of tasks, source and, where they vary, examples per task and values of axes (`9-en lr=1e-5`): trials are "
        "averaged only within it"
    ),
    "num_tasks": "number of intermediate tasks",
    "tasks": "names of the intermediate tasks, sorted",
    "seed": "the trial's seed",
    "rung": (
        "intermediate examples that the trunk had seen; in steps the first rung that needs the phase, null for phases before "
        "all trials"
    ),
    "rung_index": "number of the rung, from 0",
    "num_examples": "examples of target training; 0 for a target that is evaluated only",
    "task": "name of the target task; in steps empty for pre-training and intermediate training",
    "language": "language of the evaluation set",
    "split": "`dev` or `test` (sealed test scores are not in this table)",
    "metric": "name of the metric; `headline` is the target's headline score, `majority` that of the majority answer",
    "value": "the number, in percent (correlations: -100 to 100)",
    "num_eval_examples": "number of items that were evaluated",
    "selection": "whether the number is averaged into the trial's accuracy (`fi_accuracy`); others never decide anything",
    "role": "`measure`, `explore` or, where a search proposed the trial, `search`",
    "source": "label of the pool that the tasks were drawn from",
    "phase": "name of the phase's folder in the storage",
    "status": (
        "of a trial: created, running, paused, interrupted, finished, stopped or failed; of a phase: computed (here, for "
        "this trial), shared (another trial computed it) or stored (it was there before)"
    ),
    "chain": "index of the nested chain or draw, null where the design has none",
    "design": "what the chain was drawn by: equal numbers of two designs are two chains",
    "position": "position of the subset in its design",
    "last_rung": "the last rung that the trial has reached, in examples; null if none",
    "degenerate": "whether training diverged or a model gives one answer to everything",
    "error": "traceback of a failed trial",
    "execution": "JSON list of the different executions that the trial's phases were computed with",
    "method_versions": "JSON object: version of the method of each kind of phase",
    "fi_accuracy": (
        "mean of the headline scores on Finnish dev at the last rung, in percent; a sweep in other languages has a column for "
        "each of them, such as `et_accuracy`"
    ),
    "versions": "JSON list of the different software versions that the trial's phases were computed with",
    "examples_per_task": "examples per task where the design varies them, else null",
    "num_distinct": "training examples of the trial's tasks that survive filters and caps, null without tasks",
    "effective_tasks": "exp of the entropy of the mixture: the number of equally frequent tasks that is as even",
    "translated": "share of the mixture that was translated into its language, 0 to 1",
    "rung_tokens": "tokens of the intermediate training behind each rung, cooldown included; null where not finished",
    "kind": "kind of phase",
    "num_steps": "optimizer steps that the phase consists of",
    "num_tokens": "tokens that were trained on, 0 unless computed",
    "device_hours": "hours times devices, 0 unless computed",
    "num_executed_steps": "steps that were run here for this trial, 0 if the phase was shared or stored",
    "num_repeated_steps": "steps run again after a crash, part of `num_executed_steps`",
    "padding_ratio": "share of idle and padding tokens among all that the ranks computed",
    "step": (
        "optimizer steps done, counted from the beginning of the order of examples: the segments of a trunk and the cooldown "
        "behind it follow one another; each row stands for the steps since the row before"
    ),
    "examples": "examples seen, counted in the same way",
    "loss": "mean training loss since the row before; a task's is divided by the log of its classes where the recipe says so",
    "learning_rate": "of the row's last step",
    "grad_norm": "mean global L2 norm of the gradients before clipping; infinite where it overflowed",
    "tokens_per_second": "over all ranks, from the clock; differs between runs and is part of no identity",
    "item": "number of the evaluated item in its evaluation set",
    "statistic": "sufficient statistic of the item: `correct`, `total`, `tp`, `fp`, `fn`, `em` or `f1`",
}
