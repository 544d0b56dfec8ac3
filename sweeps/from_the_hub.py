"""Do four tasks help zero-shot Finnish, and more than the English two of them? Public data and encoder, all from the Hub.

Every set is pinned to a commit of the Hugging Face Hub, XLM-R Base too: nothing need be downloaded by hand.

    xlray plan sweeps/from_the_hub.py --assume-sizes    before anything is downloaded
    xlray prepare sweeps/from_the_hub.py                downloads and tokenises
    xlray run sweeps/from_the_hub.py

Three subsets, three seeds. Without a GPU it takes days; `docs/start/real-data.md` goes through it step by step.
"""

from xlray import XLM_R_BASE, Execution, Intermediate, Sweep, Target, subsets

english = ("commonsenseqa", "wnut17")  # multiple choice, tagging
others = ("germanquad_de", "paws_es")  # questions on passages, paraphrases

sweep = Sweep(
    name="from-the-hub",
    question="Do two English and two other tasks help zero-shot Finnish more than the English ones alone?",
    encoder=XLM_R_BASE,
    measure=(*subsets.empty(), *subsets.explicit(english, (*english, *others))),
    seeds=(0, 1, 2),
    intermediate=Intermediate(rungs=(16_384,), batch_size=32, learning_rate=2e-5),
    targets=(Target("udpos"), Target("panx"), Target("tydiqa", max_length=384, stride=128), Target("tatoeba")),
    execution=Execution(gpus_per_worker=1),
    precision="bf16",
)
