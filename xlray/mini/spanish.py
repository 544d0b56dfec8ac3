"""Spanish: gender agreement, attributes after the noun, the personal a, contracted articles."""

from __future__ import annotations

from xlray.mini.lexicon import tables
from xlray.mini.scenes import Clause, Entity, fronted
from xlray.mini.words import Phrase, Word, name, tagged, word

# A noun: gender, singular (the plural follows). A verb: present and preterite singular, sometimes preterite plural.
TABLES = tables(
    "es",
    {
        "nouns": """m maestro; m médico; m agricultor; m niño; m rey; m alumno; m cantante; m panadero; m cazador; m juez;
        f chica; f mujer; m hombre; f reina; m huésped; m molinero; m perro; m gato; m caballo; f vaca; m pájaro;
        m zorro; m lobo; m libro; f pelota; m pan; f manzana; m pez; f carta; f llave; m coche; m barco; f taza;
        f lámpara; f silla; f mesa; m sombrero; f camisa; f flor; f piedra; f moneda; m cuadro; m reloj; f bolsa;
        f alfombra; m huevo; m anillo; m tambor; m espejo; f puerta; f caja; m cuchillo; m martillo; f cuerda;
        f cuchara; m cepillo; m palo; m jardín; m mercado; f escuela; m bosque; f iglesia; f cocina; f tienda;
        f estación; f biblioteca; m pueblo; m sanatorio; f torre""",
        "verbs": """compra compró; vende vendió; halla halló; rompe rompió; levanta levantó; esconde escondió; lava lavó;
        pinta pintó; roba robó; pierde perdió; repara reparó; recoge recogió; elige eligió; limpia limpió;
        ve vio vieron; ama amó; llama llamó; encuentra encontró; saluda saludó; busca buscó; va fue fueron;
        viene vino vinieron; corre corrió; camina caminó; vuela voló; nada nadó; da dio dieron; envía envió;
        muestra mostró; ofrece ofreció; duerme durmió; trabaja trabajó; descansa descansó; llora lloró; vive vivió;
        espera esperó""",
        "adjectives": """bueno; maravilloso; hermoso; excelente; agradable; malo; terrorífico; feo; aburrido; inútil; viejo;
        grande; pequeño; fuerte; joven; sabio; nuevo; rojo; negro; blanco; pesado; verde; barato""",
        "times": """ayer/ADV; hoy/ADV; ahora/ADV; frecuentemente/ADV; siempre/ADV; por/ADP la/DET mañana/NOUN;
        por/ADP la/DET tarde/NOUN; de/ADP noche/NOUN; en/ADP invierno/NOUN; en/ADP verano/NOUN""",
        "manners": "rápidamente; lentamente; secretamente; nuevamente; gustosamente",
        "numbers": "dos; tres; cuatro",
        "first_names": """Ana; Carmen; Dolores; Elena; Isabel; Lucía; Pilar; Rosario; Alberto; Carlos; Diego; Enrique;
        Javier; Miguel; Pablo; Rafael""",
        "last_names": """García; Fernández; González; Rodríguez; López; Martínez; Sánchez; Pérez; Gómez; Jiménez; Ruiz;
        Navarro""",
        "places": """Madrid; Sevilla; Valencia; Málaga; Bilbao; Granada; Toledo; Burgos; Cádiz; Murcia; Zaragoza; Segovia;
        Gijón; Oviedo""",
        "organisations": """Alborada; Miramar; Solvento; Castellana; Ibérica; Montesol; Estrella; Cantabria; Buenavista;
        Arboleda""",
        "firms": "Banco; Taller; Teatro; Sociedad",
    },
)

_ASKED = {
    "agent": "quién",
    "recipient": "a quién",
    "destination": "adónde",
    "origin": "de dónde",
    "place": "dónde",
    "instrument": "con qué",
    "companion": "con quién",
    "time": "cuándo",
}
_TAGS = {"a": "ADP", "de": "ADP", "con": "ADP", "adónde": "ADV", "dónde": "ADV", "cuándo": "ADV"}
_SHORT = str.maketrans("áéíóú", "aeiou")


def pluralise(text: str) -> str:
    """The plural of a noun or adjective."""
    if text[-1] in "aeoé":
        return text + "s"
    if text[-1] == "z":
        return text[:-1] + "ces"
    return (text[:-2] + text[-2:].translate(_SHORT) if text.endswith(("ón", "ín")) else text) + "es"


def agree(adjective: str, gender: str, plural: bool) -> str:
    """An adjective in gender and number."""
    if gender == "f" and adjective.endswith("o"):
        adjective = adjective[:-1] + "a"
    return pluralise(adjective) if plural else adjective


