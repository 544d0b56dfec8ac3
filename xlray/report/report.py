"""A sweep's results as one HTML page, tables and figures. Reads Parquet and the journal only: no torch, no Ray."""

from __future__ import annotations

import dataclasses
import gc
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from xlray.analysis import Estimate, Sampling, dev_test_correlations, find_two_by_two
from xlray.analysis.results import UNSEALED_FILE
from xlray.report import (
    axis_tables,
    cost_tables,
    curve_figures,
    curve_tables,
    explore,
    language_tables,
    page,
    published,
    reliability_figures,
    reliability_tables,
    score_figures,
    score_tables,
    tables,
    task_figures,
    task_tables,
)
from xlray.report.answer import main_pairs, write_answer
from xlray.report.drawing import Drawing
from xlray.report.evidence import Evidence, Findings, collect_evidence, collect_findings
from xlray.report.page import Page, Paragraph, Section
from xlray.report.sealed import Opened, open_test_scores
from xlray.report.tables import Table
from xlray.report.warnings import behind, count, find_warnings, moment
from xlray.storage.files import atomic_file
from xlray.storage.journal import read_lines
from xlray.storage.sweep_folder import SweepFolder, open_sweep
from xlray.tasks.languages import language_names

METHOD = (
    Paragraph(
        "{headline}",
        "is the plain mean of the targets' headline metrics on {language} dev, in percent. Targets are trained in English "
        "only; Tatoeba is not trained, and since it moves by tens of points the mean without it is always given too.",
    ),
    Paragraph(
        "Intervals",
        "at {level} % are about other subsets and seeds: subsets (whole chains, where subsets contain one another) and "
        "seeds are crossed, and both vary at once. At 95 % those of differences of that mean hold the truth in 92 to 100 % "
        "of simulated sweeps, and in fewer than 93 % only where pairs of tasks make up nearly everything (docs/statistics.md).",
    ),
    Paragraph(
        "Differences",
        "between cells are made within each seed and averaged over the seeds that both cells have. Where two numbers of tasks "
        "are crossed with two sources, the effects of both and their interaction are planned, and single differences are "
        "exploratory. Subsets that were drawn together for several cells are one cluster.",
    ),
    Paragraph(
        "Early stopping",
        "keeps trials by their score. So past the first rung only trials enter an estimate whose way there their score "
        "did not decide, or with the recorded probability that it left them.",
    ),
    Paragraph(
        "Rankings of tasks",
        "are coefficients of a ridge regression of a score on which tasks a trial has, within seeds; the penalty is "
        "chosen by leaving out one subset (or chain) at a time. They are shrunk towards 0 and order the tasks: how much a "
        "task adds, with an interval, is said by chains in steps of one task alone.",
    ),
)


@contextmanager
def _one_thread() -> Iterator[None]:
    """How numbers of many small products are computed: by one thread of BLAS, and without a search for unreachable cycles.

    Threads wait for one another longer than they work, and round differently for another number of them; the search goes
    through all rows again and again, a tenth of the time of a report over 10,000 trials.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        if enabled:
            gc.enable()


@_one_thread()
def write_report(
    directory: SweepFolder | Path | str,
    sampling: Sampling | None = None,
    unseal: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write `<directory>/report/`: report.html, tables/*.csv, *.md and *.tex, figures/*.svg and *.pdf.

    Args:
        directory: `<storage>/sweeps/<name>`, of a sweep that may still be running.
        sampling: bootstrap draws and level.
        unseal: open the test scores of the rung that the answer is from; recorded, and stated in every later report.
        progress: gets what is done next, in words.

    Returns:
        `{answer, headline (name of the mean of the targets), estimates, warnings, files}`; the same data give the same bytes.

    Raises:
        InputError: the folder is no sweep's, or a file in it cannot be read.
    """
    sampling = sampling or Sampling()
    draws = f"{sampling.num_draws:,} bootstrap draws"
    progress(f"means, differences, contributions at every rung, orders of trials: {draws} of each")
    sweep = open_sweep(directory)
    evidence = collect_evidence(sweep, sampling)
    opened = Opened()
    if unseal:
        opened = open_test_scores(sweep, evidence.tuned_here)
        evidence = dataclasses.replace(evidence, unsealings=read_lines(sweep / UNSEALED_FILE))
    progress(f"single tasks for each target, pairs, curves: {draws} of each")
    findings = collect_findings(evidence, sampling)
    test_scores = {point.trial_id: point.scores for point in opened.points}
    between = dev_test_correlations(evidence.tuned_here, test_scores, sampling)
    estimates = _merged(evidence.estimates, findings.estimates(), between)
    progress("tables and figures")
    costs = cost_tables.device_hours(evidence.results, evidence.statuses)
    made = [*_tables(evidence, findings, costs), *_reliability(evidence, findings, between)]
    made.append(score_tables.by_test(evidence.tuned_here, opened, sampling))
    ended = behind(evidence)
    made = [dataclasses.replace(table, behind=ended) for table in made]
    drawn = _figures(evidence, findings, costs)
    answer, warnings = write_answer(evidence), find_warnings(evidence)
    text = page.render(_page(evidence, answer, warnings, sampling.level, findings.importance is not None), drawn, made)
    files = write_files(sweep / "report", "report.html", text, made, drawn)
    return {
        "answer": answer,
        "headline": evidence.headline,
        "estimates": [dataclasses.asdict(estimate) for estimate in estimates],
        "warnings": warnings,
        "files": files,
    }


