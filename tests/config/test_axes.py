import dataclasses
import itertools

import pytest

from xlray import subsets
from xlray.canonical import canonical_json, to_plain
from xlray.config.axes import short_value
from xlray.config.overrides import with_fields
from xlray.config.recipes import (
    XLM_R_BASE,
    XLM_R_LARGE,
    Encoder,
    Intermediate,
    Pretraining,
    Subset,
    Target,
    encoder_name,
)
from xlray.config.search import Search
from xlray.config.spaces import Choice
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.plan.definition import encoders_of

RATE, HEAT = "intermediate.learning_rate", "intermediate.temperature"
PLAIN = Sweep("s", Encoder("folder"), measure=(Subset(()), Subset(("a", "b"), "en")), seeds=(0, 1))
RATES = {RATE: (5e-6, 1e-5, 2e-5)}


def varying(vary, **changes):
    return dataclasses.replace(PLAIN, vary=vary, **changes)


def test_every_value_is_crossed_with_every_subset_and_seed():
    trials = varying({**RATES, HEAT: (1, 3)}).trials()
    found = {
        (t.config.seed, t.config.intermediate.learning_rate, t.config.intermediate.temperature)
        for t in trials
        if t.config.tasks
    }
    assert found == set(itertools.product((0, 1), (5e-6, 1e-5, 2e-5), (1.0, 3.0)))
    assert len({t.trial_id for t in trials}) == len(trials) == 2 * 6 + 2


def test_without_tasks_an_intermediate_recipe_changes_nothing_and_is_no_trial_more():
    trials = [t for t in varying({**RATES, "dropout": (0.0, 0.1)}, seeds=(0,)).trials() if not t.config.tasks]
    assert [(t.cell, t.config.dropout) for t in trials] == [("0 dropout=0", 0.0), ("0 dropout=0.1", 0.1)]
    assert {t.config.intermediate for t in trials} == {PLAIN.intermediate}


def test_a_cell_is_its_population_and_its_values_in_few_characters():
    vary = {
        RATE: (1e-5, 2.5e-6),
        HEAT: (3.0,),
        "targets.panx.learning_rate": (2e-5,),
        "intermediate.scaled_losses": (False,),
    }
    cells = [t.cell for t in varying(vary, seeds=(0,)).trials() if t.config.tasks]
    assert cells == [f"2-en lr={rate} T=3 panx.lr=2e-5 scaled=false" for rate in ("1e-5", "2.5e-6")]
    assert {t.population for t in varying(vary).trials()} == {"0", "2-en"}


def test_fields_that_vary_together_are_one_axis():
    vary = {("intermediate.batch_size", RATE): ((16, 1e-5), (32, 2e-5)), HEAT: (1.0,)}
    trials = [t for t in varying(vary, seeds=(0,)).trials() if t.config.tasks]
    recipes = [(t.config.intermediate.batch_size, t.config.intermediate.learning_rate) for t in trials]
    assert recipes == [(16, 1e-5), (32, 2e-5)]
    assert [t.cell for t in trials] == ["2-en batch=16,lr=1e-5 T=1", "2-en batch=32,lr=2e-5 T=1"]


def test_recipes_that_are_valid_only_together_can_vary_together():
    rungs = Intermediate(rungs=(96, 192), warmup_examples=0)
    vary = {("targets.panx.batch_size", "targets.panx.num_examples"): ((32, 64), (48, 96))}
    found = {t.config.targets[1] for t in varying(vary, intermediate=rungs).trials()}
    assert found == {Target("panx", 64, batch_size=32), Target("panx", 96, batch_size=48)}


def test_trials_of_a_sweep_without_axes_are_what_they_were():
    design = (Subset(()), Subset(("a", "b"), "en"), Subset(("a",), examples_per_task=5, caps=(("a", 3),)))
    ids = [t.trial_id for t in Sweep("s", XLM_R_BASE, measure=design).trials()]
    assert ids == ["66b6f945b8", "4a214a284f", "acad15da8a"]  # of the version before axes
    assert "vary" not in PLAIN.definition
    both = {t.config: t.trial_id for t in varying({RATE: (1e-5, 2e-5)}).trials()}
    for trial in PLAIN.trials():  # at the recipe's own value a trial is the trial of the sweep that varies nothing
        assert both[trial.config] == trial.trial_id


