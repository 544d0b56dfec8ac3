"""What a plan says of steps, hours, money, memory and what sharing saves."""

import dataclasses
from pathlib import Path

import helpers
import planned
import pytest
from planned import ENCODER, PAIR, RECIPE, SWEEP, TARGETS, by_kind, phases_of, replace_recipe
from rich.console import Console

from xlray.cli import tables
from xlray.cli.sweep_file import load_sweep
from xlray.config.execution import Execution
from xlray.config.recipes import XLM_R_LARGE
from xlray.config.subsets import random_subsets
from xlray.config.sweep import Stopping
from xlray.data.encoders import KNOWN_ARCHITECTURES
from xlray.errors import InputError
from xlray.mini import MINI_TASKS
from xlray.phases.spec import phase_hash
from xlray.phases.store import Store
from xlray.plan.costs import phase_cost
from xlray.plan.forecast import Terms, naive_steps, over_budget, steps_of, summary
from xlray.plan.jobs import created_entry
from xlray.plan.memory import ModelShape
from xlray.plan.rung_report import measured_by
from xlray.plan.sharing import MOST_PER_GPU, PROCESS_BYTES, with_sharing
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

plan = planned.plan  # a fixture


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
