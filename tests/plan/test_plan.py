import dataclasses
import itertools
import json
from collections import Counter
from pathlib import Path

import helpers
import pytest
from rich.console import Console

from xlray.cli import tables
from xlray.cli.sweep_file import load_sweep
from xlray.config.execution import Execution
from xlray.config.overrides import with_fields
from xlray.config.recipes import (
    XLM_R_BASE,
    XLM_R_LARGE,
    Architecture,
    Encoder,
    Intermediate,
    Pretraining,
    Subset,
    Target,
)
from xlray.config.subsets import at_sizes, random_subsets
from xlray.config.sweep import Stopping, Sweep
from xlray.data.encoders import KNOWN_ARCHITECTURES, architecture_of
from xlray.errors import InputError
from xlray.mini import MINI_TASKS
from xlray.phases.spec import EncoderSpec, RetrievalSpec, TokenizerSpec, phase_hash
from xlray.phases.store import Store
from xlray.plan import definition
from xlray.plan.costs import phase_cost
from xlray.plan.exposure import exposure
from xlray.plan.forecast import Terms, naive_steps, over_budget, simulation, steps_of, summary
from xlray.plan.jobs import created_entry
from xlray.plan.memory import ModelShape
from xlray.plan.rung_report import measured_by
from xlray.plan.sharing import MOST_PER_GPU, PROCESS_BYTES, with_sharing
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

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


@pytest.fixture(scope="module")
def plan():
    return plan_sweep(SWEEP, None)


def trial_of(plan, tasks, seed=0):
    return next(t for t in plan.trials if t.config.tasks == tasks and t.config.seed == seed)


def phases_of(plan, tasks, seed=0):
    return plan.phases[trial_of(plan, tasks, seed).trial_id]


def by_kind(phases, kind):
    return [spec for spec in phases if spec.kind == kind]


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


# --- summary -------------------------------------------------------------------------------------------------------


def test_the_summary_has_the_fields_that_programs_rely_on(plan, tmp_path):
    found = summary(plan, Store(Storage(tmp_path)))
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
    assert found["saved"].keys() == {"trunk", "sharing", "stopping", "probes"}
    assert found["trials"] == 6
    assert found["cells"] == {"0": 2, "2-all": 2, "1-all": 2}
    assert found["device_hours_source"].startswith("assumed: 15 GFLOP/s")
    assert [t["cell"] for t in found["trial_list"]] == ["0", "2-all", "1-all"] * 2


# By hand: a trunk to 256 in batches of 32 takes 8 steps, its cooldowns 1 + 1 + 2; targets 2 + 2 + 4 and 3 + 3 + 3.
TRUNK, COOLDOWNS, FINE_TUNING, PRETRAINING = 8, 4, 8 + 9, 8


def test_steps_are_those_of_distinct_phases(plan, tmp_path):
    found = summary(plan, Store(Storage(tmp_path)))
    control = 2 + 4 + 3  # a probe is the same at the first two rungs, and one target has no probe
    assert found["steps"] == PRETRAINING + 4 * (TRUNK + COOLDOWNS + FINE_TUNING) + 2 * control
    assert found["phases"]["new"] == 2 + 4 * 15 + 2 * 3 + 1  # retrieval from the encoder has no seed: both share it


def test_naive_steps_train_every_size_from_scratch_with_full_targets(plan, tmp_path):
    naive, probes, trunk = naive_steps(plan)
    from_scratch, full = 2 + 4 + 8, 3 * 4 + 3 * 3
    assert naive == PRETRAINING + 4 * (from_scratch + COOLDOWNS + full) + 2 * full
    assert trunk == 4 * (from_scratch - TRUNK)
    assert probes == 6 * (full - FINE_TUNING)
    found = summary(plan, Store(Storage(tmp_path)))
    saved = found["saved"]
    assert (found["naive_steps"], saved["trunk"], saved["probes"]) == (naive, trunk, probes)
    assert naive - saved["trunk"] - saved["probes"] - saved["sharing"] - saved["stopping"] == found["expected_steps"]
    # Smaller targets at early rungs are no saving of the design.
    assert found["steps_ratio"] == (found["expected_steps"] + probes) / naive


