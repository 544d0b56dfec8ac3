"""Russian: six cases by declension class, adjectives and the past in agreement, no articles and no present copula."""

from __future__ import annotations

from functools import cache

from xlray.mini.lexicon import tables
from xlray.mini.scenes import Clause, Entity, fronted
from xlray.mini.words import Phrase, Word, name, tagged, word

# A noun: gender, nominative singular and plural, and the oblique stem where a vowel is lost. `+` takes на, not в.
TABLES = tables(
    "ru",
    {
        "nouns": """m учитель учителя; m врач врачи; m фермер фермеры; m ребёнок дети ребёнк; m король короли;
        m ученик ученики; m певец певцы певц; m пекарь пекари; m охотник охотники; m судья судьи; f девочка девочки;
        f женщина женщины; m мужчина мужчины; f королева королевы; m гость гости; m мельник мельники; f собака собаки;
        f кошка кошки; f лошадь лошади; f корова коровы; f птица птицы; f лиса лисы; m волк волки; f книга книги;
        m мяч мячи; m батон батоны; n яблоко яблоки; f рыба рыбы; n письмо письма; m ключ ключи; f машина машины;
        f лодка лодки; f чашка чашки; f лампа лампы; m стул стулья; m стол столы; f шляпа шляпы; f рубашка рубашки;
        m цветок цветы цветк; m камень камни камн; f монета монеты; f картина картины; m будильник будильники;
        f сумка сумки; m ковёр ковры ковр; n яйцо яйца; n кольцо кольца; m барабан барабаны; n зеркало зеркала;
        f дверь двери; f коробка коробки; m нож ножи; m молоток молотки молотк; f верёвка верёвки; f ложка ложки;
        f щётка щётки; f палка палки; m огород огороды; m+ рынок рынки рынк; f школа школы; f роща рощи;
        f церковь церкви церкв; f кухня кухни; m магазин магазины; m+ вокзал вокзалы; f библиотека библиотеки;
        f деревня деревни; f больница больницы; f башня башни""",
        "verbs": """покупает покупают купил; продаёт продают продал; обнаруживает обнаруживают обнаружил;
        ломает ломают сломал; поднимает поднимают поднял; прячет прячут спрятал; моет моют вымыл;
        красит красят покрасил; крадёт крадут украл; теряет теряют потерял; чинит чинят починил;
        забирает забирают забрал;
        выбирает выбирают выбрал; чистит чистят почистил; видит видят видел; любит любят любил; зовёт зовут звал;
        встречает встречают встретил; приветствует приветствуют приветствовал; ищет ищут искал; ходит ходят ходил;
        приходит приходят приходил; бежит бегут бежал; шагает шагают шагал; летит летят летел; плывёт плывут плыл;
        даёт дают дал; посылает посылают послал; показывает показывают показал; предлагает предлагают предложил;
        спит спят спал; работает работают работал; отдыхает отдыхают отдыхал; плачет плачут плакал; живёт живут жил;
        ждёт ждут ждал""",
        "adjectives": """хороший; чудесный; красивый; превосходный; приятный; плохой; ужасный; уродливый; скучный;
        бесполезный; старый; большой; маленький; сильный; молодой; мудрый; новый; красный; чёрный; белый; тяжёлый;
        зелёный; дешёвый""",
        "times": """вчера/ADV; сегодня/ADV; сейчас/ADV; часто/ADV; всегда/ADV; утром/NOUN; вечером/NOUN; ночью/NOUN;
        зимой/NOUN; летом/NOUN""",
        "manners": "быстро; медленно; тайно; снова; охотно",
        "numbers": "два; три; четыре",
        "first_names": """f Анна; f Ольга; f Наталья; f Елена; f Татьяна; f Ирина; f Светлана; f Людмила; m Иван; m Борис;
        m Сергей; m Андрей; m Николай; m Олег; m Антон; m Максим""",
        "last_names": """Шевченко; Бондаренко; Кравченко; Ткаченко; Черных; Седых; Долгих; Павленко; Руденко; Марченко;
        Лысенко; Дурново""",
        "places": """f Москва; f Самара; f Казань; m Омск; f Пермь; f Тула; f Рязань; m Воронеж; m Псков; f Тверь; f Калуга;
        m Саратов; m Новгород; f Уфа""",
        "organisations": """m Сокол; f Заря; m Маяк; m Восток; m Родник; m Прогресс; f Победа; f Радуга; m Вымпел;
        m Горизонт""",
        "firms": "m Банк; m Завод; m Театр; m Клуб",
    },
)

