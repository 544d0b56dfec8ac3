import dataclasses
import functools
import itertools
from unittest import mock

import pytest

from xlray import sources
from xlray.canonical import InputError
from xlray.config import SIGNALS, Sweep
from xlray.forecast import naive_steps, steps_of, summary
from xlray.phases import EncoderSpec, RetrievalSpec, TokenizerSpec, phase_hash
from xlray.plan import plan_sweep, ranking_languages
from xlray.recipes import Architecture, Intermediate, Pretraining, Subset, Target
from xlray.registry import find_task
from xlray.store import Store
from xlray.tasks import load_records
from xlray.tasks.task import Generated, Task

ENCODER = Pretraining(
    ("mini_text",), Architecture(64, 2, 4, 128, 400, 66), num_examples=256, batch_size=32, max_length=64
)
RECIPE = Intermediate(
    rungs=(64, 128, 256), batch_size=32, warmup_examples=32, max_length=64, stride=32, cooldown_ratio=0.25
)
TARGETS = (
    Target("mini_udpos", 128, 64, max_length=64, stride=32),
    Target("mini_tydiqa", 96, max_length=64, stride=32),
    Target("mini_tatoeba", max_length=64, stride=32),
)
PAIR = Subset(("mini_sentiment_en", "mini_topic_en"))
ONE = Subset(("mini_topic_en",))
SWEEP = Sweep(
    "s", ENCODER, measure=(Subset(()), PAIR), explore=(ONE,), seeds=(0, 1), intermediate=RECIPE, targets=TARGETS
)


def replace_recipe(**changes):
    return dataclasses.replace(SWEEP, intermediate=dataclasses.replace(RECIPE, **changes))


@pytest.fixture(scope="module", autouse=True)
def records_are_generated_once():
    load = functools.cache(lambda name, split: load_records(find_task(name), split))
    with mock.patch.object(sources, "load_records", lambda task, split, *_: load(task.name, split)):
        yield


@pytest.fixture(scope="module")
def plan():
    return plan_sweep(SWEEP, None)


def trial_of(plan, tasks, seed=0):
    return next(t for t in plan.trials if t.config.tasks == tasks and t.config.seed == seed)


def phases_of(plan, tasks, seed=0):
    return plan.phases[trial_of(plan, tasks, seed).trial_id]


def by_kind(phases, kind):
    return [p.spec for p in phases if p.spec.kind == kind]


def test_phases_come_rung_by_rung_trunk_then_cooldown_then_targets(plan):
    found = phases_of(plan, PAIR.tasks)
    assert [(p.spec.kind, p.rung_index) for p in found] == [
        step
        for rung in range(3)
        for step in (("trunk", None), ("cooldown", None), ("target", rung), ("target", rung), ("retrieval", rung))
    ]


def test_every_phase_starts_from_an_earlier_one(plan):
    known = {phase_hash(spec) for spec in plan.shared}
    for planned in phases_of(plan, PAIR.tasks):
        assert planned.spec.parent in known
        known.add(phase_hash(planned.spec))


def test_trunk_segments_follow_one_another_and_cooldowns_branch_off(plan):
    found = phases_of(plan, PAIR.tasks)
    trunks, cooldowns = by_kind(found, "trunk"), by_kind(found, "cooldown")
    assert [(t.first_example, t.num_examples, t.continues) for t in trunks] == [
        (0, 64, False),
        (64, 64, True),
        (128, 128, True),
    ]
    assert [t.parent for t in trunks] == [phase_hash(plan.shared[-1]), phase_hash(trunks[0]), phase_hash(trunks[1])]
    assert [(c.parent, c.first_example, c.continues) for c in cooldowns] == [
        (phase_hash(t), rung, True) for t, rung in zip(trunks, RECIPE.rungs, strict=True)
    ]
    assert [c.num_examples for c in cooldowns] == [32, 32, 64]  # a quarter of the rung, in whole batches, one at least
    assert {t.schedule for t in trunks} == {"warmup_constant"} and {c.schedule for c in cooldowns} == {"decay"}
    assert len({phase_hash(s) for s in (*trunks, *cooldowns)}) == 6


