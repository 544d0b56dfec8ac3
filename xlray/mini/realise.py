"""Scenes in words: one door to the six languages."""

from __future__ import annotations

import random
from collections.abc import Callable

from xlray.mini import english, finnish, german, russian, spanish, turkish
from xlray.mini.scenes import Clause
from xlray.mini.words import Phrase, Sentence, Word, sentence, text_of

Realiser = Callable[[Clause, str, bool], list[Phrase]]
REALISERS: dict[str, Realiser] = {
    "en": english.phrases,
    "fi": finnish.phrases,
    "de": german.phrases,
    "es": spanish.phrases,
    "tr": turkish.phrases,
    "ru": russian.phrases,
}
CONNECTIVES = {
    "en": english.CONNECTIVES,
    "fi": finnish.CONNECTIVES,
    "de": german.CONNECTIVES,
    "es": spanish.CONNECTIVES,
    "tr": turkish.CONNECTIVES,
    "ru": russian.CONNECTIVES,
}
BECAUSE = 2


def statement(language: str, clause: Clause) -> Sentence:
    """The clause as a sentence."""
    return sentence(REALISERS[language](clause, "", False))


def question(language: str, clause: Clause, asked: str) -> Sentence:
    """The question after one role of the clause."""
    return sentence(REALISERS[language](clause, asked, False), "?")


def compound(language: str, first: Clause, second: Clause, connective: int) -> Sentence:
    """Two clauses in one sentence; the spans are those of the first."""
    subordinate = connective == BECAUSE
    comma = connective == 1 or (subordinate and language in ("fi", "de", "ru"))
    joint = [Word(",", "PUNCT")] if comma else []
    joint.append(Word(CONNECTIVES[language][connective], "SCONJ" if subordinate else "CCONJ"))
    start = REALISERS[language](first, "", False)
    tail = [Phrase("", phrase.words) for phrase in REALISERS[language](second, "", subordinate)]
    return sentence([*start, Phrase("", joint), *tail])


def text(language: str, clause: Clause, asked: str = "") -> str:
    """The clause, or a question after one of its roles, as running text."""
    return text_of((question(language, clause, asked) if asked else statement(language, clause)).words)


def span_text(found: Sentence, role: str) -> str:
    """The words that fill a role."""
    start, end = found.spans[role]
    return text_of(found.words[start:end])


def phrase_texts(language: str, clause: Clause) -> dict[str, str]:
    """The phrases of a clause by role, with their adpositions, as running text."""
    return {phrase.role: text_of(phrase.words) for phrase in REALISERS[language](clause, "", False) if phrase.role}


def mixed_text(rng: random.Random, clause: Clause, first: str, second: str) -> str:
    """The clause in the order of one language, each phrase in either: as bilinguals speak."""
    other = {phrase.role: phrase for phrase in REALISERS[second](clause, "", False) if phrase.role}
    phrases = REALISERS[first](clause, "", False)
    return text_of(sentence(other.get(p.role, p) if rng.random() < 0.5 else p for p in phrases).words)


def story(language: str, clauses: list[Clause], answer: tuple[int, str]) -> tuple[str, str, int]:
    """Sentences as one text, and the words of one role of one of them with their offset in characters.

    Args:
        language: of the text.
        clauses: one sentence each.
        answer: position of the clause, role.
    """
    context, found, start = "", "", 0
    for position, clause in enumerate(clauses):
        made = statement(language, clause)
        context += " " if context else ""
        if position == answer[0]:
            first, _ = made.spans[answer[1]]
            found = span_text(made, answer[1])
            before = text_of(made.words[:first])
            start = len(context) + len(before) + (1 if before else 0)
        context += text_of(made.words)
    return context, found, start


def any_sentence(rng: random.Random, clause: Clause, other: Clause, compounds: float) -> Callable[[str], Sentence]:
    """`clause` alone, or with a chance of `compounds` joined to `other`: a function of the language."""
    if rng.random() >= compounds:
        return lambda language: statement(language, clause)
    connective = rng.randrange(3)
    return lambda language: compound(language, clause, other, connective)
