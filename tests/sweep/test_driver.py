"""The driver's queue without Ray: what is started, what waits, how failures and restarts end."""

import dataclasses
import errno
import json
import math

import driven_sweep
import helpers
import pytest
from driven_sweep import (
    Stored,
    data,
    events,
    finish,
    ids,
    make_driver,
    make_plan,
    phases_of,
    report,
    run_to_the_end,
    rung_result,
    start_all,
    status,
)
from replayed import replay

from xlray.config.execution import Execution
from xlray.config.recipes import Architecture, Encoder, Target
from xlray.config.sweep import Stopping
from xlray.errors import StoreError
from xlray.phases.spec import Phases, phase_hash
from xlray.plan.definition import definition_hash
from xlray.plan.jobs import SHARED, encoder_of, lease_keys
from xlray.plan.trials import Start
from xlray.storage.files import write_atomically

stored_scores = driven_sweep.stored_scores  # a fixture that every test gets


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


def test_the_journal_says_which_definition_was_opened(tmp_path):
    stored = {**make_plan("a").sweep.definition, "seeds": [7]}  # a plan may hold caps that the file has not
    driver = make_driver(tmp_path, make_plan("a"))
    write_atomically(driver.directory / "sweep.json", json.dumps(stored))
    driver.open(driver.directory.journal.read())
    assert events(driver, "opened")[-1]["definition"] == definition_hash(stored)


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
