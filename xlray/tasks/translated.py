"""Tasks whose training sets are machine translations of English ones."""

from __future__ import annotations

from functools import partial

from xlray.tasks.inference import GOLD, MAJORITY, NLI, NLI_LABELS, UNDECIDED, snli_files
from xlray.tasks.paraphrase import PAWS_COLUMNS, SAME, paraphrased
from xlray.tasks.readers import table
from xlray.tasks.shapes import Row
from xlray.tasks.task import CONVERSION, CONVERTED, Files, Hub, Joined, Record, Task, usual_splits

NLI_TR = "boun-tabi/nli_tr"
NLI_TR_CITATION = "Budur et al. 2020, NLI-TR"


# XNLI's translated training files spell one label in another way.
XNLI_TRAINING = {name: name for name in NLI_LABELS} | {"contradictory": "contradiction"}


def in_language(row: Row, where: str, *, language: str) -> Record | None:
    """A row of XNLI's dev and test files, which hold all of its languages one after the other."""
    return GOLD(row, where) if row["language"] == language else None


def xnli(language: str) -> Task:
    """XNLI in one language."""
    splits = usual_splits(language)
    return Task(
        name=f"xnli_{language}",
        kind="classification",
        languages=(language,),
        source=Files(
            f"xnli_{language}",
            {
                f"train/{language}": (f"multinli.train.{language}.tsv",),
                f"dev/{language}": ("xnli.dev.tsv",),
                f"test/{language}": ("xnli.test.tsv",),
            },
            partial(
                table,
                shape=partial(in_language, language=language),
                header=("language", "gold_label", "sentence1", "sentence2"),
            ),
            readers={
                f"train/{language}": partial(
                    table,
                    shape=partial(NLI, text_pair="hypo", names=XNLI_TRAINING),
                    header=("premise", "hypo", "label"),
                )
            },
        ),
        hub=Hub("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e", splits, NLI, language),
        labels=NLI_LABELS,
        derived_from=("mnli",),
        translated="machine",
        num_examples=392_702,
        licence="CC BY-NC 4.0",
        citation="Conneau et al. 2018, XNLI",
        notes=(
            "The training set is a machine translation of mnli's (XNLI-MT); dev and test are translated by hand, all "
            "languages in one file. Pairs with a blank sentence are left out."
        ),
    )


def paws_x(language: str) -> Task:
    """PAWS-X in one language."""
    return Task(
        name=f"paws_{language}",
        kind="classification",
        languages=(language,),
        source=Files(
            f"paws_{language}",
            {
                f"train/{language}": ("translated_train.tsv",),
                f"dev/{language}": ("dev_2k.tsv",),
                f"test/{language}": ("test_2k.tsv",),
            },
            partial(table, shape=paraphrased, header=PAWS_COLUMNS),
        ),
        hub=Hub(
            "google-research-datasets/paws-x",
            "4cd8187c404bda33cb1f62b49b001115862acf37",
            usual_splits(language),
            paraphrased,
            language,
        ),
        labels=SAME,
        derived_from=("paws",),
        translated="machine",
        num_examples=49_401,
        licence="free for any purpose, as is (Google)",
        citation="Yang et al. 2019, PAWS-X",
        notes=(
            "The training set is a machine translation of paws's; dev and test are translated by hand. Pairs with a "
            "blank sentence, the placeholder NS or a wrong label are left out."
        ),
    )


def snli_tr(version: str) -> dict[str, str]:
    """Names of SNLI-TR's files."""
    return {f"{split}/tr": f"snli_tr_{version}_{split}.jsonl" for split in ("train", "dev", "test")}


def multinli_tr(version: str) -> dict[str, str]:
    """Names of MultiNLI-TR's files: training and the matched genres' dev."""
    return {
        f"{split}/tr": f"multinli_tr_{version}_{part}.jsonl"
        for split, part in (("train", "train"), ("dev", "dev_matched"))
    }


SNLI_TR = Task(
    name="snli_tr",
    kind="classification",
    languages=("tr",),
    source=snli_files("snli_tr", snli_tr("1.1"), older=snli_tr("1.0")),
    hub=Hub(NLI_TR, CONVERTED, {"train/tr": "train", "dev/tr": "validation", "test/tr": "test"}, MAJORITY, "snli_tr"),
    labels=NLI_LABELS,
    derived_from=("snli",),
    translated="machine",
    num_examples=549_367,
    licence="as snli: CC BY-SA 4.0",
    citation=NLI_TR_CITATION,
    notes=f"Machine translation of snli. The files of version 1.1 or 1.0. {UNDECIDED} {CONVERSION}",
)

MULTINLI_TR = Task(
    name="multinli_tr",
    kind="classification",
    languages=("tr",),
    source=snli_files("multinli_tr", multinli_tr("1.1"), older=multinli_tr("1.0")),
    hub=Hub(
        NLI_TR,
        CONVERTED,
        # In the folder of the matched genres its only split goes by the name of a training split.
        {"train/tr": "train", "dev/tr": "train"},
        MAJORITY,
        "multinli_tr",
        configs={"dev/tr": "multinli_tr/validation_matched"},
    ),
    labels=NLI_LABELS,
    derived_from=("mnli",),
    translated="machine",
    num_examples=392_702,
    licence="as mnli",
    citation=NLI_TR_CITATION,
    notes=(
        "Machine translation of mnli; development on the matched genres. The files of version 1.1 or 1.0. "
        f"{UNDECIDED} {CONVERSION}"
    ),
)

TRANSLATED = (
    SNLI_TR,
    MULTINLI_TR,
    Task(
        name="nli_tr",
        kind="classification",
        languages=("tr",),
        source=Joined((SNLI_TR, MULTINLI_TR)),
        labels=NLI_LABELS,
        contains=("snli_tr", "multinli_tr"),
        derived_from=("snli", "mnli"),
        translated="machine",
        num_examples=942_069,
        licence="as snli_tr and multinli_tr",
        citation=NLI_TR_CITATION,
        notes="Machine translations of snli and mnli.",
    ),
    *map(xnli, ("fr", "ar", "hi", "vi", "sw", "el")),
    *map(paws_x, ("de", "es", "fr", "ja", "ko", "zh")),
)
