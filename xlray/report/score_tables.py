"""Tables of scores: trials, cells and their differences, targets, test, rungs, decisions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from xlray.analysis import (
    ENGLISH,
    WITHOUT_TATOEBA,
    Estimate,
    Point,
    Sampling,
    cell_differences,
    cell_means,
    estimable,
    headline_of,
    means_of_languages,
)
from xlray.analysis.results import Results
from xlray.report.evidence import dev_of, target_names
from xlray.report.exposures import cell_exposure
from xlray.report.sealed import Opened
from xlray.report.tables import Cell, CellName, Interval, Precise, PValue, Signed, Table, number
from xlray.storage.standings import Standing, accuracy_name, accuracy_of, is_by_rank, passed

CELLS = (
    "Means over measure trials, and over explore trials with the weight that their recorded probability of getting there gives "
    "them; at the first rung, where nothing was stopped before, over all trials. The gain is against the smallest cell. What "
    "else differs: effective tasks are exp of the entropy of the mixture, passes the rung's examples over the different "
    "examples of the tasks, tokens those of the intermediate training behind the rung, cooldown included; translated is the "
    "share of the mixture that was translated into its language."
)


def leaderboard(results: Results, points: Sequence[Point], statuses: Mapping[str, str]) -> Table:
    """Every trial, also those without a score; the ones that got furthest first."""
    targets = target_names(points)
    headline, *others = map(accuracy_name, results.languages)
    last: dict[str, Point] = {}
    for reached in points:
        if not reached.diverged:
            last[reached.trial_id] = reached
    known = {row["trial_id"]: row for row in results.trials.to_pylist()}
    rows: list[tuple[Cell, ...]] = []
    order = sorted({*known, *last, *statuses}, key=lambda trial: _rank(last.get(trial), trial))
    for trial in order:
        row = known.get(trial, {})
        point = last.get(trial)
        scores = point.scores if point else {}
        tasks = point.tasks if point else tuple(row.get("tasks") or ())
        cell = point.cell if point else row.get("cell")
        status = statuses.get(trial, "") + (", degenerate" if row.get("degenerate") else "")
        rows.append(
            (
                trial,
                point.role if point else row.get("role"),
                None if cell is None else CellName(str(cell)),
                ", ".join(tasks),
                point.seed if point else row.get("seed"),
                point.rung if point else None,
                scores.get(headline),
                scores.get(WITHOUT_TATOEBA),
                *(scores.get(task) for task in targets),
                *(scores.get(mean) for mean in others),
                status,
            )
        )
    columns = (
        ("trial_id", "Trial"),
        ("role", "Role"),
        ("cell", "Cell"),
        ("tasks", "Intermediate tasks"),
        ("seed", "Seed"),
        ("last_rung", "Last rung (examples)"),
        (headline, f"{headline} (%)"),
        (WITHOUT_TATOEBA, "Without Tatoeba (%)"),
        *((name, f"{name} (%)") for name in (*targets, *others)),
        ("status", "Status"),
    )
    note = (
        f"{dev_of(points)} accuracy at the last rung that a trial has finished; trials that got further come first, "
        "since scores compare within a rung only. The order is an oracle's: it uses labels in that language."
    )
    return Table("leaderboard", "Leaderboard", note, columns, tuple(rows), "" if rows else "a trial")


def _rank(point: Point | None, trial: str) -> tuple[float, float, str]:
    return (-point.rung_index, -point.accuracy, trial) if point else (1.0, 0.0, trial)


def find_estimate(estimates: Sequence[Estimate], name: str, rung: int) -> Estimate | None:
    """The estimate of that name at that rung, if there is one."""
    return next((e for e in estimates if e.rung == rung and e.name == name), None)


def as_p_value(value: float | None) -> Cell:
    """A p-value as a cell."""
    return None if value is None else PValue(value)


def with_interval(estimate: Estimate | None, signed: bool = False, digits: int = 1) -> tuple[Cell, Cell]:
    """An estimate as two cells; empty where there is none."""
    if estimate is None:
        return None, None
    interval = Interval(estimate.low, estimate.high, digits)
    value = Signed(estimate.value, digits) if signed else Precise(estimate.value, digits)
    return value, interval


def by_cell(
    results: Results, points: Sequence[Point], estimates: Sequence[Estimate], statuses: Mapping[str, str]
) -> Table:
    """Mean accuracy of each cell at each rung, with what became of its trials."""
    trials = {row["trial_id"]: row for row in results.trials.to_pylist()}
    ended = _ended(trials, statuses)
    means = means_of_languages(points) or ["accuracy"]
    rows: list[tuple[Cell, ...]] = []
    for rung_index in sorted({point.rung_index for point in points}, reverse=True):
        here = estimable(points, rung_index)
        base = here[0].cell if here else ""
        for cell in dict.fromkeys(point.cell for point in here):
            inside = [point for point in here if point.cell == cell]
            rung = inside[0].rung
            mean, *others = (with_interval(find_estimate(estimates, f"mean/{name}/{cell}", rung)) for name in means)
            counts = ended.get(cell, Counter())
            rows.append(
                (
                    rung,
                    CellName(cell),
                    inside[0].num_tasks,
                    *mean,
                    *with_interval(find_estimate(estimates, f"difference/{means[0]}/{cell} - {base}", rung), True),
                    *(part for other in others for part in other),
                    len(inside),
                    len({p.seed for p in inside}),
                    len({p.tasks for p in inside}),
                    *astuple(cell_exposure(trials, inside)),
                    *(counts[key] for key in ("all", "stopped", "failed", "degenerate")),
                )
            )
    columns = (
        ("rung", "Rung (examples)"),
        ("cell", "Cell"),
        ("num_tasks", "Tasks"),
        ("mean", f"{means[0]} (%)"),
        ("mean_interval", "Interval"),
        ("gain", "Gain (points)"),
        ("gain_interval", "Interval"),
        *(column for name in means[1:] for column in ((name, f"{name} (%)"), (f"{name}_interval", "Interval"))),
        ("num_trials", "Trials in mean"),
        ("num_seeds", "Seeds"),
        ("num_subsets", "Subsets"),
        ("effective_tasks", "Effective tasks"),
        ("passes", "Passes over the data"),
        ("tokens", "Tokens (millions)"),
        ("translated", "Translated (%)"),
        ("trials", "All trials"),
        ("stopped", "Stopped"),
        ("failed", "Failed"),
        ("degenerate", "Degenerate"),
    )
    return Table(
        "by_num_tasks",
        "Accuracy on dev by number of tasks",
        CELLS,
        columns,
        tuple(rows),
        "" if rows else "a rung with all targets scored",
    )


def _ended(trials: Mapping[str, Mapping[str, Any]], statuses: Mapping[str, str]) -> dict[str, Counter[str]]:
    """Of each cell how many trials there are, of each status, and degenerate ones."""
    ended: dict[str, Counter[str]] = {}
    for trial_id, row in trials.items():
        counts = ended.setdefault(row["cell"], Counter())
        counts.update(["all", statuses.get(trial_id, row["status"]), *(["degenerate"] if row["degenerate"] else [])])
    return ended


def by_target(here: Sequence[Point], estimates: Sequence[Estimate], majority: Mapping[str, float]) -> Table:
    """Each target by cell at one rung: in the sweep's language, the gain, English dev and the majority answer."""
    rows: list[tuple[Cell, ...]] = []
    for task in [*target_names(here), WITHOUT_TATOEBA] if here else []:
        for cell in dict.fromkeys(point.cell for point in here):
            inside = [point for point in here if point.cell == cell]
            rung = inside[0].rung
            mean = find_estimate(estimates, f"mean/{task}/{cell}", rung)
            gain = find_estimate(estimates, f"difference/{task}/{cell} - {here[0].cell}", rung)
            english = find_estimate(estimates, f"mean/{task}{ENGLISH}/{cell}", rung)
            if mean is not None:
                rows.append(
                    (
                        task,
                        CellName(cell),
                        inside[0].num_tasks,
                        *with_interval(mean),
                        *with_interval(gain, True),
                        english.value if english else None,
                        majority.get(task),
                        len(inside),
                    )
                )
    columns = (
        ("target", "Target"),
        ("cell", "Cell"),
        ("num_tasks", "Tasks"),
        ("dev", f"{dev_of(here)} (%)"),
        ("dev_interval", "Interval"),
        ("gain", "Gain (points)"),
        ("gain_interval", "Interval"),
        ("english", "English dev (%)"),
        ("majority", "Majority answer (%)"),
        ("num_trials", "Trials"),
    )
    after = f" after {here[0].rung:,} intermediate examples" if here else ""
    note = f"Headline metric of each target{after}; the gain is against the smallest cell."
    names = {name for point in here for name in point.scores if name.endswith(ENGLISH)}
    if lost := sum(point.diverged and not names <= point.scores.keys() for point in here):
        note += f" English means leave out {lost:,} diverged: what the majority answer scores in English is not known."
    return Table(
        "by_target",
        "Targets at the rung of the answer",
        note,
        columns,
        tuple(rows),
        "" if rows else "a rung with all targets scored",
    )


