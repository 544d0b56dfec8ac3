"""A trial as a document that its workers read: phases, folders, execution. Paths and values only."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from xlray.canonical import to_plain
from xlray.config.axes import short_value
from xlray.config.execution import Execution
from xlray.config.recipes import Encoder, Pretraining
from xlray.config.sweep import Trial
from xlray.phases.spec import DataSpec, Phases, Rung, Spec, TokenizerSpec, data_key, data_of, from_plain, phase_hash
from xlray.phases.store import Store
from xlray.phases.versions import commit
from xlray.plan.definition import definition_hash
from xlray.plan.trials import SweepPlan
from xlray.storage.files import read_json, write_atomically
from xlray.storage.storage import Storage, open_storage
from xlray.storage.sweep_folder import read_definition, sweep_folder

SHARED = "shared"  # the job that makes the phases before all trials; of several encoders each has one, `shared-NAME`
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
    """What the jobs of one encoder read, as it lies in the storage.

    Attributes:
        vocab_size: of the tokenizer.
        mask_id: id of its <mask>.
        folders: of each split that is tokenised.
        encoder: folder of the weights that trials start from; None where the sweep pre-trains them.
    """

    vocab_size: int
    mask_id: int
    folders: Mapping[DataSpec, Path]
    encoder: Path | None = None


def shared_jobs(plan: SweepPlan) -> dict[str, Encoder | Pretraining]:
    """The jobs that make what comes before all trials, each for the encoder that it pre-trains."""
    trained = [encoder for encoder, start in plan.starts.items() if start.shared]
    return {SHARED if len(plan.starts) == 1 else f"{SHARED}-{short_value(encoder)}": encoder for encoder in trained}


def is_shared(job: str) -> bool:
    """Whether a job comes before all trials, by its name."""
    return job.partition("-")[0] == SHARED


def encoder_of(job: str, plan: SweepPlan, trials: Mapping[str, Trial]) -> Encoder | Pretraining:
    """The encoder of a job.

    Args:
        trials: of the plan, by id.
    """
    return trials[job].config.encoder if job in trials else shared_jobs(plan)[job]


def before_trials(plan: SweepPlan) -> dict[str, Phases]:
    """What the jobs before all trials train; tokenizers are made where the driver is."""
    rungs = tuple(map(Rung, plan.sweep.intermediate.rungs))  # every job's document says them
    shared = {name: plan.starts[encoder].shared for name, encoder in shared_jobs(plan).items()}
    trained = {name: tuple(s for s in specs if not isinstance(s, TokenizerSpec)) for name, specs in shared.items()}
    return {name: Phases(rungs, specs) for name, specs in trained.items()}


def make_job(name: str, phases: Phases, plan: SweepPlan, store: Store, prepared: Prepared) -> Job:
    """The job of a trial, or of the phases before all trials.

    Args:
        prepared: for the encoder that they start from.
    """
    parents = {phase_hash(spec): str(store.folder(spec)) for spec in (*plan.shared, *phases)}
    roots = [start.root for start in plan.starts.values() if start.root is not None]
    parents |= {phase_hash(root): str(prepared.encoder) for root in roots}  # of which a trial descends from one
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


def lease_keys(phases: Phases, left: Sequence[Spec]) -> dict[str, str]:
    """Of each phase that is left to a job, the lease that covers it.

    A phase's identity covers its ancestors, so two jobs that share a phase share the segment of the trunk that it hangs
    on. One lease of that segment is enough for all that hangs on it; a phase without a trunk has its own.
    """
    trunks = {phase_hash(spec) for spec in phases if spec.kind == "trunk"}
    parents = {phase_hash(spec): spec.parent for spec in phases}
    keys = {}
    for spec in left:
        own = key = phase_hash(spec)
        while key not in trunks and key in parents:
            key = parents[key]
        keys[own] = f"phase-{key if key in trunks else own}"
    return keys


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


def opened_entry(directory: Path) -> dict[str, Any]:
    """The entry of the journal for a run of a sweep: the hash of its `sweep.json`, and the commit of xlray."""
    return {"event": "opened", "definition": definition_hash(read_definition(directory)), "commit": commit()}


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
