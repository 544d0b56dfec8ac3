import random
from collections import Counter

import played
import pytest

from xlray.analysis.results import STEPS, load_results
from xlray.config.recipes import Architecture, Intermediate, Pretraining, Subset, Target
from xlray.config.subsets import at_sizes, explicit
from xlray.config.sweep import Sweep
from xlray.phases.curves import POINTS_FILE, LogPoint, add_point, write_curve
from xlray.phases.spec import TrainSpec, phase_name
from xlray.phases.store import Store
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder
from xlray.sweep import result_tables
from xlray.sweep.result_tables import phase_rows, steps_table, write_results

SWEEP = Sweep(
    "s",
    Pretraining(("mini_text",), Architecture(64, 2, 4, 128, 400, 66), 64, batch_size=32, max_length=64),
    # The set is smaller than both sizes, so that two trials share all their phases; and so do controls of two seeds one.
    measure=(Subset(()), *at_sizes(explicit(["mini_topic_en"]), (90_000, 100_000))),
    seeds=(0, 1),
    intermediate=Intermediate(rungs=(64,), batch_size=32, warmup_examples=32, max_length=64, stride=32),
    targets=(Target("mini_udpos", 64, max_length=64, stride=32), Target("mini_tatoeba", max_length=64, stride=32)),
)


@pytest.fixture(scope="module")
def plan():
    return plan_sweep(SWEEP, None)


def recorded(trial_id, number, sweep="s"):
    return {
        "sweep": sweep,
        "trial_id": trial_id,
        "num_steps": 10,
        "num_tokens": 1_000 + number,
        "device_seconds": 3_600.0 * (1 + number),
        "num_executed_steps": 11 + number,
        "num_repeated_steps": 1,
        "degenerate": None,
    }


def needing(plan):
    """Phase to the trials that need it; "" stands for the job before all trials."""
    found = {spec.key: [""] for spec in plan.shared}
    for trial_id, phases in plan.phases.items():
        for key in {spec.key for spec in phases}:
            found.setdefault(key, []).append(trial_id)
    return found


def totals(rows):
    names = ("num_tokens", "device_hours", "num_executed_steps", "num_repeated_steps")
    return {name: sum(row[name] for row in rows) for name in names}


@pytest.mark.parametrize("seed", range(5))
def test_what_was_spent_is_in_the_ledger_once_whichever_trial_computed_a_phase(plan, seed):
    draw = random.Random(seed)
    trials = needing(plan)
    assert sum(len(of_phase) == 2 for of_phase in trials.values()) > 5
    owners = {key: draw.choice(of_phase) or "shared" for key, of_phase in trials.items()}
    records = {key: recorded(owner, number) for number, (key, owner) in enumerate(owners.items())}
    rows = phase_rows(plan, records)
    spent = [recorded("", number) for number in range(len(records))]
    assert totals(rows) == totals([{**r, "device_hours": r["device_seconds"] / 3_600} for r in spent])
    paid = Counter(row["trial_id"] for row in rows if row["status"] == "computed")
    assert paid == Counter("" if owner == "shared" else owner for owner in owners.values())
    assert {row["status"] for row in rows} == {"computed", "shared"} and len(rows) == sum(map(len, trials.values()))


def test_what_a_trial_computed_that_is_no_longer_in_the_sweep_is_charged_to_the_first_that_needs_it(plan):
    trials = needing(plan)
    rows = phase_rows(plan, {key: recorded("gone", number) for number, key in enumerate(trials)})
    assert totals(rows)["device_hours"] == sum(1 + number for number in range(len(trials)))
    paid = Counter(row["trial_id"] for row in rows if row["status"] == "computed")
    assert paid == Counter(of_phase[0] for of_phase in trials.values())


def test_what_another_sweep_computed_is_stored_and_costs_nothing(plan):
    rows = phase_rows(plan, {key: recorded("other", 5, sweep="before") for key in needing(plan)})
    assert {row["status"] for row in rows} == {"stored"} and not any(totals(rows).values())


