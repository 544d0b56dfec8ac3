"""Domains of a search space: Ray Tune's own (`tune.loguniform`, `tune.choice`, ...), read into frozen values.

Tune's are recognised by their classes' names, so that a plan and a report load no Ray. What is drawn is rounded to few
digits: the value that a label shows is the one that is trained with, and that identifies the trial.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from xlray.canonical import check_types
from xlray.config.axes import short_value
from xlray.errors import InputError, require

MOST_VALUES = 1_000  # of a domain whose values are tried one by one
LEVELS = 100  # places that a continuous domain is rounded to, at least
LOG_DIGITS = 2  # digits after the first that a value on a logarithmic scale keeps


class _Range:
    """What domains of numbers have in common."""

    low: float
    high: float
    log: bool
    step: float | None

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest."""
        return self.low, self.high

    @property
    def words(self) -> str:
        """The domain for people."""
        steps = "" if self.step in (None, 1) else f" in steps of {short_value(self.step)}"
        return (
            f"{short_value(self.low)} to {short_value(self.high)}{steps}{' on a logarithmic scale' if self.log else ''}"
        )


@dataclass(frozen=True)
class Real(_Range):
    """Real numbers, both ends included.

    Attributes:
        low: the least of them.
        high: the largest.
        log: every factor counts alike, not every difference.
        step: multiples of it alone; None rounds to few digits.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        check_types(self, "Real")
        require(self.low < self.high, "low < high", (self.low, self.high), "Real")
        require(not self.log or self.low > 0, "low > 0 on a logarithmic scale", self.low, "Real")
        require(self.step is None or 0 < self.step <= self.high - self.low, "0 < step <= high - low", self.step, "Real")

    def rounded(self, value: float) -> float:
        """The nearest value that a trial may have."""
        if self.step is not None:
            kept = float(round(value / self.step) * Decimal(repr(self.step)))
        else:
            place = math.floor(math.log10((self.high - self.low) / LEVELS))
            if self.log:
                place = min(place, math.floor(math.log10(value)) - LOG_DIGITS)
            kept = round(value, -place) + 0.0  # no -0
        return min(max(kept, self.low), self.high)

    def at(self, share: float) -> float:
        """The value below which this share of the domain lies."""
        if self.log:
            return self.rounded(math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low))))
        return self.rounded(self.low + share * (self.high - self.low))

    def holds(self, value: Any) -> bool:
        """Whether a trial with this value has a place in the domain."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high and (self.step is None or self.rounded(value) == value)

    @property
    def values(self) -> tuple[float, ...] | None:
        """All of them in order; None where they are too many to try."""
        if self.step is None or (self.high - self.low) / self.step >= MOST_VALUES:
            return None
        return tuple(
            self.rounded(self.low + i * self.step) for i in range(round((self.high - self.low) / self.step) + 1)
        )


@dataclass(frozen=True)
class Whole(_Range):
    """Whole numbers, both ends included.

    Attributes:
        low: the least of them.
        high: the largest.
        log: every factor counts alike, not every difference.
        step: multiples of it alone.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        check_types(self, "Whole")
        require(self.step >= 1, "step >= 1", self.step, "Whole")
        low, high = -(-self.low // self.step) * self.step, self.high // self.step * self.step
        require(low < high, "two values at least", (self.low, self.high), "Whole")
        require(not self.log or low > 0, "low > 0 on a logarithmic scale", self.low, "Whole")
        object.__setattr__(self, "low", low)
        object.__setattr__(self, "high", high)

    def rounded(self, value: float) -> int:
        """The nearest value that a trial may have."""
        return min(max(round(value / self.step) * self.step, self.low), self.high)

    def at(self, share: float) -> int:
        """The value below which this share of the domain lies."""
        first, last = self.low // self.step, self.high // self.step + 1
        if self.log:
            place = math.exp(math.log(first) + share * (math.log(last) - math.log(first)))
        else:
            place = first + share * (last - first)
        return min(math.floor(place) * self.step, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a trial with this value has a place in the domain."""
        whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
        return whole and self.low <= value <= self.high and value % self.step == 0

    @property
    def values(self) -> tuple[int, ...] | None:
        """All of them in order; None where they are too many to try."""
        found = range(self.low, self.high + 1, self.step)
        return tuple(found) if len(found) <= MOST_VALUES else None


