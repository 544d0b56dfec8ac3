"""A sweep's definition against the one that is stored under its name: what may change, what would mix two sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlray.canonical import fingerprint
from xlray.config.axes import ENCODER
from xlray.config.sweep import Sweep
from xlray.errors import InputError
from xlray.phases.spec import differing_fields
from xlray.storage.files import read_json
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import of_now, sweep_folder

# They change speed and words; which trials there are and what their numbers are, they leave alone.
WORDS = ("name", "question", "execution", "own_tasks", "sources", "tracking")
# These add or take away trials; what a trial's numbers are, they leave alone.
FREE = (*WORDS, "seeds", "measure", "explore", "search", "vary", "languages")


def definition_hash(definition: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits, equal for definitions of the same trials with the same numbers, whatever their `WORDS`."""
    return fingerprint({key: value for key, value in definition.items() if key not in WORDS})[:12]


def changes(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What keeps two definitions from being one sweep that grew, one line each; empty if nothing does.

    Rungs may be added after the last, targets may be added; those that are there stay as they are. So does the language of the
    headline; others are added and taken away freely. Axes may get values and
    lose them, but are on the same fields.
    """
    ours, theirs = dict(wanted["intermediate"]), dict(stored["intermediate"])
    before, after = theirs.pop("rungs"), ours.pop("rungs")
    lines = differing_fields({"intermediate": theirs}, {"intermediate": ours})
    if after[: len(before)] != before:
        lines.append(f"intermediate.rungs: {before!r} is no beginning of {after!r}")
    targets = {target["task"]: target for target in wanted["targets"]}
    for target in stored["targets"]:
        name = target["task"]
        if name in targets:
            lines += differing_fields(target, targets[name], f"targets.{name}")
        else:
            lines.append(f"targets.{name}: is gone")
    before, after = ([", ".join(axis["fields"]) for axis in d.get("vary") or ()] for d in (stored, wanted))
    if sorted(before) != sorted(after):
        lines.append(f"vary: axes on {'; '.join(before) or 'nothing'} != {'; '.join(after) or 'nothing'}")
    apart = (*FREE, "intermediate", "targets")
    theirs, ours = ({k: v for k, v in document.items() if k not in apart} for document in (stored, wanted))
    if theirs.get("stopping") == ours.get("stopping"):  # is in no hash, so that a cut at 3 is one at 3.0
        theirs["stopping"] = ours.get("stopping")
    return lines + differing_fields(theirs, ours)


def encoders_of(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The encoders that trials of a definition start from; those of its axis, which have names, or the one of the sweep."""
    axes = [axis for axis in definition.get("vary") or () if ENCODER in axis["fields"]]
    varied = [row[axis["fields"].index(ENCODER)] for axis in axes for row in axis["rows"]]
    found = varied or [definition.get("encoder")]
    return list({str(encoder): encoder for encoder in found if isinstance(encoder, Mapping)}.values())


def check_definition(sweep: Sweep, storage: Storage) -> None:
    """Raise `InputError` for a definition that would mix with another one's results under this name."""
    lines = _changes(sweep, storage, sweep.name)
    if lines:
        raise InputError(
            f"sweep {sweep.name!r} exists with another definition ({'; '.join(lines)}); use --new-version, or give the "
            f"changed sweep another name."
        )


def newest_version(sweep: Sweep, storage: Storage) -> Sweep:
    """The sweep under the newest of its names (`name`, `name.2`, ...) if it fits what is there, else under the next."""
    number = 1
    while _stored(storage, _versioned(sweep.name, number + 1)).exists():
        number += 1
    number += bool(_changes(sweep, storage, _versioned(sweep.name, number)))
    return replace(sweep, name=_versioned(sweep.name, number))


def _versioned(name: str, number: int) -> str:
    return name if number == 1 else f"{name}.{number}"


def _changes(sweep: Sweep, storage: Storage, name: str) -> list[str]:
    path = _stored(storage, name)
    if not path.exists():
        return []
    stored, wanted = of_now(read_json(path)), sweep.definition
    absent = [key for key in ("intermediate", "targets") if key not in stored]
    if absent:
        raise InputError(
            f"{path} must hold a sweep's definition, but lacks {', '.join(absent)}; restore it from a copy."
        )
    return changes(stored, wanted)


def _stored(storage: Storage, name: str) -> Path:
    path = sweep_folder(storage, name) / "sweep.json"
    storage.fetch_small(path, again=True)
    return path
