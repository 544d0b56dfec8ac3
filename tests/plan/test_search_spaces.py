"""Searches over values of fields, played without training: scores are a function of the values."""

import dataclasses
import math

import numpy as np
import played
import pytest

from xlray.analysis import collect_points, estimable
from xlray.analysis.results import load_results
from xlray.cli.tables import plan_lines
from xlray.config.recipes import Encoder, Intermediate, Subset, Target
from xlray.config.search import SOURCE, Search, check_search
from xlray.config.spaces import Choice, Real, Whole
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.phases.store import Store
from xlray.plan.forecast import Terms, simulation, summary
from xlray.plan.jobs import created_entry
from xlray.plan.search import check_proposals, next_trial, pool_specs, proposed
from xlray.plan.searchers import Replay
from xlray.storage.standings import standings
from xlray.storage.storage import Storage
from xlray.sweep.tracking import parameters

RATE, HEAT = "intermediate.learning_rate", "intermediate.temperature"
SPACE = {RATE: Real(1e-6, 1e-3, log=True), HEAT: Real(1.0, 5.0)}
STEPS = {RATE: Choice((1e-5, 2e-5)), "intermediate.warmup_examples": Whole(0, 32, step=16)}
PLAIN = Sweep(
    "s",
    Encoder("encoder"),
    measure=(Subset(("a", "b"), "en"),),
    seeds=(3, 5),
    intermediate=Intermediate((64, 128), batch_size=16, warmup_examples=0),
    targets=(Target("panx"),),
)


def searching(space=SPACE, sweep=PLAIN, num_trials=30, **changes):
    return dataclasses.replace(sweep, search=Search(num_trials=num_trials, space=space, **changes))


def score_of(trial):
    """The best rate is 1e-4 and the best temperature 3; 60 points there."""
    recipe = trial.config.intermediate
    return 60 - 4 * (math.log10(recipe.learning_rate) + 4) ** 2 - (recipe.temperature - 3) ** 2


def events_of(trial, stops=False):
    rungs = [
        {
            "event": "rung",
            "trial_id": trial.trial_id,
            "cell": trial.cell,
            "role": trial.role,
            "rung_index": i,
            "basis": "b",
        }
        | {"score": score_of(trial) - 5 * (1 - i), "decision": "stop" if stops else "continue", "reason": ""}
        for i in range(1 if stops else 2)
    ]
    return [*rungs, {"event": "stopped" if stops else "finished", "trial_id": trial.trial_id}]


def play(sweep, journal=(), until=99, replay=None):
    """Propose and finish one after the other; every third trial is stopped at the first rung."""
    journal, trials = list(journal), []
    if not journal:
        for trial in sweep.trials():
            journal += [created_entry(trial), *events_of(trial)]
    while len(trials) < until and (trial := next_trial(sweep, journal, replay)) is not None:
        journal += [created_entry(trial), *events_of(trial, stops=len(proposed(sweep, journal)) % 3 == 2)]
        trials.append(trial)
    return trials, journal


class Counted(list):
    """A journal that counts the entries that are read of it."""

    num_read = 0

    def __getitem__(self, place):
        found = super().__getitem__(place)
        self.num_read += len(found)
        return found

    def __iter__(self):
        raise AssertionError("the whole journal is read")


@pytest.mark.parametrize("method", ["optuna", "random", "grid", "surrogate"])
def test_a_driver_reads_each_entry_once_and_proposes_what_the_whole_journal_says(method):
    """Whatever happens to trials in between: one fails, diverges, is outdated, dropped and back, or the sweep is opened again."""
    space = {RATE: Choice((1e-5, 2e-5, 4e-5)), HEAT: Choice((1.0, 3.0, 5.0))}
    pool = {"pool": tuple("abcdefg"), "sizes": (1, 2, 3)}
    sweep = searching({}, method=method, **pool) if method == "surrogate" else searching(space, method=method)
    whole, replay, number = [], Replay(), 0
    for trial in sweep.trials():
        whole += [created_entry(trial), *events_of(trial)]
    journal = Counted(whole)
    while number < 8:
        found, fresh = next_trial(sweep, journal, replay), next_trial(sweep, list(whole))
        assert found == fresh
        entries = [created_entry(found), *events_of(found, stops=number % 3 == 2)]
        name = {"trial_id": found.trial_id}
        entries += [
            [{"event": "failed", **name}, {"event": "opened"}],
            [{"event": "outdated", **name, "rungs": [0]}],
            [{"event": "dropped", **name}, entries[0]],
            [{**entries[1], "score": None, "reason": "diverged"}],
        ][number % 4]
        whole += entries
        journal.extend(entries)
        number += 1
    assert journal.num_read == len(whole) - len(entries)


