"""The driver's queue without Ray: what is started, what waits, how failures and restarts end."""

import dataclasses
import errno
import json
import math

import driven_sweep
import helpers
import pytest
from driven_sweep import Stored, data, finish, make_driver, make_plan, phases_of, report, rung_result
from replayed import replay

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Encoder, Target
from xlray.config.sweep import Stopping
from xlray.errors import StoreError
from xlray.phases.spec import Phases, phase_hash
from xlray.plan.jobs import SHARED, encoder_of, lease_keys
from xlray.plan.trials import Start

stored_scores = driven_sweep.stored_scores  # a fixture that every test gets


def start_all(driver):
    return [launch.name for launch in iter(driver.next, None)]


def ids(plan):
    return [trial.trial_id for trial in plan.trials]


def run_to_the_end(driver, trial_id, score=50.0):
    finish(driver, trial_id)
    for rung_index in range(2):
        report(driver, trial_id, rung_index, score)
    driver.on_end(trial_id, None)


def status(driver, trial_id):
    return driver.found.trials[trial_id].status


def events(driver, *names):
    return [e for e in driver.directory.journal.read() if e["event"] in names]


# --- the queue -----------------------------------------------------------------------------------------------------


def test_as_many_run_as_there_are_slots_and_the_journal_knows_first(tmp_path):
    plan = make_plan("abc", role="measure")
    driver = make_driver(tmp_path, plan)
    assert start_all(driver) == ids(plan)[:2]
    assert [e["trial_id"] for e in events(driver, "running")] == ids(plan)[:2]
    assert not driver.done()
    run_to_the_end(driver, ids(plan)[0])
    assert start_all(driver) == ids(plan)[2:]
    for trial_id in ids(plan)[1:]:
        run_to_the_end(driver, trial_id)
    assert driver.next() is None and driver.done()
    assert {status(driver, t) for t in ids(plan)} == {"finished"}


def test_run_names_are_never_used_twice(tmp_path):
    driver = make_driver(tmp_path, make_plan("a"))
    runs = set()
    for _ in range(3):
        runs.add(driver.next().run)
        driver.on_end(next(iter(driver.running)), "NodeDiedError: gone")
    assert len(runs) == 3


def test_of_trials_that_share_a_missing_phase_one_goes_first_and_others_run_meanwhile(tmp_path):
    plan = make_plan("aab", role="measure")
    driver = make_driver(tmp_path, plan, num_slots=3)
    first, second, third = ids(plan)
    assert start_all(driver) == [first, third]
    finish(driver, first, up_to=1)
    driver._looked_at = float("-inf")
    assert start_all(driver) == []  # the second rung is shared, too
    run_to_the_end(driver, first)
    assert start_all(driver) == [second]


def test_all_wait_for_the_phases_before_all_trials(tmp_path):
    pretrain = helpers.train_spec("pretrain", "root", [data("text")])
    plan = make_plan("ab", shared=(pretrain,))
    driver = make_driver(tmp_path, plan)
    assert start_all(driver) == [SHARED]
    driver.store.finish(pretrain)
    driver.on_end(SHARED, None)
    assert start_all(driver) == ids(plan)
    assert make_driver(tmp_path, plan, driver.store).next().name == ids(plan)[0]


def test_all_wait_for_what_comes_before_the_trials_of_each_encoder(tmp_path):
    one, two = (Encoder(name, "0") for name in ("one", "two"))
    pretrain = {e: helpers.train_spec("pretrain", e.path, [data("text")]) for e in (one, two)}
    plan = make_plan("abcd", vary={"encoder": (one, two)}, num_subsets=2)
    starts = {encoder: Start(Architecture(), shared=(spec,)) for encoder, spec in pretrain.items()}
    plan = dataclasses.replace(plan, starts=starts)
    driver = make_driver(tmp_path, plan)
    assert start_all(driver) == ["shared-one", "shared-two"]
    assert [encoder_of(name, driver.plan, driver.trials) for name in driver.running] == [one, two]
    driver.store.finish(pretrain[one])
    driver.on_end("shared-one", None)
    assert start_all(driver) == []
    entries = [e for e in driver.journal if e["event"] in ("running", "finished")]
    assert [e.get("job") for e in entries] == ["shared-one", "shared-two", "shared-one"]
    again = make_driver(tmp_path, plan, driver.store)
    assert start_all(again) == ["shared-two"]
    again.store.finish(pretrain[two])
    again.on_end("shared-two", None)
    assert start_all(again) == ids(plan)[:2]
    assert {encoder_of(name, again.plan, again.trials) for name in ids(plan)} == {one, two}