def noun_phrase(entity: Entity) -> list[Word]:
    """A noun phrase with its article."""
    if entity.kind == "pronoun":
        return word(("él", "ella", "ellos")[entity.concept], "PRON")
    if entity.kind != "noun":
        return named(entity)
    gender, singular = TABLES["nouns"][entity.concept]
    words = word(pluralise(singular) if entity.plural else singular, "NOUN")
    if entity.adjective >= 0:
        words += word(agree(TABLES["adjectives"][entity.adjective][0], gender, entity.plural), "ADJ")
    if entity.number >= 0:
        return word(TABLES["numbers"][entity.number][0], "NUM") + words
    if entity.plural:
        return word("los" if gender == "m" else "las", "DET") + words
    if entity.definite:
        return word("el" if gender == "m" else "la", "DET") + words
    return word("un" if gender == "m" else "una", "DET") + words


def named(entity: Entity) -> list[Word]:
    """The words of a name."""
    if entity.kind == "place":
        return name([TABLES["places"][entity.concept][0]], "LOC")
    sort, first, second = (
        ("PER", "first_names", "last_names") if entity.kind == "person" else ("ORG", "organisations", "firms")
    )
    texts = [TABLES[first][entity.concept][0]]
    return name(texts + ([TABLES[second][entity.second][0]] if entity.second >= 0 else []), sort)


def _led(role: str, preposition: str, entity: Entity) -> Phrase:
    words = noun_phrase(entity)
    if preposition in ("a", "de") and words[0].text == "el":
        return Phrase(role, word(preposition + "l", "ADP") + words[1:], 1)
    return Phrase(role, word(preposition, "ADP") + words, 1)


def _rest(clause: Clause, asked: str) -> list[Phrase]:
    found = []
    if clause.manner >= 0:
        found.append(Phrase("manner", word(TABLES["manners"][clause.manner][0], "ADV")))
    if clause.object and asked != "object":
        living = 14 <= clause.verb < 20
        found.append(_led("object", "a", clause.object) if living else Phrase("object", noun_phrase(clause.object)))
    for role, preposition in (
        ("recipient", "a"),
        ("origin", "de"),
        ("destination", "a"),
        ("place", "en"),
        ("instrument", "con"),
        ("companion", "con"),
    ):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(_led(role, preposition, entity))
    return found


def conjugate(entry: tuple[str, ...], past: bool, plural: bool) -> str:
    """The third person of a verb."""
    present, preterite = entry[:2]
    if not past:
        return present + "n" if plural else present
    if not plural:
        return preterite
    if len(entry) > 2:
        return entry[2]
    return preterite[:-2] + "ieron" if preterite.endswith("ió") else preterite[:-1] + "aron"


def phrases(clause: Clause, asked: str = "", subordinate: bool = False) -> list[Phrase]:
    """The clause, or the question after one of its roles."""
    if clause.verb < 0:
        return _judgement(clause)
    many = clause.agent.is_plural and asked != "agent"
    finite = word(conjugate(TABLES["verbs"][clause.verb], clause.past, many), "VERB")
    verb = Phrase("verb", word("no", "PART") + finite, 1) if clause.negative else Phrase("verb", finite)
    agent = [] if asked == "agent" else [Phrase("agent", noun_phrase(clause.agent))]
    rest = _rest(clause, asked)
    time = []
    if clause.time >= 0 and asked != "time":
        time = [Phrase("time", tagged(TABLES["times"][clause.time]))]
    if asked:
        question = _ASKED.get(asked) or ("qué" if clause.verb < 14 or 26 <= clause.verb < 30 else "a quién")
        start = [Phrase("", [Word(part, _TAGS.get(part, "PRON")) for part in question.split()])]
        return [*start, verb, *agent, *rest, *time]
    if fronted(clause) and not subordinate:
        return [*time, *agent, verb, *rest]
    return [*agent, verb, *rest, *time]


def _judgement(clause: Clause) -> list[Phrase]:
    many = clause.agent.plural
    copula = ("eran" if many else "era") if clause.past else "son" if many else "es"
    gender = TABLES["nouns"][clause.agent.concept][0]
    negation = word("no", "PART") if clause.negative else []
    adjective = agree(TABLES["adjectives"][clause.adjective][0], gender, many)
    found = [
        Phrase("theme", noun_phrase(clause.agent)),
        Phrase("verb", negation + word(copula, "AUX")),
        Phrase("judgement", word(adjective, "ADJ")),
    ]
    if clause.judge is None:
        return found
    start = word("piensa", "VERB") + word("que", "SCONJ")
    return [Phrase("judge", noun_phrase(clause.judge)), Phrase("", start), *found]


CONNECTIVES = ("y", "pero", "porque")
