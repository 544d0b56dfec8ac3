"""What to try next: a pure function of what the journal says. For the best subset or values, not for estimates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xlray.config.axes import Axis, Setting, Values, label_of, with_values
from xlray.config.recipes import Subset
from xlray.config.search import PREPARED, SOURCE, Search, searched_subsets
from xlray.config.spaces import Choice, Domain
from xlray.config.sweep import Sweep, Trial
from xlray.errors import InputError
from xlray.phases.spec import Spec
from xlray.plan.history import Entry, History, Point, Told, Tried, history
from xlray.plan.searchers import (
    ATTEMPTS,
    Replay,
    check_searcher,
    draw_of,
    grid_points,
    optuna_points,
    random_points,
    replayed,
)
from xlray.plan.trials import SweepPlan, with_trials

NOISE = 0.5  # standard deviation of a score about the linear surrogate, that of all scores being 1
MOST_POINTS = 10_000  # of a space that is tried in order once what is drawn was tried before
TASK, AXIS, SUBSET = "task ", "vary ", "subset"  # of the names of a proposal's dimensions that are no fields


def proposed(sweep: Sweep, journal: Sequence[Entry]) -> tuple[Trial, ...]:
    """The trials that the journal says were proposed, in order."""
    own = {subset.tasks: subset for subset in reversed(_own_subsets(sweep))}
    entries = history(journal).proposals.values()
    return tuple(_rebuilt(sweep, own, entry, number) for number, entry in enumerate(entries))


def _rebuilt(sweep: Sweep, own: Mapping[tuple[str, ...], Subset], entry: Entry, position: int) -> Trial:
    tasks = tuple(sorted(entry["tasks"]))
    values = tuple((n, tuple(v) if isinstance(v, list) else v) for n, v in (entry.get("values") or {}).items())
    return _trial(sweep, own.get(tasks, Subset(tasks)), values, int(entry["seed"]), position)


def _trial(sweep: Sweep, subset: Subset, values: Values, seed: int, position: int) -> Trial:
    placed = replace(subset, source=SOURCE, chain=None, position=position, design="")
    label = label_of(values, sweep.axes)
    setting = with_values(sweep.setting, values)._replace(label=label) if values else None
    return Trial(sweep.trial_config(placed, seed, setting), SOURCE, placed, values, label)


def _own_subsets(sweep: Sweep) -> tuple[Subset, ...]:
    """The subsets that values are proposed for; () where these are proposed themselves."""
    return searched_subsets(sweep) if sweep.search is not None and not sweep.search.pool else ()


def next_trial(sweep: Sweep, journal: Sequence[Entry], replay: Replay | None = None) -> Trial | None:
    """The trial to propose next; None once there are as many as the search may make, or nothing new is left.

    Subsets are proposed at the sweep's seeds in turn. Values are proposed at its first seed alone, so that all that are
    compared have the same heads, order of examples and dropout, and the other seeds have no part in the choice. What its
    seed has tried already is not proposed again.

    Args:
        replay: what the call before left, of the same journal before it grew; without it the whole journal is read.
    """
    search = sweep.search
    if search is None:
        return None
    replay = replay or Replay()
    replay.history.read(journal)
    number = len(replay.history.proposals)
    if number >= search.num_trials:
        return None
    if not search.space:
        return _next_subset(sweep, search, replay.history, number)
    space = _Space(sweep, search)
    if search.is_replayed:
        found = replayed(replay, search, space.dims, journal, lambda point: space.trial_id(point, number))
        return None if found is None else space.trial(found, number)
    trials = (space.trial(point, number) for point in _points(space, replay.history, number))
    return next((t for t in trials if t is not None and t.trial_id not in replay.history.created), None)


def _points(space: _Space, before: History, number: int) -> Iterator[Point]:
    """Points for one proposal, the one that is wanted most first; of a small space all of them in the end."""
    dims, search, sweep = space.dims, space.search, space.sweep
    if search.method == "random":
        yield from random_points(dims, search, number)
    elif search.method == "optuna":
        told = before.tried(sweep.seeds[0], space.point, len(sweep.intermediate.rungs) - 1)
        yield from optuna_points(dims, search, number, told)
    if search.method == "grid" or math.prod(len(d.values or ()) or math.inf for d in dims.values()) <= MOST_POINTS:
        yield from grid_points(dims)


@dataclass(frozen=True)
class _Space:
    """What proposals are points of: tasks or subsets, rows of axes, and values of fields."""

    sweep: Sweep
    search: Search

    @property
    def dims(self) -> dict[str, Domain]:
        """Each dimension by its name."""
        tasks: dict[str, Domain] = {TASK + name: Choice((False, True)) for name in self.free}
        own = _own_subsets(self.sweep)
        subsets: dict[str, Domain] = {SUBSET: Choice(tuple(range(len(own))))} if len(own) > 1 else {}
        axes: dict[str, Domain] = {_title(axis): Choice(tuple(range(len(axis.rows)))) for axis in self.sweep.axes}
        return {**tasks, **subsets, **axes, **self.search.space}

    @property
    def free(self) -> list[str]:
        """The tasks of the pool that a subset may have or not; none where all subsets are the whole pool."""
        return [] if set(self.search.sizes) == {len(self.search.pool)} else sorted(self.search.pool)

    def trial(self, point: Point, number: int) -> Trial | None:
        """The trial at a point; None where its recipe is refused."""
        own = _own_subsets(self.sweep)
        if own:
            subset = own[point.get(SUBSET, 0)]
        else:
            inside = [name for name in self.free if point[TASK + name]]
            subset = Subset(of_size(inside, self.search, number))
        rows = ((axis, axis.rows[point[_title(axis)]]) for axis in self.sweep.axes)
        values = [item for axis, row in rows for item in zip(axis.fields, row, strict=True)]
        values += [(name, point[name]) for name in self.search.space]
        if not subset.tasks:
            values = [item for item in values if not item[0].startswith("intermediate.")]
        try:
            return _trial(self.sweep, subset, tuple(values), self.sweep.seeds[0], number)
        except InputError:  # values that do not go together, such as a stride above a length
            return None

    def trial_id(self, point: Point, number: int) -> str | None:
        """The id of the trial at a point; None where its recipe is refused."""
        found = self.trial(point, number)
        return None if found is None else found.trial_id

    def point(self, entry: Entry) -> Point | None:
        """Where a trial of the journal stands; None where that is outside."""
        point: Point = {}
        tasks, values, own = tuple(sorted(entry["tasks"])), entry.get("values") or {}, _own_subsets(self.sweep)
        if own:
            places = [place for place, subset in enumerate(own) if subset.tasks == tasks]
            if not places:
                return None
            point |= {SUBSET: places[0]} if len(own) > 1 else {}
        elif not set(tasks) <= set(self.search.pool) or len(tasks) not in self.search.sizes:
            return None
        point |= {TASK + name: name in tasks for name in self.free}
        for axis in self.sweep.axes:
            row = tuple(values.get(name) for name in axis.fields)
            if row not in axis.rows:
                return None
            point[_title(axis)] = axis.rows.index(row)
        for name, domain in self.search.space.items():
            value = values[name] if name in values else _field(self.sweep.setting, name)
            if not domain.holds(value):
                return None
            point[name] = value
        return point


def _title(axis: Axis) -> str:
    return AXIS + ", ".join(axis.fields)


def _field(setting: Setting, name: str) -> Any:
    """A field of a setting by its dotted name."""
    place, _, field = name.rpartition(".")
    if place.startswith("targets."):
        target = next(t for t in setting.targets if place == f"targets.{t.task}")
        return getattr(target, field)
    return getattr(setting.intermediate if place else setting, field)


def of_size(inside: Sequence[str], search: Search, number: int) -> tuple[str, ...]:
    """A choice of tasks, taken to the nearest size that is asked for by tasks drawn at random."""
    random = np.random.Generator(np.random.PCG64(draw_of(search, number)))
    kept, outside = list(inside), [name for name in sorted(search.pool) if name not in inside]
    size = min(search.sizes, key=lambda k: (abs(k - len(inside)), k))
    for _ in range(len(kept) - size):
        kept.pop(int(random.integers(len(kept))))
    for _ in range(size - len(kept)):
        kept.append(outside.pop(int(random.integers(len(outside)))))
    return tuple(sorted(kept))


def _next_subset(sweep: Sweep, search: Search, before: History, number: int) -> Trial | None:
    seed = sweep.seeds[number % len(sweep.seeds)]
    known, told = before.subsets(seed), before.observations(search)
    if search.method == "surrogate":
        tasks = propose_surrogate(search, told, known, draw_of(search, number))
    else:
        tasks = _propose_tasks(search, told, known, number)
    return None if tasks is None else _trial(sweep, Subset(tasks), (), seed, number)


def _propose_tasks(
    search: Search, told: Sequence[Told], known: set[frozenset[str]], number: int
) -> tuple[str, ...] | None:
    """One yes or no for each task, by a searcher over points."""
    dims: dict[str, Domain] = {name: Choice((False, True)) for name in sorted(search.pool)}
    points = random_points(dims, search, number)
    if search.method == "optuna":
        before = [Tried({name: name in tasks for name in dims}, (value,), True) for tasks, value in told]
        points = optuna_points(dims, search, number, before)
    for point in points:
        tasks = of_size([name for name in dims if point[name]], search, number)
        if frozenset(tasks) not in known:
            return tasks
    return None


def propose_surrogate(
    search: Search, tried: Sequence[Told], known: set[frozenset[str]], draw: int
) -> tuple[str, ...] | None:
    """Thompson sampling (Thompson 1933) over a Bayesian linear model of membership.

    Each task adds its own weight to the score (as in Li, Nguyen and Zhang 2023); weights are normal a priori, so that the
    first proposals are random. One sample of the posterior is drawn, and the subset that is best under it proposed.
    """
    pool = sorted(search.pool)
    x = np.array([[name in tasks for name in pool] for tasks, _ in tried], dtype=float).reshape(len(tried), len(pool))
    y = np.array([value for _, value in tried])
    spread = float(y.std()) if len(y) > 1 and y.std() > 0 else 1.0
    design = np.column_stack([x, np.ones(len(tried))])  # the last column is the level
    precision = np.eye(len(pool) + 1) + design.T @ design / NOISE**2
    covariance = np.linalg.inv(precision)
    mean = covariance @ design.T @ (y / spread) / NOISE**2
    random = np.random.Generator(np.random.PCG64(draw))
    root = np.linalg.cholesky((covariance + covariance.T) / 2)
    for _ in range(ATTEMPTS):
        weights = (mean + root @ random.standard_normal(len(pool) + 1))[:-1]
        order = np.argsort(-weights, kind="stable")
        size = max(search.sizes, key=lambda k: float(weights[order[:k]].sum()))
        tasks = frozenset(pool[i] for i in order[:size])
        if tasks not in known:
            return tuple(sorted(tasks))
    return None


def with_proposed(plan: SweepPlan, journal: Sequence[Entry]) -> SweepPlan:
    """The plan with the trials that were proposed so far."""
    return with_trials(plan, proposed(plan.sweep, journal)) if plan.sweep.search is not None else plan


def propose(plan: SweepPlan, journal: Sequence[Entry], replay: Replay | None = None) -> SweepPlan | None:
    """The plan with one more trial, or None where the search is over; `replay` as in `next_trial`."""
    replay = replay or Replay()
    if replay.over_at == len(journal):  # asked again, and nothing has happened
        return None
    trial = next_trial(plan.sweep, journal, replay)
    if trial is None:
        replay.over_at = len(journal)
        return None
    return with_trials(plan, (trial,))


def with_stand_ins(plan: SweepPlan, before: Sequence[Entry]) -> SweepPlan:
    """The plan with as many trials as the search may make, for its cost; which they will be is not known yet.

    Proposals that are told no more scores take their place, and values that are drawn at random: a phase costs the same
    whatever its tasks are, but for lengths.

    Args:
        before: the sweep's journal so far.
    """
    search = plan.sweep.search
    known = {entry.get("trial_id") for entry in before}
    new = (t for t in plan.trials if t.trial_id not in known)
    journal = [*before, *(_created(t) for t in new)]
    if search is not None and search.space and search.method != "grid":
        return with_trials(plan, _random_trials(plan.sweep, search, journal))
    replay = Replay()
    while (more := propose(plan, journal, replay)) is not None:
        plan, trial = more, more.trials[-1]
        journal.append(_created(trial))
    return plan


def _random_trials(sweep: Sweep, search: Search, journal: Sequence[Entry]) -> Iterator[Trial]:
    """As many new trials as the search may still make."""
    space = _Space(sweep, search)
    before = history(journal)
    known = set(before.created)
    for number in range(len(before.proposals), search.num_trials):
        trials = (space.trial(point, number) for point in random_points(space.dims, search, number))
        found = next((trial for trial in trials if trial is not None and trial.trial_id not in known), None)
        if found is None:
            return
        known.add(found.trial_id)
        yield found


def _created(trial: Trial) -> dict[str, Any]:
    place = {"tasks": list(trial.config.tasks), "seed": trial.config.seed, "role": trial.role}
    return {"event": "created", "trial_id": trial.trial_id, **place, "values": dict(trial.values)}


def pool_specs(plan: SweepPlan) -> list[Spec]:
    """Phases that read everything that a proposed trial can; they are never run.

    A trial on the whole pool, or on each of the subsets, with each value of the fields that decide what is prepared.
    """
    sweep, search = plan.sweep, plan.sweep.search
    if search is None:
        return []
    subsets = [replace(s, source=SOURCE) for s in _own_subsets(sweep)] or [Subset(search.pool, SOURCE)]
    choices: list[list[Values]] = [
        [tuple(zip(axis.fields, row, strict=True)) for row in axis.rows]
        for axis in sweep.axes
        if any(name.rpartition(".")[2] in PREPARED for name in axis.fields)
    ]
    prepared = {name: domain for name, domain in search.space.items() if name.rpartition(".")[2] in PREPARED}
    choices += [[((name, value),) for value in domain.values or ()] for name, domain in prepared.items()]
    trials = []
    for rows in itertools.product(*choices):
        values = tuple(itertools.chain.from_iterable(rows))
        trials += [_trial(sweep, subset, values, sweep.seeds[0], 0) for subset in subsets]
    whole = with_trials(replace(plan, trials=(), phases={}), trials)
    return [spec for phases in whole.phases.values() for spec in phases]


def check_proposals(sweep: Sweep) -> None:
    """Raise `InputError` for a searcher of a user that cannot be made again; nothing else of a search needs a try."""
    if sweep.search is not None and sweep.search.is_replayed:
        check_searcher(sweep.search, _Space(sweep, sweep.search).dims)
