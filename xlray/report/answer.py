"""The answer in a few lines of numbers made from the data."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence

from xlray.analysis import (
    CONTROL,
    MIN_SAMPLES,
    WITHOUT_TATOEBA,
    Choice,
    Estimate,
    Point,
    find_two_by_two,
    is_control_source,
)
from xlray.report.evidence import Evidence, num_rungs
from xlray.report.tables import number
from xlray.report.warnings import FEW, count
from xlray.storage.cells import cell_in_words, pair_in_words, source_in_words

MOST_NAMED = 3  # comparisons that hold


def write_answer(evidence: Evidence) -> str:
    """The headline, then one line for each further statement, the most important first.

    The two by two if it is one, the most tasks of each pool against fewer and none and against controls, the pools against
    one another, how many comparisons hold, the best trial.
    """
    here = evidence.tuned_here
    if not here:
        return "No trial has finished a rung from which anything can be estimated, so there is no answer yet."
    found = {e.name: e for e in evidence.estimates if e.rung == evidence.rung}
    small = _too_small(evidence, found)
    planned = _planned(evidence, found, not small)
    first, *others = [*_by_pool(evidence, found, planned == [], not small), *_pools(evidence, found, not small)] or [[]]
    if planned:
        first, others = planned, [[f"Exploratory: {line}" for line in lines] for lines in (first, *others)]
    if not first:
        base = here[0].cell
        value = number(found[f"mean/{evidence.headline}/{base}"].value)
        first = [
            f"{evidence.language} dev accuracy is {value} % with {cell_in_words(base, 'no task')} after {evidence.rung:,} "
            "intermediate examples; there is no second cell with a common seed to compare it with."
        ]
    best = evidence.results.best()
    chosen = [
        f"Best after {best['rung']:,} examples: trial {best['trial_id']} with {number(best[evidence.headline])} % "
        f"(selected by {evidence.language} dev, so its score is biased upwards)."
    ]
    behind = (small, first, taken_values(evidence), _how_many(evidence, found), chosen, *others)
    return "\n".join(line for lines in behind for line in lines)


def _by_pool(evidence: Evidence, found: Mapping[str, Estimate], headline: bool, intervals: bool) -> list[list[str]]:
    """For each pool, what its most tasks gain over fewer, none and controls; the first with a headline if it is asked for."""
    here = evidence.tuned_here
    sources = _largest(here)
    largest = max((p.num_tasks for p in here if p.cell in sources.values()), default=0)
    pools: list[list[str]] = []
    for source, cell in sorted(sources.items()):
        own = {p.num_tasks: p.cell for p in here if p.source == source or not p.num_tasks}
        others = [
            (size, other) for size, other in own.items() if f"difference/{evidence.headline}/{cell} - {other}" in found
        ]
        chosen = _half_and_none(others, largest)
        lines = _compared(evidence, found, cell, chosen, headline and not pools, intervals)
        pools.append([*lines, *_against_controls(evidence, found, cell, intervals)])
    return [lines for lines in pools if lines]


def _pools(evidence: Evidence, found: Mapping[str, Estimate], intervals: bool) -> list[list[str]]:
    """The largest cells of the pools against one another."""
    sources = _largest(evidence.tuned_here)
    lines = []
    for first, second in itertools.permutations(sorted(sources), 2):
        gap = found.get(f"difference/{evidence.headline}/{sources[first]} - {sources[second]}")
        if gap is not None:
            ends = f", {interval(gap)}" if intervals else ""
            names = (cell_in_words(sources[first]), cell_in_words(sources[second]))
            lines.append(f"{' instead of '.join(names)}: {number(gap.value, signed=True)} points{ends}.")
    return [lines] if lines else []


def taken_values(evidence: Evidence) -> list[str]:
    """Of a sweep with axes: at which values the cells of the answer are compared, and how they were chosen."""
    here = [choice for choice in evidence.choices if choice.rung_index == evidence.rung_index]
    if not here:
        return []
    how = "on the other seeds than those that are scored"
    if not all(choice.held_out for choice in here):
        how = "and scored on the same trials for want of a second seed, which flatters them"
    each = "; ".join(f"{cell_in_words(choice.population)} at {_taken(choice)}" for choice in here)
    return [f"Each cell is taken at its own best values, chosen {how}: {each}."]


def _taken(choice: Choice) -> str:
    """`lr=1e-5 T=3`, or each of the values with its number of seeds."""
    counts = choice.counts.most_common()
    if len(counts) == 1:
        return counts[0][0]
    return " or ".join(f"{setting} ({count(seeds, 'seed')})" for setting, seeds in counts)


def _how_many(evidence: Evidence, found: Mapping[str, Estimate]) -> list[str]:
    """How many comparisons were made, and which hold for all at once."""
    known = {
        name.split("/", 2)[2]: e for name, e in found.items() if name.startswith(f"difference/{evidence.headline}/")
    }
    made = {pair: e.p_holm for pair, e in known.items() if e.p_holm is not None}  # single points of a grid have none
    if len(made) < 2:
        return []
    sure = [pair_in_words(pair) for pair, p_holm in made.items() if p_holm <= 0.05]
    rest = f" and {len(sure) - MOST_NAMED:,} more (table of differences)" if len(sure) > MOST_NAMED else ""
    which = f"{', '.join(sure[:MOST_NAMED])}{rest} {'hold' if len(sure) > 1 else 'holds'}" if sure else "none holds"
    text = f"Of {count(len(made), 'comparison')} of cells, each with an interval of its own, {which} at 5 % with all"
    return [f"{text} taken together (Holm)."]


def _too_small(evidence: Evidence, found: Mapping[str, Estimate]) -> list[str]:
    """What stands before all numbers if no difference that the answer names has an interval, else nothing."""
    gaps = [found[f"difference/{evidence.headline}/{more} - {fewer}"] for more, fewer in main_pairs(evidence)]
    if not gaps or any(gap.low is not None for gap in gaps):
        return []
    largest = max(gaps, key=lambda gap: (gap.num_seeds, gap.num_subsets))  # others may have fewer seeds in common
    return [
        f"This sweep is too small to answer: {largest.missing}, at least {MIN_SAMPLES} are needed.",
        "What follows was measured in its trials and says nothing about others.",
    ]


def _planned(evidence: Evidence, found: Mapping[str, Estimate], intervals: bool) -> list[str]:
    """Of a two by two: both main effects and the interaction, the same without Tatoeba, and what is called exploratory."""
    design = find_two_by_two(evidence.tuned_here)
    names = list(design.contrasts()) if design else []
    if design is None or any(f"factor/{evidence.headline}/{name}" not in found for name in names):
        return []
    (fewer, more), (first, second) = design.sizes, design.sources
    one, other = (source_in_words(source, "").strip().removeprefix("from ") or source for source in (first, second))
    what = (
        f"Planned, as a two by two: {count(more, 'task')} instead of {fewer}, mean of both sources",
        f"{source_in_words(second)} instead of {source_in_words(first)}, mean of both numbers",
        f"Interaction (what {more} instead of {fewer} gain from {other}, less what they gain from {one})",
    )
    texts: list[str] = []
    for words, name in zip(what, names, strict=True):
        e = found[f"factor/{evidence.headline}/{name}"]
        value = f"{number(e.value, signed=True)}{'' if texts else f' points of {evidence.language} dev accuracy'}"
        ends = f"{' ' if texts else ', '}{interval(e, short=bool(texts))}" if intervals else ""
        texts.append(f"{words[0].upper()}{words[1:]}: {value}{ends}.")
    beside = [found[name] for name in (f"factor/{WITHOUT_TATOEBA}/{n}" for n in names) if name in found]
    apart = [number(e.value, signed=True) + (f" {interval(e, short=True)}" if intervals else "") for e in beside]
    conditions = f"After {evidence.rung:,} intermediate examples ({_which_rung(evidence)})."
    return [*texts, *([f"The three without Tatoeba: {'; '.join(apart)}."] if apart else []), conditions]


def _against_controls(evidence: Evidence, found: Mapping[str, Estimate], cell: str, intervals: bool) -> list[str]:
    """One sentence for each control of the cell: a strong single task, its subsets with shuffled labels or masked words."""
    sentences = []
    source = next(p.source for p in evidence.tuned_here if p.cell == cell)
    for control in _controls(evidence, source):
        gain = _difference(found, evidence.headline, cell, control)
        if gain is not None:
            first, *others = {p.tasks for p in evidence.tuned_here if p.cell == control}
            alone = cell_in_words(control) if others or len(first) > 1 else f"{first[0]} alone"
            ends = f", {interval(gain)}" if intervals else ""
            value = number(gain.value, signed=True)
            sentences.append(f"{cell_in_words(cell)} instead of {alone}: {value} points{ends}.")
    return sentences


def _controls(evidence: Evidence, source: str) -> list[str]:
    """Cells of the source `CONTROL`, and those made of subsets of this one."""
    sources = {p.cell: p.source for p in evidence.tuned_here if p.num_tasks and is_control_source(p.source)}
    return [cell for cell, own in sources.items() if own == CONTROL or own.startswith(f"{source}-")]


def _difference(found: Mapping[str, Estimate], outcome: str, more: str, fewer: str) -> Estimate | None:
    """One cell less the other, whichever way round it was estimated."""
    gain, turned = (found.get(f"difference/{outcome}/{a} - {b}") for a, b in ((more, fewer), (fewer, more)))
    if gain is not None or turned is None:
        return gain
    low, high = (None if end is None else -end for end in (turned.high, turned.low))
    return dataclasses.replace(turned, value=-turned.value, low=low, high=high)


def _largest(here: Sequence[Point]) -> dict[str, str]:
    """Pool to its cell with the most tasks that any pool's cell has."""
    there = [point for point in here if point.num_tasks]
    inside = [point for point in there if not is_control_source(point.source)] or there
    largest = max((point.num_tasks for point in inside), default=0)
    return {p.source: p.cell for p in inside if p.num_tasks == largest}


