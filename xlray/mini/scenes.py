"""Scenes: who does what to whom, where, when and with what. Drawn from a seed, without any word of any language."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from xlray.mini import lexicon

PEOPLE = lexicon.indices(lexicon.PEOPLE, lexicon.NOUNS)
ANIMALS = lexicon.indices(lexicon.ANIMALS, lexicon.NOUNS)
LIVING = range(PEOPLE.start, ANIMALS.stop)
THINGS = lexicon.indices(lexicon.THINGS, lexicon.NOUNS)
TOOLS = lexicon.indices(lexicon.TOOLS, lexicon.NOUNS)
SITES = lexicon.indices(lexicon.SITES, lexicon.NOUNS)
HANDLE = lexicon.indices(lexicon.HANDLE, lexicon.VERBS)
MEET = lexicon.indices(lexicon.MEET, lexicon.VERBS)
MOVE = lexicon.indices(lexicon.MOVE, lexicon.VERBS)
GIVE = lexicon.indices(lexicon.GIVE, lexicon.VERBS)
STAY = lexicon.indices(lexicon.STAY, lexicon.VERBS)
POSITIVE = lexicon.indices(lexicon.POSITIVE, lexicon.ADJECTIVES)
NEGATIVE = lexicon.indices(lexicon.NEGATIVE, lexicon.ADJECTIVES)
_ANYTHING = tuple(lexicon.indices(lexicon.OF_ANYTHING, lexicon.ADJECTIVES))
OF_LIVING = _ANYTHING + tuple(lexicon.indices(lexicon.OF_LIVING, lexicon.ADJECTIVES))
OF_THINGS = _ANYTHING + tuple(lexicon.indices(lexicon.OF_THINGS, lexicon.ADJECTIVES))

# Roles in the order in which questions prefer them.
ROLES = ("agent", "object", "recipient", "destination", "origin", "place", "instrument", "companion", "time")
SKEW = 3.5  # of the choice among words: the larger, the more the first ones dominate
# Tenths of all scenes: a scene belongs to one split whatever the task that shows it.
BUCKETS = {"train": range(7), "dev": range(7, 8), "test": range(8, 10)}


class Entity(NamedTuple):
    """What a noun phrase stands for.

    Attributes:
        kind: "noun", "person", "place", "organisation" or "pronoun" (0 he, 1 she, 2 they).
        concept: position in the table of its kind.
        second: last name of a person, kind of firm of an organisation; -1 without.
        adjective: position of an attribute, or -1.
        number: position of a numeral, or -1.
    """

    kind: str
    concept: int
    second: int = -1
    adjective: int = -1
    plural: bool = False
    definite: bool = True
    number: int = -1

    @property
    def is_plural(self) -> bool:
        """Whether a verb agrees with it in the plural."""
        return self.plural or (self.kind == "pronoun" and self.concept == 2)

    @property
    def female(self) -> bool:
        """Whether it is a woman by name or pronoun; grammatical gender is the languages' own."""
        if self.kind == "person":
            return self.concept < lexicon.SIZES["first_names"] // 2
        return self.kind == "pronoun" and self.concept == 1


class Clause(NamedTuple):
    """One event or judgement. `verb` is -1 for "the agent is `adjective`"; `judge` is who thinks so."""

    verb: int
    agent: Entity
    past: bool = False
    negative: bool = False
    object: Entity | None = None
    recipient: Entity | None = None
    destination: Entity | None = None
    origin: Entity | None = None
    place: Entity | None = None
    instrument: Entity | None = None
    companion: Entity | None = None
    time: int = -1
    manner: int = -1
    adjective: int = -1
    judge: Entity | None = None

    def entity(self, role: str) -> Entity | None:
        """Who or what fills a role."""
        found = getattr(self, role)
        return found if isinstance(found, Entity) else None

    def roles(self) -> list[str]:
        """The roles that are filled, without the time."""
        return [role for role in ROLES[:-1] if getattr(self, role) is not None]


def bucket(clause: Clause) -> int:
    """Tenth of the scenes that a clause belongs to; clauses that some language does not tell apart share theirs."""
    parts = [
        (e.kind, 0 if e.kind == "pronoun" and e.concept < 2 else e.concept, e.second, e.adjective, e.plural, e.number)
        for e in clause
        if isinstance(e, tuple)
    ]
    rest = (clause.verb, clause.past, clause.negative, clause.time, clause.manner, clause.adjective)
    return zlib.crc32(repr((parts, rest)).encode()) % 10


def draw(rng: random.Random, split: str) -> Iterator[Clause]:
    """Endless different clauses that belong to a split."""
    seen: set[Clause] = set()
    while True:
        clause = draw_clause(rng)
        if clause not in seen and bucket(clause) in BUCKETS[split]:
            seen.add(clause)
            yield clause


def draw_clause(rng: random.Random, sort: str = "") -> Clause:
    """One clause of the given sort ("handle", "meet", "move", "give", "stay", "be"), or of any."""
    sort = sort or rng.choices(("handle", "meet", "move", "give", "stay", "be"), (24, 14, 18, 18, 12, 14))[0]
    if sort == "be":
        return _judgement(rng)
    past = rng.random() < 0.6
    negative = rng.random() < 0.15
    agent = _agent(rng, sort)
    time, manner = -1, -1
    if rng.random() < 0.4:
        # Yesterday (0) is past, now (2) is present.
        time = rng.choice([t for t in range(lexicon.SIZES["times"]) if t != (2 if past else 0)])
    if not negative and rng.random() < 0.2:
        manner = _pick(rng, range(lexicon.SIZES["manners"]))
    clause = Clause(0, agent, past, negative, time=time, manner=manner)
    return _COMPLETE[sort](rng, clause)


