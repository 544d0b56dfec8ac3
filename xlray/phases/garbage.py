"""What a storage holds that nothing needs: what broke off, what was quarantined, and what no sweep refers to.

A sweep refers to a phase if its journal, a trial's job or its table of phases names it; a phase refers to what it started
from and to the data that it read. What a sweep refers to is never garbage, finished or not.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from xlray.errors import InputError
from xlray.phases.spec import data_name, data_of, from_plain, phase_name
from xlray.storage.files import file_digest, read_json
from xlray.storage.storage import MARKER, Storage
from xlray.storage.sweep_folder import sweep_folder

LIVING_S = 600.0  # since a lease was renewed: its holder may live
FORGOTTEN_S = 86_400.0  # since a lease was written: nobody waits for it any more
_TEMPORARY = re.compile(r"(^|/)\.[^/]+\.[0-9a-f]{8}(\.tmp)?(/|$)|(^|/)\.probe-[0-9a-f]{8}$|^phases/[^/]+/staging-")
Files = Mapping[str, tuple[int, float]]  # name below the storage -> bytes, time of change in seconds UTC


class Kind(StrEnum):
    """What garbage is a part of; its text is what people read."""

    PHASE = "phase"
    ATTEMPT = "attempt"  # an unfinished phase
    DATA = "data"
    ENCODER = "encoder"
    UPLOAD = "upload"  # that broke off
    STAGING = "staging"
    QUARANTINE = "quarantine"
    LEASE = "lease"


_PUBLISHED = {"phases": Kind.PHASE, "data": Kind.DATA, "encoders": Kind.ENCODER}  # by folder of the storage
_WRITTEN = (Kind.STAGING, Kind.UPLOAD, Kind.ATTEMPT)  # somebody may be writing it


@dataclass(frozen=True)
class Garbage:
    """One thing to remove.

    Attributes:
        name: of the file or folder below the storage.
    """

    kind: Kind
    name: str
    files: tuple[str, ...]
    num_bytes: int


@dataclass
class References:
    """What the sweeps of a storage need: names of folders.

    Attributes:
        unknown: sweeps with trials whose phases are not known: while there is one, no phase and no data is garbage.
    """

    phases: set[str] = field(default_factory=set)
    data: set[str] = field(default_factory=set)
    encoders: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)


def find_garbage(storage: Storage) -> tuple[list[Garbage], References]:
    """What can be removed from a storage, and what its sweeps refer to."""
    files = list_files(storage)  # before the references, so that what a sweep makes meanwhile is not in it
    markers = _read_markers(storage, files)
    references = find_references(storage, files, markers)
    places = {folder: str(marker["place"]) for folder, marker in markers.items() if "place" in marker}
    return classify(files, references, places, time.time()), references


def list_files(storage: Storage) -> dict[str, tuple[int, float]]:
    """Every file of a storage."""
    if storage.remote is not None:
        return storage.remote.list("")
    found = {}
    for folder, _, names in os.walk(storage.root):
        for name in names:
            path = Path(folder) / name
            with contextlib.suppress(FileNotFoundError):
                status = path.lstat()
                found[storage.relative(path)] = (status.st_size, status.st_mtime)
    return found


def classify(files: Files, references: References, places: Mapping[str, str], now: float) -> list[Garbage]:
    """Which files are garbage: a pure function of what is there and what is needed.

    Args:
        places: published folder -> the place of its files, in an object store.
        now: seconds UTC.
    """
    finished = {name.removesuffix(f"/{MARKER}") for name in files if name.endswith(f"/{MARKER}")}
    is_busy = any(name.startswith("leases/") and now - changed < LIVING_S for name, (_, changed) in files.items())
    groups: dict[tuple[Kind, str], list[str]] = defaultdict(list)
    for name, (_, changed) in files.items():
        found = _kind(name, references, finished, places)
        if found is None:
            continue
        in_use = found[0] is Kind.LEASE or (is_busy and found[0] in _WRITTEN)
        if not in_use or now - changed >= FORGOTTEN_S:
            groups[found].append(name)
    return [
        Garbage(kind, name, tuple(sorted(members)), sum(files[member][0] for member in members))
        for (kind, name), members in sorted(groups.items())
    ]


def _kind(
    name: str, references: References, finished: Collection[str], places: Mapping[str, str]
) -> tuple[Kind, str] | None:
    """Kind of garbage and name of the thing that a file is a part of; None for what stays."""
    parts = name.split("/")
    folder, top = "/".join(parts[:2]), parts[0]
    if top == "quarantine" and len(parts) > 1:
        return Kind.QUARANTINE, folder
    if top == "leases" and len(parts) > 1:
        return Kind.LEASE, folder
    if top not in _PUBLISHED or len(parts) < 3:
        return (Kind.STAGING, name) if _TEMPORARY.search(name) else None
    is_needed = parts[1] in getattr(references, top) or bool(references.unknown) or folder == "data/fingerprints"
    if not is_needed and not parts[1].startswith("."):
        return (Kind.ATTEMPT if top == "phases" and folder not in finished else _PUBLISHED[top]), folder
    if _TEMPORARY.search(name):
        return Kind.STAGING, "/".join(parts[: 3 if top == "phases" else 2])
    if folder in finished and top == "phases" and parts[2] == "attempt":
        return Kind.STAGING, f"{folder}/attempt"
    is_upload = parts[2].startswith("files-") and parts[2] != places.get(folder)
    return (Kind.UPLOAD, "/".join(parts[:3])) if is_upload else None


# --- what sweeps refer to ------------------------------------------------------------------------------------------


def find_references(storage: Storage, files: Files, markers: Mapping[str, Mapping[str, Any]]) -> References:
    """What the sweeps of a storage need, and what these in turn started from and read."""
    found, specs = References(), {}
    for sweep in sorted({name.split("/")[1] for name in files if name.startswith("sweeps/") and name.count("/") > 1}):
        specs.update(_references_of(storage, sweep, found))
    specs.update(_stored_specs(storage, files, markers, specs))
    by_hash = {name.rsplit("-", 1)[-1]: name for name in specs}
    waiting = sorted(found.phases)
    while waiting:
        parent = getattr(specs.get(waiting.pop()), "parent", None)
        if parent in by_hash and by_hash[parent] not in found.phases:
            found.phases.add(by_hash[parent])
            waiting.append(by_hash[parent])
        elif parent is not None:
            found.encoders.add(parent)
    digests = _tokenizers(storage, found, markers)
    needed = {data for name in found.phases if name in specs for data in data_of(specs[name])}
    found.data |= {data_name(data, digest) for data in needed for digest in digests}
    return found


def _references_of(storage: Storage, sweep: str, found: References) -> dict[str, Any]:
    """Add what one sweep names; returns the specs of its jobs by name."""
    directory = sweep_folder(storage, sweep)
    directory.refresh("jobs", "results")
    specs, known = {}, set()
    for path in (directory / "jobs").glob("*.json"):
        document = read_json(path)
        read = [_spec(p["spec"]) for p in document["phases"]]
        specs.update({phase_name(spec): spec for spec in read if spec is not None})
        if None not in read:
            known.add(path.stem)
        for folder in map(Path, (*document["parents"].values(), *document["folders"].values())):
            if folder.parent.name in _PUBLISHED:
                getattr(found, folder.parent.name).add(folder.name)
    found.phases |= specs.keys()
    table = directory / "results/phases.parquet"
    if table.exists():
        columns = pq.read_table(table, columns=["phase", "trial_id"]).to_pydict()
        found.phases |= set(columns["phase"])
        known |= set(columns["trial_id"])
    for entry in directory.journal.read():
        found.phases |= {entry["phase"]} if "phase" in entry else set()
        found.phases |= set(entry.get("phases", ()))
        if "trial_id" in entry and entry["trial_id"] not in known:
            found.unknown.add(sweep)
    return specs


def _stored_specs(
    storage: Storage, files: Files, markers: Mapping[str, Mapping[str, Any]], known: Collection[str]
) -> dict[str, Any]:
    """Specs of the stored phases by name."""
    found = {}
    for name in sorted({name.split("/")[1] for name in files if name.startswith("phases/")} - set(known)):
        place = markers.get(f"phases/{name}", {}).get("place")
        text = _read(storage, f"phases/{name}/{place}/spec.json" if place else f"phases/{name}/spec.json")
        spec = None if text is None else _spec(json.loads(text))
        if spec is not None:
            found[name] = spec
    return found


def _spec(plain: Any) -> Any:
    """A spec, or None for one with the fields of another version."""
    try:
        return from_plain(plain)
    except (TypeError, InputError):
        return None


def _tokenizers(storage: Storage, found: References, markers: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Digests of the tokenizers of the phases and encoders that are needed."""
    folders = [f"phases/{name}" for name in found.phases] + [f"encoders/{name}" for name in found.encoders]
    digests = {
        checksum
        for folder in folders
        for file, checksum in markers.get(folder, {}).get("files", {}).items()
        if file.endswith("tokenizer.json")
    }
    paths = (storage / "encoders" / name / "tokenizer.json" for name in found.encoders)
    return digests | {file_digest(path) for path in paths if path.exists()}


