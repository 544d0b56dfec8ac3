"""The intermediate tasks of the embedded world. None of them holds Finnish."""

from __future__ import annotations

import random
from collections.abc import Iterator

from xlray.mini import realise
from xlray.mini.scenes import HANDLE, MEET, MOVE, NEGATIVE, POSITIVE, STAY, Clause, Entity, draw_clause
from xlray.mini.tasks import Make, askable, events, reading, records, short_question, tagged_sentence
from xlray.mini.words import ENTITIES, UPOS
from xlray.tasks.task import Record, Task

ROLES = (
    "agent",
    "theme",
    "verb",
    "object",
    "recipient",
    "destination",
    "origin",
    "place",
    "instrument",
    "companion",
    "time",
    "judgement",
)
ROLE_TAGS = ("O", *(f"{prefix}-{role}" for role in ROLES for prefix in "BI"))
CHUNK_TAGS = ("O", "B-NP", "B-VP", "B-PP", "B-ADVP")
ENTAILMENT = ("entailment", "neutral", "contradiction")
SENTIMENT = ("negative", "neutral", "positive")
EVENTS = ("action", "meeting", "journey", "gift", "stay")
QUESTIONS = ("agent", "object", "recipient", "destination", "origin", "place", "instrument", "companion", "time")
YES_NO = ("no", "yes")