def test_with_one_rung_there_is_no_trunk_to_share():
    _, probes, trunk = naive_steps(plan_sweep(replace_recipe(rungs=(64,)), None))
    assert (probes, trunk) == (0, 0)


def test_phases_that_several_trials_need_are_counted_as_shared(plan, tmp_path):
    uses = [phase_hash(spec) for phases in plan.phases.values() for spec in phases]
    within = [{phase_hash(spec) for spec in phases} for phases in plan.phases.values()]
    shared = sum(map(len, within)) - len(set(uses))
    # The retrieval of the two controls, whose repeated probes are shared within a trial.
    assert shared == 1
    assert summary(plan, Store(Storage(tmp_path)))["phases"]["shared"] == shared


def test_sweeps_over_the_same_recipe_share_phases(plan):
    other = plan_sweep(dataclasses.replace(SWEEP, name="other", measure=(PAIR,), explore=(), seeds=(0,)), None)
    assert other.all_specs().keys() < plan.all_specs().keys()
    longer = plan_sweep(
        dataclasses.replace(SWEEP, intermediate=dataclasses.replace(RECIPE, rungs=(64, 128, 256, 512))), None
    )
    trunks = {phase_hash(s) for s in by_kind(phases_of(plan, PAIR.tasks), "trunk")}
    assert trunks < longer.all_specs().keys()


def test_stored_phases_are_not_new_and_give_the_rate_of_device_hours(plan, tmp_path):
    store = Store(Storage(tmp_path))
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
    costs = {spec.key: phase_cost(spec, ModelShape(ENCODER.architecture)) for spec in specs}
    rate = {s.kind: 7.0 * max(1, steps_of(s)) / costs[s.key].flops for s in one_of_each.values() if costs[s.key].flops}
    expected = sum(rate.get(s.kind, 0.0) * costs[s.key].flops for s in rest) / 3600
    assert found["device_hours_at_most"] == pytest.approx(expected)
    assert found["device_hours_source"].startswith("measured here for cooldown, pretrain, retrieval, target, trunk")
    assert 0 < found["device_hours"] <= found["device_hours_at_most"] * (1 + 1e-9)  # sums in another order


def test_a_trial_that_was_stopped_has_nothing_left_to_do(plan, tmp_path):
    storage = Storage(tmp_path)
    store, stopped = Store(storage), plan.trials[-1]
    phases = plan.phases[stopped.trial_id]
    for spec in (*plan.shared, *phases.up_to(0)):
        if not store.has(spec):
            with store.staging(spec) as staged:
                store.commit(spec, staged, {"device_seconds": 1.0})
    before, journal = summary(plan, store), sweep_folder(storage, plan.sweep.name).journal
    rung = {
        "event": "rung",
        "trial_id": stopped.trial_id,
        "rung_index": 0,
        "rung": 64,
        "decision": "stop",
        "score": 1.0,
    }
    with journal.exclusive():
        journal.append(created_entry(stopped))
        journal.append({**rung, "reason": "below the cut", "phases": measured_by(phases, 0)})
        journal.append({"event": "stopped", "trial_id": stopped.trial_id})
    after = summary(plan, store)
    others = {spec.key for trial in plan.trials[:-1] for spec in plan.phases[trial.trial_id]}
    saved = [spec for rung in phases.rungs[1:] for spec in rung.phases if spec.key not in others]
    assert saved and after["ended"] == {"stopped": 1} and before["ended"] == {}
    assert before["remaining_steps"] - after["remaining_steps"] == sum(map(steps_of, saved))
    assert before["phases"]["new"] - after["phases"]["new"] == len(saved)
    with journal.exclusive():  # read from other phases than those of now: it is computed again
        journal.append({**rung, "reason": "below the cut", "phases": ["other"]})
        journal.append({"event": "stopped", "trial_id": stopped.trial_id})
    assert summary(plan, store)["ended"] == {}