def test_where_a_job_before_all_trials_fails_nothing_more_is_started(tmp_path):
    one, two = (Encoder(name, "0") for name in ("one", "two"))
    plan = make_plan("ab", vary={"encoder": (one, two)}, num_subsets=1, execution=Execution(max_failures=0))
    starts = {
        e: Start(Architecture(), shared=(helpers.train_spec("pretrain", e.path, [data("text")]),)) for e in (one, two)
    }
    driver = make_driver(tmp_path, dataclasses.replace(plan, starts=starts), num_slots=1)
    assert start_all(driver) == ["shared-one"]
    driver.on_end("shared-one", "RuntimeError: broken")
    assert driver.halted == ("failed", "the phases before all trials failed: RuntimeError: broken")


def test_one_lease_covers_all_that_hangs_on_a_segment_of_the_trunk():
    phases = phases_of("a")
    keys = lease_keys(phases, list(phases))
    assert len(set(keys.values())) == 2
    assert len({keys[phase_hash(spec)] for spec in phases.up_to(0)}) == 1
    alone = helpers.train_spec("target", "root", [data("x")])
    assert lease_keys(Phases(shared=(alone,)), [alone]) == {phase_hash(alone): f"phase-{phase_hash(alone)}"}


def test_a_phase_that_another_driver_computes_is_waited_for_and_then_taken_over(tmp_path):
    storage = Stored(tmp_path)
    one = make_driver(tmp_path, make_plan("a", name="one", role="measure"), storage)
    two = make_driver(tmp_path, make_plan("ab", name="two", role="measure"), storage)
    same, other = ids(two.plan)
    assert start_all(one) == ids(one.plan)
    assert start_all(two) == [other]
    finish(one, ids(one.plan)[0], up_to=1)
    one._looked_at = float("-inf")
    one.look()
    assert start_all(two) == []
    run_to_the_end(one, ids(one.plan)[0])
    two._busy.clear()
    assert start_all(two) == [same]
    assert events(two, "running")[-1]["phases"] == []  # nothing is left to compute


def test_a_driver_that_follows_a_killed_one_takes_its_leases_at_once(tmp_path):
    plan = make_plan("a")
    killed = make_driver(tmp_path, plan)
    assert start_all(killed) == ids(plan)
    assert start_all(make_driver(tmp_path, plan, killed.store)) == ids(plan)


def test_what_is_stored_is_reported_without_workers(tmp_path, stored_scores):
    stored_scores.update({("a", 0): 60.0, ("a", 1): 65.0, ("b", 0): 50.0})
    plan = make_plan("abc", stopping=Stopping(reduction_factor=50.0, survival_probability=0.0))
    storage = Stored(tmp_path)
    storage.finish(*phases_of("a"), *phases_of("b").up_to(0))
    driver = make_driver(tmp_path, plan, storage)
    assert [status(driver, t) for t in ids(plan)] == ["finished", "stopped", "created"]
    assert start_all(driver) == ids(plan)[2:]
    assert len(events(driver, "rung")) == 3 and len(events(driver, "running")) == 1


def test_a_trial_with_a_stored_rung_is_still_open(tmp_path, stored_scores):
    stored_scores["a", 0] = 60.0
    storage = Stored(tmp_path)
    storage.finish(*phases_of("a").up_to(0))
    plan = make_plan("a", role="measure")
    driver = make_driver(tmp_path, plan, storage)
    assert status(driver, ids(plan)[0]) == "created" and len(events(driver, "rung")) == 1
    assert start_all(driver) == ids(plan)
    assert len(events(driver, "running")[0]["phases"]) == 3


def test_a_trial_that_another_driver_has_finished_meanwhile_needs_no_workers(tmp_path, stored_scores):
    storage = Stored(tmp_path)
    one = make_driver(tmp_path, make_plan("a", name="one", role="measure"), storage)
    two = make_driver(tmp_path, make_plan("a", name="two", role="measure"), storage)
    (name,) = start_all(one)
    assert start_all(two) == [] and not two.done()
    run_to_the_end(one, name)
    stored_scores.update({("a", 0): 50.0, ("a", 1): 50.0})
    two._busy.clear()
    assert two.next() is None and two.done() and status(two, name) == "finished"
    assert not events(two, "running") and not two.running


def test_a_damaged_score_is_reported_and_computed_again(tmp_path, monkeypatch):
    plan = make_plan("a", role="measure")
    storage = Stored(tmp_path)
    storage.finish(*phases_of("a"))

    def damaged(store, phases, *place):
        store.hashes.discard(phase_hash(phases.rungs[0].targets[0]))
        raise StoreError("target-x/scores.parquet is damaged")

    monkeypatch.setattr("xlray.sweep.driver.rung_report", damaged)
    driver = make_driver(tmp_path, plan, storage)
    assert start_all(driver) == ids(plan)
    assert len(events(driver, "running")[0]["phases"]) == 1
    assert "scores.parquet" in events(driver, "damaged")[0]["error"]


