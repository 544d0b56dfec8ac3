"""Topics of texts and types of questions."""

from __future__ import annotations

from functools import partial

from xlray.tasks.lines import member
from xlray.tasks.readers import json_lines, labelled_lines, table
from xlray.tasks.shapes import Row, classified
from xlray.tasks.task import CONVERSION, CONVERTED, Files, Hub, Record, Task

TREC_LABELS = (
    "ABBR:abb",
    "ABBR:exp",
    "DESC:def",
    "DESC:desc",
    "DESC:manner",
    "DESC:reason",
    "ENTY:animal",
    "ENTY:body",
    "ENTY:color",
    "ENTY:cremat",
    "ENTY:currency",
    "ENTY:dismed",
    "ENTY:event",
    "ENTY:food",
    "ENTY:instru",
    "ENTY:lang",
    "ENTY:letter",
    "ENTY:other",
    "ENTY:plant",
    "ENTY:product",
    "ENTY:religion",
    "ENTY:sport",
    "ENTY:substance",
    "ENTY:symbol",
    "ENTY:techmeth",
    "ENTY:termeq",
    "ENTY:veh",
    "ENTY:word",
    "HUM:desc",
    "HUM:gr",
    "HUM:ind",
    "HUM:title",
    "LOC:city",
    "LOC:country",
    "LOC:mount",
    "LOC:other",
    "LOC:state",
    "NUM:code",
    "NUM:count",
    "NUM:date",
    "NUM:dist",
    "NUM:money",
    "NUM:ord",
    "NUM:other",
    "NUM:perc",
    "NUM:period",
    "NUM:speed",
    "NUM:temp",
    "NUM:volsize",
    "NUM:weight",
)
TREC_CLASSES = {
    "ABBR": "abb exp",
    "ENTY": (
        "animal body color cremat currency dismed event food instru lang letter other plant product religion sport "
        "substance symbol techmeth termeq veh word"
    ),
    "DESC": "def desc manner reason",
    "HUM": "gr ind title desc",
    "LOC": "city country mount other state",
    "NUM": "code count date dist money ord other period perc speed temp volsize weight",
}
# The order of the numbers on the Hub.
TREC_NUMBERS = tuple(f"{coarse}:{fine}" for coarse, fines in TREC_CLASSES.items() for fine in fines.split())
NEWS = ("World", "Sports", "Business", "Sci/Tech")
EIGHT_TAGS = ("film", "history", "food", "medicine", "motorization", "work", "sport", "technology")
BHTC = (
    "Ekonomia",
    "Euskal Herria",
    "Euskara",
    "Gizartea",
    "Historia",
    "Ingurumena",
    "Iritzia",
    "Komunikazioa",
    "Kultura",
    "Nazioartea",
    "Politika",
    "Zientzia",
)

HEADLINE = partial(classified, text="text", names=BHTC)
ARTICLE = partial(classified, text="text", names=NEWS)


def article(row: Row, where: str) -> Record | None:
    """AG News as the set on the Hub has it: a space joins title and description; its classes count from 0."""
    title, description = (member(row, name, str, where) for name in ("title", "description"))
    numbers = {str(number): name for number, name in enumerate(NEWS, 1)}
    return ARTICLE(row | {"text": f"{title} {description}"}, where, label="class", names=numbers)


TOPIC = (
    Task(
        name="basqueglue_bhtc",
        kind="classification",
        languages=("eu",),
        source=Files(
            "basqueglue_bhtc",
            {"train/eu": ("train.jsonl",), "dev/eu": ("val.jsonl",)},
            partial(json_lines, shape=HEADLINE),
        ),
        hub=Hub(
            "orai-nlp/basqueGLUE",
            CONVERTED,
            {"train/eu": "train", "dev/eu": "validation"},
            HEADLINE,
            "bhtc",
        ),
        labels=BHTC,
        num_examples=8_585,
        licence="CC BY-NC-SA 4.0",
        citation="Urbizu et al. 2022, BasqueGLUE (BHTCv2)",
        notes=f"{CONVERSION} That it exists was not verified offline.",
    ),
    Task(
        name="pl_8tags",
        kind="classification",
        languages=("pl",),
        source=Files(
            "pl_8tags",
            {"train/pl": ("train.txt",), "dev/pl": ("dev.txt",)},
            partial(labelled_lines, names={str(i): name for i, name in enumerate(EIGHT_TAGS)}, header="label"),
        ),
        hub=Hub(
            "sdadas/8tags",
            "82ddf9c0d06ffc982aeccf2473b7ce31f2167adf",
            {"train/pl": "train", "dev/pl": "validation"},
            partial(classified, text="sentence", names=EIGHT_TAGS),
        ),
        labels=EIGHT_TAGS,
        num_examples=40_001,
        licence="GPL-3.0 (repository); corpora have their own terms",
        citation="Dadas, Perełkiewicz and Poświata 2020",
        notes="A header line is skipped where there is one. The format on the Hub was not verified offline.",
    ),
    Task(
        name="trec_qc",
        kind="classification",
        languages=("en",),
        source=Files(
            "trec_qc",
            {"train/en": ("train.txt",), "test/en": ("test.txt",)},
            partial(labelled_lines, names={name: name for name in TREC_LABELS}, encoding="latin-1"),
        ),
        hub=Hub(
            "CogComp/trec",
            CONVERTED,
            {"train/en": "train", "test/en": "test"},
            partial(classified, text="text", label="fine_label", names=TREC_NUMBERS),
        ),
        labels=TREC_LABELS,
        num_examples=5_452,
        licence="README of NLTK's corpora",
        citation="Li and Roth 2002",
        notes=f"The 50 fine classes. Latin-1. There is no dev file. {CONVERSION}",
    ),
    Task(
        name="ag_news",
        kind="classification",
        languages=("en",),
        source=Files(
            "ag_news",
            {"train/en": ("train.csv",), "test/en": ("test.csv",)},
            partial(table, shape=article, separator=",", quoted=True, names=("class", "title", "description")),
        ),
        hub=Hub(
            "fancyzhx/ag_news",
            "eb185aade064a813bc0b7f42de02595523103ca4",
            {"train/en": "train", "test/en": "test"},
            ARTICLE,
        ),
        labels=NEWS,
        num_examples=120_000,
        licence="non-commercial use",
        citation="Zhang, Zhao and LeCun 2015, AG's News",
        notes="Title and description with a space between them. There is no dev split.",
    ),
)
