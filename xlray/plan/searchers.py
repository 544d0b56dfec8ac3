"""Where proposals come from: points of a space of named domains, by Optuna through Ray Tune, at random, in order, or by a
searcher of Ray Tune's that a user hands over.

Optuna's, random and grid are pure functions of what was tried: nothing of them outlives a proposal. A user's searcher is
told what happened in the journal's order, so that one which is made again after a crash stands where the other stood.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xlray.config.search import Search
from xlray.config.spaces import Choice, Domain, Real
from xlray.errors import InputError
from xlray.plan.history import History, Point, Tried

ATTEMPTS = 200  # points that were tried before, or are refused by a recipe, in a row
METRIC = "score"


def draw_of(search: Search, *place: int) -> int:
    """A whole number that is drawn for a place, the same on every machine."""
    text = "/".join(map(str, (search.seed, *place)))
    return int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)


def random_points(dims: Mapping[str, Domain], search: Search, number: int) -> Iterator[Point]:
    """Points for one proposal, each domain drawn evenly on its scale."""
    for attempt in range(ATTEMPTS):
        random = np.random.Generator(np.random.PCG64(draw_of(search, number, attempt)))
        yield {name: domain.at(float(random.random())) for name, domain in dims.items()}


def grid_points(dims: Mapping[str, Domain]) -> Iterator[Point]:
    """Every point of finite domains, the last one fastest."""
    values = [domain.values or () for domain in dims.values()]
    return (dict(zip(dims, row, strict=True)) for row in itertools.product(*values))


def optuna_points(dims: Mapping[str, Domain], search: Search, number: int, tried: Sequence[Tried]) -> Iterator[Point]:
    """Ray Tune's searcher over Optuna's TPE (Bergstra et al. 2011), multivariate, told all that was tried.

    A trial that was stopped, or still runs, counts below all that have reported the last rung, by the furthest rung that it
    has reported and its score there; so no point is proposed twice while its trial runs.
    """
    import optuna
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        seed = draw_of(search, number) % 2**32
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    searcher = OptunaSearch(
        {name: _distribution(domain) for name, domain in dims.items()}, metric=METRIC, mode="max", sampler=sampler
    )
    for one in tried:
        last = one.scores[-1] if one.ended else None
        searcher.add_evaluated_point(one.point, last, pruned=not one.ended, intermediate_values=list(one.scores))
    for attempt in range(ATTEMPTS):
        found = searcher.suggest(f"attempt-{attempt}")
        yield {name: domain.rounded(found[name]) for name, domain in dims.items()}


def _distribution(domain: Domain) -> Any:
    """A domain as Optuna's; multiples on a logarithmic scale, which Optuna has not, are rounded to afterwards."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choice):
        return CategoricalDistribution(domain.values)
    if isinstance(domain, Real):
        return FloatDistribution(domain.low, domain.high, log=domain.log, step=None if domain.log else domain.step)
    return IntDistribution(domain.low, domain.high, log=domain.log, step=1 if domain.log else domain.step)


def tune_domain(domain: Domain) -> Any:
    """A domain as Ray Tune's."""
    from ray import tune

    if isinstance(domain, Choice):
        return tune.choice(list(domain.values))
    if isinstance(domain, Real):
        if domain.step is None:
            return (tune.loguniform if domain.log else tune.uniform)(domain.low, domain.high)
        return (tune.qloguniform if domain.log else tune.quniform)(domain.low, domain.high, domain.step)
    if domain.step == 1:
        return (tune.lograndint if domain.log else tune.randint)(domain.low, domain.high + 1)
    return (tune.qlograndint if domain.log else tune.qrandint)(domain.low, domain.high, domain.step)


def make_searcher(search: Search, dims: Mapping[str, Domain]) -> Any:
    """The user's searcher, told of the space and of nothing else.

    Raises:
        InputError: it cannot be made, or has a space or a metric of its own.
    """
    try:
        searcher = search.new_searcher()
        space = {name: tune_domain(domain) for name, domain in dims.items()}
        taken = searcher.set_search_properties(METRIC, "max", space)
    except Exception as error:  # a border: whatever a searcher of somebody else raises
        raise InputError(f"search: {search.title} cannot be made: {_first_line(error)}") from error
    if not taken:
        raise InputError(f"search: {search.title} must have no space, metric or mode of its own, but has one.")
    return searcher


def check_searcher(search: Search, dims: Mapping[str, Domain]) -> None:
    """Raise `InputError` for a searcher of a user that does not suggest the same when it is made again."""
    found = []
    for _ in range(2):
        searcher = make_searcher(search, dims)
        found.append([suggested(searcher, search, f"check-{number}") for number in range(2)])
    if found[0] != found[1]:
        raise InputError(
            f"search: {search.title} must suggest the same when it is made again, so that a killed sweep resumes; give it a "
            f"seed, but got {found[0][0]} and {found[1][0]}."
        )


