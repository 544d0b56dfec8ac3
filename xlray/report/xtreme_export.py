"""The sealed test predictions of a sweep in the layout that XTREME's `evaluate.py` reads; each opening is recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from xlray.analysis.results import UNSEALED_FILE
from xlray.errors import InputError, nearest
from xlray.phases.spec import EvaluationSpec, Spec, data_key, phase_name
from xlray.phases.store import Store
from xlray.plan.jobs import Job, read_job
from xlray.plan.rung_report import check_measured
from xlray.storage.files import atomic_file, file_digest
from xlray.storage.journal import append_line, read_lines
from xlray.storage.standings import standings
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import SweepFolder

PREFIX = "mini_"  # targets of the embedded world are written under the names of the tasks they stand for too


@dataclass(frozen=True)
class Exported:
    """One trial's predictions at one rung.

    Attributes:
        rung: examples seen by the trunk.
        files: `<task>/test-<language>.<tsv or json>` to its text.
        missing: sealed evaluations that left no prediction, since their training diverged.
    """

    trial_id: str
    rung: int
    files: Mapping[str, str]
    missing: tuple[str, ...]


def export_predictions(
    directory: SweepFolder, out: Path | None = None, trial_id: str | None = None, rung: int | None = None
) -> dict[str, Any]:
    """Open the test predictions of a sweep: record it in `unsealed.jsonl`, then write `<out>/<trial>/predictions/`.

    The entry comes first and holds hashes of the definition and of the journal: what was seen is never unrecorded, and
    whether the sweep was changed or continued afterwards can be found out.

    Args:
        directory: of the sweep.
        out: folder to write into; None takes `<directory>/unsealed`.
        trial_id: one trial; None takes all that have finished a rung.
        rung: examples of the rung; None takes each trial's last finished one.

    Returns:
        `{sweep, out, trials: [{trial_id, rung, files, missing}], unsealings}`, `unsealings` counting this one.

    Raises:
        InputError: no such trial or rung, nothing finished, no test set was there, data needed for the ids is gone, or the
            stored job describes other phases than those that were measured.
        StoreError: a stored file is damaged.
    """
    exported = [collect_trial(directory.storage, job, index) for job, index in _chosen(directory, trial_id, rung)]
    if not any(one.files or one.missing for one in exported):
        raise InputError(f"{directory}: a test set must have been evaluated, but its files were missing when it ran.")
    out = (out or directory / "unsealed").absolute()
    document = {
        "sweep": directory.name,
        "out": str(out),
        "trials": [
            {
                "trial_id": one.trial_id,
                "rung": one.rung,
                "files": [str(_folder(out, one) / name) for name in sorted(one.files)],
                "missing": list(one.missing),
            }
            for one in exported
        ],
    }
    append_line(
        directory.storage,
        directory / UNSEALED_FILE,
        {
            "event": "export-predictions",
            "definition": file_digest(directory / "sweep.json"),
            "journal": directory.journal.digest(),
            "out": str(out),
            "trials": document["trials"],
        },
    )
    for one in exported:
        _write(_folder(out, one), one.files)
    return {**document, "unsealings": len(read_lines(directory / UNSEALED_FILE))}


def _folder(out: Path, one: Exported) -> Path:
    return out / one.trial_id / "predictions"


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        with atomic_file(folder / name) as file:
            file.write(text.encode())
    for path in folder.glob("*/test-*"):  # of an earlier export: two rungs must not be mixed
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()


def _chosen(directory: SweepFolder, trial_id: str | None, rung: int | None) -> list[tuple[Job, int]]:
    """The trials' jobs, each with the index of the rung to export."""
    store = Store(directory.storage)
    reported = {name: standing.current for name, standing in standings(directory.journal.read()).trials.items()}
    if trial_id is not None and trial_id not in reported:
        raise InputError(f"--trial {trial_id}: {directory.name} has no such trial.{nearest(trial_id, list(reported))}")
    found = []
    rungs: set[int] = set()
    for trial in sorted(reported) if trial_id is None else [trial_id]:
        path = directory / "jobs" / f"{trial}.json"
        if not path.is_file():
            continue
        job = read_job(path)
        check_measured(job.phases, reported[trial], f"{directory.name}: trial {trial}")
        finished = [i for i in sorted(reported[trial]) if _is_finished(job, i, store)]
        sizes = [here.num_examples for here in job.phases.rungs]
        rungs |= {sizes[i] for i in finished}
        wanted = [i for i in finished if rung is None or sizes[i] == rung]
        if wanted:
            found.append((job, wanted[-1]))
    if not found:
        law = f"--rung {rung}: must be a rung that" if rung is not None else "a rung must be there that"
        who = f"trial {trial_id}" if trial_id is not None else "a trial"
        has = f"the finished ones are {', '.join(str(r) for r in sorted(rungs))}" if rungs else "there is none"
        raise InputError(f"{directory.name}: {law} {who} has finished, but {has}.")
    return found


