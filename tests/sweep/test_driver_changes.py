"""The driver of a sweep that has changed since it ran: further targets, other roles, inputs or trials."""

import dataclasses
import json

import driven_sweep
import helpers
import pytest
from driven_sweep import (
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

from xlray.config.recipes import Target
from xlray.config.sweep import Stopping
from xlray.phases.spec import Phases, phase_hash

stored_scores = driven_sweep.stored_scores  # a fixture that every test gets


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
