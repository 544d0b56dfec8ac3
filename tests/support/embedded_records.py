"""Records of the embedded world for tests that plan many sweeps: generated once, since a plan costs seconds without them."""

from __future__ import annotations

import functools
from unittest import mock

import pytest

from xlray.data import records
from xlray.data.registry import find_task
from xlray.tasks import load_records


@functools.cache
def _loaded(name, split):
    return load_records(find_task(name), split)


@pytest.fixture(scope="module", autouse=True)
def records_are_generated_once():
    """For sweeps over registered tasks that need no files."""
    with mock.patch.object(records, "load_records", lambda task, split, *_: _loaded(task.name, split)):
        yield