def suggested(searcher: Any, search: Search, name: str) -> Any:
    """What a searcher suggests: a point, None (wait) or "FINISHED".

    Raises:
        InputError: it raises an error of its own.
    """
    try:
        return searcher.suggest(name)
    except Exception as error:  # a border: whatever a searcher of somebody else raises
        raise InputError(f"search: {search.title} failed to suggest: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@dataclass
class Replay:
    """What a driver keeps between proposals: the history, and a user's searcher with how much of the journal it was told.

    Attributes:
        history: what was read of the journal.
        over_at: entries of the journal at which there was nothing to propose.
        searcher: None before the first proposal.
        position: entries of the journal that it was told.
        suggestions: names that it was asked for.
        known: ids of the trials that were created so far.
        names: trial to the name under which the searcher knows it.
        open: names that it was not told the end of.
        reported: trial to its last score.
        waiting: a trial that it has suggested and that is not in the journal yet, and its name.
    """

    history: History = field(default_factory=History)
    over_at: int = -1
    searcher: Any = None
    position: int = 0
    suggestions: int = 0
    known: set[str] = field(default_factory=set)
    names: dict[str, str] = field(default_factory=dict)
    open: set[str] = field(default_factory=set)
    reported: dict[str, tuple[int, float]] = field(default_factory=dict)
    waiting: tuple[str, str] | None = None


Identify = Callable[[Point], str | None]  # the id of the trial at a point; None where a recipe refuses it


def replayed(
    replay: Replay, search: Search, dims: Mapping[str, Domain], journal: Sequence[Mapping[str, Any]], identify: Identify
) -> Point | None:
    """The point that a user's searcher suggests next, once it was told what the journal says and it was not told yet.

    It is told as Ray Tune tells it: scores as they are reported, and of the end the last score, or that it is an error. A
    suggestion that was tried before is told as an error, and another one asked for.

    Returns:
        None where it has no more, or waits for what runs.

    Raises:
        InputError: it suggests otherwise than it did when the journal was written.
    """
    if replay.searcher is None:
        replay.searcher = make_searcher(search, dims)
    for entry in journal[replay.position :]:
        _tell(replay, search, dims, entry, identify)
    replay.position = len(journal)
    if replay.waiting is not None:  # it was asked before, and its trial has not been created
        raise InputError(f"search: the trial {replay.waiting[0]} was proposed, but not created.")
    found = _ask(replay, search, dims, identify)
    if found is None:
        return None
    point, trial_id, name = found
    replay.waiting = (trial_id, name)
    return point


def _ask(
    replay: Replay, search: Search, dims: Mapping[str, Domain], identify: Identify
) -> tuple[Point, str, str] | None:
    """A new point with the id of its trial and its name."""
    for _ in range(ATTEMPTS):
        name = f"proposal-{replay.suggestions}"
        found = suggested(replay.searcher, search, name)
        if not isinstance(found, Mapping):
            return None
        replay.suggestions += 1
        point = {key: domain.rounded(found[key]) for key, domain in dims.items()}
        trial_id = identify(point)
        if trial_id is not None and trial_id not in replay.known:
            return point, trial_id, name
        replay.searcher.on_trial_complete(name, error=True)
    return None


def _tell(
    replay: Replay, search: Search, dims: Mapping[str, Domain], entry: Mapping[str, Any], identify: Identify
) -> None:
    event, trial_id = entry["event"], entry.get("trial_id", "")
    if event == "created":
        if entry.get("role") == "search" and trial_id not in replay.known:
            waiting, replay.waiting = replay.waiting, None
            if waiting is None:
                found = _ask(replay, search, dims, identify)
                waiting = found and found[1:]
            if waiting is None or waiting[0] != trial_id:
                raise InputError(
                    f"search: {search.title} suggests otherwise than it did before ({entry.get('label') or trial_id} then): "
                    f"undo what was changed of its space, seed or version, or let method='optuna' continue."
                )
            replay.names[trial_id] = waiting[1]
            replay.open.add(trial_id)
        replay.known.add(trial_id)
    elif trial_id in replay.open:
        _report(replay, entry)


def _report(replay: Replay, entry: Mapping[str, Any]) -> None:
    event, trial_id, name = entry["event"], entry["trial_id"], replay.names[entry["trial_id"]]
    if event == "rung" and isinstance(entry["score"], int | float) and math.isfinite(entry["score"]):
        replay.reported[trial_id] = (entry["rung_index"] + 1, float(entry["score"]))
        replay.searcher.on_trial_result(name, _result(replay.reported[trial_id]))
    elif event == "rung":  # it diverged
        replay.reported.pop(trial_id, None)
    elif event in ("finished", "stopped", "failed"):
        known = None if event == "failed" else replay.reported.get(trial_id)
        replay.open.discard(trial_id)
        replay.searcher.on_trial_complete(name, None if known is None else _result(known), error=known is None)


def _result(reported: tuple[int, float]) -> dict[str, Any]:
    return {"training_iteration": reported[0], METRIC: reported[1]}