def test_targets_start_from_the_cooldown_of_their_rung(plan):
    found = phases_of(plan, PAIR.tasks)
    cooldowns = [phase_hash(c) for c in by_kind(found, "cooldown")]
    for planned in found:
        if planned.rung_index is not None:
            assert planned.spec.parent == cooldowns[planned.rung_index]


def test_targets_are_probed_at_early_rungs_and_trained_in_full_at_the_last(plan):
    for tasks in (PAIR.tasks, ()):
        found = phases_of(plan, tasks)
        sizes = {
            task: [p.spec.num_examples for p in found if p.spec.kind == "target" and p.spec.data[0].task == task]
            for task in ("mini_udpos", "mini_tydiqa")
        }
        assert sizes == {"mini_udpos": [64, 64, 128], "mini_tydiqa": [96, 96, 96]}


def test_the_empty_subset_has_no_trunk_and_starts_from_the_encoder(plan):
    found = phases_of(plan, ())
    assert {p.spec.kind for p in found} == {"target", "retrieval"}
    assert {p.spec.parent for p in found} == {phase_hash(plan.shared[-1])}
    assert [p.rung_index for p in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_the_linear_schedule_needs_no_cooldown():
    plan = plan_sweep(replace_recipe(rungs=(128,), schedule="linear"), None)
    found = phases_of(plan, PAIR.tasks)
    assert [p.spec.kind for p in found] == ["trunk", "target", "target", "retrieval"]
    trunk = found[0].spec
    assert trunk.schedule == "warmup_linear" and trunk.ends_at_zero
    assert all(p.spec.parent == phase_hash(trunk) for p in found[1:])


def test_pretraining_is_a_tokenizer_and_one_phase_shared_by_all(plan):
    tokenizer, pretrain = plan.shared
    assert isinstance(tokenizer, TokenizerSpec)
    assert (pretrain.kind, pretrain.parent, pretrain.num_steps, pretrain.dropout) == (
        "pretrain",
        phase_hash(tokenizer),
        8,
        0.0,
    )
    assert plan.root is None


def test_targets_train_in_english_and_are_selected_on_finnish_dev_only(plan):
    spec = by_kind(phases_of(plan, PAIR.tasks), "target")[0]
    assert [d.split for d in spec.data] == ["train/en"]
    assert [(e.split, e.language, e.sealed, e.selection) for e in spec.evaluations] == [
        ("dev", "fi", False, True),
        ("dev", "en", False, False),
        ("test", "fi", True, False),
    ]
    assert spec.headline == ("accuracy",)


def test_english_dev_can_be_left_out():
    target = dataclasses.replace(TARGETS[0], english=False)
    plan = plan_sweep(dataclasses.replace(SWEEP, targets=(target,)), None)
    evaluations = by_kind(phases_of(plan, ()), "target")[0].evaluations
    assert [(e.split, e.language) for e in evaluations] == [("dev", "fi"), ("test", "fi")]


def test_retrieval_is_evaluated_from_the_cooldown(plan):
    spec = by_kind(phases_of(plan, PAIR.tasks), "retrieval")[0]
    assert isinstance(spec, RetrievalSpec)
    assert [e.selection for e in spec.evaluations] == [not e.sealed for e in spec.evaluations]


def test_seeds_differ_in_the_seed_alone(plan):
    for a, b in zip(phases_of(plan, PAIR.tasks, 0), phases_of(plan, PAIR.tasks, 1), strict=True):
        if hasattr(a.spec, "seed"):
            assert (a.spec.seed, b.spec.seed) == (0, 1)
            assert dataclasses.replace(b.spec, seed=0, parent=a.spec.parent) == a.spec


def test_a_sample_of_examples_is_part_of_the_identity(plan):
    sampled = phases_of(plan_sweep(replace_recipe(examples_per_task=50), None), PAIR.tasks)[0].spec
    whole = phases_of(plan, PAIR.tasks)[0].spec
    assert [d.num_records for d in sampled.data] == [50, 50]
    assert all(a.fingerprint != b.fingerprint for a, b in zip(sampled.data, whole.data, strict=True))


def test_only_span_qa_data_depends_on_the_stride(plan):
    other = plan_sweep(replace_recipe(stride=16), None)
    assert phases_of(other, PAIR.tasks)[0].spec == phases_of(plan, PAIR.tasks)[0].spec


# --- summary -------------------------------------------------------------------------------------------------------


def test_the_summary_has_the_fields_that_programs_rely_on(plan, tmp_path):
    found = summary(plan, Store(tmp_path))
    assert found.keys() >= {
        "trials",
        "cells",
        "phases",
        "steps",
        "naive_steps",
        "steps_ratio",
        "saved",
        "device_hours",
        "storage_bytes",
        "minimum_detectable_effect",
    }
    assert found["phases"].keys() == {"new", "shared", "stored"}
    assert found["saved"].keys() == {"trunk", "sharing", "stopping"}
    assert found["trials"] == 6
    assert found["cells"] == {"0": 2, "2-all": 2, "1-all": 2}
    assert found["device_hours"] is None


# By hand: a trunk to 256 in batches of 32 takes 8 steps, its cooldowns 1 + 1 + 2; targets 2 + 2 + 4 and 3 + 3 + 3.
TRUNK, COOLDOWNS, FINE_TUNING, PRETRAINING = 8, 4, 8 + 9, 8


def test_steps_are_those_of_distinct_phases(plan, tmp_path):
    found = summary(plan, Store(tmp_path))
    control = 2 + 4 + 3  # a probe is the same at the first two rungs, and one target has no probe
    assert found["steps"] == PRETRAINING + 4 * (TRUNK + COOLDOWNS + FINE_TUNING) + 2 * control
    assert found["phases"]["new"] == 2 + 4 * 15 + 2 * 3 + 1  # retrieval from the encoder has no seed: both share it


def test_naive_steps_train_every_size_from_scratch(plan, tmp_path):
    naive, with_trunk = naive_steps(plan)
    from_scratch = 2 + 4 + 8
    assert naive == PRETRAINING + 4 * (from_scratch + COOLDOWNS + FINE_TUNING) + 2 * FINE_TUNING
    assert naive - with_trunk == 4 * (from_scratch - TRUNK)
    found = summary(plan, Store(tmp_path))
    assert (found["naive_steps"], found["saved"]["trunk"]) == (naive, naive - with_trunk)
    assert found["steps"] < naive
    assert found["steps_ratio"] == found["steps"] / naive


def test_with_one_rung_there_is_no_trunk_to_share():
    naive, with_trunk = naive_steps(plan_sweep(replace_recipe(rungs=(64,)), None))
    assert naive == with_trunk


def test_phases_that_several_trials_need_are_counted_as_shared(plan, tmp_path):
    uses = [phase_hash(p.spec) for phases in plan.phases.values() for p in phases]
    within = [{phase_hash(p.spec) for p in phases} for phases in plan.phases.values()]
    shared = sum(map(len, within)) - len(set(uses))
    assert shared == 1  # the retrieval of the two controls
    assert summary(plan, Store(tmp_path))["phases"]["shared"] == shared


def test_sweeps_over_the_same_recipe_share_phases(plan):
    other = plan_sweep(dataclasses.replace(SWEEP, name="other", measure=(PAIR,), explore=(), seeds=(0,)), None)
    assert other.all_specs().keys() < plan.all_specs().keys()
    longer = plan_sweep(
        dataclasses.replace(SWEEP, intermediate=dataclasses.replace(RECIPE, rungs=(64, 128, 256, 512))), None
    )
    trunks = {phase_hash(s) for s in by_kind(phases_of(plan, PAIR.tasks), "trunk")}
    assert trunks < longer.all_specs().keys()


def test_stored_phases_are_not_new_and_give_the_rate_of_device_hours(plan, tmp_path):
    store = Store(tmp_path)
    specs = list(plan.all_specs().values())
    one_of_each = {spec.kind: spec for spec in specs}
    for spec in one_of_each.values():
        with store.staging(spec) as staged:
            store.commit(spec, staged, {"device_seconds": 7.0 * max(1, steps_of(spec))})
    found = summary(plan, store)
    assert found["phases"]["stored"] == len(one_of_each)
    assert found["phases"]["new"] == len(specs) - len(one_of_each)
    rest = [s for s in specs if s not in one_of_each.values()]
    assert found["remaining_steps"] == sum(map(steps_of, rest))
    assert found["device_hours"] == pytest.approx(7.0 * sum(max(1, steps_of(s)) for s in rest) / 3600)
    assert found["storage_bytes"] > 0


# --- what ranks trials ---------------------------------------------------------------------------------------------


def tagged(name, kind="tagging"):
    """A target of the sweep's own that can be evaluated in Turkish and Russian as well."""
    source = find_task("mini_udpos").source if kind == "tagging" else find_task("mini_tatoeba").source
    prefixes = ("dev", "test") if kind == "tagging" else ("all",)
    splits = [f"{prefix}/{code}" for prefix in prefixes for code in ("fi", "en", "tr", "ru")]
    made = Generated(("train/en", *splits), lambda key: itertools.islice(source.generate("dev/fi"), 9))
    return Task(name, kind, "target", ("en", "fi", "tr", "ru"), made, labels=find_task("mini_udpos").labels)


def pivot_sweep(pivots=("tr",), select_by="pivot-dev", tasks=("mini_topic_en",), **changes):
    own = (tagged("words"), tagged("pairs", "retrieval"))
    targets = tuple(Target(t.name, 96, max_length=64, stride=32, pivots=pivots) for t in own)
    values = {"own_tasks": own, "targets": targets, "select_by": select_by, "measure": (Subset(tasks),)}
    fixed = {"explore": (), "seeds": (0,), "drop_overlap": False}
    return dataclasses.replace(SWEEP, **{**values, **fixed, **changes})


def test_pivots_are_evaluated_on_dev_alone_and_enter_no_accuracy(monkeypatch):
    monkeypatch.setattr(sources, "load_records", lambda task, split, *_: load_records(task, split))
    plan = plan_sweep(pivot_sweep(("tr", "ru")), None)
    words, pairs = (p.spec for p in plan.phases[plan.trials[0].trial_id][-2:])
    assert [(e.split, e.language, e.sealed, e.selection) for e in words.evaluations] == [
        ("dev", "fi", False, True),
        ("dev", "en", False, False),
        ("dev", "tr", False, False),
        ("dev", "ru", False, False),
        ("test", "fi", True, False),
    ]
    assert [(e.data.split, e.split, e.selection) for e in pairs.evaluations] == [
        ("all/fi", "dev", True),
        ("all/fi", "test", False),
        ("all/tr", "dev", False),
        ("all/ru", "dev", False),
    ]
    read = {signal: ranking_languages(words, signal) for signal in SIGNALS}
    assert read == {"finnish-dev": ("fi",), "pivot-dev": ("tr", "ru"), "english-dev": ("en",)}
    assert [ranking_languages(pairs, signal) for signal in SIGNALS] == [("fi",), ("tr", "ru"), ()]


def test_pivots_make_new_target_phases_and_keep_what_they_start_from(monkeypatch):
    monkeypatch.setattr(sources, "load_records", lambda task, split, *_: load_records(task, split))
    with_pivots, without = (plan_sweep(pivot_sweep(p, "finnish-dev"), None).all_specs() for p in (("tr",), ()))
    assert {s.kind for key, s in with_pivots.items() if key not in without} == {"target", "retrieval"}
    ranked = plan_sweep(pivot_sweep(("tr",), "pivot-dev"), None)
    assert ranked.all_specs() == with_pivots  # which signal ranks is in no phase


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        (pivot_sweep(()), r"'words' has none; such as Target\('words', pivots=\('tr', 'ru'\)\)"),
        (pivot_sweep(("hu",)), r"languages of its dev sets \(tr, ru\), but got 'hu'"),
        (pivot_sweep(("en",)), r"languages of its dev sets \(tr, ru\), but got 'en'"),
        (pivot_sweep(("tr",), tasks=("mini_words_tr",)), "'mini_words_tr' has them in 'tr'"),
        (pivot_sweep(("tr",), "finnish-dev", ("mini_words_tr",)), "'mini_words_tr' has them in 'tr'"),
        (pivot_sweep((), targets=(TARGETS[0],)), "'mini_udpos' has none and no dev set for one"),
        (
            pivot_sweep((), "english-dev", targets=(dataclasses.replace(TARGETS[0], english=False),)),
            "'mini_udpos' is not evaluated on one",
        ),
    ],
)
def test_a_signal_that_is_not_there_or_not_zero_shot_is_refused(sweep, message):
    with pytest.raises(InputError, match=message):
        plan_sweep(sweep, None)


