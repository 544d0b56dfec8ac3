"""What a realised sentence is made of: words with their tags, in phrases with their roles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

UPOS = ("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "VERB")
ENTITIES = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


class Word(NamedTuple):
    """A token, its universal part of speech and its tag as part of a name."""

    text: str
    upos: str
    entity: str = "O"


class Phrase(NamedTuple):
    """Words that fill one role together, "" for none; the first `lead` of them are no part of the answer."""

    role: str
    words: list[Word]
    lead: int = 0


class Sentence(NamedTuple):
    """A realised sentence.

    Attributes:
        words: in order.
        spans: role to (first word, word after the last), without adposition.
    """

    words: list[Word]
    spans: dict[str, tuple[int, int]]


def word(text: str, upos: str) -> list[Word]:
    """One word outside any name."""
    return [Word(text, upos)]


def tagged(entry: Iterable[str]) -> list[Word]:
    """Words written as `text/UPOS`."""
    return [Word(*item.split("/")) for item in entry]


def name(texts: list[str], sort: str) -> list[Word]:
    """The words of one name of sort "PER", "LOC" or "ORG"."""
    return [Word(text, "PROPN", ("I-" if position else "B-") + sort) for position, text in enumerate(texts)]


def sentence(phrases: Iterable[Phrase], end: str = ".") -> Sentence:
    """Phrases in their order, closed by a full stop or another mark."""
    words: list[Word] = []
    spans: dict[str, tuple[int, int]] = {}
    for phrase in phrases:
        if phrase.role and phrase.words:
            spans[phrase.role] = (len(words) + phrase.lead, len(words) + len(phrase.words))
        words.extend(phrase.words)
    words.append(Word(end, "PUNCT"))
    return Sentence(words, spans)


def text_of(words: Iterable[Word]) -> str:
    """Running text: marks join the word before them."""
    parts: list[str] = []
    for item in words:
        if parts and item.upos != "PUNCT":
            parts.append(" ")
        parts.append(item.text)
    return "".join(parts)
