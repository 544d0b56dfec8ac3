"""Which of nine intermediate tasks is missed when it is left out?

The nine of Phang et al. 2020 without what contains another (ANLI+ without MNLI, SQuAD 2 without 1.1), filled up to
nine; all of them, each left out in turn, and none. A task's difference to the whole set is what it adds beside the
others, which is not what it adds alone: tasks that can stand in for one another are both not missed.

    xlray plan sweeps/leave_one_out.py --assume-sizes
    xlray run sweeps/leave_one_out.py --data-dir DATA

Cost: about 16 device-hours at an assumed 110 TFLOP/s. Answer: not run yet.
"""

from xlray import XLM_R_LARGE, Execution, Intermediate, Sweep, Target, subsets

pool = ("anli_plus", "ccg_en", "commonsenseqa", "conll2003", "cosmosqa", "hellaswag", "qqp", "social_iqa", "squad_v2")

sweep = Sweep(
    name="leave-one-out",
    question="Which of nine English intermediate tasks does zero-shot Finnish miss when it is left out?",
    encoder=XLM_R_LARGE,
    measure=(
        *subsets.empty(),
        *subsets.everything(pool, source="en"),
        *subsets.leave_one_out(pool, source="en"),
    ),
    seeds=(0, 1, 2, 3, 4),
    intermediate=Intermediate(rungs=(262_144,), batch_size=32, learning_rate=1e-5, warmup_examples=13_120),
    targets=(
        Target("udpos", num_examples=65_536, learning_rate=1e-5),
        Target("panx", num_examples=65_536, learning_rate=1e-5),
        Target("tydiqa", num_examples=8_192, learning_rate=2e-5, max_length=384, stride=128),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=1, gpus_per_worker=1, zero_stage=1, micro_batch_tokens=16_384),
    precision="bf16",
)
