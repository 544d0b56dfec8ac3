"""Rows of sets on the Hub that hold spans, choices, tags and translations, in the columns that their publishers use."""

from __future__ import annotations

import pytest
from hub_rows import CASES, HELLO, WIKIANN_ROW, Row, hub_of, passage, sentence, shaped, span, words

from xlray.errors import InputError
from xlray.tasks import TASKS, Task, check_record
from xlray.tasks.multiple_choice import MULTIPLE_CHOICE
from xlray.tasks.names import NAMES
from xlray.tasks.question_answering import QUESTION_ANSWERING
from xlray.tasks.reading import READING
from xlray.tasks.tagging import TAGGING
from xlray.tasks.targets import TARGETS
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED

FAMILIES = (TARGETS, QUESTION_ANSWERING, MULTIPLE_CHOICE, READING, TAGGING, NAMES)


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