def by_test(here: Sequence[Point], opened: Opened, sampling: Sampling) -> Table:
    """Test scores by cell beside the dev scores of the same trials; says that they are sealed where they are.

    Args:
        here: the points that the answer is from, with dev scores.
        opened: the same with test scores; empty where the test sets were not opened.
    """
    points, names = opened.points, {point.trial_id for point in opened.points}
    dev = [point for point in here if point.trial_id in names]
    rows: list[tuple[Cell, ...]] = []
    for outcome in _outcomes_of_test(points):
        before = {e.name: e for e in cell_means(dev, outcome, sampling)}
        means = {e.name: e for e in cell_means(points, outcome, sampling)}
        gaps = {e.name: e for e in cell_differences(points, outcome, sampling)}
        for cell in dict.fromkeys(point.cell for point in points):
            inside = [point for point in points if point.cell == cell and outcome in point.scores]
            if not inside:
                continue
            name = f"mean/{outcome}/{cell}"
            gap = with_interval(gaps.get(f"difference/{outcome}/{cell} - {points[0].cell}"), True)
            test = with_interval(means.get(name))
            own = before[name].value if name in before else None
            rows.append((outcome, CellName(cell), inside[0].num_tasks, own, *test, *gap, len(inside)))
    data = dev_of(here if len(means_of_languages(here)) == 1 else ())  # of several languages each row is of its own
    columns = (
        ("target", "Score"),
        ("cell", "Cell"),
        ("num_tasks", "Tasks"),
        ("dev", f"{data} (%)"),
        ("test", f"{data.removesuffix('dev')}test (%)"),
        ("test_interval", "Interval"),
        ("gain", "Gain on test (points)"),
        ("gain_interval", "Interval"),
        ("num_trials", "Trials"),
    )
    note = f"After {here[0].rung:,} intermediate examples; the gain is against the smallest cell." if here else ""
    if opened.missing:
        why = "; ".join(f"{reason} ({number:,})" for reason, number in opened.missing.items())
        note += f" Of {len(here):,} trials {len(here) - len(points):,} have no test score of every target and are in no"
        note += f" column: {why}."
    if opened.lacks:
        why = "; ".join(f"{reason} ({number:,})" for reason, number in opened.lacks.items())
        note += f" Trials without a test score in a further language, which are in no row of it: {why}."
    missing = "" if rows else "test scores; they stay sealed until `xlray report NAME --unseal`, which is recorded"
    return Table("by_test", "Test scores", note, columns, tuple(rows), missing)


