"""Finnish: cases from given stems (so gradation is the lexicon's), vowel harmony, the negative verb."""

from __future__ import annotations

from functools import cache

from xlray.mini.lexicon import tables
from xlray.mini.scenes import Clause, Entity, fronted
from xlray.mini.words import Phrase, Word, name, tagged, word

# A nominal is written as: nominative, weak stem, strong stem, partitive; what is missing follows from what is there.
# A `@` before it: this place takes the outer local cases. A verb: stem, past, connegative, participle; a `+` after
# the stem: its object is in the partitive.
TABLES = tables(
    "fi",
    {
        "nouns": """opettaja; lääkäri; viljelijä; lapsi lapse lapse lasta; kuningas kuninkaa kuninkaa kuningasta;
        oppilas oppilaa oppilaa oppilasta; laulaja; leipuri; metsästäjä; tuomari; tyttö tytö;
        nainen naise naise naista; mies miehe miehe miestä; kuningatar kuningattare kuningattare kuningatarta;
        vieras vieraa vieraa vierasta; mylläri; koira; kissa; hevonen hevose hevose hevosta; lehmä; lintu linnu;
        kettu ketu; susi sude sute sutta; kirja; pallo; leipä leivä; omena; kala; kirje kirjee kirjee kirjettä;
        avain avaime avaime avainta; auto; vene venee venee venettä; kuppi kupi; lamppu lampu; tuoli; pöytä pöydä;
        hattu hatu; paita paida; kukka kuka; kivi kive kive kiveä; kolikko koliko; kuva; kello; laukku lauku;
        matto mato; muna; sormus sormukse sormukse sormusta; rumpu rummu; peili; ovi ove ove ovea; laatikko laatiko;
        veitsi veitse veitse veistä; vasara; köysi köyde köyte köyttä; lusikka lusika; harja; keppi kepi; puutarha;
        @tori; koulu; metsä; kirkko kirko; keittiö; kauppa kaupa; @asema; kirjasto; kylä; sairaala; torni""",
        "verbs": """osta osti osta ostanut; myy myi myy myynyt; löytä löysi löydä löytänyt; rikko rikkoi riko rikkonut;
        nosta nosti nosta nostanut; piilotta piilotti piilota piilottanut; pese pesi pese pessyt;
        maalaa maalasi maalaa maalannut; varasta varasti varasta varastanut; kadotta kadotti kadota kadottanut;
        korjaa korjasi korjaa korjannut; nouta nouti nouda noutanut; valitse valitsi valitse valinnut;
        puhdista puhdisti puhdista puhdistanut; näke näki näe nähnyt; rakasta+ rakasti rakasta rakastanut;
        kutsu kutsui kutsu kutsunut; tapaa tapasi tapaa tavannut; tervehti+ tervehti tervehdi tervehtinyt;
        etsi+ etsi etsi etsinyt; mene meni mene mennyt; tule tuli tule tullut; juokse juoksi juokse juossut;
        kävele käveli kävele kävellyt; lentä lensi lennä lentänyt; ui ui ui uinut; anta antoi anna antanut;
        lähettä lähetti lähetä lähettänyt; näyttä näytti näytä näyttänyt; tarjoa tarjosi tarjoa tarjonnut;
        nukku nukkui nuku nukkunut; työskentele työskenteli työskentele työskennellyt;
        lepää lepäsi lepää levännyt; itke itki itke itkenyt; asu asui asu asunut; odotta odotti odota odottanut""",
        "adjectives": """hyvä; ihana; kaunis kaunii kaunii kaunista; erinomainen erinomaise erinomaise erinomaista; mukava;
        huono; kauhea; ruma; tylsä; hyödytön hyödyttömä hyödyttömä hyödytöntä; vanha; iso; pieni piene piene pientä;
        vahva; nuori nuore nuore nuorta; viisas viisaa viisaa viisasta; uusi uude uute uutta;
        punainen punaise punaise punaista; musta; valkoinen valkoise valkoise valkoista;
        raskas raskaa raskaa raskasta; vihreä; halpa halva""",
        "times": """eilen/ADV; tänään/ADV; nyt/ADV; usein/ADV; aina/ADV; aamulla/NOUN; illalla/NOUN; yöllä/NOUN;
        talvella/NOUN; kesällä/NOUN""",
        "manners": "nopeasti; hitaasti; salaa; taas; mielellään",
        "numbers": "kaksi; kolme; neljä",
        "first_names": """Aino; Helmi; Liisa; Kaisa; Sanna; Outi; Marja; Päivi; Matti Mati; Pekka Peka; Jukka Juka;
        Antti Anti; Heikki Heiki; Seppo Sepo; Timo; Veikko Veiko""",
        "last_names": """Virtanen Virtase Virtase Virtasta; Korhonen Korhose Korhose Korhosta;
        Nieminen Niemise Niemise Niemistä; Mäkelä; Lehtonen Lehtose Lehtose Lehtosta;
        Saarinen Saarise Saarise Saarista; Heikkilä; Koskela; Salonen Salose Salose Salosta; Ranta Ranna; Hakala;
        Toivonen Toivose Toivose Toivosta""",
        "places": """Helsinki Helsingi; Turku Turu; Oulu; Kuopio; Vaasa; Lahti Lahde Lahte Lahtea; Kotka; Pori; Rauma;
        Mikkeli; Imatra; Kajaani; Salo; Loviisa""",
        "organisations": """Kaleva; Otava; Sampo Sammo; Pohjola; Tapiola; Kultala; Revontuli Revontule Revontule Revontulta;
        Metsola; Rautia; Aurinko Auringo""",
        "firms": "Pankki Panki; Tehdas Tehtaa Tehtaa Tehdasta; Teatteri; Seura",
    },
)

