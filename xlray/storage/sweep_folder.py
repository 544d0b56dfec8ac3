"""The folder of a sweep in a storage: where it is, how it is found and sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xlray.errors import InputError, RemoteError, nearest
from xlray.storage.files import read_json
from xlray.storage.journal import read_journal
from xlray.storage.working_folder import refresh, remote_of, send_changed, uri_of, working_folder


def sweep_folder(root: Path, name: str) -> Path:
    """`<storage>/sweeps/<name>`."""
    return root / "sweeps" / name


def send_sweep(root: Path, name: str) -> None:
    """Write what has changed in a sweep's folder through to the object store: tables, curves, report and log."""
    send_changed(sweep_folder(root, name), ("journal", "jobs", "progress", "models", "wandb"))


def languages_of(definition: Mapping[str, Any]) -> list[str]:
    """The languages that targets are evaluated in, by a sweep's definition."""
    return sorted({str(target.get("language", "fi")) for target in definition.get("targets") or ()})


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
    return inner if isinstance(inner, dict) else document


def storage_root(text: str) -> Path:
    """The storage's folder on this machine, absolute.

    Raises:
        InputError: an object store that is not supported or does not answer, or a path below something that is no folder.
    """
    text = text.removeprefix("file://")
    root = working_folder(text)
    there = next(p for p in (root, *root.parents) if p.exists())
    if not there.is_dir():
        raise InputError(f"--storage {text}: must be a folder that can be written, but {there} is a file.")
    if (remote := remote_of(root)) is not None:
        try:
            remote.check(write=False)
        except RemoteError as error:
            raise InputError(f"--storage {text}: must be a bucket that can be read, but: {error}") from error
    return root


def is_sweep_folder(folder: Path) -> bool:
    """Whether a sweep was run there."""
    return (folder / "sweep.json").is_file() or (folder / "journal").is_dir()


def find_sweep_folder(name: str, root: Path) -> Path:
    """The folder of a sweep that was run, with what is known of it now, by its name in the storage or by its own path.

    Raises:
        InputError: there is none; the nearest name is suggested.
    """
    own = Path(name).expanduser()
    refresh(root, root / "sweeps" / name, ("sweep.json", "ray.json", "jobs", "progress", "results", "unsealed.jsonl"))
    for folder in (root / "sweeps" / name, own):
        if is_sweep_folder(folder):
            return folder.absolute()
    if own.suffix == ".py":
        raise InputError(f"{name}: must be the name or folder of a sweep that was run, but is a sweep file.")
    known = sorted(p.name for p in (root / "sweeps").glob("*") if is_sweep_folder(p))
    if (remote := remote_of(root)) is not None:
        known = sorted(remote.folders("sweeps/"))
    where = uri_of(root)
    has = f"{where} holds {', '.join(known[:8])}{', ...' if len(known) > 8 else ''}" if known else f"{where} holds none"
    raise InputError(f"{name}: must be the name or folder of a sweep that was run, but {has}.{nearest(name, known)}")


def find_trial(directory: Path, text: str) -> str:
    """The id of a trial of a sweep, by its id, the beginning of it, or its readable name (`4tasks-s0-ID`).

    Raises:
        InputError: there is none, or more than one; the nearest id is suggested.
    """
    known = list(dict.fromkeys(str(e["trial_id"]) for e in read_journal(directory / "journal") if e.get("trial_id")))
    found = [trial for trial in known if trial.startswith(text.rpartition("-")[2] or text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{text}: must name one trial of {directory.name}, but begins {', '.join(found[:6])}.")
    raise InputError(
        f"{text}: must be a trial of {directory.name}, but none of its {len(known)} is.{nearest(text, known)}"
    )