def test_new_targets_make_a_new_entry_of_a_rung_and_no_new_decision(tmp_path):
    stopping = Stopping(reduction_factor=50.0, survival_probability=0.0)
    plan = make_plan("ab", stopping=stopping)
    driver = make_driver(tmp_path, plan)
    first, second = start_all(driver)
    report(driver, first, 0, 50.0)
    assert report(driver, second, 0, 60.0) == "continue"
    wider = dataclasses.replace(plan.sweep, targets=(Target("udpos"), Target("panx")))
    again = make_driver(tmp_path, dataclasses.replace(plan, sweep=wider), driver.store)
    start_all(again)
    for _ in range(2):
        assert again.on_rung(first, rung_result(0, 10.0, **{"fi/panx": 10.0})) == "continue"
    assert [e["decision"] for e in events(again, "rung")] == ["continue"] * 3
    assert again.found.trials[first].rungs[0]["scores"] == {"udpos": 10.0, "panx": 10.0}
    assert replay(again.journal, stopping, 1) == []


# --- promotion -----------------------------------------------------------------------------------------------------

PROMOTE = Stopping(reduction_factor=3.0, survival_probability=0.0, promote=True)


def test_a_paused_trial_gives_its_slot_back_and_resumes_when_it_rises(tmp_path):
    plan = make_plan("abc", stopping=PROMOTE)
    driver = make_driver(tmp_path, plan, num_slots=1)
    best, second, third = ids(plan)
    for trial_id, score in ((best, 70.0), (second, 60.0)):
        assert start_all(driver) == [trial_id]
        finish(driver, trial_id, up_to=1)
        assert report(driver, trial_id, 0, score) == "pause"
        driver.on_end(trial_id, None)
        assert status(driver, trial_id) == "paused"
    assert start_all(driver) == [third]
    finish(driver, third, up_to=1)
    assert report(driver, third, 0, 50.0) == "pause"
    driver.on_end(third, None)
    assert [e["trial_id"] for e in events(driver, "promoted")] == [best]
    assert start_all(driver) == [best]
    assert len(events(driver, "running")[-1]["phases"]) == 3  # the first rung's are stored
    assert report(driver, best, 0, 70.0) == "continue"  # it reports its stored rung again
    run_to_the_end(driver, best, 70.0)
    assert driver.next() is None and driver.done()
    driver.close()
    assert [status(driver, t) for t in ids(plan)] == ["finished", "stopped", "stopped"]
    assert replay(driver.directory.journal.read(), PROMOTE, 1) == []


def test_a_trial_that_rises_while_it_is_being_stopped_is_started_again(tmp_path):
    plan = make_plan("abc", stopping=PROMOTE)
    driver = make_driver(tmp_path, plan, num_slots=3)
    start_all(driver)
    for trial_id, score in zip(ids(plan), (70.0, 60.0, 50.0), strict=True):
        finish(driver, trial_id, up_to=1)
        assert report(driver, trial_id, 0, score) == "pause"
    for trial_id in ids(plan):
        driver.on_end(trial_id, None)
    assert start_all(driver) == ids(plan)[:1]


def test_a_promotion_that_a_crash_kept_from_the_journal_is_made_at_the_next_start(tmp_path, monkeypatch):
    plan = make_plan("abc", stopping=PROMOTE)
    driver = make_driver(tmp_path, plan, num_slots=3)
    start_all(driver)
    monkeypatch.setattr(driver, "_promote", lambda cell, index: None)
    for trial_id, score in zip(ids(plan), (70.0, 60.0, 50.0), strict=True):
        finish(driver, trial_id, up_to=1)
        report(driver, trial_id, 0, score)
    again = make_driver(tmp_path, plan, driver.store)
    assert [status(again, t) for t in ids(plan)] == ["created", "paused", "paused"]
    assert start_all(again) == ids(plan)[:1]
    assert replay(driver.directory.journal.read(), PROMOTE, 1) == []


# --- failures ------------------------------------------------------------------------------------------------------


def test_a_bug_fails_its_trial_alone_and_is_tried_again_by_the_next_run(tmp_path):
    plan = make_plan("ab", role="measure")
    driver = make_driver(tmp_path, plan)
    first, second = start_all(driver)
    driver.on_end(first, "Traceback\nValueError: broken")
    run_to_the_end(driver, second)
    assert (status(driver, first), driver.found.trials[first].error) == ("failed", "Traceback\nValueError: broken")
    assert driver.next() is None and driver.done() and driver.halted is None
    assert start_all(make_driver(tmp_path, plan, driver.store)) == [first]