class Searcher:
    """A searcher of Ray Tune by its methods alone: a walk from the best point so far, by a generator that it keeps."""

    def __init__(self, seed=0):
        self.random = np.random.default_rng(seed)
        self.points, self.best, self.told = {}, None, []

    def set_search_properties(self, metric, mode, config):
        self.names = list(config)
        return (metric, mode) == ("score", "max")

    def suggest(self, name):
        rate, heat = self.best[1] if self.best else (1e-5, 2.0)
        self.points[name] = (
            float(np.clip(rate * 10 ** self.random.normal(0, 0.3), 1e-6, 1e-3)),
            float(np.clip(heat + self.random.normal(0, 0.5), 1, 5)),
        )
        return dict(zip(self.names, self.points[name], strict=True))

    def on_trial_result(self, name, result):
        self.told.append((name, result["training_iteration"]))

    def on_trial_complete(self, name, result=None, error=False):
        self.told.append((name, "error" if error else "end"))
        if result and (self.best is None or result["score"] > self.best[0]):
            self.best = (result["score"], self.points[name])


METHODS = ("optuna", "random", Searcher)


@pytest.mark.parametrize("method", METHODS)
def test_a_restart_proposes_what_would_have_been_proposed(method):
    sweep = searching(method=method, num_trials=12)
    whole, journal = play(sweep, replay=Replay())
    assert len(whole) == 12 == len({t.trial_id for t in whole})
    # The first driver kept its searcher; these are killed after every so many proposals, or in the middle of a trial.
    for kept in (1, 5, 7):
        end = next(i for i, e in enumerate(journal) if e["trial_id"] == whole[kept].trial_id)
        again, rest = play(sweep, journal[:end], replay=Replay())
        assert again == whole[kept:]
        assert proposed(sweep, rest) == tuple(whole)
    middle = next(i for i, e in enumerate(journal) if e["trial_id"] == whole[5].trial_id) + 2
    assert next_trial(sweep, [*journal[:middle], {"event": "opened"}, *events_of(whole[5], True)[1:]]) == whole[6]


@pytest.mark.parametrize("method", METHODS)
def test_more_trials_extend_a_search(method):
    short, journal = play(searching(method=method, num_trials=4))
    more, _ = play(searching(method=method, num_trials=9), journal)
    whole, _ = play(searching(method=method, num_trials=9))
    assert [*short, *more] == whole


def test_optuna_finds_good_values_sooner_than_by_chance():
    best = {method: [] for method in ("optuna", "random")}
    for seed in range(5):
        for method, found in best.items():
            trials, _ = play(searching(method=method, seed=seed, num_trials=25))
            found.append(60 - max(map(score_of, trials[15:])))
    assert np.mean(best["optuna"]) < 0.5 * np.mean(best["random"]), best


def test_a_proposal_names_its_values_and_has_the_first_seed():
    trials, _ = play(searching(num_trials=3))
    for trial in trials:
        values = dict(trial.values)
        assert trial.label == f"lr={values[RATE]:g} T={values[HEAT]:g}".replace("e-0", "e-")
        assert (trial.config.intermediate.learning_rate, trial.config.intermediate.temperature) == tuple(
            values.values()
        )
        assert trial.cell == f"2-search {trial.label}" and trial.population == "2-search"
        assert (trial.role, trial.config.seed, trial.config.tasks) == (SOURCE, 3, ("a", "b"))


def test_trackers_get_searched_values_as_parameters():
    (trial, *_), _ = play(searching({**SPACE, "targets.panx.learning_rate": Real(1e-6, 1e-4)}, num_trials=1))
    found = parameters(trial, ("a", "b"))
    assert {name: found[name] for name, _ in trial.values} == dict(trial.values)


def test_a_grid_is_tried_in_order_and_ends():
    trials, journal = play(searching(STEPS, method="grid"))
    # The first of the six points of the grid is the recipe's, at which the sweep's own trial stands.
    assert [t.label for t in trials] == [f"lr={r} warmup={w}" for r in ("1e-5", "2e-5") for w in (0, 16, 32)][1:]
    assert next_trial(searching(STEPS, method="grid"), journal) is None


@pytest.mark.parametrize("method", ["optuna", "random"])
def test_a_small_space_is_exhausted(method):
    trials, _ = play(searching({HEAT: Choice((2.0, 3.0, 4.0))}, method=method))
    assert sorted(t.label for t in trials) == ["T=2", "T=3", "T=4"]


