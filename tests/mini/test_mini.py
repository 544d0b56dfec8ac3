"""The embedded world: deterministic, disjoint, well inflected, and its tags and answers where they belong."""

from __future__ import annotations

import dataclasses
import itertools
import random
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path

import embedded_records
import pytest

from xlray.data.encoders import encoder_folder, encoder_vocabulary, read_config
from xlray.mini import (
    ENCODER,
    INTERMEDIATE,
    MINI_TASKS,
    PRETRAINED,
    TARGETS,
    english,
    finnish,
    german,
    russian,
    spanish,
    turkish,
)
from xlray.mini.lexicon import LANGUAGES, NOUNS, SIZES, VERBS
from xlray.mini.realise import text
from xlray.mini.scenes import BUCKETS, Clause, Entity, bucket, draw
from xlray.tasks.task import KINDS, Generated, Record

MODULES = {"en": english, "fi": finnish, "de": german, "es": spanish, "tr": turkish, "ru": russian}
NAMES = ("first_names", "last_names", "places", "organisations")
CONTENT = ("NOUN", "VERB", "ADJ", "ADV", "NUM")


Load = Callable[[str, str], list[Record]]
SAMPLE = 200  # records of each split; `make test-all` looks at all


@cache
def all_records(task: str, key: str) -> list[Record]:
    return embedded_records.load(MINI_TASKS[task], key)


@cache
def first_records(task: str, key: str) -> list[Record]:
    source = MINI_TASKS[task].source
    assert isinstance(source, Generated)
    return list(itertools.islice(source.generate(key), SAMPLE))


@pytest.fixture(params=[first_records, pytest.param(all_records, marks=pytest.mark.slow)])
def records(request: pytest.FixtureRequest) -> Load:
    """Gives the records of a split of a task: the first ones, which are drawn like all others, or all."""
    load: Load = request.param
    return load


def all_splits(*kinds: str) -> list[tuple[str, str]]:
    return [(name, key) for name, task in MINI_TASKS.items() if not kinds or task.kind in kinds for key in task.splits]


@cache
def content_words(language: str) -> set[str]:
    """Words of the tagged sentences of a language, by its own realiser."""
    found: set[str] = set()
    for clause in itertools.islice(draw(random.Random(3), "train"), 3000):
        for phrase in MODULES[language].phrases(clause):
            found |= {item.text.lower() for item in phrase.words if item.upos in CONTENT}
    return found


def test_the_same_seed_gives_the_same_records() -> None:
    for name, key in (("mini_text", "dev/mul"), ("mini_tydiqa", "dev/fi"), ("mini_chunks_de", "dev/de")):
        source = MINI_TASKS[name].source
        assert isinstance(source, Generated)
        assert list(source.generate(key)) == all_records(name, key)


def test_records_are_kept_between_runs_while_the_code_that_makes_them_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_records, "PACKAGE", tmp_path / "package")
    (tmp_path / "package" / "mini").mkdir(parents=True)
    (tmp_path / "cache").mkdir()
    source = tmp_path / "package" / "mini" / "finnish.py"
    source.write_text("a = 1")
    place = embedded_records.kept(tmp_path / "cache")
    place.mkdir()
    assert embedded_records.kept(tmp_path / "cache") == place and place.exists()
    source.write_text("a = 2")
    assert embedded_records.kept(tmp_path / "cache") != place and not place.exists()


def test_ids_are_unique_within_a_split(records: Load) -> None:
    for name, key in all_splits():
        found = records(name, key)
        assert len({record["id"] for record in found}) == len(found)


def test_scenes_of_different_splits_are_disjoint() -> None:
    assert set(itertools.chain(*BUCKETS.values())) == set(range(10))
    assert sum(map(len, BUCKETS.values())) == 10
    found = {split: list(itertools.islice(draw(random.Random(1), split), 2000)) for split in BUCKETS}
    for split, clauses in found.items():
        assert len(set(clauses)) == len(clauses)
        assert all(bucket(clause) in BUCKETS[split] for clause in clauses)


@pytest.mark.parametrize("language", LANGUAGES)
def test_single_sentences_of_different_splits_are_disjoint(language: str) -> None:
    found = {
        split: {text(language, clause) for clause in itertools.islice(draw(random.Random(2), split), 1500)}
        for split in BUCKETS
    }
    for one, other in itertools.combinations(found.values(), 2):
        assert not one & other