def test_a_process_that_dies_is_started_again_as_often_as_it_may(tmp_path):
    driver = make_driver(tmp_path, make_plan("a"))
    name = driver.next().name
    driver.on_end(name, "ActorDiedError")
    assert driver.next().name == name
    for _ in range(5):  # a node that was lost is not charged
        driver.on_end(name, "The actor died because its node has died.")
        assert driver.next().name == name
    driver.on_end(name, "ActorDiedError")
    assert driver.next() is None and status(driver, name) == "failed"
    assert [e["kind"] for e in events(driver, "retried")] == ["process", *["node"] * 5]


def test_a_trial_that_ends_without_a_reason_is_a_failure(tmp_path):
    driver = make_driver(tmp_path, make_plan("a", execution=Execution(max_failures=0)))
    name = driver.next().name
    driver.on_end(name, None)
    assert status(driver, name) == "failed"


def test_the_same_error_in_three_trials_in_a_row_ends_the_launching(tmp_path):
    plan = make_plan("abcdefg", role="measure")
    driver = make_driver(tmp_path, plan, num_slots=1)
    for number in range(2):
        driver.on_end(driver.next().name, f"OSError: /data/{number}: no such file")
    run_to_the_end(driver, driver.next().name)  # a rung was reported: it is not everything
    for number in range(3):
        assert driver.halted is None
        driver.on_end(driver.next().name, f"OSError: /data/{number}: no such file")
    assert driver.next() is None and driver.done()
    assert driver.halted[0] == "failed" and "no such file" in driver.halted[1]


def test_a_full_storage_ends_the_launching(tmp_path):
    driver = make_driver(tmp_path, make_plan("ab"))
    driver.on_end(driver.next().name, "OSError: [Errno 28] No space left on device")
    assert driver.next() is None
    assert driver.halted[0] == "storage"


def test_when_the_shared_phases_fail_nothing_can_go_on(tmp_path):
    plan = make_plan("ab", shared=(helpers.train_spec("pretrain", "root", [data("text")]),))
    driver = make_driver(tmp_path, plan)
    driver.on_end(driver.next().name, "ValueError: broken")
    assert driver.next() is None and driver.done()
    assert driver.halted == ("failed", "the phases before all trials failed: ValueError: broken")


# --- stopping, budgets, restarts -------------------------------------------------------------------------------------


def test_an_interrupted_trial_stays_open_and_goes_first_in_the_next_run(tmp_path):
    plan = make_plan("abc", role="measure")
    driver = make_driver(tmp_path, plan, num_slots=1)
    run_to_the_end(driver, driver.next().name)
    name = driver.next().name
    driver.asked_to_stop = True
    assert driver.next() is None and driver.done()
    driver.on_end(name, None)
    driver.close()
    assert status(driver, name) == "interrupted"
    assert [e["reason"] for e in events(driver, "halted")] == ["interrupted"]
    assert make_driver(tmp_path, plan, driver.store).next().name == name


def test_a_spent_budget_starts_nothing_more_but_lets_trials_finish(tmp_path):
    plan = make_plan("ab", role="measure")
    driver = make_driver(tmp_path, plan, num_slots=1, budget_hours=0.5)
    name = driver.next().name
    driver.running[name].started -= 3600
    driver._looked_at = float("-inf")
    driver.look()
    assert driver.halted[0] == "budget"
    run_to_the_end(driver, name)
    assert driver.next() is None and driver.done() and status(driver, name) == "finished"
    assert status(driver, ids(plan)[1]) == "created"


def test_device_hours_count_workers(tmp_path):
    driver = make_driver(tmp_path, make_plan("a", execution=Execution(num_workers=4)))
    driver.running[driver.next().name].started -= 1800
    assert driver.device_hours() == pytest.approx(2.0, abs=0.01)


def test_a_trial_at_a_quarter_of_a_gpu_takes_a_quarter_of_its_hours(tmp_path):
    driver = make_driver(tmp_path, make_plan("ab", role="measure", execution=Execution(gpus_per_worker=0.25)))
    for _ in range(2):
        driver.running[driver.next().name].started -= 3600
    assert driver.device_hours() == pytest.approx(0.5, abs=0.01)


def test_a_time_budget_stops_gently(tmp_path):
    driver = make_driver(tmp_path, make_plan("a", execution=Execution(time_budget_s=60.0)))
    driver.look()
    assert driver.halted is None
    driver.opened_at -= 61
    driver._looked_at = float("-inf")
    driver.look()
    assert driver.halted[0] == "interrupted"