@pytest.mark.parametrize("method", ["optuna", "random"])
def test_the_last_points_of_a_small_space_are_found(method):
    """By chance alone, the last of 400 points would take hundreds of draws."""
    space = {"intermediate.cap": Whole(1, 20), "intermediate.warmup_examples": Whole(0, 19)}
    trials, journal = play(searching(space, num_trials=3, method=method))
    own = PLAIN.trials()[0]
    points = [
        dataclasses.replace(own.config.intermediate, cap=cap, warmup_examples=warmup)
        for cap in range(1, 21)
        for warmup in range(20)
    ]
    known = {t.trial_id for t in trials}
    configs = [dataclasses.replace(own.config, intermediate=point) for point in points]
    left = [c for c in configs if c.trial_id not in known]
    sweep = searching(space, num_trials=400, method=method)
    entry = created_entry(trials[0])
    for config in left[:-1]:
        journal.append({**entry, "trial_id": config.trial_id, "role": "explore", "values": {}})
    assert next_trial(sweep, journal).trial_id == left[-1].trial_id


def test_subsets_and_values_are_searched_together():
    pool = ("a", "b", "c", "d")
    trials, journal = play(searching(pool=pool, sizes=(1, 2), num_trials=20))
    assert {len(t.config.tasks) for t in trials} == {1, 2} and len({t.config.tasks for t in trials}) > 3
    assert len({t.label for t in trials}) > 10
    assert proposed(searching(pool=pool, sizes=(1, 2)), journal) == tuple(trials)


def test_each_of_several_subsets_may_be_proposed_with_its_caps():
    other = Subset(("c", "d", "e"), "en", caps=(("c", 10),))
    sweep = searching(sweep=dataclasses.replace(PLAIN, explore=(other,)), method="random", num_trials=12)
    trials, journal = play(sweep)
    assert {t.population for t in trials} == {"2-search", "3-search"}
    assert {t.config.caps for t in trials if len(t.config.tasks) == 3} == {(("c", 10),)}
    assert proposed(sweep, journal) == tuple(trials)


def test_axes_beside_a_space_are_searched_by_their_rows():
    varying = dataclasses.replace(PLAIN, vary={(HEAT, "dropout"): ((1.0, 0.0), (3.0, 0.1))})
    trials, _ = play(searching({RATE: SPACE[RATE]}, varying, num_trials=15))
    found = {tuple(v for n, v in t.values if n != RATE) for t in trials}
    assert found == {(1.0, 0.0), (3.0, 0.1)}
    assert all(t.label.startswith(("T=1,dropout=0 lr=", "T=3,dropout=0.1 lr=")) for t in trials)


def test_values_that_do_not_go_together_are_not_proposed():
    """Both ends are recipes, and what lies between is not: a batch of 48 in rungs of 96."""
    sweep = dataclasses.replace(PLAIN, intermediate=Intermediate((96,), batch_size=16, warmup_examples=0))
    trials, _ = play(searching({"intermediate.batch_size": Choice((16, 32, 48, 96))}, sweep, method="random"))
    assert {t.config.intermediate.batch_size for t in trials} == {32, 48, 96}


def test_what_diverged_counts_as_worst_and_what_failed_for_nothing():
    sweep = searching(num_trials=40)
    trials, journal = play(sweep, until=12)
    lost = trials[-1].trial_id
    diverged = [e | ({"score": None, "reason": "diverged"} if e["event"] == "rung" else {}) for e in journal[-3:]]
    ends = {
        "failed": {"event": "failed", "trial_id": lost, "kind": "crash", "error": ""},
        "stopped": {"event": "stopped", "trial_id": lost},
    }
    start = next(i for i, e in enumerate(journal) if e.get("trial_id") == lost) + 1
    after = {name: next_trial(sweep, [*journal[:start], end]) for name, end in ends.items()}
    after["diverged"] = next_trial(sweep, [*journal[:start], diverged[0], ends["stopped"]])
    after["never"] = next_trial(sweep, [*journal[: start - 1], created_entry(trials[-1]), ends["failed"]])
    assert after["failed"] == after["never"] and after["diverged"] == after["stopped"] != after["failed"]


def test_a_searcher_is_told_what_ray_tune_would_tell_it():
    replay = Replay()
    play(searching(method=Searcher, num_trials=3), replay=replay)
    assert replay.searcher.told == [
        ("proposal-0", 1), ("proposal-0", 2), ("proposal-0", "end"), ("proposal-1", 1), ("proposal-1", 2),
        ("proposal-1", "end"), ("proposal-2", 1), ("proposal-2", "end"),
    ][: len(replay.searcher.told)]  # fmt: skip
    assert len(replay.searcher.told) >= 6


