"""A node that is taken away with notice: the watcher drains it, the trial saves at once and resumes elsewhere."""

import datetime
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from imds_server import start_instance

from xlray.cluster import spot
from xlray.storage.sweep_folder import open_sweep

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
NOTICE_S = 40
SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Subset, Sweep, Target

sweep = Sweep(
    name="drained",
    encoder=Pretraining(
        tasks=("mini_text",), architecture=Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32
    ),
    measure=(Subset(("mini_topic_en",)),),
    intermediate=Intermediate(
        rungs=(1_600_000,), batch_size=16, learning_rate=1e-3, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(Target("mini_tatoeba"),),
    execution=Execution(num_workers=2, micro_batch_tokens=1024, checkpoint_every_steps=10**9),
)
"""


def wait_for(what, seconds=240.0):
    """The first thing that is found; a bound on hanging, not a measurement."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what.__name__}: not within {seconds:g} s")


@pytest.fixture
def cluster(monkeypatch):
    """A head that drives trials and three nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    for name, value in {
        "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5",
        "RAY_enable_infeasible_task_early_exit": "0",
    }.items():
        monkeypatch.setenv(name, value)
    found = Cluster()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found.add_node(num_cpus=0, resources={"trial_driver": 4}, include_dashboard=True, dashboard_port=port)
    workers = [found.add_node(num_cpus=1) for _ in range(3)]
    yield found, workers
    found.shutdown()


def steps(folder):
    """The numbers of the steps that were executed, in order."""
    (path,) = folder.glob("trunk-*/attempt/steps.log")
    return [int(line.split()[0]) for line in path.read_text().splitlines() if line.count(" ") == 3]


def test_a_notice_costs_no_failure_and_few_steps(cluster, tmp_path):
    found, workers = cluster
    (tmp_path / "drained.py").write_text(SWEEP)
    phases, folder = tmp_path / "runs" / "phases", tmp_path / "runs" / "sweeps" / "drained"
    command = [sys.executable, "-m", "xlray", "run", str(tmp_path / "drained.py"), "--storage", str(tmp_path / "runs")]
    with (tmp_path / "output").open("w") as output:
        sweep = subprocess.Popen([*command, "--address", found.address], stdout=output, stderr=subprocess.STDOUT)
    instance, url, stop = start_instance()
    try:

        def training():
            assert sweep.poll() is None, (tmp_path / "output").read_text()
            return list(phases.glob("trunk-*/attempt/steps.log")) and len(steps(phases)) > 50

        wait_for(training)
        place = json.loads(next(folder.glob("progress/*.ray.json")).read_text())
        assert len({worker["node_id"] for worker in place["workers"]}) == 2
        lost = place["workers"][1]["node_id"]
        watcher = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "xlray.cluster.spot",
                "--address",
                found.address,
                "--node-id",
                lost,
                "--poll-s",
                "0.2",
            ],
            env={**os.environ, spot.ENDPOINT_VARIABLE: url},
            stdout=subprocess.PIPE,
            text=True,
        )
        due = time.time() + NOTICE_S
        at = datetime.datetime.fromtimestamp(due, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        instance.texts[spot.ACTION_PATH] = json.dumps({"action": "terminate", "time": at})
        said, _ = watcher.communicate(timeout=60)
        assert watcher.returncode == 0 and f"node {lost} is being drained" in said

        def states():
            return {int(path.stem.split("-")[1]) for path in phases.glob("trunk-*/attempt/state-*.safetensors")}

        (first, *_) = wait_for(lambda: sorted(states()))
        assert time.time() < due, "the state must be saved at the notice"
        later = wait_for(lambda: max(states()) > first and max(states()))

        def again():
            executed = steps(phases)
            return next((step for before, step in itertools.pairwise(executed) if step <= before), None)

        # The node is gone now; what was saved last is where the others resume from, on the node that was idle.
        node = next(one for one in workers if one.node_id == lost)
        wait_for(lambda: time.time() > due - spot.SPARE_S)
        assert again() is None or again() == later
        found.remove_node(node, allow_graceful=False)
        assert wait_for(again) == later
        events = [entry["event"] for entry in open_sweep(folder).journal.read()]
        assert "retried" not in events and "failed" not in events
        hosts = json.loads(next(folder.glob("progress/*.ray.json")).read_text())["workers"]
        assert lost not in {worker["node_id"] for worker in hosts}
        executed = steps(phases)
        print(f"steps {len(executed)}, repeated {len(executed) - len(set(executed))}, first save {first}, last {later}")
        sweep.send_signal(signal.SIGINT)
        assert sweep.wait(120) == 4
    finally:
        stop()
        sweep.kill()
        sweep.wait()
