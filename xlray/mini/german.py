"""German: verb second, verb last in subordinate clauses, articles and attributes by case and gender."""

from __future__ import annotations

from xlray.mini.lexicon import tables
from xlray.mini.scenes import Clause, Entity, fronted
from xlray.mini.words import Phrase, Word, name, tagged, word

# A noun: gender, singular, plural. A verb: singular, plural, past singular.
TABLES = tables(
    "de",
    {
        "nouns": """m Lehrer Lehrer; m Arzt Ärzte; m Landwirt Landwirte; n Kind Kinder; m König Könige; m Schüler Schüler;
        m Sänger Sänger; m Bäcker Bäcker; m Jäger Jäger; m Richter Richter; n Mädchen Mädchen; f Frau Frauen;
        m Mann Männer; f Königin Königinnen; m Gast Gäste; m Müller Müller; m Hund Hunde; f Katze Katzen;
        n Pferd Pferde; f Kuh Kühe; m Vogel Vögel; m Fuchs Füchse; m Wolf Wölfe; n Buch Bücher; m Ball Bälle;
        n Brot Brote; m Apfel Äpfel; m Fisch Fische; m Brief Briefe; m Schlüssel Schlüssel; m Wagen Wagen;
        n Boot Boote; f Tasse Tassen; f Lampe Lampen; m Stuhl Stühle; m Tisch Tische; m Hut Hüte; n Hemd Hemden;
        f Blume Blumen; m Stein Steine; f Münze Münzen; n Bild Bilder; f Uhr Uhren; f Tüte Tüten; m Teppich Teppiche;
        n Ei Eier; m Reif Reife; f Trommel Trommeln; m Spiegel Spiegel; f Tür Türen; f Kiste Kisten; n Messer Messer;
        m Hammer Hämmer; n Seil Seile; m Löffel Löffel; f Bürste Bürsten; m Stock Stöcke; m Garten Gärten;
        m Markt Märkte; f Schule Schulen; m Wald Wälder; f Kirche Kirchen; f Küche Küchen; m Laden Läden;
        m Bahnhof Bahnhöfe; f Bibliothek Bibliotheken; n Dorf Dörfer; n Krankenhaus Krankenhäuser; m Turm Türme""",
        "verbs": """kauft kaufen kaufte; verkauft verkaufen verkaufte; findet finden fand; zerbricht zerbrechen zerbrach;
        hebt heben hob; versteckt verstecken versteckte; wäscht waschen wusch; bemalt bemalen bemalte;
        stiehlt stehlen stahl; verliert verlieren verlor; repariert reparieren reparierte; holt holen holte;
        wählt wählen wählte; putzt putzen putzte; sieht sehen sah; liebt lieben liebte; ruft rufen rief;
        trifft treffen traf; grüßt grüßen grüßte; sucht suchen suchte; geht gehen ging; kommt kommen kam;
        rennt rennen rannte; wandert wandern wanderte; fliegt fliegen flog; schwimmt schwimmen schwamm;
        gibt geben gab; schickt schicken schickte; zeigt zeigen zeigte; bietet bieten bot; schläft schlafen schlief;
        arbeitet arbeiten arbeitete; ruht ruhen ruhte; weint weinen weinte; wohnt wohnen wohnte;
        wartet warten wartete""",
        "adjectives": """gut; wunderbar; schön; ausgezeichnet; angenehm; schlecht; schrecklich; hässlich; langweilig;
        nutzlos; alt; groß; klein; stark; jung; weise; neu; rot; schwarz; weiß; schwer; grün; billig""",
        "times": """gestern/ADV; heute/ADV; jetzt/ADV; oft/ADV; immer/ADV; am/ADP Morgen/NOUN; am/ADP Abend/NOUN;
        nachts/ADV; im/ADP Winter/NOUN; im/ADP Sommer/NOUN""",
        "manners": "schnell; langsam; heimlich; wieder; gern",
        "numbers": "zwei; drei; vier",
        "first_names": """Anke; Birgit; Claudia; Elke; Heike; Inge; Monika; Ursula; Bernd; Dieter; Günter; Jürgen; Klaus;
        Manfred; Uwe; Wolfgang""",
        "last_names": """Schmidt; Schneider; Fischer; Weber; Wagner; Becker; Hoffmann; Koch; Schäfer; Krüger; Zimmermann;
        Vogt""",
        "places": """Berlin; Hamburg; München; Köln; Dresden; Leipzig; Bremen; Essen; Stuttgart; Nürnberg; Potsdam; Kassel;
        Bonn; Mainz""",
        "organisations": """Adlerwerk; Rheingold; Nordstern; Falkenberg; Sonnhof; Eichental; Silberfels; Wittelsbach;
        Schwarzburg; Lindenau""",
        "firms": "Sparkasse; Fabrik; Bühne; Verein",
    },
)

_THE = {
    "nominative": {"m": "der", "f": "die", "n": "das"},
    "accusative": {"m": "den", "f": "die", "n": "das"},
    "dative": {"m": "dem", "f": "der", "n": "dem"},
}
_A = {
    "nominative": {"m": "ein", "f": "eine", "n": "ein"},
    "accusative": {"m": "einen", "f": "eine", "n": "ein"},
    "dative": {"m": "einem", "f": "einer", "n": "einem"},
}
_ASKED = {
    "agent": "wer",
    "recipient": "wem",
    "destination": "wohin",
    "origin": "woher",
    "place": "wo",
    "instrument": "womit",
    "companion": "mit wem",
    "time": "wann",
}
_MERGED = {("in", "dem"): "im", ("zu", "dem"): "zum", ("zu", "der"): "zur"}


