"""Span question answering."""

from __future__ import annotations

from functools import partial

from xlray.tasks.passages import squad, tagged_spans
from xlray.tasks.repairs import placed_answers
from xlray.tasks.structured import span_answers
from xlray.tasks.tagging import XTREME, XTREME_COMMIT
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Files, Hub, Task, usual_splits

# For tasks with the repair `placed_answers`, which leaves questions without an answer out.
QUESTIONS = partial(squad, unanswerable=True)
ROWS = partial(span_answers, unanswerable=True)


def tydiqa(language: str, name: str, num_examples: int, notes: str = "") -> Task:
    """TyDi QA GoldP in one language; `name` is the language's in names of files and in ids on the Hub."""
    return Task(
        name=f"tydiqa_{language}",
        kind="span_qa",
        languages=(language,),
        source=Files(
            f"tydiqa_{language}",
            {f"{split}/{language}": (f"{name}_tydiqa_{split}.json",) for split in ("train", "dev")},
            squad,
        ),
        hub=Hub(
            XTREME,
            XTREME_COMMIT,
            usual_splits(language, "train", "dev"),
            partial(span_answers, prefix=f"{name}-"),
            "tydiqa",
        ),
        multi_source=True,
        num_examples=num_examples,
        licence="Apache-2.0",
        citation="Clark et al. 2020, TyDi QA (GoldP)",
        notes=notes,
    )