def test_a_reported_rung_is_journalled_once_and_its_decision_stands(tmp_path):
    plan = make_plan("ab", stopping=Stopping(reduction_factor=50.0, survival_probability=0.0))
    driver = make_driver(tmp_path, plan)
    first, second = start_all(driver)
    for trial_id in (first, second):
        finish(driver, trial_id, up_to=1)
    assert report(driver, first, 0, 50.0) == "continue"
    assert report(driver, second, 0, 40.0) == "stop"
    again = make_driver(tmp_path, plan, driver.store)  # killed before the stop took effect
    assert (status(again, first), status(again, second)) == ("created", "stopped")
    assert start_all(again) == [first]
    assert report(again, first, 0, 50.0) == "continue"
    assert len(events(again, "rung")) == 2


def test_phases_are_journalled_as_they_are_finished(tmp_path):
    plan = make_plan("a", role="measure")
    driver = make_driver(tmp_path, plan)
    name = driver.next().name
    finish(driver, name, up_to=1)
    driver._looked_at = float("-inf")
    driver.look()
    assert len(events(driver, "phase")) == 3
    run_to_the_end(driver, name)
    assert [e["phase"] for e in events(driver, "phase")] == events(driver, "running")[0]["phases"]


def test_a_finished_trial_whose_phases_have_gone_is_opened_and_said(tmp_path):
    plan = make_plan("a", role="measure")
    driver = make_driver(tmp_path, plan)
    run_to_the_end(driver, driver.next().name)
    assert not make_driver(tmp_path, plan, driver.store)._any_open()
    driver.store.hashes.remove(phase_hash(driver.jobs[ids(plan)[0]].rungs[0].targets[0]))
    again = make_driver(tmp_path, plan, driver.store)
    assert "target-" in events(again, "retried")[0]["error"]
    assert len(events(again, "retried")) == 1 and start_all(again) == ids(plan)


def test_one_more_trial_may_be_proposed_once_all_others_were_started(tmp_path, monkeypatch):
    plan = make_plan("ab", role="measure")
    wider = make_plan("abc", role="measure")
    extra = wider.trials[2]
    asked = []

    def propose(plan, journal, replay):
        asked.append(plan)
        return wider if len(asked) == 1 else None

    monkeypatch.setattr("xlray.sweep.driver.propose", propose)
    driver = make_driver(tmp_path, plan, num_slots=9)
    assert start_all(driver) == [*ids(plan), extra.trial_id]
    assert [e["trial_id"] for e in events(driver, "created")] == [*ids(plan), extra.trial_id]
    assert len(asked) == 2


# --- what fits -------------------------------------------------------------------------------------------------------


def test_concurrency_comes_from_devices_and_is_capped_by_the_head():
    from xlray.cluster.node_types import NodeTypes
    from xlray.errors import InputError
    from xlray.sweep.ray_session import concurrent_trials

    head = {"CPU": 0.0, "trial_driver": 64.0}
    gpus = {"CPU": 64.0, "GPU": 8.0}
    execution = Execution(num_workers=4, gpus_per_worker=1, cpus_per_worker=2)
    assert concurrent_trials(execution, [head, gpus, gpus], None, None) == 4
    assert concurrent_trials(execution, [head, gpus, gpus], None, 1.9e9) == 3
    eight = NodeTypes((({"CPU": 64.0, "GPU": 8.0}, 8),), 20)
    assert concurrent_trials(execution, [head], eight, None) == 16
    assert concurrent_trials(dataclasses.replace(execution, max_concurrent_trials=2), [head, gpus], None, None) == 2
    elastic = dataclasses.replace(execution, num_workers=(2, 8))
    assert concurrent_trials(elastic, [head, gpus, gpus], None, None) == 2
    assert (
        concurrent_trials(elastic, [head, {"CPU": 4.0, "GPU": 8.0}], None, None) == 1
    )  # fewer than most is room enough
    narrow = {"CPU": 3.0, "GPU": 8.0}  # one worker's cores
    with pytest.raises(
        InputError, match=r"`2 x .* fits on the cluster` must hold, but it has room for 1 such worker\."
    ):
        concurrent_trials(elastic, [head, narrow], None, None)
    with pytest.raises(InputError, match="fits on the cluster"):
        concurrent_trials(execution, [head, narrow], None, None)
    assert concurrent_trials(execution, [head], dataclasses.replace(eight, most=3), None) == 6
    small = NodeTypes((({"CPU": 2.0, "GPU": 1.0}, 100),), 100)
    assert concurrent_trials(execution, [head], small, None) == 25
    with pytest.raises(InputError, match="fits on the cluster"):  # the sum would do, no node does
        concurrent_trials(dataclasses.replace(execution, cpus_per_worker=4), [head], small, None)
    quarter = Execution(gpus_per_worker=0.25)
    assert concurrent_trials(quarter, [head, gpus], None, None) == 32
    assert concurrent_trials(dataclasses.replace(quarter, cpus_per_worker=8), [head, gpus], None, None) == 8
    for share, there in ((0.1, 10), (1 / 3, 3), (1 / 6, 6), (0.4, 2)):  # a part is of one GPU
        execution = dataclasses.replace(quarter, gpus_per_worker=share)
        assert concurrent_trials(execution, [head, {"CPU": 64.0, "GPU": 2.0}], None, None) == 2 * there
    assert concurrent_trials(quarter, [head], NodeTypes((({"CPU": 64.0, "GPU": 1.0}, 3),), 3), None) == 12
    with pytest.raises(InputError, match="fits on the cluster"):
        concurrent_trials(quarter, [head, {"CPU": 64.0}], None, None)
    with pytest.raises(InputError, match="`trial_driver`"):
        concurrent_trials(Execution(), [{"CPU": 2.0}], None, None)
    assert concurrent_trials(Execution(), [{"CPU": 2.0, "trial_driver": 64.0}], None, None) == 2


