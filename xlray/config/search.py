"""Searches: which subsets and which values of fields are proposed from the scores so far."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from xlray.canonical import check_types
from xlray.config.axes import (
    ENCODER,
    MOST_TRIALS,
    Setting,
    Values,
    check_name,
    fields_of,
    fitted_value,
    label_of,
    with_values,
    without_values,
)
from xlray.config.recipes import Subset
from xlray.config.spaces import Choice, Domain, Real, Whole, extremes, read_domain
from xlray.errors import InputError, require

if TYPE_CHECKING:
    from xlray.config.sweep import Sweep

SOURCE = "search"  # the second half of the cells of proposed trials, and their role
METHODS = ("surrogate", "optuna", "random", "grid")
PREPARED = ("max_length", "stride", "examples_per_task")  # data are read and tokenised for each value before the start


@dataclass(frozen=True)
class Search:
    """Adaptive search for the best subset, the best values of fields, or both: proposed from the scores so far.

    Proposals begin once the sweep's own trials are started. What was chosen for its score is no sample: reports estimate
    nothing from these trials. They run as `explore` trials do.

    Attributes:
        pool: names of the tasks to choose from; () proposes values for the sweep's own subsets.
        sizes: numbers of tasks that a subset may have.
        num_trials: proposals in all. With a space every one is at the sweep's first seed; else seeds take turns.
        method: "surrogate" (linear in membership, Thompson sampling; the default without a space), "optuna" (TPE, Ray Tune's
            `OptunaSearch`; the default with one), "random", "grid" (every point, in order), or a `ray.tune.search.Searcher`
            that was told nothing yet, or a function that makes one. It must propose the same when it is made again.
        seed: of the draws.
        space: fields, as `vary` names them, to domains of Ray Tune: `{"intermediate.learning_rate": tune.loguniform(1e-6,
            1e-4), "intermediate.temperature": tune.choice([1, 3, 5])}`.
    """

    pool: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    num_trials: int = 0
    method: Any = None
    seed: int = 0
    space: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self, "Search")
        require(isinstance(self.space, Mapping), "space maps fields to domains", self.space, "Search")
        require(bool(self.pool or self.space), "pool or space is not empty", (), "Search")
        require(len(set(self.pool)) == len(self.pool), "tasks of the pool are distinct", self.pool, "Search")
        sizes_fit = bool(self.sizes) == bool(self.pool) and all(1 <= size <= len(self.pool) for size in self.sizes)
        require(sizes_fit, f"1 <= size <= {len(self.pool)} (the pool)", self.sizes, "Search")
        require(self.num_trials >= 1, "num_trials >= 1", self.num_trials, "Search")
        require(self.num_trials <= MOST_TRIALS, f"num_trials <= {MOST_TRIALS:,}", self.num_trials, "Search")
        require(self.seed >= 0, "seed >= 0", self.seed, "Search")
        method = self.method or ("optuna" if self.space else "surrogate")
        object.__setattr__(self, "method", method)
        if not isinstance(method, str):
            made = callable(method) or all(hasattr(method, name) for name in ("suggest", "on_trial_complete"))
            require(made, f"method in {METHODS}, or a searcher of Ray Tune", method, "Search")
        else:
            require(method in METHODS, f"method in {METHODS}, or a searcher of Ray Tune", method, "Search")
        require(
            not self.space or method != "surrogate", "the surrogate knows subsets alone", list(self.space), "Search"
        )
        require(not self.pool or method != "grid", "a grid is over a space alone, without a pool", self.pool, "Search")
        read = {name: read_domain(v, f"Search: {name}", method == "grid") for name, v in self.space.items()}
        object.__setattr__(self, "space", read)
        endless = [name for name, domain in read.items() if method == "grid" and domain.values is None]
        require(not endless, "a grid is over choices, whole numbers and multiples of a step", endless, "Search")

    @property
    def title(self) -> str:
        """The method in words; of a searcher its class, or the function that makes it."""
        if isinstance(self.method, str):
            return self.method
        named = self.method if hasattr(self.method, "__qualname__") else type(self.method)
        return f"{named.__module__}.{named.__qualname__}"

    @property
    def is_replayed(self) -> bool:
        """Whether proposals come from a searcher that a user handed over."""
        return not isinstance(self.method, str)

    def new_searcher(self) -> Any:
        """The user's searcher, told nothing yet."""
        is_maker = callable(self.method) and (isinstance(self.method, type) or not hasattr(self.method, "suggest"))
        return self.method() if is_maker else copy.deepcopy(self.method)


