"""The driver's answers to failures, interrupts and budgets."""

import driven_sweep
import helpers
import pytest
from driven_sweep import data, events, ids, make_driver, make_plan, run_to_the_end, start_all, status

from xlray.config.execution import Execution

stored_scores = driven_sweep.stored_scores  # a fixture that every test gets


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
