"""Why two phases are not the same one: the fields in which their specs differ, and those of what they start from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlray.errors import InputError, nearest
from xlray.storage.storage import Storage

ABSENT = "absent"


@dataclass(frozen=True)
class Difference:
    """A field in which two specs differ; a value that one of them does not have is `ABSENT`."""

    field: str
    first: Any
    second: Any


@dataclass(frozen=True)
class Level:
    """Two phases side by side: those asked about, or those that they descend from at the same distance.

    Attributes:
        first, second: names of the phases; of what is no phase in the storage (a public encoder) the hash.
        differences: the parent's hash is left out: it is the next level.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]


def phase_folders(storage: Storage) -> dict[str, Path]:
    """Every phase in the storage, finished or not, by name."""
    phases = storage / "phases"
    if storage.remote is not None:
        return {name: phases / name for name in sorted(storage.remote.folders("phases/"))}
    return {p.parent.name: p.parent for p in sorted(phases.glob("*/spec.json"))}


def find_phase(storage: Storage, text: str) -> Path:
    """The folder of a phase, by its name, its hash, or the beginning of either.

    Raises:
        InputError: there is none, or more than one; names some.
    """
    folders = phase_folders(storage)
    if text in folders:
        return folders[text]
    found = [name for name in folders if name.startswith(text) or name.rpartition("-")[2].startswith(text)]
    if len(found) == 1:
        return folders[found[0]]
    if found:
        some = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
        raise InputError(f"{text}: must name one phase of {storage}, but {len(found)} begin so: {some}.")
    raise InputError(
        f"{text}: must be the name or hash of a phase, or begin one, but {storage} holds none of its {len(folders)} "
        f"phases under it.{nearest(text, folders)}"
    )


def explain(storage: Storage, first: Path, second: Path) -> list[Level]:
    """Where two phases differ, from themselves back to the first ancestors that differ.

    The last level is where the difference begins: its two phases start from the same one, or one of them is the encoder.
    """
    by_hash = {name.rpartition("-")[2]: folder for name, folder in phase_folders(storage).items()}
    levels: list[Level] = []
    while len(levels) <= len(by_hash):
        one, other = _read_spec(storage, first), _read_spec(storage, second)
        before = one.pop("parent", None), other.pop("parent", None)
        levels.append(Level(first.name, second.name, tuple(_differences(one, other))))
        if before[0] == before[1]:
            return levels if first != second else []
        parents = [by_hash.get(str(parent)) for parent in before]
        if parents[0] is None or parents[1] is None:
            names = [folder.name if folder else str(parent) for folder, parent in zip(parents, before, strict=True)]
            return [*levels, Level(names[0], names[1], ())]
        first, second = parents[0], parents[1]
    raise InputError(f"{first.name}: a phase must not start from itself, but its spec.json says so.")


def _read_spec(storage: Storage, folder: Path) -> dict[str, Any]:
    storage.bring(folder, ["spec.json"])
    return dict(json.loads((folder / "spec.json").read_text()))


def _differences(first: Any, second: Any, path: str = "") -> list[Difference]:
    first, second = _keyed(first), _keyed(second)
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return [
            difference
            for key in dict.fromkeys((*first, *second))
            for difference in _differences(
                first.get(key, ABSENT), second.get(key, ABSENT), f"{path}.{key}" if path else str(key)
            )
        ]
    # Of a whole split that only one has, its name and size say enough.
    return [] if first == second else [Difference(path, _brief(first), _brief(second))]


def _keyed(value: Any) -> Any:
    """Splits and evaluations by name, so that one more of them is one difference."""
    if isinstance(value, list) and value and all(isinstance(v, dict) and "type" in v for v in value):
        return {_key(item): item for item in value}
    return value


def _key(item: Mapping[str, Any]) -> str:
    if item["type"] == "EvaluationSpec":
        return f"{item['data']['task']} {item['split']}/{item['language']}"
    return f"{item['task']} {item['split']}"


def _brief(value: Any) -> Any:
    if isinstance(value, dict) and value.get("type") == "DataSpec":
        return f"{value['num_records']:,} examples"
    if isinstance(value, dict) and value.get("type") == "EvaluationSpec":
        return f"{value['data']['num_records']:,} examples"
    return value