@dataclass(frozen=True)
class Choice:
    """One of these values.

    Attributes:
        values: in order.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_types(self, "Choice")
        require(bool(self.values), "a choice has a value", self.values, "Choice")
        for number, value in enumerate(self.values):
            law = "values of a choice are numbers, words, true, false or None"
            require(value is None or isinstance(value, str | int | float), law, value, "Choice")
            twice = any(value == other and type(value) is type(other) for other in self.values[:number])
            require(not twice, "values of a choice are distinct", value, "Choice")

    def rounded(self, value: Any) -> Any:
        """The value itself."""
        return value

    def at(self, share: float) -> Any:
        """The value below which this share of the domain lies."""
        return self.values[min(int(share * len(self.values)), len(self.values) - 1)]

    def holds(self, value: Any) -> bool:
        """Whether a trial with this value has a place in the domain."""
        return any(value == other and isinstance(value, bool) == isinstance(other, bool) for other in self.values)

    @property
    def ends(self) -> tuple[Any, Any]:
        """The first and the last."""
        return self.values[0], self.values[-1]

    @property
    def words(self) -> str:
        """The domain for people."""
        return "; ".join(map(short_value, self.values))


Domain = Real | Whole | Choice


def read_domain(given: Any, where: str, grid: bool = False) -> Domain:
    """One of Ray Tune's domains, or of these, as one of these.

    Args:
        where: the field, for messages.
        grid: `tune.grid_search` has a meaning: every value is tried.

    Raises:
        InputError: what is given is no domain, or one that cannot be searched or drawn from again.
    """
    if isinstance(given, Real | Whole | Choice):
        return given
    if isinstance(given, Mapping) and set(given) == {"grid_search"}:
        require(
            grid, "tune.grid_search needs method='grid'; `vary` crosses values with subsets and seeds", given, where
        )
        return Choice(_items(given["grid_search"]))
    kind, module = type(given).__name__, type(given).__module__
    if not module.startswith("ray.tune.") or kind not in ("Float", "Integer", "Categorical", "Function"):
        raise InputError(
            f"{where} must have a domain of Ray Tune, such as tune.loguniform(1e-6, 1e-4) or tune.choice([1, 2]), but got "
            f"{given!r}."
        )
    if kind == "Function":
        raise InputError(
            f"{where}: tune.sample_from calls a function, which a resumed sweep cannot recreate; name a domain."
        )
    try:
        return Choice(_items(given.categories)) if kind == "Categorical" else _number_domain(given, where)
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def _number_domain(given: Any, where: str) -> Real | Whole:
    sampler = given.get_sampler()
    step = getattr(sampler, "q", None)
    names = {parent.__name__ for parent in type(getattr(sampler, "sampler", sampler)).__mro__}
    if not names & {"Uniform", "LogUniform"}:
        raise InputError(f"{where}: tune.randn has no bounds, so that its values cannot be checked; use tune.uniform.")
    if isinstance(given.cast(1), float):
        return Real(given.lower, given.upper, "LogUniform" in names, step)
    # Tune's whole numbers end before `upper`, unless they are multiples of more than 1.
    high = given.upper if step not in (None, 1) else given.upper - 1
    return Whole(given.lower, high, "LogUniform" in names, step or 1)


def _items(given: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(value.item() if hasattr(value, "item") and not isinstance(value, str) else value for value in given)


def extremes(space: Mapping[str, Domain]) -> Iterable[dict[str, Any]]:
    """Points of a space at which recipes are tried: every corner, and there each value of each domain that has few.

    Of more than six domains the two opposite corners only.
    """
    names = list(space)
    corners: Sequence[int] = range(2 ** len(names)) if len(names) <= 6 else (0, 2 ** len(names) - 1)
    for corner in corners:
        yield {name: space[name].ends[corner >> place & 1] for place, name in enumerate(names)}
    for place in (0, 1):
        corner_values = {name: space[name].ends[place] for name in names}
        for name in names:
            for value in (space[name].values or ())[1:-1]:
                yield {**corner_values, name: value}
