"""Tagging: parts of speech, names, chunks, slots."""

from __future__ import annotations

from functools import partial

from xlray.tasks.passages import slots
from xlray.tasks.readers import columns, conllu
from xlray.tasks.repairs import begun_spans
from xlray.tasks.structured import tagged
from xlray.tasks.task import CONVERSION, CONVERTED, Files, Hub, Task

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

TAGGING = (
    Task(
        name="udpos_ja",
        kind="tagging",
        languages=("ja",),
        source=Files("udpos_ja", {"train/ja": ("train-ja.tsv",), "dev/ja": ("dev-ja.tsv",)}, columns),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            {"train/ja": "train", "dev/ja": "validation"},
            partial(tagged, tags="pos_tags", names=UPOS),
            "udpos.Japanese",
        ),
        labels=UPOS,
        multi_source=True,
        licence="per treebank of Universal Dependencies 2.5",
        citation="Nivre et al. 2020, Universal Dependencies v2; files of XTREME (Hu et al. 2020)",
    ),
    Task(
        name="udpos_zh",
        kind="tagging",
        languages=("zh",),
        source=Files("udpos_zh", {"train/zh": ("train-zh.tsv",), "dev/zh": ("dev-zh.tsv",)}, columns),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            {"train/zh": "train", "dev/zh": "validation"},
            partial(tagged, tags="pos_tags", names=UPOS),
            "udpos.Chinese",
        ),
        labels=UPOS,
        multi_source=True,
        licence="per treebank of Universal Dependencies 2.5",
        citation="Nivre et al. 2020, Universal Dependencies v2; files of XTREME (Hu et al. 2020)",
        notes="Traditional and simplified characters.",
    ),
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
    Task(
        name="panx_es",
        kind="tagging",
        languages=("es",),
        source=Files(
            "panx_es", {"train/es": ("train-es.tsv",), "dev/es": ("dev-es.tsv",)}, partial(columns, languages=("es",))
        ),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            {"train/es": "train", "dev/es": "validation"},
            partial(tagged, names=WIKIANN_NUMBERS),
            "PAN-X.es",
        ),
        labels=WIKIANN,
        multi_source=True,
        num_examples=20_000,
        licence="terms of WikiANN not stated; text of Wikipedia (CC BY-SA 3.0)",
        citation="Pan et al. 2017; splits of Rahimi et al. 2019; files of XTREME (Hu et al. 2020)",
    ),
    Task(
        name="panx_ru",
        kind="tagging",
        languages=("ru",),
        source=Files(
            "panx_ru", {"train/ru": ("train-ru.tsv",), "dev/ru": ("dev-ru.tsv",)}, partial(columns, languages=("ru",))
        ),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            {"train/ru": "train", "dev/ru": "validation"},
            partial(tagged, names=WIKIANN_NUMBERS),
            "PAN-X.ru",
        ),
        labels=WIKIANN,
        multi_source=True,
        num_examples=20_000,
        licence="terms of WikiANN not stated; text of Wikipedia (CC BY-SA 3.0)",
        citation="Pan et al. 2017; splits of Rahimi et al. 2019; files of XTREME (Hu et al. 2020)",
    ),
    Task(
        name="masakhaner_swa",
        kind="tagging",
        languages=("sw",),
        source=Files(
            "masakhaner_swa",
            {"train/sw": ("train.txt",), "dev/sw": ("dev.txt",), "test/sw": ("test.txt",)},
            partial(columns, separator=" "),
        ),
        hub=Hub(
            "masakhane/masakhaner",
            CONVERTED,
            {"train/sw": "train", "dev/sw": "validation", "test/sw": "test"},
            partial(tagged, names=MASAKHANER_NUMBERS),
            "swa",
        ),
        labels=iob2(("DATE", "LOC", "ORG", "PER")),
        num_examples=2_109,
        licence="CC BY-NC 4.0",
        citation="Adelani et al. 2021, MasakhaNER",
        notes=f"Some names begin with I, and are taken to begin there. {CONVERSION}",
        repair=begun_spans,
    ),
    Task(
        name="masakhaner_hau",
        kind="tagging",
        languages=("ha",),
        source=Files(
            "masakhaner_hau",
            {"train/ha": ("train.txt",), "dev/ha": ("dev.txt",), "test/ha": ("test.txt",)},
            partial(columns, separator=" "),
        ),
        hub=Hub(
            "masakhane/masakhaner",
            CONVERTED,
            {"train/ha": "train", "dev/ha": "validation", "test/ha": "test"},
            partial(tagged, names=MASAKHANER_NUMBERS),
            "hau",
        ),
        labels=iob2(("DATE", "LOC", "ORG", "PER")),
        num_examples=1_912,
        licence="CC BY-NC 4.0",
        citation="Adelani et al. 2021, MasakhaNER",
        notes=f"Some names begin with I, and are taken to begin there. {CONVERSION}",
        repair=begun_spans,
    ),
    Task(
        name="masakhaner_yor",
        kind="tagging",
        languages=("yo",),
        source=Files(
            "masakhaner_yor",
            {"train/yo": ("train.txt",), "dev/yo": ("dev.txt",), "test/yo": ("test.txt",)},
            partial(columns, separator=" "),
        ),
        hub=Hub(
            "masakhane/masakhaner",
            CONVERTED,
            {"train/yo": "train", "dev/yo": "validation", "test/yo": "test"},
            partial(tagged, names=MASAKHANER_NUMBERS),
            "yor",
        ),
        labels=iob2(("DATE", "LOC", "ORG", "PER")),
        num_examples=2_171,
        licence="CC BY-NC 4.0",
        citation="Adelani et al. 2021, MasakhaNER",
        notes=f"Some names begin with I, and are taken to begin there. {CONVERSION}",
        repair=begun_spans,
    ),
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
