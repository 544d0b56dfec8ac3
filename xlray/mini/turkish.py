"""Turkish: verb last, suffixes in vowel harmony, apostrophes after names."""

from __future__ import annotations

from functools import cache

from xlray.mini.lexicon import tables
from xlray.mini.scenes import Clause, Entity, fronted
from xlray.mini.words import Phrase, Word, name, tagged, word

# A noun or verb: the stem, and the stem before a vowel where it differs; a third entry overrides the harmony.
TABLES = tables(
    "tr",
    {
        "nouns": """öğretmen; hekim; çiftçi; çocuk çocuğ; kral; öğrenci; şarkıcı; fırıncı; avcı; yargıç yargıc; kız; kadın;
        adam; kraliçe; misafir; değirmenci; köpek köpeğ; kedi; at; inek ineğ; kuş; tilki; kurt kurd; kitap kitab; top;
        ekmek ekmeğ; elma; balık balığ; mektup mektub; anahtar; araba; kayık kayığ; fincan; lamba; sandalye; masa;
        şapka; gömlek gömleğ; çiçek çiçeğ; taş; para; resim resm; saat saat i; çanta; halı; yumurta; yüzük yüzüğ;
        davul; ayna; kapı; kutu; bıçak bıçağ; çekiç çekic; ip; kaşık kaşığ; fırça; sopa; bahçe; pazar; okul; orman;
        kilise; mutfak mutfağ; dükkân dükkân a; istasyon; kütüphane; köy; hastane; kule""",
        "verbs": """al; sat; bul; kır; kaldır; sakla; yıka; boya; çal; kaybet kaybed; onar; getir; seç; temizle; gör; sev;
        çağır; karşıla; selamla; ara; git gid; gel; koş; yürü; uç; yüz; ver; gönder; göster; sun; uyu; çalış; dinlen;
        ağla; otur; bekle""",
        "adjectives": """iyi; harika; güzel; mükemmel; hoş; kötü; korkunç; çirkin; sıkıcı; yararsız; eski; büyük; küçük;
        güçlü; genç; bilge; yeni; kırmızı; siyah; beyaz; ağır; yeşil; ucuz""",
        "times": """dün/ADV; bugün/ADV; şimdi/ADV; sıkça/ADV; hep/ADV; sabahleyin/ADV; akşamleyin/ADV; geceleyin/ADV;
        kışın/ADV; yazın/ADV""",
        "manners": "hızla; yavaşça; gizlice; yine; memnuniyetle",
        "numbers": "iki; üç; dört",
        "first_names": """Ayşe; Fatma; Zeynep; Elif; Emine; Hatice; Nur; Gül; Ahmet; Mehmet; Mustafa; Murat; Hasan; Emre;
        Osman; Yusuf""",
        "last_names": "Yılmaz; Kaya; Demir; Şahin; Çelik; Yıldız; Öztürk; Aydın; Arslan; Doğan; Kılıç; Polat",
        "places": """Ankara; İstanbul; İzmir; Bursa; Adana; Konya; Antalya; Trabzon; Samsun; Kayseri; Sivas; Malatya;
        Erzurum; Edirne""",
        "organisations": """Anadolu; Marmara; Yıldıztepe; Akdeniz; Altınova; Karadağ; Gökova; Boğaziçi; Çamlıca;
        Yenişehir""",
        "firms": "Banka; Fabrika; Tiyatro; Kulüp",
    },
)

_VOWELS = {"a": "aı", "ı": "aı", "â": "aı", "o": "au", "u": "au", "e": "ei", "i": "ei", "İ": "ei", "ö": "eü", "ü": "eü"}
_SUFFIXES = {
    "nominative": "",
    "accusative": "yI",
    "dative": "yA",
    "locative": "DA",
    "ablative": "DAn",
    "instrumental": "ylA",
}
_ASKED = {
    "agent": "kim",
    "recipient": "kime",
    "destination": "nereye",
    "origin": "nereden",
    "place": "nerede",
    "instrument": "neyle",
    "companion": "kiminle",
    "time": "ne zaman",
}


def _last_vowel(stem: str) -> str:
    return next(letter for letter in reversed(stem.replace("I", "ı")) if letter.lower() in _VOWELS or letter == "İ")


@cache
def attach(stem: str, suffix: str, soft: str = "", harmony: str = "", mark: str = "") -> str:
    """`stem` with `suffix`: A and I harmonise, D assimilates, a leading y stands only after vowels.

    Args:
        stem: the word so far.
        suffix: such as `DAn`, `yI`.
        soft: the stem before a vowel, where it differs.
        harmony: the vowel that decides in place of the last one.
        mark: an apostrophe after a name.
    """
    if not suffix:
        return stem
    vowel = harmony or _last_vowel(stem)
    pair = _VOWELS[vowel if vowel == "İ" else vowel.lower()]
    ends_in_vowel = stem[-1].lower() in _VOWELS
    if suffix[0] == "y" and not ends_in_vowel:
        suffix = suffix[1:]
        stem = soft if soft and suffix[0] in "IA" else stem
    hard = stem[-1] in "fstkçşhp"
    return stem + mark + suffix.replace("A", pair[0]).replace("I", pair[1]).replace("D", "t" if hard else "d")