def test_names_are_disjoint_between_languages() -> None:
    owner: dict[str, str] = {}
    for language, module in MODULES.items():
        for sort in NAMES:
            for entry in module.TABLES[sort]:
                for form in entry:
                    if len(form) > 1:
                        assert owner.setdefault(form.lower(), language) == language, form


def test_at_most_a_quarter_of_the_content_words_are_shared_between_two_languages() -> None:
    words = {language: content_words(language) for language in LANGUAGES}
    for one, other in itertools.combinations(LANGUAGES, 2):
        shared = len(words[one] & words[other]) / min(len(words[one]), len(words[other]))
        assert shared <= 0.25, (one, other, shared)


def test_there_are_six_languages_and_one_has_another_script() -> None:
    assert len(set(LANGUAGES) - {"en", "fi"}) >= 4
    sample = text("ru", Clause(0, Entity("person", 0), object=Entity("noun", 30)))
    assert all("CYRILLIC" in unicodedata.name(letter) for letter in sample if letter.isalpha())


def test_every_table_is_complete() -> None:
    for language, module in MODULES.items():
        assert {sort: len(rows) for sort, rows in module.TABLES.items()} == SIZES, language


FORMS = """
opettaja genitive opettajan; opettaja allative opettajalle; lääkäri partitive lääkäriä; lääkäri genitive lääkärin
lapsi genitive lapsen; lapsi partitive lasta; lapsi allative lapselle; kuningas genitive kuninkaan
kuningas partitive kuningasta; kuningas allative kuninkaalle; tyttö genitive tytön; tyttö partitive tyttöä
tyttö allative tytölle; nainen genitive naisen; nainen partitive naista; mies genitive miehen; mies partitive miestä
lintu genitive linnun; lintu partitive lintua; kettu genitive ketun; susi genitive suden; susi partitive sutta
hevonen genitive hevosen; hevonen partitive hevosta; leipä genitive leivän; leipä partitive leipää
avain genitive avaimen; avain partitive avainta; vene genitive veneen; vene partitive venettä
pöytä genitive pöydän; pöytä partitive pöytää; paita genitive paidan; kukka genitive kukan; kivi partitive kiveä
laukku genitive laukun; rumpu genitive rummun; veitsi adessive veitsellä; veitsi partitive veistä
köysi adessive köydellä; köysi partitive köyttä; keppi adessive kepillä; vasara adessive vasaralla
puutarha inessive puutarhassa; puutarha illative puutarhaan; puutarha elative puutarhasta; koulu illative kouluun
metsä inessive metsässä; metsä illative metsään; metsä elative metsästä; kirkko inessive kirkossa
kirkko illative kirkkoon; kauppa elative kaupasta; kauppa illative kauppaan; keittiö illative keittiöön
kylä inessive kylässä; torni elative tornista
"""


def test_finnish_nouns_are_inflected_with_gradation_and_harmony() -> None:
    forms = [form.split() for line in FORMS.strip().splitlines() for form in line.split(";")]
    assert len(forms) >= 40
    entries = {entry[0].lstrip("@"): entry for entry in finnish.TABLES["nouns"]}
    for nominative, case, expected in forms:
        assert finnish.inflect(entries[nominative], case) == expected


def test_finnish_names_are_inflected_with_gradation_and_harmony() -> None:
    entries = {entry[0]: entry for sort in (*NAMES, "firms") for entry in finnish.TABLES[sort]}
    for nominative, case, expected in (
        ("Helsinki", "inessive", "Helsingissä"),
        ("Helsinki", "illative", "Helsinkiin"),
        ("Turku", "elative", "Turusta"),
        ("Turku", "illative", "Turkuun"),
        ("Oulu", "inessive", "Oulussa"),
        ("Lahti", "inessive", "Lahdessa"),
        ("Lahti", "illative", "Lahteen"),
        ("Matti", "genitive", "Matin"),
        ("Pekka", "allative", "Pekalle"),
        ("Antti", "partitive", "Anttia"),
        ("Heikki", "genitive", "Heikin"),
        ("Virtanen", "allative", "Virtaselle"),
        ("Nieminen", "partitive", "Niemistä"),
        ("Mäkelä", "genitive", "Mäkelän"),
        ("Pankki", "allative", "Pankille"),
        ("Tehdas", "genitive", "Tehtaan"),
        ("Sampo", "genitive", "Sammon"),
        ("Aurinko", "allative", "Auringolle"),
    ):
        assert finnish.inflect(entries[nominative], case) == expected


