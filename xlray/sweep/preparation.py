"""Tokenise the splits of a sweep into the storage, each once: large ones in parallel over Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import ray

from xlray.data.records import Sources
from xlray.data.tokenization import Vocabulary, data_folder, open_examples, prepare
from xlray.errors import InputError
from xlray.phases.spec import DataSpec
from xlray.storage.storage import Storage

PARALLEL_FROM = 50_000  # records; below, starting processes costs more than it saves

Progress = Callable[[DataSpec], None]


def prepare_splits(
    sources: Sources,
    storage: Storage,
    specs: Iterable[DataSpec],
    vocabulary: Vocabulary,
    progress: Progress = lambda _: None,
) -> dict[DataSpec, Path]:
    """Tokenise what is not in the storage yet. Safe to interrupt, and while another process does the same.

    Where Ray is initialised, many records are tokenised by one Ray task per split.

    Args:
        progress: is told of each split when its tokenisation begins.

    Returns:
        the folder of each split.
    """
    folders = {spec: data_folder(storage, spec, vocabulary) for spec in specs}
    missing = missing_splits(storage, folders, vocabulary)
    if ray.is_initialized() and worth_processes(missing):
        _prepare_in_parallel(sources, storage, missing, vocabulary, progress)
    else:
        for spec in missing:
            progress(spec)
            prepare(storage, spec, sources.records(spec), vocabulary)
            sources.release(spec)
    for folder in folders.values():
        storage.bring(folder)
    return folders


def missing_splits(storage: Storage, specs: Iterable[DataSpec], vocabulary: Vocabulary) -> list[DataSpec]:
    """The splits that are not in the storage yet, in a fixed order."""
    return sorted(
        (spec for spec in specs if not storage.find(data_folder(storage, spec, vocabulary))),
        key=lambda spec: (spec.task, spec.split, spec.max_length, spec.fingerprint),
    )


def worth_processes(specs: Iterable[DataSpec]) -> bool:
    """Whether there is enough to tokenise for processes of its own."""
    return sum(spec.num_records for spec in specs) >= PARALLEL_FROM


def _prepare_in_parallel(
    sources: Sources, storage: Storage, specs: list[DataSpec], vocabulary: Vocabulary, progress: Progress
) -> None:
    task = ray.remote(num_cpus=1)(prepare)
    running: list[ray.ObjectRef] = []
    for spec in specs:
        at_once = max(1, int(ray.cluster_resources().get("CPU", 1)))  # nodes may come while this continues
        if len(running) >= at_once:  # records wait in memory for their task, so only as many as can run
            done, running = ray.wait(running)
            ray.get(done)
        progress(spec)
        running.append(task.remote(storage, spec, sources.records(spec), vocabulary))
        sources.release(spec)
    ray.get(running)


def check_budget(folders: dict[DataSpec, Path], budget: int) -> None:
    """Raise `InputError` where a row does not fit into a micro-batch of `budget` tokens.

    All choices of an example, or a pair of sentences, go through the model together.
    """
    for spec, folder in folders.items():
        longest = int(open_examples(folder, spec).row_tokens.max())
        if longest > budget:
            raise InputError(
                f"task {spec.task!r}, split {spec.split!r}: `execution.micro_batch_tokens >= {longest}` (its longest "
                f"row) must hold, but got {budget}."
            )
