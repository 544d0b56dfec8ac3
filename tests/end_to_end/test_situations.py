"""Nothing stale: whatever changed under a sweep, its status, tables and answer are those of its inputs as they are now."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import SWEEP, TASKS, World, plan_of, play, truth

from xlray.analysis import Sampling
from xlray.analysis.results import complete_rungs, load_results, mean_headline
from xlray.config.recipes import Subset, Target
from xlray.config.sweep import Stopping
from xlray.errors import InputError
from xlray.monitor.reader import Reader, status_document
from xlray.phases import spec
from xlray.plan.definition import check_definition
from xlray.report.answer import write_answer
from xlray.report.evidence import collect_evidence
from xlray.report.warnings import behind, find_warnings
from xlray.storage.standings import OPEN_STATES
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep
from xlray.sweep.retry import reopen

FAST = Sampling(num_draws=20)


@pytest.fixture(autouse=True, scope="module")
def no_waiting_for_disks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


def changed_data(part):
    return lambda sweep, world: (sweep, dataclasses.replace(world, data=(*world.data, part)))


def changed_sweep(change):
    return lambda sweep, world: (dataclasses.replace(sweep, **change(sweep)), world)


def all_measured(sweep):
    return {"measure": (*sweep.measure, *sweep.explore), "explore": ()}


def one_measured(sweep):
    return {"measure": (*sweep.measure, *sweep.explore[:1]), "explore": sweep.explore[1:]}


CHANGES = {
    "nothing": lambda sweep, world: (sweep, world),
    "the encoder's files": lambda sweep, world: (sweep, dataclasses.replace(world, encoder=f"{world.encoder} again")),
    "the first encoder again": lambda sweep, world: (sweep, World()),
    "training data of a task": changed_data((TASKS[0], "train")),
    "dev data of a target": changed_data(("mini_udpos", "dev")),
    "roles of all": changed_sweep(all_measured),
    "role of one": changed_sweep(one_measured),
    "one seed more": changed_sweep(lambda sweep: {"seeds": (*sweep.seeds, max(sweep.seeds) + 1)}),
    "one seed less": changed_sweep(lambda sweep: {"seeds": sweep.seeds[-1:]}),
    "one subset less": changed_sweep(lambda sweep: {"explore": sweep.explore[1:], "measure": sweep.measure}),
    "another order": changed_sweep(
        lambda s: {k: getattr(s, k)[::-1] for k in ("seeds", "measure", "explore", "targets")}
    ),
    "another target": changed_sweep(
        lambda sweep: {"targets": (*sweep.targets, *(() if len(sweep.targets) > 2 else (Target("mini_panx"),)))}
    ),
    "the name of a source": changed_sweep(
        lambda sweep: {"explore": tuple(dataclasses.replace(s, source=f"{s.source}2") for s in sweep.explore)}
    ),
    "whole numbers": changed_sweep(lambda sweep: {"clip_norm": 1}),
    "the method of targets": "target",
    "the method of trunks": "trunk",
}


def status_of(folder):
    reader = Reader(open_sweep(folder))
    reader.refresh()
    return status_document(reader)


def check(folder, plan, driver):
    """Journal, `status`, tables and answer say the same of the same trials, and it is what the phases say."""
    trials = {trial.trial_id: trial for trial in plan.trials}
    shown = {row["trial_id"]: row for row in status_of(folder)["trials"]}
    results = load_results(folder)
    listed = {row["trial_id"]: row for row in results.trials.to_pylist()}
    assert set(shown) == set(listed) == set(trials)
    found = complete_rungs(results.scores, results.targets)
    for trial_id, row in listed.items():
        reported = driver.found.trials[trial_id].current
        listed_rungs = {index for trial, index in found if trial == trial_id}
        # Without tasks all rungs are the same phases, so that the tables have them all before the trial reports each.
        assert set(reported) == listed_rungs or (set(reported) < listed_rungs and row["status"] in OPEN_STATES), (
            trial_id
        )
        for index in listed_rungs:
            now = pytest.approx(truth(plan, trial_id, index))
            assert reported.get(index, {"fi_accuracy": now})["fi_accuracy"] == now
            assert mean_headline(found[trial_id, index]) == now
        last = truth(plan, trial_id, max(reported)) if reported else None
        place = (row["status"], row["role"], row["cell"], row["seed"], row["fi_accuracy"])
        seen = shown[trial_id]
        assert place == tuple(seen[key] for key in ("status", "role", "cell", "seed", "fi_accuracy"))
        assert place[1:] == (trials[trial_id].role, trials[trial_id].cell, row["seed"], last and pytest.approx(last))
    for (cell, index), ranked in driver.found.ranked.items():
        for score, trial_id in ranked:
            assert trials[trial_id].cell == cell and -score == driver.found.trials[trial_id].rungs[index]["score"]
    evidence = collect_evidence(folder, FAST)
    assert set(evidence.statuses) == set(trials) and behind(evidence).startswith(f"Of {len(trials)} trial")
    assert {p.trial_id: p.cell for p in evidence.points}.items() <= {t.trial_id: t.cell for t in plan.trials}.items()
    return write_answer(evidence) if evidence.points else ""


@settings(max_examples=6, derandomize=True, deadline=None)
@given(names=st.lists(st.sampled_from(list(CHANGES)), min_size=2, max_size=2), stop=st.sampled_from([0, 3]))
def test_whatever_changed_status_tables_and_answer_are_those_of_the_inputs_as_they_are(tmp_path_factory, names, stop):
    root, sweep, world = tmp_path_factory.mktemp("storage"), SWEEP, World()
    with pytest.MonkeyPatch.context() as patch:
        folder, driver = play(root, plan_of(sweep, world))
        check(folder, driver.plan, driver)
        for name in names:
            change = CHANGES[name]
            if isinstance(change, str):
                patch.setitem(spec.METHOD_VERSIONS, change, spec.METHOD_VERSIONS[change] + 1)
            else:
                sweep, world = change(sweep, world)
            check_definition(sweep, Storage(root))
            for jobs in ({3: (3, None), 0: (None,)})[stop]:
                folder, driver = play(root, plan_of(sweep, world), jobs)
                answer = check(folder, driver.plan, driver)
        again, fresh = play(tmp_path_factory.mktemp("nothing"), plan_of(sweep, world))
        from_nothing = check(again, fresh.plan, fresh)
    if not sweep.explore:  # no decision depends on what was there before
        assert answer == from_nothing
        assert {t: s.status for t, s in driver.found.trials.items() if s.status != "dropped"} == {
            t: s.status for t, s in fresh.found.trials.items()
        }
    assert not driver._any_open() and not fresh._any_open()


NEVER = Stopping(reduction_factor=50.0, survival_probability=0.0)


def warnings_of(folder):
    return " ".join(find_warnings(collect_evidence(folder, FAST)))


def test_a_survivor_that_is_measured_now_is_in_no_estimate_unless_all_that_were_cut_with_it_go_on(tmp_path):
    sweep = dataclasses.replace(SWEEP, stopping=NEVER)
    _, driver = play(tmp_path, plan_of(sweep, World()))
    (winner, *_) = [
        t for t in driver.plan.trials if t.cell == "1-all" and driver.found.trials[t.trial_id].status == "finished"
    ]
    measured = dataclasses.replace(sweep, measure=(*sweep.measure, winner.subset), explore=())
    folder, driver = play(tmp_path, plan_of(measured, World()))
    assert "of 1 task met a cut before being moved to measure" in warnings_of(folder)
    evidence = collect_evidence(folder, FAST)
    assert "1-all" not in {point.cell for point in evidence.here}
    whole = dataclasses.replace(sweep, **all_measured(sweep))
    folder, driver = play(tmp_path, plan_of(whole, World()))
    evidence = collect_evidence(folder, FAST)
    assert sum(point.cell == "1-all" for point in evidence.here) == 6 and "met a cut" not in warnings_of(folder)


def test_decisions_that_stand_on_older_numbers_are_reported(tmp_path):
    folder, _ = play(tmp_path, plan_of(SWEEP, World()))
    assert "older numbers" not in warnings_of(folder)
    folder, _ = play(tmp_path, plan_of(SWEEP, World("second")))
    assert "decisions of the scheduler stand that were made on older numbers" in warnings_of(folder)
    folder, _ = play(tmp_path, plan_of(SWEEP, World()))
    assert "older numbers" not in warnings_of(folder)  # they are those of the decisions again


def test_a_cell_of_winners_alone_is_reported(tmp_path):
    sweep = dataclasses.replace(SWEEP, stopping=Stopping(reduction_factor=2.0, survival_probability=1e-9))
    folder, _ = play(tmp_path, plan_of(sweep, World()))
    assert "Winners only: of 1 task" in warnings_of(folder)


def test_a_subset_that_is_listed_under_two_sources_counts_in_the_first_cell_and_that_is_reported(tmp_path):
    sweep = dataclasses.replace(SWEEP, measure=(*SWEEP.measure, Subset(TASKS[:2], "en")))
    folder, _ = play(tmp_path, plan_of(sweep, World()))
    text = warnings_of(folder)
    assert "1 subset listed under more than one source" in text and "(all, not en)" in text and "Unfinished" not in text


def test_a_definition_is_compared_as_it_is_hashed(tmp_path):
    folder, _ = play(tmp_path, plan_of(SWEEP, World()))
    check_definition(dataclasses.replace(SWEEP, clip_norm=1), Storage(tmp_path))
    stored = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(
        json.dumps({**stored, "stopping": {**stored["stopping"], "reduction_factor": 2}})
    )
    check_definition(SWEEP, Storage(tmp_path))  # enters no hash
    (folder / "sweep.json").write_text(json.dumps({**stored, "clip_norm": 1}))
    with pytest.raises(InputError, match=r"clip_norm: 1 != 1\.0"):
        check_definition(SWEEP, Storage(tmp_path))


def test_trials_that_were_opened_again_by_hand_are_in_no_estimate_while_others_stay_stopped(tmp_path):
    sweep = dataclasses.replace(SWEEP, stopping=NEVER)
    folder, driver = play(tmp_path, plan_of(sweep, World()))
    stopped = [t.trial_id for t in driver.plan.trials if driver.found.trials[t.trial_id].status == "stopped"]
    reopen(open_sweep(folder), stopped[0])
    folder, driver = play(tmp_path, plan_of(sweep, World()))
    assert driver.found.trials[stopped[0]].status == "finished"
    evidence = collect_evidence(folder, FAST)
    assert [p.trial_id for p in evidence.points if p.selected] == stopped[:1]
    assert "1 trial of 1 task met a cut before being moved to measure or opened again" in warnings_of(folder)
    for trial_id in stopped[1:]:
        reopen(open_sweep(folder), trial_id)
    folder, driver = play(tmp_path, plan_of(sweep, World()))
    assert sum(point.cell == "1-all" for point in collect_evidence(folder, FAST).here) == 6