# Endings after the stem: genitive, dative, instrumental, prepositional; the accusative follows from them.
_ENDINGS = {
    "hard": ("а", "у", "ом", "е"),
    "soft": ("я", "ю", "ем", "е"),
    "a": ("ы", "е", "ой", "е"),
    "ya": ("и", "е", "ей", "е"),
    "sign": ("и", "и", "ью", "и"),
}
_CASES = ("genitive", "dative", "instrumental", "prepositional")
_ASKED = {
    "agent": "кто",
    "recipient": "кому",
    "destination": "куда",
    "origin": "откуда",
    "place": "где",
    "instrument": "чем",
    "companion": "с кем",
    "time": "когда",
}


def _declension(gender: str, nominative: str) -> tuple[str, str]:
    """(stem, class) of a noun."""
    last = nominative[-1]
    if last in "ая":
        return nominative[:-1], "a" if last == "а" else "ya"
    if last == "ь" and gender == "f":
        return nominative[:-1], "sign"
    if last in "ьй":
        return nominative[:-1], "soft"
    return nominative.rstrip("о"), "hard"


@cache
def inflect(gender: str, nominative: str, case: str, animate: bool = False, oblique: str = "") -> str:
    """A noun in the singular of a case."""
    stem, sort = _declension(gender, nominative)
    if case == "accusative":
        if sort in ("a", "ya"):
            return stem + ("у" if sort == "a" else "ю")
        if gender != "m" or not animate:
            return nominative
        case = "genitive"
    if case == "nominative":
        return nominative
    if sort == "sign" and case == "instrumental":
        return nominative + "ю"
    stem = oblique or stem
    ending = _ENDINGS[sort][_CASES.index(case)]
    if ending == "ы" and stem[-1] in "гкхжшчщ":
        ending = "и"
    if ending == "ой" and stem[-1] in "жшчщц":
        ending = "ей"
    return stem + ending


_HIS = {"genitive": "ого", "dative": "ому", "instrumental": "ым", "prepositional": "ом"}
_HERS = dict.fromkeys(_HIS, "ой")
_ADJECTIVE = {
    "m": {"nominative": "ый", **_HIS},
    "n": {"nominative": "ое", **_HIS},
    "f": {"nominative": "ая", "accusative": "ую", **_HERS},
}


@cache
def agree(adjective: str, gender: str, case: str, plural: bool, animate: bool) -> str:
    """An adjective in agreement."""
    stem, own = adjective[:-2], adjective[-2:]
    if plural:
        ending = "ые"
    elif gender != "f" and case == "accusative":
        return agree(adjective, gender, "genitive" if animate and gender == "m" else "nominative", False, animate)
    else:
        ending = own if (gender, case) == ("m", "nominative") else _ADJECTIVE[gender][case]
    if stem[-1] in "гкхжшчщ":
        ending = ending.replace("ы", "и")
    if stem[-1] in "жшчщ" and own == "ий" and ending[0] == "о":
        ending = "е" + ending[1:]
    return stem + ending


def _gender(entity: Entity) -> str:
    if entity.kind == "noun":
        return TABLES["nouns"][entity.concept][0][0]
    if entity.kind == "organisation":
        entry = TABLES["firms"][entity.second] if entity.second >= 0 else TABLES["organisations"][entity.concept]
        return entry[0]
    return "f" if entity.female else "m"


def noun_phrase(entity: Entity, case: str) -> list[Word]:
    """A noun phrase in a case; plural objects are things, so that their accusative is the nominative."""
    if entity.kind == "pronoun":
        return word(("он", "она", "они")[entity.concept], "PRON")
    if entity.kind != "noun":
        return named(entity, case)
    sort, nominative, plural, *rest = TABLES["nouns"][entity.concept]
    gender, animate, oblique = sort[0], entity.concept < 23, rest[0] if rest else ""
    if entity.number >= 0:
        number = TABLES["numbers"][entity.number][0]
        number = "две" if number == "два" and gender == "f" else number
        return word(number, "NUM") + word(inflect(gender, nominative, "genitive", animate, oblique), "NOUN")
    text = plural if entity.plural else inflect(gender, nominative, case, animate, oblique)
    if entity.adjective < 0:
        return word(text, "NOUN")
    attribute = agree(TABLES["adjectives"][entity.adjective][0], gender, case, entity.plural, animate)
    return word(attribute, "ADJ") + word(text, "NOUN")