_LOCAL = {"inessive": "ssA", "elative": "stA", "adessive": "llA", "allative": "lle", "ablative": "ltA", "genitive": "n"}
_PRONOUNS = ("hän", "hän", "he")
_ASKED = {
    "agent": "kuka",
    "recipient": "kenelle",
    "destination": "minne",
    "origin": "mistä",
    "place": "missä",
    "instrument": "millä",
    "companion": "kenen",
    "time": "milloin",
}


def is_back(text: str) -> bool:
    """Whether a word takes back vowels: its last vowel other than e and i decides, front without one."""
    for letter in reversed(text.lower()):
        if letter in "aou":
            return True
        if letter in "äöy":
            return False
    return False


def harmonise(stem: str, suffix: str) -> str:
    """`stem` with `suffix`, whose A and O become a and o, or ä and ö."""
    return stem + (
        suffix.replace("A", "a").replace("O", "o") if is_back(stem) else suffix.replace("A", "ä").replace("O", "ö")
    )


def _illative(stem: str) -> str:
    last, before = stem[-1], stem[-2]
    if last == before:  # kuninkaa-seen, but puu-hun: one syllable
        return stem + ("seen" if sum(letter in "aeiouyäö" for letter in stem) > 2 else f"h{last}n")
    return stem + last + "n"


@cache
def inflect(entry: tuple[str, ...], case: str, plural: bool = False) -> str:
    """A nominal in a case: nominative, genitive, partitive, inessive, elative, illative, adessive, allative, ablative.

    Args:
        entry: nominative, weak stem, strong stem and partitive, as far as they do not follow from each other.
        case: English name of the case; the plural exists in the nominative only.
        plural: whether the plural is meant.
    """
    nominative = entry[0].lstrip("@")
    weak = entry[1] if len(entry) > 1 else nominative
    strong = entry[2] if len(entry) > 2 else nominative
    if case == "nominative":
        return weak + "t" if plural else nominative
    if plural:
        raise ValueError(f"`case == 'nominative'` must hold in the plural, but got {case!r}.")
    if case == "partitive":
        return entry[3] if len(entry) > 3 else harmonise(strong, "A")
    if case == "illative":
        return _illative(strong)
    return harmonise(weak, _LOCAL[case])


def conjugate(entry: tuple[str, ...], past: bool, plural: bool) -> str:
    """The third person of a verb."""
    stem, before = entry[0].rstrip("+"), entry[1]
    if plural:
        return harmonise(before if past else stem, "vAt")
    if past:
        return before
    return stem if stem[-1] == stem[-2] or stem == "ui" else stem + stem[-1]


def negated(entry: tuple[str, ...], past: bool, plural: bool) -> list[Word]:
    """The third person of the negative verb and what it governs."""
    participle = entry[3][:-2] + "eet" if plural else entry[3]
    return word("eivät" if plural else "ei", "AUX") + word(participle if past else entry[2], "VERB")


def noun_phrase(entity: Entity, case: str) -> list[Word]:
    """A noun phrase whose attribute agrees; after a numeral the noun is in the partitive singular."""
    if entity.kind == "pronoun":
        return word(_PRONOUNS[entity.concept], "PRON")
    if entity.kind != "noun":
        return named(entity, case)
    noun = TABLES["nouns"][entity.concept]
    if entity.number >= 0:
        counted = word(inflect(noun, "partitive"), "NOUN")
        return word(TABLES["numbers"][entity.number][0], "NUM") + counted
    if entity.plural:
        case = "nominative"  # the plural object of a completed event looks like the subject
    words = word(inflect(noun, case, entity.plural), "NOUN")
    if entity.adjective >= 0:
        words = word(inflect(TABLES["adjectives"][entity.adjective], case, entity.plural), "ADJ") + words
    return words


