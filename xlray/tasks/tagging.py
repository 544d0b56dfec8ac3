"""Tagging: parts of speech, names, chunks, slots."""

from __future__ import annotations

from functools import partial

from xlray.tasks.passages import slots
from xlray.tasks.readers import columns, conllu
from xlray.tasks.repairs import begun_spans
from xlray.tasks.structured import tagged
from xlray.tasks.task import CONVERSION, CONVERTED, Files, Hub, Task, usual_splits

XTREME = "google/xtreme"
XTREME_COMMIT = "21f88c0ff5bf413a83c854eb00050e75d245161f"


def iob2(types: tuple[str, ...]) -> tuple[str, ...]:
    """The tags of these types: `O`, then `B-X`, `I-X` of each."""
    return ("O", *(f"{prefix}-{name}" for name in types for prefix in ("B", "I")))


UPOS = (
    "ADJ",
    "ADP",
    "ADV",
    "AUX",
    "CCONJ",
    "DET",
    "INTJ",
    "NOUN",
    "NUM",
    "PART",
    "PRON",
    "PROPN",
    "PUNCT",
    "SCONJ",
    "SYM",
    "VERB",
    "X",
)
WIKIANN = iob2(("LOC", "ORG", "PER"))
WIKIANN_NUMBERS = iob2(("PER", "ORG", "LOC"))  # the order of the numbers on the Hub
MASAKHANER_NUMBERS = iob2(("PER", "ORG", "LOC", "DATE"))
CHUNKS = iob2(("ADJP", "ADVP", "CONJP", "INTJ", "LST", "NP", "PP", "PRT", "SBAR", "UCP", "VP"))
SLOTS = iob2(
    (
        "alarm/alarm_modifier",
        "alarm/recurring_period",
        "datetime",
        "demonstrative_reference",
        "location",
        "negation",
        "news/type",
        "reminder/noun",
        "reminder/recurring_period",
        "reminder/reference",
        "reminder/reminder_modifier",
        "reminder/todo",
        "timer/attributes",
        "timer/noun",
        "weather/attribute",
        "weather/noun",
        "weather/temperatureUnit",
    )
)


def xtreme_files(language: str) -> dict[str, tuple[str, ...]]:
    """Names of a language's files as XTREME's scripts write them."""
    return {f"{split}/{language}": (f"{split}-{language}.tsv",) for split in ("train", "dev")}


def udpos(language: str, name: str, notes: str = "") -> Task:
    """Parts of speech of XTREME in one language; `name` is that of its configuration on the Hub."""
    return Task(
        name=f"udpos_{language}",
        kind="tagging",
        languages=(language,),
        source=Files(f"udpos_{language}", xtreme_files(language), columns),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            usual_splits(language, "train", "dev"),
            partial(tagged, tags="pos_tags", names=UPOS),
            f"udpos.{name}",
        ),
        labels=UPOS,
        multi_source=True,
        licence="per treebank of Universal Dependencies 2.5",
        citation="Nivre et al. 2020, Universal Dependencies v2; files of XTREME (Hu et al. 2020)",
        notes=notes,
    )


def panx(language: str) -> Task:
    """WikiANN's names of XTREME in one language."""
    return Task(
        name=f"panx_{language}",
        kind="tagging",
        languages=(language,),
        source=Files(f"panx_{language}", xtreme_files(language), partial(columns, languages=(language,))),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            usual_splits(language, "train", "dev"),
            partial(tagged, names=WIKIANN_NUMBERS),
            f"PAN-X.{language}",
        ),
        labels=WIKIANN,
        multi_source=True,
        num_examples=20_000,
        licence="terms of WikiANN not stated; text of Wikipedia (CC BY-SA 3.0)",
        citation="Pan et al. 2017; splits of Rahimi et al. 2019; files of XTREME (Hu et al. 2020)",
    )