def main_pairs(evidence: Evidence) -> list[tuple[str, str]]:
    """(cell, instead of) of the differences that the answer names."""
    here = evidence.tuned_here
    found = {e.name for e in evidence.estimates if e.rung == evidence.rung}
    sources = _largest(here)
    largest = max((p.num_tasks for p in here if p.cell in sources.values()), default=0)
    pairs = []
    for source, cell in sorted(sources.items()):
        own = {p.num_tasks: p.cell for p in here if p.source == source or not p.num_tasks}
        pairs += [(cell, other) for _, other in _half_and_none(list(own.items()), largest)]
        pairs += [pair for control in _controls(evidence, source) for pair in ((cell, control), (control, cell))]
    pairs += [(sources[a], sources[b]) for a, b in itertools.permutations(sorted(sources), 2)]
    return [(more, fewer) for more, fewer in pairs if f"difference/{evidence.headline}/{more} - {fewer}" in found]


def _half_and_none(others: Sequence[tuple[int, str]], largest: int) -> list[tuple[int, str]]:
    """Of (size, cell) the one nearest to half the largest size, then no task at all."""
    fewer = [pair for pair in others if 0 < pair[0] < largest]
    nearest = sorted(fewer, key=lambda pair: abs(math.log(2 * pair[0] / largest)))[:1]
    return [*nearest, *(pair for pair in others if pair[0] == 0)]


