"""`--set FIELD=VALUE`: a sweep with single fields replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from xlray.canonical import declared_types, fitted
from xlray.config.recipes import Encoder
from xlray.config.sweep import Sweep
from xlray.errors import InputError, nearest


def with_fields(sweep: Sweep, settings: Mapping[str, str]) -> Sweep:
    """The sweep with `--set FIELD=VALUE` applied; dots reach into recipes (`intermediate.learning_rate=1e-5`).

    `encoder=PATH` or `encoder=HUB_ID@REVISION` replaces the encoder. Values are parsed as JSON, else taken as text.

    Raises:
        InputError: for an unknown field (the nearest name is suggested) or a value that the field refuses.
    """
    for path, text in settings.items():
        sweep = _replace_path(sweep, path.split("."), text, path)
    return sweep


def _replace_path(value: Any, keys: list[str], text: str, path: str) -> Any:
    kind: Any = type(value)
    declared = declared_types(kind)
    if keys[0] not in declared:
        raise InputError(f"--set {path}: unknown field {keys[0]!r} of {kind.__name__}.{nearest(keys[0], declared)}")
    current = getattr(value, keys[0])
    if len(keys) > 1:
        if not dataclasses.is_dataclass(current):
            raise InputError(f"--set {path}: {keys[0]!r} has no fields.")
        return dataclasses.replace(value, **{keys[0]: _replace_path(current, keys[1:], text, path)})
    return dataclasses.replace(value, **{keys[0]: _parse(text, declared[keys[0]], path)})


def _parse(text: str, declared: Any, path: str) -> Any:
    arguments = get_args(declared)
    if Encoder in arguments:
        name, _, revision = text.partition("@")
        return Encoder(name, revision or None)
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        parsed = text
    if isinstance(parsed, list):
        parsed = tuple(parsed)
    for value in (parsed, (parsed,)):  # one item is a list of one
        with contextlib.suppress(TypeError):
            return fitted(value, declared)
    if get_origin(declared) in (Union, UnionType):
        return parsed  # the class says what may stand there
    wanted = (
        f"list of {arguments[0].__name__}" if get_origin(declared) is tuple else f"value of type {declared.__name__}"
    )
    raise InputError(f"--set {path}: a {wanted} must be given, but got {text!r}.")
