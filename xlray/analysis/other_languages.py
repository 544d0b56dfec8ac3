"""Headlines on dev in other languages than the first of a sweep: English, pivots, and the sweep's further languages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from xlray.analysis.results import HEADLINE, MAJORITY, headline_rows, mean_headline
from xlray.storage.standings import accuracy_name


def other_dev(scores: pa.Table) -> dict[tuple[str, int], dict[str, float]]:
    """Headlines on dev in other languages than that of the selection: English, and pivots where they are evaluated."""
    selected = pc.fill_null(scores["selection"], False)
    wanted = pc.and_(pc.equal(scores["metric"], HEADLINE), pc.equal(scores["split"], "dev"))
    columns = ["trial_id", "rung_index", "task", "language", "value"]
    table = scores.select(columns).filter(pc.and_(wanted, pc.invert(selected)))
    selected_languages = set(headline_rows(scores, ["language"])["language"].unique().to_pylist())
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in table.to_pylist():
        if row["value"] is not None and row["language"] not in selected_languages:
            place = found.setdefault((row["trial_id"], row["rung_index"]), {})
            place[f"{row['task']}@{row['language']}"] = row["value"]
    return found


def other_majority(
    scores: pa.Table, others: Mapping[tuple[str, int], Mapping[str, float]]
) -> dict[int, dict[str, float]]:
    """By rung number: of what trials score on dev in other languages, what the majority answer does, where it is known."""
    wanted = pc.and_(pc.equal(scores["metric"], MAJORITY), pc.equal(scores["split"], "dev"))
    rows = scores.select(["task", "language", "value"]).filter(pc.and_(wanted, pc.is_finite(scores["value"])))
    known = {f"{row['task']}@{row['language']}": row["value"] for row in rows.to_pylist()}
    found: dict[int, dict[str, float]] = {}
    for (_, rung_index), names in others.items():
        found.setdefault(rung_index, {}).update({name: known[name] for name in names if name in known})
    return found


def means_in(languages: Sequence[str], targets: Iterable[str], scores: Mapping[str, float]) -> dict[str, float]:
    """The means over the targets in further languages, of those in which all of them have a score."""
    found = {}
    for language in languages:
        values = {target: scores.get(f"{target}@{language}") for target in targets}
        known = {target: value for target, value in values.items() if value is not None}
        if len(known) == len(values):
            found[accuracy_name(language)] = mean_headline(known)
    return found
