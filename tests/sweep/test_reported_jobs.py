"""Trials that reported from the storage have a job that says so: what they are exported by."""

import dataclasses
from pathlib import Path

import pytest
from played import SWEEP, World, plan_of, play

from xlray.errors import InputError
from xlray.plan.jobs import Prepared, make_job, read_job, write_job
from xlray.plan.rung_report import check_measured
from xlray.sweep.reported_jobs import reported_from_storage, write_jobs

PREPARED = Prepared(10, 4, {}, Path("encoder"))


@pytest.fixture(autouse=True)
def no_waiting_for_disks(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


def check_jobs(folder, driver):
    """Every trial that has reported can be exported by its job."""
    reported = {name: s.current for name, s in driver.found.trials.items() if name in driver.trials and s.current}
    assert len(reported) > 2
    for name, rungs in reported.items():
        job = read_job(folder / "jobs" / f"{name}.json")
        check_measured(job.phases, rungs, name)
        assert job.phases == driver.plan.phases[name]
        assert {spec.parent for spec in job.phases} <= job.parents.keys()


def test_a_sweep_whose_phases_are_all_those_of_another_has_the_jobs_of_its_trials(tmp_path):
    _, first = play(tmp_path, plan_of(SWEEP, World()))
    assert reported_from_storage(first.journal) == ([], [])
    folder, driver = play(tmp_path, plan_of(dataclasses.replace(SWEEP, name="again"), World()))
    assert not any(entry["event"] == "running" for entry in driver.journal) and not (folder / "jobs").exists()
    write_jobs(driver, lambda: {SWEEP.encoder: PREPARED})
    check_jobs(folder, driver)


def test_after_inputs_changed_and_changed_back_the_jobs_are_those_of_the_numbers(tmp_path):
    for world in (World(), World("second")):
        folder, driver = play(tmp_path, plan_of(SWEEP, world))
        for name in driver.trials:
            write_job(
                folder / "jobs" / f"{name}.json", make_job(name, driver.jobs[name], driver.plan, driver.store, PREPARED)
            )
    folder, driver = play(tmp_path, plan_of(SWEEP, World()))
    with pytest.raises(InputError, match="changed and changed back"):
        check_jobs(folder, driver)
    write_jobs(driver, lambda: {SWEEP.encoder: PREPARED})
    check_jobs(folder, driver)


def test_what_jobs_read_is_asked_for_only_where_a_job_is_to_be_written(tmp_path):
    folder, driver = play(tmp_path, plan_of(SWEEP, World()))
    write_jobs(driver, lambda: pytest.fail("nothing reported from the storage"))
    assert not (folder / "jobs").exists()


def test_a_later_run_writes_no_job_again_but_those_that_a_killed_one_did_not_write(tmp_path):
    play(tmp_path, plan_of(SWEEP, World()))
    again = plan_of(dataclasses.replace(SWEEP, name="again"), World())
    folder, driver = play(tmp_path, again)
    write_jobs(driver, lambda: {SWEEP.encoder: PREPARED})
    folder, driver = play(tmp_path, again)
    write_jobs(driver, lambda: pytest.fail("all jobs are there"))
    first = sorted((folder / "jobs").glob("*.json"))[0]
    first.unlink()
    times = {path: path.stat().st_mtime_ns for path in (folder / "jobs").glob("*.json")}
    write_jobs(driver, lambda: {SWEEP.encoder: PREPARED})
    assert first.exists() and times == {path: path.stat().st_mtime_ns for path in times}
