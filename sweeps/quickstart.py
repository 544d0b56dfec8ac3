"""Does a tiny encoder get better at Finnish when it is trained on more tasks first?

The embedded world: six small languages told from the same scenes, an encoder of under half a million parameters that the sweep
pre-trains itself, the four targets in English and Finnish, and subsets of 0 to 8 of the embedded intermediate tasks.

    xlray run sweeps/quickstart.py

Cost: five to six minutes on two cores, pre-training included.
"""

from xlray import Execution, Sweep, mini, subsets

pool = [name for name, task in mini.MINI_TASKS.items() if task.role == "intermediate"]

sweep = Sweep(
    name="quickstart",
    question="Does Finnish improve when a tiny encoder is trained on 4 or 8 tasks first?",
    encoder=mini.ENCODER,
    measure=(*subsets.empty(), *subsets.chains(pool, sizes=(8,), num_chains=1, seed=1)),
    explore=subsets.random_subsets(pool, size=4, num=2, seed=2),
    seeds=(0, 1),
    intermediate=mini.INTERMEDIATE,
    targets=mini.TARGETS,
    execution=Execution(num_workers=2, zero_stage=1, micro_batch_tokens=4096, max_concurrent_trials=2),
)