def searched_subsets(sweep: Sweep) -> tuple[Subset, ...]:
    """The subsets of its own that a sweep's search without a pool proposes values for, each once."""
    own = {(s.tasks, s.caps, s.examples_per_task): s for s in (*sweep.measure, *sweep.explore)}
    return tuple(s for s in own.values() if s.tasks) or tuple(own.values())


def checked_search(sweep: Sweep, where: str) -> Search:
    """The search of a sweep with choices of the types of their fields.

    Raises:
        InputError: a field that is not there or not of a trial's identity, or is an axis of `vary`; values of a wrong type, or
            that a recipe refuses; a domain of endless values where data are prepared for each.
    """
    search = sweep.search
    assert search is not None
    where = f"{where}: search"
    known = fields_of(sweep.setting)
    varied = {name for axis in sweep.axes for name in axis.fields}
    space: dict[str, Domain] = {}
    for name, domain in search.space.items():
        check_name(name, known, [f.name for f in fields(type(sweep))], where)
        require(name != ENCODER, "a search has one encoder: run a sweep for each", name, where)
        require(name not in varied, f"{name} is in vary or in space", "both", where)
        space[name] = _of_type(domain, name, known[name], where)
    subsets = searched_subsets(sweep)
    inside = sorted(name for name in space if name.startswith("intermediate."))
    law = "a subset has tasks where the intermediate recipe is searched; without any it changes nothing"
    require(bool(search.pool) or any(subset.tasks for subset in subsets) or not inside, law, inside, where)
    size = "intermediate.examples_per_task"
    sizes = [] if search.pool else [s.examples_per_task for s in subsets if s.examples_per_task is not None]
    require(not (sizes and size in space), f"where {size} is searched no subset has a size", sizes[:1], where)
    seen: set[Values] = set()
    for values in map(_items, extremes(space)):
        of_sweep = tuple(item for item in values if "." not in item[0])
        try:
            setting = with_values(sweep.setting, values)
            if of_sweep and of_sweep not in seen:
                replace(sweep, search=None, vary={}, **without_values(setting))
        except InputError as error:
            raise InputError(f"{where}: {label_of(values)}: {error}") from None
        seen.add(of_sweep)
    return replace(search, space=space)


def extreme_settings(sweep: Sweep) -> Iterator[Setting]:
    """What trials are trained with at the ends of the space."""
    for values in map(_items, extremes(sweep.search.space)) if sweep.search is not None and sweep.search.space else ():
        yield with_values(sweep.setting, values)


def _items(point: Mapping[str, Any]) -> Values:
    return tuple(point.items())


def _of_type(domain: Domain, name: str, declared: Any, where: str) -> Domain:
    if isinstance(domain, Choice):
        return Choice(tuple(fitted_value(value, name, declared, where) for value in domain.values))
    wanted = next(
        (kind for kind in (float, int) if declared is kind or kind in getattr(declared, "__args__", ())), None
    )
    if wanted is None:
        raise InputError(f"{where}: {name} is no number, so that it must have a tune.choice, but got {domain}.")
    if wanted is int and isinstance(domain, Real):
        law = f"{name} is a whole number, so that it must have tune.randint, tune.qrandint, tune.lograndint or tune.choice"
        raise InputError(f"{where}: {law}, but got {domain}.")
    if name.rpartition(".")[2] in PREPARED:
        law = f"{name} must have a tune.choice, since data are prepared for each of its values before the start"
        raise InputError(f"{where}: {law}, but got {domain}.")
    if wanted is float and isinstance(domain, Whole):
        return Real(domain.low, domain.high, domain.log, domain.step)
    return domain


def check_search(sweep: Sweep) -> None:
    """Raise `InputError` where a search cannot be made: names of its own, or a package that is missing."""
    if sweep.search is None:
        return
    if any(subset.source == SOURCE for subset in (*sweep.measure, *sweep.explore)):
        raise InputError(
            f"Sweep({sweep.name!r}): the source {SOURCE!r} is that of proposed subsets, but a subset has it."
        )
    if sweep.search.method == "optuna" and importlib.util.find_spec("optuna") is None:
        raise InputError(
            "search: method 'optuna' needs the package optuna, but it is not installed: `pip install optuna`, or "
            "method='random'."
        )
