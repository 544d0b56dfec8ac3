"""A sweep from its definition to its results: shared phases, Ray Tune over the trials, the journal.

The Tuner is rebuilt each time from the definition, the journal and the store; Tune's own restore is not used.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.tune
from ray.tune.logger import TBXLoggerCallback

from xlray.collect import OPEN_STATES, check_definition, statuses, write_results
from xlray.config import Sweep, Trial
from xlray.data import Vocabulary, load_vocabulary, open_examples, read_counts
from xlray.driver import Driver, JournalCallback, Listener, open_trials
from xlray.files import write_atomically
from xlray.jobs import data_of, make_job, trial_title, write_job
from xlray.journal import exclusive, read_journal
from xlray.phases import DataSpec, Spec, TokenizerSpec
from xlray.plan import PlannedPhase, SweepPlan, plan_sweep
from xlray.preparation import check_budget, missing_splits, prepare_splits, worth_processes
from xlray.recipes import Pretraining
from xlray.results import Results, load_results
from xlray.scheduler import RungScheduler
from xlray.session import ray_session
from xlray.sources import bring_encoder, encoder_vocabulary
from xlray.store import Store, check_writable
from xlray.tokenizer import tokenizer_phase
from xlray.trial import fit, run_trial


def run(
    sweep: Sweep,
    storage: Path | str = "runs",
    data_dir: Path | str | None = None,
    address: str | None = None,
    listener: Listener = lambda _: None,
    plan: SweepPlan | None = None,
) -> Results:
    """Run a sweep, or continue it: what is in the storage is not computed again.

    Args:
        storage: folder that all workers see.
        data_dir: folder of original distribution files.
        address: of a running Ray cluster; None starts Ray on this machine.
        plan: of this sweep, if it was made before.
        listener: gets every journal entry and `{"event": "stage", ...}` as things happen.

    Raises:
        InputError: wrong use, before anything is started.
    """
    root = Path(storage).expanduser().absolute()
    check_writable(root)
    if plan is None:
        plan = plan_sweep(sweep, None if data_dir is None else Path(data_dir).expanduser().absolute(), root)
    driver = Driver(plan, Store(root), listener)
    directory = driver.directory
    directory.mkdir(parents=True, exist_ok=True)
    with exclusive(directory / "journal"):
        check_definition(sweep, root)
        write_atomically(directory / "sweep.json", json.dumps(sweep.definition, indent=1))
        driver.journal = read_journal(directory / "journal")
        todo = open_trials(driver)
        listener({"event": "stage", "stage": "planned", "trials": len(plan.trials), "open": len(todo)})
        if todo:
            _compute(driver, todo, address)
        write_results(plan, driver.store)
    return load_results(directory)


def prepare(
    plan: SweepPlan, root: Path, address: str | None = None, listener: Listener = lambda _: None
) -> list[dict[str, Any]]:
    """Bring everything that a sweep reads into the storage: encoder, tokenizer, tokenised data.

    Returns:
        task, split, records, rows, tokens, longest (tokens of the longest row), truncated (records that were cut),
        unanswerable and lost_answers (of questions; else None) of every split.
    """
    store = Store(root)
    if plan.root is not None and plan.folder is not None:
        plan = replace(plan, folder=bring_encoder(root, plan.root, plan.folder))
    vocabulary = make_vocabulary(plan, store, listener)
    specs = [spec for spec in plan.all_specs().values() if not isinstance(spec, TokenizerSpec)]
    missing = missing_splits(root, {data for spec in specs for data in data_of(spec)}, vocabulary)
    with ray_session(plan.sweep.execution, address) if worth_processes(missing) else contextlib.nullcontext():
        folders = prepare_data(plan, store, specs, vocabulary, listener)
    rows = []
    for spec, folder in sorted(folders.items(), key=lambda item: (item[0].task, item[0].split)):
        lengths = open_examples(folder, spec).row_tokens
        known = read_counts(folder)
        counts = {"rows": len(lengths), "tokens": int(lengths.sum()), "longest": int(lengths.max())}
        lost = {key: known.get(f"num_{key}") for key in ("truncated", "unanswerable", "lost_answers")}
        rows.append({"task": spec.task, "split": spec.split, "records": spec.num_records, **counts, **lost})
    return rows


def _compute(driver: Driver, todo: list[Trial], address: str | None) -> None:
    plan, store = driver.plan, driver.store
    if plan.root is not None and plan.folder is not None:
        plan = driver.plan = replace(plan, folder=bring_encoder(store.root, plan.root, plan.folder))
    vocabulary = make_vocabulary(plan, store, driver.listener)
    phases = {t.trial_id: plan.phases[t.trial_id] for t in todo}
    shared = tuple(PlannedPhase(s) for s in plan.shared if not isinstance(s, TokenizerSpec))
    directory = driver.directory
    with ray_session(plan.sweep.execution, address):
        wanted = [p.spec for p in (*shared, *(p for ps in phases.values() for p in ps)) if not store.has(p.spec)]
        folders = prepare_data(plan, store, wanted, vocabulary, driver.listener)
        before = tuple(p for p in shared if not store.has(p.spec))
        if before:
            driver.listener(
                {"event": "stage", "stage": "pretrain", "progress": str(directory / "progress/shared.json")}
            )
            job = make_job("shared", before, plan, store, folders, vocabulary, directory)
            write_job(directory / "jobs" / "shared.json", job)
            fit(directory / "jobs" / "shared.json", plan.sweep.execution, f"shared-{os.urandom(3).hex()}")
        known = statuses(driver.journal)
        for trial in todo:
            job = make_job(trial.trial_id, phases[trial.trial_id], plan, store, folders, vocabulary, directory)
            write_job(directory / "jobs" / f"{trial.trial_id}.json", job)
            if trial.trial_id not in known:
                driver.write(
                    {
                        "event": "created",
                        "trial_id": trial.trial_id,
                        "cell": trial.cell,
                        "role": trial.role,
                        "tasks": list(trial.config.tasks),
                        "seed": trial.config.seed,
                    }
                )
        driver.listener({"event": "stage", "stage": "trials", "open": len(todo)})
        _tune(driver, todo)


def make_vocabulary(plan: SweepPlan, store: Store, listener: Listener) -> Vocabulary:
    """The tokenizer of the encoder; a sweep that pre-trains its own trains it, unless it is stored."""
    if not isinstance(plan.sweep.encoder, Pretraining):
        assert plan.folder is not None
        return encoder_vocabulary(plan.folder)
    spec = plan.shared[0]
    assert isinstance(spec, TokenizerSpec)
    listener({"event": "stage", "stage": "tokenizer"})
    records = (r for data in spec.data for r in plan.sources.records(data))
    path = tokenizer_phase(spec, store, records, plan.sweep.name)
    return load_vocabulary(path, spec.vocab_size)


def prepare_data(
    plan: SweepPlan, store: Store, specs: Iterable[Spec], vocabulary: Vocabulary, listener: Listener
) -> dict[DataSpec, Path]:
    """Tokenise every split that the phases read; the folder of each.

    Raises:
        InputError: a row is longer than a micro-batch may be.
    """
    wanted = {data for spec in specs for data in data_of(spec)}
    listener({"event": "stage", "stage": "prepare", "splits": len(wanted)})
    stage = {"event": "stage", "stage": "tokenise", "splits": len(wanted)}
    number = itertools.count(1)
    folders = prepare_splits(
        plan.sources,
        store.root,
        wanted,
        vocabulary,
        lambda spec: listener({**stage, "task": spec.task, "split": spec.split, "number": next(number)}),
    )
    check_budget(folders, plan.sweep.execution.micro_batch_tokens)
    return folders


def _tune(driver: Driver, todo: list[Trial]) -> None:
    directory, sweep = driver.directory, driver.plan.sweep
    titles = {t.trial_id: trial_title(sweep, t) for t in todo}
    config = {
        "trial_id": ray.tune.grid_search([t.trial_id for t in todo]),
        "jobs": str(directory / "jobs"),
    }
    tuner = ray.tune.Tuner(
        ray.tune.with_resources(run_trial, {"CPU": 0, "trial_driver": 1}),
        param_space=config,
        tune_config=ray.tune.TuneConfig(
            metric="fi_accuracy",
            mode="max",
            scheduler=RungScheduler(driver.on_rung),
            max_concurrent_trials=sweep.execution.max_concurrent_trials,
            trial_name_creator=lambda trial: titles[trial.config["trial_id"]],
            trial_dirname_creator=lambda trial: titles[trial.config["trial_id"]],
        ),
        run_config=ray.tune.RunConfig(
            name="tensorboard",
            storage_path=str(directory),
            callbacks=[JournalCallback(driver), TBXLoggerCallback()],
            failure_config=ray.tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    tuner.fit()


def exit_code(results: Results) -> int:
    """0 all trials ended, 3 some failed, 4 some are still open (interrupted: run again)."""
    found = results.trials["status"].to_pylist()
    if any(status in OPEN_STATES for status in found):
        return 4
    return 3 if "failed" in found else 0
