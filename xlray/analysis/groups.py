"""Mean places of kinds of tasks in the ranking: by kind, language family, script and size."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xlray.analysis.points import Estimate
from xlray.analysis.regression import Contributions

ATTRIBUTES = ("kind", "language family", "script", "size")
SIZES = ((10_000, "under 10,000 examples"), (100_000, "10,000 to 100,000"))
LARGEST = "over 100,000"
UNKNOWN = "unknown"

# Families as in WALS (Dryer and Haspelmath 2013), of the languages that tasks of the registry have.
_FAMILIES = {
    "Germanic": "af da de en is nl no nb nn sv fy lb yi",
    "Romance": "ca es fr gl it la oc pt ro",
    "Slavic": "be bg cs hr mk pl ru sk sl sr uk bs",
    "Baltic": "lt lv",
    "Indo-Iranian": "as bn fa gu hi kmr ku mr ne or pa ps sd si tg ur",
    "other Indo-European": "br cy el ga hy sq gd",
    "Uralic": "et hu se",
    "Turkic": "az ba kk ky tk tr tt ug uz",
    "Afro-Asiatic": "am ar ha he mt so ti om",
    "Dravidian": "kn ml ta te",
    "Sino-Tibetan": "bo my yue zh",
    "Austronesian": "fil id jv mg ms su tl ceb",
    "Austro-Asiatic": "km vi",
    "Tai-Kadai": "lo th",
    "Japonic": "ja",
    "Koreanic": "ko",
    "Kartvelian": "ka",
    "Basque": "eu",
    "Niger-Congo": "ig rw sw xh yo zu sn wo lg bm ln",
    "Mongolic": "mn",
    "Quechuan": "qu",
}
_SCRIPTS = {
    "Cyrillic": "be bg ba kk ky mk mn ru sr tg tt uk",
    "Arabic": "ar fa ps sd ug ur",
    "Devanagari": "hi mr ne",
    "Han": "yue zh",
    "Japanese": "ja",
    "Hangul": "ko",
    "Greek": "el",
    "Hebrew": "he yi",
    "Thai": "th",
    "other": "am as bn bo gu hy ka km kn lo ml my or pa si ta te ti",
}
FAMILY_OF = {language: family for family, languages in _FAMILIES.items() for language in languages.split()}
SCRIPT_OF = {language: script for script, languages in _SCRIPTS.items() for language in languages.split()}


@dataclass(frozen=True)
class TaskFacts:
    """What grouping must know of a task: its kind, training language (ISO 639-1) and number of training examples."""

    kind: str
    language: str
    num_examples: int | None = None


def groups_of(facts: TaskFacts) -> dict[str, str]:
    """Attribute to the group that a task belongs to."""
    family = FAMILY_OF.get(facts.language, UNKNOWN)
    script = SCRIPT_OF.get(facts.language, "Latin" if family != UNKNOWN else UNKNOWN)
    size = UNKNOWN
    if facts.num_examples is not None:
        size = next((label for limit, label in SIZES if facts.num_examples < limit), LARGEST)
    return dict(zip(ATTRIBUTES, (facts.kind, family, script, size), strict=True))


def grouped_contributions(found: Contributions, facts: Mapping[str, TaskFacts]) -> dict[str, tuple[Estimate, ...]]:
    """Mean of the regression's shrunken values over the tasks of each group, by attribute; without intervals.

    Args:
        found: the regression's ranking.
        facts: of the tasks; one that is not there belongs to the group "unknown".

    Returns:
        attribute to estimates named `group/<attribute>/<group>`, largest first; `num_subsets` counts the group's tasks.
    """
    out: dict[str, tuple[Estimate, ...]] = {}
    if not found.estimates:
        return out
    unknown = dict.fromkeys(ATTRIBUTES, UNKNOWN)
    placed = [groups_of(facts[task]) if task in facts else unknown for task in found.tasks]
    for attribute in ATTRIBUTES:
        members: dict[str, list[int]] = {}
        for column, groups in enumerate(placed):
            members.setdefault(groups[attribute], []).append(column)
        made = [_mean(found, f"group/{attribute}/{name}", columns) for name, columns in members.items()]
        out[attribute] = tuple(sorted(made, key=lambda estimate: (-estimate.value, estimate.name)))
    return out


def _mean(found: Contributions, name: str, columns: Sequence[int]) -> Estimate:
    value = float(np.mean([found.estimates[column].value for column in columns]))
    return dataclasses.replace(found.estimates[0], name=name, value=value, num_subsets=len(columns))
