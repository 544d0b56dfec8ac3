import dataclasses
import json

import pytest

from xlray.config.overrides import with_fields
from xlray.config.recipes import Encoder, Intermediate, Subset, Target
from xlray.config.search import Search
from xlray.config.spaces import Choice, Real, Whole, extremes, read_domain
from xlray.config.sweep import Sweep
from xlray.errors import InputError

RATE, HEAT, BATCH = "intermediate.learning_rate", "intermediate.temperature", "intermediate.batch_size"
PLAIN = Sweep(
    "s",
    Encoder("encoder"),
    measure=(Subset(("a", "b"), "en"),),
    intermediate=Intermediate((64, 128), batch_size=16, warmup_examples=0),
    targets=(Target("panx"), Target("tatoeba")),
)


def searching(space, sweep=PLAIN, **changes):
    return dataclasses.replace(sweep, search=Search(num_trials=4, space=space, **changes))


@pytest.mark.parametrize(
    ("domain", "given", "kept"),
    [
        (Real(1e-6, 1e-4, log=True), 1.34567e-5, 1.35e-5),
        (Real(1e-6, 1e-4, log=True), 0.99999e-4, 1e-4),
        (Real(1.2345e-5, 1e-4, log=True), 1.2346e-5, 1.2345e-5),  # never below the end
        (Real(1.0, 5.0), 2.13749, 2.14),
        (Real(-0.5, 0.5), -0.0004, 0.0),
        (Real(0.9991, 0.9999), 0.9993412, 0.999341),  # a narrow domain keeps more digits
        (Real(0.0, 0.5, step=0.1), 0.3000001, 0.3),
        (Real(1e-5, 1e-3, log=True, step=1e-5), 0.0001234, 0.00012),
        (Whole(8, 64, step=8), 30.0, 32),
        (Choice(("linear", "constant")), "linear", "linear"),
    ],
)
def test_values_have_few_digits_and_stay_inside(domain, given, kept):
    assert domain.rounded(given) == kept and str(domain.rounded(given)) == str(kept)
    assert domain.rounded(kept) == kept and domain.holds(kept)


def test_a_share_of_a_domain_is_even_on_its_scale():
    assert [Real(1e-6, 1e-2, log=True).at(share) for share in (0.0, 0.25, 0.5, 1.0)] == [1e-6, 1e-5, 1e-4, 1e-2]
    assert [Whole(1, 4).at(share) for share in (0.0, 0.24, 0.26, 0.99, 1.0)] == [1, 1, 2, 4, 4]
    assert [Whole(1, 1000, log=True).at(share) for share in (0.0, 0.5, 1.0)] == [1, 31, 1000]
    assert [Choice((1, 2)).at(share) for share in (0.0, 0.49, 0.5, 1.0)] == [1, 1, 2, 2]


def test_whole_numbers_end_at_multiples_of_their_step():
    domain = Whole(3, 33, step=8)
    assert domain.ends == (8, 32) and domain.values == (8, 16, 24, 32)
    assert not domain.holds(12) and not domain.holds(40) and not Real(0.0, 1.0, step=0.25).holds(0.3)


def test_domains_are_said_in_words():
    said = [
        Real(1e-6, 1e-4, log=True).words,
        Whole(8, 64, step=8).words,
        Choice((1, True, "x")).words,
        Real(0.0, 0.5).words,
    ]
    assert said == ["1e-6 to 0.0001 on a logarithmic scale", "8 to 64 in steps of 8", "1; true; x", "0 to 0.5"]


