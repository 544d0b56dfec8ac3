"""Named pools of intermediate tasks. `docs/tasks.md` says why they are what they are."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable

from xlray.config.draws import find_clashes
from xlray.config.subsets import Pool
from xlray.tasks import TASKS
from xlray.tasks.task import Task


def make_pool(source: str, names: tuple[str, ...]) -> Pool:
    """A pool of registered tasks with their kinds, sizes and what each contains or is derived from.

    Args:
        source: label of the pool, part of the cell of every subset drawn from it.
        names: of the tasks.
    """
    kinds = {name: TASKS[name].kind for name in names}
    sizes = {name: number for name in names if (number := TASKS[name].num_examples) is not None}
    return Pool(tuple(sorted(names)), source, kinds, {name: _origins(TASKS[name]) for name in TASKS}, sizes)


def _origins(task: Task) -> tuple[str, ...]:
    return (*task.contains, *task.derived_from)


def shared_origins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of tasks that contain or are derived from the same examples.

    Args:
        names: of tasks; one that is not registered is in no pair.
    """
    return [(a, b) for a, b in itertools.combinations(sorted(names), 2) if b in _clashes().get(a, ())]


@functools.cache
def _clashes() -> dict[str, set[str]]:
    """Of each registered task those that share examples with it."""
    return find_clashes(sorted(TASKS), {name: _origins(task) for name, task in TASKS.items()})


# The nine of Phang et al. 2020 (arXiv 2005.13013).
ENGLISH_9 = (
    "anli_plus",
    "ccg_en",
    "commonsenseqa",
    "cosmosqa",
    "hellaswag",
    "mnli",
    "qqp",
    "squad",
    "squad_v2",
)

# Both pools of 32: 19 of classification, 5 of multiple choice, 3 of span QA, 5 of tagging.
ENGLISH_32 = (
    *ENGLISH_9,
    *("ag_news", "boolq", "cb", "cola", "mrpc", "multirc", "paws", "qnli", "rte", "scitail", "sst2", "trec_qc"),
    *("tweet_emotion", "tweet_offensive", "tweet_sentiment", "wic"),
    *("race", "social_iqa"),
    "adversarial_qa",
    *("bc2gm", "conll2000_chunking", "conll2003", "wnut17"),
)
NON_ENGLISH_32 = (
    *("farstail_fa", "indonli_id", "jnli_ja", "nli_tr", "ocnli_50k_zh", "xnli_ar", "xnli_el", "xnli_vi", "paws_es"),
    *("afrisenti_ha", "allocine_fr", "indonlu_smsa", "norec_sentence_no", "polemo2_pl", "swedish_reviews_sv"),
    *("wisesight_th", "germeval2018_de", "basqueglue_bhtc", "pl_8tags"),
    *("c3_zh", "exams_bg", "exams_pl", "jcommonsenseqa_ja", "parsinlu_mc"),
    *("cmrc2018_zh", "germanquad_de", "squad_it"),
    *("conll2002_es", "conll2002_nl", "germeval2014_de", "masakhaner_swa", "mtl_nlu_es"),
)
# The two pools of 28 are matched in kind and number of tasks: 15 of classification, 5 of multiple choice, 3 of span QA, 5 of
# tagging. The English one is ENGLISH_32 without what is made of another task in it (ANLI+, QNLI) and its two smallest sets; the
# other has no translation: what is translated in NON_ENGLISH_32 gives way to sets written in the language.
ENGLISH_28 = tuple(name for name in ENGLISH_32 if name not in ("anli_plus", "qnli", "cb", "rte"))
NON_ENGLISH_ORIGINAL = (
    *(name for name in NON_ENGLISH_32 if not TASKS[name].translated),
    *("afrisenti_am", "jsquad_ja", "swedish_ner_sv"),
)

english9 = make_pool("en", ENGLISH_9)
english32 = make_pool("en", ENGLISH_32)
nonenglish32 = make_pool("non-en", NON_ENGLISH_32)
english28 = make_pool("en", ENGLISH_28)
nonenglish_original = make_pool("non-en", NON_ENGLISH_ORIGINAL)


def _registered(in_english: bool) -> tuple[str, ...]:
    """Every intermediate task with labels that is no target in another language, by its one side."""
    return tuple(
        task.name
        for task in TASKS.values()
        if task.role == "intermediate"
        and task.kind != "mlm"
        and not task.multi_source
        and (task.languages == ("en",)) == in_english
    )


# All of a side. They grow with the registry, so draws are made from them once they are restricted to tasks by name.
english = make_pool("en", _registered(True))
nonenglish = make_pool("non-en", _registered(False))
