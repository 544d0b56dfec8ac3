import random
from collections import Counter

import pytest

from xlray.analysis.results import load_results
from xlray.config.recipes import Architecture, Intermediate, Pretraining, Subset, Target
from xlray.config.subsets import at_sizes, explicit
from xlray.config.sweep import Sweep
from xlray.phases.store import Store
from xlray.plan.trials import plan_sweep
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder
from xlray.sweep.result_tables import phase_rows, write_results

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
        for key in {p.spec.key for p in phases}:
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
