"""A sweep from its definition to its results: shared phases, Ray Tune over the trials, the journal.

The Tuner is rebuilt each time from the definition, the journal and the store; Tune's own restore is not used.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from xlray.analysis.results import Results, load_results
from xlray.cluster.node_check import check_nodes, smallest_gpu_bytes
from xlray.config.axes import short_value
from xlray.config.recipes import Encoder, Pretraining
from xlray.config.sweep import Sweep
from xlray.data.encoders import bring_encoder, encoder_vocabulary
from xlray.data.tokenization import Vocabulary, data_folder, load_vocabulary, open_examples, read_counts
from xlray.data.tokenizer import tokenizer_phase
from xlray.errors import BudgetError, FailedTrialsError, InputError, UnfinishedError, XlrayError
from xlray.phases.spec import DataSpec, Spec, TokenizerSpec, data_of
from xlray.phases.store import Store, check_writable
from xlray.plan.definition import check_definition
from xlray.plan.jobs import Prepared
from xlray.plan.search import check_proposals, next_trial, pool_specs
from xlray.plan.sharing import with_sharing
from xlray.plan.trials import Start, SweepPlan, plan_sweep
from xlray.storage.files import write_atomically
from xlray.storage.leases import Leases, process_name
from xlray.storage.standings import OPEN_STATES
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import SweepFolder, open_sweep, sweep_folder
from xlray.sweep.driver import LEASE_TTL_S, Driver, Listener
from xlray.sweep.fork_server import worker_forks
from xlray.sweep.preparation import check_budget, missing_splits, prepare_splits, worth_processes
from xlray.sweep.ray_session import await_machines, check_machine, num_slots, ray_session
from xlray.sweep.reported_jobs import write_jobs
from xlray.sweep.result_tables import write_results, write_shortfalls
from xlray.sweep.tracking import Trackers, check_tracking, tensorboard
from xlray.sweep.tune import tune


def run(
    sweep: Sweep,
    storage: Storage,
    data_dir: Path | str | None = None,
    address: str | None = None,
    listener: Listener = lambda _: None,
    plan: SweepPlan | None = None,
    budget_hours: float | None = None,
) -> Results:
    """Run a sweep, or continue it: what is in the storage is not computed again.

    Args:
        storage: which all workers see.
        data_dir: folder of original distribution files.
        address: of a running Ray cluster; None starts Ray on this machine.
        plan: of this sweep, if it was made before.
        listener: gets every journal entry and `{"event": "stage", ...}` as things happen, `{"event": "note", "text": ...}`
            where a tracker does not take what it is sent.
        budget_hours: device-hours of this run after which no more trials are started.

    Raises:
        InputError: wrong use, before anything is started.
    """
    check_tracking(sweep)
    check_proposals(sweep)
    check_writable(storage)
    if plan is None:
        plan = plan_sweep(sweep, None if data_dir is None else Path(data_dir).expanduser().absolute(), storage)
    if plan.sources.assumed:
        raise InputError(f"sweep {sweep.name!r}: a plan with assumed sizes cannot be run; plan it from its data.")
    # One driver has a sweep's journal at a time, so its name is enough: one that follows a killed one need not wait.
    leases = Leases(storage, f"sweep {sweep.name}", LEASE_TTL_S)
    directory = sweep_folder(storage, sweep.name)

    def say(text: str) -> None:
        listener({"event": "note", "text": text})

    trackers = Trackers(sweep, directory, say)
    told = (tensorboard(sweep, directory, say), trackers)
    driver = Driver(plan, Store(storage), listener, leases, told, budget_hours)
    with driver.directory.journal.exclusive(lambda: listener({"event": "stage", "stage": "lease"})), trackers:
        check_definition(sweep, storage)
        write_atomically(directory / "sweep.json", json.dumps(sweep.definition, indent=1))
        storage.send(directory / "sweep.json")
        write_shortfalls(plan, storage)
        is_open = driver.open(driver.directory.journal.read())
        trackers.catch_up(map(driver.progress, driver.trials))
        listener({"event": "stage", "stage": "planned", "trials": len(driver.plan.trials)})
        if is_open or next_trial(sweep, driver.journal) is not None:
            _compute(driver, address)
        driver.close()
        write_results(driver.plan, driver.store)
        write_jobs(driver, lambda: _prepared(driver))
    return load_results(directory.path)


def prepare(
    plan: SweepPlan, storage: Storage, address: str | None = None, listener: Listener = lambda _: None
) -> list[dict[str, Any]]:
    """Bring everything that a sweep reads into the storage: encoder, tokenizer, tokenised data.

    Returns:
        task, split, records, rows, tokens, longest (tokens of the longest row), truncated (records that were cut),
        unanswerable and lost_answers (of questions; else None) of every split; where encoders have several tokenizers, of
        each, with the encoder.
    """
    plan, store = with_encoders(plan, storage), Store(storage)
    vocabularies = make_vocabularies(plan, store, listener, Leases(storage, process_name(), LEASE_TTL_S))
    wanted = {encoder: specs.values() for encoder, specs in plan.specs_by_encoder().items()}
    missing = {
        (vocabulary.digest, spec): spec
        for encoder, vocabulary in vocabularies.items()
        for spec in missing_splits(storage, _read_by(wanted[encoder]), vocabulary)
    }
    with ray_session(plan.sweep.execution, address) if worth_processes(missing.values()) else contextlib.nullcontext():
        prepared = prepare_data(plan, store, wanted, vocabularies, listener)
    named = {folder: (spec, encoder) for encoder in prepared for spec, folder in prepared[encoder].folders.items()}
    several = len({vocabulary.digest for vocabulary in vocabularies.values()}) > 1
    rows = []
    for folder, (spec, encoder) in sorted(named.items(), key=lambda item: (item[1][0].task, item[1][0].split)):
        lengths = open_examples(folder, spec).row_tokens
        known = read_counts(folder)
        place = {"task": spec.task, "split": spec.split, "records": spec.num_records}
        counts = {"rows": len(lengths), "tokens": int(lengths.sum()), "longest": int(lengths.max())}
        lost = {key: known.get(f"num_{key}") for key in ("truncated", "unanswerable", "lost_answers")}
        rows.append({**place, **counts, **lost, **({"encoder": short_value(encoder)} if several else {})})
    return rows


def _compute(driver: Driver, address: str | None) -> None:
    if address is None:
        check_machine(driver.plan.sweep, driver.plan.starts[driver.plan.widest].architecture)
    store, directory, storage = driver.store, driver.directory, driver.store.storage
    plan = with_encoders(driver.plan, storage)
    vocabularies = make_vocabularies(plan, store, driver.listener, driver.leases)
    asked = plan.sweep.execution
    with ray_session(asked, address, plan.sweep.name) as place, worker_forks(asked, address) as forks:
        _tell(directory, place)
        if address is not None:
            await_machines(lambda: driver.listener({"event": "stage", "stage": "machines"}))
            check_nodes(storage)
        driver.plan = with_sharing(driver.plan, smallest_gpu_bytes)
        execution = driver.plan.sweep.execution
        _tell(directory, {**place, "device_share": execution.device_share})
        slots = num_slots(execution)
        wanted = {
            encoder: [*(spec for key, spec in specs.items() if key not in driver.stored), *pool_specs(plan)]
            for encoder, specs in driver.plan.specs_by_encoder().items()
        }
        prepared = prepare_data(plan, store, wanted, vocabularies, driver.listener)
        if forks is not None and not forks.wait():
            text = f"nothing forks workers, each of which imports everything by itself now: {forks.last_words()}"
            driver.listener({"event": "note", "text": text})
        tune(driver, slots, prepared)


def _tell(directory: SweepFolder, place: Mapping[str, Any]) -> None:
    """Write down for the live page where Ray is, and what part of a device a worker takes."""
    write_atomically(directory / "ray.json", json.dumps(place))
    directory.storage.send(directory / "ray.json")


def _prepared(driver: Driver) -> dict[Encoder | Pretraining, Prepared]:
    """What jobs read, where everything is stored."""
    storage, plan = driver.store.storage, with_encoders(driver.plan, driver.store.storage)
    vocabularies = make_vocabularies(plan, driver.store, lambda _: None, driver.leases)
    found = {}
    for encoder, specs in plan.specs_by_encoder().items():
        vocabulary = vocabularies[encoder]
        folders = {data: data_folder(storage, data, vocabulary) for data in _read_by(specs.values())}
        found[encoder] = Prepared(vocabulary.size, vocabulary.mask, folders, plan.starts[encoder].folder)
    return found


def with_encoders(plan: SweepPlan, storage: Storage) -> SweepPlan:
    """The plan with the encoders that it starts from in the storage; those that the sweep pre-trains are none to bring."""
    starts = {
        encoder: replace(start, folder=bring_encoder(storage, start.root, start.folder))
        for encoder, start in plan.starts.items()
        if start.root is not None and start.folder is not None
    }
    return replace(plan, starts={**plan.starts, **starts})


def make_vocabularies(
    plan: SweepPlan, store: Store, listener: Listener, leases: Leases
) -> dict[Encoder | Pretraining, Vocabulary]:
    """The tokenizer of each encoder; that of one which the sweep pre-trains is trained, unless it is stored."""

    def vocabulary_of(start: Start) -> Vocabulary:
        if not start.shared:
            assert start.folder is not None
            return encoder_vocabulary(start.folder)
        spec = start.shared[0]
        assert isinstance(spec, TokenizerSpec)
        listener({"event": "stage", "stage": "tokenizer"})
        records = (r for data in spec.data for r in plan.sources.records(data))
        return load_vocabulary(tokenizer_phase(spec, store, records, plan.sweep.name, leases), spec.vocab_size)

    return {encoder: vocabulary_of(start) for encoder, start in plan.starts.items()}


def _read_by(specs: Iterable[Spec]) -> set[DataSpec]:
    """Every split that phases read as token ids; tokenizers are trained on text."""
    return {data for spec in specs if not isinstance(spec, TokenizerSpec) for data in data_of(spec)}


def prepare_data(
    plan: SweepPlan,
    store: Store,
    specs: Mapping[Encoder | Pretraining, Iterable[Spec]],
    vocabularies: Mapping[Encoder | Pretraining, Vocabulary],
    listener: Listener,
) -> dict[Encoder | Pretraining, Prepared]:
    """Tokenise every split that the phases of each encoder read, once for all encoders with one tokenizer.

    Raises:
        InputError: a row is longer than a micro-batch may be.
    """
    wanted = {encoder: _read_by(inside) for encoder, inside in specs.items()}
    total = len({(vocabularies[encoder].digest, data) for encoder, inside in wanted.items() for data in inside})
    listener({"event": "stage", "stage": "prepare", "splits": total})
    stage = {"event": "stage", "stage": "tokenise", "splits": total}
    number = itertools.count(1)
    prepared = {}
    for encoder, vocabulary in vocabularies.items():
        folders = prepare_splits(
            plan.sources,
            store.storage,
            wanted[encoder],
            vocabulary,
            lambda spec: listener({**stage, "task": spec.task, "split": spec.split, "number": next(number)}),
        )
        if plan.sweep.execution.micro_batch_tokens != "auto":  # which is never below the longest row
            check_budget(folders, int(plan.sweep.execution.micro_batch_tokens))
        prepared[encoder] = Prepared(vocabulary.size, vocabulary.mask, folders, plan.starts[encoder].folder)
    return prepared


HALTED: dict[str, type[XlrayError]] = {
    "interrupted": UnfinishedError,
    "storage": UnfinishedError,
    "budget": BudgetError,
    "failed": FailedTrialsError,
}


def how_it_ended(results: Results) -> XlrayError | None:
    """What the last run of a sweep left to be done, with the exit code for it; None where all trials ended well."""
    for entry in reversed(open_sweep(results.directory).journal.read()):
        if entry["event"] == "halted":
            return HALTED[entry["reason"]](f"{entry['text']} Run the same command again to resume.")
        if entry["event"] == "opened":
            break
    found = results.trials["status"].to_pylist()
    if num_open := sum(status in OPEN_STATES for status in found):
        return UnfinishedError(f"{num_open} of {len(found)} trials are open; run the same command again to resume.")
    if "failed" in found:
        return FailedTrialsError(
            f"{found.count('failed')} of {len(found)} trials failed; `xlray status {results.directory.name} --json` has "
            "the reasons; run the same command again to retry them."
        )
    return None
