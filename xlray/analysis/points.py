"""What is estimated from, and what an estimate is: one point per trial and rung, with the weight that stopping gives it."""

from __future__ import annotations

import functools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from xlray.analysis.other_languages import means_in, other_dev, other_majority
from xlray.analysis.results import (
    SETTING,
    Results,
    complete_rungs,
    headline_rows,
    mean_headline,
    retrieval_tasks,
    without_tatoeba,
)
from xlray.analysis.survival import survival_weights
from xlray.errors import InputError
from xlray.storage.standings import Standing, accuracy_name

Array: TypeAlias = NDArray[np.float64]

FI_ACCURACY = accuracy_name("fi")  # the mean of a sweep in Finnish
WITHOUT_TATOEBA = "without_tatoeba"
ENGLISH = "@en"  # follows a target's name: its headline on English dev
CONTROL = "control"  # source of subsets, such as a strong single task, that every cell is compared with
MADE_OF_DESIGN = ("-shuffled", "-masked")  # what the sources of controls end in that are made of a design
MIN_SAMPLES = 3  # seeds, or subsets where they are sampled, below which there is no interval
ONE_SEED = "one seed"
ESTIMATED_ROLES = ("measure", "explore")  # what an adaptive search proposes was chosen by scores and never enters


@dataclass(frozen=True)
class Estimate:
    """A number made from several trials.

    Attributes:
        name: what it is, such as `difference/fi_accuracy/20-all - 9-all`.
        value: in percentage points of the score, or a correlation.
        low: lower end of the interval; None where there is none, and `missing` says why.
        high: upper end.
        level: of the interval, such as 0.95.
        num_seeds: seeds that entered.
        num_subsets: different task subsets that entered.
        rung: examples of the intermediate phase.
        num_trials: trials that entered.
        standard_error: in the unit of `value`.
        degrees_of_freedom: of the t distribution behind the interval; None for a bootstrap interval.
        p_value: two-sided, against 0.
        p_holm: the same after Holm's correction over its family of comparisons; None outside a family.
        standardised: `value` in standard deviations of a single trial.
        missing: why there is no interval, and no p-value nor standardised value either, else "".
        num_sampled: the fewest subsets of the cells that have several, so that they are a sample; 1 if none has.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    level: float
    num_seeds: int
    num_subsets: int
    rung: int
    num_trials: int = 0
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    p_value: float | None = None
    p_holm: float | None = None
    standardised: float | None = None
    missing: str = ""
    num_sampled: int = 1


@dataclass(frozen=True, eq=False)
class Point:
    """One trial at one rung, with all its targets scored. It equals nothing but itself, so points can be keys of caches.

    Attributes:
        cluster: what is sampled with it: its chain, or its subset if it belongs to none.
        scores: outcome to percent: every target, their mean (`fi_accuracy`), `without_tatoeba`, `<target>@en` on English dev
            and `<target>@<language>` on dev of a pivot or a further language of the sweep; of the latter also the mean.
        weight: inverse of the recorded probability that the trial got this far; None where there is no such record.
        selected: it is here past a cut because somebody moved it to `measure` or opened it again, and not all that were cut
            there have been opened with it: what its score has to do with that is not known.
        degenerate: the trial is marked so: it diverged or gives one answer to everything.
        target_examples: training examples of the targets at this rung; scores compare only where they are equal.
        setting: values of the sweep's axes in words, such as `lr=1e-5 T=3`; "" without any. Part of the cell.
        diverged: it was lost here or before, and counts as the majority answer of the targets that it has no score of, and
            on English and pivot dev where that is known.
        languages: that the sweep evaluates in, that of the targets' headlines first.
    """

    trial_id: str
    role: str
    cell: str
    num_tasks: int
    source: str
    tasks: tuple[str, ...]
    cluster: str
    seed: int
    rung: int
    rung_index: int
    scores: dict[str, float]
    weight: float | None = None
    selected: bool = False
    degenerate: bool = False
    target_examples: int | None = None
    setting: str = ""
    diverged: bool = False
    languages: tuple[str, ...] = ("fi",)

    @property
    def headline(self) -> str:
        """The outcome that is the mean of the targets: `fi_accuracy`."""
        return accuracy_name(self.languages[0])

    @property
    def accuracy(self) -> float:
        """The mean of the targets."""
        return self.scores[self.headline]

    @property
    def population(self) -> str:
        """The cell without values of axes."""
        return self.cell.removesuffix(f" {self.setting}") if self.setting else self.cell


@dataclass(frozen=True)
class Sampling:
    """How intervals are made.

    Attributes:
        num_draws: bootstrap draws, for what has no interval in closed form.
        level: of the intervals.
        seed: of the draws, so that a report is the same each time.
    """

    num_draws: int = 2_000
    level: float = 0.95
    seed: int = 0


def collect_points(results: Results, standings: Mapping[str, Standing] | None = None) -> tuple[Point, ...]:
    """All (trial, rung) with every target scored, ordered by rung, size of subset, trial.

    Args:
        results: the sweep's tables.
        standings: what the journal says of its trials; without it no `explore` trial has a weight past the first rung.

    Raises:
        InputError: a headline is outside 0 to 100 or there twice, or trials of one cell were made by different versions
            of the method.
    """
    headline = headline_rows(results.scores)
    _check_headlines(headline)
    _check_versions(results.trials)
    retrieval = retrieval_tasks(results.scores)
    wanted = ["trial_id", "role", "cell", "tasks", "source", "seed", "chain", "design", "degenerate", SETTING]
    about = results.trials.select([name for name in wanted if name in results.trials.column_names])
    trials = {row["trial_id"]: row for row in about.to_pylist()}
    columns = ["rung", "role", "cell", "tasks", "source", "seed"]
    last: dict[tuple[str, int], int] = {}
    seen: Counter[tuple[str, int]] = Counter()
    keys = (headline[name].to_pylist() for name in ("trial_id", "rung_index", "num_examples"))
    for number, (trial_id, rung_index, num_examples) in enumerate(zip(*keys, strict=True)):
        last[trial_id, rung_index] = number
        seen[trial_id, rung_index] += num_examples or 0
    rows = dict(zip(last, headline.select(columns).take(pa.array(last.values(), pa.int64())).to_pylist(), strict=True))
    # The control has no trunk, so its rows need not carry the examples that name the rung.
    examples: dict[int, int] = {}
    for (_, rung_index), row in rows.items():
        examples[rung_index] = max(examples.get(rung_index, 0), row["rung"] or 0)
    others = other_dev(results.scores)
    elsewhere = other_majority(results.scores, others)
    found_trials = standings or {}
    weights = survival_weights(found_trials)
    first = min(examples, default=0)
    trained = {rung: size for (_, rung), size in seen.items()}
    lost = _diverged(results, {name: s for name, s in found_trials.items() if name in trials}, examples)
    points = []
    for key, scores in (
        complete_rungs(results.scores, results.targets) | {key: s for key, (s, _) in lost.items()}
    ).items():
        trial, standing = trials.get(key[0], {}), found_trials.get(key[0], Standing())
        row = trial if key in lost else rows[key]
        if key[1] in standing.outdated or standing.status == "dropped":  # the table is older than the sweep
            continue
        tasks, source, chain = tuple(sorted(row["tasks"] or ())), row["source"] or "", trial.get("chain")
        cluster = chain_name(chain, trial["design"], source) if chain is not None and tasks else " ".join(tasks)
        summary = {results.accuracy_name: mean_headline(scores), WITHOUT_TATOEBA: without_tatoeba(scores, retrieval)}
        role = row["role"] or "measure"
        known = key[1] != first and standing.rungs
        reached = (key[0], lost[key][1]) if key in lost else key  # what diverged would be no better at later rungs
        weight = weights.get(reached) if known or (role != "measure" and reached[1] != first) else 1.0
        place = (key[0], role, row["cell"], len(tasks), source, tasks, cluster, row["seed"], examples[key[1]], key[1])
        found = {**summary, **scores, **(elsewhere.get(key[1], {}) if key in lost else {}), **others.get(key, {})}
        found |= means_in(results.languages[1:], scores, found)
        selected = weight is None and (role == "measure" or bool(standing.reopened))
        size = trained[key[1]] if key in lost else seen[key]
        marked, setting = key in lost or bool(trial.get("degenerate")), trial.get(SETTING) or ""
        points.append(Point(*place, found, weight, selected, marked, size, setting, key in lost, results.languages))
    return tuple(sorted(points, key=lambda point: (point.rung_index, point.num_tasks, point.cell, point.trial_id)))


def headline_of(points: Sequence[Point]) -> str:
    """The outcome that is the mean of the targets of these points, all of one sweep: `fi_accuracy`; "accuracy" of none."""
    return points[0].headline if points else "accuracy"


def means_of_languages(points: Sequence[Point]) -> list[str]:
    """The outcomes that are the mean of the targets in each language of the sweep, that of the headline first."""
    return [accuracy_name(language) for language in (points[0].languages if points else ())]


def mean_names(points: Iterable[Point]) -> frozenset[str]:
    """The outcomes that are means over targets."""
    languages = {language for point in points for language in point.languages}
    return frozenset({WITHOUT_TATOEBA, *map(accuracy_name, languages)})


def _diverged(
    results: Results, trials: Mapping[str, Standing], rungs: Iterable[int]
) -> dict[tuple[str, int], tuple[dict[str, float], int]]:
    """(trial, rung number) to (what it scores, rung at which it diverged), from that rung on.

    Leaving these out would flatter as leaving out collapsed targets would. A model that is no longer finite answers nothing,
    so a target that has no score counts as the majority answer; where that is not known of every target, {}.
    """
    ends = [
        (trial_id, index, entry)
        for trial_id, standing in trials.items()
        for index, entry in standing.current.items()
        if entry.get("reason") == "diverged" and standing.status != "dropped"
    ]
    if not ends:
        return {}
    majority = results.majority()
    targets = {*results.targets, *headline_rows(results.scores, ["task"])["task"].unique().to_pylist()}
    if not targets or not targets <= majority.keys():
        return {}
    plain = {target: majority[target] for target in sorted(targets)}
    found: dict[tuple[str, int], tuple[dict[str, float], int]] = {}
    for trial_id, index, entry in ends:
        scores = (entry.get("scores") or {}).items()
        kept = {t: v for t, v in scores if t in plain and v is not None and np.isfinite(v)}
        found |= {(trial_id, rung): (plain, index) for rung in rungs if rung > index and not kept}
        found[trial_id, index] = (plain | kept, index)
    return {key: made for key, made in found.items() if key[1] in set(rungs)}


def chain_name(chain: int, design: str | None, source: str) -> str:
    """The cluster of the trials of a chain; its number is unique within its design and source alone."""
    return f"chain {chain}{f' ({design})' if design else ''} of {source}"


def draw_of(cluster: str, source: str) -> str:
    """The cluster without its source if it says what it was drawn by: two pools share it only if they are drawn together."""
    shared = cluster.removesuffix(f" of {source}")
    return shared if shared.startswith("chain ") and shared.endswith(")") else cluster


def is_control_source(source: str) -> bool:
    """Whether subsets of this source are controls, such as a strong single task or shuffled labels: no sample of a pool."""
    return source == CONTROL or source.endswith(MADE_OF_DESIGN)


def without_controls(points: Sequence[Point]) -> list[Point]:
    """The points of subsets of pools, and of no task."""
    return [point for point in points if not point.num_tasks or not is_control_source(point.source)]


def _check_headlines(headline: pa.Table) -> None:
    values = headline["value"]
    wrong = headline.filter(pc.or_(pc.less(values, 0), pc.greater(values, 100))).slice(0, 1).to_pylist()
    if wrong:
        row = wrong[0]
        raise InputError(
            f"scores of trial {row['trial_id']}: `0 <= headline <= 100` must hold, but got {row['value']!r} for "
            f"{row['task']} at rung {row['rung']}."
        )
    key = ["trial_id", "rung_index", "task"]
    counts = headline.select(key).group_by(key).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1)).slice(0, 1).to_pylist()
    if twice:
        row = twice[0]
        raise InputError(
            f"scores of trial {row['trial_id']}: `one selected headline per target and rung` must hold, but got "
            f"{row['count_all']} for {row['task']} at rung number {row['rung_index']}."
        )


def _check_versions(trials: pa.Table) -> None:
    """A mean over trials of different methods is the mean of nothing."""
    found: dict[tuple[str, str], int] = {}
    for cell, text in zip(trials["cell"].to_pylist(), trials["method_versions"].to_pylist(), strict=True):
        for kind, version in json.loads(text or "{}").items():
            if found.setdefault((cell, kind), version) != version:
                raise InputError(
                    f"cell {cell}: `one version of the method` must hold, but got {kind} phases made with "
                    f"{found[cell, kind]} and with {version}; run the sweep again."
                )


def estimable(points: Sequence[Point], rung_index: int) -> list[Point]:
    """The points from which a rung may be estimated.

    At the first rung nothing has been stopped yet, so all trials count. Later `measure` trials do that met no cut, and
    those trials whose probability of getting that far is on record; the others that are left were chosen by their score.
    """
    return list(_estimable(tuple(points), rung_index))


@functools.lru_cache(maxsize=32)  # every table, figure and estimate of a report asks for its rung
def _estimable(points: tuple[Point, ...], rung_index: int) -> tuple[Point, ...]:
    points = tuple(point for point in points if point.role in ESTIMATED_ROLES)
    first = min((point.rung_index for point in points), default=0)
    return tuple(
        p
        for p in points
        if p.rung_index == rung_index
        and (rung_index == first or (p.role == "measure" and not p.selected) or p.weight is not None)
    )


def too_few(num_seeds: int, num_subsets: int) -> str:
    """Why so many seeds and subsets make no interval, else "".

    A standard deviation of two numbers is known so badly that the t quantile multiplies it by 12.7; of three by 4.3. One
    subset is no sample of subsets, so it asks for nothing.
    """
    if num_seeds < 2:
        return ONE_SEED
    counts = {"seeds": num_seeds, "subsets": num_subsets}
    few = [noun for noun, number in counts.items() if 1 < number < MIN_SAMPLES]
    return f"two {' and two '.join(few)} are too few" if few else ""


def values_of(points: Sequence[Point], outcome: str) -> Array:
    """[points] of an outcome; NaN where it was not scored."""
    return np.array([point.scores.get(outcome, np.nan) for point in points], dtype=np.float64)


def weights_of(points: Sequence[Point]) -> Array:
    """[points] inverse probabilities; 1 where nothing could be stopped."""
    return np.array([1.0 if point.weight is None else point.weight for point in points], dtype=np.float64)


def scored(points: Sequence[Point], outcome: str) -> list[Point]:
    """The points that have a finite number for the outcome."""
    return [point for point in points if math.isfinite(point.scores.get(outcome, math.nan))]
