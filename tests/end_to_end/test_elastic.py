"""A trial that runs on what there is: its cluster loses a node without notice and gets another one."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from running_sweeps import finish, scores

from xlray.storage.sweep_folder import open_sweep
from xlray.sweep.ray_session import _free_port

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(1_200)]
# So many steps since growth of a group is checked once a minute; so small ones since rounding grows with what is learned.
SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Subset, Sweep, Target

sweep = Sweep(
    name="small",
    encoder=Pretraining(
        tasks=("mini_text",), architecture=Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32
    ),
    measure=(Subset(("mini_topic_en",)),),
    intermediate=Intermediate(
        rungs=(256_000,), batch_size=32, learning_rate=1e-6, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(Target("mini_udpos", num_examples=256, batch_size=16, learning_rate=1e-3), Target("mini_tatoeba")),
    execution=Execution(num_workers=WORKERS, micro_batch_tokens=1024, checkpoint_every_steps=100),
)
"""


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A head that drives trials; the test adds what computes."""
    from ray.cluster_utils import Cluster

    found = Cluster()
    found.add_node(num_cpus=0, resources={"trial_driver": 4}, include_dashboard=True, dashboard_port=_free_port())
    yield found
    found.shutdown()


def run(folder: Path, workers: str, address: str) -> subprocess.Popen[str]:
    folder.mkdir(parents=True)
    (folder / "small.py").write_text(SWEEP.replace("WORKERS", workers))
    command = [sys.executable, "-m", "xlray", "run", str(folder / "small.py"), "--storage", str(folder / "runs")]
    return subprocess.Popen(
        [*command, "--address", address], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def trunk_steps(folder: Path) -> int:
    logs = list((folder / "runs" / "phases").glob("trunk-*/attempt/steps.log"))
    return len(logs[0].read_text().splitlines()) if logs else 0


def wait_until(holds: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 400  # a bound on hanging, not a measurement
    while not holds():
        assert process.poll() is None, process.stdout and process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.2)


def training_workers(address: str) -> int:
    """Train's workers that live, by Ray's own state."""
    from ray.util.state import list_actors

    filters = [("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")]
    return len(list_actors(address, filters=filters, limit=100))


def test_a_trial_shrinks_and_grows_with_its_cluster_and_its_scores_stay(cluster: Any, tmp_path: Path) -> None:
    import ray

    stays, leaves = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    assert stays is not leaves
    process = run(tmp_path / "elastic", "(1, 2)", cluster.address)
    try:
        wait_until(lambda: trunk_steps(tmp_path / "elastic") > 150, process)
        ray.init(address=cluster.address, log_to_driver=False)
        assert training_workers(cluster.address) == 2
        cluster.remove_node(leaves, allow_graceful=False)
        before = trunk_steps(tmp_path / "elastic")
        wait_until(lambda: trunk_steps(tmp_path / "elastic") > before + 150, process)
        assert training_workers(cluster.address) == 1
        cluster.add_node(num_cpus=1)
        wait_until(lambda: training_workers(cluster.address) == 2, process)
    finally:
        code, output = finish(process)
        ray.shutdown()
    assert code == 0, output

    entries = open_sweep(tmp_path / "elastic" / "runs" / "sweeps" / "small").journal.read()
    assert [e["kind"] for e in entries if e["event"] == "retried"] == ["node"]  # growing costs no attempt
    (done,) = (tmp_path / "elastic" / "runs" / "phases").glob("trunk-*/DONE")
    record = json.loads(done.read_text())["record"]
    assert record["num_executed_steps"] == record["num_steps"] + record["num_repeated_steps"]
    assert 0 <= record["num_repeated_steps"] <= 2 * 100

    code, output = finish(run(tmp_path / "fixed", "1", cluster.address))
    assert code == 0, output
    elastic, fixed = scores(tmp_path / "elastic"), scores(tmp_path / "fixed")
    assert elastic.keys() == fixed.keys() and fixed
    different = {key: (elastic[key], fixed[key]) for key in fixed if abs(elastic[key] - fixed[key]) > 0.5}
    assert not different  # rounding may turn an answer or two over