def _read_markers(storage: Storage, files: Files) -> dict[str, dict[str, Any]]:
    names = [name for name in files if name.startswith(tuple(_PUBLISHED)) and name.endswith(f"/{MARKER}")]
    with ThreadPoolExecutor(16) as pool:
        texts = pool.map(lambda name: _read(storage, name), names)
        return {n.removesuffix(f"/{MARKER}"): json.loads(t) for n, t in zip(names, texts, strict=True) if t is not None}


def _read(storage: Storage, name: str) -> bytes | None:
    if storage.remote is not None:
        found = storage.remote.read(name)
        return None if found is None else found[0]
    path = storage / name
    return path.read_bytes() if path.exists() else None


# --- removing ------------------------------------------------------------------------------------------------------


def remove(storage: Storage, garbage: Iterable[Garbage]) -> None:
    """Remove it; markers first, so that no reader finds a part of something."""
    remote = storage.remote
    for one in garbage:
        first = [name for name in one.files if name.endswith(f"/{MARKER}")]
        rest = [name for name in one.files if name not in first]
        for names in (first, rest):
            if remote is not None:
                remote.delete(names)
            for name in names:
                (storage / name).unlink(missing_ok=True)
        path = storage / one.name
        if path.is_dir() and (remote is not None or not any(p.is_file() for p in path.rglob("*"))):
            shutil.rmtree(path)