def test_a_trial_that_finished_has_the_rungs_to_do_that_the_sweep_got_since(plan, tmp_path):
    storage = Storage(tmp_path)
    store, journal = Store(storage), sweep_folder(storage, plan.sweep.name).journal
    done = plan.trials[0]
    specs = [*plan.shared, *plan.phases[done.trial_id]]
    for spec in {spec.key: spec for spec in specs}.values():
        with store.staging(spec) as staged:
            store.commit(spec, staged, {"device_seconds": 1.0})
    rungs = plan.sweep.intermediate.rungs
    with journal.exclusive():
        journal.append(created_entry(done))
        for index, rung in enumerate(rungs):
            entry = {"event": "rung", "trial_id": done.trial_id, "rung_index": index, "rung": rung, "score": 1.0}
            phases = measured_by(plan.phases[done.trial_id], index)
            journal.append({**entry, "decision": "continue", "reason": "measure", "phases": phases})
        journal.append({"event": "finished", "trial_id": done.trial_id})
    assert summary(plan, store)["ended"] == {"finished": 1}
    longer = dataclasses.replace(plan.sweep.intermediate, rungs=(*rungs, 2 * rungs[-1]))
    more = plan_sweep(dataclasses.replace(plan.sweep, intermediate=longer), None)
    found = summary(more, store)
    assert found["ended"] == {} and found["remaining_steps"] > 0


def test_the_plan_holds_predicted_memory_beside_what_stored_phases_took(plan, tmp_path):
    store, execution = Store(Storage(tmp_path)), plan.sweep.execution
    trunk = next(spec for spec in plan.all_specs().values() if spec.kind == "trunk")
    with store.staging(trunk) as staged:
        ran = {"execution": dataclasses.asdict(execution), "micro_batch_tokens": execution.micro_batch_tokens}
        store.commit(trunk, staged, {"device_seconds": 1.0, "peak_memory_bytes": 12_345_678, **ran})
    rows = summary(plan, store)["memory"]
    (own,) = [row for row in rows if row["asked_for"]]
    assert (own["zero_stage"], own["measured_bytes"]) == (execution.zero_stage, 12_345_678)
    assert all(row["device_bytes"] > 0 for row in rows)
    console = Console(width=120, record=True)
    console.print(tables.memory_table(rows, execution.num_workers))
    shown = [line.split() for line in console.export_text().splitlines()]
    assert [line[:1] + line[-1:] for line in shown if line[1:2] == ["*"]] == [[str(execution.zero_stage), "0.01"]]


def test_hours_money_and_time_follow_from_one_another(plan, tmp_path):
    alone = summary(plan, Store(Storage(tmp_path)), Terms(price_per_hour=2.5, device_tflops=0.001))
    assert alone["cost"] == pytest.approx(2.5 * alone["device_hours"])
    assert alone["device_hours_source"] == "assumed: 0.001 TFLOP/s per device, as given"
    faster = summary(plan, Store(Storage(tmp_path)), Terms(device_tflops=1.0))
    assert faster["device_hours"] < alone["device_hours"] and faster["cost"] is None
    several = summary(plan, Store(Storage(tmp_path)), Terms(devices=4, device_tflops=0.001))
    assert several["wall_hours"] < alone["wall_hours"] == pytest.approx(alone["device_hours"])
    assert several["steps"] == alone["steps"]


def test_as_many_devices_are_assumed_as_trials_run_at_one_time(plan, tmp_path):
    def devices(terms=Terms(), **fields):  # noqa: B008 - frozen
        other = dataclasses.replace(plan, sweep=dataclasses.replace(plan.sweep, execution=Execution(**fields)))
        return summary(other, Store(Storage(tmp_path)), terms)["devices"]

    assert devices() == 1 and devices(max_concurrent_trials=2) == 2
    assert devices(max_concurrent_trials=2, num_workers=3) == 6
    assert devices(max_concurrent_trials=3, gpus_per_worker=0.5) == 2
    assert devices(Terms(devices=1), max_concurrent_trials=2) == 1


