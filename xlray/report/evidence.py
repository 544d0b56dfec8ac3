"""All that a report says something about: a sweep's tables, journal and definition, and the estimates they allow."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from xlray.analysis import (
    WITHOUT_TATOEBA,
    ChainContributions,
    Choice,
    Contributions,
    Curve,
    Estimate,
    Importance,
    Interactions,
    MainEffect,
    Point,
    Sampling,
    TaskFacts,
    Variances,
    at_best_values,
    cell_differences,
    chain_contributions,
    chain_lines,
    collect_points,
    compared_cells,
    contributions,
    detectable,
    draw_of,
    estimable,
    estimate_variances,
    example_curves,
    grouped_contributions,
    interactions,
    is_control_source,
    item_variances,
    main_effects,
    mean_names,
    minimum_detectable_effect,
    subset_item_variance,
    sweep_estimates,
    task_curves,
)
from xlray.analysis.bootstrap import in_threads
from xlray.analysis.effects import Shared, shared_of
from xlray.analysis.results import UNSEALED_FILE, Results, load_results
from xlray.data.registry import ALL_TASKS
from xlray.data.shortfalls import SHORTFALLS_FILE
from xlray.errors import InputError
from xlray.plan.definition import WORDS
from xlray.report.field_values import field_importance
from xlray.storage.journal import read_lines
from xlray.storage.standings import Standing, standings
from xlray.storage.sweep_folder import SweepFolder, open_sweep, read_definition
from xlray.tasks.languages import language_name

ENDED = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Evidence:
    """All that the report says something about.

    Attributes:
        definition: `sweep.json`; {} if it is not there.
        trials: what the journal says of each that is not dropped.
        statuses: trial to what became of it, by the journal.
        rung_index: the last rung from which something may be estimated, or None.
        rung: its examples.
        here: the points of that rung from which it is estimated.
        tuned: the points of a sweep with axes at the best values of each population; else all points.
        tuned_here: those of them at that rung.
        choices: these values.
        majority: target to what always giving the most frequent answer scores; see `Results.majority`.
        unsealings: entries of `unsealed.jsonl`, one for each opening of the test data.
        data: `results/data.json`, what the data lack; {} if it is not there.
    """

    results: Results
    definition: Mapping[str, Any]
    journal: Sequence[Mapping[str, Any]]
    trials: Mapping[str, Standing]
    statuses: Mapping[str, str]
    points: tuple[Point, ...]
    estimates: tuple[Estimate, ...]
    rung_index: int | None
    rung: int
    here: tuple[Point, ...]
    tuned: tuple[Point, ...]
    tuned_here: tuple[Point, ...]
    choices: tuple[Choice, ...]
    majority: Mapping[str, float]
    unsealings: Sequence[Mapping[str, Any]]
    data: Mapping[str, Any]

    @property
    def headline(self) -> str:
        """The outcome that is the mean of the targets: `fi_accuracy`."""
        return self.results.accuracy_name

    @property
    def language(self) -> str:
        """The name of the language that the targets' headlines are in."""
        return language_name(self.results.languages[0])


