"""Rows of sets on the Hub as they are there, and the records that they become."""

from __future__ import annotations

from typing import Any

from xlray.tasks import TASKS, Hub, Task

Row = dict[str, Any]


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