def test_finnish_plurals_and_adjectives_agree() -> None:
    entries = {entry[0].lstrip("@"): entry for entry in (*finnish.TABLES["nouns"], *finnish.TABLES["adjectives"])}
    plurals = "kukka kukat; lapsi lapset; kuningas kuninkaat; mies miehet; kirje kirjeet; uusi uudet; halpa halvat"
    for pair in plurals.split(";"):
        nominative, expected = pair.split()
        assert finnish.inflect(entries[nominative], "nominative", True) == expected
    big_dog = Entity("noun", NOUNS.index("dog"), adjective=11)
    assert [word.text for word in finnish.noun_phrase(big_dog, "allative")] == ["isolle", "koiralle"]


def test_finnish_verbs_agree_in_tense_number_and_negation() -> None:
    entries = dict(zip(VERBS, finnish.TABLES["verbs"], strict=True))
    for verb, past, plural, expected in (
        ("buy", False, False, "ostaa"),
        ("buy", True, True, "ostivat"),
        ("sell", False, False, "myy"),
        ("find", False, False, "löytää"),
        ("find", True, False, "löysi"),
        ("see", False, True, "näkevät"),
        ("paint", False, False, "maalaa"),
        ("offer", False, False, "tarjoaa"),
        ("give", False, True, "antavat"),
        ("swim", False, False, "ui"),
        ("sleep", False, False, "nukkuu"),
        ("cry", False, True, "itkevät"),
        ("greet", False, False, "tervehtii"),
        ("rest", False, False, "lepää"),
        ("go", True, True, "menivät"),
    ):
        assert finnish.conjugate(entries[verb], past, plural) == expected
    for verb, past, plural, expected in (
        ("give", False, False, "ei anna"),
        ("give", True, False, "ei antanut"),
        ("wash", True, True, "eivät pesseet"),
        ("sleep", False, True, "eivät nuku"),
        ("see", True, False, "ei nähnyt"),
    ):
        assert " ".join(word.text for word in finnish.negated(entries[verb], past, plural)) == expected


def test_a_sentence_is_told_in_every_language() -> None:
    clause = Clause(
        VERBS.index("give"),
        Entity("noun", NOUNS.index("woman")),
        True,
        object=Entity("noun", NOUNS.index("book"), adjective=16, definite=False),
        recipient=Entity("noun", NOUNS.index("man")),
        time=0,
    )
    assert {language: text(language, clause) for language in LANGUAGES} == {
        "en": "the woman gave a new book to the man yesterday.",
        "fi": "nainen antoi uuden kirjan miehelle eilen.",
        "de": "die Frau gab gestern dem Mann ein neues Buch.",
        "es": "la mujer dio un libro nuevo al hombre ayer.",
        "tr": "kadın dün adama yeni bir kitap verdi.",
        "ru": "женщина дала мужчине новую книгу вчера.",
    }


def test_tags_align_with_tokens_and_are_known(records: Load) -> None:
    for name, key in all_splits("tagging"):
        labels = set(MINI_TASKS[name].labels)
        for record in records(name, key):
            assert len(record["tokens"]) == len(record["tags"])
            assert set(record["tags"]) <= labels
            assert all(token and " " not in token for token in record["tokens"])


def test_names_are_well_formed_and_some_have_two_words(records: Load) -> None:
    tags = [tag for record in records("mini_panx", "dev/fi") for tag in ["O", *record["tags"]]]
    assert {"I-PER", "I-ORG", "B-LOC"} <= set(tags)
    for before, tag in itertools.pairwise(tags):
        assert not tag.startswith("I-") or before[2:] == tag[2:]