def collect_evidence(directory: SweepFolder | Path | str, sampling: Sampling | None = None) -> Evidence:
    """Read a sweep's folder, finished or not, and estimate what it allows.

    Raises:
        InputError: the folder is no sweep's, or a file in it cannot be read.
    """
    sampling = sampling or Sampling()
    sweep = open_sweep(directory)
    results, journal = load_results(sweep.path), sweep.journal.read()
    named = {entry["trial_id"] for entry in journal if "trial_id" in entry}  # the others are of shared phases
    trials = {name: standing for name, standing in standings(journal).trials.items() if name in named}
    statuses = _statuses(results, trials)
    results = _of_now(results, statuses)
    points = collect_points(results, trials)
    definition = read_definition(results.directory)
    select_by = str(definition.get("select_by", "target-dev"))
    tuned, choices = at_best_values(points, select_by)
    usable = [index for index in {point.rung_index for point in tuned} if estimable(tuned, index)]
    # The deepest rung with two cells, for the question is about differences; else the deepest with anything.
    compared = [index for index in usable if len({point.cell for point in estimable(tuned, index)}) > 1]
    rung_index = max(compared or usable, default=None)
    here = estimable(points, rung_index) if rung_index is not None else []
    points_used = [point for point in points if rung_index is not None and point.rung_index <= rung_index]
    return Evidence(
        results=results,
        definition=definition,
        journal=journal,
        trials={name: standing for name, standing in trials.items() if standing.status != "dropped"},
        statuses=statuses,
        points=points,
        estimates=sweep_estimates(results, points_used, select_by, sampling),
        rung_index=rung_index,
        rung=here[0].rung if here else 0,
        here=tuple(here),
        tuned=tuned,
        tuned_here=tuple(estimable(tuned, rung_index)) if rung_index is not None else (),
        choices=choices,
        majority=results.majority(),
        unsealings=read_lines(results.directory / UNSEALED_FILE),
        data=_data(results.directory / SHORTFALLS_FILE),
    )


