"""Rows of sets on the Hub that hold spans, choices, tags and translations, in the columns that their publishers use."""

from __future__ import annotations

from typing import Any

import pytest

from xlray.errors import InputError
from xlray.tasks import TASKS, Hub, Task, check_record
from xlray.tasks.multiple_choice import MULTIPLE_CHOICE
from xlray.tasks.names import NAMES
from xlray.tasks.question_answering import QUESTION_ANSWERING
from xlray.tasks.reading import READING
from xlray.tasks.tagging import TAGGING
from xlray.tasks.targets import TARGETS
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED

Row = dict[str, Any]
FAMILIES = (TARGETS, QUESTION_ANSWERING, MULTIPLE_CHOICE, READING, TAGGING, NAMES)
WORDS = ["Anna", "Berg", "lives", "in", "Oslo", "."]


def hub_of(task: Task) -> Hub | None:
    return task.source if isinstance(task.source, Hub) else task.hub


def shaped(name: str, row: Row, split: str = "") -> Row | None:
    """What the row becomes, repaired as its task says."""
    task = TASKS[name]
    hub = hub_of(task)
    assert hub is not None
    fields = hub.shape_of(split)(row, "here")
    return fields if fields is None or task.repair is None else task.repair(fields)


def passage(answers: Any = None, **more: Any) -> Row:
    """A row of SQuAD: the answer stands at character 8."""
    answers = {"text": ["Oslo"], "answer_start": [8]} if answers is None else answers
    return {"id": "1", "title": "T", "context": "Anna in Oslo.", "question": "Where?", "answers": answers, **more}


def span(*answers: tuple[str, int]) -> Row:
    found = [{"text": text, "start": start} for text, start in answers]
    return {"question": "Where?", "context": "Anna in Oslo.", "answers": found}


OSLO = span(("Oslo", 8))
NONE = span()


def picked(question: str, choices: list[str], label: int, context: str = "") -> Row:
    return {"context": context, "question": question, "choices": choices, "label": label}


def sentence(tags: list[Any], column: str = "ner_tags", **more: Any) -> Row:
    return {"id": "0", "tokens": WORDS, column: tags, **more}


def words(*tags: str) -> Row:
    return {"tokens": WORDS, "tags": list(tags)}


PERSON_AND_PLACE = words("B-PER", "I-PER", "O", "O", "B-LOC", "O")
CONLL_ROW = sentence([1, 2, 0, 0, 5, 0])
WIKIANN_ROW = {"tokens": WORDS, "ner_tags": [1, 2, 0, 0, 5, 0], "langs": ["xx"] * 6}
UPOS_ROW = {"tokens": WORDS, "pos_tags": [11, 11, 15, 1, 11, 12]}
UPOS_WORDS = words("PROPN", "PROPN", "VERB", "ADP", "PROPN", "PUNCT")
LETTERS = {"label": ["A", "B"], "text": ["pen", "cup"]}
PEN_OR_CUP = ["pen", "cup"]
COPA = {"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect", "idx": 0, "label": 0}
EXAM = {"stem": "Which?", "choices": {"text": ["pen", "cup"], "label": ["A", "B"], "para": ["", ""]}}
EXAM_ROW = {"id": "e", "question": EXAM, "answerKey": "B", "info": {"grade": 12, "subject": "S", "language": "L"}}
FACTS = {"paragraph": "Anna is in Oslo.", "question": "Where?", "answer": "In Oslo.", "idx": {"paragraph": 0}}
RIGHT = {"text": "Anna is in Oslo.", "text_pair": "Where? In Oslo.", "label": "right"}
PAIR = {
    "source_sentence": "Hei.\n",
    "target_sentence": "Hello.\n",
    "source_lang": "fin",
    "target_lang": "eng",
}
HELLO = {"text": "Hello.", "text_pair": "Hei."}