def test_a_signal_must_be_known_and_finnish_is_no_pivot():
    with pytest.raises(InputError, match="select_by in"):
        dataclasses.replace(SWEEP, select_by="swedish-dev")
    with pytest.raises(InputError, match="'fi' is no pivot"):
        Target("udpos", pivots=("fi",))


def test_a_missing_pivot_file_is_named(tmp_path):
    folder = tmp_path / "udpos"
    folder.mkdir()
    for name in ("train-en", "dev-en", "dev-fi"):
        (folder / f"{name}.tsv").write_text("koira\tNOUN\n\n")
    sweep = pivot_sweep(targets=(Target("udpos", 96, max_length=64, stride=32, pivots=("et",)),), own_tasks=())
    with (
        pytest.raises(InputError, match=r"udpos.*dev-et\.tsv"),
        mock.patch.object(sources, "load_records", load_records),
    ):
        plan_sweep(sweep, tmp_path)


# --- refused before a start ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": (Target("mini_udpso"),)}, "task 'mini_udpso' must be one of .*Did you mean 'mini_udpos'"),
        ({"targets": (Target("mini_topic_en"),)}, "task 'mini_topic_en' must be a target"),
        ({"measure": (Subset(("mini_udpos",)),)}, "'mini_udpos' is a target and cannot be an intermediate task"),
        ({"measure": (Subset(("mini_topic_e",)),)}, "'mini_topic_e'.*Did you mean 'mini_topic_"),
        (
            {"targets": (Target("mini_udpos", max_length=65, stride=32),)},
            r"max_length <= 64 \(the encoder's positions\)` must hold, but got 65",
        ),
    ],
)
def test_what_could_be_known_is_refused_before_a_start(changes, message):
    with pytest.raises(InputError, match=message):
        plan_sweep(dataclasses.replace(SWEEP, **changes), None)


