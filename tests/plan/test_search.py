import dataclasses
import itertools

import driven_sweep
import numpy as np
import pytest
from replayed import replay

from xlray.config.recipes import Encoder, Subset
from xlray.config.search import SOURCE, Search, check_search
from xlray.config.sweep import Stopping, Sweep
from xlray.errors import InputError
from xlray.plan.history import history
from xlray.plan.search import next_trial, proposed
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep

POOL = tuple(f"task{i:02}" for i in range(12))
SEARCH = Search(POOL, (3, 4), 40)
SWEEP = Sweep("s", Encoder("encoder"), measure=(Subset(()),), seeds=(0,), search=SEARCH)
METHODS = ("surrogate", "optuna")
stored_scores = driven_sweep.stored_scores  # fixtures that every test gets


def with_search(**changes):
    return dataclasses.replace(SWEEP, search=dataclasses.replace(SEARCH, **changes))


def created(trial):
    place = {"role": trial.role, "cell": trial.cell, "tasks": list(trial.config.tasks), "seed": trial.config.seed}
    return {"event": "created", "trial_id": trial.trial_id, **place}


def scored(trial, score, rung_index=0):
    return {"event": "rung", "trial_id": trial.trial_id, "rung_index": rung_index, "score": score, "basis": "b"}


def play(sweep, score_of, num, journal=None):
    """Propose and score one after the other."""
    journal = [] if journal is None else list(journal)
    trials = []
    while len(trials) < num and (trial := next_trial(sweep, journal)) is not None:
        journal += [created(trial), scored(trial, score_of(trial.config.tasks, len(journal)))]
        trials.append(trial)
    return trials, journal


def world(seed):
    """Scores with a known best subset: weights of tasks, one interaction, noise."""
    random = np.random.default_rng(seed)
    weights = dict(zip(POOL, random.normal(0, 1, len(POOL)), strict=True))

    def true(tasks):
        return 60 + sum(weights[name] for name in tasks) + 0.5 * ({POOL[0], POOL[1]} <= set(tasks))

    best = max((c for k in SEARCH.sizes for c in itertools.combinations(POOL, k)), key=true)
    noise = np.random.default_rng(seed + 1_000).normal(0, 0.3, 10_000)
    return true, best, lambda tasks, i: true(tasks) + noise[i]


@pytest.mark.parametrize("method", METHODS)
def test_the_best_subset_is_found_sooner_than_by_chance(method):
    """Mean regret of the best of 30 proposals, over six worlds, against 30 random subsets."""
    found, chance = [], []
    for seed in range(6):
        true, best, score = world(seed)
        sweep = with_search(method=method, seed=seed)
        trials, _ = play(sweep, score, 30)
        found.append(true(best) - max(true(t.config.tasks) for t in trials))
        random = np.random.default_rng(seed)
        drawn = [tuple(random.choice(POOL, int(random.choice(SEARCH.sizes)), replace=False)) for _ in range(30)]
        chance.append(true(best) - max(true(tasks) for tasks in drawn))
    assert np.mean(found) < 0.6 * np.mean(chance), (found, chance)


def test_the_surrogate_finds_the_best_subset_itself():
    hits = 0
    for seed in range(6):
        _, best, score = world(seed)
        trials, _ = play(with_search(seed=seed), score, 40)
        hits += tuple(sorted(best)) in {t.config.tasks for t in trials}
    assert hits >= 5


@pytest.mark.parametrize("method", METHODS)
def test_a_restart_proposes_what_would_have_been_proposed(method):
    _, _, score = world(0)
    sweep = with_search(method=method)
    whole, journal = play(sweep, score, 12)
    half = [e for e in journal if e["trial_id"] in {t.trial_id for t in whole[:6]}]
    again, rest = play(sweep, score, 6, half)
    assert [t.trial_id for t in again] == [t.trial_id for t in whole[6:]]
    assert [t.trial_id for t in proposed(sweep, rest)] == [t.trial_id for t in whole]
    assert proposed(sweep, rest) == tuple(whole)


@pytest.mark.parametrize("method", METHODS)
def test_proposals_are_new_of_a_size_asked_for_and_end(method):
    sweep = dataclasses.replace(with_search(method=method, num_trials=15), seeds=(3, 5))
    trials, journal = play(sweep, lambda tasks, i: float("nan") if i % 3 else 50.0, 99)
    assert len(trials) == 15 and next_trial(sweep, journal) is None
    assert len({t.trial_id for t in trials}) == 15
    assert {len(t.config.tasks) for t in trials} <= {3, 4}
    assert [t.config.seed for t in trials[:4]] == [3, 5, 3, 5]
    assert {(t.role, t.cell.split("-")[1]) for t in trials} == {(SOURCE, "search")}


def test_a_small_pool_is_exhausted():
    sweep = with_search(pool=POOL[:3], sizes=(2, 3), num_trials=9)
    trials, _ = play(sweep, lambda tasks, i: 50.0, 99)
    assert len(trials) == 4


def test_scores_count_from_the_mean_of_their_rung():
    a, b = (next_trial(with_search(seed=s), []) for s in (0, 1))
    assert a is not None
    outside = Subset(("elsewhere",))
    other = dataclasses.replace(a, config=SWEEP.trial_config(outside, 0))
    journal = [created(t) for t in (a, b, other)]
    journal += [scored(a, 40.0), scored(b, 50.0), scored(a, 70.0, 1), scored(other, 99.0)]
    assert history(journal).observations(SEARCH) == [
        (frozenset(a.config.tasks), -2.5),
        (frozenset(b.config.tasks), 5.0),
    ]


