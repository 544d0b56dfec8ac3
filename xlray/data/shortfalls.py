"""What a sweep's data lack of what they are said to be: what was left out of them, and what is doubtful."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from xlray.data.records import Sources

SHORTFALLS_FILE = "results/data.json"  # in the sweep's folder
NUM_SHOWN = 3  # reasons of bad examples


def shortfalls(sources: Sources) -> dict[str, Any]:
    """Of the splits that a sweep reads, for plans, `results/data.json` and reports; names are "task split".

    Returns:
        `missing_test_sets` and `unlabelled_test_sets` (names); by name `overlapping_examples` (number),
        `skipped_examples` (`number` and the first `reasons`), `left_out_examples` (what they are, to their number) and
        `doubts` (sentences).
    """
    read = {name: sources.remarks[name] for name in sources.used() if name in sources.remarks}
    return {
        "missing_test_sets": sorted(sources.missing),
        "unlabelled_test_sets": [name for name, found in read.items() if found.unlabelled],
        "overlapping_examples": dict(sorted(sources.overlapping.items())),
        "skipped_examples": {
            name: {"number": len(found.bad), "reasons": found.bad[:NUM_SHOWN]}
            for name, found in read.items()
            if found.bad
        },
        "left_out_examples": {name: dict(found.left_out) for name, found in read.items() if found.left_out},
        "doubts": {name: list(found.doubts) for name, found in read.items() if found.doubts},
    }


def sentences(found: Mapping[str, Any]) -> Iterator[str]:
    """What a reader of the numbers must know of the data, a sentence each.

    Args:
        found: what `shortfalls` returned, or holds it; {} says nothing.
    """
    for name, doubts in found.get("doubts", {}).items():
        yield from (f"Doubtful: {name}: {doubt}." for doubt in doubts)
    for name, skipped in found.get("skipped_examples", {}).items():
        reasons = " ".join(skipped["reasons"])
        yield f"Skipped by --on-bad-example skip: {skipped['number']:,} bad examples of {name}, such as: {reasons}"
    if left_out := found.get("left_out_examples"):
        each = (f"{name} {number:,} {what}" for name, kinds in left_out.items() for what, number in kinds.items())
        yield f"Skipped when files were read: {'; '.join(each)}."
    if overlapping := found.get("overlapping_examples"):
        each = (f"{name} {number:,}" for name, number in overlapping.items())
        yield f"Dropped, training examples with a text of the target data: {', '.join(each)}."
    if unlabelled := found.get("unlabelled_test_sets"):
        yield f"Test sets without labels, which have predictions but no scores: {', '.join(unlabelled)}."
