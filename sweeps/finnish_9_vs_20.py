"""Are 20 intermediate tasks better than 9 for zero-shot Finnish, and does it matter whether they are in English?

The matched two by two: number of tasks (9, 20) crossed with source (English, not English). Tasks of one kind and
similar size are paired between the pools, each pair is capped at the smaller of the two, pairs are drawn twelve times,
and the nine are contained in the twenty; so the arms differ in language and the numbers in tasks. Neither pool holds a
translation, and no subset two tasks made of the same examples. Five seeds.

The report gives the effect of the number, that of the source and their interaction first.

Controls: no intermediate task; SQuAD alone, from which XTREME-R's own Tatoeba number starts, compared with every cell; and
the twenty English tasks of four draws with the labels of each task shuffled, and as masked-LM training on their texts, in
equal numbers of examples. A second recipe for the targets, on the same trunks, is `finnish_9_vs_20_second_recipe.py`.

    xlray plan sweeps/finnish_9_vs_20.py --assume-sizes       # what it costs, without the data
    xlray run sweeps/finnish_9_vs_20.py --data-dir DATA       # on a cluster: --address ADDRESS

A pilot with XLM-R Base: `--set encoder=FacebookAI/xlm-roberta-base@e73636d4f797dec63c3081bb6ed5c7b0bb3f2089 --set
'seeds=[0]' --set name=pilot`.

Other differences between nine and twenty tasks: with the sizes of the registry the mixture is as even as one of
5.9 and 11.2 equal tasks, and the last rung passes 3.9 and 1.4 times over the data. Variants that hold one of them:

    --set name=finnish-uniform --set intermediate.mixing=uniform              # nine tasks are nine
    --set name=finnish-1000 --set intermediate.examples_per_task=1000         # the same, and as much data per task

Cost: about 165 device-hours and 7.6 TB of states and weights, on GPUs that are assumed to sustain 110 TFLOP/s. Answer:
not run yet.
"""

from xlray import XLM_R_LARGE, Execution, Intermediate, Sweep, Target, pools, subsets

draws = subsets.matched(pools.english28, pools.nonenglish_original, sizes=(9, 20), num=12, seed=1)
controlled = [subset for subset in draws if (subset.source, len(subset.tasks)) == ("en", 20)][:4]

sweep = Sweep(
    name="finnish-9-vs-20",
    question="Does zero-shot Finnish gain from 20 instead of 9 intermediate tasks, and from English rather than other sources?",
    encoder=XLM_R_LARGE,
    measure=(
        *subsets.empty(),
        *subsets.explicit(["squad"], source="control"),
        *draws,
        *subsets.shuffled(controlled, seed=1),
        *subsets.masked_lm(controlled),
    ),
    seeds=(0, 1, 2, 3, 4),
    intermediate=Intermediate(
        rungs=(131_072, 262_144, 524_288), batch_size=32, learning_rate=1e-5, warmup_examples=13_120
    ),
    targets=(
        Target("udpos", num_examples=65_536, learning_rate=1e-5),
        Target("panx", num_examples=65_536, learning_rate=1e-5),
        Target("tydiqa", num_examples=8_192, learning_rate=2e-5, max_length=384, stride=128),
        Target("tatoeba"),
    ),
    execution=Execution(num_workers=1, gpus_per_worker=1, zero_stage=1, micro_batch_tokens=16_384),
    precision="bf16",
)
