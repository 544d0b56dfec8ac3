"""Named entities in news, the web and science."""

from __future__ import annotations

from functools import partial

from xlray.tasks.readers import between_sentences, columns
from xlray.tasks.repairs import begun_spans, spans_of_characters, spans_of_types
from xlray.tasks.structured import tagged
from xlray.tasks.tagging import iob2
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Files, Hub, Task, usual_splits

# Each in the order of the publisher's numbers.
CONLL = iob2(("PER", "ORG", "LOC", "MISC"))
WNUT = iob2(("corporation", "creative-work", "group", "location", "person", "product"))
GERMEVAL = iob2(tuple(f"{name}{part}" for name in ("LOC", "ORG", "OTH", "PER") for part in ("", "deriv", "part")))
KLUE = (*iob2(("DT", "LC", "OG", "PS", "QT", "TI"))[1:], "O")
SWEDISH = ("O", "LOC", "MISC", "ORG", "PER")
ESTNER = iob2(("DATE", "EVENT", "GPE", "LOC", "MONEY", "ORG", "PER", "PERCENT", "PROD", "TIME", "TITLE"))

CONLL_2003 = partial(columns, separator=" ", num_columns=4)


def untagged(line: str) -> bool:
    """Whether a line of the Swedish corpus is no word and its tag; one holds a word alone, which the Hub's copy lacks."""
    return len(line.split()) != 2


def conll2002(language: str, name: str, num_examples: int) -> Task:
    """CoNLL 2002 in one language; `name` begins the names of its files."""
    return Task(
        name=f"conll2002_{language}",
        kind="tagging",
        languages=(language,),
        source=Files(
            f"conll2002_{language}",
            {
                f"train/{language}": (f"{name}.train",),
                f"dev/{language}": (f"{name}.testa",),
                f"test/{language}": (f"{name}.testb",),
            },
            partial(columns, separator=" ", num_columns=3),
        ),
        hub=Hub(
            "eriktks/conll2002",
            CONVERTED,
            usual_splits(language),
            partial(tagged, names=CONLL),
            language,
        ),
        labels=CONLL,
        num_examples=num_examples,
        licence="research only",
        citation="Tjong Kim Sang 2002",
        notes=f"Files of three columns in UTF-8, as in NLTK's corpora and on the Hub. Size not verified offline. {CONVERSION}",
        repair=begun_spans,
    )


def wikineural(language: str) -> Task:
    """WikiNEuRal in one language."""
    return Task(
        name=f"wikineural_{language}",
        kind="tagging",
        languages=(language,),
        source=Files(
            f"wikineural_{language}",
            {
                f"train/{language}": ("train.conllu",),
                f"dev/{language}": ("val.conllu",),
                f"test/{language}": ("test.conllu",),
            },
            partial(columns, num_columns=3, token=1),
        ),
        hub=Hub(
            "Babelscape/wikineural",
            None,
            {
                f"{split}/{language}": f"{name}_{language}"
                for split, name in (("train", "train"), ("dev", "val"), ("test", "test"))
            },
            partial(tagged, names=CONLL),
        ),
        labels=CONLL,
        licence="CC BY-NC-SA 4.0",
        citation="Tedeschi et al. 2021, WikiNEuRal",
        notes=f"Tagged by machine. Size of the training file not verified. {UNPINNED}",
        repair=begun_spans,
    )