def test_a_full_folder_of_temporary_files_halts_the_sweep_with_the_reason(tmp_path, monkeypatch):
    full = OSError(errno.ENOSPC, "No space left on device", "/tmp/x")
    monkeypatch.setattr("xlray.sweep.driver.temporary_trouble", lambda: full)
    driver = make_driver(tmp_path, make_plan("ab", role="measure"), num_slots=1)
    driver.look()
    assert driver.halted is None  # nothing runs that needs them
    driver.next()
    driver._looked_at = -math.inf
    driver.look()
    assert driver.halted is not None and driver.halted[0] == "storage"
    assert "temporary files cannot be written" in driver.halted[1] and "No space left" in driver.halted[1]


def test_the_runs_of_a_killed_driver_are_known(tmp_path):
    from xlray.sweep.tune import unended_runs

    plan = make_plan("abc", role="measure")
    killed = make_driver(tmp_path, plan)
    first = killed.next()
    second = killed.next()
    run_to_the_end(killed, first.name)
    again = make_driver(tmp_path, plan, killed.store)
    assert unended_runs(again.journal) == [second.run]
    assert unended_runs(make_driver(tmp_path, plan, killed.store).journal) == []


# --- a sweep that grows --------------------------------------------------------------------------------------------


def grown(plan, **changes):
    """The plan of the sweep with one more target."""
    sweep = dataclasses.replace(plan.sweep, targets=(*plan.sweep.targets, Target("panx")))

    def with_more(rung):
        more = helpers.train_spec("target", rung.targets[0].parent, [data("another target")])
        return dataclasses.replace(rung, targets=(*rung.targets, more))

    phases = {trial_id: Phases(tuple(map(with_more, before.rungs))) for trial_id, before in plan.phases.items()}
    return dataclasses.replace(plan, sweep=sweep, phases=phases, **changes)


def test_a_further_target_is_measured_for_finished_and_stopped_trials_alike(tmp_path):
    plan = make_plan("ab", stopping=Stopping(reduction_factor=50.0, survival_probability=0.0))
    driver = make_driver(tmp_path, plan)
    first, second = start_all(driver)
    run_to_the_end(driver, first)
    finish(driver, second, up_to=1)
    assert report(driver, second, 0, 10.0) == "stop"
    driver.on_end(second, None)
    assert not make_driver(tmp_path, plan, driver.store)._any_open()  # nothing has changed yet
    again = make_driver(tmp_path, grown(plan), driver.store)
    assert start_all(again) == [first, second]
    new = [e["phases"] for e in events(again, "running")[-2:]]
    assert [len(phases) for phases in new] == [2, 5]  # of the stopped one, all that was never run comes last
    assert all(phase.startswith("target") for phases in new for phase in phases[:1])
    for trial_id, actions in ((first, ["continue", "continue"]), (second, ["stop"])):
        finish(again, trial_id, up_to=None if trial_id == first else 1)
        for rung_index, action in enumerate(actions):
            assert report(again, trial_id, rung_index, 99.0) == action  # decisions that were made stand
        again.on_end(trial_id, None)
    assert [status(again, t) for t in (first, second)] == ["finished", "stopped"]
    assert [e["score"] for e in events(again, "rung")[-3:]] == [99.0] * 3
    assert not make_driver(tmp_path, grown(plan), driver.store)._any_open()


# --- a sweep that changes under its name ----------------------------------------------------------------------------

NEVER_SPARED = Stopping(reduction_factor=50.0, survival_probability=0.0)


def rewritten(plan, name, **changes):
    """The plan with other phases behind the same trials, as where an encoder's files or a method have changed."""
    phases = {trial_id: phases_of(f"{name}{i}") for i, trial_id in enumerate(plan.phases)}
    return dataclasses.replace(plan, phases=phases, **changes)