def _pick(rng: random.Random, among: Sequence[int]) -> int:
    """One of `among`: early ones are more frequent, as words are in any language."""
    return among[int(len(among) * rng.random() ** SKEW)]


def _handle(rng: random.Random, clause: Clause) -> Clause:
    extra = rng.random()
    clause = clause._replace(verb=_pick(rng, HANDLE), object=_thing(rng, not clause.negative))
    if extra < 0.25:
        return clause._replace(instrument=Entity("noun", _pick(rng, TOOLS)))
    return clause._replace(place=_place(rng)) if extra < 0.6 else clause


def _meet(rng: random.Random, clause: Clause) -> Clause:
    other = _living(rng, clause.agent)
    return clause._replace(verb=_pick(rng, MEET), object=other, place=_place(rng) if rng.random() < 0.5 else None)


def _move(rng: random.Random, clause: Clause) -> Clause:
    clause = clause._replace(verb=_pick(rng, MOVE), destination=_place(rng))
    extra = rng.random()
    if extra < 0.3:
        return clause._replace(origin=_place(rng, clause.destination))
    return clause._replace(companion=_living(rng, clause.agent)) if extra < 0.55 else clause


def _give(rng: random.Random, clause: Clause) -> Clause:
    recipient = _living(rng, clause.agent, organisations=True)
    return clause._replace(verb=_pick(rng, GIVE), object=_thing(rng, not clause.negative), recipient=recipient)


def _stay(rng: random.Random, clause: Clause) -> Clause:
    companion = _living(rng, clause.agent) if rng.random() < 0.3 else None
    return clause._replace(verb=_pick(rng, STAY), place=_place(rng), companion=companion)


_COMPLETE = {"handle": _handle, "meet": _meet, "move": _move, "give": _give, "stay": _stay}


def _judgement(rng: random.Random) -> Clause:
    living = rng.random() < 0.35
    plural = rng.random() < 0.2
    agent = Entity("noun", _pick(rng, LIVING if living else THINGS), plural=plural)
    verdict = rng.random()
    if verdict < 0.35:
        adjective = _pick(rng, POSITIVE)
    elif verdict < 0.7:
        adjective = _pick(rng, NEGATIVE)
    else:
        adjective = _pick(rng, OF_LIVING if living else OF_THINGS)
    if rng.random() < 0.5:
        attributes = [a for a in (OF_LIVING if living else OF_THINGS) if a != adjective]
        agent = agent._replace(adjective=_pick(rng, attributes))
    judge = _person(rng) if rng.random() < 0.4 else None
    return Clause(-1, agent, rng.random() < 0.5, rng.random() < 0.12, adjective=adjective, judge=judge)


def _person(rng: random.Random) -> Entity:
    last = _pick(rng, range(lexicon.SIZES["last_names"])) if rng.random() < 0.45 else -1
    return Entity("person", _pick(rng, range(lexicon.SIZES["first_names"])), last)


def _organisation(rng: random.Random) -> Entity:
    firm = _pick(rng, range(lexicon.SIZES["firms"])) if rng.random() < 0.7 else -1
    return Entity("organisation", _pick(rng, range(lexicon.SIZES["organisations"])), firm)


def _being(rng: random.Random, plural: bool) -> Entity:
    adjective = _pick(rng, OF_LIVING) if rng.random() < 0.3 else -1
    return Entity("noun", _pick(rng, LIVING), adjective=adjective, plural=plural)


def _agent(rng: random.Random, sort: str) -> Entity:
    number = rng.random()
    if number < 0.4:
        return _person(rng)
    if number < 0.52 and sort in ("handle", "give"):
        return _organisation(rng)
    if number < 0.6:
        return Entity("pronoun", rng.randrange(3))
    return _being(rng, rng.random() < 0.25)


def _living(rng: random.Random, other: Entity, organisations: bool = False) -> Entity:
    while True:
        number = rng.random()
        if organisations and number < 0.25:
            found = _organisation(rng)
        elif number < 0.6:
            found = _person(rng)
        else:
            found = _being(rng, False)
        if (found.kind, found.concept) != (other.kind, other.concept):
            return found


def _thing(rng: random.Random, free: bool) -> Entity:
    """A thing as object. Only where `free` may it be indefinite, plural or counted: negation changes those."""
    index, form = _pick(rng, THINGS), rng.random()
    if free and form < 0.12:
        return Entity("noun", index, plural=True, number=rng.randrange(lexicon.SIZES["numbers"]), definite=False)
    adjective = _pick(rng, OF_THINGS) if rng.random() < 0.4 else -1
    if free and form < 0.3:
        return Entity("noun", index, adjective=adjective, plural=True)
    return Entity("noun", index, adjective=adjective, definite=not free or form < 0.65)


def _place(rng: random.Random, other: Entity | None = None) -> Entity:
    while True:
        named = rng.random() < 0.55
        places = range(lexicon.SIZES["places"]) if named else SITES
        found = Entity("place" if named else "noun", _pick(rng, places))
        if found != other:
            return found


def fronted(clause: Clause) -> bool:
    """Whether the time opens the sentence: a property of the scene, so that all languages agree."""
    return clause.time >= 0 and (clause.agent.concept + clause.verb) % 3 == 0