NAMES = (
    Task(
        name="conll2003",
        kind="tagging",
        languages=("en",),
        source=Files(
            "conll2003",
            {"train/en": ("eng.train",), "dev/en": ("eng.testa",), "test/en": ("eng.testb",)},
            CONLL_2003,
            when_present={
                "train.txt": Files(
                    "conll2003",
                    {"train/en": ("train.txt",), "dev/en": ("valid.txt",), "test/en": ("test.txt",)},
                    CONLL_2003,
                )
            },
        ),
        hub=Hub(
            "eriktks/conll2003",
            CONVERTED,
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(tagged, names=CONLL),
        ),
        labels=CONLL,
        num_examples=14_041,
        licence="research only; text of Reuters",
        citation="Tjong Kim Sang and De Meulder 2003",
        notes=(
            "The shared task's files (IOB1) or, where train.txt lies in the folder, train.txt, valid.txt and test.txt "
            f"(IOB2). {CONVERSION}"
        ),
        repair=begun_spans,
    ),
    Task(
        name="wnut17",
        kind="tagging",
        languages=("en",),
        source=Files(
            "wnut17",
            {
                "train/en": ("wnut17train.conll",),
                "dev/en": ("emerging.dev.conll",),
                "test/en": ("emerging.test.annotated",),
            },
            columns,
        ),
        hub=Hub(
            "leondz/wnut_17",
            "1ac0b6d18c8a1a1d1606b24bef78b8af2f92d2d9",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(tagged, names=WNUT),
        ),
        labels=WNUT,
        num_examples=3_394,
        licence="CC BY 4.0",
        citation="Derczynski et al. 2017, WNUT 2017 Emerging and Rare Entities",
        notes="A commit of the Hub's conversion of a script. Posts and comments of the web.",
        repair=begun_spans,
    ),
    Task(
        name="bc2gm",
        kind="tagging",
        languages=("en",),
        source=Files(
            "bc2gm", {"train/en": ("train.tsv",), "dev/en": ("devel.tsv",), "test/en": ("test.tsv",)}, columns
        ),
        hub=Hub(
            "spyysalo/bc2gm_corpus",
            CONVERTED,
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            partial(tagged, names=iob2(("GENE",))),
        ),
        labels=iob2(("GENE",)),
        num_examples=12_500,
        licence="not stated",
        citation="Smith et al. 2008, BioCreative II Gene Mention",
        notes=(
            "Genes in abstracts of PubMed, in the files of spyysalo/bc2gm-corpus, as on the Hub; those of "
            f"MTL-Bioinformatics-2016 read as well and hold 12,574. {CONVERSION}"
        ),
        repair=begun_spans,
    ),
    conll2002("es", "esp", 8_323),
    conll2002("nl", "ned", 15_806),
    Task(
        name="germeval2014_de",
        kind="tagging",
        languages=("de",),
        source=Files(
            "germeval2014_de",
            {"train/de": ("NER-de-train.tsv",), "dev/de": ("NER-de-dev.tsv",), "test/de": ("NER-de-test.tsv",)},
            partial(columns, num_columns=4, token=1, tag=2, between=partial(between_sentences, comment="#\t")),
        ),
        hub=Hub(
            "GermanEval/germeval_14",
            CONVERTED,
            {"train/de": "train", "dev/de": "validation", "test/de": "test"},
            partial(tagged, names=GERMEVAL),
        ),
        labels=GERMEVAL,
        num_examples=24_000,
        licence="CC BY 4.0",
        citation="Benikova, Biemann and Reznicek 2014, NoSta-D",
        notes=f"The outer names alone. {CONVERSION}",
        repair=begun_spans,
    ),
    Task(
        name="estner_et",
        kind="tagging",
        languages=("et",),
        source=Hub(
            "tartuNLP/EstNER",
            None,
            {"train/et": "train", "dev/et": "dev", "test/et": "test"},
            tagged,
        ),
        labels=ESTNER,
        num_examples=16_966,
        licence="CC BY 4.0",
        citation="Sirts 2023, Estonian Named Entity Recognition: New Datasets and Models",
        notes=(
            "The Hub alone joins the publisher's two sets. The first of three levels. Estonian is a pivot language. "
            f"{UNPINNED}"
        ),
        repair=begun_spans,
    ),
    Task(
        name="swedish_ner_sv",
        kind="tagging",
        languages=("sv",),
        source=Files(
            "swedish_ner_sv",
            {"train/sv": ("train_corpus.txt",), "test/sv": ("test_corpus.txt",)},
            partial(columns, separator=None, between=untagged),
        ),
        hub=Hub(
            "klintan/swedish_ner_corpus",
            CONVERTED,
            {"train/sv": "train", "test/sv": "test"},
            partial(tagged, names=SWEDISH),
        ),
        labels=iob2(("LOC", "MISC", "ORG", "PER")),
        num_examples=6_886,
        licence="CC BY 4.0",
        citation="Almgren, Pavlov and Mogren 2016; Swedish NER Corpus (Klintberg)",
        notes=(
            "Published without B and I: neighbours of one type are one name. A line without a tag ends a sentence, as in "
            f"the Hub's copy. {CONVERSION}"
        ),
        repair=spans_of_types,
    ),
    Task(
        name="klue_ner",
        kind="tagging",
        languages=("ko",),
        source=Files(
            "klue_ner",
            {"train/ko": ("klue-ner-v1.1_train.tsv",), "dev/ko": ("klue-ner-v1.1_dev.tsv",)},
            partial(columns, between=partial(between_sentences, comment="## ")),
        ),
        hub=Hub(
            "klue/klue",
            "349481ec73fff722f88e0453ca05c77a447d967c",
            {"train/ko": "train", "dev/ko": "validation"},
            partial(tagged, names=KLUE),
            "ner",
        ),
        labels=KLUE,
        num_examples=21_008,
        licence="CC BY-SA 4.0",
        citation="Park et al. 2021, KLUE",
        notes="The tokens are characters; spaces are dropped.",
        repair=spans_of_characters,
    ),
    *map(wikineural, ("pl", "pt", "nl")),
)
