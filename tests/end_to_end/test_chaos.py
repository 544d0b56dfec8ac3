"""Kills at random moments: of the driver, of Ray's head, of a trial's processes. Nothing is lost, and no number changes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from replayed import replay
from running_sweeps import TASKS, finish, journal, scores, start, table

from xlray.config.sweep import Stopping
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import sweep_folder

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(7200)]

KILLS_PER_SEED = 6
SEEDS = range(6)
INTERVAL = 5  # checkpoint_every_steps of the sweep
TARGETS = {"trial": "ray::ImplicitFunc", "worker": "RayTrainWorker"}  # Train's controller is in the trial's actor
OFTEN = ("--set", "execution.max_failures=1000")


def find(process: subprocess.Popen[str], kind: str) -> list[int]:
    """Process ids of one kind below the driver."""
    if kind == "driver":
        return [process.pid]
    wanted = TARGETS.get(kind, "gcs_server")
    found = []
    try:
        for child in psutil.Process(process.pid).children(recursive=True):
            try:
                if any(wanted in part for part in child.cmdline()):
                    found.append(child.pid)
            except psutil.Error:
                continue
    except psutil.NoSuchProcess:
        return []
    return found


def is_training(folder: Path) -> bool:
    """Whether a phase has saved a state and is not done: steps after it are lost by a kill."""
    return any((folder / "runs" / "phases").glob("*/attempt/state-*.safetensors"))


def kill_one(process: subprocess.Popen[str], source: random.Random, kinds: tuple[str, ...], folder: Path) -> str | None:
    """SIGKILL a process of a random kind at a random moment, every other time among steps; None if the run ended before."""
    kind, among_steps = source.choice(kinds), source.random() < 0.5
    delay = source.uniform(0.0, 1.0 if among_steps else 6.0)
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        if find(process, "trial" if kind in ("driver", "head") else kind) and (not among_steps or is_training(folder)):
            break
        time.sleep(0.05)
    time.sleep(delay)
    if process.poll() is not None:
        return None
    pids = find(process, kind)
    if not pids:
        return ""  # it ended by itself meanwhile: another moment
    os.kill(source.choice(sorted(pids)), signal.SIGKILL)
    return kind


def run_under_kills(
    folder: Path,
    source: random.Random,
    most: int,
    kinds: tuple[str, ...],
    *options: str,
    tasks: tuple[str, ...] = TASKS,
) -> list[str]:
    """Run the small sweep until it ends by itself, with at most so many kills; returns their kinds."""
    kills: list[str] = []
    for _ in range(most + 20):
        process = start(folder, *options, tasks=tasks)
        while len(kills) < most and process.poll() is None:
            kind = kill_one(process, source, kinds, folder)
            if kind:
                kills.append(kind)
            if kind in ("driver", "head"):
                break
        code, output = finish(process)
        if code == 0:
            return kills
        assert kills, output
    raise AssertionError("the sweep did not end")


def fresh(folder: Path, undisturbed: Path) -> Path:
    """A storage that holds the tokenizer and the data of an undisturbed run, and nothing that a trial has made."""
    runs = undisturbed / "runs"
    shutil.copytree(runs / "data", folder / "runs" / "data")
    for phase in (runs / "phases").glob("tokenizer-*"):
        shutil.copytree(phase, folder / "runs" / "phases" / phase.name)
    return folder


def check_ledger(folder: Path, num_kills: int) -> None:
    rows = [r for r in table(folder, "phases").to_pylist() if r["status"] == "computed"]
    assert len({r["phase"] for r in rows}) == len(rows), "a phase was computed twice"
    assert all(r["num_executed_steps"] == r["num_steps"] + r["num_repeated_steps"] for r in rows)
    assert sum(r["num_repeated_steps"] for r in rows) <= num_kills * INTERVAL


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the sweep of one task has run undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, output = finish(start(folder, tasks=TASKS[:1]))
    assert code == 0, output
    return folder


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_anywhere_the_final_tables_are_those_of_an_undisturbed_run(
    seed: int, whole: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    folder = fresh(tmp_path, whole)
    kinds = ("driver", "trial", "trial", "worker", "worker", "head")
    kills = run_under_kills(folder, random.Random(seed), KILLS_PER_SEED, kinds, *OFTEN, tasks=TASKS[:1])
    note(record_property, folder, kills)
    assert scores(folder) == scores(whole)
    assert_same_trials(folder, whole)
    check_ledger(folder, len(kills))
    assert replay(journal(folder), Stopping(50.0, 0.0), 1) == []
    assert len(kills) == KILLS_PER_SEED


def note(record_property: Callable[[str, object], None], folder: Path, kills: list[str]) -> None:
    """What was killed, and what it cost, into the report of the test."""
    repeated = sum(r["num_repeated_steps"] for r in table(folder, "phases").to_pylist() if r["status"] == "computed")
    record_property("kills", ", ".join(kills))
    record_property("num_repeated_steps", repeated)
    print(f"kills: {', '.join(kills)}; steps repeated: {repeated}")


def assert_same_trials(folder: Path, whole: Path) -> None:
    columns = ["trial_id", "status", "cell", "last_rung", "degenerate", "fi_accuracy"]
    tables = [
        pq.read_table(sweep_folder(Storage(f / "runs"), "small") / "results" / "trials.parquet")
        .select(columns)
        .to_pylist()
        for f in (folder, whole)
    ]
    assert tables[0] == tables[1]


@pytest.mark.parametrize("seed", range(2))
def test_under_promotion_replaying_the_journal_reproduces_every_decision(
    seed: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    options = ("--set", "stopping.promote=true", "--set", "stopping.reduction_factor=2.0", *OFTEN)
    kinds = ("driver", "trial", "worker")
    kills = run_under_kills(tmp_path, random.Random(100 + seed), KILLS_PER_SEED, kinds, *options)
    note(record_property, tmp_path, kills)
    entries = journal(tmp_path)
    assert replay(entries, Stopping(2.0, 0.0, promote=True), 1) == []
    decisions = {e["decision"] for e in entries if e["event"] == "rung"}
    assert decisions == {"continue", "pause"} and any(e["event"] == "promoted" for e in entries)
    assert {r["status"] for r in table(tmp_path, "trials").to_pylist()} == {"finished", "stopped"}
    check_ledger(tmp_path, len(kills))