def _is_finished(job: Job, index: int, store: Store) -> bool:
    """A rung is reported also where its trunk diverged; then it has no target phases."""
    specs = job.phases.targets(index)
    return bool(specs) and all(store.has(spec) for spec in specs)


def collect_trial(storage: Storage, job: Job, index: int) -> Exported:
    """Read the sealed predictions of one trial at the rung of that index."""
    files: dict[str, str] = {}
    missing = []
    rung = job.phases.rungs[index]
    for spec in rung.targets:
        for evaluation in (e for e in spec.evaluations if e.sealed):
            task, kind = evaluation.data.task, evaluation.data.kind
            name = f"test-{evaluation.language}.{'json' if kind == 'span_qa' else 'tsv'}"
            predictions = read_predictions(Store(storage), spec, evaluation)
            if predictions is None:
                missing.append(f"{task}/{name}")
                continue
            ids = _ids(storage, job, evaluation) if kind == "span_qa" else ()
            text = xtreme_text(kind, predictions, ids)
            files[f"{task}/{name}"] = text
            files.setdefault(f"{task.removeprefix(PREFIX)}/{name}", text)
    return Exported(job.name, rung.num_examples, files, tuple(missing))


def read_predictions(store: Store, spec: Spec, evaluation: EvaluationSpec) -> list[Any] | None:
    """The predictions of one sealed evaluation in the order of its records; None where the training diverged.

    Raises:
        StoreError: the phase is not finished, or its file is damaged.
        InputError: there are not as many as records.
    """
    name = f"sealed/predictions/{evaluation.data.task}-{evaluation.split}-{evaluation.language}.parquet"
    if name not in store.done(spec)["files"]:
        return None
    table = pq.read_table(store.open(spec, name)).sort_by("record")
    if table["record"].to_pylist() != list(range(evaluation.data.num_records)):
        raise InputError(
            f"{phase_name(spec)}/{name}: there must be one prediction for each of {evaluation.data.num_records} "
            f"records, but there are {len(table)}."
        )
    return list(table["prediction"].to_pylist())


def _ids(storage: Storage, job: Job, evaluation: EvaluationSpec) -> list[str]:
    """Ids of the questions, which lie beside the tokenised examples."""
    path = storage / "data" / Path(job.folders[data_key(evaluation.data)]).name / "references.json"
    if storage.find(path.parent):
        storage.bring(path.parent, [path.name])
    if not path.is_file():
        raise InputError(f"{path}: must be there for the ids of the questions, but was deleted; run the sweep again.")
    return [str(name) for name in json.loads(path.read_text())["ids"]]


def xtreme_text(kind: str, predictions: Sequence[Any], ids: Sequence[str] = ()) -> str:
    """The text of one file as `evaluate.py` reads it.

    Args:
        kind: of the task. Tagging becomes one tag per line with a blank line between sentences (`read_tag`), span QA one
            object from id to answer (`read_squad`), anything else one value per line (`read_label`); of retrieval that is,
            for each English sentence, the place of its nearest one in the other file, counted from 0.
        predictions: one per record, in the order of the publisher's file.
        ids: of the questions, span QA only.
    """
    if kind == "span_qa":
        # The script opens files in the locale's encoding: ASCII is read alike in all of them.
        return json.dumps(dict(zip(ids, predictions, strict=True)), indent=1) + "\n"
    if kind == "tagging":
        return "\n".join("".join(f"{tag}\n" for tag in tags) for tags in predictions)
    return "".join(f"{value}\n" for value in predictions)
