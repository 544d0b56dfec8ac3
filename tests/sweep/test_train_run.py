"""What the processes of a sweep find in their environment."""

import pytest

from xlray.config.execution import Execution
from xlray.sweep.train_run import ALLOCATOR_SETTINGS, worker_environment

NAME = "PYTORCH_CUDA_ALLOC_CONF"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in ALLOCATOR_SETTINGS:
        monkeypatch.delenv(name, raising=False)


def test_memory_of_a_gpu_is_taken_in_segments_that_grow():
    assert worker_environment(Execution(gpus_per_worker=1))[NAME] == "expandable_segments:True"
    assert NAME not in worker_environment(Execution())


@pytest.mark.parametrize("name", sorted(ALLOCATOR_SETTINGS))
def test_the_users_own_settings_of_the_allocator_stay(monkeypatch, name):
    monkeypatch.setenv(name, "max_split_size_mb:64")
    assert not ALLOCATOR_SETTINGS & worker_environment(Execution(gpus_per_worker=1)).keys()