# Name of the task, or task and split where splits differ in shape: a row as published, and the record without its id.
CASES: dict[str, tuple[Row, Row]] = {
    "udpos": (UPOS_ROW, UPOS_WORDS),
    "udpos_ja": (UPOS_ROW, UPOS_WORDS),
    "udpos_zh": (UPOS_ROW, UPOS_WORDS),
    "panx": (WIKIANN_ROW, PERSON_AND_PLACE),
    "panx_es": (WIKIANN_ROW, PERSON_AND_PLACE),
    "panx_ru": (WIKIANN_ROW, PERSON_AND_PLACE),
    "tydiqa train/en": (passage(id="english-1"), OSLO),
    "tydiqa dev/en": (passage(id="english-1"), OSLO),
    "tydiqa dev/fi": (passage(id="finnish-1"), OSLO),
    "tydiqa test/fi": (passage(id="finnish-1"), OSLO),
    "tydiqa dev/ru": (passage(id="russian-1"), OSLO),
    "tydiqa dev/ko": (passage(id="korean-1"), OSLO),
    "tydiqa dev/ar": (passage(id="arabic-1"), OSLO),
    "tydiqa dev/bn": (passage(id="bengali-1"), OSLO),
    "tydiqa dev/id": (passage(id="indonesian-1"), OSLO),
    "tydiqa dev/sw": (passage(id="swahili-1"), OSLO),
    "tydiqa dev/te": (passage(id="telugu-1"), OSLO),
    "tydiqa_ko": (passage(id="korean-1"), OSLO),
    "tydiqa_sw": (passage(id="swahili-1"), OSLO),
    "tatoeba": (PAIR, HELLO),
    "squad": (passage(), OSLO),
    "squad_v2": (passage({"text": [], "answer_start": []}), NONE),
    "adversarial_qa": (passage(metadata={"split": "train", "model_in_the_loop": "Combined"}), OSLO),
    "korquad_ko": (passage(), OSLO),
    "klue_mrc": (
        passage(news_category="", source="wikipedia", guid="g", is_impossible=True, question_type=3),
        NONE,
    ),
    "cmrc2018_zh": (passage(), OSLO),
    "jsquad_ja": (passage([{"text": "Oslo", "answer_start": 8}], is_impossible=False), OSLO),
    "sberquad_ru": (passage(id=1), OSLO),
    "germanquad_de": (passage(id=1), OSLO),
    "piaf_fr": (passage(), OSLO),
    "squad_it": (passage({"text": ["Oslo"], "answer_start": [3]}), OSLO),
    "squad_es": (passage(), OSLO),
    "tquad_tr": (passage([{"text": "Oslo", "answer_start": 8, "answer_id": 1}]), OSLO),
    "viquad_vi": (
        passage(uit_id="u", is_impossible=False, plausible_answers={"text": [], "answer_start": []}),
        OSLO,
    ),
    "arcd_ar": (passage(), OSLO),
    "copa_en": (COPA, picked("What happened as a result?", ["Wet.", "Dry."], 0, "It rained.")),
    "hellaswag": (
        {"ind": 1, "activity_label": "A", "ctx_a": "He", "ctx_b": "", "ctx": "He", "endings": PEN_OR_CUP}
        | {"source_id": "s", "split": "train", "split_type": "indomain", "label": "1"},
        picked("He", PEN_OR_CUP, 1),
    ),
    "swag": (
        {"video-id": "v", "fold-ind": "1", "startphrase": "He sat. He", "sent1": "He sat.", "sent2": "He"}
        | {"gold-source": "gold", "ending0": "a", "ending1": "b", "ending2": "c", "ending3": "d", "label": 2},
        picked("He sat. He", ["a", "b", "c", "d"], 2),
    ),
    "commonsenseqa": (
        {"id": "1", "question": "Which?", "question_concept": "c", "choices": LETTERS, "answerKey": "B"},
        picked("Which?", PEN_OR_CUP, 1),
    ),
    "social_iqa": (
        {"context": "C.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c", "label": "3"},
        picked("Why?", ["a", "b", "c"], 2, "C."),
    ),
    "piqa": ({"goal": "Write.", "sol1": "pen", "sol2": "cup", "label": 0}, picked("Write.", PEN_OR_CUP, 0)),
    "winogrande": (
        {"sentence": "Ann sees Eve, so _ waves.", "option1": "Ann", "option2": "Eve", "answer": "2"},
        picked("Ann sees Eve, so _ waves.", ["Ann waves.", "Eve waves."], 1),
    ),
    "openbookqa": (
        {"id": "1", "question_stem": "Which?", "choices": LETTERS, "answerKey": "A"},
        picked("Which?", PEN_OR_CUP, 0),
    ),
    "arc_easy": (
        {"id": "1", "question": "Which?", "choices": {"text": PEN_OR_CUP, "label": ["1", "2"]}, "answerKey": "2"},
        picked("Which?", PEN_OR_CUP, 1),
    ),
    "race": (
        {"example_id": "h", "article": "C.", "answer": "B", "question": "Which?", "options": PEN_OR_CUP},
        picked("Which?", PEN_OR_CUP, 1, "C."),
    ),
    "cosmosqa": (
        {"id": "1", "context": "C.", "question": "Why?", "answer0": "a", "answer1": "b", "answer2": "c"}
        | {"answer3": "d", "label": 3},
        picked("Why?", ["a", "b", "c", "d"], 3, "C."),
    ),
    "quail": (
        {"id": "1", "context_id": "c", "question_id": "1", "domain": "news", "metadata": {"author": "", "title": ""}}
        | {"context": "C.", "question": "Why?", "question_type": "Causality", "answers": PEN_OR_CUP}
        | {"correct_answer_id": 1},
        picked("Why?", PEN_OR_CUP, 1, "C."),
    ),
    "sciq": (
        {"question": "What?", "distractor3": "salt", "distractor1": "air", "distractor2": "wood"}
        | {"correct_answer": "iron", "support": ""},
        picked("What?", ["air", "iron", "salt", "wood"], 1),
    ),
    "multirc": (FACTS | {"label": 1}, RIGHT),
    "muserc_ru": (FACTS | {"label": 0}, RIGHT | {"label": "wrong"}),
    "exams_bg": (EXAM_ROW, picked("Which?", PEN_OR_CUP, 1)),
    "exams_hu": (EXAM_ROW, picked("Which?", PEN_OR_CUP, 1)),
    "exams_pl": (EXAM_ROW, picked("Which?", PEN_OR_CUP, 1)),
    "masakhaner_swa": (CONLL_ROW, PERSON_AND_PLACE),
    "masakhaner_hau": (CONLL_ROW, PERSON_AND_PLACE),
    "masakhaner_yor": (sentence([7, 8, 0, 0, 3, 0]), words("B-DATE", "I-DATE", "O", "O", "B-ORG", "O")),
    "conll2003": (
        sentence([1, 2, 0, 0, 7, 0], pos_tags=[22] * 6, chunk_tags=[11] * 6),
        words("B-PER", "I-PER", "O", "O", "B-MISC", "O"),
    ),
    "wnut17": (sentence([9, 10, 0, 0, 3, 0]), words("B-person", "I-person", "O", "O", "B-creative-work", "O")),
    "bc2gm": (sentence([1, 2, 0, 0, 1, 0]), words("B-GENE", "I-GENE", "O", "O", "B-GENE", "O")),
    "conll2002_es": (sentence([1, 2, 0, 0, 5, 0], pos_tags=[4] * 6), PERSON_AND_PLACE),
    "conll2002_nl": (sentence([1, 2, 0, 0, 5, 0], pos_tags=[4] * 6), PERSON_AND_PLACE),
    "germeval2014_de": (
        sentence([19, 20, 0, 0, 3, 0], source="n-tv.de", nested_ner_tags=[0] * 6),
        words("B-PER", "I-PER", "O", "O", "B-LOCderiv", "O"),
    ),
    "estner_et": (
        {"doc_id": "d", "sent_id": "s", "tokens": WORDS, "ner_tags_2": ["O"] * 6, "ner_tags_3": ["O"] * 6}
        | {"ner_tags": ["B-PER", "I-PER", "O", "O", "B-GPE", "O"]},
        words("B-PER", "I-PER", "O", "O", "B-GPE", "O"),
    ),
    "swedish_ner_sv": (sentence([4, 4, 0, 0, 1, 0]), PERSON_AND_PLACE),
    "klue_ner": (
        {"sentence": "<A:PS> B", "tokens": ["A", " ", "B"], "ner_tags": [6, 12, 3]},
        {"tokens": ["A", "B"], "tags": ["B-PS", "B-LC"]},
    ),
    "wikineural_pl": ({"tokens": WORDS, "ner_tags": [1, 2, 0, 0, 5, 0], "lang": "pl"}, PERSON_AND_PLACE),
    "wikineural_pt": ({"tokens": WORDS, "ner_tags": [1, 2, 0, 0, 5, 0], "lang": "pt"}, PERSON_AND_PLACE),
    "wikineural_nl": ({"tokens": WORDS, "ner_tags": [1, 2, 0, 0, 5, 0], "lang": "nl"}, PERSON_AND_PLACE),
}


