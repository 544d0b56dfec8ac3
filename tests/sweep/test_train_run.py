"""What the processes of a sweep find in their environment."""

import os
import platform
import subprocess
import sys

import pytest

from xlray.config.execution import Execution
from xlray.sweep.train_run import CPU_ENVIRONMENT, CPU_SETTINGS, GPU_SETTINGS, worker_environment

NAME = "PYTORCH_CUDA_ALLOC_CONF"
CPU, GPU = Execution(), Execution(gpus_per_worker=1)


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for name in GPU_SETTINGS | CPU_SETTINGS:
        monkeypatch.delenv(name, raising=False)


def test_memory_of_a_gpu_is_taken_in_segments_that_grow():
    assert worker_environment(GPU)[NAME] == "expandable_segments:True"
    assert NAME not in worker_environment(CPU) and not CPU_SETTINGS & worker_environment(GPU).keys()


@pytest.mark.parametrize(
    ("execution", "settings", "name"),
    [
        *((GPU, GPU_SETTINGS, name) for name in sorted(GPU_SETTINGS)),
        *((CPU, CPU_SETTINGS, n) for n in sorted(CPU_SETTINGS)),
    ],
)
def test_the_users_own_settings_of_the_allocator_stay(monkeypatch, execution, settings, name):
    assert settings & worker_environment(execution).keys()
    monkeypatch.setenv(name, "max_split_size_mb:64")
    assert not settings & worker_environment(execution).keys()


FAULTS = """
import ctypes, resource
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
for _ in range(20):
    block = libc.malloc(64 << 20)
    ctypes.memset(block, 1, 64 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="settings of glibc")
def test_memory_that_a_worker_frees_and_asks_for_again_is_not_cleared_again():
    def faults(environment):
        # By way of another process, as a worker is: of several tunables only the first would arrive.
        command = ["sh", "-c", '"$0" -c "$1"', sys.executable, FAULTS]
        done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults(CPU_ENVIRONMENT) < faults({}) / 5
