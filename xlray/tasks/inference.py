"""Natural language inference: whether a hypothesis, an answer or a statement follows from a text."""

from __future__ import annotations

from functools import partial

from xlray.tasks.readers import json_lines, table
from xlray.tasks.shapes import classified, labelled
from xlray.tasks.similarity import GLUE, GLUE_COMMIT, KLUE, KLUE_COMMIT
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Files, Hub, Joined, Task

NLI_LABELS = ("entailment", "neutral", "contradiction")
NLI_INITIALS = {"e": "entailment", "n": "neutral", "c": "contradiction"}

ENTAILED = ("entailment", "not_entailment")
SUPER_GLUE = "aps/super_glue"
SUPER_GLUE_COMMIT = "3de24cf8022e94f4ee4b9d55a6f539891524d646"

NLI = partial(classified, text="premise", text_pair="hypothesis", names=NLI_LABELS)

MNLI = Task(
    name="mnli",
    kind="classification",
    role="intermediate",
    languages=("en",),
    source=Hub(GLUE, GLUE_COMMIT, {"train/en": "train", "dev/en": "validation_matched"}, NLI, "mnli"),
    labels=NLI_LABELS,
    num_examples=392_702,
    licence="OANC licence; parts of the fiction CC BY-SA 3.0 and CC BY 3.0",
    citation="Williams, Nangia and Bowman 2018, MultiNLI; Wang et al. 2019, GLUE",
    notes="Development on the matched genres.",
)

SNLI = Task(
    name="snli",
    kind="classification",
    role="intermediate",
    languages=("en",),
    source=Hub(
        "stanfordnlp/snli",
        "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
        {"train/en": "train", "dev/en": "validation", "test/en": "test"},
        NLI,
    ),
    labels=NLI_LABELS,
    num_examples=549_367,
    licence="CC BY-SA 4.0",
    citation="Bowman et al. 2015, SNLI",
    notes="Pairs without a majority label are left out.",
)

ANLI = Task(
    name="anli",
    kind="classification",
    role="intermediate",
    languages=("en",),
    source=Hub(
        "facebook/anli",
        "8e4813d81f46d313dac7892e1c28076917cfcdf9",
        {
            "train/en": "train_r1+train_r2+train_r3",
            "dev/en": "dev_r1+dev_r2+dev_r3",
            "test/en": "test_r1+test_r2+test_r3",
        },
        NLI,
    ),
    labels=NLI_LABELS,
    num_examples=162_865,
    licence="CC BY-NC 4.0",
    citation="Nie et al. 2020, Adversarial NLI",
    notes="The three rounds together.",
)

