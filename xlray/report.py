"""A sweep's results as one HTML page, tables and figures. Reads Parquet and the journal only: no torch, no Ray."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.compute as pc

from xlray import figures, summaries, tables
from xlray.analysis import (
    FI_ACCURACY,
    WITHOUT_TATOEBA,
    Contributions,
    Estimate,
    Point,
    Sampling,
    all_estimates,
    collect_points,
    contributions,
    estimable,
)
from xlray.canonical import InputError
from xlray.figures import Drawing
from xlray.files import atomic_file
from xlray.journal import read_journal, read_lines
from xlray.results import MAJORITY, UNSEALED_FILE, Results, load_results
from xlray.tables import Table, number

FEW = 5  # seeds or subsets below which percentile intervals are known to be too narrow
ENDED = ("finished", "stopped", "failed")


@dataclass(frozen=True)
class Evidence:
    """All that the report says something about.

    Attributes:
        definition: `sweep.json`; {} if it is not there.
        rung_index: the last rung from which something may be estimated, or None.
        rung: its examples.
        unsealings: entries of `unsealed.jsonl`, one for each opening of the test data.
    """

    results: Results
    definition: Mapping[str, Any]
    journal: Sequence[Mapping[str, Any]]
    statuses: Mapping[str, str]
    points: tuple[Point, ...]
    estimates: tuple[Estimate, ...]
    contributions: Contributions
    rung_index: int | None
    rung: int
    unsealings: Sequence[Mapping[str, Any]]


def collect_evidence(directory: Path | str, sampling: Sampling | None = None) -> Evidence:
    """Read a sweep's folder, finished or not, and estimate what it allows.

    Raises:
        InputError: the folder is no sweep's, or a file in it cannot be read.
    """
    sampling = sampling or Sampling()
    results = load_results(directory)
    journal = read_journal(results.directory / "journal")
    points = collect_points(results)
    usable = [index for index in {point.rung_index for point in points} if estimable(points, index)]
    # The deepest rung with two cells, for the question is about differences; else the deepest with anything.
    compared = [index for index in usable if len({point.cell for point in estimable(points, index)}) > 1]
    rung_index = max(compared or usable, default=None)
    here = estimable(points, rung_index) if rung_index is not None else []
    points_used = [point for point in points if rung_index is not None and point.rung_index <= rung_index]
    return Evidence(
        results=results,
        definition=_definition(results.directory / "sweep.json"),
        journal=journal,
        statuses=_statuses(results, journal),
        points=points,
        estimates=all_estimates(points_used, sampling),
        contributions=contributions(here, FI_ACCURACY, sampling),
        rung_index=rung_index,
        rung=here[0].rung if here else 0,
        unsealings=read_lines(results.directory / UNSEALED_FILE),
    )


def _definition(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}).") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: `a JSON object` must hold, but got {type(document).__name__}.")
    inner = document.get("definition")
    return inner if isinstance(inner, dict) else document


def _statuses(results: Results, journal: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Status of every trial. The journal is written first, so what it says last of a trial beats the table."""
    found = {row["trial_id"]: row["status"] or "created" for row in results.trials.to_pylist()}
    meaning = {"rung": "running", **{status: status for status in ("created", "running", *ENDED)}}
    for entry in journal:
        status, trial = meaning.get(str(entry.get("event"))), entry.get("trial_id")
        if status and isinstance(trial, str):
            found[trial] = status
    return found


def num_planned(definition: Mapping[str, Any]) -> int | None:
    """Trials of the definition: seeds times different subsets; None if it does not say."""
    subsets = [*(definition.get("measure") or ()), *(definition.get("explore") or ())]
    seeds = definition.get("seeds")
    if not seeds or not subsets or not all(isinstance(subset, Mapping) for subset in subsets):
        return None
    return len(seeds) * len({tuple(sorted(subset.get("tasks", ()))) for subset in subsets})


