"""Tasks whose training sets are machine translations of English ones."""

from __future__ import annotations

from functools import partial

from xlray.tasks.inference import NLI, NLI_LABELS
from xlray.tasks.paraphrase import SAME
from xlray.tasks.shapes import classified
from xlray.tasks.task import CONVERSION, CONVERTED, Hub, Joined, Task

NLI_TR = "boun-tabi/nli_tr"
NLI_TR_CITATION = "Budur et al. 2020, NLI-TR"


def xnli(language: str) -> Task:
    """XNLI in one language."""
    splits = {f"train/{language}": "train", f"dev/{language}": "validation", f"test/{language}": "test"}
    return Task(
        name=f"xnli_{language}",
        kind="classification",
        role="intermediate",
        languages=(language,),
        source=Hub("facebook/xnli", "b8dd5d7af51114dbda02c0e3f6133f332186418e", splits, NLI, language),
        labels=NLI_LABELS,
        num_examples=392_702,
        licence="CC BY-NC 4.0",
        citation="Conneau et al. 2018, XNLI",
        notes="The training set is a machine translation of mnli's; dev and test are translated by hand.",
    )


def paws_x(language: str) -> Task:
    """PAWS-X in one language."""
    return Task(
        name=f"paws_{language}",
        kind="classification",
        role="intermediate",
        languages=(language,),
        source=Hub(
            "google-research-datasets/paws-x",
            "4cd8187c404bda33cb1f62b49b001115862acf37",
            {f"train/{language}": "train", f"dev/{language}": "validation", f"test/{language}": "test"},
            partial(classified, text="sentence1", text_pair="sentence2", names=SAME),
            language,
        ),
        labels=SAME,
        num_examples=49_401,
        licence="free for any purpose, as is (Google)",
        citation="Yang et al. 2019, PAWS-X",
        notes=(
            "The training set is a machine translation of paws's; dev and test are translated by hand. Pairs with an "
            "empty sentence are left out."
        ),
    )


SNLI_TR = Task(
    name="snli_tr",
    kind="classification",
    role="intermediate",
    languages=("tr",),
    source=Hub(NLI_TR, CONVERTED, {"train/tr": "train", "dev/tr": "validation", "test/tr": "test"}, NLI, "snli_tr"),
    labels=NLI_LABELS,
    num_examples=550_152,
    licence="as snli: CC BY-SA 4.0",
    citation=NLI_TR_CITATION,
    notes=f"Machine translation of snli; the number counts pairs without a label, which are left out. {CONVERSION}",
)

MULTINLI_TR = Task(
    name="multinli_tr",
    kind="classification",
    role="intermediate",
    languages=("tr",),
    source=Hub(NLI_TR, CONVERTED, {"train/tr": "train", "dev/tr": "validation"}, NLI, "multinli_tr"),
    labels=NLI_LABELS,
    num_examples=392_702,
    licence="as mnli",
    citation=NLI_TR_CITATION,
    notes=(
        "Machine translation of mnli. In the conversion's folder the matched and the mismatched validation split are "
        f"one. {CONVERSION}"
    ),
)

TRANSLATED = (
    SNLI_TR,
    MULTINLI_TR,
    Task(
        name="nli_tr",
        kind="classification",
        role="intermediate",
        languages=("tr",),
        source=Joined((SNLI_TR, MULTINLI_TR)),
        labels=NLI_LABELS,
        contains=("snli_tr", "multinli_tr"),
        num_examples=942_854,
        licence="as snli_tr and multinli_tr",
        citation=NLI_TR_CITATION,
        notes="Machine translations of snli and mnli.",
    ),
    *map(xnli, ("fr", "ar", "hi", "vi", "sw", "el")),
    *map(paws_x, ("de", "es", "fr", "ja", "ko", "zh")),
)