def test_values_of_targets_tell_trials_apart_whatever_else_is_measured():
    vary = {"targets.panx.learning_rate": (1e-5, 3e-5)}
    ids = [t.trial_id for t in varying(vary).trials()]
    more = varying(vary, targets=(*PLAIN.targets, Target("another")))
    assert len(set(ids)) == len(ids) == 8
    assert [t.trial_id for t in more.trials()] == ids
    assert ids[0] in {t.trial_id for t in varying({"targets.panx.learning_rate": (2e-5, 1e-5)}).trials()}


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"intermediate.learning_rat": (1e-5,)}, "there is no 'intermediate.learning_rat'. Did you mean 'intermediate.learning_rate'?"),
        ({"targets.panx.rate": (1e-5,)}, "there is no 'targets.panx.rate'"),
        ({"targets.xpan.learning_rate": (1e-5,)}, "Did you mean 'targets.panx.learning_rate'?"),
        ((RATE, (1e-5, 2e-5)), "`vary maps fields to their values` must hold"),
        ({"execution.num_workers": (1, 2)}, "'execution.num_workers' changes the speed only"),
        ({"seeds": ((0,), (1,))}, "'seeds' is a field of the sweep itself: `seeds=(0, 1, 2)` are crossed with every subset and value"),
        ({"measure": ((), ())}, "'measure' is a field of the sweep itself: each of its subsets is trained with every value"),
        ({"stopping.reduction_factor": (2, 3)}, "'stopping.reduction_factor' is a field of the sweep itself."),
        ({"learning_rate": (1e-5,)}, "there is no 'learning_rate'. Did you mean 'intermediate.learning_rate' or 'targets.TASK.learning_rate'?"),
        ({"lr": (1e-5,)}, "there is no 'lr'. Did you mean 'intermediate.learning_rate'?"),
        ({"panx.lr": (1e-5,)}, "there is no 'panx.lr'. Did you mean 'targets.panx.learning_rate'?"),
        ({"mixing": ("uniform",)}, "there is no 'mixing'. Did you mean 'intermediate.mixing'?"),
        ({"intermediate.rungs": ((64,), (128,))}, "'intermediate.rungs' says where trials are measured"),
        ({"targets.panx.pivots": (("et",), ("hu",))}, "'targets.panx.pivots' says where trials are measured"),
        ({RATE: ("1e-5",)}, "intermediate.learning_rate must have values of type float, but got '1e-5'"),
        ({"encoder.path": ("a", "b")}, "'encoder.path' is a part of one: `encoder` varies as a whole"),
        ({"encoder": ("a", "b")}, "encoder must have values of type Encoder | Pretraining, but got 'a'"),
        ({"encoder": Encoder("a")}, "encoder must have a tuple of values, but got Encoder(path='a'"),
        ({"encoder": (Encoder("folder"),)}, "`encoder has another value than the sweep's own encoder` must hold"),
        ({"encoder": (Encoder("folder", name="other"),)}, "`encoder has another value than the sweep's own encoder` must hold"),
        ({"encoder": (Encoder("a"), Encoder("a"))}, "`values of encoder are distinct` must hold"),
        ({"encoder": (Encoder("x/a"), Encoder("y/a"))}, "`each encoder has one name, of its own: `Encoder(..., name=...)`` must hold, but got 'a'"),
        ({"encoder": (Encoder("x/a", "1"), Encoder("x/a", "2"))}, "`each encoder has one name, of its own"),
        ({"encoder": (Encoder("a"), Encoder("a", name="b"))}, "`each encoder has one name, of its own"),
        ({("encoder", RATE): ((Encoder("x/a"), 1e-5), (Encoder("y/a"), 2e-5))}, "`each encoder has one name, of its own"),
        ({"encoder": (Encoder("a"), Pretraining(("text",)))}, "`an encoder that varies has a name` must hold, but got Pretraining("),
        ({"encoder": (Encoder("a"), Encoder("."))}, "`an encoder that varies has a name` must hold"),
        ({RATE: 1e-5}, "must have a tuple of values, but got 1e-05"),
        ({RATE: "fast"}, "must have a tuple of values, but got 'fast'"),
        ({RATE: {1e-5}}, "must have a tuple of values, but got a set, which has no order: {1e-05}"),
        ({RATE: iter([1e-5])}, "must have a tuple of values, but got an iterator, which is used up after one reading: <list_iterator"),
        ({RATE: (rate for rate in (1e-5, 2e-5))}, "an iterator, which is used up after one reading: <generator"),
        ({(RATE, HEAT): ({1e-5, 1.0},)}, "each row must have 2 values, but got {"),
        ({RATE: ()}, "`intermediate.learning_rate has at least one value` must hold"),
        ({RATE: (1e-5, 0.00001)}, "`values of intermediate.learning_rate are distinct` must hold, but got 1e-05"),
        ({HEAT: (1, 1.0)}, "`values of intermediate.temperature are distinct` must hold, but got 1.0"),
        ({RATE: (1e-5, float("nan"))}, "`intermediate.learning_rate is a finite number` must hold"),
        ({RATE: (1e-5, -1.0)}, "vary: lr=-1: Intermediate: `learning_rate > 0` must hold, but got -1.0"),
        ({"intermediate.batch_size": (32, 48)}, "vary: batch=48: Intermediate: `rung % batch_size == 0` must hold"),
        ({"dropout": (0.1, 1.5)}, "`0 <= dropout < 1` must hold, but got 1.5"),
        ({(RATE, HEAT): ((1e-5, 1.0), (2e-5,))}, "each row must have 2 values, but got (2e-05,)"),
        ({(RATE, HEAT): (1e-5, 2e-5)}, "each row must have 2 values, but got 1e-05"),
        ({(RATE, HEAT): ((1e-5, 1.0),), RATE: (2e-5,)}, "`intermediate.learning_rate is in one axis` must hold, but got '2 times'"),
        ({(): ((),)}, "an axis names a field"),
        ({RATE: tuple(i * 1e-6 for i in range(1, 1001)), HEAT: tuple(range(1, 1001))}, "<= 1,000,000 trials` must hold, but got 2000000"),
    ],
)  # fmt: skip
def test_an_axis_against_the_law_is_refused_in_one_line(vary, message):
    with pytest.raises(InputError) as caught:
        varying(vary)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("vary", [RATES, {(RATE, "dropout"): ((1e-5, 0.0), (2e-5, 0.1))}])
