"""Semantic textual similarity: two sentences and a number from 0 to 5."""

from __future__ import annotations

from functools import partial

from xlray.tasks.glue import GLUE, GLUE_COMMIT, glue
from xlray.tasks.lines import member
from xlray.tasks.readers import json_array, table
from xlray.tasks.shapes import Row, scored
from xlray.tasks.task import Files, Hub, Record, Task

STS_COLUMNS = ("genre", "filename", "year", "id", "score", "sentence1", "sentence2")
STS = partial(scored, text="sentence1", text_pair="sentence2", label="score")

KLUE = "klue/klue"
KLUE_COMMIT = "349481ec73fff722f88e0453ca05c77a447d967c"


def mean_judgement(row: Row, where: str) -> Record | None:
    """KLUE-STS: the mean of the judgements, which stands in `labels` beside its rounding."""
    flat = row | member(row, "labels", dict, where)
    return scored(flat, where, text="sentence1", text_pair="sentence2", label="real-label")


SIMILARITY = (
    Task(
        name="glue_stsb",
        kind="regression",
        languages=("en",),
        source=Files(
            "glue_stsb",
            {"train/en": ("sts-train.tsv",), "dev/en": ("sts-dev.tsv",)},
            partial(table, shape=STS, names=STS_COLUMNS, num_columns=(7, 8, 9)),
            when_present={"train.tsv": glue("glue_stsb", STS, ("sentence1", "sentence2", "score"))},
        ),
        hub=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            partial(scored, text="sentence1", text_pair="sentence2", label="label"),
            "stsb",
        ),
        scale=(0.0, 5.0),
        num_examples=5_749,
        licence="per source, see LICENSE.txt of the distribution",
        citation="Cer et al. 2017, STS benchmark",
        notes=(
            "The original files without header, where an eighth and ninth column may name sources, or GLUE's train.tsv "
            "and dev.tsv. Quotes are text."
        ),
    ),
    Task(
        name="korsts_ko",
        kind="regression",
        languages=("ko",),
        source=Files(
            "korsts_ko",
            {"train/ko": ("sts-train.tsv",), "dev/ko": ("sts-dev.tsv",), "test/ko": ("sts-test.tsv",)},
            partial(table, shape=STS, header=STS_COLUMNS),
        ),
        hub=Hub(
            "dkoterwa/kor-sts",
            "016f35f9b961daaaa7a352e927084e3da662ac1f",
            {"train/ko": "train", "dev/ko": "valid", "test/ko": "test"},
            STS,
        ),
        scale=(0.0, 5.0),
        derived_from=("glue_stsb",),
        translated="machine",
        num_examples=5_749,
        licence="CC BY-SA 4.0",
        citation="Ham et al. 2020, KorNLI and KorSTS",
        notes=(
            "Machine translation of the STS benchmark's training set; dev and test by hand. The copy on the Hub lacks a "
            "few pairs: 5,690 for training."
        ),
    ),
    Task(
        name="klue_sts",
        kind="regression",
        languages=("ko",),
        source=Files(
            "klue_sts",
            {"train/ko": ("klue-sts-v1.1_train.json",), "dev/ko": ("klue-sts-v1.1_dev.json",)},
            partial(json_array, shape=mean_judgement),
        ),
        hub=Hub(KLUE, KLUE_COMMIT, {"train/ko": "train", "dev/ko": "validation"}, mean_judgement, "sts"),
        scale=(0.0, 5.0),
        num_examples=11_668,
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE (KLUE-STS)",
        notes="The mean of the judgements, not its rounding.",
    ),
)