def _outcomes_of_test(points: Sequence[Point]) -> list[str]:
    """Means and targets in the language of the headline, then in each further one."""
    if not points:
        return []
    first, *others = means_of_languages(points)
    names, languages = target_names(points), points[0].languages[1:]
    further = [[mean, *(f"{name}@{code}" for name in names)] for mean, code in zip(others, languages, strict=True)]
    return [first, WITHOUT_TATOEBA, *names, *itertools.chain.from_iterable(further)]


def rungs(points: Sequence[Point], estimates: Sequence[Estimate], trials: Mapping[str, Standing]) -> Table:
    """How many trials reached each rung, how many were stopped there, and how well it orders them."""
    last = max((point.rung for point in points), default=0)
    held = (s for s in trials.values() if s.last.get("decision", "continue") != "continue")
    ended = Counter(s.last["rung_index"] for s in held if not passed(s, s.last["rung_index"]))
    rows: list[tuple[Cell, ...]] = []
    reached = [point for point in points if not point.diverged]
    for rung_index in sorted({point.rung_index for point in reached}):
        here = [point for point in reached if point.rung_index == rung_index]
        values = [point.accuracy for point in here]
        order = next(
            (e for e in estimates if e.name == f"rank_correlation/{headline_of(here)}/{here[0].rung} - {last}"), None
        )
        text = "" if order is None else number(order.value, digits=2)
        if order is not None and order.low is not None and order.high is not None:
            text += f" [{number(order.low, digits=2)}, {number(order.high, digits=2)}]"
        rows.append(
            (
                here[0].rung,
                len(here),
                sum(p.role == "measure" for p in here),
                ended[rung_index],
                sum(values) / len(values),
                max(values),
                text or None,
            )
        )
    columns = (
        ("rung", "Rung (examples)"),
        ("reached", "Trials that reached it"),
        ("measure", "of them measure"),
        ("stopped", "Stopped here"),
        ("mean", "Mean of all (%)"),
        ("best", "Best (%)"),
        ("rank_correlation", "Rank correlation with the last rung"),
    )
    note = (
        "Stopped trials are those that are held there now, paused and diverged ones among them. "
        "The mean is over all trials that got there, survivors included, and is not an estimate. Rank correlations are "
        "Spearman's, over trials that no score kept from the later rung, with intervals."
    )
    return Table("rungs", "Rungs", note, columns, tuple(rows), "" if rows else "a rung with all targets scored")