def test_the_table_of_trials_says_what_each_is_trained_on(plan, tmp_path):
    write_results(plan, Store(Storage(tmp_path)))
    rows = load_results(sweep_folder(Storage(tmp_path), "s").path).trials.to_pylist()
    names = ("num_distinct", "effective_tasks", "translated", "rung_tokens")
    found = {row["num_tasks"]: tuple(row[name] for name in names) for row in rows}
    assert found == {0: (None, None, None, []), 1: (2_000, 1.0, 0.0, [None])}  # its tokens are not known yet


def trained(store, spec, num_looks):
    """A finished phase that was looked at after every step, or (None) was stored by an earlier version."""
    attempt = store.begin(spec)
    with (attempt / POINTS_FILE).open("ab") as file:
        for number in range(1, (num_looks or 0) + 1):
            add_point(file, LogPoint(spec.first_step + number, 1, 1 / number, 2.0, 1e-3, 90, 100, 0.1))
    with store.staging(spec) as staged:
        if num_looks is not None:
            write_curve(staged, attempt, spec)
        store.commit(spec, staged, recorded("", 0, "played"))


def test_curves_of_all_phases_are_joined_once_each_and_older_phases_have_none(tmp_path):
    plan = played.plan_of(played.SWEEP, played.World())
    store, directory = Store(Storage(tmp_path)), sweep_folder(Storage(tmp_path), "played")
    found = {spec.key: spec for spec in plan.all_specs().values() if isinstance(spec, TrainSpec)}
    old, _, *rest = [spec for spec in found.values() if spec.kind != "target"]
    targets = [spec for spec in found.values() if spec.kind == "target"]
    for spec in rest:
        trained(store, spec, 3)
    trained(store, old, None)
    assert len(load_results(played.play(tmp_path / "other", plan, 1)[0]).steps) == 0
    write_results(plan, store)  # no target is finished; only the table of steps is checked for them
    results = load_results(directory.path)
    assert results.steps.schema == STEPS and results.steps.column_names[:4] == ["phase", "kind", "task", "rung"]
    rows = results.steps.to_pylist()
    assert Counter(row["phase"] for row in rows) == {phase_name(spec): 3 for spec in rest}
    for spec in rest:
        own = [row for row in rows if row["phase"] == phase_name(spec)]
        rung = spec.first_example + (spec.num_examples if spec.kind == "trunk" else 0)
        assert {(row["kind"], row["task"], row["rung"]) for row in own} == {(spec.kind, "", rung)}
        assert [row["examples"] for row in own] == [spec.first_example + 16 * n for n in (1, 2, 3)]
        assert [round(row["padding_ratio"], 4) for row in own] == [0.1] * 3
    for spec in targets:
        trained(store, spec, 2)
    rows = steps_table(plan, store, targets).to_pylist()
    assert {(row["kind"], row["task"]) for row in rows} == {("target", "mini_udpos")}
    assert len(rows) == 2 * len(targets)
    without_tasks = [spec for spec in targets if spec.parent == plan.starts[plan.sweep.encoder].root.key]
    assert {row["rung"] for row in rows if row["phase"] in map(phase_name, without_tasks)} == {64}  # of both rungs
    assert {row["rung"] for row in rows} == {64, 128}


def test_where_phases_are_many_each_gives_fewer_rows(tmp_path, monkeypatch):
    plan = played.plan_of(played.SWEEP, played.World())
    store = Store(Storage(tmp_path))
    specs = [spec for spec in plan.all_specs().values() if isinstance(spec, TrainSpec)][:8]
    for spec in specs:
        trained(store, spec, 400)
    for most, at_most in ((1_000_000, 400), (800, 100), (8, result_tables.LEAST_STEPS)):
        monkeypatch.setattr(result_tables, "MOST_STEPS", most)
        rows = steps_table(plan, store, specs).to_pylist()
        assert all(at_most / 2 <= count <= at_most for count in Counter(row["phase"] for row in rows).values())
        assert {
            row["step"] - spec.first_step for spec in specs for row in rows if row["phase"] == phase_name(spec)
        } >= {400}
