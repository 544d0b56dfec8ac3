"""Do more intermediate tasks help zero-shot Finnish? A small run on real data, for machines without a GPU.

Twelve real intermediate sets in nine languages and five kinds, a small multilingual encoder, the four targets of XTREME-R
with English training and Finnish evaluation. No task, 3 tasks and 9 tasks; two subsets of each size, two seeds.

    xlray run sweeps/finnish_small.py --data-dir DATA --set encoder=ENCODER

DATA holds one folder per task in its publisher's format; ENCODER is a small encoder of your own, a folder in XLM-R's layout
(for XLM-R Base, see `from_the_hub.py`: these learning rates are too high for it). Cost with a 4-layer encoder of hidden size
192: under an hour on two cores.
"""

from xlray import Encoder, Execution, Intermediate, Sweep, Target, subsets

pool = (
    "conll2000_chunking",  # en, tagging
    "dream",  # en, multiple choice
    "glue_stsb",  # en, regression
    "trec_qc",  # en, classification
    "ocnli_zh",  # zh, classification
    "indonli_id",  # id, classification
    "indonlu_facqa",  # id, span QA
    "rucola_ru",  # ru, classification
    "mtl_nlu_es",  # es, tagging
    "masakhaner_swa",  # sw, tagging
    "jcommonsenseqa_ja",  # ja, multiple choice
    "norec_sentence_no",  # no, classification
)

sweep = Sweep(
    name="finnish-small",
    question="Does zero-shot Finnish improve when a small encoder is trained on 3 or 9 other tasks first?",
    encoder=Encoder("encoder"),  # a folder, relative to where xlray is started; or --set encoder=FOLDER
    measure=(
        *subsets.empty(),
        *subsets.random_subsets(pool, size=3, num=2, seed=1),
        *subsets.random_subsets(pool, size=9, num=2, seed=1),
    ),
    seeds=(0, 1),
    intermediate=Intermediate(
        rungs=(4_096,), batch_size=64, learning_rate=4e-4, warmup_examples=512, max_length=128, stride=64
    ),
    targets=(
        Target("udpos", num_examples=4_096, batch_size=64, learning_rate=7e-4),
        Target("panx", num_examples=8_192, batch_size=64, learning_rate=7e-4),
        Target("tydiqa", num_examples=2_048, batch_size=32, learning_rate=4e-4, max_length=192, stride=96),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=2, zero_stage=1, micro_batch_tokens=4_096, checkpoint_every_steps=100),
)
