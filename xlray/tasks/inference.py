"""Natural language inference: whether a hypothesis, an answer or a statement follows from a text."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from xlray.tasks.glue import GLUE, GLUE_COMMIT, SUPER_GLUE, SUPER_GLUE_COMMIT, glue, super_glue
from xlray.tasks.readers import json_array, json_lines, table
from xlray.tasks.shapes import classified
from xlray.tasks.similarity import KLUE, KLUE_COMMIT
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Files, Hub, Joined, Task

NLI_LABELS = ("entailment", "neutral", "contradiction")
NLI_INITIALS = {"e": "entailment", "n": "neutral", "c": "contradiction"}

ENTAILED = ("entailment", "not_entailment")

NLI = partial(classified, text="premise", text_pair="hypothesis", names=NLI_LABELS)
# Pairs without a majority label: "-" in SNLI's files and those made alike, -1 on the Hub.
MAJORITY = partial(NLI, unlabelled=("-", "-1"))
GOLD = partial(MAJORITY, text="sentence1", text_pair="sentence2", label="gold_label")
UNDECIDED = "Pairs without a majority label are left out."

QNLI = partial(classified, text="question", text_pair="sentence", names=ENTAILED)
RTE = partial(classified, text="sentence1", text_pair="sentence2", names=ENTAILED)
# The orders of these numbers are the publishers' own.
CB = partial(NLI, names=("entailment", "contradiction", "neutral"))
JNLI = partial(CB, text="sentence1", text_pair="sentence2")
OCNLI = partial(
    classified,
    text="sentence1",
    text_pair="sentence2",
    names=("neutral", "entailment", "contradiction"),
    unlabelled=("-", "-1"),
)
SCITAIL = partial(
    classified,
    text="sentence1",
    text_pair="sentence2",
    label="gold_label",
    names={"entails": "entailment", "entailment": "entailment", "neutral": "neutral"},
)
YES_NO = partial(classified, text="passage", text_pair="question", names=("no", "yes"))


def snli_files(folder: str, splits: dict[str, str], older: dict[str, str] | None = None) -> Files:
    """Files in SNLI's form of JSON lines, one a split; `older` are the names of another version of theirs."""
    read = partial(json_lines, shape=GOLD)
    found = Files(folder, {split: (name,) for split, name in splits.items()}, read)
    if older is None:
        return found
    return replace(found, when_present={next(iter(older.values())): snli_files(folder, older)})


MNLI = Task(
    name="mnli",
    kind="classification",
    languages=("en",),
    source=replace(
        glue(
            "mnli",
            GOLD,
            ("sentence1", "sentence2", "gold_label"),
            dev="dev_matched.tsv",
        ),
        when_present={
            "multinli_1.0_train.jsonl": snli_files(
                "mnli", {"train/en": "multinli_1.0_train.jsonl", "dev/en": "multinli_1.0_dev_matched.jsonl"}
            )
        },
    ),
    hub=Hub(GLUE, GLUE_COMMIT, {"train/en": "train", "dev/en": "validation_matched"}, NLI, "mnli"),
    labels=NLI_LABELS,
    num_examples=392_702,
    licence="OANC licence; parts of the fiction CC BY-SA 3.0 and CC BY 3.0",
    citation="Williams, Nangia and Bowman 2018, MultiNLI; Wang et al. 2019, GLUE",
    notes=(
        "Development on the matched genres. GLUE's files, or MultiNLI 1.0's as JSON lines, of whose development pairs 185 "
        "have no majority label and are left out."
    ),
)

SNLI = Task(
    name="snli",
    kind="classification",
    languages=("en",),
    source=snli_files(
        "snli",
        {
            "train/en": "snli_1.0_train.jsonl",
            "dev/en": "snli_1.0_dev.jsonl",
            "test/en": "snli_1.0_test.jsonl",
        },
    ),
    hub=Hub(
        "stanfordnlp/snli",
        "cdb5c3d5eed6ead6e5a341c8e56e669bb666725b",
        {"train/en": "train", "dev/en": "validation", "test/en": "test"},
        MAJORITY,
    ),
    labels=NLI_LABELS,
    num_examples=549_367,
    licence="CC BY-SA 4.0",
    citation="Bowman et al. 2015, SNLI",
    notes=UNDECIDED,
)

