"""Which learning rate, and which temperature of the mixture, do four intermediate tasks want?

The embedded world of `quickstart.py`. Two and four tasks run to the end with and without dropout at three seeds, so that the
report can compare each number of tasks at its best dropout. Then a search proposes learning rates and temperatures for the four
tasks: Optuna's TPE through Ray Tune, one proposal after the other, and ASHA stops many of them at the first rung.

    xlray run sweeps/tune_quickstart.py
    xlray run sweeps/tune_quickstart.py --set search.num_trials=24      # later: twelve more
    xlray status tune-quickstart --where role=search --sort lr

Kill it where you like: the same command proposes what it would have proposed.

Cost: four and a half minutes on two cores, a kill in the middle included. Answer: the four best of twelve proposals, at one
seed, have learning rates of 2e-5 to 3e-5, a tenth of the recipe's, and lose next to nothing in retrieval.
"""

from ray import tune

from xlray import Execution, Search, Stopping, Sweep, mini, subsets

chain = ("mini_names_ru", "mini_words_tr", "mini_translation_es", "mini_roles_en")

sweep = Sweep(
    name="tune-quickstart",
    question="Which learning rate and temperature do four intermediate tasks want?",
    encoder=mini.PRETRAINED,
    measure=subsets.chains(chain, sizes=(2, 4), num_chains=1),
    seeds=(0, 1, 2),
    vary={"dropout": (0.0, 0.1)},
    search=Search(
        pool=chain,
        sizes=(4,),
        space={
            "intermediate.learning_rate": tune.loguniform(1e-5, 3e-3),
            "intermediate.temperature": tune.uniform(1.0, 5.0),
        },
        num_trials=12,
    ),
    intermediate=mini.INTERMEDIATE,
    targets=(mini.TARGETS[0], mini.TARGETS[3]),
    stopping=Stopping(reduction_factor=2),
    execution=Execution(num_workers=1, zero_stage="auto", micro_batch_tokens=4096, max_concurrent_trials=2),
)
