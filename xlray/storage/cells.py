"""The names of cells and of effects as they are stored, `9-en lr=1e-5`, and as people read them."""

from __future__ import annotations

import re

PAIR = " - "  # between the names of two cells in the name of a difference
_KINDS = {"en": "English", "non-en": "non-English", "all": "", "": "", "control": "control"}
_NOTES = {"shuffled": "with shuffled labels", "masked": "with masked words"}
_SOURCE = re.compile(f"({'|'.join(map(re.escape, _KINDS))})((?:-?(?:{'|'.join(_NOTES)}))?)((?:-[0-9]+)?)")


def cell_in_words(cell: str, none: str = "none") -> str:
    """`9 English tasks at lr=1e-5` for `9-en lr=1e-5`, `8 tasks` for `8-all`; `none` for `0`.

    Args:
        none: how the cell without tasks is called: beside numbers of tasks `none`, by itself better `no task`.
    """
    population, _, setting = cell.partition(" ")
    number, dash, source = population.partition("-")
    at = f" at {setting}" if setting else ""
    if number == "0" and not dash:
        return none + at
    if not (number.isdigit() and dash):
        return cell  # no name of a cell
    return f"{number} {source_in_words(source, 'task' if number == '1' else 'tasks')}{at}"


def source_in_words(source: str, noun: str = "tasks") -> str:
    """`English tasks` for `en`, `tasks with shuffled labels` for `all-shuffled`, `tasks from mine` for `mine`."""
    found = _SOURCE.fullmatch(source)
    if found is None:
        return f"{noun} from {source}"
    size = f"of {int(found[3][1:]):,} examples each" if found[3] else ""
    return " ".join(filter(None, (_KINDS[found[1]], noun, _NOTES.get(found[2].strip("-"), ""), size)))


def pair_in_words(pair: str) -> str:
    """`9 English tasks against none` for `9-en - 0`."""
    return " against ".join(map(cell_in_words, pair.split(PAIR)))


def effect_in_words(effect: str) -> str:
    """`20 tasks instead of 9` for `number 20 - 9`, an effect of a two by two; likewise of the source, and the interaction."""
    kind, _, about = effect.partition(" ")
    first, _, second = about.partition(PAIR)
    if kind == "number":
        return f"{first} tasks instead of {second}"
    if kind == "source":
        return f"{source_in_words(first)} instead of {source_in_words(second)}"
    return "interaction of number and source" if kind == "interaction" else effect


def cell_order(cell: str) -> str:
    """What cells are sorted by: the number of tasks as a number, then the rest of the name."""
    number, _, rest = cell.partition("-")
    return f"{number.zfill(6)}-{rest}"
