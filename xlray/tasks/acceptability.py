"""Acceptability: whether a sentence is one of its language."""

from __future__ import annotations

from functools import partial

from xlray.tasks.glue import GLUE, GLUE_COMMIT
from xlray.tasks.readers import table
from xlray.tasks.shapes import classified
from xlray.tasks.task import CONVERSION, CONVERTED, Files, Hub, Task

JUDGEMENTS = ("unacceptable", "acceptable")
ACCEPTED = partial(classified, text="sentence", names=JUDGEMENTS)

ACCEPTABILITY = (
    Task(
        name="rucola_ru",
        kind="classification",
        languages=("ru",),
        source=Files(
            "rucola_ru",
            {"train/ru": ("in_domain_train.csv",), "dev/ru": ("in_domain_dev.csv",)},
            partial(
                table,
                shape=partial(ACCEPTED, label="acceptable"),
                separator=",",
                quoted=True,
                header=("sentence", "acceptable"),
            ),
        ),
        hub=Hub("RussianNLP/rucola", CONVERTED, {"train/ru": "train"}, ACCEPTED),
        labels=JUDGEMENTS,
        num_examples=7_869,
        licence="Apache-2.0 (labels); texts remain with their owners",
        citation="Mikhailov et al. 2022, RuCoLA",
        notes=(
            "The in-domain part. Three of four sentences are acceptable. The Hub's validation split holds other domains "
            f"too and is no split here. {CONVERSION}"
        ),
    ),
    Task(
        name="cola",
        kind="classification",
        languages=("en",),
        source=Files(
            "cola",
            {"train/en": ("train.tsv",), "dev/en": ("dev.tsv",)},
            partial(table, shape=ACCEPTED, names=("source", "label", "star", "sentence")),
        ),
        hub=Hub(GLUE, GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, ACCEPTED, "cola"),
        labels=JUDGEMENTS,
        headline=("macro_f1",),
        num_examples=8_551,
        licence="not stated",
        citation="Warstadt, Singh and Bowman 2019, CoLA; Wang et al. 2019, GLUE",
        notes="GLUE scores it by Matthews correlation.",
    ),
)