@pytest.mark.parametrize("case", CASES)
def test_a_published_row_becomes_a_record(case: str) -> None:
    name, _, split = case.partition(" ")
    row, record = CASES[case]
    fields = shaped(name, row, split)
    assert fields == record
    check_record(TASKS[name], {"id": "x"} | fields, "here")


def test_every_set_on_the_hub_has_a_row_here() -> None:
    wanted = set()
    for task in (task for family in FAMILIES for task in family):
        if (hub := hub_of(task)) is not None:
            wanted |= {f"{task.name} {split}" for split in hub.shapes} or {task.name}
    assert wanted == CASES.keys()


@pytest.mark.parametrize("task", [t for family in FAMILIES for t in family if hub_of(t)], ids=lambda task: task.name)
def test_where_a_set_comes_from_is_honest(task: Task) -> None:
    hub = hub_of(task)
    assert hub is not None
    assert set(hub.configs) <= set(hub.splits) and set(hub.shapes) <= set(hub.splits)
    if hub.revision is None:
        assert UNPINNED in task.notes
    elif hub.revision == CONVERTED:
        assert CONVERSION in task.notes or "conversion of a script" in task.notes
    else:
        assert len(hub.revision) == 40 and set(hub.revision) <= set("0123456789abcdef")


def test_splits_of_a_target_lie_in_the_configuration_of_their_language() -> None:
    udpos, panx, tatoeba = (hub_of(TASKS[name]) for name in ("udpos", "panx", "tatoeba"))
    assert udpos and panx and tatoeba
    assert (udpos.splits["train/en"], udpos.config_of("train/en")) == ("train", "udpos.English")
    assert (udpos.splits["test/fi"], udpos.config_of("test/fi")) == ("test", "udpos.Finnish")
    assert (panx.splits["dev/et"], panx.config_of("dev/et")) == ("validation", "PAN-X.et")
    assert tatoeba.config_of("all/hu") == "tatoeba.hun"


