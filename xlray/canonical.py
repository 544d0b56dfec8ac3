"""Values in one canonical form, so that they can be hashed and compared. Standard library only."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import numbers
import types
import typing
from collections.abc import Hashable, Mapping
from typing import Any

from xlray.errors import InputError, require


def check_types(value: Any, where: str) -> None:
    """Give the fields of a frozen dataclass the types that they are declared with; raise `InputError` where one cannot be.

    A whole number where a real one is declared becomes one, so that 1 and 1.0 are the same identity; numpy's numbers become
    Python's. Truth values are no numbers; numbers are finite, whole ones have 64 bits, as in tables; every item of a tuple
    is checked; mappings and `Any` pass.
    """
    kind: Any = type(value)
    for name, declared in declared_types(kind).items():
        found = getattr(value, name)
        require_numbers(found, name, where)
        try:
            fitting = fitted(found, declared)
        except TypeError:
            wanted = getattr(declared, "__name__", str(declared)) if isinstance(declared, type) else str(declared)
            law = f"a value of type {wanted.replace('xlray.config.recipes.', '').replace('xlray.config.sweep.', '')}"
            raise InputError(f"{where}: {name} must be {law}, but got {found!r}.") from None
        if fitting is not found:
            object.__setattr__(value, name, fitting)


def require_numbers(value: Any, name: str, where: str) -> None:
    """Raise `InputError` unless every number of a value, or of a tuple, is finite, and has 64 bits where it is whole."""
    if isinstance(value, tuple):
        for item in value:
            require_numbers(item, name, where)
    elif isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
        require(math.isfinite(value), f"{name} is a finite number", value, where)
    elif isinstance(value, numbers.Integral):
        require(-(2**63) <= int(value) < 2**63, f"-2^63 <= {name} < 2^63", value, where)


@functools.cache
def declared_types(kind: Hashable) -> dict[str, Any]:
    """The type of each field of a dataclass, as a value."""
    return typing.get_type_hints(kind)


def fitted(value: Any, declared: Any) -> Any:
    """The value as one of the declared type, the same object where it is one already; TypeError where it is none."""
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        for argument in sorted(arguments, key=lambda kind: type(value) is not kind):  # 1 is an int of int | float
            with contextlib.suppress(TypeError):
                return fitted(value, argument)
        raise TypeError
    if origin is tuple:
        items = arguments[:1] * len(value) if isinstance(value, tuple) and arguments[-1] is ... else arguments
        if not isinstance(value, tuple) or len(value) != len(items):
            raise TypeError
        fitting = tuple(map(fitted, value, items))
        return value if all(a is b for a, b in zip(value, fitting, strict=True)) else fitting
    if declared in (int, float):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral if declared is int else numbers.Real):
            raise TypeError
        return value if type(value) is declared else declared(value)
    if origin is typing.Literal:
        known = value in arguments
    else:
        known = declared is Any or not isinstance(declared, type) or isinstance(value, declared)
    if not known:
        raise TypeError
    return value


def to_plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses become objects that name their type, tuples become lists.

    Fields that are left out of comparisons (`field(compare=False)`) are no part of what a value is, and left out here, too.

    Raises:
        InputError: for a value that has no canonical form (a set, a NaN, an object of another type).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value) if f.compare}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, Mapping):
        require(all(isinstance(key, str) for key in value), "keys are strings", list(value), "canonical form")
        return {key: to_plain(value[key]) for key in sorted(value)}
    if isinstance(value, float):
        require(math.isfinite(value), "numbers are finite", value, "canonical form")
        return value
    if value is None or isinstance(value, (str, int)):  # bool is an int
        return value
    raise InputError(f"canonical form: a value of type {type(value).__name__} cannot be hashed: {value!r}.")


def canonical_json(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no spaces, floats in their shortest form, dataclasses with their type.

    A frozen dataclass that is part of many others may remember its own text as `canonical` (see `object_json`): a plan
    of ten thousand trials asks for the same ones millions of times.

    Raises:
        InputError: for a value that has no canonical form, as `to_plain` has it.
    """
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is int:
        return str(value)
    if kind is float and math.isfinite(value):
        return repr(value)
    if kind is bool or value is None:
        return "null" if value is None else "true" if value else "false"
    if kind is tuple or kind is list:
        return f"[{','.join([canonical_json(item) for item in value])}]"
    known = getattr(value, "canonical", None)
    if isinstance(known, str):
        return known
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return object_json(value)
    return _dumped(to_plain(value))


def object_json(value: Any) -> str:
    """The canonical JSON of a dataclass, made of that of its fields."""
    kind: Any = type(value)
    fields = [
        f"{key}:{_quoted(kind.__name__) if name is None else canonical_json(getattr(value, name))}"
        for key, name in _keys(kind)
    ]
    return f"{{{','.join(fields)}}}"


@functools.cache
def _keys(kind: Any) -> list[tuple[str, str | None]]:
    """(quoted key, field or None for the type's name) of a dataclass, sorted."""
    names: dict[str, str | None] = {**{f.name: f.name for f in dataclasses.fields(kind) if f.compare}, "type": None}
    return [(_quoted(key), names[key]) for key in sorted(names)]


def _dumped(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
