"""Does the answer of 9 against 20 tasks hold with another recipe for the targets?

The same trials, measured with the low learning rate and long training of Phang et al. 2020 instead. Trunks and cooldowns do not
depend on targets, so in the storage of the first sweep only the targets are trained again.

    xlray plan sweeps/finnish_9_vs_20_second_recipe.py --assume-sizes
    xlray run sweeps/finnish_9_vs_20_second_recipe.py --data-dir DATA        # after sweeps/finnish_9_vs_20.py

Both reports give every difference with its interval; the conclusion is robust where they agree. Answer: not run yet.
"""

from dataclasses import replace

from finnish_9_vs_20 import sweep as first

from xlray import Target

sweep = replace(
    first,
    name="finnish-9-vs-20-second-recipe",
    targets=(
        Target("udpos", num_examples=212_480, learning_rate=3e-6),
        Target("panx", num_examples=200_000, learning_rate=3e-6),
        Target("tydiqa", num_examples=7_392, batch_size=16, learning_rate=3e-6, max_length=384, stride=128),
        Target("tatoeba"),
    ),
)