@pytest.mark.parametrize("name", ["udpos", "panx", "tydiqa", "tatoeba"])
def test_a_target_trains_on_english_alone_and_evaluates_finnish_first(name: str) -> None:
    task = TASKS[name]
    assert [split for split in task.splits if split.startswith("train/")] == ([] if name == "tatoeba" else ["train/en"])
    assert task.languages[:2] == ("en", "fi")
    evaluated = [split.split("/")[1] for split in task.splits if split[:4] in ("dev/", "all/")]
    assert next(language for language in evaluated if language != "en") == "fi"


def test_finnish_of_tydiqa_is_trained_on_by_nobody() -> None:
    hub = hub_of(TASKS["tydiqa"])
    assert hub is not None
    assert (hub.splits["dev/fi"], hub.splits["test/fi"]) == ("train", "validation")
    for name, split in (("tydiqa", "train/en"), ("tydiqa_ko", "train/ko"), ("tydiqa_sw", "train/sw")):
        assert shaped(name, passage(id="finnish-1"), split) is None


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("cosmosqa", {"label": -1}),
        ("swag", {"label": -1}),
        ("hellaswag", {"label": ""}),
        ("piqa", {"label": -1}),
        ("winogrande", {"answer": ""}),
        ("commonsenseqa", {"answerKey": ""}),
        ("multirc", {"label": -1}),
        ("exams_bg", {"answerKey": "@"}),
        ("race", {"question": " "}),
        ("squad_it", {"question": " "}),
        ("squad_it", {"answers": {"text": ["Bergen"], "answer_start": [8]}}),
        ("squad_it", {"answers": {"text": ["n"], "answer_start": [0]}}),  # stands in three places
        ("sberquad_ru", {"answers": {"text": [""], "answer_start": [-1]}}),
        ("bc2gm", {"tokens": [], "ner_tags": []}),
        ("klue_ner", {"tokens": [" "], "ner_tags": [12]}),
    ],
)
def test_rows_without_gold_are_left_out(name: str, changes: Row) -> None:
    assert shaped(name, CASES[name][0] | changes) is None