QUESTION_ANSWERING = (
    tydiqa("ko", "korean", 1_625, "Korean is a pivot language of tydiqa."),
    tydiqa("sw", "swahili", 2_755),
    Task(
        name="drcd_zh",
        kind="span_qa",
        languages=("zh",),
        source=Files(
            "drcd_zh",
            {"train/zh": ("DRCD_training.json",), "dev/zh": ("DRCD_dev.json",), "test/zh": ("DRCD_test.json",)},
            squad,
        ),
        num_examples=26_936,
        licence="CC BY-SA 3.0",
        citation="Shao et al. 2018, DRCD",
        notes="Traditional characters.",
    ),
    Task(
        name="indonlu_facqa",
        kind="span_qa",
        languages=("id",),
        source=Files(
            "indonlu_facqa",
            {"train/id": ("train_preprocess.csv",), "dev/id": ("valid_preprocess.csv",)},
            tagged_spans,
        ),
        num_examples=2_495,
        licence="MIT (repository)",
        citation="Wilie et al. 2020, IndoNLU (FacQA, Purwarianti, Tsuchiya and Nakagawa 2007)",
        notes="Published as BIO tags; one passage in a hundred has several tagged spans, each taken as an answer.",
    ),
    Task(
        name="squad",
        kind="span_qa",
        languages=("en",),
        source=Files("squad", {"train/en": ("train-v1.1.json",), "dev/en": ("dev-v1.1.json",)}, squad),
        hub=Hub(
            "rajpurkar/squad",
            "7b6d24c440a36b6815f21b70d25016731768db1f",
            {"train/en": "train", "dev/en": "validation"},
            span_answers,
            "plain_text",
        ),
        num_examples=87_599,
        licence="CC BY-SA 4.0",
        citation="Rajpurkar et al. 2016, SQuAD",
    ),
    Task(
        name="squad_v2",
        kind="span_qa",
        languages=("en",),
        source=Files(
            "squad_v2",
            {"train/en": ("train-v2.0.json",), "dev/en": ("dev-v2.0.json",)},
            partial(squad, unanswerable=True),
        ),
        hub=Hub(
            "rajpurkar/squad_v2",
            "3ffb306f725f7d2ce8394bc1873b24868140c412",
            {"train/en": "train", "dev/en": "validation"},
            partial(span_answers, unanswerable=True),
            "squad_v2",
        ),
        contains=("squad",),
        num_examples=130_319,
        licence="CC BY-SA 4.0",
        citation="Rajpurkar, Jia and Liang 2018, SQuAD 2.0",
        notes="A third of the questions have no answer.",
    ),
    Task(
        name="adversarial_qa",
        kind="span_qa",
        languages=("en",),
        source=Files(
            "adversarial_qa", {"train/en": ("combined/train.json",), "dev/en": ("combined/dev.json",)}, QUESTIONS
        ),
        hub=Hub(
            "UCLNLP/adversarial_qa",
            "c2d5f738db1ad21a4126a144dfbb00cb51e0a4a9",
            {"train/en": "train", "dev/en": "validation"},
            ROWS,
            "adversarialQA",
        ),
        num_examples=30_000,
        licence="CC BY-SA 4.0 (the card also says 3.0)",
        citation="Bartolo et al. 2020, Beat the AI",
        notes="Passages of SQuAD. The answers of the test split are hidden.",
        repair=placed_answers,
    ),
    Task(
        name="korquad_ko",
        kind="span_qa",
        languages=("ko",),
        source=Files(
            "korquad_ko", {"train/ko": ("KorQuAD_v1.0_train.json",), "dev/ko": ("KorQuAD_v1.0_dev.json",)}, QUESTIONS
        ),
        hub=Hub(
            "KorQuAD/squad_kor_v1",
            "01aad23853355e5f4f6317eeaaa8186811424834",
            {"train/ko": "train", "dev/ko": "validation"},
            ROWS,
            "squad_kor_v1",
        ),
        num_examples=60_407,
        licence="CC BY-ND 2.0 KR",
        citation="Lim, Kim and Lee 2019, KorQuAD 1.0",
        repair=placed_answers,
    ),
    Task(
        name="klue_mrc",
        kind="span_qa",
        languages=("ko",),
        source=Files(
            "klue_mrc", {"train/ko": ("klue-mrc-v1.1_train.json",), "dev/ko": ("klue-mrc-v1.1_dev.json",)}, QUESTIONS
        ),
        hub=Hub(
            "klue/klue",
            "349481ec73fff722f88e0453ca05c77a447d967c",
            {"train/ko": "train", "dev/ko": "validation"},
            partial(span_answers, impossible="is_impossible"),
            "mrc",
        ),
        num_examples=17_554,
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE",
        notes="A third of the questions have no answer; their plausible answers are not used.",
        repair=partial(placed_answers, unanswerable=True),
    ),
    Task(
        name="cmrc2018_zh",
        kind="span_qa",
        languages=("zh",),
        source=Files(
            "cmrc2018_zh",
            {
                "train/zh": ("cmrc2018_train.json",),
                "dev/zh": ("cmrc2018_dev.json",),
                "test/zh": ("cmrc2018_trial.json",),
            },
            QUESTIONS,
        ),
        hub=Hub(
            "hfl/cmrc2018",
            "137f2c45a24275fb68f6961c4d357f46288886aa",
            {"train/zh": "train", "dev/zh": "validation", "test/zh": "test"},
            ROWS,
        ),
        num_examples=10_142,
        licence="CC BY-SA 4.0",
        citation="Cui et al. 2019, CMRC 2018",
        notes="Simplified characters. The split test is the publisher's trial set.",
        repair=placed_answers,
    ),
    Task(
        name="jsquad_ja",
        kind="span_qa",
        languages=("ja",),
        source=Files("jsquad_ja", {"train/ja": ("train-v1.3.json",), "dev/ja": ("valid-v1.3.json",)}, QUESTIONS),
        hub=Hub("sbintuitions/JSQuAD", None, {"train/ja": "train", "dev/ja": "validation"}, ROWS),
        num_examples=62_859,
        licence="CC BY-SA 4.0",
        citation="Kurihara, Kawahara and Shibata 2022, JGLUE",
        notes=f"A passage starts with its title and ` [SEP] `. Columns on the Hub not verified offline. {UNPINNED}",
        repair=placed_answers,
    ),
    Task(
        name="sberquad_ru",
        kind="span_qa",
        languages=("ru",),
        source=Files("sberquad_ru", {"train/ru": ("train_v1.0.json",), "dev/ru": ("dev_v1.0.json",)}, QUESTIONS),
        hub=Hub("kuznetsoffandrey/sberquad", CONVERTED, {"train/ru": "train", "dev/ru": "validation"}, ROWS),
        num_examples=45_328,
        licence="not stated",
        citation="Efimov et al. 2020, SberQuAD",
        notes=f"The answers of the test split are hidden. {CONVERSION}",
        repair=placed_answers,
    ),
    Task(
        name="germanquad_de",
        kind="span_qa",
        languages=("de",),
        source=Files(
            "germanquad_de", {"train/de": ("GermanQuAD_train.json",), "test/de": ("GermanQuAD_test.json",)}, QUESTIONS
        ),
        hub=Hub(
            "deepset/germanquad",
            "a2f3a59f0be843fc305d0417d7292ef0b1a66884",
            {"train/de": "train", "test/de": "test"},
            ROWS,
        ),
        num_examples=11_518,
        licence="CC BY 4.0",
        citation="Möller, Risch and Pietsch 2021, GermanQuAD",
        notes="A commit of the Hub's conversion of a script. There is no dev split.",
        repair=placed_answers,
    ),
    Task(
        name="piaf_fr",
        kind="span_qa",
        languages=("fr",),
        source=Files("piaf_fr", {"train/fr": ("piaf-v1.0.json",)}, QUESTIONS),
        hub=Hub("etalab-ia/piaf", CONVERTED, {"train/fr": "train"}, ROWS),
        num_examples=3_835,
        licence="MIT",
        citation="Keraron et al. 2020, PIAF",
        notes=f"There is no dev split. {CONVERSION}",
        repair=placed_answers,
    ),
    Task(
        name="squad_it",
        kind="span_qa",
        languages=("it",),
        source=Files("squad_it", {"train/it": ("SQuAD_it-train.json",), "test/it": ("SQuAD_it-test.json",)}, QUESTIONS),
        hub=Hub("crux82/squad_it", CONVERTED, {"train/it": "train", "test/it": "test"}, ROWS),
        derived_from=("squad",),
        translated="machine",
        num_examples=54_159,
        licence="CC BY-SA 4.0",
        citation="Croce, Zelenanska and Basili 2018, SQuAD-it",
        notes=f"SQuAD translated by machine. {CONVERSION}",
        repair=placed_answers,
    ),
    Task(
        name="squad_es",
        kind="span_qa",
        languages=("es",),
        source=Files("squad_es", {"train/es": ("train-v1.1-es.json",), "dev/es": ("dev-v1.1-es.json",)}, QUESTIONS),
        hub=Hub("ccasimiro/squad_es", CONVERTED, {"train/es": "train", "dev/es": "validation"}, ROWS, "v1.1.0"),
        derived_from=("squad",),
        translated="machine",
        num_examples=87_595,
        licence="CC BY 4.0",
        citation="Carrino, Costa-jussà and Fonollosa 2020, SQuAD-es",
        notes=f"SQuAD translated by machine. {CONVERSION}",
        repair=placed_answers,
    ),
    Task(
        name="tquad_tr",
        kind="span_qa",
        languages=("tr",),
        source=Files(
            "tquad_tr", {"train/tr": ("tquad_train_data_v2.json",), "dev/tr": ("tquad_dev_data_v2.json",)}, QUESTIONS
        ),
        hub=Hub("erdometo/tquad2", None, {"train/tr": "train", "dev/tr": "validation"}, ROWS),
        licence="not stated",
        citation="TQuAD 2, Turkish NLP Q&A dataset",
        notes=f"Size and columns not verified offline. {UNPINNED}",
        repair=placed_answers,
    ),
    Task(
        name="viquad_vi",
        kind="span_qa",
        languages=("vi",),
        source=Hub(
            "taidng/UIT-ViQuAD2.0",
            None,
            {"train/vi": "train", "dev/vi": "validation"},
            partial(span_answers, impossible="is_impossible"),
        ),
        num_examples=28_457,
        licence="research only",
        citation="Nguyen et al. 2022, UIT-ViQuAD 2.0",
        notes=(
            "On the Hub alone: its publisher hands files out on request. A third of the questions have no answer. The "
            f"answers of the test split are hidden. Columns not verified offline. {UNPINNED}"
        ),
        repair=partial(placed_answers, unanswerable=True),
    ),
    Task(
        name="arcd_ar",
        kind="span_qa",
        languages=("ar",),
        source=Files("arcd_ar", {"train/ar": ("arcd-train.json",), "dev/ar": ("arcd-test.json",)}, QUESTIONS),
        hub=Hub("hsseinmz/arcd", CONVERTED, {"train/ar": "train", "dev/ar": "validation"}, ROWS),
        num_examples=693,
        licence="MIT",
        citation="Mozannar et al. 2019, ARCD",
        notes=CONVERSION,
        repair=placed_answers,
    ),
)
