"""Rows of a set on the Hugging Face Hub, through `datasets`: its cache is respected, the revision pinned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xlray.errors import InputError
from xlray.tasks.lines import one_example
from xlray.tasks.task import CONVERTED, Hub, Record

BATCH_ROWS = 1_000


def hub_records(hub: Hub, split: str, where: str, otherwise: str = "") -> Iterator[Record]:
    """The records of one split; ids are `<hub split>:<row>`, rows counting from 0.

    Args:
        split: a key of `hub.splits`.
        where: the task and split, for messages.
        otherwise: what else would do, for the message that the set cannot be reached.

    Raises:
        InputError: the set is neither in the cache nor reachable, or a row does not fit its shape.
    """
    rows, shape = _table(hub, split, where, otherwise), hub.shape_of(split)
    number = 0
    for batch in rows.to_batches(max_chunksize=BATCH_ROWS):
        for row in batch.to_pylist():
            fields = None
            with one_example():
                fields = shape(row, f"{where}: {hub.id}, row {number}")
            if fields is not None:
                yield {"id": f"{hub.splits[split]}:{number}"} | fields
            number += 1


def _table(hub: Hub, split: str, where: str, otherwise: str) -> Any:
    from datasets import disable_progress_bars, load_dataset
    from datasets.exceptions import DatasetsError

    disable_progress_bars()
    # The conversion's branch has no card, hence no configurations: there they are folders.
    name = "data_dir" if hub.revision == CONVERTED else "name"
    chosen = {name: hub.config_of(split), "split": hub.splits[split], "revision": hub.revision}
    try:
        loaded = load_dataset(hub.id, **chosen)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:  # RuntimeError: the set is a script
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        pinned = f"{hub.id}@{hub.revision}" if hub.revision else hub.id
        raise InputError(
            f"{where}: {pinned} must be in the Hub's cache or reachable{otherwise}, but: {reason}"
        ) from error
    return loaded.data.table