def test_trials_that_share_gpus_take_as_many_hours_of_them_and_as_long(plan, tmp_path):
    def shared(terms, **fields):
        execution = Execution(gpus_per_worker=1, **fields)
        other = dataclasses.replace(plan, sweep=dataclasses.replace(plan.sweep, execution=execution))
        return summary(other, Store(Storage(tmp_path)), terms)

    terms = Terms(devices=2, device_tflops=0.001, gpu_gib=40.0)
    whole, half = shared(terms), shared(terms, trials_per_gpu=2)
    assert whole["sharing"] is None
    assert (whole["devices"], half["devices"]) == (2, 2)
    assert half["device_hours"] == pytest.approx(whole["device_hours"])
    assert half["sharing"] == {
        "trials_per_gpu": 2,
        "gpu_bytes": 40 * 2**30,
        "gpu_bytes_source": "as given",
        "limit_bytes": 20 * 2**30 - PROCESS_BYTES,
        "predicted_bytes": half["sharing"]["predicted_bytes"],
    }
    assert 0 < half["sharing"]["predicted_bytes"] < half["sharing"]["limit_bytes"]
    (line,) = tables.sharing_lines(half["sharing"])
    assert line.startswith("share   2 trials on each GPU; each may use 19.2 GiB of its 40.0 (as given), ")
    assert "too much" not in line and tables.sharing_lines(None) == []
    (line,) = tables.sharing_lines({**half["sharing"], "predicted_bytes": 20 * 2**30})
    assert "20.0 are predicted, which is too much" in line
    auto = shared(Terms(), trials_per_gpu="auto")  # a tiny encoder
    assert auto["sharing"]["trials_per_gpu"] == MOST_PER_GPU and auto["devices"] == 1
    assert auto["sharing"]["gpu_bytes_source"] in ("assumed", "of this machine")
    with pytest.raises(InputError, match="--gpu-gib: a number above 0"):
        Terms(gpu_gib=0.0)


def test_a_plan_for_cpus_has_no_gpu_to_share(plan):
    execution = Execution(trials_per_gpu="auto")
    settled = with_sharing(dataclasses.replace(plan, sweep=dataclasses.replace(plan.sweep, execution=execution)), None)
    assert settled.sweep.execution == Execution()
    assert with_sharing(plan, None) is plan


def test_a_budget_below_the_expected_hours_is_refused(plan, tmp_path):
    hours = summary(plan, Store(Storage(tmp_path)))["device_hours"]
    assert over_budget(summary(plan, Store(Storage(tmp_path)), Terms(budget_hours=1.01 * hours))) is None
    assert "are expected (assumed" in str(
        over_budget(summary(plan, Store(Storage(tmp_path)), Terms(budget_hours=0.99 * hours)))
    )
    with pytest.raises(InputError, match="--budget-hours: a number above 0"):
        Terms(budget_hours=0)


def test_the_storage_of_a_large_encoder_is_its_states_and_weights():
    shape = ModelShape(KNOWN_ARCHITECTURES[XLM_R_LARGE.path])
    assert (round(shape.num_parameters / 1e6), round(shape.body / 1e6)) == (559, 302)  # 560 M with the pooler
    data = helpers.data_spec("panx", "tagging", "train/en", [{}], labels=("O",))
    trunk = helpers.train_spec("trunk", "p", [data], schedule="warmup_constant")
    cooldown = helpers.train_spec("cooldown", "p", [data], schedule="decay")
    costs = [phase_cost(spec, shape) for spec in (trunk, cooldown)]
    assert [round(cost.bytes / 1e9, 1) for cost in costs] == [6.7, 2.2]


# --- sizes that are assumed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["finnish_9_vs_20", "phang2020", "sizes", "leave_one_out"])
def test_the_real_questions_validate_and_plan_without_their_data(name, tmp_path):
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / f"{name}.py")
    plan = plan_sweep(sweep, None, Storage(tmp_path), assume_sizes=True)
    found = summary(plan, Store(Storage(tmp_path)), Terms(devices=64, price_per_hour=2.0))
    assert found["trials"] == len(sweep.trials()) and found["assumed_sizes"]
    assert 0 < found["wall_hours"] < found["device_hours"] and found["cost"] > 0
    assert found["saved"]["stopping"] == 0  # measure trials are never stopped
    base = with_fields(sweep, {"encoder": f"{XLM_R_BASE.path}@{XLM_R_BASE.revision}"})
    pilot = summary(plan_sweep(base, None, Storage(tmp_path), assume_sizes=True), Store(Storage(tmp_path)))
    assert pilot["device_hours"] < 0.5 * found["device_hours"]


def test_the_study_on_two_cores_is_a_full_two_by_two_with_each_control_in_a_cell_of_its_own():
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / "finnish_9_vs_20_small.py")
    cells = Counter((len(trial.subset.tasks), trial.subset.source) for trial in sweep.trials())
    crossed = {(size, source): 9 for size in (9, 20) for source in ("en", "non-en")}
    assert cells == {(0, "all"): 3, (1, "control"): 3, (1, "text-masked"): 3, **crossed}


