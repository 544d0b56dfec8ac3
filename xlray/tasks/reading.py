"""Multiple choice over passages, exams, and answers to be judged right or wrong."""

from __future__ import annotations

from functools import partial

from xlray.tasks.glue import SUPER_GLUE, SUPER_GLUE_COMMIT
from xlray.tasks.passages import examinations, nested_answers
from xlray.tasks.readers import json_array, json_lines, table
from xlray.tasks.shapes import Number, multiple_choice
from xlray.tasks.structured import checked_answer, distractors, exam, lettered
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Files, Hub, Task, usual_splits

ANSWERS = ("answer0", "answer1", "answer2", "answer3")
RACE = partial(lettered, context="article", question="question", choices="options", answer="answer")
COSMOS = partial(
    multiple_choice, context="context", question="question", choices=ANSWERS, label=Number(left_out=("-1",))
)
QUAIL = partial(
    multiple_choice, context="context", question="question", choices="answers", label=Number("correct_answer_id")
)
RIGHT = {"0": "wrong", "1": "right"}
CHECKED = partial(checked_answer, names=RIGHT)


def exams(language: str, num_examples: int) -> Task:
    """EXAMS in one language."""
    files = {f"{split}/{language}": (f"{split}_{language}.jsonl",) for split in ("train", "dev")}
    splits = usual_splits(language, "train", "dev")
    return Task(
        name=f"exams_{language}",
        kind="multiple_choice",
        languages=(language,),
        source=Files(f"exams_{language}", files, partial(json_lines, shape=exam)),
        hub=Hub("mhardalov/exams", None, splits, exam, f"crosslingual_{language}"),
        num_examples=num_examples,
        licence="CC BY-SA 4.0",
        citation="Hardalov et al. 2020, EXAMS",
        notes=f"School examinations, without passages. A few questions without a right choice are left out. {UNPINNED}",
    )


READING = (
    Task(
        name="race",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "race",
            {
                "train/en": ("train/middle/*.txt", "train/high/*.txt"),
                "dev/en": ("dev/middle/*.txt", "dev/high/*.txt"),
                "test/en": ("test/middle/*.txt", "test/high/*.txt"),
            },
            partial(examinations, shape=RACE),
        ),
        hub=Hub(
            "ehovy/race",
            "2fec9fd81f1dc971569a9b729c43f2f0e6436637",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            RACE,
            "all",
        ),
        num_examples=87_866,
        licence="non-commercial research",
        citation="Lai et al. 2017, RACE",
        notes="Middle and high school.",
    ),
    Task(
        name="cosmosqa",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "cosmosqa",
            {"train/en": ("train.csv",), "dev/en": ("valid.csv",)},
            partial(table, shape=COSMOS, separator=",", quoted=True, header=("context", "question", *ANSWERS, "label")),
        ),
        hub=Hub(
            "allenai/cosmos_qa",
            CONVERTED,
            {"train/en": "train", "dev/en": "validation"},
            COSMOS,
        ),
        num_examples=25_262,
        licence="CC BY 4.0",
        citation="Huang et al. 2019, Cosmos QA",
        notes=f"The labels of the test split are hidden. {CONVERSION}",
    ),
    Task(
        name="quail",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "quail", {"train/en": ("train.jsonl",), "dev/en": ("dev.jsonl",)}, partial(json_lines, shape=QUAIL)
        ),
        hub=Hub(
            "textmachinelab/quail",
            CONVERTED,
            {"train/en": "train", "dev/en": "validation"},
            QUAIL,
        ),
        num_examples=10_246,
        licence="CC BY-NC-SA 4.0",
        citation="Rogers et al. 2020, QuAIL",
        notes=f"The challenge split is no split here. {CONVERSION}",
    ),
    Task(
        name="sciq",
        kind="multiple_choice",
        languages=("en",),
        source=Files(
            "sciq",
            {"train/en": ("train.json",), "dev/en": ("valid.json",), "test/en": ("test.json",)},
            partial(json_array, shape=distractors),
        ),
        hub=Hub(
            "allenai/sciq",
            "2c94ad3e1aafab77146f384e23536f97a4849815",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            distractors,
        ),
        num_examples=11_679,
        licence="CC BY-NC 3.0",
        citation="Welbl, Liu and Gardner 2017, SciQ",
        notes="Published with the right answer apart; the choices stand in alphabetical order. Some have no passage.",
    ),
    Task(
        name="multirc",
        kind="classification",
        languages=("en",),
        source=Files(
            "multirc",
            {"train/en": ("train.jsonl",), "dev/en": ("val.jsonl",)},
            partial(nested_answers, shape=CHECKED),
        ),
        hub=Hub(SUPER_GLUE, SUPER_GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, CHECKED, "multirc"),
        labels=("wrong", "right"),
        num_examples=27_243,
        licence="research only (SuperGLUE)",
        citation="Khashabi et al. 2018, MultiRC; SuperGLUE (Wang et al. 2019)",
        notes="The second text is a question and one of its answers. The labels of the test split are hidden.",
    ),
    Task(
        name="muserc_ru",
        kind="classification",
        languages=("ru",),
        source=Files(
            "muserc_ru",
            {"train/ru": ("train.jsonl",), "dev/ru": ("val.jsonl",)},
            partial(nested_answers, shape=CHECKED),
        ),
        hub=Hub(
            "RussianNLP/russian_super_glue",
            CONVERTED,
            {"train/ru": "train", "dev/ru": "validation"},
            CHECKED,
            "muserc",
        ),
        labels=("wrong", "right"),
        num_examples=11_950,
        licence="MIT",
        citation="Fenogenova et al. 2020, MuSeRC; Russian SuperGLUE (Shavrina et al. 2020)",
        notes=f"The second text is a question and one of its answers. The labels of the test split are hidden. {CONVERSION}",
    ),
    exams("bg", 2_344),
    exams("hu", 1_731),
    exams("pl", 1_577),
)
