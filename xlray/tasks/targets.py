"""The four tasks of XTREME-R that have Finnish: English training, Finnish evaluation.

Other languages are there to choose among pivots: they have evaluation splits alone, and the order of languages puts
English and Finnish first.
"""

from __future__ import annotations

from functools import partial

from xlray.tasks.passages import squad
from xlray.tasks.readers import aligned, columns
from xlray.tasks.structured import span_answers, tagged, translation
from xlray.tasks.tagging import UPOS, WIKIANN, WIKIANN_NUMBERS, XTREME, XTREME_COMMIT
from xlray.tasks.task import Files, Hub, Task

LANGUAGES = {"en": "English", "fi": "Finnish", "et": "Estonian", "hu": "Hungarian", "ru": "Russian"}
TATOEBA = {"fi": "fin", "et": "est", "hu": "hun", "ru": "rus"}
HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}

# In this order: a sweep trains on the first, and Finnish comes before the pivots.
EVALUATIONS = tuple(f"{split}/{code}" for split in ("dev", "test") for code in LANGUAGES)
TAGGING_SPLITS = ("train/en", *EVALUATIONS)
TAGGING_FILES = {split: (f"{split.replace('/', '-')}.tsv",) for split in TAGGING_SPLITS}
TAGGING_HUB = {split: HUB_SPLITS[split.split("/")[0]] for split in TAGGING_SPLITS}

TYDIQA_PIVOTS = {"dev/ru": ("russian_tydiqa_dev.json",), "dev/ko": ("korean_tydiqa_dev.json",)}
TYDIQA_HUB = {
    "train/en": ("train", "english-"),
    "dev/en": ("validation", "english-"),
    "dev/fi": ("train", "finnish-"),
    "test/fi": ("validation", "finnish-"),
    "dev/ru": ("validation", "russian-"),
    "dev/ko": ("validation", "korean-"),
}

TARGETS = (
    Task(
        name="udpos",
        kind="tagging",
        role="target",
        languages=tuple(LANGUAGES),
        source=Files(folder="udpos", splits=TAGGING_FILES, read=columns),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            TAGGING_HUB,
            partial(tagged, tags="pos_tags", names=UPOS),
            configs={split: f"udpos.{LANGUAGES[split.split('/')[1]]}" for split in TAGGING_SPLITS},
        ),
        labels=UPOS,
        num_examples=21_253,
        licence="per treebank of Universal Dependencies 2.5",
        citation="Nivre et al. 2020, Universal Dependencies v2; files of XTREME (Hu et al. 2020)",
        notes="Tokens may be `#`; the files have no comments. Estonian, Hungarian and Russian are for evaluation only.",
    ),
    Task(
        name="panx",
        kind="tagging",
        role="target",
        languages=tuple(LANGUAGES),
        source=Files(folder="panx", splits=TAGGING_FILES, read=partial(columns, languages=tuple(LANGUAGES))),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            TAGGING_HUB,
            partial(tagged, names=WIKIANN_NUMBERS),
            configs={split: f"PAN-X.{split.split('/')[1]}" for split in TAGGING_SPLITS},
        ),
        labels=WIKIANN,
        headline=("f1",),
        num_examples=20_000,
        licence="terms of WikiANN not stated; text of Wikipedia (CC BY-SA 3.0)",
        citation="Pan et al. 2017; splits of Rahimi et al. 2019; files of XTREME (Hu et al. 2020)",
        notes=(
            "Some sentences of dev/fi occur in train/en. Estonian, Hungarian and Russian are for evaluation only; "
            "panx_ru trains on the training split of the same set."
        ),
    ),
    Task(
        name="tydiqa",
        kind="span_qa",
        role="target",
        languages=("en", "fi", "ru", "ko"),
        source=Files(
            folder="tydiqa",
            splits={
                "train/en": ("english_tydiqa_train.json",),
                "dev/en": ("english_tydiqa_dev.json",),
                "dev/fi": ("finnish_tydiqa_dev.json",),
                "test/fi": ("finnish_tydiqa_dev.json",),
                **TYDIQA_PIVOTS,
            },
            read=squad,
            readers={"dev/fi": partial(squad, half=0), "test/fi": partial(squad, half=1)},
            when_present={
                "finnish_tydiqa_train.json": Files(
                    folder="tydiqa",
                    splits={
                        "train/en": ("english_tydiqa_train.json",),
                        "dev/en": ("english_tydiqa_dev.json",),
                        "dev/fi": ("finnish_tydiqa_train.json",),
                        "test/fi": ("finnish_tydiqa_dev.json",),
                        **TYDIQA_PIVOTS,
                    },
                    read=squad,
                )
            },
        ),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            {split: hub_split for split, (hub_split, _) in TYDIQA_HUB.items()},
            span_answers,
            "tydiqa",
            shapes={split: partial(span_answers, prefix=prefix) for split, (_, prefix) in TYDIQA_HUB.items()},
        ),
        headline=("f1", "exact_match"),
        num_examples=3_696,
        licence="Apache-2.0",
        citation="Clark et al. 2020, TyDi QA (GoldP)",
        notes=(
            "GoldP's official Finnish dev file is split by passage into dev/fi and test/fi. Where GoldP's Finnish "
            "training file lies beside it, it is dev/fi, for evaluation only, and test/fi is the whole official file; "
            "so it is on the Hub. Russian and Korean are GoldP's official dev files, for evaluation only."
        ),
    ),
    Task(
        name="tatoeba",
        kind="retrieval",
        role="target",
        languages=("en", *TATOEBA),
        source=Files(
            folder="tatoeba",
            splits={
                f"all/{code}": (f"tatoeba.{name}-eng.eng", f"tatoeba.{name}-eng.{name}")
                for code, name in TATOEBA.items()
            },
            read=aligned,
        ),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            {f"all/{code}": "validation" for code in TATOEBA},
            translation,
            configs={f"all/{code}": f"tatoeba.{name}" for code, name in TATOEBA.items()},
        ),
        licence="CC BY 2.0 FR",
        citation="Artetxe and Schwenk 2019 (LASER); Tatoeba",
        notes=(
            "No training. One index of all pairs; dev and test divide the queries. Which side of the Hub's pairs is "
            "English was not verified offline."
        ),
    ),
)
