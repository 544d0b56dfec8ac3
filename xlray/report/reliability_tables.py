"""Tables of how far conclusions depend on what they were made with: signals, rungs, variants, the size of the design."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from xlray.analysis import Estimate
from xlray.report.evidence import Power
from xlray.report.score_tables import with_interval
from xlray.report.tables import Cell, CellName, Precise, Table

VARIANTS = {
    "all": "All",
    "without_tatoeba": "Without Tatoeba",
    "without_degenerate": "Without collapsed trials",
    "without_both": "Without both",
    "with_overlap": "Overlapping examples kept",
    "without_overlap": "Overlapping examples left out",
}
SIGNALS = {"english-dev": "English dev", "pivot-dev": "pivot dev"}


def selection_gap(estimates: Sequence[Estimate], language: str) -> Table:
    """Points lost by choosing tasks without labels in the sweep's language."""
    rows: list[tuple[Cell, ...]] = []
    for e in estimates:
        kind, _, signal = e.name.partition("/")
        if kind == "selection_gap":
            rows.append((SIGNALS.get(signal, signal), *with_interval(e, True, 2), e.num_subsets, e.num_seeds))
    columns = (
        ("signal", "Chosen by"),
        ("gap", f"{language} points lost"),
        ("interval", "Interval"),
        ("num_subsets", "Subsets to choose from"),
        ("num_seeds", "Seeds"),
    )
    note = (
        f"Best subset by {language} dev less best subset by the other signal, each chosen on all seeds but one and scored on "
        "that one. Below 0: the other signal chose better by luck."
    )
    missing = "" if rows else "two subsets with dev scores in English or in a pivot language at every seed"
    return Table("selection_gap", "Selection gap", note, columns, tuple(rows), missing)


def correlations(estimates: Sequence[Estimate], headline: str, language: str) -> Table:
    """Whether the order of trials by one score stands for that by another."""
    rows: list[tuple[Cell, ...]] = []
    signals = {**SIGNALS, headline: f"{language} dev"}
    for e in estimates:
        kind, _, rest = e.name.partition("/")
        if kind == "rank_correlation":
            rows.append(
                (
                    ordered_by(rest, signals),
                    *with_interval(e, digits=2),
                    e.num_trials,
                    e.num_seeds,
                    e.num_subsets,
                )
            )
    columns = (
        ("of", "Rank correlations"),
        ("correlation", "Spearman"),
        ("interval", "Interval"),
        ("num_trials", "Trials"),
        ("num_seeds", "Seeds"),
        ("num_subsets", "Subsets"),
    )
    note = (
        "Rank correlations over trials that no score kept from the later rung. Two rungs: is early stopping safe here? Two "
        f"signals: does choosing without {language} labels choose the same?"
    )
    missing = "" if rows else "at least four trials at two rungs, or dev scores in other languages"
    return Table("correlations", "Rank correlations", note, columns, tuple(rows), missing)


def ordered_by(rest: str, signals: Mapping[str, str]) -> str:
    """What two orders are by, for people, from an estimate's name without its kind.

    Args:
        signals: outcome to its name for people.
    """
    first, _, second = rest.rpartition("/")
    if first in signals and " - " in second:
        early, late = (int(number) for number in second.split(" - "))
        return f"after {early:,} and {late:,} examples"
    if first.startswith("dev - test"):
        return f"dev and test, {second}"
    return f"{signals.get(first, first)} and {signals.get(second, second)}"


def robustness(estimates: Sequence[Estimate], kept_overlap: bool) -> Table:
    """The differences between cells again, without what might have made them."""
    found: dict[str, dict[str, Estimate]] = {}
    for e in estimates:
        kind, *rest = e.name.split("/", 2)
        if kind == "robustness":
            found.setdefault(rest[1], {})[rest[0]] = e
    used = [variant for variant in VARIANTS if any(variant in variants for variants in found.values())]
    rows: list[tuple[Cell, ...]] = []
    for pair, variants in reversed(found.items()):
        cells = [with_interval(variants.get(variant), True, 2) for variant in used]
        rows.append((CellName(pair), *(cell for two in cells for cell in two)))
    heads = [(key, head) for v in used for key, head in ((v, f"{VARIANTS[v]} (points)"), (f"{v}_interval", "Interval"))]
    note = "Differences in accuracy between cells at the rung of the answer. "
    note += "" if "without_degenerate" in used else "No trial behind them collapsed. "
    note += f"Training examples that hold text of the target data were {'kept' if kept_overlap else 'left out'}"
    note += (
        "; the last columns are of the same sweep with the other choice (drop_overlap)."
        if {"with_overlap", "without_overlap"} & set(used)
        else f". Run the sweep with drop_overlap={kept_overlap} under another name to see the other choice here."
    )
    missing = "" if rows else "two cells at one rung with a common seed"
    return Table("robustness", "Robustness", note, (("pair", "Cells"), *heads), tuple(rows), missing)


def power(powers: Sequence[Power]) -> Table:
    """What varies, and the smallest difference that such a design is likely to find."""
    rows: list[tuple[Cell, ...]] = []
    for p in powers:
        if p.variances is not None:
            spreads = (math.sqrt(v) for v in (p.variances.subset, p.variances.seed, p.variances.trial))
            effects = (p.effect, p.more_seeds, p.more_subsets)
            shown = (None if effect is None else Precise(effect) for effect in effects)
            rows.append((p.outcome, *(Precise(s) for s in spreads), p.num_subsets, p.num_seeds, *shown))
    columns = (
        ("outcome", "Score on dev"),
        ("subset", "SD of subsets (points)"),
        ("seed", "SD of seeds (points)"),
        ("trial", "SD of a trial (points)"),
        ("num_subsets", "Fewest subsets per cell"),
        ("num_seeds", "Seeds"),
        ("effect", "Detectable (points)"),
        ("more_seeds", "Twice the seeds"),
        ("more_subsets", "Twice the subsets"),
    )
    note = (
        "Estimated spread between subsets, between seeds within a cell, and of single trials; and the true difference that the "
        "hardest comparison of cells with tasks, controls aside, finds with probability 0.8, if these are right. Twice the "
        "subsets are taken to share tasks as these do."
    )
    missing = "" if rows else "a cell with two subsets and two seeds"
    return Table("power", "What this design can detect", note, columns, tuple(rows), missing)