def write_files(folder: Path, name: str, text: str, made: Sequence[Table], drawn: Sequence[Drawing]) -> list[str]:
    """Write the page `name` with its tables and figures beside it; returns the paths of what was written.

    What cannot be made this time is deleted, so that an earlier report leaves nothing behind that this one refuses.
    """
    contents: dict[str, bytes] = {name: text.encode()}
    for table in made:
        for ending, write in (("csv", tables.to_csv), ("md", tables.to_markdown), ("tex", tables.to_latex)):
            contents[f"tables/{table.name}.{ending}"] = b"" if table.missing else write(table).encode()
    for drawing in drawn:
        contents[f"figures/{drawing.name}.svg"] = drawing.svg
        contents[f"figures/{drawing.name}.pdf"] = drawing.pdf
    for path, data in contents.items():
        if data:
            with atomic_file(folder / path) as file:
                file.write(data)
        else:
            (folder / path).unlink(missing_ok=True)
    return [str(folder / path) for path, data in sorted(contents.items()) if data]


def _merged(*lists: Sequence[Estimate]) -> list[Estimate]:
    """All estimates; what is in two lists once."""
    return list({(e.name, e.rung): e for estimates in lists for e in estimates}.values())


def _tables(e: Evidence, f: Findings, costs: cost_tables.Costs) -> list[Table]:
    return [
        score_tables.leaderboard(e.results, e.points, e.statuses),
        score_tables.by_cell(e.results, e.points, e.estimates, e.statuses),
        *([axis_tables.values(e.choices, e.headline), axis_tables.main_effects(*f.axes)] if e.choices else []),
        *([axis_tables.importance(f.importance)] if f.importance else []),
        score_tables.by_target(e.tuned_here, e.estimates, e.majority),
        *([language_tables.by_language(e.tuned_here, e.estimates)] if len(e.results.languages) > 1 else []),
        score_tables.rungs(e.points, e.estimates, e.trials),
        score_tables.decisions(e.trials),
        curve_tables.two_by_two(e.tuned_here, e.estimates),
        curve_tables.differences(e.tuned_here, e.estimates),
        curve_tables.fits([*f.task_curves, *f.example_curves]),
        task_tables.contributions(f, e.rung),
        task_tables.blocks(f.chains, e.rung),
        task_tables.groups(f, e.rung),
        task_tables.interactions(f, e.rung),
        task_tables.transfer(f.effects, e.rung),
        cost_tables.cost_by_fate(costs),
        cost_tables.cost(e.results),
        published.anchors(e),
    ]


def _reliability(e: Evidence, f: Findings, between: Sequence[Estimate]) -> list[Table]:
    return [
        reliability_tables.selection_gap(e.estimates, e.language),
        reliability_tables.correlations([*e.estimates, *between], e.headline, e.language),
        reliability_tables.robustness(
            [*e.estimates, *f.overlap], kept_overlap=not e.definition.get("drop_overlap", True)
        ),
        reliability_tables.power(f.powers),
    ]


def _figures(e: Evidence, f: Findings, costs: cost_tables.Costs) -> list[Drawing]:
    ridge = f.effects.get(f.headline)
    return [
        score_figures.accuracy_by_num_tasks(e.tuned, e.estimates, e.rung_index),
        score_figures.targets_by_num_tasks(e.tuned, e.estimates, e.rung_index),
        score_figures.learning_curves(e.points, e.estimates, e.statuses),
        curve_figures.task_curves(f.task_curves),
        curve_figures.example_curves(f.example_curves),
        task_figures.contribution_forest(ridge, f.chains, e.rung),
        task_figures.transfer_matrix(f.effects, e.rung),
        task_figures.group_forest(f.groups, ridge.missing if ridge else "", e.rung),
        task_figures.pair_forest(f.pairs, e.rung),
        reliability_figures.orders(e.tuned, e.tuned_here, e.estimates),
        reliability_figures.robustness([*e.estimates, *f.overlap], main_pairs(e)),
        task_figures.cost_bars(costs),
    ]


