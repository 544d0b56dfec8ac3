"""A whole sweep with an object store for its storage, with real Ray and a real S3 server."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.ray

SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Subset, Sweep, Target

sweep = Sweep(
    name="small",
    encoder=Pretraining(
        tasks=("mini_text",), architecture=Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32
    ),
    measure=(Subset(("mini_topic_en",)),),
    intermediate=Intermediate(
        rungs=(64,), batch_size=16, learning_rate=1e-3, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(Target("mini_udpos", num_examples=64, batch_size=16, learning_rate=1e-3),),
    execution=Execution(num_workers=1, micro_batch_tokens=1024, checkpoint_every_steps=2),
)
"""


def test_a_sweep_runs_on_an_object_store_and_is_there_for_other_machines(tmp_path, s3_uri):
    file = tmp_path / "small.py"
    file.write_text(SWEEP)

    def xlray(machine, *arguments):
        command = [sys.executable, "-m", "xlray", *map(str, arguments), "--storage", s3_uri, "--json"]
        environment = {**os.environ, "XLRAY_CACHE": str(tmp_path / machine)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    xlray("one", "run", file)
    status = xlray("another", "status", "small")
    assert status["state"] == "finished" and [trial["rung"] for trial in status["trials"]] == [64]
    planned = xlray("another", "plan", file)
    assert planned["phases"]["new"] == 0 and planned["phases"]["stored"] == 5
    report = xlray("another", "report", "small")
    assert any(estimate["name"].startswith("mean/fi_accuracy") for estimate in report["estimates"])
    garbage = xlray("a-third", "gc", "--dry-run")
    assert not garbage["kinds"].keys() & {"phase", "data", "encoder", "attempt", "upload"}, garbage