def _data(path: Path) -> Mapping[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def target_names(points: Sequence[Point]) -> list[str]:
    """The target tasks, in the order of their names."""
    names = {name for point in points for name in point.scores} - mean_names(points)
    return sorted(name for name in names if "@" not in name)


def dev_of(points: Sequence[Point]) -> str:
    """The data that the targets' scores are of: `Finnish dev`; `dev` without points."""
    return f"{language_name(points[0].languages[0])} dev" if points else "dev"


def _statuses(results: Results, trials: Mapping[str, Standing]) -> dict[str, str]:
    """Status of every trial. The journal is written first, so what it says last of a trial beats the table."""
    found = {row["trial_id"]: row["status"] or "created" for row in results.trials.to_pylist()}
    found |= {name: standing.status for name, standing in trials.items()}
    return {name: status for name, status in found.items() if status != "dropped"}


def _of_now(results: Results, statuses: Mapping[str, str]) -> Results:
    """The tables without the trials that were dropped since they were written."""
    members = pa.array(list(statuses), pa.string())
    trials, scores = (t.filter(pc.is_in(t["trial_id"], members)) for t in (results.trials, results.scores))
    return dataclasses.replace(results, trials=trials, scores=scores)


def num_planned(definition: Mapping[str, Any]) -> int | None:
    """Trials of the definition: seeds times different subsets times values of axes; None if it does not say."""
    subsets = [*(definition.get("measure") or ()), *(definition.get("explore") or ())]
    seeds = definition.get("seeds")
    if not seeds or not subsets or not all(isinstance(subset, Mapping) for subset in subsets):
        return None
    keys = {subset_key(definition, subset) for subset in subsets}
    return len(seeds) * sum(num_settings(definition, with_tasks=bool(tasks)) for tasks, *_ in keys)


def num_settings(definition: Mapping[str, Any], with_tasks: bool) -> int:
    """Points of the grid of the definition's axes; without tasks those of the intermediate recipe change nothing."""
    number = 1
    for axis in definition.get("vary") or ():
        kept = [i for i, name in enumerate(axis["fields"]) if with_tasks or not name.startswith("intermediate.")]
        number *= len({json.dumps([row[i] for i in kept]) for row in axis["rows"]})
    return number


def subset_key(definition: Mapping[str, Any], subset: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes a subset of the definition a trial of its own, whatever it is listed under: tasks and sizes."""
    intermediate = definition.get("intermediate")
    size = intermediate.get("examples_per_task") if isinstance(intermediate, Mapping) else None
    caps = tuple(sorted(map(tuple, subset.get("caps") or ())))
    return tuple(sorted(subset.get("tasks", ()))), caps, subset.get("examples_per_task") or size


def num_rungs(definition: Mapping[str, Any]) -> int:
    """Rungs of the definition; 0 if it does not say."""
    intermediate = definition.get("intermediate")
    rungs = intermediate.get("rungs") if isinstance(intermediate, Mapping) else None
    return len(rungs) if isinstance(rungs, list) else 0


@dataclass(frozen=True)
class Power:
    """What the comparisons of these cells can find in one outcome.

    Attributes:
        variances: estimated; None where no cell has two subsets and two seeds.
        num_subsets: subsets or chains of the cell with the fewest, controls aside.
        num_seeds: seeds of the cells.
        effect: the difference in points that the hardest comparison finds with probability 0.8; None without variances, or
            with too few seeds or subsets for an interval.
        more_seeds: the same with twice as many seeds.
        more_subsets: the same with twice as many subsets.
    """

    outcome: str
    variances: Variances | None
    num_subsets: int
    num_seeds: int
    effect: float | None = None
    more_seeds: float | None = None
    more_subsets: float | None = None


@dataclass(frozen=True)
class Findings:
    """What a report says beside means and differences.

    Attributes:
        effects: outcome to the ranking of single tasks by regression.
        headline: the outcome that is the mean of the targets.
        chains: gains by chains in it, for each source.
        pairs: interactions of two tasks in it.
        groups: attribute of tasks to the means of its groups in the ranking for it.
        task_curves: over the number of tasks: every outcome, every source.
        example_curves: over the examples: every outcome, every cell.
        powers: of every outcome.
        overlap: differences of the same sweep with overlapping examples kept, or left out, where it was run beside this.
        axes: main effects of axes in the headline, and why populations have none.
        importance: of the fields that trials differ in; None where they differ in none.
    """

    effects: Mapping[str, Contributions]
    headline: str
    chains: tuple[ChainContributions, ...]
    pairs: Interactions
    groups: Mapping[str, tuple[Estimate, ...]]
    task_curves: tuple[Curve, ...]
    example_curves: tuple[Curve, ...]
    powers: tuple[Power, ...]
    overlap: tuple[Estimate, ...] = ()
    axes: tuple[Sequence[MainEffect], Sequence[str]] = ((), ())
    importance: Importance | None = None

    def estimates(self) -> list[Estimate]:
        """All of them in one list."""
        found = [estimate for effects in self.effects.values() for estimate in effects.estimates]
        found += [*self.overlap, *(effect.estimate for effect in self.axes[0])]
        found += [estimate for chains in self.chains for estimate in chains.estimates]
        found += [*self.pairs.estimates, *(estimate for group in self.groups.values() for estimate in group)]
        for curve in (*self.task_curves, *self.example_curves):
            found += [curve.knee] if curve.knee else []
        return found


def collect_findings(evidence: Evidence, sampling: Sampling) -> Findings:
    """Everything that the scores at the rung of the answer allow; what is missing is said in each part."""
    here = evidence.tuned_here
    headline = evidence.results.accuracy_name
    outcomes = [headline, WITHOUT_TATOEBA, *target_names(here)] if here else []
    reached = [p for p in evidence.tuned if evidence.rung_index is not None and p.rung_index <= evidence.rung_index]
    effects = {outcome: contributions(here, outcome, sampling) for outcome in outcomes}
    main = effects.get(headline, Contributions((), missing="a rung with all targets scored"))
    lines = chain_lines(evidence.definition) or None
    items = subset_item_variance(evidence.results, [point for point in here if point.role == "measure"])
    shared = shared_of(evidence.here, here)
    return Findings(
        effects=effects,
        headline=headline,
        chains=tuple(chain_contributions(here, headline, sampling, lines, items)),
        pairs=interactions(here, headline, sampling),
        groups=grouped_contributions(main, task_facts(main.tasks)),
        task_curves=tuple(curve for outcome in outcomes for curve in task_curves(here, outcome, sampling)),
        example_curves=tuple(curve for outcome in outcomes for curve in example_curves(reached, outcome, sampling)),
        powers=in_threads(lambda outcome: power_of(here, outcome, sampling.level, shared), outcomes),
        overlap=with_other_overlap(evidence, sampling),
        axes=main_effects(evidence.here, headline, sampling, shared),
        importance=field_importance(
            evidence.results, evidence.definition, evidence.points, num_rungs(evidence.definition) - 1
        ),
    )


def task_facts(names: Sequence[str]) -> dict[str, TaskFacts]:
    """What the registry knows of the tasks; one of a sweep's own is not there."""
    known = {name: ALL_TASKS[name] for name in names if name in ALL_TASKS}
    return {name: TaskFacts(task.kind, task.languages[0], task.num_examples) for name, task in known.items()}


def power_of(points: Sequence[Point], outcome: str, level: float, shared: Shared | None = None) -> Power:
    """What the hardest comparison of cells of a pool can find, under the variances that these points show.

    Without two such cells it is of two cells like the one, whose subsets count as independent; so do weighted trials.
    """
    cells: dict[str, dict[str, tuple[str, ...]]] = {}
    for point in points:
        cells.setdefault(point.cell, {})[draw_of(point.cluster, point.source)] = point.tasks
    places = {point.cell: (point.num_tasks, point.source) for point in points}
    drawn = {cell: place for cell, place in places.items() if place[0] and not is_control_source(place[1])}
    num_subsets = min((len(cells[cell]) for cell in drawn), default=1)
    num_seeds = len({point.seed for point in points})
    variances = estimate_variances(points, outcome, shared)
    if variances is None:
        return Power(outcome, None, num_subsets, num_seeds)
    pairs = {pair: dict(zip(pair, (1.0, -1.0), strict=True)) for pair in compared_cells(drawn)}
    sources = {cell: source for cell, (_, source) in places.items()}
    effects = []
    for seeds, times in ((1, 1), (2, 1), (1, 2)):
        if pairs and all(point.weight in (None, 1) for point in points):
            found = detectable(cells, sources, pairs, seeds * num_seeds, variances, level, times)
            effects.append(max((effect for effect in found.values() if effect is not None), default=None))
        else:
            effects.append(minimum_detectable_effect(times * num_subsets, seeds * num_seeds, variances, level))
    return Power(outcome, variances, num_subsets, num_seeds, *effects)


FIELD = "drop_overlap"


def find_sibling(directory: Path, definition: Mapping[str, Any]) -> Path | None:
    """The folder of a sweep beside this one that differs from it in `drop_overlap` alone; None if there is none.

    A definition that cannot be read is another sweep's trouble, and no sibling.
    """
    if not definition:
        return None
    for folder in sorted(directory.resolve().parent.iterdir()):
        if folder == directory.resolve() or not (folder / "sweep.json").exists():
            continue
        try:
            other = read_definition(folder)
        except InputError:
            continue
        if _kept(other) != _kept(definition) and _rest(other) == _rest(definition):
            return folder
    return None


def with_other_overlap(evidence: Evidence, sampling: Sampling) -> tuple[Estimate, ...]:
    """Differences of the sibling at the rung of the answer, named `robustness/<with or without>_overlap/<pair>`."""
    folder = find_sibling(evidence.results.directory, evidence.definition)
    if folder is None or not (folder / "results" / "scores.parquet").exists():
        return ()
    results, definition = load_results(folder), read_definition(folder)
    points = collect_points(results, standings(open_sweep(folder).journal.read()).trials)
    points, _ = at_best_values(points, str(definition.get("select_by", "target-dev")))
    index = next((point.rung_index for point in points if point.rung == evidence.rung), None)
    here = [] if index is None else estimable(points, index)
    if not here:
        return ()
    items = item_variances(results, here).get(here[0].rung_index)
    variant = "with_overlap" if _kept(definition) else "without_overlap"
    found = cell_differences(here, results.accuracy_name, sampling, items)
    return tuple(dataclasses.replace(e, name=f"robustness/{variant}/{e.name.split('/', 2)[2]}") for e in found)


def _kept(definition: Mapping[str, Any]) -> bool:
    return not definition.get(FIELD, True)


def _rest(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key not in (*WORDS, FIELD)}
