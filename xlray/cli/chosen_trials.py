"""Trials of a sweep by their values: `xlray status --where FIELD=VALUE --sort FIELD`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from xlray.config.axes import short_name
from xlray.errors import InputError, nearest
from xlray.monitor.reader import means_of
from xlray.monitor.view import STATUSES, shown_status
from xlray.storage.standings import accuracy_name

if TYPE_CHECKING:
    from xlray.monitor.view import Row, View


WORDS = {"status": STATUSES, "role": ("measure", "explore", "search")}  # fields that have few values


def chosen(view: View, where: Sequence[str], sort: str | None) -> tuple[Row, ...]:
    """The trials that have all the values, sorted by a field if one is given.

    Fields are those that the sweep varies, by their names or as cells spell them (`intermediate.learning_rate` or `lr`), and
    cell, role, seed, status (as the table tells it), num_tasks, rung, accuracy and the
    mean of each language (`fi_accuracy`). A trial without the field comes last.

    Raises:
        InputError: no `=`, a field that no trial has, or a status or role that there is not; the nearest is suggested.
    """
    fields = [fields_of(row, view) for row in view.rows]
    known = dict.fromkeys(name for found in fields for name in found)
    wanted = []
    for text in where:
        name, equals, value = text.partition("=")
        if not equals:
            raise InputError(f"--where {text}: must be FIELD=VALUE, such as `--where intermediate.learning_rate=1e-5`.")
        wanted.append((_known(name, known, "--where"), value))
        words = WORDS.get(name, (value,))
        if value not in words:
            raise InputError(f"--where {text}: {name} must be one of {', '.join(words)}.{nearest(value, words)}")
    kept = [n for n, found in enumerate(fields) if all(_is(found.get(name), value) for name, value in wanted)]
    if sort is not None:
        name = _known(sort, known, "--sort")
        kept.sort(key=lambda n: _order(fields[n].get(name)))
    return tuple(view.rows[n] for n in kept)


def fields_of(row: Row, view: View) -> dict[str, Any]:
    """What trials are chosen by."""
    place = {name: getattr(row, name) for name in ("cell", "role", "seed", "num_tasks", "rung", "accuracy")}
    place |= {accuracy_name(language): value for language, value in means_of(row, view).items()}
    place["status"] = shown_status(row.status, view.state)
    return {**place, **{short_name(name): value for name, value in row.values.items()}, **row.values}


def _known(name: str, known: Sequence[str] | dict[str, None], option: str) -> str:
    if known and name not in known:
        raise InputError(f"{option} {name}: must be one of {', '.join(known)}.{nearest(name, known)}")
    return name


def _is(found: Any, text: str) -> bool:
    try:
        value = json.loads(text)
    except ValueError:
        return str(found) == text
    return str(found) == text or (isinstance(found, bool) == isinstance(value, bool) and bool(found == value))


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words, then nothing."""
    if value is None:
        return 2, 0.0, ""
    return (0, float(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))
