"""Trials that meet on one GPU that Ray only believes in: each writes down what it saw, and one runs out of memory."""

import json
import os
import time
from pathlib import Path
from unittest import mock

AT_ONE_TIME = 2
STAY_S = 4.0  # long enough for one more to start if there were room
WITHIN_S = 200.0  # a bound on hanging, not a measurement


def meet(config):
    """What a worker runs: wait until all that fit are here, stay a while, and leave."""
    import ray.train
    import torch

    trial, folder = Path(config["job"]).stem, Path(config["job"]).parent / "meeting"
    folder.mkdir(exist_ok=True)
    here = folder / f"{trial}-{os.getpid()}"
    here.write_text("")
    end = time.monotonic() + WITHIN_S
    while len(list(folder.glob("*"))) < AT_ONE_TIME and time.monotonic() < end:
        time.sleep(0.05)
    began, failed = time.time(), folder.parent / "failed"
    try:
        failed.mkdir()
    except FileExistsError:
        time.sleep(STAY_S)
    else:
        (folder.parent / f"{here.name}.failed").write_text(json.dumps({"began": began, "ended": time.time()}))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. 19.25 GiB allowed")
    device = {"visible": os.environ.get("CUDA_VISIBLE_DEVICES"), "gpus": ray.get_gpu_ids()}
    (folder.parent / f"{here.name}.seen").write_text(json.dumps({**device, "began": began, "ended": time.time()}))
    place = {"rung_index": 0, "rung": 64, "trial_name": trial}
    ray.train.report({**place, "score": 1.0, "fi_accuracy": 1.0, "degenerate": "", "diverged": False})


def shared_trial(config):
    """What Ray Tune runs: a Train run on a part of a GPU whose worker computes nothing, and joins by gloo."""
    from xlray.plan.jobs import read_job
    from xlray.sweep import train_run
    from xlray.sweep.ray_patches import ProcessGroup

    path = f"{config['jobs']}/{config['trial_id']}.json"
    backends = []

    def without_a_gpu(backend):
        backends.append(backend)
        return ProcessGroup("gloo")

    with mock.patch.object(train_run, "ProcessGroup", without_a_gpu):
        execution = read_job(Path(path)).execution
        train_run.fit(path, execution, config["run"], config["stop"], [train_run.ReportToTune()], meet)
    assert backends == ["nccl"]
