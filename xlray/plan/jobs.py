"""A trial as a document that its workers read: phases, folders, execution. Paths and values only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xlray.canonical import to_plain
from xlray.config.execution import Execution
from xlray.config.sweep import Trial
from xlray.phases.spec import DataSpec, Phases, Rung, Spec, data_key, data_of, from_plain, phase_hash
from xlray.phases.store import Store
from xlray.plan.trials import SweepPlan
from xlray.storage.files import read_json, write_atomically
from xlray.storage.storage import Storage, open_storage
from xlray.storage.sweep_folder import sweep_folder

SHARED = "shared"  # the job that makes the phases before all trials
MOST_LABEL_BYTES = 120  # of a file's name


@dataclass(frozen=True)
class Job:
    """What a worker needs to run phases.

    Attributes:
        name: the trial's id, or the name of the shared phases.
        folders: `data_key` of each data spec -> its prepared folder.
        parents: hash of a phase or root -> the folder that holds its weights or state.
        select_by: the signal that ranks trials.
        keep_targets: store the weights of targets, too; a sweep keeps their scores alone.
        languages: that targets are evaluated in, as `Sweep.evaluated`.
        progress: file for the live view.
    """

    name: str
    sweep: str
    storage: Storage
    execution: Execution
    phases: Phases
    folders: Mapping[str, str]
    parents: Mapping[str, str]
    vocab_size: int
    mask_id: int
    progress: Path
    select_by: str = "target-dev"
    keep_targets: bool = False
    languages: tuple[str, ...] = ("fi",)


@dataclass(frozen=True)
class Prepared:
    """What the jobs of a sweep read, as it lies in the storage.

    Attributes:
        vocab_size: of the tokenizer.
        mask_id: id of its <mask>.
        folders: of each split that is tokenised.
        encoder: folder of the weights that trials start from; None where the sweep pre-trains its own.
    """

    vocab_size: int
    mask_id: int
    folders: Mapping[DataSpec, Path]
    encoder: Path | None = None


def make_job(name: str, phases: Phases, plan: SweepPlan, store: Store, prepared: Prepared) -> Job:
    """The job of a trial, or of the phases before all trials."""
    parents = {phase_hash(spec): str(store.folder(spec)) for spec in (*plan.shared, *phases)}
    if plan.root is not None:
        parents[phase_hash(plan.root)] = str(prepared.encoder)
    used = {key for spec in phases for key in (phase_hash(spec), spec.parent)}
    wanted = {data for spec in phases for data in data_of(spec)}
    return Job(
        name,
        plan.sweep.name,
        store.storage,
        plan.sweep.execution,
        phases,
        {data_key(spec): str(prepared.folders[spec]) for spec in wanted if spec in prepared.folders},
        {key: path for key, path in parents.items() if key in used},
        prepared.vocab_size,
        prepared.mask_id,
        sweep_folder(store.storage, plan.sweep.name) / f"progress/{name}.json",
        plan.sweep.select_by,
        languages=plan.sweep.evaluated,
    )


_PLAIN = ("name", "sweep", "vocab_size", "mask_id", "select_by")


def write_job(path: Path, job: Job) -> None:
    """Write the job as one JSON document, in which the storage's own paths are relative to it."""
    storage = job.storage
    rows: list[tuple[Spec, int | None]] = [(spec, None) for spec in job.phases.shared]
    for index, rung in enumerate(job.phases.rungs):
        rows += [(spec, None) for spec in rung.training] + [(spec, index) for spec in rung.targets]
    document = {
        **{key: getattr(job, key) for key in _PLAIN},
        "storage": storage.uri,
        "folders": {key: storage.relative(folder) for key, folder in job.folders.items()},
        "parents": {key: storage.relative(folder) for key, folder in job.parents.items()},
        "progress": storage.relative(job.progress),
        "execution": asdict(job.execution),
        "rungs": [rung.num_examples for rung in job.phases.rungs],
        "languages": list(job.languages),
        "phases": [{"spec": to_plain(spec), "rung_index": index} for spec, index in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    job.progress.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(document))
    storage.send(path)


def _phases(rungs: Sequence[int], rows: Sequence[Mapping[str, Any]]) -> Phases:
    """A document lists phases as they run, and the index of a rung stands at its targets alone."""
    found, before = list(map(Rung, rungs)), list[Any]()
    for row in rows:
        spec, index = from_plain(row["spec"]), row["rung_index"]
        if index is None:
            before.append(spec)
        else:
            rung = found[index]
            found[index] = Rung(rung.num_examples, (*rung.training, *before), (*rung.targets, spec))
            before = []
    return Phases(tuple(found), tuple(before))


def read_job(path: Path) -> Job:
    """The inverse of `write_job`, with the paths of this machine."""
    document = read_json(path)
    storage = open_storage(document["storage"])
    return Job(
        document["name"],
        document["sweep"],
        storage,
        Execution(**document["execution"]),
        _phases(document["rungs"], document["phases"]),
        {key: str(storage / folder) for key, folder in document["folders"].items()},
        {key: str(storage / folder) for key, folder in document["parents"].items()},
        document["vocab_size"],
        document["mask_id"],
        storage / document["progress"],
        document["select_by"],
        languages=tuple(document.get("languages", ("fi",))),  # earlier versions wrote none
    )


def trial_title(trial: Trial) -> str:
    """A readable name of a trial."""
    return readable_name(trial.trial_id, trial.config.tasks, trial.config.seed, trial.label)


def readable_name(trial_id: str, tasks: Sequence[str], seed: int, label: str = "") -> str:
    """Number of tasks, values of axes, seed, hash; a name of a folder, so that very many values are left out of it."""
    values = f"-{label.replace(' ', ',')}" if 0 < len(label.encode()) <= MOST_LABEL_BYTES else ""
    return f"{len(tasks)}tasks{values}-s{seed}-{trial_id}"


def created_entry(trial: Trial) -> dict[str, Any]:
    """What the journal says of a trial when it is new to a sweep, or its place has changed."""
    place = {"event": "created", "trial_id": trial.trial_id, **place_of(trial), "role": trial.role}
    values = dict(trial.values)
    varied = {"values": values, "label": trial.label} if trial.label else {}
    return {**place, "tasks": list(trial.config.tasks), "seed": trial.config.seed, **varied}


def place_of(trial: Trial) -> dict[str, str]:
    """The cell, and, where axes make it a part of one, the population that the trial competes in."""
    return {"cell": trial.cell, **({"population": trial.population} if trial.label else {})}


def bring_inputs(spec: Spec, job: Job) -> None:
    """Have what the phase starts from and reads on this machine."""
    parent = job.parents.get(getattr(spec, "parent", ""))
    for folder in (*(job.folders.get(data_key(data)) for data in data_of(spec)), parent):
        if folder is not None:
            job.storage.bring(Path(folder))
