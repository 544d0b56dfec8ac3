"""Tables of single tasks: contributions, chains, pairs, groups, from task to target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xlray.analysis import ChainContributions, Contributions, Estimate, side_by_side
from xlray.analysis.groups import groups_of
from xlray.report.evidence import Findings, task_facts
from xlray.report.score_tables import as_p_value, with_interval
from xlray.report.tables import Cell, Signed, Table, number

NO_RUNG = "a rung with all targets scored"
KINDS_OF_GAINS = {
    "shapley": "Shapley values from complete chains in steps of one task",
    "marginal": "mean gain at which the task enters a chain (steps of one task, but not from none to the whole pool)",
}


def contributions(found: Findings, rung: int) -> Table:
    """Each task's place in the ranking by regression and its gain by chains, side by side, with what the task is."""
    ridge = found.effects.get(found.headline) or Contributions((), missing=NO_RUNG)
    pairs = side_by_side(ridge.estimates, found.chains)
    by_chains = any(pair.chains for pair in pairs)
    facts = task_facts([pair.task for pair in pairs])
    unknown = {"kind": None, "language family": None, "script": None, "size": None}
    rows: list[tuple[Cell, ...]] = []
    for pair in pairs:
        groups: Mapping[str, str | None] = groups_of(facts[pair.task]) if pair.task in facts else unknown
        language = facts[pair.task].language if pair.task in facts else None
        about = (groups["kind"], language, groups["language family"], groups["script"], groups["size"])
        gains = with_interval(pair.chains, True, 2) if by_chains else ()
        rows.append((pair.task, _signed(pair.regression), *gains, *about))
    note = f"Points of {found.headline} that a trial with the task has more than one without, other tasks equal."
    if ridge.estimates:
        note += (
            f" Ranking by ridge regression within seeds after {rung:,} examples: values are shrunk towards 0 (penalty "
            f"{ridge.penalty:.2g}) and order the tasks, so they have no interval; error on subsets left out "
            f"{number(ridge.held_out_error, digits=2)} points, {number(ridge.null_error, digits=2)} without knowing the tasks."
        )
    kinds = [chains.kind for chains in found.chains if chains.estimates]
    said = [KINDS_OF_GAINS[kind] for kind in dict.fromkeys(kinds) if kind in KINDS_OF_GAINS]
    note += f" Chains: {'; '.join(said)}." if said else " Chains give no gain of a single task here (see blocks)."
    if ridge.inseparable:
        joined = "; ".join(", ".join(group) for group in ridge.inseparable)
        note += f" Always drawn together, so only their sum means something: {joined}."
    columns = (
        ("task", "Intermediate task"),
        ("ranking", "Ranking (shrunken points)"),
        *((("chains", "Chains (points)"), ("chains_interval", "Interval")) if by_chains else ()),
        ("kind", "Kind"),
        ("language", "Language"),
        ("family", "Language family"),
        ("script", "Script"),
        ("size", "Training examples"),
    )
    missing = "" if rows else ridge.missing
    return Table("contributions", "Ranking and contribution of each task", note, columns, tuple(rows), missing)


def _signed(estimate: Estimate | None) -> Cell:
    return None if estimate is None else Signed(estimate.value, 2)


def blocks(chains: Sequence[ChainContributions], rung: int) -> Table:
    """What the blocks of coarser chains add, one after the other."""
    rows: list[tuple[Cell, ...]] = []
    for estimate in (e for found in chains if found.kind == "block" for e in found.estimates):
        line, _, tasks = estimate.name.split("/", 2)[2].partition(": ")
        after = with_interval(estimate, True, 2)
        rows.append((line, tasks.replace(" ", ", "), len(tasks.split()), *after, estimate.num_seeds))
    columns = (
        ("chain", "Chain"),
        ("tasks", "Tasks that are added"),
        ("num_tasks", "Number"),
        ("gain", "Gain (points)"),
        ("interval", "Interval"),
        ("num_seeds", "Seeds"),
    )
    note = (
        f"Gain in accuracy of each block of a chain over the prefix before it, after {rung:,} examples. An interval is "
        "over seeds alone: it is about these tasks after those."
    )
    single = any(found.kind != "block" and found.estimates for found in chains)
    missing = "chains in coarser steps than one task; these chains go in steps of one" if single else ""
    missing = "" if rows else missing or next((f.missing for f in chains if f.missing), "nested chains")
    return Table("blocks", "Blocks of tasks along the chains", note, columns, tuple(rows), missing)


def interactions(found: Findings, rung: int) -> Table:
    """Pairs of tasks by falling evidence."""
    pairs = found.pairs
    rows: list[tuple[Cell, ...]] = []
    for e in pairs.estimates:
        first, second = e.name.split("/", 2)[2].split(" x ")
        rows.append((first, second, *with_interval(e, True, 2), as_p_value(e.p_value), as_p_value(e.p_holm)))
    columns = (
        ("first", "Task"),
        ("second", "With"),
        ("effect", "Beyond the sum (points)"),
        ("interval", "Interval"),
        ("p_value", "p"),
        ("p_holm", "p (Holm)"),
    )
    note = (
        f"Points of {found.headline} that a pair adds beyond the sum of its tasks, after {rung:,} examples, for "
        f"{len(rows):,} of {pairs.num_pairs:,} pairs that the design identifies. Holm's correction is over these; an "
        "interval is of one pair by itself."
    )
    return Table("pairs", "Interactions of two tasks", note, columns, tuple(rows), "" if rows else pairs.missing)


def groups(found: Findings, rung: int) -> Table:
    """Means of kinds, language families, scripts and sizes in the ranking."""
    rows: list[tuple[Cell, ...]] = []
    for attribute, estimates in found.groups.items():
        for e in estimates:
            rows.append((attribute, e.name.split("/", 2)[2], e.num_subsets, _signed(e)))
    columns = (
        ("attribute", "By"),
        ("group", "Group"),
        ("num_tasks", "Tasks"),
        ("ranking", "Mean ranking (shrunken points)"),
    )
    note = (
        f"Mean of the ranking's shrunken values for {found.headline} over the tasks of a group, after {rung:,} examples. "
        "Groups differ in more than their name says: this is no effect of kind or language by itself."
    )
    ridge = found.effects.get(found.headline)
    missing = "" if rows else ridge.missing if ridge else NO_RUNG
    return Table("groups", "Groups of tasks", note, columns, tuple(rows), missing)


def transfer(effects: Mapping[str, Contributions], rung: int) -> Table:
    """How each target ranks the intermediate tasks."""
    known = {outcome: {task_of(e): e for e in found.estimates} for outcome, found in effects.items() if found.estimates}
    first = next(iter(known.values()), {})
    rows: list[tuple[Cell, ...]] = []
    for task in sorted(first, key=lambda task: -first[task].value):
        rows.append((task, *(_signed(found.get(task)) for found in known.values())))
    heads = [(outcome, f"{outcome} (shrunken points)") for outcome in known]
    missing = "" if rows else next((found.missing for found in effects.values()), NO_RUNG)
    note = f"Ranking by ridge regression for each target by itself, after {rung:,} examples; no intervals."
    return Table("transfer", "From task to target", note, (("task", "Intermediate task"), *heads), tuple(rows), missing)


def task_of(estimate: Estimate) -> str:
    """The task that a contribution is of."""
    return estimate.name.rsplit("/", 1)[1]
