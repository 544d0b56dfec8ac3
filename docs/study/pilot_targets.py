"""Pilot of `sweeps/finnish_9_vs_20_small.py`: the rates of the targets, without tasks."""

from xlray import Encoder, Execution, Sweep, Target, subsets

sweep = Sweep(
    name="pilot-targets-small",
    encoder=Encoder("encoder"),
    measure=subsets.empty(),
    seeds=(0,),
    vary={
        tuple(f"targets.{task}.learning_rate" for task in ("udpos", "panx", "tydiqa")): tuple(
            (rate,) * 3 for rate in (1e-4, 2e-4, 4e-4)
        )
    },
    targets=(
        Target("tatoeba", retrieval_layer=12),
        Target("udpos", num_examples=2_048, batch_size=16, pivots=("et", "hu")),
        Target("panx", num_examples=3_072, batch_size=16),
        Target("tydiqa", num_examples=768, batch_size=16, max_length=192, stride=96),
    ),
    execution=Execution(
        num_workers=1, cpus_per_worker=1, zero_stage=0, micro_batch_tokens=4_096, max_concurrent_trials=2
    ),
)
