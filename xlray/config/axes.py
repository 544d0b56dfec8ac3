"""Axes: fields of a trial's recipes that a sweep varies; every point of their grid is crossed with subsets and seeds."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from xlray.canonical import declared_types, fitted, require_numbers, to_plain
from xlray.config.recipes import Encoder, Intermediate, Pretraining, Target, encoder_name
from xlray.errors import InputError, nearest, require

MOST_TRIALS = 1_000_000
Values = tuple[tuple[str, Any], ...]  # (dotted field, value), in the order of the axes

ENCODER = "encoder"
HEADS = (ENCODER, "intermediate", "targets", "dropout", "clip_norm", "precision")
# What is the same in every trial of a sweep: where it is measured, and in what.
FIXED: Mapping[type, tuple[str, ...]] = {Intermediate: ("rungs",), Target: ("task", "english", "pivots")}
# Why a field of the sweep is no axis.
SWEEP_FIELDS = {
    "execution": "changes the speed only",
    "seeds": "is a field of the sweep itself: `seeds=(0, 1, 2)` are crossed with every subset and value",
    **dict.fromkeys(
        ("measure", "explore"), "is a field of the sweep itself: each of its subsets is trained with every value"
    ),
}
SHORT = {
    "learning_rate": "lr",
    "temperature": "T",
    "batch_size": "batch",
    "num_examples": "examples",
    "probe_examples": "probe",
    "warmup_examples": "warmup",
    "warmup_ratio": "warmup",
    "cooldown_ratio": "cooldown",
    "weight_decay": "decay",
    "examples_per_task": "per-task",
    "scaled_losses": "scaled",
    "max_length": "length",
    "retrieval_layer": "layer",
    "clip_norm": "clip",
}


@dataclass(frozen=True)
class Axis:
    """A field that varies, or several that vary together.

    Attributes:
        fields: their dotted names.
        rows: the values of the fields, one row per place on the axis.
    """

    fields: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


class Setting(NamedTuple):
    """What the trials at one point of the grid are trained with, the values that it has of the axes, and these in words.

    Of an encoder the value is its name, as journals and tables have it.
    """

    encoder: Encoder | Pretraining
    intermediate: Intermediate
    targets: tuple[Target, ...]
    dropout: float
    clip_norm: float
    precision: str
    values: Values = ()
    label: str = ""


def fields_of(setting: Setting) -> dict[str, Any]:
    """Every field that may vary by its dotted name, and the type that it is declared with."""
    found: dict[str, Any] = {ENCODER: Encoder | Pretraining, "dropout": float, "clip_norm": float, "precision": str}
    recipes: list[tuple[str, Any]] = [("intermediate", setting.intermediate)]
    recipes += [(f"targets.{target.task}", target) for target in setting.targets]
    for place, recipe in recipes:
        kind: Any = type(recipe)
        types = declared_types(kind).items()
        found |= {f"{place}.{name}": declared for name, declared in types if name not in FIXED[kind]}
    return found


def axes_of(vary: Mapping[Any, Any], setting: Setting, known: Iterable[str], where: str) -> tuple[Axis, ...]:
    """The axes of `Sweep.vary`, with values of the types that their fields are declared with.

    Args:
        vary: dotted field, or tuple of them, to values, or to tuples with a value for each.
        setting: of a sweep that varies nothing.
        known: names of the sweep's fields.

    Raises:
        InputError: a field that is not there or not of a trial's identity, or is varied twice; no values, one twice, or of a
            wrong type; rows without a value for each field; encoders without names of their own, or none but the sweep's own.
    """
    require(isinstance(vary, Mapping), "vary maps fields to their values", vary, where)
    fields = fields_of(setting)
    axes = []
    for key, given in vary.items():
        names = key if isinstance(key, tuple) else (key,)
        require(bool(names), "an axis names a field", key, where)
        for name in names:
            check_name(name, fields, known, f"{where}: vary")
        axis = Axis(names, tuple(_rows(names, isinstance(key, tuple), given, fields, where)))
        if key == ENCODER:  # as `--set` writes it, a tuple of one name, one is left of several
            law = f"{ENCODER} has another value than the sweep's own encoder"
            require(axis.rows != ((setting.encoder,),), law, given, f"{where}: vary")
        axes.append(axis)
    for name, number in Counter(name for axis in axes for name in axis.fields).items():
        require(number == 1, f"{name} is in one axis", f"{number} times", f"{where}: vary")
    return tuple(axes)


def check_name(name: Any, fields: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise `InputError` unless a name is that of a field that may differ between the trials of a sweep.

    Args:
        fields: those that may.
        known: names of the sweep's fields.
    """
    if name in fields:
        return
    law = f"{where}: an axis must be a field of a trial's identity"
    head = name.partition(".")[0] if isinstance(name, str) else ""
    if head == ENCODER:
        raise InputError(f"{law}, but {name!r} is a part of one: `{ENCODER}` varies as a whole.")
    if head in known and head not in HEADS:
        raise InputError(f"{law}, but {name!r} {SWEEP_FIELDS.get(head, 'is a field of the sweep itself')}.")
    own = head in ("targets", "intermediate") and name.rpartition(".")[2] in {
        f for fixed in FIXED.values() for f in fixed
    }
    if own and any(other.startswith(f"{name.rpartition('.')[0]}.") for other in fields):
        raise InputError(f"{law}, but {name!r} says where trials are measured, which is the same for all of them.")
    raise InputError(f"{law}, but there is no {name!r}.{nearest_field(str(name), fields)}")


