"""The values of the fields that a sweep varies and searches, and what they explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from xlray.analysis import Importance, Point, importance_of_fields
from xlray.analysis.results import Results, axis_fields, searched_space


def field_importance(
    results: Results, definition: Mapping[str, Any], points: Sequence[Point], last_rung: int
) -> Importance | None:
    """What the fields that the sweep varies and searches explain; None where it does neither.

    A trial that was not proposed has the recipe's values of what is searched.

    Args:
        last_rung: number of the sweep's last rung.
    """
    fields = axis_fields(definition)
    if not fields or not all(name in results.trials.column_names for name in fields):
        return None
    rows = results.trials.select(["trial_id", "tasks", *fields]).to_pylist()
    values = {row["trial_id"]: {name: _value(row, name, definition) for name in fields} for row in rows}
    space: dict[str, Mapping[str, Any] | None] = {**dict.fromkeys(fields), **searched_space(definition)}
    select_by = str(definition.get("select_by", "target-dev"))
    return importance_of_fields(points, values, space, last_rung, select_by)


def _value(row: Mapping[str, Any], name: str, definition: Mapping[str, Any]) -> Any:
    """The value of a field in a trial; None where it changes nothing of it."""
    place, _, field = name.rpartition(".")
    if (
        row[name] is not None
        or name not in searched_space(definition)
        or (place == "intermediate" and not row["tasks"])
    ):
        return row[name]
    recipes = {f"targets.{target['task']}": target for target in definition["targets"]}
    recipe = recipes.get(place) or (definition[place] if place else definition)
    return recipe[field]
