"""Paraphrase: whether two sentences, or a word in both, mean the same."""

from __future__ import annotations

from functools import partial

from xlray.tasks.inference import SUPER_GLUE, SUPER_GLUE_COMMIT
from xlray.tasks.lines import member
from xlray.tasks.shapes import Row, classified
from xlray.tasks.similarity import GLUE, GLUE_COMMIT
from xlray.tasks.task import Hub, Record, Task

SAME = ("different", "same")


def word_in_context(row: Row, where: str) -> Record | None:
    """WiC: the word stands before its first sentence."""
    fields = classified(row, where, text="sentence1", text_pair="sentence2", names=SAME)
    return fields and fields | {"text": f"{member(row, 'word', str, where)}: {fields['text']}"}


PARAPHRASE = (
    Task(
        name="qqp",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            partial(classified, text="question1", text_pair="question2", names=SAME),
            "qqp",
        ),
        labels=SAME,
        headline=("accuracy", "macro_f1"),
        num_examples=363_846,
        licence="not stated; Quora's terms",
        citation="Iyer, Dandekar and Csernai 2017; Wang et al. 2019, GLUE (QQP)",
        notes="`same` is a duplicate question.",
    ),
    Task(
        name="mrpc",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(classified, text="sentence1", text_pair="sentence2", names=SAME),
            "mrpc",
        ),
        labels=SAME,
        headline=("accuracy", "macro_f1"),
        num_examples=3_668,
        licence="not stated; Microsoft's terms",
        citation="Dolan and Brockett 2005, MRPC; Wang et al. 2019, GLUE",
    ),
    Task(
        name="paws",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            "google-research-datasets/paws",
            "161ece9501cf0a11f3e48bd356eaa82de46d6a09",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(classified, text="sentence1", text_pair="sentence2", names=SAME),
            "labeled_final",
        ),
        labels=SAME,
        num_examples=49_401,
        licence="free for any purpose, as is (Google)",
        citation="Zhang, Baldridge and He 2019, PAWS",
        notes="PAWS-Wiki with human labels.",
    ),
    Task(
        name="wic",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            SUPER_GLUE,
            SUPER_GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            word_in_context,
            "wic",
        ),
        labels=SAME,
        num_examples=5_428,
        licence="CC BY-NC 4.0",
        citation="Pilehvar and Camacho-Collados 2019, WiC; Wang et al. 2019, SuperGLUE",
        notes="Whether a word has the same sense in both sentences; it stands before the first, with a colon.",
    ),
)
