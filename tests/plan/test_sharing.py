"""Trials that share a GPU: what each takes of it, how many fit, and what that costs."""

import dataclasses
import os

import pytest

from xlray.config.execution import Execution
from xlray.config.recipes import XLM_R_LARGE
from xlray.data.encoders import KNOWN_ARCHITECTURES
from xlray.errors import InputError
from xlray.plan import sharing
from xlray.plan.memory import GIB, USABLE, ModelShape, predict

LARGE = ModelShape(KNOWN_ARCHITECTURES[XLM_R_LARGE.path])
GPU = Execution(gpus_per_worker=1)


@pytest.mark.parametrize("number", [2, 3, 4, 6, 7, 8, 9, 10, 13])
@pytest.mark.parametrize("named", [True, False])
def test_as_many_workers_as_share_a_gpu_fit_on_it_for_ray(number, named):
    execution = Execution(gpus_per_worker=1, trials_per_gpu=number) if named else Execution(gpus_per_worker=1 / number)
    grains = round(10_000 * execution.gpu_share)
    assert execution.gpu_share == grains / 10_000 and number * grains <= 10_000 < (number + 1) * grains
    assert execution.workers_per_device == number
    assert execution.device_share == pytest.approx(1 / number)


@pytest.mark.parametrize(("share", "together"), [(0.4, 2), (0.6, 1), (0.34, 2), (0.0001, 10_000)])
def test_a_fraction_that_divides_no_gpu_leaves_a_rest(share, together):
    assert Execution(gpus_per_worker=share).workers_per_device == together


def test_whole_devices_are_what_they_were():
    for execution, gpus in ((Execution(), 0.0), (GPU, 1.0), (Execution(trials_per_gpu=4), 0.0)):
        assert (execution.device_share, execution.gpu_share, execution.workers_per_device) == (1.0, gpus, 1)


def test_six_of_xlm_r_large_with_recomputed_activations_fit_80_gib():
    execution = dataclasses.replace(GPU, activation_checkpointing=True)
    number = sharing.trials_that_fit(LARGE, "bf16", execution, 80 * GIB)
    assert number == 6
    share = dataclasses.replace(execution, gpus_per_worker=1 / number)
    limit = sharing.limit_bytes(share, 80 * GIB)
    assert predict(LARGE, "bf16", share, 8_192).device <= USABLE * limit
    assert number * (limit + sharing.PROCESS_BYTES) <= 80 * GIB
    assert (number + 1) * (predict(LARGE, "bf16", share, 8_192).device / USABLE + sharing.PROCESS_BYTES) > 80 * GIB


def test_auto_takes_at_least_one_and_no_more_than_the_host_can_feed():
    assert sharing.trials_that_fit(LARGE, "bf16", GPU, 8 * GIB) == 1
    tiny = ModelShape(dataclasses.replace(LARGE.architecture, hidden_size=64, num_layers=1, intermediate_size=128))
    assert sharing.trials_that_fit(tiny, "bf16", GPU, 80 * GIB) == sharing.MOST_PER_GPU


def test_a_share_that_holds_no_tensor_is_refused():
    with pytest.raises(InputError, match=r"gpus_per_worker \* 80.0 GiB > 0.75 GiB.*but got 0.001"):
        sharing.limit_bytes(Execution(gpus_per_worker=0.001), 80 * GIB)


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """An nvidia-smi that says what it is told to."""

    def say(text, code=0):
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return say


def test_the_smallest_gpu_of_a_machine_counts(smi):
    smi("81559\n24564")
    assert sharing.gpu_bytes() == 24_564 * 2**20
    smi("NVIDIA-SMI has failed because it could not communicate with the driver.", 9)
    assert sharing.gpu_bytes() is None
    smi("[N/A]")
    assert sharing.gpu_bytes() is None
