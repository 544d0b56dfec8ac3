"""Sweeps with axes, planned and played to their end: what is shared, what competes, what may grow, what tables hold."""

import dataclasses
import json
import re

import played
import pytest

from xlray.analysis.results import load_results
from xlray.config.recipes import Subset, Target
from xlray.errors import InputError
from xlray.phases.spec import label
from xlray.phases.store import Store
from xlray.plan.costs import Cost
from xlray.plan.definition import changes, check_definition
from xlray.plan.forecast import Terms, document, forecast
from xlray.plan.jobs import trial_title
from xlray.plan.simulate import play as simulate
from xlray.plan.trials import check_axes
from xlray.report.answer import write_answer
from xlray.report.axis_tables import values
from xlray.report.evidence import collect_evidence, num_planned
from xlray.report.warnings import find_warnings
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import find_trial, open_sweep
from xlray.sweep.tracking import parameters

RATE, UDPOS = "intermediate.learning_rate", "targets.mini_udpos.learning_rate"


def varying(vary, **changed):
    return dataclasses.replace(played.SWEEP, vary=vary, **changed)


def planned(vary, **changed):
    return played.plan_of(varying(vary, **changed), played.World())


def trunks(plan):
    return {key for key, spec in plan.all_specs().items() if spec.kind in ("trunk", "cooldown")}


def test_a_grid_over_the_recipes_of_targets_trains_each_trunk_once(tmp_path):
    targets = (*played.SWEEP.targets, Target("mini_panx", num_examples=64))
    plain = planned({}, targets=targets)
    vary = {UDPOS: (1e-5, 2e-5, 3e-5), "targets.mini_panx.batch_size": (16, 32)}
    plan = planned(vary, targets=targets)
    assert len(plan.trials) == 6 * len(plain.trials) and trunks(plan) == trunks(plain)
    counts = {
        name: {p: sum(name in label(s) for s in of.all_specs().values()) for p, of in (("one", plain), ("grid", plan))}
        for name in ("mini_udpos", "mini_panx", "mini_tatoeba")
    }
    times = {name: found["grid"] / found["one"] for name, found in counts.items()}
    assert times == {"mini_udpos": 3, "mini_panx": 2, "mini_tatoeba": 1}
    found, alone = (document(forecast(p, Store(Storage(tmp_path)), Terms()), Terms()) for p in (plan, plain))
    assert found["naive_steps"] > 6 * alone["naive_steps"]  # half of the panx phases have twice as many steps
    assert found["saved"]["sharing"] > 5 * sum(s.num_steps for k, s in plan.all_specs().items() if k in trunks(plan))


def test_an_axis_of_the_intermediate_recipe_leaves_the_control_as_it_is():
    plan = planned({RATE: (1e-5, 2e-5)})
    plain = planned({})
    control = [t for t in plan.trials if not t.config.tasks]
    assert [t.trial_id for t in control] == [t.trial_id for t in plain.trials if not t.config.tasks]
    assert all(plan.phases[t.trial_id] == plain.phases[t.trial_id] for t in control)


@pytest.mark.parametrize(
    ("vary", "named"),
    [
        ({"targets.mini_tatoeba.learning_rate": (1e-5, 2e-5)}, "targets.mini_tatoeba.learning_rate"),
        ({"intermediate.cap": (500, 600), UDPOS: (1e-5, 2e-5)}, None),
    ],
)
def test_values_that_change_nothing_that_is_computed_are_refused(vary, named):
    plan = planned(vary)
    if named is None:
        check_axes(plan)
        return
    with pytest.raises(InputError, match=rf"vary: {re.escape(named)} must change what is computed"):
        check_axes(plan)


def test_trials_of_all_values_compete_in_one_population(tmp_path):
    plan = planned({RATE: (1e-5, 2e-5, 3e-5)}, explore=(Subset(played.TASKS[:1], "x"),), measure=(), seeds=(0, 1))
    _, driver = played.play(tmp_path, plan)
    rungs = [e for e in driver.journal if e["event"] == "rung" and e["rung_index"] == 0]
    assert {e["cell"] for e in rungs} == {f"1-x lr={rate}" for rate in ("1e-5", "2e-5", "3e-5")}
    assert {e["population"] for e in rungs} == {"1-x"} and list(driver.found.ranked) == [("1-x", 0), ("1-x", 1)]
    assert {e["reason"] for e in rungs[1:]} & {"below the cut", "below the cut, drawn to continue"}
    assert len(driver.found.ranked["1-x", 0]) == 6


