import itertools
import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlray import subsets
from xlray.config.recipes import Subset
from xlray.errors import InputError

POOL = tuple(f"task{i:02d}" for i in range(32))
KINDS = {name: ("nli", "nli", "nli", "qa", "qa", "tagging", "tagging", "mlm")[i % 8] for i, name in enumerate(POOL)}
CONTAINS = {"task00": ("task01", "task02"), "task01": ("task03",), "task09": ("elsewhere",)}
TOGETHER = [{"task00", "task01"}, {"task00", "task02"}, {"task00", "task03"}, {"task01", "task03"}]

SEEDS = st.integers(0, 1_000)


def tasks_of(design):
    return [subset.tasks for subset in design]


def spread(design, pool=POOL):
    counts = Counter(name for subset in design for name in subset.tasks)
    return max(counts[name] for name in pool) - min(counts[name] for name in pool)


def test_explicit_subsets_are_sorted_and_numbered():
    assert subsets.explicit(["b", "a"], (), {"c"}, source="mine") == (
        Subset(("a", "b"), "mine", None, 0),
        Subset((), "mine", None, 1),
        Subset(("c",), "mine", None, 2),
    )


def test_explicit_refuses_a_bare_string_and_repetitions():
    with pytest.raises(InputError, match="list of names"):
        subsets.explicit("sst2")
    with pytest.raises(InputError, match="task names are distinct"):
        subsets.explicit(["a", "a"])
    with pytest.raises(InputError, match="subsets are distinct"):
        subsets.explicit(["a", "b"], ["b", "a"])


def test_small_designs_are_what_their_names_say():
    pool = ["c", "a", "b"]
    assert subsets.empty() == (Subset(()),)
    assert tasks_of(subsets.everything(pool)) == [("a", "b", "c")]
    assert tasks_of(subsets.leave_one_out(pool)) == [("b", "c"), ("a", "c"), ("a", "b")]
    assert tasks_of(subsets.add_one(["b"], pool)) == [("a", "b"), ("b", "c")]
    assert tasks_of(subsets.add_one([], pool)) == [("a",), ("b",), ("c",)]
    assert tasks_of(subsets.pairs(pool)) == [("a", "b"), ("a", "c"), ("b", "c")]
    for design in (subsets.leave_one_out(pool), subsets.pairs(pool)):
        assert [subset.position for subset in design] == [0, 1, 2]


def test_pairs_and_add_one_skip_what_contains_one_another():
    contains = {"a": ("b",)}
    assert tasks_of(subsets.pairs(list("abc"), contains=contains)) == [("a", "c"), ("b", "c")]
    assert tasks_of(subsets.add_one(["b"], list("abc"), contains=contains)) == [("b", "c")]
    with pytest.raises(InputError, match="a task to add"):
        subsets.add_one(["b"], ["a", "b"], contains=contains)


def test_two_translations_of_one_set_share_no_subset_and_two_parts_of_one_may():
    derived = {"a": ("source",), "b": ("half",), "half": ("source",), "joined": ("c", "d")}
    assert tasks_of(subsets.pairs(list("abc"), contains=derived)) == [("a", "c"), ("b", "c")]
    assert tasks_of(subsets.pairs(["c", "d", "joined"], contains=derived)) == [("c", "d")]
    assert tasks_of(subsets.add_one(["source"], list("abc"), contains=derived)) == [("c", "source")]


@given(SEEDS, st.sets(st.integers(1, 32), min_size=1), st.integers(1, 4))
def test_chains_are_nested_and_numbered(seed, sizes, num_chains):
    design = subsets.chains(POOL, sizes, num_chains, seed, "english32")
    assert [subset.position for subset in design] == list(range(len(sizes) * num_chains))
    assert {subset.source for subset in design} == {"english32"}
    for chain in range(num_chains):
        line = [set(subset.tasks) for subset in design if subset.chain == chain]
        assert [len(tasks) for tasks in line] == sorted(sizes)
        assert all(a < b for a, b in itertools.pairwise(line))


