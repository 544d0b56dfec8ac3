"""Paraphrase: whether two sentences, or a word in both, mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from xlray.tasks.glue import GLUE, GLUE_COMMIT, SUPER_GLUE, SUPER_GLUE_COMMIT, super_glue
from xlray.tasks.lines import fail, leave_out, line_of, member, text_lines
from xlray.tasks.readers import table
from xlray.tasks.shapes import Row, classified
from xlray.tasks.task import Files, Hub, Record, Task

SAME = ("different", "same")
SENTENCES = partial(classified, text="sentence1", text_pair="sentence2", names=SAME)

QQP_COLUMNS = ("id", "qid1", "qid2", "question1", "question2", "is_duplicate")
QUESTIONS = partial(classified, text="question1", text_pair="question2", names=SAME)

PAWS_COLUMNS = ("id", "sentence1", "sentence2", "label")
MSRP_COLUMNS = ("Quality", "#1 ID", "#2 ID", "#1 String", "#2 String")
MSRP = partial(SENTENCES, text="#1 String", text_pair="#2 String", label="Quality")


def duplicate(row: Row, where: str) -> Record | None:
    """QQP: a line feed inside a question has broken a few rows in two, which GLUE's own reading leaves out too."""
    if len(row) < len(QQP_COLUMNS):
        leave_out("rows broken in two")
        return None
    return QUESTIONS(row, where, label="is_duplicate")


def paraphrased(row: Row, where: str) -> Record | None:
    """PAWS and PAWS-X: some rows have a wrong label, and some texts are `NS`, which was never translated."""
    if "label" in row and str(row["label"]) not in ("0", "1"):
        leave_out("rows with a wrong label")
        return None
    if "NS" in (row.get("sentence1"), row.get("sentence2")):
        leave_out("pairs with the placeholder NS")
        return None
    return SENTENCES(row, where)


def word_in_context(row: Row, where: str) -> Record | None:
    """WiC: the word stands before its first sentence."""
    fields = SENTENCES(row, where)
    return fields and fields | {"text": f"{member(row, 'word', str, where)}: {fields['text']}"}


def msrp(paths: tuple[Path, ...], *, dev: bool) -> Iterator[Record]:
    """MSRP's own training file and GLUE's list of the pairs that are its development part.

    Args:
        paths: the training file, and the list: ids of two sentences per line.
        dev: yield the pairs in the list, else all others.
    """
    rows, listed = paths
    pairs = set()
    for number, line in text_lines(listed):
        pair = tuple(line.split())
        if len(pair) != 2:
            fail(line_of(listed, number), "a line must hold the ids of two sentences", line)
        pairs.add(pair)

    def shape(row: Row, where: str) -> Record | None:
        return MSRP(row, where) if ((row["#1 ID"], row["#2 ID"]) in pairs) == dev else None

    yield from table((rows,), shape=shape, header=MSRP_COLUMNS)


MSRP_TEST: dict[str, tuple[str, ...]] = {"test/en": ("msr_paraphrase_test.txt",)}
MSRP_FILES = Files(
    "mrpc",
    dict.fromkeys(("train/en", "dev/en"), ("msr_paraphrase_train.txt", "dev_ids.tsv")) | MSRP_TEST,
    partial(table, shape=MSRP, header=MSRP_COLUMNS),
    readers={"train/en": partial(msrp, dev=False), "dev/en": partial(msrp, dev=True)},
)
MRPC_FILES = Files(
    "mrpc",
    {"train/en": ("train.tsv",), "dev/en": ("dev.tsv",)} | MSRP_TEST,
    MSRP_FILES.read,
)


PARAPHRASE = (
    Task(
        name="qqp",
        kind="classification",
        languages=("en",),
        source=Files(
            "qqp",
            {"train/en": ("train.tsv",), "dev/en": ("dev.tsv",)},
            partial(table, shape=duplicate, header=QQP_COLUMNS, num_columns=tuple(range(1, len(QQP_COLUMNS) + 1))),
        ),
        hub=Hub(GLUE, GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, QUESTIONS, "qqp"),
        labels=SAME,
        headline=("accuracy", "macro_f1"),
        num_examples=363_846,
        licence="not stated; Quora's terms",
        citation="Iyer, Dandekar and Csernai 2017; Wang et al. 2019, GLUE (QQP)",
        notes=(
            "`same` is a duplicate question. A line feed inside a question has broken a few rows of GLUE's file in two; "
            "these and pairs with a blank question are left out. The number is the Hub's, which has left out the former."
        ),
    ),
    Task(
        name="mrpc",
        kind="classification",
        languages=("en",),
        source=replace(MRPC_FILES, when_present={"train.tsv": MRPC_FILES, "msr_paraphrase_train.txt": MSRP_FILES}),
        hub=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            SENTENCES,
            "mrpc",
        ),
        labels=SAME,
        headline=("accuracy", "macro_f1"),
        num_examples=3_668,
        licence="not stated; Microsoft's terms",
        citation="Dolan and Brockett 2005, MRPC; Wang et al. 2019, GLUE",
        notes=(
            "GLUE's train.tsv and dev.tsv, or MSRP's own training file with GLUE's list dev_ids.tsv of the pairs that "
            "are dev. Test is MSRP's file, with labels. Quotes are text."
        ),
    ),
    Task(
        name="paws",
        kind="classification",
        languages=("en",),
        source=Files(
            "paws",
            {"train/en": ("train.tsv",), "dev/en": ("dev.tsv",), "test/en": ("test.tsv",)},
            partial(table, shape=paraphrased, header=PAWS_COLUMNS),
        ),
        hub=Hub(
            "google-research-datasets/paws",
            "161ece9501cf0a11f3e48bd356eaa82de46d6a09",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            paraphrased,
            "labeled_final",
        ),
        labels=SAME,
        num_examples=49_401,
        licence="free for any purpose, as is (Google)",
        citation="Zhang, Baldridge and He 2019, PAWS",
        notes="PAWS-Wiki with human labels (`final`). Pairs with a wrong label or a blank sentence are left out.",
    ),
    Task(
        name="wic",
        kind="classification",
        languages=("en",),
        source=super_glue("wic", word_in_context, truth=True),
        hub=Hub(SUPER_GLUE, SUPER_GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, word_in_context, "wic"),
        labels=SAME,
        num_examples=5_428,
        licence="CC BY-NC 4.0",
        citation="Pilehvar and Camacho-Collados 2019, WiC; Wang et al. 2019, SuperGLUE",
        notes="Whether a word has the same sense in both sentences; it stands before the first, with a colon.",
    ),
)
