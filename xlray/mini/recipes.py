"""The recipes that fit the embedded world: an encoder of under half a million parameters and minutes of training."""

from __future__ import annotations

from xlray.config.recipes import Architecture, Encoder, Intermediate, Pretraining, Target

ENCODER = Pretraining(
    tasks=("mini_text",),
    architecture=Architecture(
        hidden_size=96,
        num_layers=3,
        num_heads=4,
        intermediate_size=192,
        vocab_size=1_500,
        max_positions=130,
        initializer_range=0.05,
    ),
    num_examples=204_800,
    batch_size=256,
    learning_rate=5e-3,
    max_length=128,
)
PRETRAINED = Encoder("embedded:mini")  # what `ENCODER` gives after three times as many examples; installed with xlray
INTERMEDIATE = Intermediate(
    rungs=(512, 1_024), batch_size=32, learning_rate=3e-4, warmup_examples=256, max_length=128, stride=64
)
TARGETS: tuple[Target, ...] = (
    Target("mini_udpos", num_examples=1_024, probe_examples=512, learning_rate=1e-3),
    Target("mini_panx", num_examples=1_024, learning_rate=1e-3),  # after fewer, some have found no name yet
    Target("mini_tydiqa", num_examples=1_024, probe_examples=512, learning_rate=1e-3),
    Target("mini_tatoeba", retrieval_layer=3),
)
