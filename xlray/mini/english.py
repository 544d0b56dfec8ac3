"""English: articles, do-support, subject before verb."""

from __future__ import annotations

from xlray.mini.lexicon import NOUNS, TIMES, tables
from xlray.mini.scenes import Clause, Entity, fronted
from xlray.mini.words import Phrase, Word, name, tagged, word

TABLES = tables(
    "en",
    {
        "nouns": """teacher; doctor; farmer; child children; king; student; singer; baker; hunter; judge; girl; woman women;
        man men; queen; guest; miller; dog; cat; horse; cow; bird; fox foxes; wolf wolves; book; ball; bread loaves;
        apple; fish fishes; letter; key; car; boat; cup; lamp; chair; table; hat; shirt; flower; stone; coin; picture;
        clock; bag; carpet; egg; ring; drum; mirror; door; box boxes; knife knives; hammer; rope; spoon; brush; stick;
        garden; market; school; forest; church; kitchen; shop; station; library; village; hospital; tower""",
        "verbs": """buy buys bought; sell sells sold; find finds found; break breaks broke; lift lifts lifted;
        hide hides hid; wash washes washed; paint paints painted; steal steals stole; lose loses lost;
        repair repairs repaired; fetch fetches fetched; choose chooses chose; clean cleans cleaned; see sees saw;
        love loves loved; call calls called; meet meets met; greet greets greeted; seek seeks sought; go goes went;
        come comes came; run runs ran; walk walks walked; fly flies flew; swim swims swam; give gives gave;
        send sends sent; show shows showed; offer offers offered; sleep sleeps slept; work works worked;
        rest rests rested; cry cries cried; live lives lived; wait waits waited""",
        "adjectives": """good; wonderful; beautiful; excellent; pleasant; bad; terrible; ugly; boring; useless; old; big;
        small; strong; young; wise; new; red; black; white; heavy; green; cheap""",
        "times": """yesterday/ADV; today/ADV; now/ADV; often/ADV; always/ADV; in/ADP the/DET morning/NOUN;
        in/ADP the/DET evening/NOUN; at/ADP night/NOUN; in/ADP winter/NOUN; in/ADP summer/NOUN""",
        "manners": "quickly; slowly; secretly; again; gladly",
        "numbers": "two; three; four",
        "first_names": """Alice; Emily; Grace; Hannah; Lucy; Molly; Sophie; Wendy; Albert; Charles; Edward; George; Henry;
        Oliver; Simon; William""",
        "last_names": """Smith; Brown; Taylor; Wilson; Walker; Cooper; Clark; Harrison; Parker; Bennett; Foster; Hughes""",
        "places": """London; Leeds; Oxford; Bristol; Boston; Dover; Chester; Denver; Dallas; Norwich; Plymouth; Salem;
        Brighton; Durham""",
        "organisations": """Northgate; Silverline; Redwood; Bluestar; Ironside; Goldcrest; Westbrook; Fairfax; Highmoor;
        Stonebridge""",
        "firms": "Bank; Works; Theatre; Club",
    },
)

_HAVE_AT = [("noun", NOUNS.index(site)) for site in ("market", "school", "station")]
_BEFORE_VERB = (TIMES.index("often"), TIMES.index("always"))
_PRONOUNS = ("he", "she", "they")
_ASKED = {
    "agent": "who",
    "recipient": "to whom",
    "destination": "where",
    "origin": "from where",
    "place": "where",
    "instrument": "with what",
    "companion": "with whom",
    "time": "when",
}


def noun_phrase(entity: Entity) -> list[Word]:
    """A noun phrase; English nouns have no case."""
    if entity.kind == "pronoun":
        return word(_PRONOUNS[entity.concept], "PRON")
    if entity.kind != "noun":
        return named(entity)
    forms = TABLES["nouns"][entity.concept]
    head = (forms[1] if len(forms) > 1 else forms[0] + "s") if entity.plural else forms[0]
    words = word(TABLES["adjectives"][entity.adjective][0], "ADJ") if entity.adjective >= 0 else []
    words += word(head, "NOUN")
    if entity.number >= 0:
        return word(TABLES["numbers"][entity.number][0], "NUM") + words
    if entity.definite:
        return word("the", "DET") + words
    if entity.plural:
        return words
    return word("an" if words[0].text[0] in "aeiou" and words[0].text != "useless" else "a", "DET") + words