def play(driver, scores):
    """Run all that is open to its end; `scores` by trial, the same at each rung."""
    while (launch := driver.next()) is not None:
        for rung_index in range(2):
            finish(driver, launch.name, up_to=rung_index + 1)
            if report(driver, launch.name, rung_index, scores[launch.name]) != "continue":
                break
        driver.on_end(launch.name, None)
    driver.close()
    return driver


def moved(plan, subsets, role="measure"):
    """The plan with some of its subsets in another role."""
    rest = tuple(t.subset for t in plan.trials if t.subset not in subsets)
    sweep = dataclasses.replace(plan.sweep, explore=rest, measure=tuple(subsets))
    return dataclasses.replace(plan, sweep=sweep, trials=sweep.trials())


@pytest.mark.parametrize("promote", [False, True])
def test_stopped_and_paused_trials_that_are_measured_now_go_on_to_the_end(tmp_path, promote):
    stopping = dataclasses.replace(NEVER_SPARED, promote=promote, reduction_factor=2.0 if promote else 50.0)
    plan = make_plan("abc", stopping=stopping)
    scores = dict(zip(ids(plan), (60.0, 50.0, 40.0), strict=True))
    driver = play(make_driver(tmp_path, plan, num_slots=1), scores)
    assert [status(driver, t) for t in ids(plan)] == ["finished", "stopped", "stopped"]
    measured = moved(plan, [t.subset for t in plan.trials])
    again = play(make_driver(tmp_path, measured, driver.store, num_slots=1), scores)
    assert [status(again, t) for t in ids(plan)] == ["finished"] * 3
    standing = again.found.trials[ids(plan)[1]]
    assert (standing.role, standing.rungs[0]["reason"], standing.rungs[1]["reason"]) == (
        "measure",
        "below the cut",
        "measure",
    )
    assert [e["kind"] for e in events(again, "retried")] == ["role", "role"]
    assert not make_driver(tmp_path, measured, driver.store)._any_open()
    assert replay(again.journal, stopping, 1) == []


def test_a_diverged_trial_is_not_opened_again_for_its_role(tmp_path):
    plan = make_plan("a")
    driver = make_driver(tmp_path, plan)
    (name,) = start_all(driver)
    driver.on_rung(name, rung_result(0, float("nan"), diverged=True, **{"fi/udpos": float("nan")}))
    driver.on_end(name, None)
    again = make_driver(tmp_path, moved(plan, [t.subset for t in plan.trials]), driver.store)
    assert not events(again, "retried") and again.found.trials[name].outdated == {0}


def test_what_was_reported_from_other_phases_is_read_again_and_the_decision_stands(tmp_path):
    plan = make_plan("abc", stopping=NEVER_SPARED)
    first, second, third = ids(plan)
    driver = play(make_driver(tmp_path, plan, num_slots=1), {first: 60.0, second: 50.0, third: 40.0})
    assert not make_driver(tmp_path, plan, driver.store)._any_open()  # nothing has changed
    changed = rewritten(plan, "new")
    again = make_driver(tmp_path, changed, driver.store, num_slots=1)
    assert [e["rungs"] for e in events(again, "outdated")] == [[0, 1], [0], [0]]
    assert again.found.trials[first].last == {}
    assert all(not ranked for ranked in again.found.ranked.values())  # no trial competes with an older number
    play(again, {first: 20.0, second: 30.0, third: 10.0})
    assert [status(again, t) for t in ids(plan)] == ["finished", "stopped", "stopped"]
    last = {t: again.found.trials[t].last for t in ids(plan)}
    assert [last[t]["score"] for t in ids(plan)] == [20.0, 30.0, 10.0]
    assert (last[second]["decided_on"], last[second]["reason"]) == (50.0, "below the cut")
    assert not make_driver(tmp_path, changed, driver.store)._any_open()


def test_inputs_that_are_back_give_back_their_numbers_without_a_worker(tmp_path, stored_scores):
    plan = make_plan("a", role="measure")
    (name,) = ids(plan)
    driver = play(make_driver(tmp_path, plan), {name: 46.6})
    play(make_driver(tmp_path, rewritten(plan, "new"), driver.store), {name: 24.6})
    stored_scores.update({("a", 0): 46.6, ("a", 1): 46.6})
    again = make_driver(tmp_path, plan, driver.store)
    assert status(again, name) == "finished" and again.found.trials[name].last["fi_accuracy"] == 46.6
    assert len(events(again, "running")) == 2