def test_the_tuned_question_plans_and_simulates_every_value_of_its_axes(tmp_path):
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / "tuned_9_vs_20.py")
    plan = plan_sweep(sweep, None, Storage(tmp_path), assume_sizes=True)
    found = summary(plan, Store(Storage(tmp_path)), Terms(devices=16))
    assert found["trials"] == 3 + 2 * 4 * 3 * 6 and found["populations"] == {"0": 3, "9-en": 72, "20-en": 72}
    assert [axis["values"] for axis in found["axes"]] == [[[5e-6], [1e-5], [2e-5]], [[1.0], [3.0]]]
    assert found["detectable"]["comparisons"] and "axis    intermediate.learning_rate: 5e-6; 1e-5; 2e-5" in (
        tables.plan_lines(found)
    )
    played, figure = simulation(plan, Store(Storage(tmp_path)), Terms(devices=16))
    assert played["reached"] == {65_536: 147, 131_072: 147} and figure.startswith("<svg")


def test_the_second_recipe_of_9_against_20_trains_nothing_but_targets_again():
    names = ("finnish_9_vs_20", "finnish_9_vs_20_second_recipe")
    sweeps = (load_sweep(Path(__file__).parents[2] / "sweeps" / f"{name}.py") for name in names)
    first, second = (plan_sweep(dataclasses.replace(sweep, seeds=(0,)), None, assume_sizes=True) for sweep in sweeps)
    assert first.phases.keys() == second.phases.keys()  # the same trials
    assert {spec.kind for key, spec in second.all_specs().items() if key not in first.all_specs()} == {"target"}
    sources = Counter(trial.subset.source for trial in first.trials)
    assert sources == {"all": 1, "control": 1, "en": 24, "non-en": 24, "en-shuffled": 4, "en-masked": 4}


@pytest.mark.parametrize("setting", ["intermediate.mixing=uniform", "intermediate.examples_per_task=1000"])
def test_the_variants_of_9_against_20_make_nine_tasks_nine(setting):
    sweep = load_sweep(Path(__file__).parents[2] / "sweeps" / "finnish_9_vs_20.py")
    sweep = dataclasses.replace(sweep, measure=tuple(s for s in sweep.measure if len(s.tasks) == 9)[:2], seeds=(0,))
    name, _, value = setting.partition("=")
    plan = plan_sweep(with_fields(sweep, {name: value}), None, assume_sizes=True)
    found = [exposure(phases.rungs, ()) for phases in plan.phases.values()]
    assert [round(e.effective_tasks, 6) for e in found if e is not None] == [9, 9]
    assert value == "uniform" or {e.num_distinct for e in found if e is not None} == {9_000}


def test_sizes_are_assumed_only_where_the_files_are_not_here_and_only_when_asked():
    real = dataclasses.replace(SWEEP, measure=(Subset(("mini_topic_en", "mnli")),), explore=())
    plan = plan_sweep(real, None, assume_sizes=True)
    assert plan.sources.assumed == {"mnli train/en"}
    data = {d.task: d for d in next(iter(phases_of(plan, ("mini_topic_en", "mnli")))).data}
    assert (data["mnli"].num_records, data["mnli"].fingerprint) == (392_702, "assumed")
    assert (
        data["mini_topic_en"]
        == plan_sweep(SWEEP, None).all_specs()[next(iter(phases_of(plan_sweep(SWEEP, None), ONE.tasks))).key].data[0]
    )
    with pytest.raises(InputError, match="sizes can be assumed of"):
        architecture_of(Encoder("someone/else", "abc"), None)


# --- savings -------------------------------------------------------------------------------------------------------


def test_one_trunk_for_four_sizes_saves_fifteen_percent_at_least(tmp_path):
    plan = plan_sweep(load_sweep(Path(__file__).parents[2] / "sweeps" / "sizes.py"), None, assume_sizes=True)
    found = summary(plan, Store(Storage(tmp_path)))
    assert 1 - found["saved"]["trunk"] / found["naive_steps"] <= 0.85


