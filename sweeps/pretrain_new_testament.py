"""Can an encoder be pre-trained from scratch on a folder of verse-aligned text, tokenizer included?

A short run that shows the path: a tokenizer of 6,000 pieces, masked-LM pre-training of a small encoder on the New Testament
in fourteen languages, then the four targets. It is far too short to be good at Finnish.

    xlray run sweeps/pretrain_new_testament.py --data-dir DATA

Cost: a few minutes on two cores.
"""

from xlray import Architecture, Execution, Intermediate, Pretraining, Sweep, Target, subsets

sweep = Sweep(
    name="pretrain-new-testament",
    question="Does pre-training from scratch on fourteen New Testaments work end to end?",
    encoder=Pretraining(
        tasks=("new_testament",),
        architecture=Architecture(
            hidden_size=128, num_layers=3, num_heads=4, intermediate_size=256, vocab_size=6_000, max_positions=258
        ),
        num_examples=19_200,
        batch_size=64,
        learning_rate=2e-3,
    ),
    measure=subsets.empty(),
    intermediate=Intermediate(rungs=(4_096,)),
    targets=(
        Target("udpos", num_examples=4_096, batch_size=64, learning_rate=1e-3),
        Target("panx", num_examples=4_096, batch_size=64, learning_rate=1e-3),
        Target("tydiqa", num_examples=1_024, batch_size=32, learning_rate=5e-4, max_length=192, stride=96),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=2, zero_stage=1, micro_batch_tokens=4_096),
)