def test_one_answer_off_its_place_does_not_take_the_others_along() -> None:
    answers = {"text": ["Oslo", "Bergen", "Anna"], "answer_start": [8, 0, 4]}
    assert shaped("squad_it", passage(answers)) == span(("Oslo", 8), ("Anna", 0))


def test_tags_are_made_to_begin_where_they_begin() -> None:
    assert shaped("conll2003", sentence([2, 2, 0, 0, 6, 4])) == words("B-PER", "I-PER", "O", "O", "B-LOC", "B-ORG")
    assert shaped("swedish_ner_sv", sentence([4, 1, 1, 0, 2, 2])) == words(
        "B-PER", "B-LOC", "I-LOC", "O", "B-MISC", "I-MISC"
    )


def test_english_is_first_whichever_side_it_is_on() -> None:
    turned = {"source_sentence": "Hello.", "target_sentence": "Hei.", "source_lang": "eng", "target_lang": "fin"}
    assert shaped("tatoeba", turned, "all/fi") == HELLO


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("squad", {"answers": {"text": [], "answer_start": []}}, "here: a question must have an answer"),
        ("squad", {"answers": {"text": ["Oslo"], "answer_start": []}}, "the lists of 'answers' must be of one length"),
        ("squad", {"answers": {"text": [3], "answer_start": [8]}}, "'text' must be of type str"),
        ("squad", {"answers": "Oslo"}, "'answers' must be of type dict or list"),
        ("squad", {"context": None}, "'context' must be of type str"),
        ("klue_mrc", {"is_impossible": None}, "'is_impossible' must be of type bool"),
        ("udpos", {"pos_tags": [0]}, "'pos_tags' must hold a tag for each of 6 tokens, but got '1 tags'"),
        ("udpos", {"pos_tags": [17] * 6}, "'pos_tags' must hold numbers of 17 tags, but got 17"),
        ("udpos", {"pos_tags": [-1] * 6}, "'pos_tags' must hold numbers of 17 tags, but got -1"),
        ("udpos", {"pos_tags": ["NOUN"] * 6}, "'pos_tags' must hold numbers"),
        ("estner_et", {"ner_tags": [0] * 6}, "'ner_tags' must hold texts, but got 0"),
        ("race", {"answer": "C"}, "'answer' must be one of A, B, but got 'C'"),
        ("race", {"options": [1, 2]}, "a JSON object must be here, but got 1"),
        ("commonsenseqa", {"answerKey": None}, "'answerKey' must be of type str"),
        ("social_iqa", {"label": "4"}, "'label' must be the number of one of 3 choices from 1, but got '4'"),
        ("quail", {"answers": None}, "'answers' must be of type list"),
        ("winogrande", {"sentence": "No blank."}, "'sentence' must hold a blank `_`"),
        ("sciq", {"distractor2": None}, "'distractor2' must be of type str"),
        ("multirc", {"label": 2}, "the label must be one of 0, 1"),
        ("exams_bg", {"question": "Which?"}, "'question' must be of type dict"),
        ("tatoeba", {"source_lang": None}, "'source_lang' must be of type str"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_in_one_line(name: str, changes: Row, message: str) -> None:
    with pytest.raises(InputError) as error:
        shaped(name, CASES[name][0] | changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_tagged_records_break_no_law_unseen() -> None:
    fields = shaped("panx", WIKIANN_ROW | {"ner_tags": [2, 0, 0, 0, 0, 0]})
    assert fields is not None
    with pytest.raises(InputError, match="the tags must be IOB2"):
        check_record(TASKS["panx"], {"id": "x"} | fields, "here")