def test_an_intermediate_axis_without_intermediate_tasks_changes_nothing_and_is_refused(vary):
    with pytest.raises(InputError, match=r"without any it changes nothing` must hold, but got .*learning_rate"):
        varying(vary, measure=subsets.empty())
    assert len(varying({"dropout": (0.0, 0.1)}, measure=subsets.empty()).trials()) == 4


def test_sizes_of_subsets_and_an_axis_of_sizes_are_not_both_there():
    with pytest.raises(InputError, match=r"no subset has a size` must hold, but got \[500\]"):
        varying({"intermediate.examples_per_task": (1_000, None)}, measure=subsets.at_sizes(PLAIN.measure, (500, None)))


def test_a_search_of_subsets_alone_is_for_one_recipe():
    with pytest.raises(InputError, match="a search beside `vary` has a space"):
        varying(RATES, search=Search(("a", "b"), (1,), 2))


def test_setting_a_field_that_varies_runs_that_value_alone():
    sweep = varying({**RATES, HEAT: (1.0, 3.0)})
    kept = {t.trial_id: t.cell for t in sweep.trials()}
    one = with_fields(sweep, {RATE: "1e-5"}).trials()
    assert {t.cell for t in one} == {"0", "2-en lr=1e-5 T=1", "2-en lr=1e-5 T=3"}
    assert all(kept[t.trial_id] == t.cell for t in one)
    assert {t.cell for t in with_fields(sweep, {RATE: "7e-5"}).trials() if t.config.tasks} == {
        "2-en lr=7e-5 T=1",
        "2-en lr=7e-5 T=3",
    }


