"""Phases of trials: their order, what they start from and share, what is refused."""

import dataclasses
import itertools

import planned
import pytest
from planned import ENCODER, PAIR, RECIPE, SWEEP, TARGETS, by_kind, phases_of, replace_recipe

from xlray.config.recipes import Subset, Target
from xlray.errors import InputError
from xlray.phases.spec import EncoderSpec, RetrievalSpec, TokenizerSpec, phase_hash
from xlray.plan.trials import plan_sweep

plan = planned.plan  # a fixture


def test_phases_come_rung_by_rung_trunk_then_cooldown_then_targets(plan):
    found = phases_of(plan, PAIR.tasks)
    assert found.shared == () and tuple(rung.num_examples for rung in found.rungs) == RECIPE.rungs
    for rung in found.rungs:
        assert [spec.kind for spec in rung.training] == ["trunk", "cooldown"]
        assert [spec.kind for spec in rung.targets] == ["target", "target", "retrieval"]
    assert list(found) == found.up_to(2) == [spec for rung in found.rungs for spec in (*rung.training, *rung.targets)]


def test_every_phase_starts_from_an_earlier_one(plan):
    known = {phase_hash(spec) for spec in plan.shared}
    for spec in phases_of(plan, PAIR.tasks):
        assert spec.parent in known
        known.add(phase_hash(spec))


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
    for rung in phases_of(plan, PAIR.tasks).rungs:
        assert {spec.parent for spec in rung.targets} == {phase_hash(rung.training[-1])}


def test_targets_are_probed_at_early_rungs_and_trained_in_full_at_the_last(plan):
    for tasks in (PAIR.tasks, ()):
        found = phases_of(plan, tasks)
        sizes = {
            task: [spec.num_examples for spec in by_kind(found, "target") if spec.data[0].task == task]
            for task in ("mini_udpos", "mini_tydiqa")
        }
        assert sizes == {"mini_udpos": [64, 64, 128], "mini_tydiqa": [96, 96, 96]}


def test_the_empty_subset_has_no_trunk_and_starts_from_the_encoder(plan):
    found = phases_of(plan, ())
    assert {spec.parent for spec in found} == {phase_hash(plan.shared[-1])}
    for rung in found.rungs:
        assert rung.training == () and [spec.kind for spec in rung.targets] == ["target", "target", "retrieval"]


def test_the_linear_schedule_needs_no_cooldown():
    plan = plan_sweep(replace_recipe(rungs=(128,), schedule="linear"), None)
    trunk, *targets = phases_of(plan, PAIR.tasks)
    assert [spec.kind for spec in (trunk, *targets)] == ["trunk", "target", "target", "retrieval"]
    assert trunk.schedule == "warmup_linear" and trunk.ends_at_zero
    assert all(spec.parent == phase_hash(trunk) for spec in targets)


def test_pretraining_is_a_tokenizer_and_one_phase_shared_by_all(plan):
    tokenizer, pretrain = plan.shared
    assert isinstance(tokenizer, TokenizerSpec)
    assert (pretrain.kind, pretrain.parent, pretrain.num_steps, pretrain.dropout) == (
        "pretrain",
        phase_hash(tokenizer),
        8,
        0.0,
    )
    assert plan.starts[ENCODER].root is None


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
        if hasattr(a, "seed"):
            assert (a.seed, b.seed) == (0, 1)
            assert dataclasses.replace(b, seed=0, parent=a.parent) == a


def test_a_sample_of_examples_is_part_of_the_identity(plan):
    sampled = next(iter(phases_of(plan_sweep(replace_recipe(examples_per_task=50), None), PAIR.tasks)))
    whole = next(iter(phases_of(plan, PAIR.tasks)))
    assert [d.num_records for d in sampled.data] == [50, 50]
    assert all(a.fingerprint != b.fingerprint for a, b in zip(sampled.data, whole.data, strict=True))


def test_only_span_qa_data_depends_on_the_stride(plan):
    other = plan_sweep(replace_recipe(stride=16), None)
    assert next(iter(phases_of(other, PAIR.tasks))) == next(iter(phases_of(plan, PAIR.tasks)))


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
        (
            {"targets": (Target("mini_tatoeba", max_length=64, stride=32, retrieval_layer=3),)},
            r"target 'mini_tatoeba'.*retrieval_layer <= 2 \(the encoder's layers\)` must hold, but got 3",
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
        hashes = [phase_hash(spec) for spec in plan.phases[trial.trial_id]]
        repeated = len(hashes) - len(set(hashes))
        assert repeated == (0 if trial.config.tasks else 1 + 2 + 2)
    assert all(len(list(group)) >= 1 for _, group in itertools.groupby(sorted(plan.phases)))