def decisions(trials: Mapping[str, Standing]) -> Table:
    """What the scheduler decided of trials that it may stop, and whom else it stopped (they diverged), from the journal.

    The latest entry of a trial at a rung counts; a decision may have been made on an older score than it has now.
    """
    latest = [e for standing in trials.values() for e in standing.current.values()]
    latest = [e for e in latest if e.get("role") != "measure" or is_by_rank(e) or e.get("decision") == "stop"]
    keys = (
        "rung",
        "trial_id",
        "role",
        "cell",
        "score",
        "accuracy",
        "decided_on",
        "cutoff",
        "decision",
        "probability",
    )
    ordered = sorted(latest, key=lambda e: (e.get("rung_index") or 0, str(e.get("cell")), -(e.get("score") or 0.0)))
    rows = tuple(
        tuple(
            CellName(str(value)) if key == "cell" and value else _plain(value)
            for key, value in ((key, {**entry, "accuracy": accuracy_of(entry)}.get(key)) for key in keys)
        )
        for entry in ordered
    )
    headings = (
        "Rung (examples)",
        "Trial",
        "Role",
        "Cell",
        "Ranked by (%)",
        "Accuracy (%)",
        "Decided on (%)",
        "Cut (%)",
        "Decision",
        "Probability of continuing",
    )
    note = (
        "Explore trials of one number of tasks and one source compete, at all values of axes, by the signal of the sweep "
        "(select_by). Measure trials are stopped only where training diverged."
    )
    return Table(
        "decisions",
        "Decisions at the rungs",
        note,
        tuple(zip(keys, headings, strict=True)),
        rows,
        "" if rows else "an explore trial at its first rung",
    )


def _plain(value: Any) -> Cell:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