def _page(evidence: Evidence, answer: str, warnings: Sequence[str], level: float, varied: bool) -> Page:
    statuses = Counter(evidence.statuses.values())
    tags = [
        count(len(evidence.statuses), "trial"),
        *(f"{number:,} {status}" for status, number in sorted(statuses.items())),
    ]
    seconds = max((float(entry.get("time") or 0) for entry in evidence.journal), default=0.0)
    tags += [f"last journal entry {moment(seconds)}"] if seconds else []
    words = {"level": f"{100 * level:.0f}", "headline": evidence.headline, "language": evidence.language}
    method = tuple(Paragraph(p.lead.format(**words), p.text.format(**words)) for p in METHOD)
    planned = ("two_by_two",) if find_two_by_two(evidence.tuned_here) else ()
    languages = ("by_language",) if len(evidence.results.languages) > 1 else ()
    values = (*(("values", "main_effects") if evidence.choices else ()), *(("importance",) if varied else ()))
    sections = (
        Section(
            "number", "Number of tasks", f"{evidence.language} accuracy by number of tasks", ("by_num_tasks", "by_target"),
            (*planned, "by_num_tasks", "differences", "by_target"),
        ),
        *([Section("languages", "Languages", "Every language of the sweep", tables=languages)] if languages else []),
        *([Section("values", "Values", "Values of fields", tables=values)] if values else []),
        Section("curves", "Curves", "Scaling curves", ("task_curves", "example_curves"), ("curves",)),
        Section(
            "tasks", "Tasks", "Which tasks help", ("contributions", "transfer", "groups", "pairs"),
            ("contributions", "groups", "blocks", "pairs", "transfer"),
        ),
        Section("rungs", "Rungs", "Rungs and early stopping", ("learning_curves",), ("rungs", "decisions")),
        Section("leaderboard", "Leaderboard", "Leaderboard", tables=("leaderboard",)),
        Section(
            "reliability", "Reliability", "Selection, early stopping and robustness", ("orders", "robustness"),
            ("selection_gap", "correlations", "robustness", "power"),
        ),
        Section("cost", "Cost", "Cost", ("device_hours",), ("device_hours", "cost")),
        Section("test", "Test", "Test scores", tables=("by_test",)),
        Section("anchors", "Published", "Published numbers beside ours", tables=("anchors",)),
        Section("method", "Method", "Method", paragraphs=method),
        Section(
            "configuration", "Configuration", "Configuration", facts=_facts(evidence),
            details=(("sweep.json", _readable(evidence.definition)),),
        ),
    )  # fmt: skip
    return Page(
        kind="report",
        name=evidence.results.name,
        question=str(evidence.definition.get("question") or f"Which intermediate tasks help on {evidence.language}?"),
        answer=answer,
        warnings=warnings,
        tags=tags,
        sections=sections,
        footer="Everything here is computed from results/*.parquet and journal/ of this sweep. Tables and figures lie beside "
        "this page in tables/ and figures/.",
        explore=explore.as_json(data) if (data := explore.explore_data(evidence)) else "",
    )


def _readable(definition: Mapping[str, Any]) -> str:
    """The definition as indented JSON, in which a list of words or numbers is one line."""
    text = json.dumps(definition, indent=1, ensure_ascii=False, sort_keys=True)
    return re.sub(
        r"\[\n[^\[\]{}]*\]", lambda found: re.sub(r"\n *", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text
    )


def _facts(evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """What was run, in a few lines; values that differ between trials are all named."""
    definition = evidence.definition
    intermediate = definition.get("intermediate")
    rungs = intermediate.get("rungs", ()) if isinstance(intermediate, Mapping) else ()
    targets = [str(t.get("task")) for t in definition.get("targets") or () if isinstance(t, Mapping)]
    facts = [
        ("Encoder", published.encoder_name(definition)),
        ("Targets", ", ".join(targets)),
        ("Evaluated in", language_names(evidence.results.languages)),
        ("Rungs (examples)", ", ".join(f"{rung:,}" for rung in rungs)),
        ("Seeds", ", ".join(str(seed) for seed in definition.get("seeds") or ())),
        ("Precision", str(definition.get("precision") or "")),
        ("Definition", openings(evidence.journal)),
    ]
    for title, column in (("Execution", "execution"), ("Versions", "versions"), ("Methods", "method_versions")):
        texts = {text for text in evidence.results.trials[column].to_pylist() if text}
        parsed = [json.loads(text) for text in sorted(texts)]
        kinds = {json.dumps(one, sort_keys=True) for p in parsed for one in (p if isinstance(p, list) else [p])}
        lines = [", ".join(f"{key} {value}" for key, value in json.loads(kind).items()) for kind in sorted(kinds)]
        facts.append((title, "; or ".join(lines)))
    return tuple((term, fact) for term, fact in facts if fact)


def openings(journal: Sequence[Mapping[str, Any]]) -> str:
    """Which definition was run from when on, and how many scores were known then; "" if nothing was run."""
    known, scores, lines = None, 0, []
    for entry in journal:
        scores += entry["event"] == "rung"
        if entry["event"] == "opened" and (found := entry.get("definition", "without a hash")) != known:
            of = f", commit {entry['commit']}" if entry.get("commit") else ""
            when = f"after {count(scores, 'rung')} of trials" if scores else "before any score"
            lines.append(f"{found} from {moment(entry['time'])} on, {when}{of}")
            known = found
    return "; then ".join(lines)