def test_a_token_budget_below_the_longest_sequence_is_refused():
    small = dataclasses.replace(SWEEP, execution=dataclasses.replace(SWEEP.execution, micro_batch_tokens=63))
    with pytest.raises(InputError, match=r"max_length <= micro_batch_tokens \(63\)"):
        plan_sweep(small, None)


def test_a_token_budget_below_the_longest_row_is_refused():
    small = dataclasses.replace(SWEEP, execution=dataclasses.replace(SWEEP.execution, micro_batch_tokens=64))
    with pytest.raises(InputError, match="micro_batch_tokens"):
        plan_sweep(small, None)  # a row of mini_tatoeba holds two sequences of up to 64 tokens


def test_execution_is_in_no_spec(plan):
    execution = dataclasses.replace(SWEEP.execution, num_workers=2, zero_stage=3, micro_batch_tokens=4096)
    other = plan_sweep(dataclasses.replace(SWEEP, execution=execution), None)
    assert other.all_specs() == plan.all_specs()
    roots = [EncoderSpec("a"), EncoderSpec("b")]
    assert len({phase_hash(root) for root in roots}) == 2


def test_phases_of_all_trials_are_distinct_within_a_trial_but_for_repeated_probes(plan):
    for trial in plan.trials:
        hashes = [phase_hash(p.spec) for p in plan.phases[trial.trial_id]]
        repeated = len(hashes) - len(set(hashes))
        assert repeated == (0 if trial.config.tasks else 1 + 2 + 2)
    assert all(len(list(group)) >= 1 for _, group in itertools.groupby(sorted(plan.phases)))
