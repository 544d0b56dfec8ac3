"""`--set FIELD=VALUE`: a sweep with single fields replaced."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from types import UnionType
from typing import Any, Union, get_args, get_origin

from xlray.canonical import declared_types, fitted
from xlray.config.axes import ENCODER, Axis, fields_of, nearest_field, short_value
from xlray.config.recipes import Encoder, Target, encoder_name
from xlray.config.spaces import Choice
from xlray.config.sweep import Sweep
from xlray.errors import InputError, nearest


def with_fields(sweep: Sweep, settings: Mapping[str, str]) -> Sweep:
    """The sweep with `--set FIELD=VALUE` applied; dots reach into recipes (`intermediate.learning_rate=1e-5`).

    `encoder=PATH` or `encoder=HUB_ID@REVISION` replaces the encoder; of encoders that vary, a name chooses one. Values are
    parsed as JSON, else taken as text. A field that the sweep varies keeps its axis, with this value alone; so do fields
    that vary together with it. One that it searches is proposed with this value alone.

    Raises:
        InputError: for an unknown field (the nearest name is suggested) or a value that the field refuses.
    """
    for path, text in settings.items():
        axis = next((axis for axis in sweep.axes if path in axis.fields), None)
        if axis is not None:
            sweep = _with_one(sweep, axis, path, text)
        elif sweep.search is not None and path in sweep.search.space:
            value = _parse(text, fields_of(sweep.setting)[path], path)
            space = {**sweep.search.space, path: Choice((value,))}
            sweep = dataclasses.replace(sweep, search=dataclasses.replace(sweep.search, space=space))
        else:
            sweep = _replace_path(sweep, path.split("."), text, path)
    return sweep


def _with_one(sweep: Sweep, axis: Axis, path: str, text: str) -> Sweep:
    """The sweep with one value of a field that it varies."""
    place = axis.fields.index(path)
    named = [row[place] for row in axis.rows if path == ENCODER and encoder_name(row[place]) == text]
    value = named[0] if named else _parse(text, fields_of(sweep.setting)[path], path)
    rows = [row for row in axis.rows if row[place] == value]
    if len(axis.fields) > 1 and not rows:
        known = ", ".join(short_value(row[place]) for row in axis.rows)
        others = ", ".join(name for name in axis.fields if name != path)
        raise InputError(f"--set {path}: it varies together with {others}, at {known}, but got {text!r}.")
    axes = [Axis(axis.fields, tuple(rows or [(value,)])) if other is axis else other for other in sweep.axes]
    return dataclasses.replace(sweep, vary={axis.fields: axis.rows for axis in axes})


def _replace_path(value: Any, keys: list[str], text: str, path: str) -> Any:
    kind: Any = type(value)
    declared = declared_types(kind)
    if keys[0] not in declared:
        known = [*declared, *(fields_of(value.setting) if isinstance(value, Sweep) else ())]
        raise InputError(f"--set {path}: unknown field {keys[0]!r} of {kind.__name__}.{nearest_field(keys[0], known)}")
    current = getattr(value, keys[0])
    if len(keys) > 1:
        if keys[0] == "targets":
            return dataclasses.replace(value, targets=_with_target(current, keys[1:], text, path))
        if not dataclasses.is_dataclass(current):
            raise InputError(f"--set {path}: {keys[0]!r} has no fields.")
        return dataclasses.replace(value, **{keys[0]: _replace_path(current, keys[1:], text, path)})
    return dataclasses.replace(value, **{keys[0]: _parse(text, declared[keys[0]], path)})


def _with_target(targets: tuple[Target, ...], keys: list[str], text: str, path: str) -> tuple[Target, ...]:
    """The recipes with a field of one replaced, which is named by its task; that may have dots."""
    task, whole = ".".join(keys[:-1]), ".".join(keys)
    names = [target.task for target in targets]
    if task not in names:
        law = f"--set {path}: must be targets.TASK.FIELD"
        if whole in names:
            own = ", ".join(name for name in declared_types(Target) if name != "task")
            raise InputError(f"{law}, but names no field of {whole!r}: {own}.")
        missing = task or whole
        raise InputError(f"{law}, but there is no target {missing!r}.{nearest(missing, names)}")
    return tuple(_replace_path(t, keys[-1:], text, path) if t.task == task else t for t in targets)


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