def masakhaner(name: str, language: str, num_examples: int) -> Task:
    """MasakhaNER in one language, whose code of three letters names the task and the configuration on the Hub."""
    return Task(
        name=f"masakhaner_{name}",
        kind="tagging",
        languages=(language,),
        source=Files(
            f"masakhaner_{name}",
            {f"{split}/{language}": (f"{split}.txt",) for split in ("train", "dev", "test")},
            partial(columns, separator=" "),
        ),
        hub=Hub(
            "masakhane/masakhaner",
            CONVERTED,
            usual_splits(language),
            partial(tagged, names=MASAKHANER_NUMBERS),
            name,
        ),
        labels=iob2(("DATE", "LOC", "ORG", "PER")),
        num_examples=num_examples,
        licence="CC BY-NC 4.0",
        citation="Adelani et al. 2021, MasakhaNER",
        notes=f"Some names begin with I, and are taken to begin there. {CONVERSION}",
        repair=begun_spans,
    )


TAGGING = (
    udpos("ja", "Japanese"),
    udpos("zh", "Chinese", "Traditional and simplified characters."),
    Task(
        name="ud_et_ewt",
        kind="tagging",
        languages=("et",),
        source=Files(
            "ud_et_ewt",
            {
                "train/et": ("et_ewt-ud-train.conllu",),
                "dev/et": ("et_ewt-ud-dev.conllu",),
                "test/et": ("et_ewt-ud-test.conllu",),
            },
            conllu,
        ),
        labels=UPOS,
        multi_source=True,
        licence="CC BY-SA 4.0",
        citation="Muischnek, Müürisep and Särg 2019, Estonian Web Treebank (UD)",
        notes="The licence file says CC BY-SA 4.0, the README CC BY-NC-SA 4.0. Estonian is a pivot language of udpos.",
    ),
    Task(
        name="ud_hu_szeged",
        kind="tagging",
        languages=("hu",),
        source=Files(
            "ud_hu_szeged",
            {
                "train/hu": ("hu_szeged-ud-train.conllu",),
                "dev/hu": ("hu_szeged-ud-dev.conllu",),
                "test/hu": ("hu_szeged-ud-test.conllu",),
            },
            conllu,
        ),
        labels=UPOS,
        multi_source=True,
        num_examples=910,
        licence="CC BY-NC-SA 3.0",
        citation="Vincze et al. 2010, Hungarian Dependency Treebank (UD Szeged)",
        notes="Hungarian is a pivot language of udpos.",
    ),
    *map(panx, ("es", "ru")),
    masakhaner("swa", "sw", 2_109),
    masakhaner("hau", "ha", 1_912),
    masakhaner("yor", "yo", 2_171),
    Task(
        name="ccg_en",
        kind="tagging",
        languages=("en",),
        source=Files(
            "ccg_en",
            {"train/en": ("train.tsv",), "dev/en": ("dev.tsv",), "test/en": ("test.tsv",)},
            columns,
            label_file="labels.txt",
        ),
        num_examples=39_604,
        licence="LDC User Agreement (CCGbank, LDC2005T13)",
        citation="Hockenmaier and Steedman 2007, CCGbank",
        notes=(
            "Licensed, so local files only: a token, a tab and its category per line, a blank line between sentences "
            "(sections 02 to 21, 00, 23); labels.txt lists the categories, commonly the 425 seen ten times or more, and "
            "the one that stands for all others. conll2000_chunking stands in where the files are absent."
        ),
    ),
    Task(
        name="conll2000_chunking",
        kind="tagging",
        languages=("en",),
        source=Files(
            "conll2000_chunking",
            {"train/en": ("train.txt",), "test/en": ("test.txt",)},
            partial(columns, separator=" ", num_columns=3, tag=2),
        ),
        labels=CHUNKS,
        num_examples=8_936,
        licence="README of NLTK's corpora; text of the Wall Street Journal",
        citation="Tjong Kim Sang and Buchholz 2000",
        notes="Chunk tags; the part of speech in the second column is not used. There is no dev file.",
    ),
    Task(
        name="mtl_nlu_es",
        kind="tagging",
        languages=("es",),
        source=Files("mtl_nlu_es", {"train/es": ("train-es.tsv",), "dev/es": ("eval-es.tsv",)}, slots),
        labels=SLOTS,
        derived_from=("mtl_nlu_en",),
        translated="human",
        num_examples=3_617,
        licence="CC BY-SA",
        citation="Schuster et al. 2019, Cross-lingual Transfer Learning for Multilingual Task Oriented Dialog",
        notes=(
            "English utterances translated by hand, which was not verified offline. "
            "Slots are the tags; the intent is not used. The label set is that of all three languages. Offsets are in "
            "characters or in bytes, and a few cut a word."
        ),
    ),
)
