"""Do tasks that help zero-shot Estonian help Hungarian and Finnish as well? Parts of speech, trained once, evaluated in three.

The first language is the headline: trials are ranked and compared by it, and training data with labels in any of the three are
refused. The target is one of the sweep's own, since the treebanks of Universal Dependencies stand in for XTREME's files of
Estonian and Hungarian here; with those, `targets=(Target("udpos"), Target("panx"), Target("tatoeba"))` is all it takes.

    xlray run sweeps/three_languages.py --data-dir DATA --set encoder=ENCODER

DATA holds one folder per task in its publisher's format; ENCODER is a small encoder of your own, a folder in XLM-R's layout.
Cost with a 4-layer encoder of hidden size 192: a few minutes on two cores.
"""

from xlray import Encoder, Execution, Intermediate, Subset, Sweep, Target, Task
from xlray.tasks import TASKS, Files
from xlray.tasks.readers import columns, conllu

parts_of_speech = Task(
    name="pos",
    kind="tagging",
    role="target",
    languages=("en", "fi", "et", "hu"),
    source=Files(
        folder=".",
        splits={
            "train/en": ("udpos/train-en.tsv",),
            "dev/en": ("udpos/dev-en.tsv",),
            "dev/fi": ("udpos/dev-fi.tsv",),
            "dev/et": ("ud_et_ewt/et_ewt-ud-dev.conllu",),
            "test/et": ("ud_et_ewt/et_ewt-ud-test.conllu",),
            "dev/hu": ("ud_hu_szeged/hu_szeged-ud-dev.conllu",),
            "test/hu": ("ud_hu_szeged/hu_szeged-ud-test.conllu",),
        },
        read=columns,
        readers=dict.fromkeys(("dev/et", "test/et", "dev/hu", "test/hu"), conllu),
    ),
    labels=TASKS["udpos"].labels,
    num_examples=21_253,
)

sweep = Sweep(
    name="three-languages",
    question="Does chunking or naming in English help parts of speech in Estonian, Hungarian and Finnish?",
    encoder=Encoder("encoder"),  # a folder, relative to where xlray is started; or --set encoder=FOLDER
    measure=(Subset(()), Subset(("conll2000_chunking",)), Subset(("conll2000_chunking", "wnut17"))),
    seeds=(0, 1, 2),
    languages=("et", "hu", "fi"),
    own_tasks=(parts_of_speech,),
    intermediate=Intermediate(
        rungs=(1_024,), batch_size=32, learning_rate=4e-4, warmup_examples=256, max_length=128, stride=64
    ),
    targets=(Target("pos", num_examples=2_048, batch_size=32, learning_rate=7e-4),),
    execution=Execution(zero_stage="auto", micro_batch_tokens=4_096, checkpoint_every_steps=100),
)
