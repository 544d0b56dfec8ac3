"""What a reader must know before believing the numbers."""

from __future__ import annotations

import datetime
import json
from collections import Counter
from collections.abc import Iterable, Mapping

from xlray.analysis import MIN_SAMPLES, edges, estimable
from xlray.data.shortfalls import sentences
from xlray.report.evidence import ENDED, Evidence, num_planned, subset_key
from xlray.report.exposures import exposure_cautions
from xlray.storage.cells import cell_in_words, cell_order
from xlray.storage.standings import is_by_rank, is_cut

FEW = 5  # seeds or subsets below which intervals are known to be rough
MOST_FIRST = 110  # characters of what a warning says first
SELECTION = {  # `select_by` of the definition
    "target-dev": (
        "Oracle selection: the scheduler's ranking and the best trial use {language} dev labels. A real zero-shot setting does "
        "not have them; means and differences over measure trials select nothing."
    ),
    "pivot-dev": "The scheduler ranks by dev scores of pivot languages; the best trial shown is selected by {language} dev.",
    "english-dev": "The scheduler ranks by English dev scores; the best trial shown is selected by {language} dev.",
}


def find_warnings(evidence: Evidence) -> list[str]:
    """Everything worth knowing first: an unfinished sweep before all else."""
    found = [_unfinished(evidence), _nothing_scored(evidence)]
    found += [*_sampling(evidence), _survivors(evidence)]
    found += [*_edges(evidence), *_chosen(evidence), _older(evidence), _without_scores(evidence)]
    found += [_listed_twice(evidence), _unequal_seeds(evidence), *exposure_cautions(evidence), _ends(evidence)]
    found += [_searched(evidence), _selection(evidence), *_mixed(evidence), _overlap(evidence)]
    found += [*sentences(evidence.data), _unsealed(evidence)]
    return [warning for warning in found if warning]


def headed(warning: str) -> tuple[str, str]:
    """A warning as what it says first, in a line, and the rest, which may be ""."""
    first, stop, rest = warning.partition(". ")
    if len(first) <= MOST_FIRST:
        return first + stop.strip(), rest
    head, colon, rest = warning.partition(": ")
    return (head, rest) if colon and len(head) <= MOST_FIRST else (warning, "")


def count(amount: int, noun: str) -> str:
    """ "1 seed", "2 seeds"."""
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")