def nearest_field(name: str, fields: Iterable[str]) -> str:
    """` Did you mean ...?` for the fields that end in `name`, or have it for their short name; else for the nearest one.

    Args:
        fields: dotted names.
    """
    meant = [field for field in fields if name in (field.rpartition(".")[2], short_name(field))]
    places = dict.fromkeys(re.sub(r"^targets\..*\.", "targets.TASK.", field) for field in meant)
    shown = meant if len(meant) == 1 else list(places)
    return f" Did you mean {' or '.join(map(repr, shown))}?" if shown else nearest(name, fields)


def _rows(
    names: tuple[str, ...], paired: bool, given: Any, fields: Mapping[str, Any], where: str
) -> Iterator[tuple[Any, ...]]:
    """The rows of an axis, checked; labels are what tells them apart in names of cells."""
    title = ", ".join(names)
    if isinstance(given, (str, bytes, Mapping, Set, Iterator)) or not isinstance(given, Iterable):
        why = " a set, which has no order:" if isinstance(given, Set) else ""
        why = " an iterator, which is used up after one reading:" if isinstance(given, Iterator) else why
        raise InputError(f"{where}: vary: {title} must have a tuple of values, but got{why} {given!r}.")
    seen, encoders = dict[str, None](), dict[Any, Any]()
    for row in given:
        values = row if paired else (row,)
        if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != len(names):
            law = f"{title} are varied together, so that each row must have {len(names)} values"
            raise InputError(f"{where}: vary: {law}, but got {row!r}.")
        fitting = tuple(fitted_value(v, n, fields[n], f"{where}: vary") for v, n in zip(values, names, strict=True))
        _check_encoders(fitting, encoders, f"{where}: vary")
        label = label_of(tuple(zip(names, fitting, strict=True)))
        require(label not in seen, f"values of {title} are distinct", row, f"{where}: vary")
        seen[label] = None
        yield fitting
    require(bool(seen), f"{title} has at least one value", given, f"{where}: vary")


def _check_encoders(row: Sequence[Any], known: dict[Any, Any], where: str) -> None:
    """Raise `InputError` where an encoder has no name, or that of another one, or has two.

    Args:
        known: names to encoders and encoders to names of the rows before; gets those of this one.
    """
    for value in row:
        if isinstance(value, Encoder | Pretraining):
            name = encoder_name(value)
            require(bool(name), "an encoder that varies has a name", value, where)
            apart = known.setdefault(name, value) == value and known.setdefault(value, name) == name
            require(
                apart, f"each encoder has one name, of its own: `{type(value).__name__}(..., name=...)`", name, where
            )


def fitted_value(value: Any, name: str, declared: Any, where: str) -> Any:
    """A value as one of the type that its field is declared with; raises `InputError` where it is none."""
    value = tuple(value) if isinstance(value, list) else value
    require_numbers(value, name, where)
    try:
        return fitted(value, declared)
    except TypeError:
        kind = declared.__name__ if isinstance(declared, type) else str(declared).replace("xlray.config.recipes.", "")
        raise InputError(f"{where}: {name} must have values of type {kind}, but got {value!r}.") from None


def check_recipes(axes: Sequence[Axis], setting: Setting, check: Callable[[Setting], object], where: str) -> None:
    """Make every recipe of the grid once, so that one which is refused is refused before anything is planned.

    Args:
        check: raises `InputError` for what a setting may not have that is no recipe's.

    Raises:
        InputError: a recipe, or `check`, refuses its values; they are named.
    """
    for head in HEADS:
        inside = functools.partial(_is_inside, head)
        for values in _points(axes, inside) if any(inside(name) for axis in axes for name in axis.fields) else ():
            try:
                check(with_values(setting, values))
            except InputError as error:
                raise InputError(f"{where}: vary: {label_of(values)}: {error}") from None