def test_a_journal_that_does_not_say_what_it_was_read_from_is_read_again(tmp_path, stored_scores):
    plan = make_plan("ab", stopping=NEVER_SPARED)
    first, second = ids(plan)
    driver = play(make_driver(tmp_path, plan, num_slots=1), {first: 60.0, second: 50.0})
    path = driver.directory / "journal" / "000000.jsonl"
    before = [json.loads(line) for line in path.read_text().splitlines()]
    old = [{k: v for k, v in e.items() if k not in ("phases", "decided_on")} for e in before]
    path.write_text("".join(json.dumps(e) + "\n" for e in old))
    stored_scores.update({("a", 0): 61.0, ("a", 1): 60.0, ("b", 0): 50.0})
    again = make_driver(tmp_path, plan, driver.store)
    assert [status(again, t) for t in ids(plan)] == ["finished", "stopped"] and len(events(again, "running")) == 2
    assert again.found.trials[first].rungs[0]["score"] == 61.0
    assert len(events(make_driver(tmp_path, plan, driver.store), "outdated")) == 2  # once each


def test_an_interrupted_trial_is_not_finished_for_what_it_reported_before_its_inputs_changed(tmp_path):
    plan = make_plan("a", role="measure")
    (name,) = ids(plan)
    driver = play(make_driver(tmp_path, plan), {name: 50.0})
    again = make_driver(tmp_path, rewritten(plan, "new"), driver.store)
    assert start_all(again) == [name]
    finish(again, name, up_to=1)
    report(again, name, 0, 40.0)
    again.asked_to_stop = True
    again.next()
    again.on_end(name, None)
    assert status(again, name) == "interrupted" and again.found.trials[name].last["score"] == 40.0


def test_a_trial_that_diverges_on_changed_inputs_ends_and_what_it_reported_later_is_void(tmp_path):
    plan = make_plan("a")
    (name,) = ids(plan)
    driver = play(make_driver(tmp_path, plan), {name: 50.0})
    changed = rewritten(plan, "new")
    again = make_driver(tmp_path, changed, driver.store)
    assert start_all(again) == [name]
    assert again.on_rung(name, rung_result(0, float("nan"), diverged=True, **{"fi/udpos": float("nan")})) == "stop"
    again.on_end(name, None)
    assert status(again, name) == "stopped" and list(again.found.trials[name].rungs) == [0]
    assert not make_driver(tmp_path, changed, driver.store)._any_open()


def test_a_stopped_trial_whose_phases_have_gone_is_computed_again_up_to_where_it_stopped(tmp_path):
    plan = make_plan("ab", stopping=NEVER_SPARED)
    first, second = ids(plan)
    driver = play(make_driver(tmp_path, plan, num_slots=1), {first: 60.0, second: 50.0})
    driver.store.hashes.remove(phase_hash(driver.jobs[second].rungs[0].targets[0]))
    again = make_driver(tmp_path, plan, driver.store)
    assert start_all(again) == [second]
    finish(again, second, up_to=1)
    assert report(again, second, 0, 50.0) == "stop"
    again.on_end(second, None)
    assert status(again, second) == "stopped"


def test_trials_that_the_sweep_has_no_more_are_dropped_and_may_come_back(tmp_path, stored_scores):
    plan = make_plan("ab", stopping=NEVER_SPARED)
    first, second = ids(plan)
    driver = play(make_driver(tmp_path, plan, num_slots=1), {first: 60.0, second: 50.0})
    fewer = dataclasses.replace(plan, trials=plan.trials[:1], phases={first: plan.phases[first]})
    for _ in range(2):
        again = make_driver(tmp_path, fewer, driver.store)
        assert status(again, second) == "dropped" and len(events(again, "dropped")) == 1
        assert [name for ranked in again.found.ranked.values() for _, name in ranked] == [first, first]
    stored_scores.update({("b", 0): 50.0})
    back = make_driver(tmp_path, plan, driver.store)
    assert status(back, second) == "stopped" and back.found.trials[second].last["score"] == 50.0


def test_a_trial_whose_source_has_another_name_competes_in_its_new_cell(tmp_path, stored_scores):
    plan = make_plan("ab", stopping=NEVER_SPARED)
    driver = play(make_driver(tmp_path, plan, num_slots=1), dict(zip(ids(plan), (60.0, 50.0), strict=True)))
    subsets = tuple(dataclasses.replace(t.subset, source="en") for t in plan.trials)
    sweep = dataclasses.replace(plan.sweep, explore=subsets)
    stored_scores.update({("a", 0): 60.0, ("a", 1): 60.0, ("b", 0): 50.0})
    again = make_driver(tmp_path, dataclasses.replace(plan, sweep=sweep, trials=sweep.trials()), driver.store)
    assert {key: len(ranked) for key, ranked in again.found.ranked.items() if ranked} == {
        ("1-en", 0): 2,
        ("1-en", 1): 1,
    }
    assert [status(again, t) for t in ids(plan)] == ["finished", "stopped"]