def test_every_end_and_every_value_of_few_is_tried():
    tried = list(extremes({"a": Whole(1, 3), "b": Real(0.0, 1.0)}))
    assert {(p["a"], p["b"]) for p in tried} == {(1, 0.0), (3, 0.0), (1, 1.0), (3, 1.0), (2, 0.0), (2, 1.0)}


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"intermediate.learning_rat": Real(0.1, 1.0)}, "Did you mean 'intermediate.learning_rate'"),
        ({"execution.num_workers": Choice((1, 2))}, "'execution.num_workers' changes the speed only"),
        ({"encoder": Choice(("a", "b"))}, "a search has one encoder: run a sweep for each"),
        ({BATCH: Real(8.0, 32.0)}, "batch_size is a whole number, so that it must have tune.randint"),
        ({BATCH: Whole(8, 16)}, r"batch=9: .*rung % batch_size == 0"),
        ({BATCH: Choice((8, 24))}, r"batch=24: .*rung % batch_size == 0"),
        ({"intermediate.mixing": Real(0.0, 1.0)}, "mixing is no number, so that it must have a tune.choice"),
        ({"intermediate.mixing": Choice(("uniform", "evenly"))}, "mixing=evenly: Intermediate: `mixing in"),
        ({HEAT: Choice((1.0, "hot"))}, "temperature must have values of type float, but got 'hot'"),
        ({HEAT: Real(0.0, 3.0)}, r"T=0: .*temperature > 0"),
        ({"intermediate.cooldown_ratio": Real(0.1, 1.0)}, r"cooldown=1: .*cooldown_ratio < 1"),
        ({"dropout": Real(0.0, 1.0)}, "dropout=1: .*0 <= dropout < 1"),
        ({"precision": Choice(("fp32", "fp16"))}, r"precision=fp16: .*precision in"),
        ({"intermediate.max_length": Whole(64, 256)}, "max_length must have a tune.choice, since data are prepared"),
        ({"intermediate.stride": Choice((32, 256))}, r"stride=256: .*0 < stride < max_length"),
        ({RATE: (1e-6, 1e-4)}, "must have a domain of Ray Tune, such as tune.loguniform"),
        ({RATE: 1e-5}, "must have a domain of Ray Tune"),
        ({HEAT: {"grid_search": [1.0, 2.0]}}, "needs method='grid'"),
    ],
)
def test_a_space_against_the_law_is_refused_in_one_line(space, message):
    with pytest.raises(InputError, match=message) as caught:
        searching(space)
    assert "\n" not in str(caught.value)


def test_a_field_is_in_vary_or_in_the_space():
    varying = dataclasses.replace(PLAIN, vary={RATE: (1e-5, 2e-5)})
    with pytest.raises(InputError, match=r"intermediate.learning_rate is in vary or in space"):
        searching({RATE: Real(1e-6, 1e-4, log=True)}, varying)
    assert searching({HEAT: Real(1.0, 5.0)}, varying).search.space == {HEAT: Real(1.0, 5.0)}


def test_the_intermediate_recipe_is_searched_for_subsets_with_tasks():
    control = dataclasses.replace(PLAIN, measure=(Subset(()),))
    with pytest.raises(InputError, match="a subset has tasks where the intermediate recipe is searched"):
        searching({RATE: Real(1e-6, 1e-4)}, control)
    assert searching({"targets.panx.learning_rate": Real(1e-6, 1e-4)}, control).search


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "grid"}, "a grid is over choices, whole numbers and multiples"),
        ({"method": "surrogate"}, "the surrogate knows subsets alone"),
        ({"method": 3}, "or a searcher of Ray Tune"),
        ({"pool": ("a", "b")}, r"1 <= size <= 2"),
        ({"sizes": (1,)}, r"1 <= size <= 0"),
    ],
)
def test_a_search_against_the_law_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        searching({RATE: Real(1e-6, 1e-4)}, **changes)


def test_nothing_is_searched_without_a_pool_or_a_space():
    with pytest.raises(InputError, match="pool or space is not empty"):
        Search(num_trials=2)


def test_values_take_the_types_of_their_fields():
    space = searching({HEAT: Whole(1, 5), RATE: Choice((1, 2)), BATCH: Choice((8, 16))}).search.space
    assert space == {HEAT: Real(1.0, 5.0, step=1.0), RATE: Choice((1.0, 2.0)), BATCH: Choice((8, 16))}
    assert [type(value) for value in space[RATE].values] == [float, float]


def test_a_definition_holds_the_space_and_the_name_of_a_searcher():
    sweep = searching({RATE: Real(1e-6, 1e-4, log=True)})
    assert json.loads(json.dumps(sweep.definition))["search"]["space"] == {
        RATE: {"type": "Real", "low": 1e-6, "high": 1e-4, "log": True, "step": None}
    }
    assert [
        searching({RATE: Real(1e-6, 1e-4)}, method=m).definition["search"]["method"] for m in (None, read_domain)
    ] == [
        "optuna",
        "xlray.config.spaces.read_domain",
    ]


def test_setting_a_searched_field_leaves_that_value_alone():
    sweep = with_fields(
        searching({RATE: Real(1e-6, 1e-4), HEAT: Real(1.0, 5.0)}), {RATE: "3e-5", "search.num_trials": "9"}
    )
    assert sweep.search.space == {RATE: Choice((3e-5,)), HEAT: Real(1.0, 5.0)} and sweep.search.num_trials == 9
