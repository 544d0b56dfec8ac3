"""The four tasks of XTREME-R that have Finnish: English training, Finnish evaluation.

Other languages are there to choose pivots from: they have evaluation splits alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from xlray.tasks.passages import squad
from xlray.tasks.readers import aligned, columns
from xlray.tasks.structured import span_answers, tagged, translation
from xlray.tasks.tagging import UPOS, WIKIANN, WIKIANN_NUMBERS, XTREME, XTREME_COMMIT
from xlray.tasks.task import Files, Hub, Task

# ISO 639-1 codes with the names that XTREME's copies on the Hub use; in this order: a sweep trains on the first, and
# Finnish comes before the others. Kazakh, Tagalog, Thai and Yoruba have no dev set of parts of speech, Swedish is in
# neither of XTREME's copies: its files come from UD and WikiANN themselves.
PIVOTS = ("et", "hu", "ru")
UDPOS = {
    **{"en": "English", "fi": "Finnish", "et": "Estonian", "hu": "Hungarian", "ru": "Russian", "af": "Afrikaans"},
    **{"ar": "Arabic", "bg": "Bulgarian", "de": "German", "el": "Greek", "es": "Spanish", "eu": "Basque"},
    **{"fa": "Persian", "fr": "French", "he": "Hebrew", "hi": "Hindi", "id": "Indonesian", "it": "Italian"},
    **{"ja": "Japanese", "ko": "Korean", "mr": "Marathi", "nl": "Dutch", "pt": "Portuguese", "ta": "Tamil"},
    **{"te": "Telugu", "tr": "Turkish", "ur": "Urdu", "vi": "Vietnamese", "zh": "Chinese"},
}
PANX = (
    *("en", "fi", *PIVOTS, "af", "ar", "bg", "bn", "de", "el", "es", "eu", "fa", "fr", "he", "hi", "id", "it", "ja"),
    *("jv", "ka", "kk", "ko", "ml", "mr", "ms", "my", "nl", "pt", "sw", "ta", "te", "th", "tl", "tr", "ur", "vi"),
    *("yo", "zh"),
)
TATOEBA = {
    **{"fi": "fin", "et": "est", "hu": "hun", "ru": "rus", "af": "afr", "ar": "ara", "bg": "bul", "bn": "ben"},
    **{"de": "deu", "el": "ell", "es": "spa", "eu": "eus", "fa": "pes", "fr": "fra", "he": "heb", "hi": "hin"},
    **{"id": "ind", "it": "ita", "ja": "jpn", "jv": "jav", "ka": "kat", "kk": "kaz", "ko": "kor", "ml": "mal"},
    **{"mr": "mar", "nl": "nld", "pt": "por", "sw": "swh", "ta": "tam", "te": "tel", "th": "tha", "tl": "tgl"},
    **{"tr": "tur", "ur": "urd", "vi": "vie", "zh": "cmn"},
}
TYDIQA = {
    **{"en": "english", "fi": "finnish", "ru": "russian", "ko": "korean", "ar": "arabic", "bn": "bengali"},
    **{"id": "indonesian", "sw": "swahili", "te": "telugu"},
}
HUB_SPLITS = {"train": "train", "dev": "validation", "test": "test"}


def tagging_splits(languages: Iterable[str]) -> tuple[str, ...]:
    """English training, and an evaluation of every language."""
    return ("train/en", *(f"{split}/{code}" for split in ("dev", "test") for code in languages))


def tagging_hub(configs: Mapping[str, str], shape: Callable[..., Any]) -> Hub:
    """XTREME's copy, one configuration for each language."""
    splits = tagging_splits(configs)
    return Hub(
        XTREME,
        XTREME_COMMIT,
        {split: HUB_SPLITS[split.split("/")[0]] for split in splits},
        shape,
        configs={split: configs[split.split("/")[1]] for split in splits},
    )


def tagging_files(languages: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """XTREME's names: `<split>-<language>.tsv`."""
    return {split: (f"{split.replace('/', '-')}.tsv",) for split in tagging_splits(languages)}


TYDIQA_EVALUATIONS = {
    f"dev/{code}": (f"{name}_tydiqa_dev.json",) for code, name in TYDIQA.items() if code not in ("en", "fi")
}
TYDIQA_HUB = {
    "train/en": ("train", "english-"),
    "dev/en": ("validation", "english-"),
    "dev/fi": ("train", "finnish-"),
    "test/fi": ("validation", "finnish-"),
    **{f"dev/{code}": ("validation", f"{name}-") for code, name in TYDIQA.items() if code not in ("en", "fi")},
}

TARGETS = (
    Task(
        name="udpos",
        kind="tagging",
        role="target",
        languages=(*UDPOS, "sv"),
        source=Files(folder="udpos", splits=tagging_files((*UDPOS, "sv")), read=columns),
        hub=tagging_hub(
            {code: f"udpos.{name}" for code, name in UDPOS.items()}, partial(tagged, tags="pos_tags", names=UPOS)
        ),
        labels=UPOS,
        num_examples=21_253,
        licence="per treebank of Universal Dependencies 2.5",
        citation="Nivre et al. 2020, Universal Dependencies v2; files of XTREME (Hu et al. 2020)",
        notes="Tokens may be `#`; the files have no comments. All languages but English are for evaluation only.",
    ),
    Task(
        name="panx",
        kind="tagging",
        role="target",
        languages=(*PANX, "sv"),
        source=Files(
            folder="panx", splits=tagging_files((*PANX, "sv")), read=partial(columns, languages=(*PANX, "sv"))
        ),
        hub=tagging_hub({code: f"PAN-X.{code}" for code in PANX}, partial(tagged, names=WIKIANN_NUMBERS)),
        labels=WIKIANN,
        num_examples=20_000,
        licence="terms of WikiANN not stated; text of Wikipedia (CC BY-SA 3.0)",
        citation="Pan et al. 2017; splits of Rahimi et al. 2019; files of XTREME (Hu et al. 2020)",
        notes=(
            "Some sentences of dev/fi occur in train/en. All languages but English are for evaluation only; panx_es and "
            "panx_ru train on the training split of the same set."
        ),
    ),
    Task(
        name="tydiqa",
        kind="span_qa",
        role="target",
        languages=tuple(TYDIQA),
        source=Files(
            folder="tydiqa",
            splits={
                "train/en": ("english_tydiqa_train.json",),
                "dev/en": ("english_tydiqa_dev.json",),
                "dev/fi": ("finnish_tydiqa_dev.json",),
                "test/fi": ("finnish_tydiqa_dev.json",),
                **TYDIQA_EVALUATIONS,
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
                        **TYDIQA_EVALUATIONS,
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
        num_examples=3_696,
        licence="Apache-2.0",
        citation="Clark et al. 2020, TyDi QA (GoldP)",
        notes=(
            "GoldP's official Finnish dev file is split by passage into dev/fi and test/fi. Where GoldP's Finnish "
            "training file lies beside it, it is dev/fi, for evaluation only, and test/fi is the whole official file; "
            "so it is on the Hub. The other languages are GoldP's official dev files, for evaluation only."
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