def num_rungs(definition: Mapping[str, Any]) -> int:
    """Rungs of the definition; 0 if it does not say."""
    intermediate = definition.get("intermediate")
    rungs = intermediate.get("rungs") if isinstance(intermediate, Mapping) else None
    return len(rungs) if isinstance(rungs, list) else 0


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval (one seed, one subset)"
    low, high = number(estimate.low, signed=True), number(estimate.high, signed=True)
    rough = "rough " if min(estimate.num_seeds, estimate.num_subsets) < FEW else ""
    return f"{rough}{100 * estimate.level:.0f} % interval [{low}, {high}]"


def _count(amount: int, noun: str) -> str:
    return f"{amount:,} {noun}" + ("" if amount == 1 else "s")


def write_answer(evidence: Evidence) -> str:
    """One paragraph of numbers: the largest number of tasks of each pool against the smallest cell."""
    points, estimates = evidence.points, evidence.estimates
    here = estimable(points, evidence.rung_index) if evidence.rung_index is not None else []
    if not here:
        return "No trial has finished a rung from which anything can be estimated, so there is no answer yet."
    found = {e.name: e for e in estimates if e.rung == evidence.rung}
    base, largest = here[0], max(point.num_tasks for point in here)
    reached = max(point.rung_index for point in points)
    last = "the last rung" if reached + 1 >= num_rungs(evidence.definition) else "the last rung so far"
    if evidence.rung_index != reached:
        last = "not the last rung, at which fewer than two cells can be estimated"
    sentences = []
    for cell in sorted({point.cell for point in here if point.num_tasks == largest}):
        gain = found.get(f"difference/{FI_ACCURACY}/{cell} - {base.cell}")
        if gain is None:
            continue
        more = found[f"mean/{FI_ACCURACY}/{cell}"].value
        fewer = found[f"mean/{FI_ACCURACY}/{base.cell}"].value
        pool = cell.removeprefix(f"{largest}-")
        from_pool = "" if pool in ("all", cell) else f" from {pool}"
        apart = found.get(f"difference/{WITHOUT_TATOEBA}/{cell} - {base.cell}")
        # With a single subset the statement is about these tasks, not about any as many.
        size = ("these " if gain.num_subsets == 1 and largest > 1 else "") + _count(largest, "task")
        text = (
            f"{size}{from_pool} instead of {base.num_tasks}: {number(gain.value, signed=True)} points of Finnish dev "
            f"accuracy (from {number(fewer)} to {number(more)} %), {_interval(gain)}, {_count(gain.num_seeds, 'seed')} "
            f"\u00d7 {_count(gain.num_subsets, 'subset')}, after {evidence.rung:,} intermediate examples"
        )
        text += f" ({last})."
        if apart is not None:
            text += f" Without Tatoeba {number(apart.value, signed=True)}, {_interval(apart)}."
        sentences.append(text[0].upper() + text[1:])
    if not sentences:
        mean = found[f"mean/{FI_ACCURACY}/{base.cell}"]
        sentences.append(
            f"Finnish dev accuracy is {number(mean.value)} % in cell {base.cell} after {evidence.rung:,} "
            "intermediate examples; there is no second cell with a common seed to compare it with."
        )
    best = evidence.results.best()
    sentences.append(
        f"Best after {best['rung']:,} examples: trial {best['trial_id']} with {number(best['fi_accuracy'])} % "
        "(picked by Finnish dev, so it flatters itself)."
    )
    return " ".join(sentences)