def test_answers_are_in_their_context_at_their_offset(records: Load) -> None:
    for name, key in all_splits("span_qa"):
        for record in records(name, key):
            (answer,) = record["answers"]
            end = answer["start"] + len(answer["text"])
            assert answer["text"] and record["context"][answer["start"] : end] == answer["text"]
            assert record["context"][end] in " .,"


def test_labels_are_those_of_their_task(records: Load) -> None:
    for name, key in all_splits("classification"):
        assert {record["label"] for record in records(name, key)} <= set(MINI_TASKS[name].labels), name
    for name, key in all_splits("regression"):
        low, high = MINI_TASKS[name].scale
        found = [record["label"] for record in records(name, key)]
        assert all(low <= label <= high for label in found) and len(set(found)) > 5
    for name, key in all_splits("multiple_choice"):
        assert all(len(set(r["choices"])) == 4 and 0 <= r["label"] < 4 for r in records(name, key))
        assert all(r["choices"][r["label"]] in r["context"] for r in records(name, key))


def test_retrieval_sentences_differ_from_one_another(records: Load) -> None:
    for key in MINI_TASKS["mini_tatoeba"].splits:
        for side in ("text", "text_pair"):
            found = Counter(record[side] for record in records("mini_tatoeba", key))
            assert len(found) == len(records("mini_tatoeba", key))


def texts_of(record: Record) -> str:
    return " ".join(
        str(record.get(field, "")) for field in ("text", "text_pair", "question", "context", "tokens", "choices")
    )


def test_no_intermediate_task_holds_finnish(records: Load) -> None:
    words = content_words("fi") | {form.lower() for sort in NAMES for entry in finnish.TABLES[sort] for form in entry}
    others = set().union(*(content_words(language) for language in LANGUAGES if language != "fi"))
    words = {word for word in words - others if len(word) > 3}
    for name, task in MINI_TASKS.items():
        if task.role == "intermediate":
            assert "fi" not in task.languages and not any(key.endswith("/fi") for key in task.splits)
            seen = {
                token.strip(".,?'[]").lower() for r in records(name, task.splits[0]) for token in texts_of(r).split()
            }
            assert not seen & words, name


def test_intermediate_tasks_cover_kinds_and_languages() -> None:
    found = [task for task in MINI_TASKS.values() if task.role == "intermediate"]
    assert {task.kind for task in found} == set(KINDS) - {"mlm", "retrieval"}
    languages = Counter(task.languages[0] for task in found)
    assert languages["en"] >= 6 and len(found) - languages["en"] >= 6 and len(languages) >= 5


def test_the_tags_of_one_task_do_not_depend_on_the_words() -> None:
    """`mini_chunks_de` is noise by design: every frequent word takes every tag about equally often."""
    tags = defaultdict(Counter)
    for record in all_records("mini_chunks_de", "train/de"):
        for token, tag in zip(record["tokens"], record["tags"], strict=True):
            tags[token][tag] += 1
    frequent = [counts for counts in tags.values() if counts.total() >= 400]
    assert len(frequent) >= 5
    for counts in frequent:
        assert max(counts.values()) < 1.6 * counts.total() / len(MINI_TASKS["mini_chunks_de"].labels)


def test_splits_have_their_sizes(records: Load) -> None:
    most = SAMPLE if records is first_records else 12_000
    for name, task in MINI_TASKS.items():
        for key in task.splits:
            expected = {"intermediate": 2000, "target": 4000, "text": 12_000}[task.role]
            found = len(records(name, key))
            assert found == min(expected, most) if key.startswith("train/") else 200 <= found <= 400


def test_recipes_name_tasks_that_exist() -> None:
    assert set(ENCODER.tasks) <= set(MINI_TASKS)
    assert [target.task for target in TARGETS] == [name for name, task in MINI_TASKS.items() if task.role == "target"]
    assert INTERMEDIATE.max_length + 2 <= ENCODER.architecture.max_positions


def test_the_embedded_encoder_is_an_encoder_folder_of_the_recipes_sizes():
    folder = encoder_folder(PRETRAINED)
    sizes, _ = read_config(folder)
    assert dataclasses.replace(sizes, initializer_range=ENCODER.architecture.initializer_range) == ENCODER.architecture
    assert encoder_vocabulary(folder).size == ENCODER.architecture.vocab_size
    assert sum(path.stat().st_size for path in folder.iterdir()) < 2**20
