"""The small sweep, run once for all end-to-end tests."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
from running_sweeps import finish, start


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the small sweep has run to its end; one for all processes of a run of the tests."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder = root / "undisturbed"
    with (root / "undisturbed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the process that comes second waits for the sweep of the first
        if not (root / "undisturbed.ended").exists():
            folder.mkdir(exist_ok=True)
            code, output = finish(start(folder))
            assert code == 0, output
            (root / "undisturbed.ended").touch()
    return folder
