"""Values in one form, so that they can be hashed and compared, and the error of wrong use. Standard library only."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import types
import typing
from collections.abc import Hashable, Iterable, Mapping
from typing import Any


class InputError(ValueError):
    """Wrong use: one line that says what must hold, what was found, and where. The command line exits with 2."""


def nearest(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def require(condition: bool, law: str, found: object, where: str) -> None:
    """Raise `InputError` "`law` must hold, but got `found`" unless the condition is true."""
    if not condition:
        raise InputError(f"{where}: `{law}` must hold, but got {found!r}.")


def check_types(value: Any, where: str) -> None:
    """Raise `InputError` where a field of a dataclass has another type than it is declared with, or a number no place.

    Whole numbers are numbers, truth values are not; numbers are finite, whole ones have 64 bits, as in tables; of a tuple
    every item is looked at; mappings and `Any` pass.
    """
    kind: Any = type(value)
    for name, declared in _declared(kind).items():
        found = getattr(value, name)
        require_numbers(found, name, where)
        if not _fits(found, declared):
            wanted = getattr(declared, "__name__", str(declared)) if isinstance(declared, type) else str(declared)
            law = f"a value of type {wanted.replace('xlray.recipes.', '').replace('xlray.config.', '')}"
            raise InputError(f"{where}: {name} must be {law}, but got {found!r}.")


def require_numbers(value: Any, name: str, where: str) -> None:
    """Raise `InputError` unless every number of a value, or of a tuple, is finite, and has 64 bits where it is whole."""
    if isinstance(value, tuple):
        for item in value:
            require_numbers(item, name, where)
    elif isinstance(value, float):
        require(math.isfinite(value), f"{name} is a finite number", value, where)
    elif isinstance(value, int):
        require(-(2**63) <= value < 2**63, f"-2^63 <= {name} < 2^63", value, where)


@functools.cache
def _declared(kind: Hashable) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _fits(value: Any, declared: Any) -> bool:
    origin, arguments = typing.get_origin(declared), typing.get_args(declared)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if origin is tuple:
        items = arguments[:1] * len(value) if isinstance(value, tuple) and arguments[-1] is ... else arguments
        return isinstance(value, tuple) and len(value) == len(items) and all(map(_fits, value, items))
    if declared is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if declared is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return declared is Any or not isinstance(declared, type) or isinstance(value, declared)


def to_plain(value: Any) -> Any:
    """`value` as JSON types: dataclasses become objects that name their type, tuples become lists.

    Raises:
        InputError: for a value that has no canonical form (a set, a NaN, an object of another type).
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
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
    names: dict[str, str | None] = {**{f.name: f.name for f in dataclasses.fields(kind)}, "type": None}
    return [(_quoted(key), names[key]) for key in sorted(names)]


def _dumped(plain: Any) -> str:
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


_quoted = json.JSONEncoder(ensure_ascii=False).encode


def fingerprint(value: Any) -> str:
    """SHA-256 of the canonical JSON, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