def named(entity: Entity, case: str) -> list[Word]:
    """The words of a name; these last names have no cases, and of a firm only the last word is inflected."""
    if entity.kind == "place":
        return name([inflect(*TABLES["places"][entity.concept], case)], "LOC")
    if entity.kind == "person":
        texts = [inflect(*TABLES["first_names"][entity.concept], case, True)]
        return name(texts + ([TABLES["last_names"][entity.second][0]] if entity.second >= 0 else []), "PER")
    entry = TABLES["organisations"][entity.concept]
    if entity.second < 0:
        return name([inflect(*entry, case)], "ORG")
    return name([entry[1], inflect(*TABLES["firms"][entity.second], case)], "ORG")


def _led(role: str, entity: Entity) -> Phrase:
    """A phrase with its preposition."""
    on = entity.kind == "noun" and TABLES["nouns"][entity.concept][0].endswith("+")
    preposition, case = {
        "place": ("на" if on else "в", "prepositional"),
        "destination": ("на" if on else "в", "accusative"),
        "origin": ("с" if on else "из", "genitive"),
        "companion": ("с", "instrumental"),
    }[role]
    return Phrase(role, word(preposition, "ADP") + noun_phrase(entity, case), 1)


def _rest(clause: Clause, asked: str) -> list[Phrase]:
    found = []
    for role, case in (("recipient", "dative"), ("object", "accusative"), ("instrument", "instrumental")):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(Phrase(role, noun_phrase(entity, case)))
    for role in ("origin", "destination", "place", "companion"):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(_led(role, entity))
    return found


def _past(text: str, entity: Entity | None) -> str:
    if entity is None:
        return text
    if entity.is_plural:
        return text + "и"
    return text + {"f": "а", "m": "", "n": "о"}[_gender(entity)]


def phrases(clause: Clause, asked: str = "", subordinate: bool = False) -> list[Phrase]:
    """The clause, or the question after one of its roles."""
    if clause.verb < 0:
        return _judgement(clause)
    singular, plural, past = TABLES["verbs"][clause.verb]
    many = clause.agent.is_plural and asked != "agent"
    finite = _past(past, None if asked == "agent" else clause.agent) if clause.past else plural if many else singular
    negation = word("не", "PART") if clause.negative else []
    verb = Phrase("verb", negation + word(finite, "VERB"), len(negation))
    agent = [] if asked == "agent" else [Phrase("agent", noun_phrase(clause.agent, "nominative"))]
    manner = []
    if clause.manner >= 0:
        manner = [Phrase("manner", word(TABLES["manners"][clause.manner][0], "ADV"))]
    rest = _rest(clause, asked)
    time = []
    if clause.time >= 0 and asked != "time":
        time = [Phrase("time", tagged(TABLES["times"][clause.time]))]
    if asked:
        question = _ASKED.get(asked) or ("что" if clause.verb < 14 or 26 <= clause.verb < 30 else "кого")
        tags = {"с": "ADP", "куда": "ADV", "откуда": "ADV", "где": "ADV", "когда": "ADV"}
        start = [Phrase("", [Word(part, tags.get(part, "PRON")) for part in question.split()])]
        return [*start, *agent, *manner, verb, *rest, *time]
    if fronted(clause) and not subordinate:
        return [*time, *agent, *manner, verb, *rest]
    return [*agent, *manner, verb, *rest, *time]


def _judgement(clause: Clause) -> list[Phrase]:
    gender, many = _gender(clause.agent), clause.agent.plural
    words = word("не", "PART") if clause.negative else []
    words += word(_past("был", clause.agent), "AUX") if clause.past else []
    found = [Phrase("theme", noun_phrase(clause.agent, "nominative"))]
    found += [Phrase("verb", words)] if words else []
    adjective = agree(TABLES["adjectives"][clause.adjective][0], gender, "nominative", many, False)
    found.append(Phrase("judgement", word(adjective, "ADJ")))
    if clause.judge is None:
        return found
    start = word("думает", "VERB") + word(",", "PUNCT") + word("что", "SCONJ")
    return [Phrase("judge", noun_phrase(clause.judge, "nominative")), Phrase("", start), *found]


CONNECTIVES = ("и", "но", "ибо")
