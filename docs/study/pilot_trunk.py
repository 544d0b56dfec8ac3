"""Pilot of `sweeps/finnish_9_vs_20_small.py`: the rate of the intermediate tasks, ten of each pool."""

from xlray import Encoder, Execution, Intermediate, Sweep, Target, subsets

TASKS = (
    *("ag_news", "boolq", "mrpc", "sst2", "tweet_emotion", "copa_en", "piqa", "bc2gm", "wnut17", "squad"),
    *("afrisenti_ha", "farstail_fa", "germeval2018_de", "jnli_ja", "norec_sentence_no", "c3_zh", "exams_bg"),
    *("masakhaner_hau", "masakhaner_yor", "jsquad_ja"),
)

sweep = Sweep(
    name="pilot-trunk-small",
    encoder=Encoder("encoder"),
    measure=subsets.explicit(TASKS),
    seeds=(0,),
    vary={"intermediate.learning_rate": (5e-5, 1e-4, 2e-4)},
    intermediate=Intermediate(rungs=(2_048,), batch_size=16, warmup_examples=256, max_length=96, stride=48),
    targets=(
        Target("tatoeba", retrieval_layer=12),
        Target("udpos", num_examples=2_048, batch_size=16, learning_rate=2e-4, pivots=("et", "hu")),
        Target("panx", num_examples=3_072, batch_size=16, learning_rate=2e-4),
    ),
    execution=Execution(
        num_workers=1, cpus_per_worker=1, zero_stage=0, micro_batch_tokens=4_096, max_concurrent_trials=2
    ),
)