def test_setting_one_of_fields_that_vary_together_keeps_their_row():
    sweep = varying({(RATE, HEAT): ((1e-5, 1.0), (2e-5, 3.0))})
    assert {t.cell for t in with_fields(sweep, {HEAT: "3"}).trials()} == {"0", "2-en lr=2e-5,T=3"}
    with pytest.raises(
        InputError, match=r"--set intermediate.temperature: it varies together with .*, at 1, 3, but got '2'"
    ):
        with_fields(sweep, {HEAT: "2"})


def test_a_target_is_set_by_the_name_of_its_task():
    assert with_fields(PLAIN, {"targets.panx.learning_rate": "3e-5"}).targets[1] == Target("panx", learning_rate=3e-5)
    with pytest.raises(InputError, match=r"there is no target 'xpan'. Did you mean 'panx'\?"):
        with_fields(PLAIN, {"targets.xpan.learning_rate": "3e-5"})
    with pytest.raises(
        InputError, match=r"TASK.FIELD, but names no field of 'panx': num_examples, .*, learning_rate, "
    ):
        with_fields(PLAIN, {"targets.panx": "1"})
    with pytest.raises(InputError, match=r"TASK.FIELD, but there is no target 'pan'. Did you mean 'panx'\?"):
        with_fields(PLAIN, {"targets.pan": "1"})
    with pytest.raises(InputError, match=r"of Sweep. Did you mean 'intermediate.learning_rate' or 'targets.TASK.learn"):
        with_fields(PLAIN, {"learning_rate": "3e-5"})
    with pytest.raises(InputError, match=r"unknown field 'lr' of Intermediate. Did you mean 'learning_rate'\?"):
        with_fields(PLAIN, {"intermediate.lr": "3e-5"})
    with pytest.raises(InputError, match="unknown field 'rate' of Target"):
        with_fields(PLAIN, {"targets.panx.rate": "3e-5"})


def test_values_are_words_without_spaces():
    values = (1e-5, 2.5e-6, 3.0, 0.05, 65_536, True, None, "linear", 1e20)
    assert [short_value(v) for v in values] == [
        "1e-5", "2.5e-6", "3", "0.05", "65536", "true", "none", "linear", "1e20",
    ]  # fmt: skip


ENCODERS = {"encoder": (XLM_R_BASE, XLM_R_LARGE)}
OWN = Pretraining(("text",), name="own")


def test_encoders_are_crossed_with_everything_and_named_in_cells():
    trials = varying({**ENCODERS, RATE: (1e-5, 2e-5)}, seeds=(0,)).trials()
    assert {t.cell: t.config.encoder for t in trials} == {
        "0 encoder=xlm-roberta-base": XLM_R_BASE,
        "0 encoder=xlm-roberta-large": XLM_R_LARGE,
        **{f"2-en encoder=xlm-roberta-base lr={rate}": XLM_R_BASE for rate in ("1e-5", "2e-5")},
        **{f"2-en encoder=xlm-roberta-large lr={rate}": XLM_R_LARGE for rate in ("1e-5", "2e-5")},
    }
    assert {t.population for t in trials} == {"0", "2-en"} and len({t.trial_id for t in trials}) == len(trials) == 6
    assert {dict(t.values)["encoder"] for t in trials} == {"xlm-roberta-base", "xlm-roberta-large"}


def test_a_trial_of_one_of_several_encoders_is_that_of_a_sweep_of_this_encoder():
    both = {t.config: t.trial_id for t in varying(ENCODERS).trials()}
    for encoder in ENCODERS["encoder"]:
        for trial in dataclasses.replace(PLAIN, encoder=encoder).trials():
            assert both.pop(trial.config) == trial.trial_id
    assert not both