def test_size_zero_gives_the_empty_subset_once():
    design = subsets.chains(POOL, (0, 4, 8), 3, source="x")
    assert design[0] == Subset((), "x", None, 0)
    assert [len(tasks) for tasks in tasks_of(design)] == [0, 4, 8, 4, 8, 4, 8]
    assert [subset.position for subset in design] == list(range(7))


def test_more_chains_or_sizes_keep_those_that_were_there():
    few, many = subsets.chains(POOL, (4, 8), 2, seed=7), subsets.chains(POOL, (4, 6, 8), 5, seed=7)
    assert {(s.chain, s.tasks) for s in few} < {(s.chain, s.tasks) for s in many}


def test_chains_depend_on_seed_and_chain():
    designs = [tasks_of(subsets.chains(POOL, (8,), 2, seed)) for seed in range(5)]
    assert len({tasks for design in designs for tasks in design}) == 10
    assert len({subsets.chains(POOL, (8,), 2, seed)[1].design for seed in range(5)}) == 5


def test_permutations_of_chains_are_uniform():
    firsts = Counter(subset.tasks[0] for subset in subsets.chains(POOL[:4], (1,), 4_000))
    assert all(abs(count - 1_000) < 140 for count in firsts.values())  # five standard deviations


@given(SEEDS, st.permutations(POOL))
@settings(max_examples=20)
def test_the_order_of_the_pool_does_not_matter(seed, pool):
    assert subsets.chains(pool, (0, 9, 20), 2, seed) == subsets.chains(POOL, (0, 9, 20), 2, seed)
    assert subsets.random_subsets(pool, 9, 4, seed) == subsets.random_subsets(POOL, 9, 4, seed)
    assert subsets.random_subsets(pool[:6], 2, 4, seed) == subsets.random_subsets(sorted(pool[:6]), 2, 4, seed)


@given(SEEDS, st.sampled_from([1, 2, 9, 20, 31]), st.integers(1, 30))
@settings(max_examples=50)
def test_random_subsets_are_distinct_and_balanced(seed, size, num):
    design = subsets.random_subsets(POOL, size, num, seed)
    assert len(set(tasks_of(design))) == num
    assert all(len(tasks) == size and set(tasks) <= set(POOL) for tasks in tasks_of(design))
    assert spread(design) <= 1
    assert [subset.position for subset in design] == list(range(num))
    assert all(subset.chain is None for subset in design)


@pytest.mark.parametrize(("num_tasks", "size"), [(5, 0), (5, 2), (6, 3), (7, 4), (8, 8)])
def test_all_subsets_of_a_small_pool_can_be_drawn(num_tasks, size):
    pool, num = POOL[:num_tasks], math.comb(num_tasks, size)
    design = subsets.random_subsets(pool, size, num, seed=1)
    assert sorted(tasks_of(design)) == list(itertools.combinations(pool, size))
    assert all(spread(design[:first], pool) <= 2 for first in range(1, num + 1))


@pytest.mark.parametrize(("num_tasks", "size"), [(32, 9), (8, 3)])
def test_more_random_subsets_keep_those_that_were_there(num_tasks, size):
    pool = POOL[:num_tasks]
    assert subsets.random_subsets(pool, size, 5) == subsets.random_subsets(pool, size, 12)[:5]
    assert subsets.random_subsets(pool, size, 5) != subsets.random_subsets(pool, size, 5, seed=1)


def test_pairs_of_tasks_meet_by_chance():
    meetings = Counter(
        pair
        for seed in range(300)
        for s in subsets.random_subsets(POOL[:12], 4, 3, seed)
        for pair in itertools.combinations(s.tasks, 2)
    )
    expected = 300 * 3 * 6 / math.comb(12, 2)
    assert len(meetings) == math.comb(12, 2)
    assert all(abs(count - expected) < 6 * math.sqrt(expected) for count in meetings.values())


@pytest.mark.parametrize(("pool", "size", "num"), [(POOL, 9, 12), (POOL, 20, 12), (POOL[:8], 4, 12)])
def test_kinds_keep_their_share_in_every_subset(pool, size, num):
    totals = Counter(KINDS[name] for name in pool)
    design = subsets.random_subsets(pool, size, num, kinds=KINDS)
    for tasks in tasks_of(design):
        counts = Counter(KINDS[name] for name in tasks)
        for kind, total in totals.items():
            assert size * total // len(pool) <= counts[kind] <= -(-size * total // len(pool))
    assert spread(design, pool) <= 2


