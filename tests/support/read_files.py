"""Small files in the publishers' formats, and their readers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from xlray.tasks import TASKS, Files, Record, Task, load_records
from xlray.tasks.passages import dialogue_choices, slots, squad, tagged_spans
from xlray.tasks.readers import columns, conllu, json_array, json_lines, labelled_lines, table
from xlray.tasks.shapes import Number, copa, labelled, multiple_choice, scored

UD_LINE = "{0}\t{1}\t{1}\t{2}\t_\t_\t0\troot\t_\t_\n"
TOKENS = {"tokens": ["mañana", "2a"], "tokenSpans": [{"start": 0, "length": 6}, {"start": 7, "length": 2}]}
BYTES = {"tokens": ["mañana", "2a"], "tokenSpans": [{"start": 0, "length": 7}, {"start": 8, "length": 3}]}


def question(answers: list[dict[str, Any]], name: str = "q1", **more: Any) -> dict[str, Any]:
    return {"id": name, "question": "Where?", "answers": answers, **more}


def squad_text(*paragraphs: tuple[str, list[dict[str, Any]]]) -> str:
    return json.dumps({"data": [{"title": "t", "paragraphs": [{"context": c, "qas": q} for c, q in paragraphs]}]})


def slot_line(spans: str, text: str, tokens: dict[str, Any]) -> str:
    return f"intent\t{spans}\t{text}\tes_XX\t{json.dumps({'tokenizations': [tokens]})}\n"


TAGS = Task("tags", "tagging", ("en",), Files("x", {}, columns), labels=("O", "B-A", "I-A", "B-B", "I-B"))
UNTAGGED = replace(TAGS, name="untagged")
UPOS = replace(TASKS["udpos"], name="upos")
CLASSES = Task("classes", "classification", ("en",), Files("x", {}, columns), labels=("yes", "no"))
SCORES = Task("scores", "regression", ("en",), Files("x", {}, columns), scale=(0.0, 5.0))
CHOICES = Task("choices", "multiple_choice", ("en",), Files("x", {}, columns))
SPANS = Task("spans", "span_qa", ("en",), Files("x", {}, columns))
PAIRS = Task("pairs", "retrieval", ("en", "fi"), Files("x", {}, columns), role="target")
TEXTS = Task("texts", "mlm", ("en",), Files("x", {}, columns), role="text")
SLOTS = replace(TASKS["mtl_nlu_es"], name="slots", languages=("en",), source=Files("x", {}, columns))

label = partial(labelled, text="t", label="y")
rows = partial(table, shape=label, names=("t", "y"))
headed = partial(table, shape=partial(labelled, text="t", text_pair="u", label="y"), header=("t", "y", "u"))
quoted = partial(headed, separator=",", quoted=True)
numbers = partial(table, shape=partial(scored, text="t", text_pair="u", label="y"), names=("t", "u", "y"))
renamed = partial(json_lines, shape=partial(label, names={"1": "yes", "0": "no"}, left_out=("-",)))
listed = partial(multiple_choice, question="q", choices="c", label=Number("y", first=1))
keyed = partial(multiple_choice, question="q", choices=("a", "b"), label=Number("y"))
words = partial(labelled_lines, names={"Y:a": "yes", "N:b": "no"}, header="label")

FORMATS: dict[str, tuple[Task, Any, str]] = {
    "columns": (TAGS, columns, "Ab\tB-A\nc d\tI-A\n\n#\tO\ne\tB-B\n"),
    "spaces": (TAGS, partial(columns, separator=" ", num_columns=3, tag=2), "a X B-A\nb Y O\n\nc Z O\n"),
    "prefix": (TAGS, partial(columns, languages=("fi", "en")), "en:a\tB-A\nen:b:c\tI-A\n\nen:d\tO\n"),
    "untagged": (UNTAGGED, columns, "a\nb\n\nc\n"),
    "conllu": (
        UPOS,
        conllu,
        "# text = al\n1-2\tal\t_\t_\t_\t_\t_\t_\t_\t_\n"
        + UD_LINE.format(1, "a", "ADP")
        + UD_LINE.format(2, "#", "DET")
        + "2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n\n"
        + UD_LINE.format(1, "b c", "NOUN")
        + "\n",
    ),
    "rows": (CLASSES, rows, 'a "b\tyes\nc\tno\n'),
    "headed": (CLASSES, headed, "y\tt\tu\tmore\nyes\ta\tb\t1\nno\tc\td\t2\n"),
    "quoted": (CLASSES, quoted, 't,y,u\n"a, ""b""\nc",yes,d\ne,no,f\n'),
    "numbers": (SCORES, numbers, "a\tb\t5.000\nc\td\t0\n"),
    "json lines": (CLASSES, renamed, '{"t": "a", "y": "1"}\n{"t": "b", "y": "-"}\n{"t": "c", "y": 0}\n'),
    "json array": (
        CLASSES,
        partial(json_array, shape=label),
        '[{"t": "a", "y": "yes"}, {"t": "b\\ud83d\\ude00", "y": "no"}]',
    ),
    "listed choices": (CHOICES, partial(json_lines, shape=listed), '{"q": "a", "c": ["", "y"], "y": "۲"}\n'),
    "keyed choices": (CHOICES, partial(json_lines, shape=keyed), '{"q": "a", "a": "x", "b": "y", "y": 1}\n'),
    "copa": (
        CHOICES,
        partial(json_lines, shape=copa),
        '{"premise": "p", "choice1": "x", "choice2": "y", "question": "cause", "label": 0}\n',
    ),
    "words": (CLASSES, words, "Y:a is it ?\nN:b it is\n"),
    "squad": (SPANS, squad, squad_text(("In Pori é.", [question([{"text": "Pori", "answer_start": 3}])]))),
    "squad 2": (
        SPANS,
        partial(squad, unanswerable=True),
        squad_text(("In", [question([], is_impossible=True), question([{"text": "In", "answer_start": 0}], "q2")])),
    ),
    "dialogue": (
        CHOICES,
        dialogue_choices,
        json.dumps([[["M: a", "W: b"], [{"question": "q?", "choice": ["x", "y", "z"], "answer": "y"}], "1-2"]]),
    ),
    "tagged spans": (
        SPANS,
        tagged_spans,
        "question,passage,seq_label\n\"['Q', '?']\",\"['a', 'bc', 'd', 'e']\",\"['O', 'B', 'I', 'B']\"\n",
    ),
    "slots": (
        SLOTS,
        slots,
        slot_line("0:6:datetime", "Mañana 2ª ", TOKENS)
        + slot_line("8:11:location", "Mañana 2ª", BYTES)
        + slot_line("1:8:datetime", "mañana 2a", TOKENS)
        + slot_line("", "mañana 2a", TOKENS),
    ),
}


def load(task: Task, read: Any, path: Path) -> list[Record]:
    split = "test/en" if task is UNTAGGED else "train/en"
    files = Files(path.parent.name, {split: (path.name,)}, read)
    return load_records(replace(task, source=files), split, path.parent.parent)


def load_text(folder: Path, task: Task, read: Any, text: str | bytes) -> list[Record]:
    path = folder / "data" / "file.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load(task, read, path)
