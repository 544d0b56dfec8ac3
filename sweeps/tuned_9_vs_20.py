"""Are 20 intermediate tasks better than 9 for zero-shot Finnish when each number has its own best learning rate?

One recipe for both numbers may suit one of them better: more tasks want another learning rate, or another temperature
of the mixture. So both are axes: three learning rates crossed with two temperatures, on random draws of 9 and of 20
English tasks. The report compares each number at its own best values, which are chosen on other seeds than those that
are scored, and says how flat the optimum is and whether it is at the edge of the values tried.

    xlray plan sweeps/tuned_9_vs_20.py --assume-sizes          # what it costs, without the data
    xlray simulate sweeps/tuned_9_vs_20.py --assume-sizes --devices 16
    xlray run sweeps/tuned_9_vs_20.py --data-dir DATA          # on a cluster: --address ADDRESS
    xlray run sweeps/tuned_9_vs_20.py --data-dir DATA --set intermediate.temperature=1   # one value of an axis alone

Cost: about 10 device-hours at an assumed 110 TFLOP/s. Answer: not run yet.
"""

from xlray import XLM_R_BASE, Execution, Intermediate, Sweep, Target, pools, subsets

sweep = Sweep(
    name="tuned-9-vs-20",
    question="Does zero-shot Finnish gain from 20 instead of 9 English tasks when each has its best learning rate?",
    encoder=XLM_R_BASE,
    measure=(
        *subsets.empty(),
        *subsets.random_subsets(pools.english32, size=9, num=4, seed=1),
        *subsets.random_subsets(pools.english32, size=20, num=4, seed=1),
    ),
    seeds=(0, 1, 2),
    vary={
        "intermediate.learning_rate": (5e-6, 1e-5, 2e-5),
        "intermediate.temperature": (1.0, 3.0),
    },
    intermediate=Intermediate(rungs=(65_536, 131_072), batch_size=32, warmup_examples=6_560),
    targets=(
        Target("udpos", num_examples=32_768),
        Target("panx", num_examples=32_768),
        Target("tydiqa", num_examples=8_192, max_length=384, stride=128),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=1, gpus_per_worker=1, zero_stage=1, micro_batch_tokens=16_384),
    precision="bf16",
)