@given(SEEDS)
@settings(max_examples=30)
def test_no_drawn_subset_holds_a_task_and_one_it_contains(seed):
    designs = [
        subsets.random_subsets(POOL, 20, 6, seed, contains=CONTAINS),
        subsets.random_subsets(POOL, 20, 6, seed, contains=CONTAINS, kinds=KINDS),
        subsets.random_subsets(POOL[:8], 3, 6, seed, contains=CONTAINS),
        subsets.chains(POOL, (1, 5, 30), 3, seed, contains=CONTAINS),
    ]
    for tasks in itertools.chain.from_iterable(map(tasks_of, designs)):
        assert not any(pair <= set(tasks) for pair in TOGETHER)


def test_without_contains_such_subsets_are_drawn():
    drawn = tasks_of(subsets.random_subsets(POOL, 20, 6)) + tasks_of(subsets.chains(POOL, (30,), 3))
    assert any(pair <= set(tasks) for pair in TOGETHER for tasks in drawn)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: subsets.chains(POOL, (33,), 1), r"0 <= size <= 32 .*must hold, but got 33"),
        (lambda: subsets.chains(POOL, (-1,), 1), r"0 <= size <= 32 .*but got -1"),
        (lambda: subsets.chains(POOL, (), 1), "sizes is not empty"),
        (lambda: subsets.chains(POOL, (3,), 0), "num_chains >= 1"),
        (lambda: subsets.chains([], (0,), 1), "number of tasks >= 1"),
        (lambda: subsets.chains("task00", (1,), 1), "list of names"),
        (lambda: subsets.chains(["a", "a"], (1,), 1), r"distinct.*'a'"),
        (lambda: subsets.chains(POOL, (31,), 1, contains=CONTAINS), "share no examples"),
        (lambda: subsets.random_subsets(POOL[:4], 2, 7), r"num <= 4 choose 2.*but got 7"),
        (lambda: subsets.random_subsets(POOL[:4], 2, 0), "num >= 1"),
        (lambda: subsets.random_subsets(POOL[:4], 5, 1), "0 <= size <= 4"),
        (lambda: subsets.random_subsets(POOL[:4], 3, 2, contains=CONTAINS), "0 of 2 found"),
        (lambda: subsets.random_subsets(POOL, 31, 2, contains=CONTAINS | {"task31": ("task30",)}), "0 of 2 found"),
        (lambda: subsets.random_subsets(["nli1"], 1, 1, kinds={"nli2": "nli"}), "Did you mean 'nli2'"),
        (lambda: subsets.pairs(["a"]), "number of tasks >= 2"),
    ],
)
def test_wrong_arguments_are_refused_with_the_law(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_a_pool_brings_its_source_kinds_and_what_contains_what():
    kinds = {name: "even" if i % 2 else "odd" for i, name in enumerate(POOL)}
    contains = {POOL[0]: (POOL[1],)}
    pool = subsets.Pool(tuple(POOL), "mine", kinds, contains)
    drawn = subsets.random_subsets(pool, size=4, num=3, seed=5)
    assert drawn == subsets.random_subsets(POOL, 4, 3, 5, "mine", kinds, contains)
    assert {subset.source for subset in drawn} == {"mine"}
    assert not any({POOL[0], POOL[1]} <= set(subset.tasks) for subset in drawn)
    assert subsets.chains(pool, (2, 3), 2) == subsets.chains(POOL, (2, 3), 2, source="mine", contains=contains)
    assert subsets.pairs(pool, source="other") == subsets.pairs(POOL, "other", contains)
    assert subsets.everything(pool) == subsets.everything(POOL, "mine")


# --- sizes and matched designs -----------------------------------------------------------------------------------------


def test_a_design_is_crossed_with_sizes_and_the_control_stays_one():
    design = subsets.at_sizes((*subsets.empty(), *subsets.explicit(["a", "b"], source="en")), (100, None))
    assert [(s.tasks, s.examples_per_task, s.position) for s in design] == [
        ((), None, 0),
        (("a", "b"), 100, 1),
        (("a", "b"), None, 2),
    ]
    with pytest.raises(InputError, match="sizes are distinct"):
        subsets.at_sizes(subsets.empty(), (1, 1))


def test_controls_are_their_design_under_names_of_their_own():
    design = (*subsets.empty(), Subset(("a", "b"), "en", 3, 1, caps=(("a", 5),), partners=(("a", "x"),)))
    assert subsets.shuffled(design, seed=7) == (
        Subset(
            ("a.shuffled7", "b.shuffled7"), "en-shuffled", 3, 0,
            caps=(("a.shuffled7", 5),), partners=(("a.shuffled7", "x.shuffled7"),),
        ),
    )  # fmt: skip
    (masked,) = subsets.masked_lm(design)
    assert (masked.tasks, masked.source, masked.chain) == (("a.masked", "b.masked"), "en-masked", 3)


RTE = (Subset(("rte",)),)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: subsets.masked_lm(subsets.empty()), "`the design has a subset with tasks` must hold"),
        (lambda: subsets.masked_lm("rte"), "`the design is a list of subsets, .* must hold, but got 'rte'"),
        (
            lambda: subsets.shuffled(["rte"]),  # type: ignore[list-item]
            r"subsets\.shuffled: `the design is a list of subsets, .* but got \['rte'\]",
        ),
        (lambda: subsets.shuffled(RTE[0]), r"list of subsets, .* but got Subset\(tasks=\('rte',\)"),
        (
            lambda: subsets.at_sizes(["rte"], (100,)),  # type: ignore[list-item]
            r"subsets\.at_sizes: `the design is a list of subsets",
        ),
        (lambda: subsets.at_sizes(RTE, 100), "`sizes are a list of numbers` must hold, but got 100"),
        (lambda: subsets.shuffled(RTE, seed=-1), "`0 <= seed < 10.9, a whole number` must hold, but got -1"),
        (lambda: subsets.shuffled(RTE, seed=10**9), "`0 <= seed < 10.9"),
        (lambda: subsets.shuffled(RTE, seed="1"), "a whole number` must hold, but got '1'"),
        (lambda: subsets.shuffled(RTE, seed=1.0), "a whole number` must hold, but got 1.0"),
        (lambda: subsets.shuffled(RTE, seed=True), "a whole number` must hold, but got True"),
        (lambda: subsets.shuffled(RTE, seed=None), "a whole number` must hold, but got None"),
        (lambda: subsets.shuffled(RTE, seed=(0, 1)), r"a whole number` must hold, but got \(0, 1\)"),
        (
            lambda: subsets.masked_lm(subsets.shuffled(RTE)),
            r"made of tasks, not of controls` .* got \['rte\.shuffled0'\]",
        ),
        (lambda: subsets.shuffled(subsets.masked_lm(RTE)), r"made of tasks, not of controls` .* got \['rte\.masked'\]"),
    ],
)
def test_controls_of_what_is_no_design_are_refused_in_one_line(call, message):
    with pytest.raises(InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def make_pools():
    kinds = ["nli"] * 6 + ["qa"] * 3 + ["tagging"] * 3
    english = {f"en{i:02d}": 100 * (i + 1) for i in range(12)}
    other = {f"xx{i:02d}": 70 * (12 - i) for i in range(12)}
    return tuple(
        subsets.Pool(tuple(sizes), source, dict(zip(sizes, kinds, strict=True)), contains, sizes)
        for sizes, source, contains in ((english, "en", {"en00": ("en01",)}), (other, "non-en", None))
    )


def test_matched_arms_hold_paired_tasks_of_one_kind_capped_at_the_smaller():
    first, second = make_pools()
    for small, large in zip(*[iter(by_draw(subsets.matched(first, second, (4, 8), num=6, seed=3)))] * 2, strict=True):
        for left, right in (small, large):
            assert (left.source, right.source, left.chain) == ("en", "non-en", right.chain)
            kinds = [Counter(pool.kinds[t] for t in s.tasks) for pool, s in ((first, left), (second, right))]
            assert kinds[0] == kinds[1]
            assert sorted(cap for _, cap in left.caps) == sorted(cap for _, cap in right.caps)
            for pool, subset in ((first, left), (second, right)):
                assert [name for name, _ in subset.caps] == list(subset.tasks)
                assert all(cap <= pool.sizes[name] for name, cap in subset.caps)
            assert any(cap < first.sizes[name] for name, cap in left.caps)
        for arm in (0, 1):
            assert set(small[arm].tasks) < set(large[arm].tasks)


def by_draw(design):
    """(first, second) of each draw and size."""
    assert [s.position for s in design] == list(range(len(design)))
    return [(design[i], design[i + 1]) for i in range(0, len(design), 2)]


def test_matched_pairs_are_balanced_and_keep_apart_what_contains_one_another():
    first, second = make_pools()
    design = subsets.matched(first, second, (4, 8), num=6, seed=3)
    shares = Counter(first.kinds.values())
    for subset in design:
        pool = first if subset.source == "en" else second
        for kind, number in shares.items():
            assert abs(Counter(pool.kinds[t] for t in subset.tasks)[kind] - len(subset.tasks) * number / 12) < 1
        assert not {"en00", "en01"} <= set(subset.tasks)
    for size in (4, 8):
        used = Counter(t for s in design for t in s.tasks if len(s.tasks) == size and s.source == "en")
        rest = [used[name] for name in first.names if name not in ("en00", "en01")]
        assert max(rest) - min(rest) <= 2
    assert subsets.matched(first, second, (4, 8), num=2, seed=3) == design[:8]
    assert subsets.matched(first, second, (4, 8), num=6, seed=4) != design


def test_matched_designs_of_the_same_pairs_and_other_kinds_are_other_designs():
    """The kinds decide what is drawn together, so that equal numbers are other chains."""
    names = tuple(zip("abcdef", "uvwxyz", strict=True))
    sizes = {name: 60 - 10 * number for number, pair in enumerate(names) for name in pair}

    def design(*kinds):
        arms = [{pair[arm]: kind for pair, kind in zip(names, kinds, strict=True)} for arm in (0, 1)]
        first, second = (
            subsets.Pool(tuple(kinds), "en" if kinds is arms[0] else "non-en", kinds, None, sizes) for kinds in arms
        )
        return subsets.matched(first, second, sizes=(2, 4), num=2, seed=1)

    even, apart = design(*["nli"] * 6), design("nli", "qa", "nli", "qa", "nli", "qa")
    assert {s.partners for s in even if len(s.tasks) == 4} != {s.partners for s in apart if len(s.tasks) == 4}
    assert not {(s.chain, s.design) for s in even} & {(s.chain, s.design) for s in apart}
    assert len({s.design for s in even}) == 1 and even == design(*["nli"] * 6)


def test_what_is_derived_from_one_set_may_stand_in_both_arms_but_once_in_each():
    first, second = make_pools()
    derived = {"xx00": ("en00",), "xx01": ("en00",)}  # two translations of a task of the other arm
    apart = subsets.Pool(second.names, second.source, second.kinds, derived, second.sizes)
    design = subsets.matched(first, apart, (4, 8), num=12, seed=3)
    assert not any({"xx00", "xx01"} <= set(subset.tasks) for subset in design)
    assert any("en00" in a.tasks and {"xx00", "xx01"} & set(b.tasks) for a, b in by_draw(design))


def test_pools_that_cannot_be_paired_are_refused():
    first, second = make_pools()
    with pytest.raises(InputError, match="no task in common"):
        subsets.matched(first, first, (4,), 1)
    fewer = subsets.Pool(second.names[:-1], "x", second.kinds, None, second.sizes)
    with pytest.raises(InputError, match="as many tasks of each kind"):
        subsets.matched(first, fewer, (4,), 1)
    with pytest.raises(InputError, match=r"size of every task are known` must hold, but got \['xx11'\]"):
        subsets.matched(
            first, subsets.Pool(second.names, "x", second.kinds, None, {**second.sizes, "xx11": 0}), (4,), 1
        )
    with pytest.raises(InputError, match="size >= 1"):
        subsets.matched(first, second, (0, 4), 1)