@pytest.mark.parametrize("promote", [False, True])
def test_exploring_24_trials_per_cell_takes_two_fifths_of_the_naive_steps(tmp_path, promote):
    pool = [name for name, task in MINI_TASKS.items() if task.role == "intermediate"]
    sweep = dataclasses.replace(
        SWEEP,
        measure=(),
        explore=(*random_subsets(pool, 4, 24), *random_subsets(pool, 8, 24)),
        seeds=(0,),
        intermediate=dataclasses.replace(RECIPE, rungs=(256, 1_024, 4_096, 16_384)),
        targets=(dataclasses.replace(TARGETS[0], probe_examples=None), *TARGETS[1:]),
        stopping=Stopping(promote=promote),
    )
    found = summary(plan_sweep(sweep, None), Store(Storage(tmp_path)))
    assert found["saved"]["probes"] == 0
    assert found["steps_ratio"] <= 0.4


# --- growing a sweep -----------------------------------------------------------------------------------------------


def phases_and_trials(sweep):
    found = plan_sweep(sweep, None)
    return found.all_specs().keys(), {t.trial_id for t in found.trials}


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": (0, 1, 2)},
        {"measure": (*SWEEP.measure, Subset(("mini_entailment_en",)))},
        {"targets": (*TARGETS, Target("mini_panx", 64, max_length=64, stride=32))},
        {"intermediate": dataclasses.replace(RECIPE, rungs=(64, 128, 256, 512))},
        {"explore": at_sizes((ONE,), (None, 50))},
    ],
    ids=["seeds", "tasks", "target", "rung", "sizes"],
)
def test_a_sweep_that_grows_keeps_its_trials_and_all_but_probes_of_the_former_last_rung(changes):
    grown = dataclasses.replace(SWEEP, **changes)
    before, after = phases_and_trials(SWEEP), phases_and_trials(grown)
    assert before[1] <= after[1]
    lost = {plan_sweep(SWEEP, None).all_specs()[key] for key in before[0] - after[0]}
    # The former last rung's targets are probes now; without `probe_examples` they are kept.
    probed = {spec for spec in lost if spec.kind == "target" and spec.data[0].task == "mini_udpos"}
    assert lost == probed and (not lost or "intermediate" in changes)
    assert after[0] - before[0]
    assert not differences(SWEEP, grown)


def differences(stored, wanted):
    return definition.changes(json.loads(json.dumps(stored.definition)), wanted.definition)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (replace_recipe(learning_rate=1e-4), "intermediate.learning_rate: 1e-05 != 0.0001"),
        (replace_recipe(rungs=(64, 256)), "intermediate.rungs: [64, 128, 256] is no beginning of [64, 256]"),
        (dataclasses.replace(SWEEP, targets=TARGETS[:2]), "targets.mini_tatoeba: is gone"),
        (
            dataclasses.replace(SWEEP, targets=(dataclasses.replace(TARGETS[0], learning_rate=1.0), *TARGETS[1:])),
            "targets.mini_udpos.learning_rate: 2e-05 != 1.0",
        ),
        (dataclasses.replace(SWEEP, dropout=0.0), "dropout: 0.1 != 0.0"),
        (dataclasses.replace(SWEEP, stopping=Stopping(2.0)), "stopping.reduction_factor: 3.0 != 2.0"),
    ],
)
def test_what_would_mix_two_definitions_is_refused_with_the_fields(changed, line, tmp_path):
    assert line in differences(SWEEP, changed)
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json.dumps(SWEEP.definition))
    with pytest.raises(InputError, match=r"exists with another definition .* use --new-version") as caught:
        definition.check_definition(changed, Storage(tmp_path))
    assert line in str(caught.value) and "\n" not in str(caught.value)
    renamed = definition.newest_version(changed, Storage(tmp_path))
    assert renamed.name == "s.2" and definition.newest_version(SWEEP, Storage(tmp_path)).name == "s"
    (tmp_path / "sweeps" / "s.2").mkdir()
    (tmp_path / "sweeps" / "s.2" / "sweep.json").write_text(json.dumps(renamed.definition))
    assert definition.newest_version(changed, Storage(tmp_path)).name == "s.2"  # the same command resumes it
    mixed = differences(renamed, SWEEP)  # a target that was taken away can be added again
    assert definition.newest_version(SWEEP, Storage(tmp_path)).name == ("s.3" if mixed else "s.2")


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
