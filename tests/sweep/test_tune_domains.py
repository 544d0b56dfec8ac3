"""Ray Tune's own domains, searchers and what is read of them."""

import dataclasses

import pytest
from ray import tune
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from xlray.config.recipes import Encoder, Intermediate, Subset, Target
from xlray.config.search import Search
from xlray.config.spaces import Choice, Real, Whole, read_domain
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.plan.jobs import created_entry
from xlray.plan.search import check_proposals, next_trial
from xlray.plan.searchers import Replay, tune_domain

pytestmark = pytest.mark.ray

READ = (
    (tune.uniform(0.0, 0.5), Real(0.0, 0.5)),
    (tune.quniform(0.0, 0.5, 0.1), Real(0.0, 0.5, step=0.1)),
    (tune.loguniform(1e-6, 1e-4), Real(1e-6, 1e-4, log=True)),
    (tune.qloguniform(1e-6, 1e-4, 1e-6), Real(1e-6, 1e-4, log=True, step=1e-6)),
    (tune.randint(1, 9), Whole(1, 8)),
    (tune.qrandint(8, 64, 8), Whole(8, 64, step=8)),
    (tune.qrandint(1, 9, 1), Whole(1, 8)),
    (tune.lograndint(1, 1_001), Whole(1, 1_000, log=True)),
    (tune.qlograndint(8, 64, 8), Whole(8, 64, log=True, step=8)),
    (tune.choice(["linear", "constant"]), Choice(("linear", "constant"))),
)


@pytest.mark.parametrize(("given", "read"), READ)
def test_each_domain_of_tune_is_read_and_made_again(given, read):
    assert read_domain(given, "field") == read == read_domain(tune_domain(read), "field")
    if not isinstance(read, Choice):
        assert all(read.low <= value <= read.high for value in given.sample(size=200))
        assert given.lower <= read.low and read.high <= given.upper


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (tune.randn(0.0, 1.0), "tune.randn has no bounds"),
        (tune.qrandn(0.0, 1.0, 0.1), "tune.randn has no bounds"),
        (tune.sample_from(lambda config: 1), "tune.sample_from calls a function"),
        (tune.grid_search([1, 2]), "tune.grid_search needs method='grid'"),
        (tune.uniform(0.5, 0.5), "low < high"),
        (tune.randint(3, 4), "two values at least"),
        (tune.choice([]), "a choice has a value"),
        (tune.choice([[1], [2]]), "values of a choice are numbers, words"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_line(given, message):
    with pytest.raises(InputError, match=f"field: .*{message}") as caught:
        read_domain(given, "field")
    assert "\n" not in str(caught.value)


RATE, HEAT = "intermediate.learning_rate", "intermediate.temperature"
SPACE = {RATE: tune.loguniform(1e-6, 1e-4), HEAT: tune.choice([1, 3, 5])}
SWEEP = Sweep(
    "s",
    Encoder("encoder"),
    measure=(Subset(("a", "b"), "en"),),
    intermediate=Intermediate((64,), batch_size=16, warmup_examples=0),
    targets=(Target("panx"),),
)


def play(sweep, journal, until, replay=None):
    journal, trials = list(journal), []
    while len(trials) < until and (trial := next_trial(sweep, journal, replay)) is not None:
        rate = trial.config.intermediate.learning_rate
        place = {"trial_id": trial.trial_id, "cell": trial.cell, "role": trial.role, "rung_index": 0}
        rung = {"event": "rung", **place, "score": 50 + 1e5 * rate, "decision": "continue", "reason": ""}
        journal += [created_entry(trial), rung, {"event": "finished", "trial_id": trial.trial_id}]
        trials.append(trial)
    return trials, journal


@pytest.mark.parametrize("method", [lambda: OptunaSearch(seed=3), OptunaSearch(seed=3), "grid"])
def test_a_searcher_of_tune_resumes_where_it_was_killed(method):
    space = {RATE: tune.grid_search([1e-6, 1e-5, 1e-4]), HEAT: tune.choice([1, 3, 5])} if method == "grid" else SPACE
    sweep = dataclasses.replace(SWEEP, search=Search(space=space, num_trials=16, method=method))
    check_proposals(sweep)
    whole, journal = play(sweep, (), 99, Replay())
    assert len(whole) == (9 if method == "grid" else 16)
    for kept in (3, 7):
        assert play(sweep, journal[: 3 * kept], 99)[0] == whole[kept:]


def test_a_searcher_may_wait_for_what_runs():
    method = ConcurrencyLimiter(OptunaSearch(seed=1), max_concurrent=2)
    sweep = dataclasses.replace(SWEEP, search=Search(space=SPACE, num_trials=6, method=method))
    journal, replay = [], Replay()
    for _ in range(2):
        journal.append(created_entry(next_trial(sweep, journal, replay)))
    assert next_trial(sweep, journal, replay) is None
    journal.append({"event": "failed", "trial_id": journal[0]["trial_id"]})
    assert next_trial(sweep, journal, replay) is not None


def test_a_searcher_without_a_seed_or_with_a_space_is_refused():
    for method, message in (
        (OptunaSearch, "must suggest the same when it is made again"),
        (lambda: OptunaSearch(tune_domains(), metric="loss", mode="min"), "must have no space, metric or mode"),
    ):
        with pytest.raises(InputError, match=message):
            check_proposals(dataclasses.replace(SWEEP, search=Search(space=SPACE, num_trials=6, method=method)))


def tune_domains():
    import optuna

    return {RATE: optuna.distributions.FloatDistribution(1e-6, 1e-4)}
