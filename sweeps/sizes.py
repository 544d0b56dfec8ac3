"""How does zero-shot Finnish grow with the amount of intermediate training: with examples seen, and with distinct ones?

Two axes of size on six draws of nine tasks. Examples seen are the rungs: four sizes on one trunk, each a finished run
with a cooldown and full targets. Distinct examples are `subsets.at_sizes`: at most 1,000 of each task, 10,000, or all;
samples are nested. Where more examples seen help at 1,000 per task, it is training that helps, not data.

    xlray plan sweeps/sizes.py --assume-sizes
    xlray run sweeps/sizes.py --data-dir DATA

Cost: about 35 device-hours at an assumed 110 TFLOP/s; one trunk for four sizes saves a third of the steps. Answer: not run yet.
"""

from xlray import XLM_R_LARGE, Execution, Intermediate, Sweep, Target, pools, subsets

drawn = subsets.random_subsets(pools.english32, size=9, num=6, seed=1)

sweep = Sweep(
    name="sizes",
    question="How does zero-shot Finnish grow with the number of intermediate examples, seen and distinct?",
    encoder=XLM_R_LARGE,
    measure=(*subsets.empty(), *subsets.at_sizes(drawn, (1_000, 10_000, None))),
    seeds=(0, 1, 2),
    intermediate=Intermediate(
        rungs=(65_536, 131_072, 262_144, 524_288), batch_size=32, learning_rate=1e-5, warmup_examples=6_560
    ),
    targets=(
        Target("udpos", num_examples=32_768, learning_rate=1e-5),
        Target("panx", num_examples=32_768, learning_rate=1e-5),
        Target("tydiqa", num_examples=8_192, learning_rate=2e-5, max_length=384, stride=128),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=1, gpus_per_worker=1, zero_stage=1, micro_batch_tokens=16_384),
    precision="bf16",
)