def named(entity: Entity, case: str) -> list[Word]:
    """The words of a name: only the last of them is inflected."""
    if entity.kind == "place":
        return name([inflect(TABLES["places"][entity.concept], case)], "LOC")
    sort, first, second = (
        ("PER", "first_names", "last_names") if entity.kind == "person" else ("ORG", "organisations", "firms")
    )
    entry = TABLES[first][entity.concept]
    if entity.second < 0:
        return name([inflect(entry, case)], sort)
    return name([entry[0], inflect(TABLES[second][entity.second], case)], sort)


def local_case(entity: Entity, case: str) -> str:
    """The outer case instead of the inner one where the place takes it, and to living beings."""
    outer = entity.kind == "noun" and TABLES["nouns"][entity.concept][0].startswith("@")
    return {"inessive": "adessive", "elative": "ablative", "illative": "allative"}[case] if outer else case


def _rest(clause: Clause, asked: str) -> list[Phrase]:
    found = []
    if clause.object and asked != "object":
        partitive = clause.negative or TABLES["verbs"][clause.verb][0].endswith("+")
        found.append(Phrase("object", noun_phrase(clause.object, "partitive" if partitive else "genitive")))
    if clause.recipient and asked != "recipient":
        found.append(Phrase("recipient", noun_phrase(clause.recipient, "allative")))
    for role, case in (("origin", "elative"), ("destination", "illative"), ("place", "inessive")):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(Phrase(role, noun_phrase(entity, local_case(entity, case))))
    if clause.instrument and asked != "instrument":
        found.append(Phrase("instrument", noun_phrase(clause.instrument, "adessive")))
    if clause.companion and asked != "companion":
        found.append(Phrase("companion", noun_phrase(clause.companion, "genitive")))
        found.append(Phrase("", word("kanssa", "ADP")))
    if clause.manner >= 0:
        found.append(Phrase("manner", word(TABLES["manners"][clause.manner][0], "ADV")))
    return found


def phrases(clause: Clause, asked: str = "", subordinate: bool = False) -> list[Phrase]:
    """The clause, or the question after one of its roles."""
    if clause.verb < 0:
        return _judgement(clause)
    entry = TABLES["verbs"][clause.verb]
    plural = clause.agent.is_plural and asked != "agent"
    if clause.negative:
        verb = Phrase("verb", negated(entry, clause.past, plural), 1)
    else:
        verb = Phrase("verb", word(conjugate(entry, clause.past, plural), "VERB"))
    agent = [] if asked == "agent" else [Phrase("agent", noun_phrase(clause.agent, "nominative"))]
    start: list[Phrase] = []
    if asked:
        question = _ASKED.get(asked) or _object_question(clause, entry)
        start = [Phrase("", word(question, "ADV" if asked in ("destination", "time") else "PRON"))]
        start += [Phrase("", word("kanssa", "ADP"))] if asked == "companion" else []
    found = [*start, *agent, verb, *_rest(clause, asked)]
    if clause.time < 0 or asked == "time":
        return found
    time = Phrase("time", tagged(TABLES["times"][clause.time]))
    return [time, *found] if fronted(clause) and not asked and not subordinate else [*found, time]


def _object_question(clause: Clause, entry: tuple[str, ...]) -> str:
    if clause.verb < 14 or 26 <= clause.verb < 30:
        return "mitä" if clause.negative else "minkä"
    return "ketä" if clause.negative or entry[0].endswith("+") else "kenet"


def _judgement(clause: Clause) -> list[Phrase]:
    plural = clause.agent.plural
    if clause.negative:
        negation = word("eivät" if plural else "ei", "AUX")
        verb = negation + word(("olleet" if plural else "ollut") if clause.past else "ole", "AUX")
    else:
        verb = word(("olivat" if plural else "oli") if clause.past else "ovat" if plural else "on", "AUX")
    found = [
        Phrase("theme", noun_phrase(clause.agent, "nominative")),
        Phrase("verb", verb),
        Phrase("judgement", word(_predicate(clause), "ADJ")),
    ]
    if clause.judge is None:
        return found
    start = word("ajattelee", "VERB") + word(",", "PUNCT") + word("että", "SCONJ")
    return [Phrase("judge", noun_phrase(clause.judge, "nominative")), Phrase("", start), *found]


# A plural subject takes its predicate in the partitive plural.
_PREDICATES = str.split(
    "hyviä ihania kauniita erinomaisia mukavia huonoja kauheita rumia tylsiä hyödyttömiä vanhoja isoja pieniä vahvoja "
    "nuoria viisaita uusia punaisia mustia valkoisia raskaita vihreitä halpoja"
)


def _predicate(clause: Clause) -> str:
    if clause.agent.plural:
        return _PREDICATES[clause.adjective]
    return inflect(TABLES["adjectives"][clause.adjective], "nominative")


CONNECTIVES = ("ja", "mutta", "koska")
