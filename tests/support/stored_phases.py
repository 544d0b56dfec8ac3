"""A phase with a result, and what lies in an object store."""

from __future__ import annotations

import helpers

from xlray.phases.store import Store

SPEC = helpers.train_spec("cooldown", "abc", [])


OTHER = helpers.train_spec("cooldown", "def", [])


RECORD = {"num_steps": 4}


def finish(storage, text="weights", spec=SPEC):
    store = Store(storage)
    with store.staging(spec) as staged:
        (staged / "weights").mkdir()
        (staged / "weights" / "model.safetensors").write_text(text)
        (staged / "scores.parquet").write_text(text)
        store.commit(spec, staged, RECORD)


def objects(storage, prefix=""):
    return sorted(storage.remote.list(prefix))