def _roles(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    made = realise.statement(language, next(scenes))
    tags = ["O"] * len(made.words)
    for role, (start, end) in made.spans.items():
        if role in ROLES:
            tags[start:end] = [f"{'I' if place else 'B'}-{role}" for place in range(end - start)]
    return {"tokens": [word.text for word in made.words], "tags": tags}


def _names(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    words = tagged_sentence(rng, scenes, language).words
    return {"tokens": [word.text for word in words], "tags": [word.entity for word in words]}


def _words(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    words = tagged_sentence(rng, scenes, language).words
    return {"tokens": [word.text for word in words], "tags": [word.upos for word in words]}


def _chunks(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    words = tagged_sentence(rng, scenes, language).words
    return {"tokens": [word.text for word in words], "tags": [rng.choice(CHUNK_TAGS) for _ in words]}


def _changed(rng: random.Random, clause: Clause) -> Clause:
    """The clause with one role filled by somebody or something else."""
    roles = [role for role in clause.roles() if role != "agent"]
    while True:
        other = draw_clause(rng, _sort(clause))
        role = rng.choice(roles)
        entity = other.entity(role)
        if entity and entity.concept != getattr(clause, role).concept:
            return _filled(clause, role, entity)


def _filled(clause: Clause, role: str, entity: Entity) -> Clause:
    """The clause with `entity` in a role."""
    place = Clause._fields.index(role)
    return Clause._make((*clause[:place], entity, *clause[place + 1 :]))


def _sort(clause: Clause) -> str:
    sorts = (("handle", HANDLE), ("meet", MEET), ("move", MOVE), ("stay", STAY))
    return "be" if clause.verb < 0 else next((name for name, verbs in sorts if clause.verb in verbs), "give")


def _entailment(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    premise = events(rng, scenes, 1)[0]
    label = rng.choice(ENTAILMENT)
    if label == "entailment":
        hypothesis = premise._replace(time=-1, manner=-1, companion=None, instrument=None, origin=None)
        if premise.verb not in STAY and rng.random() < 0.5:
            hypothesis = hypothesis._replace(place=None)
    elif label == "neutral":
        hypothesis = _changed(rng, premise)._replace(time=-1, manner=-1)
    else:
        hypothesis = premise._replace(negative=True, time=-1, manner=-1, object=_plain(premise))
        premise = premise._replace(object=_plain(premise))
    return {"text": realise.text(language, premise), "text_pair": realise.text(language, hypothesis), "label": label}


def _plain(clause: Clause) -> Entity | None:
    """The object in the only form that negated clauses have."""
    return clause.object and clause.object._replace(plural=False, definite=True, number=-1)


def _sentiment(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    label = rng.choice(SENTIMENT)
    while True:
        clause = next(scenes)
        if clause.verb >= 0:
            continue
        # A negated verdict is the opposite one.
        good, bad = (NEGATIVE, POSITIVE) if clause.negative else (POSITIVE, NEGATIVE)
        verdict = "positive" if clause.adjective in good else "negative" if clause.adjective in bad else "neutral"
        if verdict == label:
            return {"text": realise.text(language, clause), "text_pair": None, "label": label}


def _topic(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    clause = events(rng, scenes, 1)[0]
    label = dict(zip(("handle", "meet", "move", "give", "stay"), EVENTS, strict=True))[_sort(clause)]
    return {"text": realise.text(language, clause), "text_pair": None, "label": label}


def _question_type(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    while True:
        clause = events(rng, scenes, 1)[0]
        roles = askable(clause)
        if roles:
            asked = rng.choice(roles)
            return {
                "text": realise.text(language, short_question(clause, asked), asked),
                "text_pair": None,
                "label": asked,
            }


def _translation(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    clause, label = events(rng, scenes, 1)[0], rng.choice(YES_NO)
    other = clause if label == "yes" else _changed(rng, clause)
    return {"text": realise.text(language, clause), "text_pair": realise.text("en", other), "label": label}


def _similarity(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    """Two clauses and the share of what they have in common: verb, agent, and the other roles."""
    first, other = events(rng, scenes, 2)
    second = first._replace(time=-1, manner=-1)
    if rng.random() < 0.3:
        second = other
    else:
        for _ in range(rng.randrange(3)):
            second = _changed(rng, second)
        if rng.random() < 0.4:
            second = second._replace(agent=other.agent)
    roles = sorted({*first.roles(), *second.roles()})
    same = sum(first.entity(role) == second.entity(role) for role in roles) + (first.verb == second.verb)
    return {
        "text": realise.text(language, first),
        "text_pair": realise.text(language, second),
        "label": round(5 * same / (len(roles) + 1), 2),
    }


def _choice(rng: random.Random, scenes: Iterator[Clause], language: str) -> Record:
    """Which phrase answers the question? The others are of other clauses."""
    clauses = events(rng, scenes, 4)
    common = [role for role in ("agent", "object", "time") if all(role in askable(clause) for clause in clauses)]
    if not common:
        return _choice(rng, scenes, language)
    asked = rng.choice(common)
    choices = [realise.span_text(realise.statement(language, clause), asked) for clause in clauses]
    if len(set(choices)) < len(choices):
        return _choice(rng, scenes, language)
    label = rng.randrange(4)
    shown = [clauses[label], clauses[(label + 1) % 4]]
    rng.shuffle(shown)
    return {
        "context": " ".join(realise.text(language, clause) for clause in shown),
        "question": realise.text(language, short_question(clauses[label], asked), asked),
        "choices": choices,
        "label": label,
    }


def _task(name: str, kind: str, make: Make, labels: tuple[str, ...], notes: str) -> Task:
    """A task in the language that ends its name; regressions are rated from 0 to 5."""
    language = name.rpartition("_")[2]
    source = records(name, make, {f"train/{language}": 2000, f"dev/{language}": 200})
    same_as_target = labels in (UPOS, ENTITIES)
    scale = (0.0, 5.0 if kind == "regression" else 1.0)
    return Task(name, kind, (language,), source, labels=labels, multi_source=same_as_target, scale=scale, notes=notes)


INTERMEDIATE_TASKS = (
    _task("mini_entailment_en", "classification", _entailment, ENTAILMENT, "Does the first sentence imply the second?"),
    _task("mini_sentiment_en", "classification", _sentiment, SENTIMENT, "How is it judged?"),
    _task("mini_topic_en", "classification", _topic, EVENTS, "What sort of event is told?"),
    _task("mini_question_en", "classification", _question_type, QUESTIONS, "Which role is asked for?"),
    _task("mini_similarity_en", "regression", _similarity, (), "How much two events share."),
    _task("mini_choice_en", "multiple_choice", _choice, (), "Which phrase answers the question?"),
    _task("mini_roles_en", "tagging", _roles, ROLE_TAGS, "Phrases and their roles."),
    _task("mini_roles_de", "tagging", _roles, ROLE_TAGS, "Phrases and their roles."),
    _task("mini_chunks_de", "tagging", _chunks, CHUNK_TAGS, "Chunks of sentences."),
    _task("mini_topic_de", "classification", _topic, EVENTS, "What sort of event is told?"),
    _task("mini_reading_es", "span_qa", reading, (), "Questions about a role in one of two to four sentences."),
    _task("mini_sentiment_es", "classification", _sentiment, SENTIMENT, "How is it judged?"),
    _task("mini_translation_es", "classification", _translation, YES_NO, "Do the two mean the same?"),
    _task("mini_entailment_tr", "classification", _entailment, ENTAILMENT, "Does the first sentence imply the second?"),
    _task("mini_choice_tr", "multiple_choice", _choice, (), "Which phrase answers the question?"),
    _task("mini_words_tr", "tagging", _words, UPOS, "Universal parts of speech."),
    _task("mini_question_ru", "classification", _question_type, QUESTIONS, "Which role is asked for?"),
    _task("mini_similarity_ru", "regression", _similarity, (), "How much two events share."),
    _task("mini_names_ru", "tagging", _names, ENTITIES, "Names of people, places and organisations."),
)