def test_what_cannot_be_searched_is_refused(monkeypatch):
    for changes, message in (
        ({"sizes": (13,)}, r"1 <= size <= 12"),
        ({"method": "bayes"}, "method in"),
        ({"method": "grid"}, "a grid is over a space alone"),
        ({"num_trials": 0}, "num_trials >= 1"),
        ({"pool": ("a", "a")}, "distinct"),
    ):
        with pytest.raises(InputError, match=message):
            with_search(**changes)
    with pytest.raises(InputError, match="the source 'search' is that of proposed subsets"):
        check_search(dataclasses.replace(SWEEP, measure=(Subset(("x",), SOURCE),)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_search(SWEEP)
    with pytest.raises(InputError, match="needs the package optuna"):
        check_search(with_search(method="optuna"))


def test_a_plan_costs_the_trials_to_come(tmp_path):
    from xlray import mini
    from xlray.phases.store import Store
    from xlray.plan.forecast import summary
    from xlray.plan.search import pool_specs
    from xlray.plan.trials import plan_sweep

    pool = ("mini_topic_en", "mini_sentiment_en", "mini_roles_de")
    alone = Sweep("s", mini.ENCODER, (Subset(()),), intermediate=mini.INTERMEDIATE, targets=mini.TARGETS)
    searching = dataclasses.replace(alone, search=Search(pool, (1, 2), 4))
    plans = [plan_sweep(sweep, None) for sweep in (alone, searching)]
    documents = [summary(plan, Store(Storage(tmp_path))) for plan in plans]
    assert [d["trials"] for d in documents] == [1, 5]
    assert documents[1]["steps"] > documents[0]["steps"]
    assert len(plans[1].trials) == 1  # the ones to come are not known
    assert {d.task for s in pool_specs(plans[1]) if s.kind == "trunk" for d in s.data} == set(pool)
    assert pool_specs(plans[0]) == []


@pytest.mark.slow
@pytest.mark.ray
def test_a_sweep_proposes_journals_and_resumes(tmp_path):
    """Two proposals, then a third by a second run, which rebuilds the first two from the journal."""
    from xlray import Architecture, Execution, Intermediate, Pretraining, Target, load_results
    from xlray.sweep.run import run

    search = Search(("mini_topic_en", "mini_roles_de", "mini_similarity_en"), (1, 2), 2)
    sweep = Sweep(
        "s",
        Pretraining(("mini_text",), Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32),
        measure=(Subset(()),),
        intermediate=Intermediate((64,), batch_size=16, warmup_examples=16, max_length=64, stride=32),
        targets=(Target("mini_udpos", num_examples=32, batch_size=16),),
        execution=Execution(micro_batch_tokens=1024),
        search=search,
    )
    run(sweep, Storage(tmp_path))
    directory = tmp_path / "sweeps" / "s"
    first = proposed(sweep, open_sweep(directory).journal.read())
    assert len(first) == 2
    longer = dataclasses.replace(sweep, search=dataclasses.replace(search, num_trials=3))
    run(longer, Storage(tmp_path))
    trials = {t["trial_id"]: t for t in load_results("s", tmp_path).trials.to_pylist()}
    assert {t["status"] for t in trials.values()} == {"finished"} and len(trials) == 4
    assert [trials[t.trial_id]["role"] for t in first] == [SOURCE, SOURCE]
    events = [e for e in open_sweep(directory).journal.read() if e["event"] == "running" and "trial_id" in e]
    assert len(events) == 4  # nothing ran twice


def test_the_driver_starts_proposals_once_its_own_trials_are_started(tmp_path, monkeypatch):
    """Through the driver, without Ray: proposed one by one, journalled, scored, rebuilt by a second driver."""

    def with_trials(plan, trials):
        new = {t.trial_id: driven_sweep.phases_of(" ".join(t.config.tasks)) for t in trials}
        return dataclasses.replace(plan, trials=(*plan.trials, *trials), phases={**plan.phases, **new})

    monkeypatch.setattr("xlray.plan.search.with_trials", with_trials)
    search = Search(("task0", "a", "b", "c"), (1, 2), 4)
    plan = driven_sweep.make_plan(["x"], stopping=Stopping(survival_probability=0.0), search=search)

    def drive(limit):
        driver = driven_sweep.make_driver(tmp_path, plan, storage, num_slots=1)
        started = []
        while len(started) < limit and (launch := driver.next()) is not None:
            started.append(launch.name)
            for index in (0, 1):
                driven_sweep.finish(driver, launch.name, index + 1)
                if driven_sweep.report(driver, launch.name, index, 50.0 + len(started)) != "continue":
                    break
            driver.on_end(launch.name, None)
        assert len(started) == limit or driver.done()
        driver.close()
        return driver, started

    storage = driven_sweep.Stored(tmp_path)
    _, one = drive(3)
    second, two = drive(99)
    assert len(one) == 3 and len(two) == 2 and len({*one, *two}) == 5
    assert one[0] == plan.trials[0].trial_id
    trials = proposed(plan.sweep, second.journal)
    assert [t.trial_id for t in trials] == [*one[1:], *two]
    assert {second.found.trials[t.trial_id].status for t in trials} <= {"finished", "stopped"}
    assert {t.role for t in second.plan.trials} == {"explore", SOURCE}
    assert replay(second.journal, plan.sweep.stopping, 1) == []
