"""Multiple choice: reading, dialogue, knowledge and causes."""

from __future__ import annotations

from functools import partial

from xlray.tasks.paired import paired_lines
from xlray.tasks.passages import dialogue_choices
from xlray.tasks.readers import json_lines, table
from xlray.tasks.shapes import Number, copa, multiple_choice
from xlray.tasks.structured import blank_filled, exam, lettered, social
from xlray.tasks.task import CONVERSION, CONVERTED, Files, Hub, Task

ENDINGS = ("ending0", "ending1", "ending2", "ending3")
HELLASWAG = partial(multiple_choice, question="ctx", choices="endings", label=Number(left_out=("",)))
SWAG = partial(multiple_choice, question="startphrase", choices=ENDINGS, label=Number(left_out=("-1",)))
PIQA = partial(multiple_choice, question="goal", choices=("sol1", "sol2"), label=Number(left_out=("-1",)))

MULTIPLE_CHOICE = (
    Task(
        name="dream",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "dream",
            {"train/en": ("train.json",), "dev/en": ("dev.json",), "test/en": ("test.json",)},
            dialogue_choices,
        ),
        num_examples=6_116,
        licence="non-commercial research",
        citation="Sun et al. 2019, DREAM",
    ),
    Task(
        name="c3_zh",
        kind="multiple_choice",
        languages=("zh",),
        source=Files("c3_zh", {"train/zh": ("c3-d-train.json",), "dev/zh": ("c3-d-dev.json",)}, dialogue_choices),
        num_examples=5_856,
        licence="non-commercial research",
        citation="Sun et al. 2020, C3",
        notes="The dialogues (c3-d). Three or four choices; one training question has its answer twice among them.",
    ),
    Task(
        name="copa_en",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "copa_en",
            {"train/en": ("train-en.jsonl",), "dev/en": ("val-en.jsonl",)},
            partial(json_lines, shape=copa),
        ),
        hub=Hub(
            "aps/super_glue",
            "3de24cf8022e94f4ee4b9d55a6f539891524d646",
            {"train/en": "train", "dev/en": "validation"},
            copa,
            "copa",
        ),
        num_examples=400,
        licence="BSD-2-Clause",
        citation="Roemmele, Bejan and Gordon 2011; files of XCOPA (Ponti et al. 2020)",
        notes="The distribution's test file has the label 0 everywhere (hidden labels) and is no split.",
    ),
    Task(
        name="jcommonsenseqa_ja",
        kind="multiple_choice",
        languages=("ja",),
        source=Files(
            "jcommonsenseqa_ja",
            {"train/ja": ("train-v1.3.json",), "dev/ja": ("valid-v1.3.json",)},
            partial(
                json_lines,
                shape=partial(
                    multiple_choice,
                    question="question",
                    choices=("choice0", "choice1", "choice2", "choice3", "choice4"),
                ),
            ),
        ),
        num_examples=8_939,
        licence="CC BY-SA 4.0",
        citation="Kurihara, Kawahara and Shibata 2022, JGLUE",
    ),
    Task(
        name="parsinlu_mc",
        kind="multiple_choice",
        languages=("fa",),
        source=Files(
            "parsinlu_mc",
            {"train/fa": ("train.jsonl",), "dev/fa": ("valid.jsonl",)},
            partial(
                json_lines,
                shape=partial(
                    multiple_choice, question="question", choices="candidates", label=Number("answer", first=1)
                ),
            ),
        ),
        num_examples=1_271,
        licence="CC BY-NC-SA 4.0",
        citation="Khashabi et al. 2021, ParsiNLU",
        notes="Answers count from 1, once in Persian digits; a few candidates are empty.",
    ),
    Task(
        name="hellaswag",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "hellaswag",
            {"train/en": ("hellaswag_train.jsonl",), "dev/en": ("hellaswag_val.jsonl",)},
            partial(json_lines, shape=HELLASWAG),
        ),
        hub=Hub(
            "Rowan/hellaswag",
            "218ec52e09a7e7462a5400043bb9a69a41d06b76",
            {"train/en": "train", "dev/en": "validation"},
            HELLASWAG,
        ),
        num_examples=39_905,
        licence="MIT",
        citation="Zellers et al. 2019, HellaSwag",
        notes="The labels of the test split are hidden.",
    ),
    Task(
        name="swag",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "swag",
            {"train/en": ("train.csv",), "dev/en": ("val.csv",)},
            partial(table, shape=SWAG, separator=",", quoted=True, header=("startphrase", *ENDINGS, "label")),
        ),
        hub=Hub(
            "allenai/swag",
            "dc48148372b3853a9c7bae7bb06c161b46d8364a",
            {"train/en": "train", "dev/en": "validation"},
            SWAG,
            "regular",
        ),
        num_examples=73_546,
        licence="MIT (repository)",
        citation="Zellers et al. 2018, SWAG",
        notes="The labels of the test split are hidden.",
    ),
    Task(
        name="commonsenseqa",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "commonsenseqa",
            {"train/en": ("train_rand_split.jsonl",), "dev/en": ("dev_rand_split.jsonl",)},
            partial(json_lines, shape=exam),
        ),
        hub=Hub(
            "tau/commonsense_qa",
            "94630fe30dad47192a8546eb75f094926d47e155",
            {"train/en": "train", "dev/en": "validation"},
            partial(lettered, question="question", choices="choices", answer="answerKey"),
        ),
        num_examples=9_741,
        licence="MIT",
        citation="Talmor et al. 2019, CommonsenseQA",
        notes="The answers of the test split are hidden.",
    ),
    Task(
        name="social_iqa",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "social_iqa",
            {"train/en": ("socialIQa_v1.4_trn.jsonl",), "dev/en": ("socialIQa_v1.4_dev.jsonl",)},
            partial(json_lines, shape=social),
            when_present={
                "train-labels.lst": Files(
                    "social_iqa",
                    {"train/en": ("train.jsonl", "train-labels.lst"), "dev/en": ("dev.jsonl", "dev-labels.lst")},
                    partial(paired_lines, shape=social, names=("", "label")),
                )
            },
        ),
        hub=Hub(
            "allenai/social_i_qa",
            CONVERTED,
            {"train/en": "train", "dev/en": "validation"},
            social,
        ),
        num_examples=33_410,
        licence="CC BY 4.0",
        citation="Sap et al. 2019, Social IQa",
        notes=(
            "Files of version 1.4 with letters or, where train-labels.lst lies in the folder, the first ones with a file of "
            f"labels. {CONVERSION}"
        ),
    ),
    Task(
        name="piqa",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "piqa",
            {
                "train/en": (
                    "train.jsonl",
                    "train-labels.lst",
                ),
                "dev/en": (
                    "valid.jsonl",
                    "valid-labels.lst",
                ),
            },
            partial(paired_lines, shape=PIQA, names=("", "label")),
        ),
        hub=Hub(
            "lighteval/piqa",
            "41782e6bf0ef7de82a2ca8a9feb1dca042837fae",
            {"train/en": "train", "dev/en": "validation"},
            PIQA,
            "plain_text",
        ),
        num_examples=16_113,
        licence="Academic Free License 3.0",
        citation="Bisk et al. 2020, PIQA",
        notes="A Parquet copy of ybisk/piqa. The labels of the test split are hidden.",
    ),
    Task(
        name="winogrande",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "winogrande",
            {"train/en": ("train_xl.jsonl",), "dev/en": ("dev.jsonl",)},
            partial(json_lines, shape=blank_filled),
        ),
        hub=Hub(
            "allenai/winogrande",
            "01e74176c63542e6b0bcb004dcdea22d94fb67b5",
            {"train/en": "train", "dev/en": "validation"},
            blank_filled,
            "winogrande_xl",
        ),
        num_examples=40_398,
        licence="CC BY",
        citation="Sakaguchi et al. 2020, WinoGrande",
        notes="A choice is the option and the rest of the sentence after the blank. The answers of the test split are hidden.",
    ),
    Task(
        name="openbookqa",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "openbookqa",
            {"train/en": ("train.jsonl",), "dev/en": ("dev.jsonl",), "test/en": ("test.jsonl",)},
            partial(json_lines, shape=exam),
        ),
        hub=Hub(
            "allenai/openbookqa",
            "388097ea7776314e93a529163e0fea805b8a6454",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(lettered, question="question_stem", choices="choices", answer="answerKey"),
            "main",
        ),
        num_examples=4_957,
        licence="Apache-2.0",
        citation="Mihaylov et al. 2018, OpenBookQA",
        notes="Without the book of facts.",
    ),
    Task(
        name="arc_easy",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "arc_easy",
            {
                "train/en": ("ARC-Easy-Train.jsonl",),
                "dev/en": ("ARC-Easy-Dev.jsonl",),
                "test/en": ("ARC-Easy-Test.jsonl",),
            },
            partial(json_lines, shape=exam),
        ),
        hub=Hub(
            "allenai/ai2_arc",
            "210d026faf9955653af8916fad021475a3f00453",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(lettered, question="question", choices="choices", answer="answerKey"),
            "ARC-Easy",
        ),
        num_examples=2_251,
        licence="CC BY-SA 4.0",
        citation="Clark et al. 2018, ARC",
        notes="Three to five choices; some go by digits.",
    ),
)