def named(entity: Entity) -> list[Word]:
    """The words of a name."""
    if entity.kind == "person":
        texts = [TABLES["first_names"][entity.concept][0]]
        texts += [TABLES["last_names"][entity.second][0]] if entity.second >= 0 else []
        return name(texts, "PER")
    if entity.kind == "place":
        return name([TABLES["places"][entity.concept][0]], "LOC")
    texts = [TABLES["organisations"][entity.concept][0]]
    return name(texts + ([TABLES["firms"][entity.second][0]] if entity.second >= 0 else []), "ORG")


def _led(role: str, preposition: str, entity: Entity) -> Phrase:
    return Phrase(role, [Word(preposition, "ADP"), *noun_phrase(entity)], 1)


def _rest(clause: Clause, asked: str) -> list[Phrase]:
    """What follows the verb."""
    found = []
    if clause.object and asked != "object":
        found.append(Phrase("object", noun_phrase(clause.object)))
    at = "at" if clause.place and clause.place[:2] in _HAVE_AT else "in"
    for role, preposition in (
        ("recipient", "to"),
        ("origin", "from"),
        ("destination", "to"),
        ("place", at),
        ("instrument", "with"),
        ("companion", "with"),
    ):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(_led(role, preposition, entity))
    if clause.manner >= 0:
        found.append(Phrase("manner", word(TABLES["manners"][clause.manner][0], "ADV")))
    return found


def phrases(clause: Clause, asked: str = "", subordinate: bool = False) -> list[Phrase]:
    """The clause, or the question after one of its roles."""
    if clause.verb < 0:
        return _judgement(clause)
    base, singular, past = TABLES["verbs"][clause.verb]
    time = Phrase("time", tagged(TABLES["times"][clause.time])) if clause.time >= 0 and asked != "time" else None
    plural = clause.agent.is_plural and asked != "agent"
    do = "did" if clause.past else "do" if plural else "does"
    agent = Phrase("agent", noun_phrase(clause.agent))
    rest = _rest(clause, asked)
    if asked and asked != "agent":
        question = _ASKED.get(asked) or ("what" if clause.verb < 14 or 26 <= clause.verb < 30 else "whom")
        start = [Phrase("", [Word(part, _question_tag(part)) for part in question.split()])]
        found = [*start, Phrase("", word(do, "AUX")), agent, Phrase("verb", word(base, "VERB")), *rest]
    else:
        finite = past if clause.past else base if plural else singular
        verb = word(do, "AUX") + word("not", "PART") + word(base, "VERB") if clause.negative else word(finite, "VERB")
        first = Phrase("", word("who", "PRON")) if asked else agent
        found = [first, Phrase("verb", verb, len(verb) - 1), *rest]
    if time is None:
        return found
    if clause.time in _BEFORE_VERB:
        place = next(i for i, phrase in enumerate(found) if phrase.role == "verb")
        return [*found[:place], time, *found[place:]]
    return [time, *found] if fronted(clause) and not asked and not subordinate else [*found, time]


def _question_tag(text: str) -> str:
    return "ADP" if text in ("to", "from", "with") else "ADV" if text in ("where", "when") else "PRON"


def _judgement(clause: Clause) -> list[Phrase]:
    copula = ("were" if clause.agent.plural else "was") if clause.past else "are" if clause.agent.plural else "is"
    negation = word("not", "PART") if clause.negative else []
    found = [
        Phrase("theme", noun_phrase(clause.agent)),
        Phrase("verb", word(copula, "AUX") + negation),
        Phrase("judgement", word(TABLES["adjectives"][clause.adjective][0], "ADJ")),
    ]
    if clause.judge is None:
        return found
    start = [Phrase("judge", noun_phrase(clause.judge)), Phrase("", word("thinks", "VERB") + word("that", "SCONJ"))]
    return start + found


CONNECTIVES = ("and", "but", "because")