def conjugate(entry: tuple[str, ...], past: bool, negative: bool) -> str:
    """The third person singular of a verb."""
    stem = entry[0]
    if past:
        return attach(attach(stem, "mA") if negative else stem, "DI")
    if negative:
        return attach(stem, "mI") + "yor"
    if stem[-1] in _VOWELS:
        stem = stem[:-1]
        if not any(letter in _VOWELS for letter in stem):
            stem = entry[0]
    else:
        stem = entry[-1]
    return attach(stem, "I") + "yor"


def noun_phrase(entity: Entity, case: str) -> list[Word]:
    """A noun phrase in a case; an indefinite object stays in the nominative."""
    if entity.kind == "pronoun":
        return word(("o", "o", "onlar")[entity.concept], "PRON")
    if entity.kind != "noun":
        return named(entity, case)
    stem, soft, harmony = (*TABLES["nouns"][entity.concept], "", "")[:3]
    case = case if entity.definite else "nominative"
    if entity.number >= 0:
        return word(TABLES["numbers"][entity.number][0], "NUM") + word(stem, "NOUN")
    if entity.plural:
        stem, soft, harmony = attach(stem, "lAr", "", harmony), "", ""
    words = word(TABLES["adjectives"][entity.adjective][0], "ADJ") if entity.adjective >= 0 else []
    words += [] if entity.definite or entity.plural else word("bir", "DET")
    return words + word(attach(stem, _SUFFIXES[case], soft, harmony), "NOUN")


def named(entity: Entity, case: str) -> list[Word]:
    """The words of a name, with the suffix behind an apostrophe."""
    sort, first, second = {
        "person": ("PER", "first_names", "last_names"),
        "place": ("LOC", "places", ""),
        "organisation": ("ORG", "organisations", "firms"),
    }[entity.kind]
    texts = [TABLES[first][entity.concept][0]]
    texts += [TABLES[second][entity.second][0]] if entity.second >= 0 else []
    texts[-1] = attach(texts[-1], _SUFFIXES[case], mark="'")
    return name(texts, sort)


def _rest(clause: Clause, asked: str) -> list[Phrase]:
    found = []
    for role, case in (
        ("place", "locative"),
        ("instrument", "instrumental"),
        ("origin", "ablative"),
        ("destination", "dative"),
        ("recipient", "dative"),
        ("object", "accusative"),
    ):
        entity = clause.entity(role)
        if entity and asked != role:
            found.append(Phrase(role, noun_phrase(entity, case)))
    if clause.companion and asked != "companion":
        found.insert(0, Phrase("", word("ile", "ADP")))
        found.insert(0, Phrase("companion", noun_phrase(clause.companion, "nominative")))
    if clause.manner >= 0:
        found.append(Phrase("manner", word(TABLES["manners"][clause.manner][0], "ADV")))
    return found


def phrases(clause: Clause, asked: str = "", subordinate: bool = False) -> list[Phrase]:
    """The clause, or the question after one of its roles, whose word stands before the verb."""
    if clause.verb < 0:
        return _judgement(clause)
    verb = Phrase("verb", word(conjugate(TABLES["verbs"][clause.verb], clause.past, clause.negative), "VERB"))
    agent = [] if asked == "agent" else [Phrase("agent", noun_phrase(clause.agent, "nominative"))]
    time = []
    if clause.time >= 0 and asked != "time":
        time = [Phrase("time", tagged(TABLES["times"][clause.time]))]
    start = [*time, *agent] if fronted(clause) and not subordinate else [*agent, *time]
    question = []
    if asked:
        found = _ASKED.get(asked) or ("neyi" if clause.verb < 14 or 26 <= clause.verb < 30 else "kimi")
        tag = "ADV" if asked in ("place", "origin", "destination", "time") else "PRON"
        question = [Phrase("", [Word(part, tag) for part in found.split()])]
    return [*start, *_rest(clause, asked), *question, verb]


def _judgement(clause: Clause) -> list[Phrase]:
    adjective = TABLES["adjectives"][clause.adjective][0]
    found = [Phrase("theme", noun_phrase(clause.agent, "nominative"))]
    if clause.negative:
        negation = word("değildi" if clause.past else "değil", "AUX")
        found += [Phrase("judgement", word(adjective, "ADJ")), Phrase("verb", negation)]
    else:
        ending = "" if not clause.past else "yDI"
        found.append(Phrase("judgement", word(attach(adjective, ending), "ADJ")))
    if clause.judge is None:
        return found
    judge = Phrase("judge", noun_phrase(clause.judge, "dative"))
    return [judge, Phrase("", word("göre", "ADP")), *found]


CONNECTIVES = ("ve", "ama", "çünkü")
