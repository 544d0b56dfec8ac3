"""Published numbers beside ours, with where they are from and what may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc

from xlray.plan.definition import encoders_of
from xlray.report.evidence import Evidence
from xlray.report.tables import Cell, Table

LARGE = "FacebookAI/xlm-roberta-large"


@dataclass(frozen=True)
class Anchor:
    """A published number.

    Attributes:
        task: target and metric that ours stands beside, or None where there is no single one.
        checked: where in the paper the number was read; "no" if it was taken from elsewhere.
    """

    what: str
    value: str
    source: str
    status: str
    task: tuple[str, str] | None = None
    checked: str = "no"


XTREME = "Hu et al. 2020 (arXiv 2003.11080)"
ANCHORS = (
    Anchor("Parts of speech, F1", "72.6", XTREME, "mean of all languages, test", ("udpos", "f1")),
    Anchor("Names, span F1", "65.4", XTREME, "mean of all languages, test", ("panx", "f1")),
    Anchor("TyDiQA-GoldP, F1", "65.1", XTREME, "mean of all languages, official dev as test", ("tydiqa", "f1")),
    Anchor("TyDiQA-GoldP, F1", "70.5", XTREME, "Finnish, official dev as test", ("tydiqa", "f1")),
    Anchor("TyDiQA-GoldP, exact match", "53.2", XTREME, "Finnish, official dev as test", ("tydiqa", "exact_match")),
    Anchor("Tatoeba, accuracy", "57.3", XTREME, "mean of all languages, test", ("tatoeba", "accuracy")),
    Anchor(
        "Gain by the best English intermediate model of each target",
        "+5.4",
        "Phang et al. 2020 (arXiv 2005.13013, final version)",
        "XTREME score, retrieval among its tasks; a selection for each target, so more than any one set of tasks gains",
        checked="abstract",
    ),
    Anchor(
        "Tasks from which more of them help",
        "above 15",
        "Aghajanyan et al. 2021 (arXiv 2101.11038)",
        "multi-task training of English models, usually; fewer tasks can hurt there",
        checked="abstract",
    ),
)


def anchors(evidence: Evidence) -> Table:
    """XLM-R Large as published, beside the mean of our trials without an intermediate task."""
    ours = _without_tasks(evidence)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (a.what, a.value, ours.get(a.task) if a.task else None, a.source, a.status, a.checked) for a in ANCHORS
    )
    columns = (
        ("what", "Number"),
        ("published", "Published (%)"),
        ("ours", f"Ours, {evidence.language} dev, no intermediate task (%)"),
        ("source_of", "Source"),
        ("status_of", "What it is"),
        ("checked", "Checked in the paper"),
    )
    encoder = encoder_name(evidence.definition)
    note = (
        "Published numbers are of XLM-R Large with other recipes and splits: for orientation, no test of equality. Where "
        "a number was not checked in the paper, look it up there before citing it."
    )
    if len(encoders_of(evidence.definition)) > 1:
        note += f" Ours are the mean over several encoders ({encoder}) and not comparable."
    elif LARGE not in encoder:
        note += f" Ours are of another encoder ({encoder or 'not named'}) and not comparable."
    return Table("anchors", "Published numbers beside ours", note, columns, rows)


def encoder_name(definition: Mapping[str, Any]) -> str:
    """The encoders of a definition for people: path and revision, or that the sweep pre-trained it."""
    return "; ".join(filter(None, map(_encoder_name, encoders_of(definition))))


def _encoder_name(encoder: Mapping[str, Any]) -> str:
    if encoder.get("path"):
        revision = encoder.get("revision")
        return f"{encoder['path']}" + (f" at {str(revision)[:12]}" if revision else "")
    name = f"{encoder['name']}, " if encoder.get("name") else ""
    return f"{name}pre-trained by the sweep" if "architecture" in encoder else ""


def _without_tasks(evidence: Evidence) -> dict[tuple[str, str], float]:
    """(target, metric) to the mean of the control's trials on dev in the sweep's language at the rung of the answer."""
    if evidence.rung_index is None:
        return {}
    scores = evidence.results.scores
    rows = scores.filter(
        pc.and_(
            pc.and_(pc.equal(scores["num_tasks"], 0), pc.equal(scores["rung_index"], evidence.rung_index)),
            pc.and_(pc.equal(scores["language"], evidence.results.languages[0]), pc.equal(scores["split"], "dev")),
        )
    )
    rows = rows.filter(pc.is_finite(rows["value"]))
    means = rows.group_by(["task", "metric"]).aggregate([("value", "mean")]).to_pylist()
    return {(row["task"], row["metric"]): row["value_mean"] for row in means}