ANLI = Task(
    name="anli",
    kind="classification",
    languages=("en",),
    source=Files(
        "anli",
        {f"{split}/en": tuple(f"R{n}/{split}.jsonl" for n in (1, 2, 3)) for split in ("train", "dev", "test")},
        partial(json_lines, shape=partial(NLI, text="context", names=NLI_INITIALS)),
    ),
    hub=Hub(
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
        languages=("en",),
        source=glue("qnli", QNLI, ("question", "sentence", "label")),
        hub=Hub(GLUE, GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, QNLI, "qnli"),
        labels=ENTAILED,
        derived_from=("squad",),
        num_examples=104_743,
        licence="CC BY-SA 4.0",
        citation="Rajpurkar et al. 2016; Wang et al. 2019, GLUE (QNLI)",
        notes="Whether a sentence holds the answer. Questions and passages are those of squad.",
    ),
    Task(
        name="rte",
        kind="classification",
        languages=("en",),
        source=glue("rte", RTE, ("sentence1", "sentence2", "label")),
        hub=Hub(GLUE, GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, RTE, "rte"),
        labels=ENTAILED,
        num_examples=2_490,
        licence="not stated; the PASCAL and TAC challenges' terms",
        citation="Dagan et al. 2005 to Bentivogli et al. 2009; Wang et al. 2019, GLUE (RTE)",
    ),
    Task(
        name="cb",
        kind="classification",
        languages=("en",),
        source=super_glue("cb", CB),
        hub=Hub(SUPER_GLUE, SUPER_GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, CB, "cb"),
        labels=NLI_LABELS,
        headline=("accuracy", "macro_f1"),
        num_examples=250,
        licence="not stated",
        citation="de Marneffe, Simons and Tonhauser 2019, CommitmentBank; Wang et al. 2019, SuperGLUE (CB)",
    ),
    Task(
        name="scitail",
        kind="classification",
        languages=("en",),
        source=Files(
            "scitail",
            {f"{split}/en": (f"scitail_1.0_{split}.tsv",) for split in ("train", "dev", "test")},
            partial(table, shape=SCITAIL, names=("sentence1", "sentence2", "gold_label")),
            when_present={
                "scitail_1.0_train.txt": Files(
                    "scitail",
                    {f"{split}/en": (f"scitail_1.0_{split}.txt",) for split in ("train", "dev", "test")},
                    partial(json_lines, shape=SCITAIL),
                )
            },
        ),
        hub=Hub(
            "allenai/scitail",
            "0cc4353235b289165dfde1c7c5d1be983f99ce44",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            SCITAIL,
            "snli_format",
        ),
        labels=("entailment", "neutral"),
        num_examples=23_596,
        licence="not stated",
        citation="Khot, Sabharwal and Clark 2018, SciTail",
        notes=(
            "The files of tsv_format or of snli_format (`.txt`). The Hub's tsv_format takes quotes for CSV's, which joins "
            "hundreds of pairs into long premises; its snli_format, read here, is whole."
        ),
    ),
    Task(
        name="boolq",
        kind="classification",
        languages=("en",),
        source=super_glue("boolq", YES_NO, truth=True),
        hub=Hub(SUPER_GLUE, SUPER_GLUE_COMMIT, {"train/en": "train", "dev/en": "validation"}, YES_NO, "boolq"),
        labels=("no", "yes"),
        num_examples=9_427,
        licence="CC BY-SA 3.0",
        citation="Clark et al. 2019, BoolQ; Wang et al. 2019, SuperGLUE",
    ),
    Task(
        name="ocnli_zh",
        kind="classification",
        languages=("zh",),
        source=Files(
            "ocnli_zh",
            {"train/zh": ("train.10k.json",), "dev/zh": ("dev.json",)},
            partial(json_lines, shape=OCNLI),
        ),
        labels=NLI_LABELS,
        num_examples=9_985,
        licence="CC BY-NC 2.0",
        citation="Hu et al. 2020, OCNLI",
        notes=f"The published training subset of 10,000. {UNDECIDED}",
    ),
    Task(
        name="ocnli_50k_zh",
        kind="classification",
        languages=("zh",),
        source=Files(
            "ocnli_50k_zh",
            {"train/zh": ("train.50k.json",), "dev/zh": ("dev.json",)},
            partial(json_lines, shape=OCNLI),
            when_present={
                "train.json": Files(
                    "ocnli_50k_zh",
                    {"train/zh": ("train.json",), "dev/zh": ("dev.json",)},
                    partial(json_lines, shape=OCNLI),
                )
            },
        ),
        hub=Hub("clue/clue", None, {"train/zh": "train", "dev/zh": "validation"}, OCNLI, "ocnli"),
        labels=NLI_LABELS,
        contains=("ocnli_zh",),
        num_examples=50_437,
        licence="CC BY-NC 2.0",
        citation="Hu et al. 2020, OCNLI; Xu et al. 2020, CLUE",
        notes=(
            "All training pairs, those of ocnli_zh among them: OCNLI's train.50k.json, or CLUE's train.json. "
            f"{UNDECIDED} {UNPINNED}"
        ),
    ),
    Task(
        name="klue_nli",
        kind="classification",
        languages=("ko",),
        source=Files(
            "klue_nli",
            {"train/ko": ("klue-nli-v1.1_train.json",), "dev/ko": ("klue-nli-v1.1_dev.json",)},
            partial(json_array, shape=partial(NLI, label="gold_label")),
        ),
        hub=Hub(KLUE, KLUE_COMMIT, {"train/ko": "train", "dev/ko": "validation"}, NLI, "nli"),
        labels=NLI_LABELS,
        num_examples=24_998,
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE (KLUE-NLI)",
    ),
    Task(
        name="jnli_ja",
        kind="classification",
        languages=("ja",),
        source=Files(
            "jnli_ja",
            {"train/ja": ("train-v1.3.json",), "dev/ja": ("valid-v1.3.json",)},
            partial(json_lines, shape=JNLI),
        ),
        hub=Hub("shunk031/JGLUE", CONVERTED, {"train/ja": "train", "dev/ja": "validation"}, JNLI, "JNLI"),
        labels=NLI_LABELS,
        num_examples=20_073,
        licence="CC BY-SA 4.0",
        citation="Kurihara, Kawahara and Shibata 2022, JGLUE (JNLI)",
        notes=f"{CONVERSION} That it holds JNLI was not verified offline.",
    ),
    Task(
        name="indonli_id",
        kind="classification",
        languages=("id",),
        source=Files(
            "indonli_id",
            {"train/id": ("train.jsonl",), "dev/id": ("val.jsonl",), "test/id": ("test_lay.jsonl",)},
            partial(json_lines, shape=partial(NLI, names=NLI_INITIALS)),
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
        languages=("fa",),
        source=Files(
            "farstail_fa",
            {"train/fa": ("Train-word.csv",), "dev/fa": ("Val-word.csv",), "test/fa": ("Test-word.csv",)},
            partial(
                table,
                shape=partial(NLI, names=NLI_INITIALS),
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
