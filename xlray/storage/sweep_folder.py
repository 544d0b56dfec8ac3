"""The folder of a sweep in a storage: where it is, how it is found and sent."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xlray.errors import InputError, nearest
from xlray.storage.files import read_json
from xlray.storage.journal import Journal
from xlray.storage.storage import Storage, open_storage


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep, with the storage that it is in.

    Attributes:
        path: `<storage>/sweeps/<name>`.
    """

    storage: Storage
    path: Path

    def __truediv__(self, name: str) -> Path:
        """A path in it."""
        return self.path / name

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.path.name

    @functools.cached_property
    def journal(self) -> Journal:
        """Its journal; one object is one writer."""
        return Journal(self.storage, self.path / "journal")

    def send(self) -> None:
        """Write what has changed in it through to the object store: tables, curves, report and log."""
        self.storage.send_changed(self.path, ("journal", "jobs", "progress", "models", "wandb"))

    def refresh(self, *entries: str) -> None:
        """Have files and folders in it as the object store has them now."""
        self.storage.refresh(self.path, entries)


def sweep_folder(storage: Storage, name: str) -> SweepFolder:
    """The folder of the sweep of that name, which need not be there yet."""
    return SweepFolder(storage, storage / "sweeps" / name)


def open_sweep(directory: SweepFolder | Path | str) -> SweepFolder:
    """The folder of a sweep by its path alone, `<storage>/sweeps/<name>`; one that is open stays as it is."""
    if isinstance(directory, SweepFolder):
        return directory
    path = Path(directory).absolute()
    return SweepFolder(open_storage(str(path.parent.parent)), path)


def languages_of(definition: Mapping[str, Any]) -> list[str]:
    """The languages that targets are evaluated in, by a sweep's definition, that of the headline first; [] without targets."""
    if not definition.get("targets"):
        return []
    return [str(code) for code in definition.get("languages") or (definition.get("language", "fi"),)]


def of_now(definition: dict[str, Any]) -> dict[str, Any]:
    """A sweep's definition as this version writes it: earlier ones had the language in each target, and "finnish-dev"."""
    targets = definition.get("targets")
    named = [target["language"] for target in targets or () if isinstance(target, dict) and "language" in target]
    if named:
        bare = [{key: value for key, value in target.items() if key != "language"} for target in targets or ()]
        definition = {**definition, "targets": bare, "language": named[0], "languages": []}
    if definition.get("select_by") == "finnish-dev":
        definition = {**definition, "select_by": "target-dev"}
    return definition


def read_definition(directory: Path) -> dict[str, Any]:
    """`sweep.json` of a sweep's folder; {} if it is not there.

    Raises:
        InputError: it holds no JSON object.
    """
    path = directory / "sweep.json"
    if not path.exists():
        return {}
    document = read_json(path)
    inner = document.get("definition")
    return of_now(inner if isinstance(inner, dict) else document)


def is_sweep_folder(folder: Path) -> bool:
    """Whether a sweep was run there."""
    return (folder / "sweep.json").is_file() or (folder / "journal").is_dir()


def sweep_names(storage: Storage) -> list[str]:
    """The names of the sweeps that were run in a storage."""
    if storage.remote is not None:
        return sorted(storage.remote.folders("sweeps/"))
    return sorted(path.name for path in (storage / "sweeps").glob("*") if is_sweep_folder(path))


def find_sweep_folder(name: str, storage: Storage) -> SweepFolder:
    """The folder of a sweep that was run, with what is known of it now, by its name in the storage or by its own path.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    named, own = sweep_folder(storage, name), Path(name).expanduser()
    named.refresh("sweep.json", "ray.json", "jobs", "progress", "results", "unsealed.jsonl")
    for path in (named.path, own):
        if is_sweep_folder(path):
            return named if path.parent == storage / "sweeps" else open_sweep(path.absolute())
    if own.suffix == ".py":
        raise InputError(f"{name}: must be the name or folder of a sweep that was run, but is a sweep file.")
    known = sweep_names(storage)
    some = f"{', '.join(known[:8])}{', ...' if len(known) > 8 else ''}" if known else "none"
    has = f"{storage.uri} holds {some}"
    raise InputError(f"{name}: must be the name or folder of a sweep that was run, but {has}.{nearest(name, known)}")


def find_trial(sweep: SweepFolder, text: str) -> str:
    """The id of a trial of a sweep, by its id, the beginning of it, or its readable name (`4tasks-s0-ID`).

    Raises:
        InputError: there is none, or more than one; the nearest id is suggested.
    """
    known = list(dict.fromkeys(str(entry["trial_id"]) for entry in sweep.journal.read() if entry.get("trial_id")))
    found = [trial for trial in known if trial.startswith(text.rpartition("-")[2] or text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{text}: must name one trial of {sweep.name}, but begins {', '.join(found[:6])}.")
    raise InputError(f"{text}: must be a trial of {sweep.name}, but none of its {len(known)} is.{nearest(text, known)}")
