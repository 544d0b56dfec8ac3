"""What do intermediate tasks do to the Finnish of a tiny encoder, as they are added one by one?

The embedded world: six small languages told from the same scenes, an encoder of under half a million parameters that was
pre-trained on them and is installed with xlray, the four targets in English and Finnish, and intermediate tasks in other
languages. A nested chain of one to four tasks runs to the end at every seed; pairs compete, and ASHA stops some of them.

    xlray run sweeps/quickstart.py

Cost: six minutes on two slow cores.

Answer: four tasks instead of none change Finnish by -6.2 points (95 % interval -10.7 to -1.7), all of it in Tatoeba: without
it, by -0.1 (-4.2 to 4.0). So little training on tasks bends sentence vectors more than it teaches; names in Russian help with
names in Finnish.
"""

from xlray import Execution, Sweep, mini, subsets

chain = ("mini_names_ru", "mini_words_tr", "mini_translation_es", "mini_roles_en")
others = ("mini_reading_es", "mini_chunks_de", "mini_topic_de", "mini_question_ru")

sweep = Sweep(
    name="quickstart",
    question="What do one to four intermediate tasks do to the Finnish of a tiny encoder?",
    encoder=mini.PRETRAINED,
    measure=(*subsets.empty(), *subsets.chains(chain, sizes=(1, 2, 3, 4), num_chains=1)),
    explore=subsets.random_subsets((*chain, *others), size=2, num=2, seed=1),
    seeds=(0, 1, 2),
    intermediate=mini.INTERMEDIATE,
    targets=mini.TARGETS,
    execution=Execution(num_workers=1, zero_stage="auto", micro_batch_tokens=4096, max_concurrent_trials=2),
)