def find_warnings(evidence: Evidence) -> list[str]:
    """What a reader must know before believing the numbers."""
    counts = Counter(evidence.statuses.values())
    planned = max(num_planned(evidence.definition) or 0, len(evidence.statuses))
    ended = sum(counts[status] for status in ENDED)
    out = []
    if ended < planned or planned == 0:
        waiting = planned - ended - counts["running"]
        out.append(
            f"Unfinished sweep: {ended} of {planned} trials have ended, {counts['running']} are running, "
            f"{waiting} have not reported a rung. Numbers will change."
        )
    if not evidence.points:
        out.append("No trial has finished a rung with all its targets scored: nothing can be estimated.")
    out += _warn_about_sampling(evidence)
    degenerate = sum(bool(flag) for flag in evidence.results.trials["degenerate"].to_pylist())
    if counts["stopped"] or counts["failed"] or degenerate:
        out.append(
            f"Of {planned} trials {counts['stopped']} were stopped early, {counts['failed']} failed and {degenerate} "
            "collapsed (degenerate). Collapsed trials are in all means; failed ones up to their last rung."
        )
    if evidence.points:
        out.append(
            "Oracle selection: the scheduler's ranking and the best trial use Finnish dev labels, which a real "
            "zero-shot setting does not have. Means and differences over measure trials select nothing."
        )
    for column, what in (("execution", "execution settings"), ("method_versions", "method versions")):
        kinds = {text for text in evidence.results.trials[column].to_pylist() if text}
        if len(kinds) > 1:
            out.append(
                f"Mixed {what}: {len(kinds)} different ones among the trials; see trials.parquet, column {column}."
            )
    return out + _warn_about_unsealing(evidence)


def _warn_about_unsealing(evidence: Evidence) -> list[str]:
    if not evidence.unsealings:
        return []
    first = float(evidence.unsealings[0]["time"])
    later = sum(entry.get("event") == "rung" and entry["time"] > first for entry in evidence.journal)
    after = f"{_count(later, 'rung')} of trials came after that" if later else "no rung of a trial came after that"
    return [
        f"Test sets were opened {_count(len(evidence.unsealings), 'time')}, first on {_moment(first)}; {after}. What is "
        "decided with their scores in view is no longer tested by them."
    ]


def _moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _warn_about_sampling(evidence: Evidence) -> list[str]:
    here = estimable(evidence.points, evidence.rung_index) if evidence.rung_index is not None else []
    if not here:
        return []
    out = []
    seeds = {point.seed for point in here}
    subsets = {cell: len({p.tasks for p in here if p.cell == cell}) for cell in {p.cell for p in here if p.num_tasks}}
    fewest = min(subsets.values(), default=0)
    if len(seeds) == 1:
        out.append("One seed: intervals leave out the spread between seeds, and cells with one subset have none.")
    few = [_count(len(seeds), "seed")] if 1 < len(seeds) < FEW else []
    few += [f"as few as {_count(fewest, 'subset')} per cell"] if 0 < fewest < FEW else []
    if few:
        out.append(
            f"Few repetitions ({' and '.join(few)}): percentile intervals from fewer than {FEW} of either are rough "
            "and usually too narrow."
        )
    last = max(point.rung_index for point in evidence.points)
    if not estimable(evidence.points, last):
        out.append(
            "Survivors only: past the first rung there are only explore trials that were let through by their "
            "score, so nothing is estimated there."
        )
    elif len({point.cell for point in estimable(evidence.points, last)}) < 2 and last != evidence.rung_index:
        out.append(
            f"At the last rung fewer than two cells can be estimated; the answer is from {evidence.rung:,} examples."
        )
    held = {cell: {p.seed for p in here if p.cell == cell} for cell in {p.cell for p in here}}
    if any(found != seeds for found in held.values()):
        out.append(
            "Not every cell has every seed: differences use the seeds that both cells have, means all that each has."
        )
    return out