INFERENCE = (
    MNLI,
    SNLI,
    ANLI,
    Task(
        name="anli_plus",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Joined((ANLI, MNLI, SNLI)),
        labels=NLI_LABELS,
        contains=("anli", "mnli", "snli"),
        num_examples=1_104_934,
        licence="as anli, mnli and snli",
        citation="Phang et al. 2020 (their ANLI+)",
    ),
    Task(
        name="qnli",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            partial(classified, text="question", text_pair="sentence", names=ENTAILED),
            "qnli",
        ),
        labels=ENTAILED,
        num_examples=104_743,
        licence="CC BY-SA 4.0",
        citation="Rajpurkar et al. 2016; Wang et al. 2019, GLUE (QNLI)",
        notes="Whether a sentence holds the answer. Questions and passages are those of squad.",
    ),
    Task(
        name="rte",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            partial(classified, text="sentence1", text_pair="sentence2", names=ENTAILED),
            "rte",
        ),
        labels=ENTAILED,
        num_examples=2_490,
        licence="not stated; the PASCAL and TAC challenges' terms",
        citation="Dagan et al. 2005 to Bentivogli et al. 2009; Wang et al. 2019, GLUE (RTE)",
    ),
    Task(
        name="cb",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            SUPER_GLUE,
            SUPER_GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            # The order of the numbers is the publisher's own.
            partial(
                classified, text="premise", text_pair="hypothesis", names=("entailment", "contradiction", "neutral")
            ),
            "cb",
        ),
        labels=NLI_LABELS,
        headline=("accuracy", "macro_f1"),
        num_examples=250,
        licence="not stated",
        citation="de Marneffe, Simons and Tonhauser 2019, CommitmentBank; Wang et al. 2019, SuperGLUE (CB)",
    ),
    Task(
        name="scitail",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            "allenai/scitail",
            "0cc4353235b289165dfde1c7c5d1be983f99ce44",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(
                classified,
                text="premise",
                text_pair="hypothesis",
                names={"entails": "entailment", "neutral": "neutral"},
            ),
            "tsv_format",
        ),
        labels=("entailment", "neutral"),
        num_examples=23_097,
        licence="not stated",
        citation="Khot, Sabharwal and Clark 2018, SciTail",
        notes="The version in two columns. Some premises are whole web pages.",
    ),
    Task(
        name="boolq",
        kind="classification",
        role="intermediate",
        languages=("en",),
        source=Hub(
            SUPER_GLUE,
            SUPER_GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            partial(classified, text="passage", text_pair="question", names=("no", "yes")),
            "boolq",
        ),
        labels=("no", "yes"),
        num_examples=9_427,
        licence="CC BY-SA 3.0",
        citation="Clark et al. 2019, BoolQ; Wang et al. 2019, SuperGLUE",
    ),
    Task(
        name="ocnli_zh",
        kind="classification",
        role="intermediate",
        languages=("zh",),
        source=Files(
            "ocnli_zh",
            {"train/zh": ("train.10k.json",), "dev/zh": ("dev.json",)},
            partial(
                json_lines,
                shape=partial(labelled, text="sentence1", text_pair="sentence2", label="label", left_out=("-",)),
            ),
        ),
        labels=NLI_LABELS,
        num_examples=10_000,
        licence="CC BY-NC 2.0",
        citation="Hu et al. 2020, OCNLI",
        notes="The published training subset of 10,000. Pairs without a majority label (`-`) are left out.",
    ),
    Task(
        name="ocnli_50k_zh",
        kind="classification",
        role="intermediate",
        languages=("zh",),
        source=Hub(
            "clue/clue",
            None,
            {"train/zh": "train", "dev/zh": "validation"},
            # The order of the numbers is the publisher's own.
            partial(
                classified, text="sentence1", text_pair="sentence2", names=("neutral", "entailment", "contradiction")
            ),
            "ocnli",
        ),
        labels=NLI_LABELS,
        contains=("ocnli_zh",),
        num_examples=50_437,
        licence="CC BY-NC 2.0",
        citation="Hu et al. 2020, OCNLI; Xu et al. 2020, CLUE",
        notes=f"All training pairs, those of ocnli_zh among them. {UNPINNED}",
    ),
    Task(
        name="klue_nli",
        kind="classification",
        role="intermediate",
        languages=("ko",),
        source=Hub(KLUE, KLUE_COMMIT, {"train/ko": "train", "dev/ko": "validation"}, NLI, "nli"),
        labels=NLI_LABELS,
        num_examples=24_998,
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE (KLUE-NLI)",
    ),
    Task(
        name="jnli_ja",
        kind="classification",
        role="intermediate",
        languages=("ja",),
        source=Hub(
            "shunk031/JGLUE",
            CONVERTED,
            {"train/ja": "train", "dev/ja": "validation"},
            # The order of the numbers is the publisher's own.
            partial(
                classified, text="sentence1", text_pair="sentence2", names=("entailment", "contradiction", "neutral")
            ),
            "JNLI",
        ),
        labels=NLI_LABELS,
        num_examples=20_073,
        licence="CC BY-SA 4.0",
        citation="Kurihara, Kawahara and Shibata 2022, JGLUE (JNLI)",
        notes=f"{CONVERSION} That it holds JNLI was not verified offline.",
    ),
    Task(
        name="indonli_id",
        kind="classification",
        role="intermediate",
        languages=("id",),
        source=Files(
            "indonli_id",
            {"train/id": ("train.jsonl",), "dev/id": ("val.jsonl",), "test/id": ("test_lay.jsonl",)},
            partial(
                json_lines,
                shape=partial(labelled, text="premise", text_pair="hypothesis", label="label", names=NLI_INITIALS),
            ),
        ),
        hub=Hub("afaji/indonli", CONVERTED, {"train/id": "train", "dev/id": "validation"}, NLI),
        labels=NLI_LABELS,
        num_examples=10_330,
        licence="CC BY-SA 3.0 (Wikipedia); news parts by their treebanks' terms",
        citation="Mahendra et al. 2021, IndoNLI",
        notes=f"{CONVERSION} That it exists was not verified offline; it would mix the two test sets.",
    ),
    Task(
        name="farstail_fa",
        kind="classification",
        role="intermediate",
        languages=("fa",),
        source=Files(
            "farstail_fa",
            {"train/fa": ("Train-word.csv",), "dev/fa": ("Val-word.csv",), "test/fa": ("Test-word.csv",)},
            partial(
                table,
                shape=partial(labelled, text="premise", text_pair="hypothesis", label="label", names=NLI_INITIALS),
                quoted=True,
                header=("premise", "hypothesis", "label"),
            ),
        ),
        labels=NLI_LABELS,
        num_examples=7_266,
        licence="Apache-2.0",
        citation="Amirkhani et al. 2023, FarsTail",
        notes="The files are tab-separated, whatever their names say, and quote cells that hold tabs.",
    ),
)
