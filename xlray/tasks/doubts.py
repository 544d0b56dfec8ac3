"""What makes a split look like another than it is said to be, computed from its records."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from xlray.tasks.task import Record

FEW = 20  # sentences that may stand in order by chance
SORTED = 0.95  # share of neighbours in alphabetical order; of any other order it is about a half
EQUAL = 0.5  # share of pairs that are no translations


def find_doubts(kind: str, records: Sequence[Record]) -> list[str]:
    """Each doubt in one sentence."""
    if kind == "retrieval":
        return _of_pairs(records)
    return _of_tags(records) if kind == "tagging" else []


def _of_pairs(records: Sequence[Record]) -> list[str]:
    found = []
    for name, key in (("English", "text"), ("other language's", "text_pair")):
        if len(records) >= FEW and _share_in_order([record[key] for record in records]) >= SORTED:
            found.append(
                f"the {name} sentences stand in alphabetical order: lines of a side that was sorted by itself, as XTREME's "
                "script sorts the English one, do not translate each other, and accuracy is that of chance"
            )
    equal = sum(record["text"] == record["text_pair"] for record in records)
    if equal >= EQUAL * len(records):
        found.append(f"{equal:,} of {len(records):,} pairs are the same sentence twice: there is nothing to translate")
    return found


def _share_in_order(texts: Sequence[str]) -> float:
    neighbours = list(itertools.pairwise(texts))
    return max(
        sum(a <= b for a, b in neighbours) / len(neighbours),
        sum(a.casefold() <= b.casefold() for a, b in neighbours) / len(neighbours),
    )


def _of_tags(records: Sequence[Record]) -> list[str]:
    number = sum(_begins_inside(record["tags"]) for record in records if record["tags"] is not None)
    if not number:
        return []
    return [f"{number:,} sentences have an I-X that follows no X: it begins a span, as in seqeval's default mode"]


def _begins_inside(tags: Sequence[str]) -> bool:
    return any(tag.startswith("I-") and before[2:] != tag[2:] for before, tag in zip(["O", *tags], tags, strict=False))