def test_promotion_works_across_values():
    stopping = dataclasses.replace(played.SWEEP.stopping, promote=True, survival_probability=0.0)
    plan = planned(
        {RATE: (1e-5, 2e-5, 3e-5, 4e-5)}, explore=(Subset(played.TASKS[:1], "x"),), measure=(), stopping=stopping
    )
    costs = {key: Cost(0, 0.0, 1.0, 0.0) for key in plan.all_specs()}
    rate = {t.trial_id: t.config.intermediate.learning_rate for t in plan.trials}
    curve = lambda trial, index: 1e6 * rate[trial.trial_id] + 0.1 * trial.config.seed  # noqa: E731
    schedule = simulate(plan, costs, dict.fromkeys(costs, 1.0), 1, (), curve)
    promoted = [bar.trial_id for bar in schedule.bars if bar.rung_index == 1]
    assert schedule.reached[0] == 8 > schedule.reached[1]
    assert [rate[name] for name in promoted].count(4e-5) == 2  # within its own cell half of them would continue


def test_a_further_value_is_more_trials_and_what_is_finished_stays(tmp_path):
    few, more = planned({RATE: (1e-5, 2e-5)}), planned({RATE: (1e-5, 2e-5, 3e-5)})
    played.play(tmp_path, few)
    check_definition(more.sweep, Storage(tmp_path))
    before = Store(Storage(tmp_path)).finished(more.all_specs().values())
    directory, _ = played.play(tmp_path, more)
    journal = open_sweep(directory).journal.read()
    again = [e for e in journal[[e["event"] for e in journal].index("closed") :] if e["event"] == "running"]
    values = {t.trial_id: dict(t.values).get(RATE) for t in more.trials}
    assert {values[e["trial_id"]] for e in again} >= {3e-5}
    assert before and not {name.rpartition("-")[2] for e in again for name in e["phases"]} & before
    results = load_results(directory)
    assert set(results.trials["trial_id"].to_pylist()) == {t.trial_id for t in more.trials}


def test_axes_of_a_sweep_stay_on_the_same_fields():
    one, two = varying({RATE: (1e-5, 2e-5)}), varying({UDPOS: (1e-5, 2e-5)})
    plain = played.SWEEP.definition
    assert changes(one.definition, varying({RATE: (2e-5, 7e-5)}).definition) == []
    assert changes(one.definition, two.definition) == [f"vary: axes on {RATE} != {UDPOS}"]
    assert changes(plain, one.definition) == [f"vary: axes on nothing != {RATE}"]
    assert changes(one.definition, plain) == [f"vary: axes on {RATE} != nothing"]
    assert json.loads(json.dumps(one.definition)) == one.definition


def test_tables_have_a_column_for_each_field_that_varies(tmp_path):
    directory, _ = played.play(tmp_path, planned({RATE: (1e-5, 2e-5), UDPOS: (1e-5, 3e-5)}))
    trials = load_results(directory).trials.to_pylist()
    assert {(t["num_tasks"] > 0, t[RATE], t[UDPOS]) for t in trials} == {
        (False, None, 1e-5), (False, None, 3e-5), *((True, a, b) for a in (1e-5, 2e-5) for b in (1e-5, 3e-5)),
    }  # fmt: skip
    assert {t["setting"] for t in trials if not t["num_tasks"]} == {"mini_udpos.lr=1e-5", "mini_udpos.lr=3e-5"}
    created = [e for e in open_sweep(directory).journal.read() if e["event"] == "created"]
    assert created[1]["values"] == {RATE: 1e-5, UDPOS: 1e-5} and created[1]["label"] == "lr=1e-5 mini_udpos.lr=1e-5"


def test_trackers_and_names_know_the_values(tmp_path):
    directory, driver = played.play(tmp_path, planned({RATE: (1e-5, 2e-5)}))
    trial = driver.plan.trials[-1]
    assert parameters(trial, trial.config.tasks)[RATE] == trial.config.intermediate.learning_rate == 2e-5
    assert trial_title(trial) == f"1tasks-lr=2e-5-s1-{trial.trial_id}"
    assert find_trial(open_sweep(directory), trial_title(trial)) == trial.trial_id


def test_the_answer_compares_cells_at_their_best_values_and_names_these(tmp_path):
    targets = (Target("mini_udpos", num_examples=64), Target("mini_panx", num_examples=64))
    directory, _ = played.play(tmp_path, planned({RATE: (1e-5, 2e-5)}, explore=(), targets=targets))
    evidence = collect_evidence(directory)
    assert {p.cell for p in evidence.here} == {"0", "2-all lr=1e-5", "2-all lr=2e-5"}
    assert {p.cell for p in evidence.tuned_here} == {"0", "2-all"}
    names = {e.name for e in evidence.estimates}
    assert {f"{c} - 0" for c in ("2-all", "2-all lr=1e-5", "2-all lr=2e-5")} <= {n.rpartition("/")[2] for n in names}
    answer = write_answer(evidence)
    assert "Each cell is taken at its own best values, chosen on the other seeds" in answer
    assert "2 tasks at lr=" in answer and "2-all" not in answer
    assert any("The best value of lr is the" in warning for warning in find_warnings(evidence))
    assert num_planned(evidence.definition) == len(evidence.statuses) == 6
    rows = values(evidence.choices, "fi_accuracy").rows
    assert {row[2] for row in rows} == {"lr=1e-5", "lr=2e-5"}
