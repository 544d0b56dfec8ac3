"""The text and the four targets of the embedded world."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping

from xlray.mini import realise
from xlray.mini.lexicon import LANGUAGES
from xlray.mini.scenes import Clause, draw
from xlray.mini.words import ENTITIES, UPOS, Sentence, text_of
from xlray.tasks.task import Generated, Record, Task

VERSION = 1
Make = Callable[[random.Random, Iterator[Clause], str], Record]

# How often each pair of languages is shown as a translation; what is missing to 1 is text in one language.
_OTHERS = ("de", "es", "tr", "ru")
PAIRS: tuple[tuple[tuple[str, str], float], ...] = (
    (("en", "fi"), 0.6),
    *((("en", other), 0.04) for other in _OTHERS),
    *((("fi", other), 0.02) for other in _OTHERS),
)
# Of the pairs, this share are single phrases; of the rest, this share are one sentence that mixes both languages.
PHRASES, MIXED = 0.35, 0.4
_ALONE = 1 - sum(share for _, share in PAIRS)
_ASKABLE = ("agent", "object", "recipient", "destination", "origin", "place", "instrument", "companion", "time")


def records(name: str, make: Make, sizes: Mapping[str, int]) -> Generated:
    """A source whose splits hold `sizes[key]` records; each split has its own seed, each scene one split.

    Args:
        name: of the task; part of the seed.
        make: a record (without `id`) from a random generator, the scenes of the split and its language.
        sizes: `"split/language"` to number of records.
    """

    def generate(key: str) -> Iterable[Record]:
        split, language = key.split("/")
        rng = random.Random(f"{name}/{key}/{VERSION}")
        scenes = draw(rng, split)
        for number in range(sizes[key]):
            yield {"id": f"{split}-{language}-{number}", **make(rng, scenes, language)}

    return Generated(tuple(sizes), generate, VERSION)


def tagged_sentence(rng: random.Random, scenes: Iterator[Clause], language: str) -> Sentence:
    """A sentence for tagging: one clause, or two joined."""
    return realise.any_sentence(rng, next(scenes), next(scenes), 0.2)(language)


def askable(clause: Clause) -> list[str]:
    """The roles of a clause that a question can ask for."""
    return [
        role
        for role in _ASKABLE
        if (clause.time >= 0 if role == "time" else clause.entity(role) is not None)
        and not (role == "agent" and clause.agent.kind == "pronoun")
    ]


def events(rng: random.Random, scenes: Iterator[Clause], number: int) -> list[Clause]:
    """Clauses that happen (no judgements, no negation), with different agents and verbs."""
    found: list[Clause] = []
    while len(found) < number:
        clause = next(scenes)
        happens = clause.verb >= 0 and not clause.negative
        if happens and not any(clause.verb == other.verb or clause.agent[:2] == other.agent[:2] for other in found):
            found.append(clause)
    rng.shuffle(found)
    return found


def short_question(clause: Clause, asked: str) -> Clause:
    """The clause with less in it, as a question needs: time and manner are dropped."""
    return clause._replace(time=clause.time if asked == "time" else -1, manner=-1)


def reading(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    """A context of two to four sentences, and a question about one of them."""
    clauses = events(rng, scenes, rng.choice((2, 3, 3, 4)))
    position = rng.randrange(len(clauses))
    roles = askable(clauses[position])
    if not roles:
        return reading(rng, scenes, language)
    asked = rng.choice(roles)
    context, answer, start = realise.story(language, clauses, (position, asked))
    question = realise.text(language, short_question(clauses[position], asked), asked)
    return {"question": question, "context": context, "answers": [{"text": answer, "start": start}]}


def _parts_of_speech(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    words = tagged_sentence(rng, scenes, language).words
    return {"tokens": [word.text for word in words], "tags": [word.upos for word in words]}


def _names(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    words = tagged_sentence(rng, scenes, language).words
    return {"tokens": [word.text for word in words], "tags": [word.entity for word in words]}


def _parallel(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    make = realise.any_sentence(rng, next(scenes), next(scenes), 0.2)
    return {"text": text_of(make("en").words), "text_pair": text_of(make(language).words)}


def _phrase_pair(rng: random.Random, clause: Clause, first: str, second: str) -> Record:
    """One phrase of a clause and its translation, as in a phrase book."""
    one, other = (realise.phrase_texts(language, clause) for language in (first, second))
    role = rng.choice([role for role in one if role in other])
    return {"text": one[role], "text_pair": other[role]}


def _text(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    """A translation pair, or a text in one language: a sentence, two joined, or a question and its sentence."""
    pair = rng.choices([*(pair for pair, _ in PAIRS), None], [*(share for _, share in PAIRS), _ALONE])[0]
    clause = next(scenes)
    if pair:
        first, second = pair if rng.random() < 0.5 else pair[::-1]
        if rng.random() < PHRASES:
            return _phrase_pair(rng, clause, first, second)
        if rng.random() < MIXED:
            return {"text": realise.mixed_text(rng, clause, first, second), "text_pair": None}
        roles = askable(clause) if clause.verb >= 0 and not clause.negative else []
        if roles and rng.random() < 0.25:
            asked = rng.choice(roles)
            return {"text": realise.text(first, clause, asked), "text_pair": realise.text(second, clause, asked)}
        make = realise.any_sentence(rng, clause, next(scenes), 0.1)
        return {"text": text_of(make(first).words), "text_pair": text_of(make(second).words)}
    alone = rng.choice(LANGUAGES)
    if rng.random() < 0.5:
        return {"text": text_of(realise.any_sentence(rng, clause, next(scenes), 0.2)(alone).words), "text_pair": None}
    clauses = events(rng, scenes, 2)
    roles = askable(clauses[0])
    if not roles:
        return {"text": realise.text(alone, clause), "text_pair": None}
    asked = rng.choice(roles)
    question = realise.text(alone, short_question(clauses[0], asked), asked)
    answer = realise.span_text(realise.statement(alone, clauses[0]), asked)
    body = [realise.text(alone, item) for item in clauses[: rng.choice((1, 2))]]
    rng.shuffle(body)
    return {"text": " ".join([*body, question, answer + "."]), "text_pair": None}


_SIZES = {"train/en": 4000, "dev/en": 400, "dev/fi": 400, "test/fi": 400}
_OF_TARGETS = ("en", "fi")

TEXT = Task(
    "mini_text",
    "mlm",
    LANGUAGES,
    records("mini_text", _text, {"train/mul": 12_000, "dev/mul": 400}),
    role="text",
    notes="Translation pairs and short texts in six languages.",
)
TARGET_TASKS = (
    Task(
        "mini_udpos",
        "tagging",
        _OF_TARGETS,
        records("mini_udpos", _parts_of_speech, _SIZES),
        role="target",
        labels=UPOS,
        notes="Universal parts of speech.",
    ),
    Task(
        "mini_panx",
        "tagging",
        _OF_TARGETS,
        records("mini_panx", _names, _SIZES),
        role="target",
        labels=ENTITIES,
        notes="Names of people, places and organisations.",
    ),
    Task(
        "mini_tydiqa",
        "span_qa",
        _OF_TARGETS,
        records("mini_tydiqa", reading, _SIZES),
        role="target",
        notes="Questions about a role in one of two to four sentences.",
    ),
    Task(
        "mini_tatoeba",
        "retrieval",
        _OF_TARGETS,
        records("mini_tatoeba", _parallel, {"dev/fi": 300, "test/fi": 300}),
        role="target",
        notes="English sentences and their Finnish translations.",
    ),
)
