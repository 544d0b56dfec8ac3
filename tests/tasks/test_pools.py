"""The named pools: what they are made of, and what is drawn from them."""

from __future__ import annotations

from collections import Counter

import pytest

from xlray import pools, subsets
from xlray.tasks import TASKS

PAIR = (pools.english32, pools.nonenglish32)


def test_english9_is_that_of_phang_and_others() -> None:
    wanted = {"anli_plus", "mnli", "qqp", "squad", "squad_v2", "hellaswag", "ccg_en", "cosmosqa", "commonsenseqa"}
    assert set(pools.english9) == wanted <= set(pools.english32)


def test_both_pools_of_32_have_as_many_tasks_of_each_kind() -> None:
    english, other = (Counter(TASKS[name].kind for name in pool) for pool in PAIR)
    assert english == other and english.total() == 32


def test_pools_hold_no_finnish_no_pivot_language_and_no_target_in_another_language() -> None:
    for name in (*pools.english32, *pools.nonenglish32):
        task = TASKS[name]
        assert task.role == "intermediate" and not task.multi_source
        assert not {"fi", "et", "hu", "ru", "ko"} & set(task.languages), name


def test_one_pool_is_english_and_the_other_of_sixteen_languages_or_more() -> None:
    assert {TASKS[name].languages for name in pools.english32} == {("en",)}
    languages = {language for name in pools.nonenglish32 for language in TASKS[name].languages}
    assert "en" not in languages and len(languages) >= 16


@pytest.mark.parametrize("pool", PAIR, ids=["english", "non-english"])
@pytest.mark.parametrize("size", [9, 20])
def test_subsets_of_9_and_20_are_balanced_by_kind_and_hold_no_nested_sets(pool: subsets.Pool, size: int) -> None:
    drawn = subsets.random_subsets(pool, size=size, num=12, seed=3)
    assert len({subset.tasks for subset in drawn}) == 12
    shares = Counter(TASKS[name].kind for name in pool)
    for subset in drawn:
        assert len(subset.tasks) == size and subset.source == pool.source
        for kind, number in Counter(TASKS[name].kind for name in subset.tasks).items():
            assert abs(number - size * shares[kind] / 32) < 1
        for name in subset.tasks:
            assert not set(TASKS[name].contains) & set(subset.tasks)


def test_the_pools_make_the_matched_two_by_two() -> None:
    design = subsets.matched(*PAIR, sizes=(9, 20), num=12, seed=1)
    cells = Counter((len(s.tasks), s.source) for s in design)
    assert cells == {(9, "en"): 12, (20, "en"): 12, (9, "non-en"): 12, (20, "non-en"): 12}
    for i in range(0, len(design), 2):
        english, other = design[i : i + 2]
        assert sorted(cap for _, cap in english.caps) == sorted(cap for _, cap in other.caps)
        for subset in (english, other):
            for name in subset.tasks:
                assert not set(TASKS[name].contains) & set(subset.tasks)