def _build(evidence: Evidence) -> tuple[list[Table], list[Drawing]]:
    e = evidence
    scores = e.results.scores
    majority_rows = scores.filter(pc.and_(pc.equal(scores["metric"], MAJORITY), pc.equal(scores["split"], "dev")))
    majority: dict[str, list[float]] = {}
    for row in majority_rows.filter(pc.not_equal(majority_rows["language"], "en")).to_pylist():
        if row["value"] is not None:
            majority.setdefault(row["task"], []).append(row["value"])
    baseline = {task: sum(values) / len(values) for task, values in majority.items()}
    made = [
        summaries.leaderboard(e.results, e.points, e.statuses),
        summaries.by_cell(e.results, e.points, e.estimates, e.statuses),
        summaries.by_target(e.points, e.estimates, baseline, e.rung_index),
        summaries.rungs(e.points, e.estimates, e.journal),
        summaries.decisions(e.journal),
        summaries.task_contributions(e.contributions, e.rung),
        summaries.cost(e.results),
    ]
    drawn = [
        figures.accuracy_by_num_tasks(e.points, e.estimates, e.rung_index),
        figures.targets_by_num_tasks(e.points, e.estimates, baseline, e.rung_index),
        figures.learning_curves(e.points, e.statuses),
        figures.contribution_forest(e.contributions, e.rung),
    ]
    return made, drawn


def write_report(directory: Path | str, sampling: Sampling | None = None) -> dict[str, Any]:
    """Write `<directory>/report/`: report.html, tables/*.csv and *.tex, figures/*.svg and *.pdf.

    Args:
        directory: `<storage>/sweeps/<name>`, of a sweep that may still be running.
        sampling: bootstrap draws and level.

    Returns:
        `{answer, estimates, warnings, files}`; the same data give the same bytes.

    Raises:
        InputError: the folder is no sweep's, or a file in it cannot be read.
    """
    sampling = sampling or Sampling()
    evidence = collect_evidence(directory, sampling)
    made, drawn = _build(evidence)
    answer, warnings = write_answer(evidence), find_warnings(evidence)
    contents: dict[str, bytes] = {}
    for table in made:
        contents[f"tables/{table.name}.csv"] = b"" if table.missing else tables.to_csv(table).encode()
        contents[f"tables/{table.name}.tex"] = b"" if table.missing else tables.to_latex(table).encode()
    for drawing in drawn:
        contents[f"figures/{drawing.name}.svg"] = drawing.svg
        contents[f"figures/{drawing.name}.pdf"] = drawing.pdf
    contents["report.html"] = _render(evidence, answer, warnings, made, drawn, sampling.level).encode()
    folder = evidence.results.directory / "report"
    for name, data in contents.items():
        if data:
            with atomic_file(folder / name) as file:
                file.write(data)
        else:  # an earlier report must not leave a table or figure behind that this one refuses to make
            (folder / name).unlink(missing_ok=True)
    files = [str(folder / name) for name, data in sorted(contents.items()) if data]
    return {
        "answer": answer,
        "estimates": [dataclasses.asdict(estimate) for estimate in evidence.estimates],
        "warnings": warnings,
        "files": files,
    }


def _render(
    evidence: Evidence, answer: str, warnings: list[str], made: list[Table], drawn: list[Drawing], level: float
) -> str:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(show=tables.show, sort_key=tables.sort_key)
    seconds = max((float(entry.get("time") or 0) for entry in evidence.journal), default=0.0)
    as_of = _moment(seconds) if seconds else ""
    images = {d.name: "data:image/svg+xml;base64," + base64.b64encode(d.svg).decode() for d in drawn if d.svg}
    return environment.get_template("report.html.j2").render(
        name=evidence.results.name,
        question=evidence.definition.get("question") or "Which intermediate tasks help on Finnish?",
        answer=answer,
        warnings=warnings,
        as_of=as_of,
        num_trials=len(evidence.statuses),
        counts=sorted(Counter(evidence.statuses.values()).items()),
        tables={table.name: table for table in made},
        drawings={drawing.name: drawing for drawing in drawn},
        images=images,
        level=f"{100 * level:.0f}",
        max_rows=tables.MAX_ROWS_ON_PAGE,
        configuration=json.dumps(evidence.definition, indent=2, ensure_ascii=False, sort_keys=True),
    )