def test_an_instance_is_a_searcher_too_and_stays_as_it_was():
    mine = Searcher(7)
    trials, _ = play(searching(method=mine, num_trials=4))
    assert mine.points == {} and len(trials) == 4


def test_a_searcher_that_suggests_otherwise_is_refused():
    _, journal = play(searching(method=Searcher, num_trials=4))
    with pytest.raises(InputError, match="suggests otherwise than it did before"):
        play(searching(method=lambda: Searcher(1), num_trials=6), journal)
    with pytest.raises(InputError, match="must suggest the same when it is made again"):
        check_proposals(searching(method=lambda: Searcher(None)))
    with pytest.raises(InputError, match="cannot be made: no module"):
        check_proposals(searching(method=raising))
    with pytest.raises(InputError, match="must have no space, metric or mode of its own"):
        check_proposals(searching(method=Decided))
    check_proposals(searching(method=Searcher))


def raising():
    raise ImportError("no module\nof that name")


class Decided(Searcher):
    def set_search_properties(self, metric, mode, config):
        return False


def test_optuna_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    check_search(searching(method="random"))
    with pytest.raises(InputError, match="needs the package optuna, but it is not installed: `pip install optuna`"):
        check_search(searching())


def on_real_tasks(**changes):
    """A search over the played sweep, whose tasks are those of the embedded world."""
    return searching(SPACE, dataclasses.replace(played.SWEEP, measure=(Subset(played.TASKS[:2], "en"),), **changes), 6)


def test_a_search_is_planned_costed_and_simulated(tmp_path):
    plan = played.plan_of(on_real_tasks(explore=()), played.World())
    document = summary(plan, Store(Storage(tmp_path)))
    assert document["trials"] == 2 + 6 and document["populations"] == {"2-en": 2, "2-search": 6}
    assert plan_lines(document)[1:3] == [
        "search  intermediate.temperature: 1 to 5; random values stand in for proposals here",
        "search  intermediate.learning_rate: 1e-6 to 0.001 on a logarithmic scale; random values stand in for proposals here",
    ]
    told, _ = simulation(plan, Store(Storage(tmp_path)), Terms())
    assert told["trials"] == 8 and told["reached"][64] == 8


def test_data_are_prepared_for_every_value_that_changes_them():
    sweep = on_real_tasks(explore=())
    lengths = {"intermediate.max_length": Choice((64, 128)), "targets.mini_udpos.max_length": Choice((96, 128, 256))}
    plan = played.plan_of(
        dataclasses.replace(sweep, search=dataclasses.replace(sweep.search, space={**SPACE, **lengths})), played.World()
    )
    read = {(d.task, d.max_length) for s in pool_specs(plan) for d in getattr(s, "data", ())}
    assert {length for task, length in read if task in played.TASKS} == {64, 128}
    assert {length for task, length in read if task == "mini_udpos"} == {96, 128, 256}


@pytest.mark.parametrize("promote", [False, True])
def test_a_played_search_stops_promotes_resumes_and_enters_no_estimate(tmp_path, promote):
    sweep = on_real_tasks(stopping=dataclasses.replace(played.SWEEP.stopping, promote=promote))
    sweep = dataclasses.replace(sweep, search=dataclasses.replace(sweep.search, num_trials=12))
    whole, driver = played.play(tmp_path / "whole", played.plan_of(sweep, played.World()))
    for num_jobs in (3, 9, 13, None):
        _, second = played.play(tmp_path / "halves", played.plan_of(sweep, played.World()), num_jobs)
    found = [proposed(sweep, d.journal) for d in (driver, second)]
    assert found[0] == found[1] and len(found[0]) == 12
    statuses = {driver.found.trials[t.trial_id].status for t in found[0]}
    assert statuses == {"finished", "stopped"}
    assert any(e["event"] == "promoted" and "-search" in e["cell"] for e in driver.journal) == promote
    results = load_results(whole)
    rows = {row["trial_id"]: row for row in results.trials.to_pylist()}
    for trial in found[0]:
        assert (rows[trial.trial_id][RATE], rows[trial.trial_id][HEAT]) == tuple(dict(trial.values).values())
    points = collect_points(results, standings(driver.journal).trials)
    assert any(p.role == SOURCE for p in points)
    assert not any(p.role == SOURCE for index in (0, 1) for p in estimable(points, index))
