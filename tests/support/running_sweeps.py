"""Whole small sweeps, started as users start them; the end-to-end tests share them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep, sweep_folder

TASKS = ("mini_topic_en", "mini_roles_de", "mini_similarity_en")


SWEEP = """
from xlray import Architecture, Execution, Intermediate, Pretraining, Stopping, Subset, Sweep, Target

sweep = Sweep(
    name="small",
    encoder=Pretraining(
        tasks=("mini_text",), architecture=Architecture(32, 1, 2, 64, 1000, 130), num_examples=64, batch_size=32
    ),
    measure=(Subset(()),),
    explore=tuple(Subset((name,)) for name in {tasks!r}),
    intermediate=Intermediate(
        rungs=(256, 512), batch_size=16, learning_rate=1e-3, warmup_examples=32, max_length=64, stride=32
    ),
    targets=(Target("mini_udpos", num_examples=256, batch_size=16, learning_rate=1e-3), Target("mini_tatoeba")),
    stopping=Stopping(reduction_factor=50.0, survival_probability=0.0),
    execution=Execution(num_workers=2, zero_stage=1, micro_batch_tokens=1024, checkpoint_every_steps=5),
)
"""


def start(
    folder: Path, *options: str, tasks: tuple[str, ...] = TASKS, env: dict[str, str] | None = None
) -> subprocess.Popen[str]:
    file = folder / "small.py"
    file.write_text(SWEEP.replace("{tasks!r}", repr(tasks)))
    command = [sys.executable, "-m", "xlray", "run", str(file), "--storage", str(folder / "runs"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=1_000)  # a bound on hanging, not a measurement
    finally:
        process.kill()  # or it would continue beside the next test
    return process.returncode, output


def table(folder: Path, name: str) -> pa.Table:
    return pq.read_table(sweep_folder(Storage(folder / "runs"), "small") / "results" / f"{name}.parquet")


def journal(folder: Path) -> list[dict[str, Any]]:
    path = sweep_folder(Storage(folder / "runs"), "small") / "journal"
    return open_sweep(path.parent).journal.read() if path.exists() else []


def scores(folder: Path) -> dict[Any, float]:
    """Every dev score by trial, rung, task, language and metric."""
    rows = table(folder, "scores").to_pylist()
    assert rows
    return {(r["trial_id"], r["rung"], r["task"], r["language"], r["metric"]): r["value"] for r in rows}