def moment(seconds: float) -> str:
    """A time of the journal for people."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def behind(evidence: Evidence) -> str:
    """What became of the trials that a table is made from."""
    counts = Counter(evidence.statuses.values())
    still = sum(number for status, number in counts.items() if status not in ENDED)
    parts = [f"{counts['finished']:,} finished", f"{counts['stopped']:,} stopped early", f"{counts['failed']:,} failed"]
    parts += [f"{still:,} not ended"] if still else []
    broken = f"{num_degenerate(evidence):,} degenerate ({num_diverged(evidence):,} diverged, without scores)"
    return f"Of {count(len(evidence.statuses), 'trial')}: {', '.join(parts)}; {broken}."


def num_degenerate(evidence: Evidence) -> int:
    """Trials that collapsed or diverged."""
    return sum(bool(flag) for flag in evidence.results.trials["degenerate"].to_pylist())


def num_diverged(evidence: Evidence) -> int:
    """Trials without scores from some rung on, since their loss was not finite there."""
    return sum(standing.last.get("reason") == "diverged" for standing in evidence.trials.values())


def _unfinished(evidence: Evidence) -> str:
    counts = Counter(evidence.statuses.values())
    planned = max(num_planned(evidence.definition) or 0, len(evidence.statuses))
    ended = sum(counts[status] for status in ENDED)
    if planned and ended >= planned:
        return ""
    waiting = planned - ended - counts["running"]
    return (
        f"Unfinished sweep: {ended} of {planned} trials have ended, {counts['running']} are running, "
        f"{waiting} have not reported a rung. Numbers will change."
    )


def _nothing_scored(evidence: Evidence) -> str:
    return (
        "" if evidence.points else "No trial has finished a rung with all its targets scored: nothing can be estimated."
    )


def _sampling(evidence: Evidence) -> list[str]:
    here = evidence.tuned_here
    if not here:
        return []
    seeds = {point.seed for point in here}
    subsets = {cell: len({p.tasks for p in here if p.cell == cell}) for cell in {p.cell for p in here if p.num_tasks}}
    fewest = min((number for number in subsets.values() if number > 1), default=0)
    found = []
    if len(seeds) == 1:
        found.append(
            "One seed: nothing is known of the spread between seeds, so there are no intervals and no p-values."
        )
    few = [count(len(seeds), "seed")] if 1 < len(seeds) < FEW else []
    few += [f"as few as {count(fewest, 'subset')} per cell"] if 0 < fewest < FEW else []
    if few:
        found.append(
            f"Few repetitions ({' and '.join(few)}): there is no interval from fewer than {MIN_SAMPLES} of either, beside one "
            f"subset that is taken as it is, and those from fewer than {FEW} are rough."
        )
    return found


def _survivors(evidence: Evidence) -> str:
    if not evidence.here:
        return ""
    last = estimable(evidence.points, max(point.rung_index for point in evidence.points))
    if not last:
        return (
            "Survivors only: past the first rung there are only explore trials that were let through by their "
            "score, so nothing is estimated there."
        )
    if len({point.cell for point in last}) < 2 and last[0].rung_index != evidence.rung_index:
        return f"At the last rung fewer than two cells can be estimated; the answer is from {evidence.rung:,} examples."
    return ""


def _unequal_seeds(evidence: Evidence) -> str:
    held: dict[str, set[int]] = {}
    for point in evidence.here:
        held.setdefault(point.cell, set()).add(point.seed)
    if len({frozenset(seeds) for seeds in held.values()}) < 2:
        return ""
    return "Not every cell has every seed: differences use the seeds that both cells have, means all that each has."


def _ends(evidence: Evidence) -> str:
    counts = Counter(evidence.statuses.values())
    degenerate = num_degenerate(evidence)
    if not (counts["stopped"] or counts["failed"] or degenerate):
        return ""
    diverged = num_diverged(evidence)
    return (
        f"Of {count(len(evidence.statuses), 'trial')} {counts['stopped']} were stopped early, {counts['failed']} failed "
        f"and {degenerate} are degenerate: {max(0, degenerate - diverged)} collapsed and {diverged} diverged. Collapsed "
        "trials are in all means; diverged ones count as the majority answer from there on, where it is known, and failed "
        "ones up to their last rung."
    )


def _chosen(evidence: Evidence) -> list[str]:
    """Trials that a cut let through and that now look as if nothing had chosen them."""
    found = []
    selected = {point.trial_id for point in evidence.points if point.selected}
    if selected:
        cells = named({point.cell for point in evidence.points if point.selected})
        found.append(
            f"{count(len(selected), 'trial')} of {cells} met a cut before being moved to measure or opened again, and not all "
            "that were cut there are in the sweep and opened again: past that rung they enter no estimate."
        )
    members = evidence.trials
    met = {
        name for name, s in members.items() if any(is_by_rank(e) for i, e in s.rungs.items() if i < _index(evidence))
    }
    here = [point for point in evidence.here if point.trial_id in met]
    for cell in sorted({point.cell for point in here}):
        held = sum(is_cut(s) for s in members.values() if s.cell == cell)
        if held and all(point.weight == 1 for point in here if point.cell == cell):
            found.append(
                f"Winners only: of {cell_in_words(cell, 'no task')} {count(held, 'trial')} below a cut did not "
                "continue, and none below it did; its mean "
                f"after {evidence.rung:,} examples is of those above the cut and flatters the cell."
            )
    return found


def _index(evidence: Evidence) -> int:
    return evidence.rung_index or 0


def _older(evidence: Evidence) -> str:
    entries = [entry for standing in evidence.trials.values() for entry in standing.current.values()]
    older = sum(entry.get("decided_on", entry["score"]) != entry["score"] for entry in entries if is_by_rank(entry))
    if not older:
        return ""
    return (
        f"{count(older, 'decision')} of the scheduler stand that were made on older numbers: data, encoder, targets or "
        "method have changed since. The scores are those of now; who was stopped is not (table of decisions)."
    )


def _without_scores(evidence: Evidence) -> str:
    cells = set(evidence.results.trials["cell"].to_pylist()) - {point.cell for point in evidence.here}
    if not cells or not evidence.here:
        return ""
    return (
        f"Without a trial that could be estimated from after {evidence.rung:,} examples, and in no mean or comparison there: "
        f"{named(map(str, cells))}."
    )


def _edges(evidence: Evidence) -> list[str]:
    """Axes whose best value is their last one on a side: the best may lie beyond."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for choice in evidence.choices:
        for place in edges(choice) if choice.rung_index == evidence.rung_index else ():
            found.setdefault(place, []).append(choice.population)
    return [
        f"The best value of {axis} is the {side} that was tried, {best}, in {named(cells)}: a better one may lie beyond."
        for (axis, best, side), cells in found.items()
    ]


