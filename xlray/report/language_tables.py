"""The table of a sweep that is evaluated in several languages."""

from __future__ import annotations

from collections.abc import Sequence

from xlray.analysis import Estimate, Point
from xlray.report.evidence import target_names
from xlray.report.score_tables import find_estimate, with_interval
from xlray.report.tables import Cell, CellName, Table
from xlray.storage.standings import accuracy_name
from xlray.tasks.languages import language_name


def by_language(here: Sequence[Point], estimates: Sequence[Estimate]) -> Table:
    """The mean and each target by cell in every language of the sweep, at one rung."""
    languages, rung = (here[0].languages, here[0].rung) if here else ((), 0)
    rows: list[tuple[Cell, ...]] = []
    for task in ["", *target_names(here)] if here else []:
        names = [
            accuracy_name(code) if not task else f"{task}@{code}" if code != languages[0] else task
            for code in languages
        ]
        for cell in dict.fromkeys(point.cell for point in here):
            means = [find_estimate(estimates, f"mean/{name}/{cell}", rung) for name in names]
            if any(means):
                rows.append((task or "mean", CellName(cell), *(part for mean in means for part in with_interval(mean))))
    heads = ((code, f"{language_name(code)} dev (%)") for code in languages)
    columns = [column for key, head in heads for column in ((key, head), (f"{key}_interval", "Interval"))]
    return Table(
        "by_language",
        "Every language of the sweep",
        f"Headline metrics after {rung:,} intermediate examples, of targets that were trained once and evaluated in each "
        "language. Trials were ranked and stopped by the first alone.",
        (("target", "Target"), ("cell", "Cell"), *columns),
        tuple(rows),
        "" if rows else "a rung with all targets scored",
    )