def _compared(
    evidence: Evidence,
    found: Mapping[str, Estimate],
    cell: str,
    others: Sequence[tuple[int, str]],
    headline: bool,
    intervals: bool,
) -> list[str]:
    """The largest cell of a pool against each of the others, and the same without Tatoeba: in lines, or in a single one."""
    if not others:
        return []

    def short(gain: Estimate) -> str:
        return number(gain.value, signed=True) + (f" {interval(gain, short=True)}" if intervals else "")

    points = [p for p in evidence.tuned_here if p.cell == cell]
    gains = [(str(n or "none"), found[f"difference/{evidence.headline}/{cell} - {other}"]) for n, other in others]
    (fewer, gain), *rest = gains
    # With a single subset the statement is about these tasks, not about any as many.
    these = "these " if len({p.tasks for p in points}) == 1 and points[0].num_tasks > 1 else ""
    text = f"{these}{cell_in_words(cell)} instead of {fewer}: {number(gain.value, signed=True)} points"
    text += f" of {evidence.language} dev accuracy"
    text += _from_to(evidence, found, others[0][1], cell) + (f", {interval(gain)}" if intervals else "")
    lines = [text, *(f"instead of {name}: {short(other)}" for name, other in rest)]
    beside = [
        (name, found.get(f"difference/{WITHOUT_TATOEBA}/{cell} - {other}"))
        for (name, _), (_, other) in zip(gains, others, strict=True)
    ]
    apart = [f"instead of {name} {short(e)}" if rest else short(e) for name, e in beside if e is not None]
    lines += [f"without Tatoeba: {', '.join(apart)}"] if apart else []
    if not headline:
        return [_sentence("; ".join((f"{text}, {repetitions(points, gain)}", *lines[1:])))]
    conditions = f"{repetitions(points, gain)}, after {evidence.rung:,} intermediate examples ({_which_rung(evidence)})"
    return [_sentence(line) for line in (*lines, conditions)]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _from_to(evidence: Evidence, found: Mapping[str, Estimate], before: str, after: str) -> str:
    """Both means, where they are over the seeds of the difference; else they would not add up."""
    seeds = [{p.seed for p in evidence.tuned_here if p.cell == cell} for cell in (before, after)]
    if seeds[0] != seeds[1]:
        return ""
    means = [number(found[f"mean/{evidence.headline}/{cell}"].value) for cell in (before, after)]
    return f" (from {means[0]} to {means[1]} %)"


def _which_rung(evidence: Evidence) -> str:
    reached = max(point.rung_index for point in evidence.tuned)
    if evidence.rung_index != reached:
        return "not the last rung, at which fewer than two cells can be estimated"
    return "the last rung" if reached + 1 >= num_rungs(evidence.definition) else "the last rung so far"


def interval(estimate: Estimate, short: bool = False) -> str:
    """The interval of a difference in words; says so where there is none."""
    if estimate.low is None or estimate.high is None:
        return "(no interval)" if short else f"no interval ({estimate.missing})"
    ends = f"[{number(estimate.low, signed=True)}, {number(estimate.high, signed=True)}]"
    # A single subset is taken as it is, so it makes nothing rough.
    rough = "rough " if estimate.num_seeds < FEW or 1 < estimate.num_sampled < FEW else ""
    return ends if short else f"{rough}{100 * estimate.level:.0f} % CI {ends}"


def repetitions(points: Sequence[Point], estimate: Estimate) -> str:
    """Seeds and what was drawn, such as "5 seeds \u00d7 12 chains"."""
    clusters = {point.cluster for point in points}
    noun = "chain" if all(cluster.startswith("chain ") for cluster in clusters) else "subset"
    return f"{count(estimate.num_seeds, 'seed')} \u00d7 {count(len(clusters), noun)}"