def _ending(case: str, gender: str, definite: bool) -> str:
    if case == "dative" or (case == "accusative" and gender == "m"):
        return "en"
    if definite or gender == "f":
        return "e"
    return "er" if gender == "m" else "es"


def noun_phrase(entity: Entity, case: str) -> list[Word]:
    """A noun phrase in the nominative, accusative or dative."""
    if entity.kind == "pronoun":
        return word(("er", "sie", "sie")[entity.concept], "PRON")
    if entity.kind != "noun":
        return named(entity)
    gender, singular, plural = TABLES["nouns"][entity.concept]
    stem = TABLES["adjectives"][entity.adjective][0].removesuffix("e") if entity.adjective >= 0 else ""
    if entity.plural:
        lead = word(TABLES["numbers"][entity.number][0], "NUM") if entity.number >= 0 else word("die", "DET")
        return lead + (word(stem + "en", "ADJ") if stem else []) + word(plural, "NOUN")
    lead = word((_THE if entity.definite else _A)[case][gender], "DET")
    attribute = word(stem + _ending(case, gender, entity.definite), "ADJ") if stem else []
    return lead + attribute + word(singular, "NOUN")


def named(entity: Entity) -> list[Word]:
    """The words of a name; they have no article."""
    if entity.kind == "place":
        return name([TABLES["places"][entity.concept][0]], "LOC")
    sort, first, second = (
        ("PER", "first_names", "last_names") if entity.kind == "person" else ("ORG", "organisations", "firms")
    )
    texts = [TABLES[first][entity.concept][0]]
    return name(texts + ([TABLES[second][entity.second][0]] if entity.second >= 0 else []), sort)


def _led(role: str, preposition: str, entity: Entity) -> Phrase:
    words = noun_phrase(entity, "dative")
    merged = _MERGED.get((preposition, words[0].text))
    if merged:
        return Phrase(role, word(merged, "ADP") + words[1:], 1)
    return Phrase(role, word(preposition, "ADP") + words, 1)


def _rest(clause: Clause, asked: str) -> list[Phrase]:
    found = []
    if clause.recipient and asked != "recipient":
        found.append(Phrase("recipient", noun_phrase(clause.recipient, "dative")))
    if clause.object and asked != "object":
        found.append(Phrase("object", noun_phrase(clause.object, "accusative")))
    if clause.negative:
        found.append(Phrase("", word("nicht", "PART")))
    if clause.manner >= 0:
        found.append(Phrase("manner", word(TABLES["manners"][clause.manner][0], "ADV")))
    to = "nach" if clause.destination and clause.destination.kind == "place" else "zu"
    for role, preposition in (
        ("instrument", "mit"),
        ("companion", "mit"),
        ("origin", "aus"),
        ("destination", to),
        ("place", "in"),
    ):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(_led(role, preposition, entity))
    return found


def phrases(clause: Clause, asked: str = "", subordinate: bool = False) -> list[Phrase]:
    """The clause, or the question after one of its roles."""
    if clause.verb < 0:
        return _judgement(clause, subordinate)
    singular, plural, past = TABLES["verbs"][clause.verb]
    many = clause.agent.is_plural and asked != "agent"
    finite = (
        (past + ("n" if past.endswith("e") else "en") if many else past)
        if clause.past
        else (plural if many else singular)
    )
    verb = Phrase("verb", word(finite, "VERB"))
    agent = [] if asked == "agent" else [Phrase("agent", noun_phrase(clause.agent, "nominative"))]
    time = []
    if clause.time >= 0 and asked != "time":
        time = [Phrase("time", tagged(TABLES["times"][clause.time]))]
    rest = _rest(clause, asked)
    if asked:
        question = _ASKED.get(asked) or ("was" if clause.verb < 14 or 26 <= clause.verb < 30 else "wen")
        tags = {"mit": "ADP", "wer": "PRON", "wem": "PRON", "was": "PRON", "wen": "PRON"}
        start = [Phrase("", [Word(part, tags.get(part, "ADV")) for part in question.split()])]
        return [*start, verb, *agent, *time, *rest]
    if subordinate:
        return [*agent, *time, *rest, verb]
    return [*time, verb, *agent, *rest] if fronted(clause) else [*agent, verb, *time, *rest]


def _judgement(clause: Clause, subordinate: bool) -> list[Phrase]:
    many = clause.agent.plural
    copula = ("waren" if many else "war") if clause.past else "sind" if many else "ist"
    theme = Phrase("theme", noun_phrase(clause.agent, "nominative"))
    verb = Phrase("verb", word(copula, "AUX"))
    rest = [Phrase("", word("nicht", "PART"))] if clause.negative else []
    rest += [Phrase("judgement", word(TABLES["adjectives"][clause.adjective][0], "ADJ"))]
    if clause.judge is None:
        return [theme, *rest, verb] if subordinate else [theme, verb, *rest]
    judge, thinks = Phrase("judge", noun_phrase(clause.judge, "nominative")), Phrase("", word("denkt", "VERB"))
    that = Phrase("", word(",", "PUNCT") + word("dass", "SCONJ"))
    start = [judge, thinks, that]
    return [*start, theme, *rest, verb]


CONNECTIVES = ("und", "aber", "weil")
