"""Sentiment and offence: what a text says for or against something."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from xlray.tasks.glue import GLUE, GLUE_COMMIT, glue
from xlray.tasks.lines import member
from xlray.tasks.paired import paired_lines
from xlray.tasks.readers import json_array, json_lines, table
from xlray.tasks.shapes import Row, classified
from xlray.tasks.task import CONVERSION, CONVERTED, UNPINNED, Files, Hub, Record, Task, usual_splits

POLARITIES = ("negative", "neutral", "positive")

POLES = ("negative", "positive")
WISESIGHT = partial(classified, text="texts", label="category", names=("pos", "neu", "neg", "q"))
OFFENCE = partial(classified, text="text", names={"OTHER": "OTHER", "OFFENSE": "OFFENSE"})

POLEMO_LABELS = {
    "__label__meta_minus_m": "negative",
    "__label__meta_zero": "neutral",
    "__label__meta_plus_m": "positive",
    "__label__meta_amb": "ambiguous",
}
POLEMO = partial(classified, text="sentence", label="target", names=POLEMO_LABELS)
VALENCES = {
    "negatiivne": "negative",
    "neutraalne": "neutral",
    "positiivne": "positive",
    "vastuoluline": "mixed",
}
# Configuration on the Hub and number of training examples.
AFRISENTI = {"ha": ("hau", 14_172), "am": ("amh", 5_984)}
# The order of the numbers on the Hub.
FALLING = partial(classified, text="text", names=tuple(reversed(POLARITIES)))
REVIEW = partial(classified, text="review", names=POLES)


def afrisenti(language: str) -> Task:
    """AfriSenti in one language."""
    config, num_examples = AFRISENTI[language]

    def files(train: str, dev: str) -> Files:
        read = partial(table, shape=partial(FALLING, text="tweet"), header=("tweet", "label"))
        return Files(f"afrisenti_{language}", {f"train/{language}": (train,), f"dev/{language}": (dev,)}, read)

    return Task(
        name=f"afrisenti_{language}",
        kind="classification",
        languages=(language,),
        source=replace(
            files(f"{language}_train.tsv", f"{language}_dev.tsv"),
            when_present={"train.tsv": files("train.tsv", "dev.tsv")},
        ),
        hub=Hub(
            "mteb/AfriSentiClassification",
            None,
            usual_splits(language, "train", "dev"),
            FALLING,
            config,
        ),
        labels=POLARITIES,
        headline=("macro_f1",),
        num_examples=num_examples,
        licence="CC BY 4.0",
        citation="Muhammad et al. 2023, AfriSenti",
        notes=(
            "Tweets. The files of SemEval 2023's subtask A, or train.tsv and dev.tsv of the language's folder in `data`. "
            f"On the Hub MTEB's copy; its columns not verified offline. {UNPINNED}"
        ),
    )


def tweet(row: Row, where: str, *, names: tuple[str, ...]) -> Record | None:
    """TweetEval: spaces at the ends of a tweet are dropped."""
    return classified(row | {"text": member(row, "text", str, where).strip()}, where, text="text", names=names)


def tweet_eval(name: str, labels: tuple[str, ...], num_examples: int, citation: str) -> Task:
    """One of TweetEval's tasks; the labels in the order of the publisher's numbers."""
    shape = partial(tweet, names=labels)
    theirs = {"train/en": "train", "dev/en": "val", "test/en": "test"}
    return Task(
        name=f"tweet_{name}",
        kind="classification",
        languages=("en",),
        source=Files(
            f"tweet_{name}",
            {split: (f"{part}_text.txt", f"{part}_labels.txt") for split, part in theirs.items()},
            partial(paired_lines, shape=shape, names=("text", "label")),
        ),
        hub=Hub(
            "cardiffnlp/tweet_eval",
            "b3a375baf0f409c77e6bc7aa35102b7b3534f8be",
            {"train/en": "train", "dev/en": "validation", "test/en": "test"},
            shape,
            name,
        ),
        labels=labels,
        headline=("macro_f1",),
        num_examples=num_examples,
        licence="not stated; Twitter's terms",
        citation=f"{citation}; Barbieri et al. 2020, TweetEval",
        notes="Texts and labels are two files, line by line. Spaces at the ends of a tweet are dropped.",
    )


SENTIMENT = (
    Task(
        name="husst_hu",
        kind="classification",
        languages=("hu",),
        source=Files(
            "husst_hu",
            {"train/hu": ("sst_train.json",), "dev/hu": ("sst_dev.json",)},
            partial(json_array, shape=partial(FALLING, text="Sent")),
        ),
        hub=Hub(
            "NYTK/HuSST",
            None,
            {"train/hu": "train", "dev/hu": "validation"},
            partial(classified, text="sentence", names={name: name for name in POLARITIES}),
        ),
        labels=POLARITIES,
        derived_from=("sst2",),
        translated="human",
        num_examples=9_328,
        licence="CC BY-SA 4.0",
        citation="Ligeti-Nagy et al. 2024, HuLU (HuSST)",
        notes=(
            "Full sentences of sst2's source, translated by hand and relabelled. "
            "The parts used here differ much between training and dev in the share of each label. The number is that of "
            "the file; its README says 9,347. On the Hub, files of JSON; their labels not verified offline. "
            f"{UNPINNED}"
        ),
    ),
    Task(
        name="indonlu_smsa",
        kind="classification",
        languages=("id",),
        source=Files(
            "indonlu_smsa",
            {"train/id": ("train_preprocess.tsv",), "dev/id": ("valid_preprocess.tsv",)},
            partial(table, shape=FALLING, names=("text", "label")),
        ),
        hub=Hub(
            "indonlp/indonlu",
            CONVERTED,
            {"train/id": "train", "dev/id": "validation"},
            FALLING,
            "smsa",
        ),
        labels=POLARITIES,
        num_examples=11_000,
        licence="MIT (repository)",
        citation="Wilie et al. 2020, IndoNLU (SmSA, Purwarianti and Crisdayanti 2019)",
        notes=CONVERSION,
    ),
    Task(
        name="norec_sentence_no",
        kind="classification",
        languages=("no",),
        source=Files(
            "norec_sentence_no",
            {"train/no": ("3class/train.json",), "dev/no": ("3class/dev.json",)},
            partial(json_array, shape=partial(classified, text="text", names=("Negative", "Neutral", "Positive"))),
        ),
        hub=Hub(
            "ltg/norec_sentence",
            "1da5fe5583cd43fde33c40a3fdd0393b291ae45b",
            {"train/no": "train", "dev/no": "validation"},
            partial(classified, text="review", label="sentiment", names=("Negative", "Neutral", "Positive")),
            "ternary",
        ),
        labels=("Negative", "Neutral", "Positive"),
        num_examples=7_973,
        licence="CC BY-NC 4.0",
        citation="Kutuzov et al. 2021; Øvrelid et al. 2020, NoReC_sentence",
        notes="The version with three classes.",
    ),
    Task(
        name="wisesight_th",
        kind="classification",
        languages=("th",),
        source=Files(
            "wisesight_th",
            {"train/th": ("train.jsonl",), "dev/th": ("valid.jsonl",)},
            partial(json_lines, shape=WISESIGHT),
        ),
        hub=Hub(
            "pythainlp/wisesight_sentiment",
            "85a79ed833429457227182c9f61a83e9127dfa2e",
            {"train/th": "train", "dev/th": "validation"},
            WISESIGHT,
            "wisesight_sentiment",
        ),
        labels=("neg", "neu", "pos", "q"),
        num_examples=21_628,
        licence="CC0-1.0",
        citation="Suriyawongkul et al. 2019, Wisesight Sentiment Corpus",
        notes="`q` is a question.",
    ),
    Task(
        name="germeval2018_de",
        kind="classification",
        languages=("de",),
        source=Files(
            "germeval2018_de",
            {"train/de": ("germeval2018.training.txt",), "test/de": ("germeval2018.test.txt",)},
            partial(table, shape=partial(OFFENCE, label="coarse"), names=("text", "coarse", "fine")),
        ),
        hub=Hub(
            "philschmid/germeval18",
            None,
            {"train/de": "train", "test/de": "test"},
            partial(OFFENCE, label="binary"),
        ),
        labels=("OTHER", "OFFENSE"),
        headline=("macro_f1",),
        num_examples=5_009,
        licence="CC BY 4.0",
        citation="Wiegand, Siegel and Ruppenhofer 2018, GermEval 2018",
        notes=(
            "The coarse labels of task 1. Quotes are text, `|LBR|` stands for a line break. There is no dev file. That "
            f"the copy on the Hub is complete was not verified offline. {UNPINNED}"
        ),
    ),
    Task(
        name="sst2",
        kind="classification",
        languages=("en",),
        source=glue("sst2", partial(classified, text="sentence", names=POLES), ("sentence", "label")),
        hub=Hub(
            GLUE,
            GLUE_COMMIT,
            {"train/en": "train", "dev/en": "validation"},
            partial(classified, text="sentence", names=POLES),
            "sst2",
        ),
        labels=POLES,
        num_examples=67_349,
        licence="not stated",
        citation="Socher et al. 2013; Wang et al. 2019, GLUE (SST-2)",
        notes="Most training examples are phrases.",
    ),
    Task(
        name="allocine_fr",
        kind="classification",
        languages=("fr",),
        source=Files(
            "allocine_fr",
            {"train/fr": ("train.jsonl",), "dev/fr": ("val.jsonl",), "test/fr": ("test.jsonl",)},
            partial(json_lines, shape=partial(REVIEW, label="polarity")),
        ),
        hub=Hub(
            "tblard/allocine",
            "a4654f4896408912913a62ace89614879a549287",
            {"train/fr": "train", "dev/fr": "validation", "test/fr": "test"},
            REVIEW,
        ),
        labels=POLES,
        num_examples=160_000,
        licence="MIT",
        citation="Blard 2020, Allociné",
        notes="Whole reviews of films.",
    ),
    Task(
        name="polemo2_pl",
        kind="classification",
        languages=("pl",),
        source=Files(
            "polemo2_pl",
            {"train/pl": ("train.tsv",), "dev/pl": ("dev.tsv",)},
            partial(table, shape=POLEMO, header=("sentence", "target")),
        ),
        hub=Hub(
            "allegro/klej-polemo2-in",
            "9843af31facd613eb091deaa4141df4331d4f918",
            {"train/pl": "train", "dev/pl": "validation"},
            POLEMO,
        ),
        labels=("negative", "neutral", "positive", "ambiguous"),
        num_examples=5_783,
        licence="CC BY-NC-SA 4.0",
        citation="Kocoń, Miłkowski and Zaśko-Zielińska 2019, PolEmo 2.0; Rybak et al. 2020, KLEJ",
        notes="KLEJ's in-domain part: reviews of medicine and hotels. KLEJ's files are tsv, those on the Hub CSV.",
    ),
    Task(
        name="swedish_reviews_sv",
        kind="classification",
        languages=("sv",),
        source=Files(
            "swedish_reviews_sv",
            {f"{split}/sv": (f"{split}.csv",) for split in ("train", "dev", "test")},
            partial(
                table,
                shape=partial(classified, text="text", label="sentiment", names=POLES),
                separator=",",
                quoted=True,
                header=("text", "sentiment"),
            ),
        ),
        hub=Hub(
            "timpal0l/swedish_reviews",
            "367454c32a4fd09b1493a401f03d82c22cb4cc85",
            {"train/sv": "train", "dev/sv": "validation", "test/sv": "test"},
            partial(classified, text="text", names=POLES),
        ),
        labels=POLES,
        num_examples=62_089,
        licence="not stated",
        citation="Isbister, Swedish Reviews (swedish-sentiment)",
        notes="Reviews from many web sites.",
    ),
    Task(
        name="estonian_valence_et",
        kind="classification",
        languages=("et",),
        source=Hub(
            "kardosdrur/estonian-valence",
            "9157397f05a127b3ac93b93dd88abf1bdf710c22",
            {"train/et": "train", "test/et": "test"},
            partial(classified, text="paragraph", label="valence", names=VALENCES),
        ),
        labels=("negative", "neutral", "positive", "mixed"),
        num_examples=3_277,
        licence="CC BY 4.0",
        citation="Pajupuu, Altrov and Pajupuu 2016, Estonian Valence Corpus",
        notes="Paragraphs of newspapers. There is no dev split.",
    ),
    tweet_eval("sentiment", POLARITIES, 45_615, "Rosenthal, Farra and Nakov 2017"),
    tweet_eval("offensive", ("not_offensive", "offensive"), 11_916, "Zampieri et al. 2019, OLID"),
    tweet_eval("emotion", ("anger", "joy", "optimism", "sadness"), 3_257, "Mohammad et al. 2018"),
    *map(afrisenti, ("ha", "am")),
)
