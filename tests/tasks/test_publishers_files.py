"""Multiple choice, span QA and tagging from their publishers' files: small files in those layouts, made here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hub_rows import CASES, WORDS, shaped

from xlray import pools
from xlray.errors import InputError
from xlray.tasks import TASKS, Files, Record, available, load_records
from xlray.tasks.lines import Remarks
from xlray.tasks.repairs import begun_spans, placed_answers, spans_of_characters, spans_of_types

KINDS = ("multiple_choice", "span_qa", "tagging")
# estner_et joins two sets of its publisher; viquad_vi is handed out on request.
HUB_ALONE = {"estner_et", "viquad_vi"}

PASSAGE = "Anna in Oslo."
QUESTION: dict[str, Any] = {
    "id": "1",
    "question": "Where?",
    "answers": [{"text": "Oslo", "answer_start": 8}],
}


def squad_text(*questions: dict[str, Any], context: str = PASSAGE, **paragraph: Any) -> str:
    asked = list(questions) or [QUESTION]
    return json.dumps({"data": [{"title": "T", "paragraphs": [{"context": context, "qas": asked, **paragraph}]}]})


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def sentences(*lists: list[str], form: str = "{word}\t{tag}", end: str = "\n") -> str:
    return end.join(
        "".join(
            form.format(number=i, word=word, tag=tag) + "\n"
            for i, (word, tag) in enumerate(zip(WORDS, tags, strict=True), 1)
        )
        for tags in lists
    )


NAMES = ["B-PER", "I-PER", "O", "O", "B-LOC", "O"]
UPOS = ["PROPN", "PROPN", "VERB", "ADP", "PROPN", "PUNCT"]
EXAM = {"stem": "Which?", "choices": [{"text": "pen", "label": "A"}, {"text": "cup", "label": "B"}]}
EXAM_LINE = lines({"id": "e", "question": EXAM, "answerKey": "B"})
SOCIAL = {"context": "C.", "question": "Why?", "answerA": "a", "answerB": "b", "answerC": "c"}
PIQA = lines({"goal": "Write.", "sol1": "pen", "sol2": "cup"})
COPA = {"premise": "It rained.", "choice1": "Wet.", "choice2": "Dry.", "question": "effect", "label": 0, "idx": 0}
KLUE_HEADER = "## 토큰 : \t\n## 토큰 : \\n\n## 문장 : \\n\\n\n## 주석 : ##\n## 컬럼명 : CHAR\tNE_TAG\n"

# The training files of each task as its publisher lays them out, with the example of its case of the Hub.
LAYOUTS: dict[str, dict[str, str]] = {
    "udpos_ja": {"train-ja.tsv": sentences(UPOS)},
    "udpos_zh": {"train-zh.tsv": sentences(UPOS)},
    "panx_es": {"train-es.tsv": sentences(NAMES, form="es:{word}\t{tag}")},
    "panx_ru": {"train-ru.tsv": sentences(NAMES, form="ru:{word}\t{tag}")},
    **{
        f"tydiqa_{code}": {f"{name}_tydiqa_train.json": squad_text()}
        for code, name in (("ko", "korean"), ("sw", "swahili"))
    },
    "squad": {"train-v1.1.json": squad_text()},
    "squad_v2": {
        "train-v2.0.json": squad_text(
            {"id": "1", "question": "Where?", "is_impossible": True, "answers": []}
            | {"plausible_answers": [{"text": "Oslo", "answer_start": 8}]},
            QUESTION | {"id": "2"},
        )
    },
    "adversarial_qa": {"combined/train.json": squad_text(QUESTION | {"question": "Where? "})},
    "korquad_ko": {"KorQuAD_v1.0_train.json": squad_text()},
    "klue_mrc": {
        "klue-mrc-v1.1_train.json": squad_text(
            {"guid": "klue-mrc-v1_train_1", "question": "Where?", "is_impossible": True, "answers": []}
            | {"question_type": 3, "plausible_answers": [{"text": "Oslo", "answer_start": 8}]},
            QUESTION | {"guid": "klue-mrc-v1_train_2"},
        )
    },
    "cmrc2018_zh": {"cmrc2018_train.json": squad_text(id="TRAIN_1")},
    "jsquad_ja": {"train-v1.3.json": squad_text(QUESTION | {"is_impossible": False})},
    "sberquad_ru": {"train_v1.0.json": squad_text(QUESTION | {"id": 1})},
    "germanquad_de": {
        "GermanQuAD_train.json": squad_text(
            QUESTION
            | {"id": 1, "is_impossible": False}
            | {"answers": [{"text": "Oslo", "answer_start": 8, "answer_id": 2, "answer_category": "SHORT"}]}
        )
    },
    "piaf_fr": {"piaf-v1.0.json": squad_text()},
    "squad_it": {"SQuAD_it-train.json": squad_text(QUESTION | {"answers": [{"text": "Oslo", "answer_start": 3}]})},
    "squad_es": {"train-v1.1-es.json": squad_text()},
    "tquad_tr": {"tquad_train_data_v2.json": squad_text(QUESTION | {"id": 1})},
    "arcd_ar": {"arcd-train.json": squad_text()},
    "copa_en": {"train-en.jsonl": lines(COPA)},
    "hellaswag": {
        "hellaswag_train.jsonl": lines(
            {"ind": 1, "activity_label": "A", "ctx_a": "He", "ctx_b": "", "ctx": "He", "split": "train"}
            | {"split_type": "indomain", "label": 1, "endings": ["pen", "cup"], "source_id": "s"}
        )
    },
    "swag": {
        "train.csv": ",video-id,fold-ind,startphrase,sent1,sent2,gold-source,ending0,ending1,ending2,ending3,label\n"
        "0,v,1,He sat. He,He sat.,He,gold,a,b,c,d,2\n"
    },
    "commonsenseqa": {
        "train_rand_split.jsonl": lines({"answerKey": "B", "id": "1", "question": EXAM | {"question_concept": "c"}})
    },
    "social_iqa": {"socialIQa_v1.4_trn.jsonl": lines(SOCIAL | {"correct": "C"})},
    "piqa": {"train.jsonl": PIQA, "train-labels.lst": "0\n"},
    "winogrande": {
        "train_xl.jsonl": lines(
            {"qID": "q-1", "sentence": "Ann sees Eve, so _ waves.", "option1": "Ann", "option2": "Eve", "answer": "2"}
        )
    },
    "openbookqa": {"train.jsonl": lines({"id": "1", "question": EXAM, "answerKey": "A"})},
    "arc_easy": {"ARC-Easy-Train.jsonl": EXAM_LINE},
    "race": {
        "train/middle/1.txt": json.dumps(
            {
                "answers": ["B"],
                "options": [["pen", "cup"]],
                "questions": ["Which?"],
                "article": "C.",
                "id": "middle1.txt",
            }
        ),
        "train/high/1.txt": json.dumps(
            {"answers": ["B", "A"], "options": [["pen", "cup"], ["a", "b"]], "questions": ["Which?", "Why?"]}
            | {"article": "C.", "id": "high1.txt"}
        ),
    },
    "cosmosqa": {
        "train.csv": "id,context,question,answer0,answer1,answer2,answer3,label\n1,C.,Why ?,a,b,c,d,3\n".replace(
            " ?", "?"
        )
    },
    "quail": {
        "train.jsonl": lines(
            {"id": "c_1", "context_id": "c", "question_id": "1", "domain": "news", "context": "C.", "question": "Why?"}
            | {"question_type": "Causality", "answers": ["pen", "cup"], "correct_answer_id": "1"}
        )
    },
    "sciq": {
        "train.json": json.dumps(
            [
                {"question": "What?", "distractor3": "salt", "distractor1": "air", "distractor2": "wood"}
                | {"correct_answer": "iron", "support": ""}
            ]
        )
    },
    **{f"exams_{code}": {f"train_{code}.jsonl": EXAM_LINE} for code in ("bg", "hu", "pl")},
    "masakhaner_swa": {"train.txt": sentences(NAMES, form="{word} {tag}")},
    "masakhaner_hau": {"train.txt": sentences(["I-PER", "I-PER", "O", "O", "I-LOC", "O"], form="{word} {tag}")},
    "masakhaner_yor": {"train.txt": sentences(["B-DATE", "I-DATE", "O", "O", "B-ORG", "O"], form="{word} {tag}")},
    "conll2003": {
        "eng.train": "-DOCSTART- -X- O O\n\n"
        + sentences(["I-PER", "I-PER", "O", "O", "I-MISC", "O"], form="{word} NNP I-NP {tag}")
    },
    "wnut17": {
        "wnut17train.conll": sentences(
            ["B-person", "I-person", "O", "O", "B-creative-work", "O"], ["O"] * 6, end="\t\n"
        )
    },
    "bc2gm": {"train.tsv": sentences(["B-GENE", "I-GENE", "O", "O", "B-GENE", "O"])},
    "conll2002_es": {"esp.train": sentences(NAMES, form="{word} NP {tag}")},
    "conll2002_nl": {"ned.train": "-DOCSTART- -DOCSTART- O\n" + sentences(NAMES, form="{word} N {tag}")},
    "germeval2014_de": {
        "NER-de-train.tsv": "#\thttp://de.example.org/a\t[2009-10-17]\n"
        + sentences(["B-PER", "I-PER", "O", "O", "B-LOCderiv", "O"], form="{number}\t{word}\t{tag}\tO")
    },
    "swedish_ner_sv": {
        "train_corpus.txt": sentences(
            ["PER", "PER", "0", "0", "LOC", "0"], ["0"] * 6, form="{word}    {tag}", end="bn\n"
        )
    },
    "klue_ner": {
        "klue-ner-v1.1_train.tsv": KLUE_HEADER
        + "## klue-ner-v1_train_00000-wikitree\t<A:PS> B\nA\tB-PS\n \tO\nB\tI-LC\n"
    },
    **{
        f"wikineural_{code}": {"train.conllu": sentences(NAMES, form="{number}\t{word}\t{tag}")}
        for code in ("pl", "pt", "nl")
    },
}


def laid_out(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def loaded(name: str, tmp_path: Path, files: dict[str, str], remarks: Remarks | None = None) -> list[Record]:
    task = TASKS[name]
    assert isinstance(task.source, Files)
    laid_out(tmp_path / task.source.folder, files)
    return load_records(task, f"train/{task.languages[0]}", tmp_path, remarks)


def fields(record: Record) -> Record:
    return {key: value for key, value in record.items() if key != "id"}


def test_every_such_task_with_both_sources_has_a_layout_here() -> None:
    both = {t.name for t in TASKS.values() if t.kind in KINDS and t.role == "intermediate" and t.hub is not None}
    assert both == LAYOUTS.keys()


def test_every_such_task_reads_files_but_those_that_are_published_otherwise() -> None:
    tasks = [task for task in TASKS.values() if task.kind in KINDS]
    assert {task.name for task in tasks if not isinstance(task.source, Files)} == HUB_ALONE
    assert not HUB_ALONE & {*pools.english9, *pools.english32, *pools.nonenglish32, *pools.nonenglish_original}


@pytest.mark.parametrize("name", LAYOUTS)
def test_files_and_the_hub_give_the_same_record(name: str, tmp_path: Path) -> None:
    row, record = CASES[name]
    found = loaded(name, tmp_path, LAYOUTS[name])
    assert fields(found[0]) == record == shaped(name, row)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_folder_without_its_training_file_is_refused_by_name(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    assert isinstance(task.source, Files)
    (tmp_path / task.source.folder).mkdir()
    split = f"train/{task.languages[0]}"
    assert not available(task, split, tmp_path)
    with pytest.raises(InputError, match=r"the file\(s\) .* must lie in .*, but the folder holds nothing"):
        load_records(task, split, tmp_path)


def test_race_is_a_folder_of_passages(tmp_path: Path) -> None:
    found = loaded("race", tmp_path, LAYOUTS["race"])
    assert [record["id"] for record in found] == ["middle1.txt#1", "high1.txt#1", "high1.txt#2"]
    assert [record["label"] for record in found] == [1, 1, 0]
    short = {"answers": ["B"], "options": [], "questions": ["Which?"], "article": "C.", "id": "x"}
    with pytest.raises(InputError, match=r"2\.txt: there must be as many questions, options and answers, but got"):
        loaded("race", tmp_path, {"train/high/2.txt": json.dumps(short)})


def test_labels_of_social_iqa_may_lie_in_a_second_file(tmp_path: Path) -> None:
    found = loaded("social_iqa", tmp_path, {"train.jsonl": lines(SOCIAL, SOCIAL), "train-labels.lst": "3\n1\n"})
    assert [record["label"] for record in found] == [2, 0]
    assert fields(found[0]) == CASES["social_iqa"][1]
    with pytest.raises(InputError, match=r"line 1: 'correct' must be one of A, B, C, but got 'D'"):
        loaded("social_iqa", tmp_path / "b", {"socialIQa_v1.4_trn.jsonl": lines(SOCIAL | {"correct": "D"})})


def test_files_of_conll_2003_may_be_in_either_layout(tmp_path: Path) -> None:
    other = {"train.txt": sentences(["B-PER", "I-PER", "O", "O", "B-MISC", "O"], form="{word} NNP B-NP {tag}")}
    assert fields(loaded("conll2003", tmp_path, other)[0]) == CASES["conll2003"][1]


@pytest.mark.parametrize(("name", "number"), [("wnut17", 2), ("swedish_ner_sv", 2), ("conll2003", 1), ("klue_ner", 1)])
def test_a_published_line_without_a_token_ends_a_sentence(name: str, number: int, tmp_path: Path) -> None:
    assert len(loaded(name, tmp_path, LAYOUTS[name])) == number


def test_tags_that_begin_with_i_are_repaired_from_both_sources(tmp_path: Path) -> None:
    row = {"id": "0", "tokens": WORDS, "ner_tags": [2, 2, 0, 0, 6, 4]}
    wanted = ["B-PER", "I-PER", "O", "O", "B-LOC", "B-ORG"]
    text = sentences(["I-PER", "I-PER", "O", "O", "I-LOC", "I-ORG"], form="{word} {tag}")
    from_hub = shaped("masakhaner_yor", row)
    assert from_hub is not None and from_hub["tags"] == wanted
    assert loaded("masakhaner_yor", tmp_path, {"train.txt": text})[0]["tags"] == wanted


def test_answers_off_their_place_are_met_alike_from_both_sources(tmp_path: Path) -> None:
    cases = {
        "moved": [{"text": "Oslo", "answer_start": 3}],
        "dropped": [{"text": "Bergen", "answer_start": 8}, {"text": "Anna", "answer_start": 0}],
        "nowhere": [{"text": "Bergen", "answer_start": 8}],
        "everywhere": [{"text": "n", "answer_start": 0}],
        "untold": [],
    }
    questions = [{"id": name, "question": "Where?", "answers": answers} for name, answers in cases.items()]
    remarks = Remarks()
    found = {
        r["id"]: r["answers"]
        for r in loaded("cmrc2018_zh", tmp_path, {"cmrc2018_train.json": squad_text(*questions)}, remarks)
    }
    assert found == {"moved": [{"text": "Oslo", "start": 8}], "dropped": [{"text": "Anna", "start": 0}]}
    assert sum(remarks.left_out.values()) == 3 and not remarks.bad
    for name, answers in cases.items():
        record = shaped("cmrc2018_zh", {"id": name, "context": PASSAGE, "question": "Where?", "answers": answers})
        assert (record["answers"] if record else None) == found.get(name)


def test_a_task_without_a_repair_refuses_an_answer_off_its_place(tmp_path: Path) -> None:
    text = squad_text(QUESTION | {"answers": [{"text": "Oslo", "answer_start": 3}]})
    with pytest.raises(
        InputError, match=r"train-v1\.1\.json: task 'squad'.*, record '1': the answer 'Oslo' must stand at"
    ):
        loaded("squad", tmp_path, {"train-v1.1.json": text})


def test_repairs() -> None:
    tagged = {"id": "1", "tokens": ["a", "\u3000", "b"], "tags": ["I-X", "I-X", "I-Y"]}
    assert begun_spans(tagged)["tags"] == ["B-X", "I-X", "B-Y"]
    assert spans_of_characters(tagged) == {"id": "1", "tokens": ["a", "b"], "tags": ["B-X", "B-Y"]}
    assert spans_of_types(tagged | {"tags": ["X", "X", "0"]})["tags"] == ["B-X", "I-X", "O"]
    untagged = tagged | {"tags": None}
    assert begun_spans(untagged) == spans_of_characters(untagged) == spans_of_types(untagged) == untagged
    # Blanks that the Hub's copies lack: before the passage, and at the beginning of an answer.
    asked = {"id": "1", "question": " Where?", "context": " Anna in Oslo, in Oslo."}
    answered = asked | {"answers": [{"text": " Oslo", "start": 17}]}
    placed = placed_answers(answered)
    assert placed == {
        "id": "1",
        "question": "Where?",
        "context": "Anna in Oslo, in Oslo.",
        "answers": [{"text": "Oslo", "start": 17}],
    }
    assert placed_answers(placed) == placed
    assert placed_answers(asked | {"answers": []}) is None
    assert placed_answers(asked | {"answers": []}, unanswerable=True) is not None
