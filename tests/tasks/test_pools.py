"""The named pools: what they are made of, and what is drawn from them."""

from __future__ import annotations

from collections import Counter

import pytest

from xlray import pools, subsets
from xlray.tasks import TASKS

PAIR = (pools.english32, pools.nonenglish32)
ORIGINAL = (pools.english28, pools.nonenglish_original)


def test_english9_is_that_of_phang_and_others() -> None:
    wanted = {"anli_plus", "mnli", "qqp", "squad", "squad_v2", "hellaswag", "ccg_en", "cosmosqa", "commonsenseqa"}
    assert set(pools.english9) == wanted <= set(pools.english32)


@pytest.mark.parametrize(("pair", "number"), [(PAIR, 32), (ORIGINAL, 28)])
def test_both_pools_have_as_many_tasks_of_each_kind(pair: tuple[subsets.Pool, ...], number: int) -> None:
    english, other = (Counter(TASKS[name].kind for name in pool) for pool in pair)
    assert english == other and english.total() == number


def test_the_pools_of_28_hold_no_translation_and_no_two_tasks_of_one_origin_but_squad() -> None:
    assert not [name for pool in ORIGINAL for name in pool if TASKS[name].translated or TASKS[name].derived_from]
    assert [pair for pool in ORIGINAL for pair in pools.shared_origins(pool)] == [("squad", "squad_v2")]


def test_the_pool_of_32_is_in_part_machine_translated_and_draws_hold_each_source_once() -> None:
    machine = {
        name: set(TASKS[name].derived_from) for name in pools.nonenglish32 if TASKS[name].translated == "machine"
    }
    xnli = {f"xnli_{language}": {"mnli"} for language in ("ar", "el", "vi")}
    assert machine == {**xnli, "nli_tr": {"snli", "mnli"}, "paws_es": {"paws"}, "squad_it": {"squad"}}
    assert pools.shared_origins(["nli_tr", "xnli_el", "squad_it"]) == [("nli_tr", "xnli_el")]
    for size in (9, 20):
        for subset in subsets.random_subsets(pools.nonenglish32, size=size, num=12, seed=1):
            assert not pools.shared_origins(subset.tasks)


def test_pools_hold_no_finnish_no_pivot_language_and_no_target_in_another_language() -> None:
    for name in (*pools.english32, *pools.nonenglish32, *pools.nonenglish_original):
        task = TASKS[name]
        assert task.role == "intermediate" and not task.multi_source
        assert not {"fi", "et", "hu", "ru", "ko"} & set(task.languages), name


@pytest.mark.parametrize("pair", [PAIR, ORIGINAL])
def test_one_pool_is_english_and_the_other_of_sixteen_languages_or_more(pair: tuple[subsets.Pool, ...]) -> None:
    assert {TASKS[name].languages for name in pair[0]} == {("en",)}
    languages = {language for name in pair[1] for language in TASKS[name].languages}
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
        assert not pools.shared_origins(subset.tasks)


@pytest.mark.parametrize("pair", [PAIR, ORIGINAL])
def test_the_pools_make_the_matched_two_by_two(pair: tuple[subsets.Pool, subsets.Pool]) -> None:
    design = subsets.matched(*pair, sizes=(9, 20), num=12, seed=1)
    cells = Counter((len(s.tasks), s.source) for s in design)
    assert cells == {(9, "en"): 12, (20, "en"): 12, (9, "non-en"): 12, (20, "non-en"): 12}
    for i in range(0, len(design), 2):
        english, other = design[i : i + 2]
        assert sorted(cap for _, cap in english.caps) == sorted(cap for _, cap in other.caps)
        assert not [*pools.shared_origins(english.tasks), *pools.shared_origins(other.tasks)]
