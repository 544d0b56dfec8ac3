"""A finished sweep with sealed predictions, for tests of exports."""

from __future__ import annotations

import itertools
import json

import helpers

from xlray.config.execution import Execution
from xlray.phases.spec import EvaluationSpec, Phases, RetrievalSpec, Rung, data_key
from xlray.phases.store import Store
from xlray.plan.jobs import Job, write_job
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep
from xlray.training.score_files import Outcome, nothing, write_outcomes

RUNGS = (256, 512)


TAGS = [["DET", "NOUN", "VERB"], ["X"], ["NOUN", "PUNCT"]]


IDS = ["finnish-7", "finnish-3", "finnish-5"]


ANSWERS = ["vuonna 4000 eaa", "", 'äiti "ja" isä']


NEAREST = [2, 0, 1, 1]


PREDICTIONS = {"udpos": TAGS, "tydiqa": ANSWERS, "tatoeba": NEAREST}


KINDS = {"udpos": "tagging", "tydiqa": "span_qa", "tatoeba": "retrieval"}


def evaluations(task, num_records, languages=("fi",)):
    """Dev and test in each language; of a set that is published undivided both are of the same records."""
    kind, found = KINDS[task.removeprefix("mini_")], []
    for language, split in itertools.product(languages, ("dev", "test")):
        part = "all" if task.endswith("tatoeba") else split
        data = helpers.data_spec(task, kind, f"{part}/{language}", [num_records] * num_records)
        found.append(EvaluationSpec(data, language, split, split == "test", (split, language) == ("dev", languages[0])))
    return tuple(found)


def target_phase(task, parent, predictions, languages=("fi",)):
    found = evaluations(task, len(predictions), languages)
    if task.endswith("tatoeba"):
        return RetrievalSpec(parent, found, 1, "fp32", 1)
    return helpers.train_spec(
        "target", parent, [helpers.data_spec(task, found[0].data.kind, "train/en", [])], evaluations=found
    )


def finish(store, spec, predictions):
    """Store the phase as its training would; `predictions` None: it diverged."""
    outcomes = [
        nothing(e)
        if predictions is None
        else Outcome(
            e,
            {"headline": 50.0 if e.language == "fi" else 45.0},
            {},
            len(predictions),
            predictions if e.sealed else predictions[::-1],
        )
        for e in spec.evaluations
    ]
    with store.staging(spec) as staged:
        write_outcomes(staged, outcomes)
        store.commit(spec, staged, {"num_steps": 4})


def make_sweep(root, trials, prefix="", targets=tuple(PREDICTIONS), languages=("fi",)):
    """A store with a sweep `s` of `trials`: id to number of rungs finished, of two."""
    store, directory = Store(Storage(root)), root / "sweeps" / "s"
    for trial, num_finished in trials.items():
        specs, folders = [[] for _ in RUNGS], {}
        for index, task in itertools.product(range(len(RUNGS)), targets):
            spec = target_phase(prefix + task, f"{trial}-{index}", PREDICTIONS[task], languages)
            specs[index].append(spec)
            folder = root / "data" / f"{prefix}{task}-x"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "references.json").write_text(json.dumps({"ids": IDS}))
            folders |= {data_key(e.data): f"/moved/since/{folder.name}" for e in spec.evaluations}
            if index < num_finished:
                finish(store, spec, PREDICTIONS[task][:: 1 if index else -1])
        phases = Phases(tuple(Rung(size, targets=tuple(here)) for size, here in zip(RUNGS, specs, strict=True)))
        job = Job(trial, "s", Storage(root), Execution(), phases, folders, {}, 9, 4, directory / "progress" / trial)
        write_job(directory / "jobs" / f"{trial}.json", job)
        open_sweep(directory).journal.append({"event": "created", "trial_id": trial, "role": "measure"})
        for index in range(num_finished):
            place = {"trial_id": trial, "role": "measure", "rung_index": index, "rung": RUNGS[index]}
            open_sweep(directory).journal.append({"event": "rung", **place})
    (directory / "sweep.json").write_text(json.dumps({"name": "s"}))
    return directory
