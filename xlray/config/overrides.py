"""`--set FIELD=VALUE`: a sweep with single fields replaced."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from xlray.config.recipes import Encoder, Pretraining
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
    types = {f.name: str(f.type) for f in dataclasses.fields(value)}
    if keys[0] not in types:
        raise InputError(f"--set {path}: unknown field {keys[0]!r} of {type(value).__name__}.{nearest(keys[0], types)}")
    current = getattr(value, keys[0])
    if len(keys) > 1:
        if not dataclasses.is_dataclass(current):
            raise InputError(f"--set {path}: {keys[0]!r} has no fields.")
        return dataclasses.replace(value, **{keys[0]: _replace_path(current, keys[1:], text, path)})
    return dataclasses.replace(value, **{keys[0]: _parse(text, current, path, types[keys[0]])})


def _parse(text: str, current: Any, path: str, declared: str) -> Any:
    if isinstance(current, (Encoder, Pretraining)):
        name, _, revision = text.partition("@")
        return Encoder(name, revision or None)
    try:
        parsed = json.loads(text)
    except json.JSONDecodeError:
        parsed = text
    if declared == "int | tuple[int, int]":
        return tuple(parsed) if isinstance(parsed, list) else parsed  # the class checks both
    if isinstance(current, tuple) and not isinstance(parsed, list):
        parsed = [parsed]
    if isinstance(parsed, list):
        parsed = tuple(parsed)
    if isinstance(current, tuple) and current and any(type(item) is not type(current[0]) for item in parsed):
        raise InputError(f"--set {path}: a list of {type(current[0]).__name__} must be given, but got {text!r}.")
    wanted = float if isinstance(current, float) else type(current)
    if isinstance(current, float) and type(parsed) is int:
        parsed = float(parsed)
    if "auto" in declared and "auto" in (parsed, current):
        return parsed  # the class checks what may stand beside "auto"
    if current is not None and type(parsed) is not wanted:
        raise InputError(f"--set {path}: a value of type {wanted.__name__} must be given, but got {text!r}.")
    return parsed