def _is_inside(head: str, name: str) -> bool:
    return name.partition(".")[0] == head


def _points(axes: Sequence[Axis], wanted: Callable[[str], bool]) -> Iterator[Values]:
    """The points of the grid in the fields that are wanted, each once."""
    projected = []
    for axis in axes:
        kept = [i for i, name in enumerate(axis.fields) if wanted(name)]
        parts = (tuple((axis.fields[i], row[i]) for i in kept) for row in axis.rows)
        projected.append(list({label_of(part): part for part in parts}.values()))
    for rows in itertools.product(*projected):
        yield tuple(itertools.chain.from_iterable(rows))


def settings(setting: Setting, axes: Sequence[Axis], with_tasks: bool) -> tuple[Setting, ...]:
    """Every point of the grid, the last axis fastest.

    Args:
        with_tasks: without an intermediate phase its recipe changes nothing, and the axes of it are left out.
    """
    points = _points(axes, lambda name: with_tasks or not name.startswith("intermediate."))
    return tuple(with_values(setting, values)._replace(label=label_of(values, axes)) for values in points)


def grid_size(axes: Sequence[Axis]) -> int:
    """Points of the grid."""
    return math.prod(len(axis.rows) for axis in axes)


def with_values(setting: Setting, values: Values) -> Setting:
    """The setting with fields replaced.

    Raises:
        InputError: a recipe refuses them.
    """
    changed: dict[str, Any] = {name: value for name, value in values if "." not in name}
    own = tuple((name.removeprefix("intermediate."), v) for name, v in values if name.startswith("intermediate."))
    if own:
        changed["intermediate"] = replaced(setting.intermediate, own)
    if any(name.startswith("targets.") for name, _ in values):
        changed["targets"] = tuple(_of_target(target, values) for target in setting.targets)
    return setting._replace(**changed, values=tuple((name, worded(value)) for name, value in values))


def without_values(setting: Setting) -> dict[str, Any]:
    """The fields of a sweep that a setting holds."""
    return {name: getattr(setting, name) for name in setting._fields if name not in ("values", "label")}


def _of_target(target: Target, values: Values) -> Target:
    parts = ((name.rpartition("."), value) for name, value in values)
    own = tuple((field, value) for (place, _, field), value in parts if place == f"targets.{target.task}")
    return replaced(target, own) if own else target


@functools.lru_cache(maxsize=2**16)
def replaced(recipe: Any, values: tuple[tuple[str, Any], ...]) -> Any:
    """A recipe with fields replaced, all at once; the same for thousands of trials of a plan."""
    return dataclasses.replace(recipe, **dict(values))


def label_of(values: Iterable[tuple[str, Any]], axes: Sequence[Axis] = ()) -> str:
    """Values in few characters, such as `lr=1e-5 T=3`; those of one axis are joined by a comma."""
    first = {name: axis.fields[0] for axis in axes for name in axis.fields}
    words: dict[str, list[str]] = {}
    for name, value in values:
        words.setdefault(first.get(name, name), []).append(f"{short_name(name)}={short_value(value)}")
    return " ".join(",".join(group) for group in words.values())


def short_name(name: str) -> str:
    """`lr` for `intermediate.learning_rate`, `panx.lr` for that of a target."""
    place, _, field = name.rpartition(".")
    task = place.removeprefix("targets.") + "." if place.startswith("targets.") else ""
    return f"{task}{SHORT.get(field, field)}"


def worded(value: Any) -> Any:
    """A value as journals and tables have it: of an encoder its name."""
    return encoder_name(value) if isinstance(value, Encoder | Pretraining) else value


def plain_axes(axes: Iterable[Axis]) -> list[dict[str, Any]]:
    """Axes as plain values; encoders with their names."""

    def plain(value: Any) -> Any:
        named = isinstance(value, Encoder | Pretraining)
        return {**to_plain(value), "name": encoder_name(value)} if named else to_plain(value)

    return [{**to_plain(Axis(axis.fields, ())), "rows": [list(map(plain, row)) for row in axis.rows]} for axis in axes]


def short_value(value: Any) -> str:
    """A value as a word of a name: `1e-5`, `3`, `true`, `linear`."""
    value = worded(value)
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, float):
        text = repr(value).removesuffix(".0")
        return re.sub(r"e([+-])0*", lambda found: f"e{found[1].removesuffix('+')}", text)
    return str(value)
