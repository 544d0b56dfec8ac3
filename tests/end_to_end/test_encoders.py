"""A sweep over two encoders, which it pre-trains itself with tokenizers of their own, with real Ray."""

import json
import subprocess
import sys

import pytest

from xlray.api import load_results
from xlray.phases.spec import phase_hash
from xlray.plan.jobs import read_job
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

pytestmark = pytest.mark.ray

SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Subset, Sweep, Target

NARROW, WIDE = (
    Pretraining(("mini_text",), Architecture(*sizes), num_examples=64, batch_size=32, max_length=64, name=name)
    for name, sizes in (("narrow", (32, 1, 2, 64, 600, 66)), ("wide", (48, 2, 4, 96, 700, 66)))
)
sweep = Sweep(
    name="small",
    encoder=NARROW,
    vary={"encoder": (NARROW, WIDE)},
    measure=(Subset(()), Subset(("mini_topic_en",))),
    intermediate=Intermediate(
        rungs=(64,), batch_size=16, learning_rate=1e-3, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(
        Target("mini_udpos", num_examples=64, batch_size=16, learning_rate=1e-3, max_length=64, stride=32),
        Target("mini_tatoeba", max_length=64, stride=32),
    ),
    execution=Execution(num_workers=1, micro_batch_tokens=1024, checkpoint_every_steps=4),
)
"""
SIZES = {"narrow": 600, "wide": 700}


def test_each_encoder_is_trained_from_its_own_start_and_is_read_by_every_command(tmp_path):
    file = tmp_path / "small.py"
    file.write_text(SWEEP)

    def xlray(*arguments):
        command = [sys.executable, "-m", "xlray", *map(str, arguments), "--storage", str(tmp_path / "runs")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    xlray("run", file)
    folder = sweep_folder(Storage(tmp_path / "runs"), "small")
    results = load_results(folder.path)
    trials = {(row["encoder"], row["num_tasks"]): row for row in results.trials.to_pylist()}
    assert trials.keys() == {(name, number) for name in SIZES for number in (0, 1)}
    assert {row["status"] for row in trials.values()} == {"finished"}
    before = [e for e in folder.journal.read() if e["event"] == "finished" and "job" in e]
    assert {e["job"] for e in before} == {"shared-narrow", "shared-wide"}
    for (name, _), row in trials.items():
        job = read_job(folder / "jobs" / f"{row['trial_id']}.json")
        assert job.vocab_size == SIZES[name] and set(job.parents) >= {spec.parent for spec in job.phases}
    hashes = {
        name: {phase_hash(spec) for number in (0, 1) for spec in _phases(folder, trials[name, number])}
        for name in SIZES
    }
    assert sum(map(len, hashes.values())) == len(set.union(*hashes.values())), "encoders share no phase"
    (encoders,) = [axis for axis in json.loads(xlray("plan", file, "--json"))["axes"] if axis["fields"] == ["encoder"]]
    assert encoders["values"] == [[name] for name in SIZES]
    shown = json.loads(xlray("status", "small", "--where", "encoder=wide", "--json"))["trials"]
    assert {row["trial_id"] for row in shown} == {trials["wide", number]["trial_id"] for number in (0, 1)}
    assert "encoder=wide" in xlray("report", "small", "--json")


def _phases(folder, row):
    return read_job(folder / "jobs" / f"{row['trial_id']}.json").phases