def test_an_encoder_varies_together_with_a_field_of_its_own():
    vary = {("encoder", "targets.tatoeba.retrieval_layer", RATE): ((XLM_R_BASE, 7, 2e-5), (XLM_R_LARGE, 14, 1e-5))}
    trials = varying(vary, seeds=(0,)).trials()
    assert {t.cell for t in trials} == {
        "0 encoder=xlm-roberta-base,tatoeba.layer=7",
        "0 encoder=xlm-roberta-large,tatoeba.layer=14",
        "2-en encoder=xlm-roberta-base,tatoeba.layer=7,lr=2e-5",
        "2-en encoder=xlm-roberta-large,tatoeba.layer=14,lr=1e-5",
    }
    found = {(t.config.encoder, t.config.targets[-1].retrieval_layer) for t in trials}
    assert found == {(XLM_R_BASE, 7), (XLM_R_LARGE, 14)}


def test_a_name_of_an_encoder_changes_no_number():
    for plain, named in ((Encoder("a"), Encoder("a", name="b")), (Pretraining(("text",)), OWN)):
        assert plain == named and canonical_json(plain) == canonical_json(named) and to_plain(plain) == to_plain(named)
        one, other = (dataclasses.replace(PLAIN, encoder=encoder) for encoder in (plain, named))
        assert [t.trial_id for t in one.trials()] == [t.trial_id for t in other.trials()]
        assert one.definition == other.definition
    names = [Encoder("x/y-1.5", "0"), Encoder("/data/my encoder"), Encoder("a/b/"), Encoder("a", name="n"), OWN]
    assert [encoder_name(encoder) for encoder in names] == ["y-1.5", "my-encoder", "b", "n", "own"]
    for kind in (lambda: Encoder("a", name="two words"), lambda: Pretraining(("text",), name="a=b")):
        with pytest.raises(InputError, match=r"`name consists of letters, digits, '-', '_' and '.'` must hold"):
            kind()


def test_a_definition_names_its_encoders():
    (axis,) = varying({"encoder": (XLM_R_BASE, OWN)}).definition["vary"]
    assert [row[0]["name"] for row in axis["rows"]] == ["xlm-roberta-base", "own"]
    assert axis["rows"][0] == [{**to_plain(XLM_R_BASE), "name": "xlm-roberta-base"}]
    found = encoders_of(varying({"encoder": (XLM_R_BASE, OWN)}).definition)
    assert [encoder["name"] for encoder in found] == ["xlm-roberta-base", "own"]
    assert encoders_of(PLAIN.definition) == [to_plain(PLAIN.encoder)]


def test_a_search_has_one_encoder():
    space = {RATE: Choice((1e-5, 2e-5))}
    with pytest.raises(InputError, match="`a search has one encoder: run a sweep for each` must hold"):
        varying(ENCODERS, search=Search(space=space, num_trials=1, method="random"))


def test_setting_the_encoder_that_varies_runs_it_alone():
    sweep = varying({"encoder": (PLAIN.encoder, OWN, XLM_R_LARGE), RATE: (1e-5, 2e-5)})
    kept = {t.trial_id: t.cell for t in sweep.trials()}
    for name, encoder in (("folder", PLAIN.encoder), ("own", OWN), ("xlm-roberta-large", XLM_R_LARGE)):
        trials = with_fields(sweep, {"encoder": name}).trials()
        assert {t.config.encoder for t in trials} == {encoder} and len(trials) == len(kept) / 3
        assert all(kept[t.trial_id] == t.cell for t in trials)
    whole = f"{XLM_R_LARGE.path}@{XLM_R_LARGE.revision}"
    assert {t.config.encoder for t in with_fields(sweep, {"encoder": whole}).trials()} == {XLM_R_LARGE}
    assert with_fields(sweep, {"encoder": "new/one@1"}).encoders == (Encoder("new/one", "1"),)
    assert with_fields(PLAIN, {"encoder": "new/one@1"}).encoder == Encoder("new/one", "1")