def named(cells: Iterable[str]) -> str:
    """Cells in words, the smallest first."""
    return ", ".join(cell_in_words(cell, "no task") for cell in sorted(cells, key=cell_order))


def _listed_twice(evidence: Evidence) -> str:
    sources: dict[tuple[object, ...], list[str]] = {}
    for role in ("measure", "explore"):
        for subset in evidence.definition.get(role) or ():
            if isinstance(subset, Mapping) and subset.get("tasks"):
                sources.setdefault(subset_key(evidence.definition, subset), []).append(str(subset.get("source")))
    twice = [list(dict.fromkeys(names)) for names in sources.values() if len(set(names)) > 1]
    if not twice:
        return ""
    places = "; ".join(sorted({f"{names[0]}, not {', '.join(names[1:])}" for names in twice}))
    return (
        f"{count(len(twice), 'subset')} listed under more than one source: each is run once and counts in the cell of the "
        f"first alone ({places})."
    )


def _searched(evidence: Evidence) -> str:
    roles = Counter(evidence.results.trials["role"].to_pylist())
    searched = sum(number for role, number in roles.items() if role not in ("measure", "explore"))
    if not searched:
        return ""
    return f"{count(searched, 'trial')} proposed by a search that saw earlier scores; they enter no estimate."


def _selection(evidence: Evidence) -> str:
    chosen = str(evidence.definition.get("select_by") or "target-dev")
    return SELECTION[chosen].format(language=evidence.language) if evidence.points else ""


def _mixed(evidence: Evidence) -> list[str]:
    """Cells that are compared should have been computed by the same code in the same way."""
    used = {point.trial_id for point in evidence.here}
    rows = [row for row in evidence.results.trials.to_pylist() if row["trial_id"] in used]
    found = []
    kinds = (
        ("execution", "execution settings"),
        ("versions", "package versions"),
        ("method_versions", "method versions"),
    )
    for column, what in kinds:
        different: dict[str, set[str]] = {}
        for text in {row[column] for row in rows if row[column]}:
            parsed = json.loads(text)
            for one in parsed if isinstance(parsed, list) else [parsed]:
                for key, value in one.items():
                    different.setdefault(key, set()).add(str(value))
        fields = [f"{key}: {', '.join(sorted(values))}" for key, values in sorted(different.items()) if len(values) > 1]
        if fields:
            found.append(f"Mixed {what} among the trials that are compared ({'; '.join(fields)}).")
    return found


def _overlap(evidence: Evidence) -> str:
    if evidence.definition.get("drop_overlap", True):
        return ""
    return "Training examples that hold text of the target data were kept (drop_overlap=False): scores may be too high."


def _unsealed(evidence: Evidence) -> str:
    if not evidence.unsealings:
        return ""
    first = float(evidence.unsealings[0]["time"])
    later = sum(entry.get("event") == "rung" and entry["time"] > first for entry in evidence.journal)
    after = f"{count(later, 'rung')} of trials came after that" if later else "no rung of a trial came after that"
    changed = len({entry.get("definition") for entry in evidence.unsealings}) > 1
    return (
        f"Test sets were opened {count(len(evidence.unsealings), 'time')}, first on {moment(first)}; {after}"
        f"{', and the definition was changed between them' if changed else ''}. Decisions made after seeing their "
        "scores are no longer tested by them."
    )
