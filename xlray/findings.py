"""What is estimated beside means and differences, at the rung of the answer: curves, tasks, pairs, groups, power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xlray.analysis import (
    FI_ACCURACY,
    WITHOUT_TATOEBA,
    ChainContributions,
    Contributions,
    Curve,
    Estimate,
    Interactions,
    Point,
    Sampling,
    SparseContributions,
    TaskFacts,
    Variances,
    chain_contributions,
    chain_lines,
    contributions,
    estimate_variances,
    example_curves,
    grouped_contributions,
    interactions,
    minimum_detectable_effect,
    sparse_contributions,
    subset_item_variance,
    task_curves,
)
from xlray.evidence import Evidence, target_names
from xlray.registry import ALL_TASKS
from xlray.sibling import with_other_overlap


@dataclass(frozen=True)
class Power:
    """What a comparison of two cells like these can find in one outcome.

    Attributes:
        variances: estimated; None where no cell has two subsets and two seeds.
        num_subsets: subsets or chains of the smallest cell with tasks.
        num_seeds: seeds of the cells.
        effect: the difference in points that is found with probability 0.8; None without variances, or with one seed.
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
        effects: outcome to the contributions of single tasks by regression.
        sparse: the same for fi_accuracy by LASSO.
        chains: gains by chains in fi_accuracy, for each source.
        pairs: interactions of two tasks in fi_accuracy.
        groups: attribute of tasks to the mean contributions of its groups to fi_accuracy.
        task_curves: over the number of tasks: every outcome, every source.
        example_curves: over the examples: every outcome, every cell.
        powers: of every outcome.
        overlap: differences of the same sweep with overlapping examples kept, or left out, where it was run beside this.
    """

    effects: Mapping[str, Contributions]
    sparse: SparseContributions
    chains: tuple[ChainContributions, ...]
    pairs: Interactions
    groups: Mapping[str, tuple[Estimate, ...]]
    task_curves: tuple[Curve, ...]
    example_curves: tuple[Curve, ...]
    powers: tuple[Power, ...]
    overlap: tuple[Estimate, ...] = ()

    def estimates(self) -> list[Estimate]:
        """All of them in one list."""
        found = [estimate for effects in self.effects.values() for estimate in effects.estimates]
        found += [*self.sparse.estimates, *self.overlap]
        found += [estimate for chains in self.chains for estimate in chains.estimates]
        found += [*self.pairs.estimates, *(estimate for group in self.groups.values() for estimate in group)]
        for curve in (*self.task_curves, *self.example_curves):
            found += [*([curve.knee] if curve.knee else []), *curve.differences]
        return found


def collect_findings(evidence: Evidence, sampling: Sampling) -> Findings:
    """Everything that the scores at the rung of the answer allow; what is missing is said in each part."""
    here = evidence.here
    outcomes = [FI_ACCURACY, WITHOUT_TATOEBA, *target_names(here)] if here else []
    reached = [p for p in evidence.points if evidence.rung_index is not None and p.rung_index <= evidence.rung_index]
    effects = {outcome: contributions(here, outcome, sampling) for outcome in outcomes}
    main = effects.get(FI_ACCURACY, Contributions((), missing="a rung with all targets scored"))
    lines = chain_lines(evidence.definition) or None
    items = subset_item_variance(evidence.results, [point for point in here if point.role == "measure"])
    return Findings(
        effects=effects,
        sparse=sparse_contributions(here, FI_ACCURACY, sampling),
        chains=tuple(chain_contributions(here, FI_ACCURACY, sampling, lines, items)),
        pairs=interactions(here, FI_ACCURACY, sampling),
        groups=grouped_contributions(main, task_facts(main.tasks), sampling),
        task_curves=tuple(curve for outcome in outcomes for curve in task_curves(here, outcome, sampling)),
        example_curves=tuple(curve for outcome in outcomes for curve in example_curves(reached, outcome, sampling)),
        powers=tuple(power_of(here, outcome, sampling.level) for outcome in outcomes),
        overlap=with_other_overlap(evidence, sampling),
    )


def task_facts(names: Sequence[str]) -> dict[str, TaskFacts]:
    """What the registry knows of the tasks; one of a sweep's own is not there."""
    known = {name: ALL_TASKS[name] for name in names if name in ALL_TASKS}
    return {name: TaskFacts(task.kind, task.languages[0], task.num_examples) for name, task in known.items()}


def power_of(points: Sequence[Point], outcome: str, level: float) -> Power:
    """What two cells like those of these points can find, under the variances that they show."""
    drawn: dict[str, set[str]] = {}
    for point in points:
        if point.num_tasks:
            drawn.setdefault(point.cell, set()).add(point.cluster)
    num_subsets = min((len(clusters) for clusters in drawn.values()), default=1)
    num_seeds = len({point.seed for point in points})
    variances = estimate_variances(points, outcome)
    if variances is None:
        return Power(outcome, None, num_subsets, num_seeds)
    designs = ((num_subsets, num_seeds), (num_subsets, 2 * num_seeds), (2 * num_subsets, num_seeds))
    effects = (minimum_detectable_effect(*design, variances, level) for design in designs)
    return Power(outcome, variances, num_subsets, num_seeds, *effects)
