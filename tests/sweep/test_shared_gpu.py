"""Several trials on one GPU, on a Ray that believes it has one: as many run at one time as fit, and none takes another down."""

import dataclasses
import json
import os

import pytest

from xlray.config.execution import Execution

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
HALF = Execution(gpus_per_worker=0.5, max_concurrent_trials=3)  # so that it is Ray that lets the third wait


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """What each worker of three trials at a half saw, the journal, the number of places, and the memory of a GPU."""
    import shared_gpu
    from ray import cloudpickle

    from xlray.bench import queue
    from xlray.cluster.node_check import smallest_gpu_bytes
    from xlray.storage.sweep_folder import open_sweep
    from xlray.sweep.ray_session import num_slots, ray_session

    folder = tmp_path_factory.mktemp("shared")
    (smi := folder / "nvidia-smi").write_text("#!/bin/sh\necho '81559\n24564'\n")
    smi.chmod(0o755)
    cloudpickle.register_pickle_by_value(shared_gpu)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 1, "CPU": 8}')
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        patch.setattr(queue, "no_op_trial", shared_gpu.shared_trial)
        with ray_session(HALF, None):
            patch.delenv("RAY_OVERRIDE_RESOURCES")
            size = smallest_gpu_bytes()
            slots = num_slots(dataclasses.replace(HALF, max_concurrent_trials=None))
            queue.queued_runs(3, HALF, folder)
    jobs = folder / "sweeps/no-op/jobs"
    seen = [json.loads(path.read_text()) for path in jobs.glob("*.seen")]
    (failed,) = [json.loads(path.read_text()) for path in jobs.glob("*.failed")]
    return seen, failed, open_sweep(folder / "sweeps/no-op").journal.read(), slots, size


def test_two_trials_at_a_half_run_at_one_time_and_a_third_waits(ran):
    seen, failed, _, slots, _ = ran
    assert slots == 2 and len(seen) == 3
    spans = sorted((one["began"], one["ended"]) for one in (*seen, failed))
    assert max(sum(began <= start < ended for began, ended in spans) for start, _ in spans) <= 2
    assert spans[1][0] - spans[0][0] < 2.0  # both were there
    assert spans[2][0] >= min(ended for _, ended in spans[:2])  # somebody left first


def test_each_sees_the_one_gpu_and_no_other(ran):
    assert [(one["visible"], one["gpus"]) for one in ran[0]] == [("0", [0])] * 3


def test_one_that_runs_out_of_memory_is_retried_and_the_others_go_on(ran):
    entries = ran[2]
    assert [e["kind"] for e in entries if e["event"] == "retried"] == ["memory"]
    assert len([e for e in entries if e["event"] == "running"]) == 4
    assert len([e for e in entries if e["event"] == "finished"]) == 3


def test_the_nodes_are_asked_for_the_memory_of_their_gpus(ran):
    assert ran[4] == 24_564 * 2**20
