"""Do the intermediate tasks of Phang et al. 2020 help Finnish with their own recipe?

Each of the nine English tasks alone, all nine together, and none (arXiv 2005.13013): mixing p ~ min(n, 2^17), learning
rate 1e-5 with 10 % warm-up and linear decay; targets at 3e-6 for ten epochs (two for TyDiQA). Epochs are given as
examples. Control: the targets at a higher learning rate, since 3e-6 may undertrain the model without intermediate tasks
and inflate every gain; copy the file, set `learning_rate=1e-5` there, and compare the empty subsets. The paper's ANLI+
holds MNLI and its SQuAD 2 holds SQuAD, which is why the joint set is theirs and no pool is drawn from.

    xlray plan sweeps/phang2020.py --assume-sizes
    xlray run sweeps/phang2020.py --data-dir DATA

Cost: about 12 device-hours at an assumed 110 TFLOP/s. Published: +5.4 points of
XTREME's score for the best intermediate model of each target, which is a selection. Answer here: not run yet.
"""

from xlray import XLM_R_LARGE, Execution, Intermediate, Sweep, Target, pools, subsets

sweep = Sweep(
    name="phang2020",
    question="Which of the nine intermediate tasks of Phang et al. 2020 helps zero-shot Finnish, and does their union?",
    encoder=XLM_R_LARGE,
    measure=(
        *subsets.empty(),
        *subsets.add_one([], pools.english9, source="en"),
        *subsets.everything(pools.english9, source="en"),
    ),
    seeds=(0, 1, 2),
    intermediate=Intermediate(
        rungs=(262_144,),
        batch_size=32,
        learning_rate=1e-5,
        schedule="linear",
        warmup_examples=26_208,
        scaled_losses=False,
    ),
    targets=(
        Target("udpos", num_examples=212_480, learning_rate=3e-6),
        Target("panx", num_examples=200_000, learning_rate=3e-6),
        Target("tydiqa", num_examples=7_392, batch_size=16, learning_rate=3e-6, max_length=384, stride=128),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=1, gpus_per_worker=1, zero_stage=1, micro_batch_tokens=16_384),
    precision="bf16",
)
