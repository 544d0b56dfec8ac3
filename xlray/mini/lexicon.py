"""What the embedded world consists of: concepts, and the tables that give each language's forms of them.

A table is one text: entries separated by `;`, in the order of the concepts here. Everything is counted when the module
is imported, so that a missing word is an error at once and not a wrong translation.
"""

from __future__ import annotations

from collections.abc import Mapping


def _listed(text: str) -> list[str]:
    return text.split()


LANGUAGES = ("en", "fi", "de", "es", "tr", "ru")

PEOPLE = _listed("teacher doctor farmer child king student singer baker hunter judge girl woman man queen guest miller")
ANIMALS = _listed("dog cat horse cow bird fox wolf")
THINGS = _listed(
    "book ball bread apple fish letter key car boat cup lamp chair table hat shirt flower stone coin picture clock bag "
    "carpet egg ring drum mirror door box"
)
TOOLS = _listed("knife hammer rope spoon brush stick")
SITES = _listed("garden market school forest church kitchen shop station library village hospital tower")
NOUNS = (*PEOPLE, *ANIMALS, *THINGS, *TOOLS, *SITES)

HANDLE = _listed("buy sell find break lift hide wash paint steal lose repair fetch choose clean")
MEET = _listed("see love call meet greet seek")
MOVE = _listed("go come run walk fly swim")
GIVE = _listed("give send show offer")
STAY = _listed("sleep work rest cry live wait")
VERBS = (*HANDLE, *MEET, *MOVE, *GIVE, *STAY)

POSITIVE = _listed("good wonderful beautiful excellent pleasant")
NEGATIVE = _listed("bad terrible ugly boring useless")
OF_ANYTHING = _listed("old big small")
OF_LIVING = _listed("strong young wise")
OF_THINGS = _listed("new red black white heavy green cheap")
ADJECTIVES = (*POSITIVE, *NEGATIVE, *OF_ANYTHING, *OF_LIVING, *OF_THINGS)

TIMES = _listed("yesterday today now often always morning evening night winter summer")
MANNERS = _listed("quickly slowly secretly again gladly")
NUMBERS = _listed("two three four")
CONNECTIVES = _listed("and but because")
# The first half of the first names are women's, the second half men's.
SIZES: Mapping[str, int] = {
    "nouns": len(NOUNS),
    "verbs": len(VERBS),
    "adjectives": len(ADJECTIVES),
    "times": len(TIMES),
    "manners": len(MANNERS),
    "numbers": len(NUMBERS),
    "first_names": 16,
    "last_names": 12,
    "places": 14,
    "organisations": 10,
    "firms": 4,
}


def indices(concepts: list[str], among: tuple[str, ...]) -> range:
    """Positions of `concepts`, which are neighbours, among all concepts of their sort."""
    start = among.index(concepts[0])
    return range(start, start + len(concepts))


def table(language: str, sort: str, text: str) -> tuple[tuple[str, ...], ...]:
    """The entries of a language's table, each a tuple of its words.

    Raises:
        ValueError: when the number of entries is not that of the concepts.
    """
    rows = tuple(tuple(entry.split()) for entry in text.split(";"))
    if len(rows) != SIZES[sort] or not all(rows):
        raise ValueError(f"{language}/{sort}: {SIZES[sort]} entries are needed, but there are {len(rows)}.")
    return rows


def tables(language: str, texts: Mapping[str, str]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """All tables of a language, by sort."""
    return {sort: table(language, sort, text) for sort, text in texts.items()}
