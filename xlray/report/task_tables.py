"""Tables of single tasks: contributions, chains, pairs, groups, from task to target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from xlray.analysis import FI_ACCURACY, ChainContributions, Contributions, Estimate, side_by_side
from xlray.analysis.groups import groups_of
from xlray.report.evidence import Findings, task_facts
from xlray.report.score_tables import as_p_value, with_interval
from xlray.report.tables import Cell, Precise, Table, number

NO_RUNG = "a rung with all targets scored"
KINDS_OF_GAINS = {
    "shapley": "Shapley values from complete chains in steps of one task",
    "marginal": "mean gain at which the task enters a chain (steps of one task, but not from none to the whole pool)",
}


def contributions(found: Findings, rung: int) -> Table:
    """Each task's contribution by regression and by chains, side by side, with what the task is."""
    ridge = found.effects.get(FI_ACCURACY) or Contributions((), missing=NO_RUNG)
    pairs = side_by_side(ridge.estimates, found.chains)
    by_chains = any(pair.chains for pair in pairs)
    sparse = {task_of(e): e for e in found.sparse.estimates}
    facts = task_facts([pair.task for pair in pairs])
    unknown = {"kind": None, "language family": None, "script": None, "size": None}
    rows: list[tuple[Cell, ...]] = []
    for pair in pairs:
        groups: Mapping[str, str | None] = groups_of(facts[pair.task]) if pair.task in facts else unknown
        language = facts[pair.task].language if pair.task in facts else None
        about = (groups["kind"], language, groups["language family"], groups["script"], groups["size"])
        gains = with_interval(pair.chains, True, 2) if by_chains else ()
        few = (*with_interval(sparse.get(pair.task), True, 2), _percent(found.sparse.chosen.get(pair.task)))
        rows.append((pair.task, *with_interval(pair.regression, True, 2), *few, *gains, *about))
    note = "Points of fi_accuracy that a trial with the task has more than one without, other tasks equal."
    if ridge.estimates:
        note += (
            f" Ridge regression within seeds after {rung:,} examples, shrunk towards 0 (penalty "
            f"{ridge.penalty:.2g}); error on subsets left out {number(ridge.held_out_error, digits=2)} points, "
            f"{number(ridge.null_error, digits=2)} without knowing the tasks. LASSO: most tasks get 0 (penalty "
            f"{found.sparse.penalty:.2g}); error on the same {number(found.sparse.held_out_error, digits=2)} points; chosen: "
            "in how many bootstrap draws the task does not get 0."
        )
    kinds = [chains.kind for chains in found.chains if chains.estimates]
    said = [KINDS_OF_GAINS[kind] for kind in dict.fromkeys(kinds) if kind in KINDS_OF_GAINS]
    note += f" Chains: {'; '.join(said)}." if said else " Chains give no gain of a single task here (see blocks)."
    if ridge.inseparable:
        joined = "; ".join(", ".join(group) for group in ridge.inseparable)
        note += f" Always drawn together, so only their sum means something: {joined}."
    columns = (
        ("task", "Intermediate task"),
        ("effect", "Regression (points)"),
        ("interval", "Interval"),
        ("lasso", "LASSO (points)"),
        ("lasso_interval", "Interval"),
        ("chosen", "Chosen (%)"),
        *((("chains", "Chains (points)"), ("chains_interval", "Interval")) if by_chains else ()),
        ("kind", "Kind"),
        ("language", "Language"),
        ("family", "Language family"),
        ("script", "Script"),
        ("size", "Training examples"),
    )
    missing = "" if rows else ridge.missing
    return Table("contributions", "Contribution of each task", note, columns, tuple(rows), missing)


def _percent(share: float | None) -> Cell:
    return None if share is None else Precise(100 * share, 0)


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
        f"Gain in fi_accuracy of each block of a chain over the prefix before it, after {rung:,} examples. An interval is "
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
        f"Points of fi_accuracy that a pair adds beyond the sum of its tasks, after {rung:,} examples, for "
        f"{len(rows):,} of {pairs.num_pairs:,} pairs that the design identifies. Holm's correction is over these; an "
        "interval is of one pair by itself."
    )
    return Table("pairs", "Interactions of two tasks", note, columns, tuple(rows), "" if rows else pairs.missing)


def groups(found: Findings, rung: int) -> Table:
    """Mean contributions of kinds, language families, scripts and sizes."""
    rows: list[tuple[Cell, ...]] = []
    for attribute, estimates in found.groups.items():
        for e in estimates:
            rows.append((attribute, e.name.split("/", 2)[2], e.num_subsets, *with_interval(e, True, 2)))
    columns = (
        ("attribute", "By"),
        ("group", "Group"),
        ("num_tasks", "Tasks"),
        ("effect", "Mean effect (points)"),
        ("interval", "Interval"),
    )
    note = (
        f"Mean of the regression's contributions to fi_accuracy over the tasks of a group, after {rung:,} examples. Groups "
        "differ in more than their name says: this is no effect of kind or language by itself."
    )
    ridge = found.effects.get(FI_ACCURACY)
    missing = "" if rows else ridge.missing if ridge else NO_RUNG
    return Table("groups", "Groups of tasks", note, columns, tuple(rows), missing)


def transfer(effects: Mapping[str, Contributions], rung: int) -> Table:
    """What each intermediate task adds to each target, with intervals."""
    known = {outcome: {task_of(e): e for e in found.estimates} for outcome, found in effects.items() if found.estimates}
    first = next(iter(known.values()), {})
    rows: list[tuple[Cell, ...]] = []
    for task in sorted(first, key=lambda task: -first[task].value):
        cells = [with_interval(found.get(task), True, 2) for found in known.values()]
        rows.append((task, *(cell for pair in cells for cell in pair)))
    heads = [(name, unit) for o in known for name, unit in ((o, f"{o} (points)"), (f"{o}_interval", "Interval"))]
    missing = "" if rows else next((found.missing for found in effects.values()), NO_RUNG)
    note = f"Ridge coefficients for each target by itself, after {rung:,} examples."
    return Table("transfer", "From task to target", note, (("task", "Intermediate task"), *heads), tuple(rows), missing)


def task_of(estimate: Estimate) -> str:
    """The task that a contribution is of."""
    return estimate.name.rsplit("/", 1)[1]
