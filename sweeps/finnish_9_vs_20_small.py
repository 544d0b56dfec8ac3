"""Are 20 tasks better than 9 for zero-shot Finnish, and does their language matter? The question at a size for two cores.

The matched two by two of `finnish_9_vs_20.py` with fewer of everything: real sets, and the lower eight layers of an encoder of
40 M parameters in XLM-R's layout, in the folder `encoder`. Its plan, its pilots and its result are in `docs/study.md`.

    python docs/study/prepare.py DATA data                    # once: the data folder of this sweep
    python docs/study/shorten.py E5_SMALL encoder 8           # once: its encoder
    xlray run sweeps/finnish_9_vs_20_small.py --data-dir data --set 'seeds=[0]'               # one seed
    xlray run sweeps/finnish_9_vs_20_small.py --data-dir data                                 # the others as well

Answer: no effect of the number was found. 20 tasks instead of 9 change the mean of the three trained targets on Finnish dev by
+0.46 points [-0.72, 1.65], other languages instead of English by +0.48 [-0.73, 1.68]; every cell lies below no task at all.
All 45 trials were run, 2,048 examples each: `docs/study.md`, which also says what this does not mean for XLM-R Large.
"""

from functools import partial

from xlray import Encoder, Execution, Intermediate, Sweep, Target, Task, subsets
from xlray.tasks import Files
from xlray.tasks.pools import make_pool
from xlray.tasks.readers import verses

english = make_pool(
    "en",
    (
        *("ag_news", "boolq", "cb", "cola", "mrpc", "rte", "sst2", "trec_qc"),
        *("tweet_emotion", "tweet_offensive", "tweet_sentiment", "wic"),
        *("arc_easy", "copa_en", "dream", "piqa", "social_iqa"),
        *("bc2gm", "conll2000_chunking", "wnut17"),
        "squad",
    ),
)
other = make_pool(
    "non-en",
    (
        *("afrisenti_ha", "basqueglue_bhtc", "farstail_fa", "germeval2018_de", "indonli_id", "indonlu_smsa", "jnli_ja"),
        *("norec_sentence_no", "ocnli_zh", "pl_8tags", "rucola_ru", "wisesight_th"),
        *("c3_zh", "exams_bg", "exams_pl", "jcommonsenseqa_ja", "parsinlu_mc"),
        *("masakhaner_hau", "masakhaner_swa", "masakhaner_yor"),
        "jsquad_ja",
    ),
)
draws = subsets.matched(english, other, sizes=(9, 20), num=3, seed=1)

LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "ko", "ru", "sv", "tr", "vi", "zh")
text = Task(
    name="verses",
    kind="mlm",
    languages=LANGUAGES,
    source=Files(
        "text/new_testament", {"train/ar": tuple(f"{code}.tsv" for code in LANGUAGES)}, partial(verses, pivots=())
    ),
    headline=(),
)

sweep = Sweep(
    name="finnish-9-vs-20-small",
    question="Does zero-shot Finnish gain from 20 instead of 9 intermediate tasks, and from English rather than other sources?",
    encoder=Encoder("encoder"),
    measure=(  # the two by two first: a seed whose controls are still to come can be compared already
        *draws,
        *subsets.empty(),
        *subsets.explicit(["squad"], source="control"),
        *subsets.explicit(["verses"], source="text-masked"),
    ),
    own_tasks=(text,),
    seeds=(0, 1, 2),
    intermediate=Intermediate(
        rungs=(2_048,), batch_size=16, learning_rate=1e-4, warmup_examples=256, max_length=96, stride=48
    ),
    targets=(
        Target("tatoeba", retrieval_layer=8),
        Target("udpos", num_examples=1_024, batch_size=16, learning_rate=2e-4, english=False, pivots=("et", "hu")),
        Target("panx", num_examples=2_048, batch_size=16, learning_rate=2e-4, english=False),
        Target("tydiqa", num_examples=768, batch_size=16, learning_rate=2e-4, english=False, max_length=192, stride=96),
    ),
    execution=Execution(
        num_workers=1, cpus_per_worker=1, zero_stage=0, micro_batch_tokens=4_096, max_concurrent_trials=2
    ),
)
