"""Whole sweeps that are disturbed: a worker killed, a trial that fails, an interrupt, memory that runs out, a pause."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from running_sweeps import TASKS, finish, journal, scores, start, table

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1_800)]


def stored_but(folder: Path, undisturbed: Path, tasks: tuple[str, ...]) -> None:
    """Give a storage what an undisturbed run has stored, all but what the trials on these tasks computed."""
    without = [t["trial_id"] for t in table(undisturbed, "trials").to_pylist() if set(t["tasks"]) & set(tasks)]
    assert len(without) == len(tasks)
    shutil.copytree(undisturbed / "runs" / "data", folder / "runs" / "data")
    for done in (undisturbed / "runs" / "phases").glob("*/DONE"):
        if json.loads(done.read_text())["record"]["trial_id"] not in without:
            shutil.copytree(done.parent, folder / "runs" / "phases" / done.parent.name)


@pytest.fixture(scope="module")
def disturbed(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A sweep in which one trial loses a worker in a phase, and another cannot begin one, as a file has the name of its folder.

    Folder, exit code and output.
    """
    folder = tmp_path_factory.mktemp("disturbed")
    stored_but(folder, undisturbed, TASKS[:2])
    (folder / "runs" / "phases" / second_trunk(undisturbed)).write_text("not a folder")
    process = start(folder, tasks=TASKS[:2])
    try:
        killed = kill_a_worker_in(folder, process, "trunk-*", after_steps=2)
        code, output = finish(process)
        assert killed, f"the run ended before a worker could be killed: {output}"
    finally:
        process.kill()
    return folder, code, output


def second_trunk(undisturbed: Path) -> str:
    """Name of the first phase of the trial on the second task."""
    second = next(t["trial_id"] for t in table(undisturbed, "trials").to_pylist() if t["tasks"] == [TASKS[1]])
    return next(
        done.parent.name
        for done in (undisturbed / "runs" / "phases").glob("trunk-1tasks-256-*/DONE")
        if json.loads(done.read_text())["record"]["trial_id"] == second
    )


def test_a_failing_trial_does_not_end_the_sweep(undisturbed: Path, disturbed: tuple[Path, int, str]) -> None:
    folder, code, output = disturbed
    trials = {" ".join(t["tasks"]): t for t in table(folder, "trials").to_pylist()}
    statuses = {tasks: t["status"] for tasks, t in trials.items()}
    assert statuses == {"": "finished", TASKS[0]: "finished", TASKS[1]: "failed"}, output
    assert code == 3, output
    assert second_trunk(undisturbed) in trials[TASKS[1]]["error"]


def test_a_worker_killed_in_a_phase_costs_at_most_one_interval_and_no_score(
    undisturbed: Path, disturbed: tuple[Path, int, str]
) -> None:
    folder, _, output = disturbed
    retried = [(e["kind"], e["trial_id"]) for e in journal(folder) if e["event"] == "retried"]
    trial = next(t["trial_id"] for t in table(folder, "trials").to_pylist() if t["tasks"] == [TASKS[0]])
    assert retried == [("process", trial)], output
    repeated = {r["phase"]: r["num_repeated_steps"] for r in table(folder, "phases").to_pylist()}
    assert sum(repeated.values()) <= 5, "more was repeated than the checkpoint interval"
    restarted = [r for r in table(folder, "phases").to_pylist() if r["num_executed_steps"] > r["num_steps"]]
    assert all(r["num_executed_steps"] == r["num_steps"] + r["num_repeated_steps"] for r in restarted)
    found, whole = scores(folder), scores(undisturbed)
    ended = {r["trial_id"] for r in table(folder, "trials").to_pylist() if r["status"] != "failed"}
    assert ended == {key[0] for key in found}
    assert found == {key: whole[key] for key in found}


def kill_a_worker_in(folder: Path, process: subprocess.Popen[str], phase: str, after_steps: int) -> bool:
    """SIGKILL one Ray Train worker once an unfinished phase has made that many steps."""
    until = time.monotonic() + 1_000  # a bound on hanging, not a measurement
    while time.monotonic() < until and process.poll() is None:
        for log in (folder / "runs" / "phases").glob(f"{phase}/attempt/steps.log"):
            if len(log.read_text().splitlines()) >= after_steps:
                workers = [
                    p
                    for p in psutil.Process(process.pid).children(recursive=True)
                    if any("RayTrainWorker" in part for part in p.cmdline())
                ]
                workers = workers or [p for p in psutil.process_iter() if _is_worker_of(p, folder)]
                if workers:
                    os.kill(workers[0].pid, signal.SIGKILL)
                    return True
        time.sleep(0.01)
    return False


def _is_worker_of(process: psutil.Process, folder: Path) -> bool:
    try:
        if not any("RayTrainWorker" in part for part in process.cmdline()):
            return False
        return any(str(folder) in file.path for file in process.open_files())
    except psutil.Error:
        return False


# Read by every Python process that starts with this file's folder on its path; wraps the training step once it is imported.
PLANTER = """
import importlib.abc, importlib.util, itertools, os, sys
from pathlib import Path


class Planter(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "xlray.training.engine":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (execute(module), plant(module))
        return spec


sys.meta_path.insert(0, Planter())
"""


def planted(folder: Path, code: str) -> dict[str, str]:
    """An environment in which every Python process plants a fault once it imports the engine; `code` defines `plant(engine)`."""
    (folder / "planted").mkdir()
    (folder / "planted" / "sitecustomize.py").write_text(PLANTER + code)
    path = os.pathsep.join([str(folder / "planted"), str(Path(__file__).parents[2])])
    return {**os.environ, "PYTHONPATH": path}


# While a file lies beside the planted one, each step of a long phase but its first ones takes its time.
HELD = """
def plant(engine):
    import time

    step, calls = engine.train_step, itertools.count(1)

    def train_step(*given):
        if next(calls) > 6 and Path(__file__).with_name("held").exists():
            time.sleep(1)
        return step(*given)

    engine.train_step = train_step
"""


def test_an_interrupt_saves_the_open_phase_at_once_and_the_next_run_resumes(undisturbed: Path, tmp_path: Path) -> None:
    for folder in ("data", "phases"):  # the first rung is stored, the second is another one
        shutil.copytree(undisturbed / "runs" / folder, tmp_path / "runs" / folder)
    longer = ("--set", "intermediate.rungs=[256,1024]", "--set", "execution.checkpoint_every_steps=100000")
    environment = planted(tmp_path, HELD)
    (held := tmp_path / "planted" / "held").touch()
    process = start(tmp_path, *longer, tasks=TASKS[:1], env=environment)
    try:
        steps = wait_for_steps(tmp_path, process, "trunk-1tasks-1024-*", 5)
        process.send_signal(signal.SIGINT)
        code, output = finish(process)
    finally:
        process.kill()
        held.unlink()
    assert code == 4, output
    assert "asked to stop" in output
    ends = [e["event"] for e in journal(tmp_path) if e["event"] in ("interrupted", "halted", "closed")]
    assert ends == ["halted", "interrupted", "closed"]
    (attempt,) = (tmp_path / "runs" / "phases").glob("trunk-1tasks-1024-*/attempt")
    last = int((attempt / "steps.log").read_text().splitlines()[-1].split()[0])
    assert last >= steps
    assert [path.name for path in attempt.glob("state-*")] == [f"state-{last + 1}.safetensors"]
    code, output = finish(start(tmp_path, *longer, tasks=TASKS[:1], env=environment))
    assert code == 0, output
    rows = table(tmp_path, "phases").to_pylist()
    assert sum(r["num_repeated_steps"] for r in rows) == 0
    assert all(r["num_executed_steps"] == r["num_steps"] for r in rows if r["status"] == "computed")


@pytest.mark.slow
def test_a_trial_that_diverged_is_counted_as_degenerate_in_status_and_report(undisturbed: Path, tmp_path: Path) -> None:
    for folder in ("data", "phases"):  # the control is stored and stays what it was
        shutil.copytree(undisturbed / "runs" / folder, tmp_path / "runs" / folder)
    code, output = finish(start(tmp_path, "--set", "intermediate.learning_rate=1e30", tasks=TASKS[:1]))
    assert code == 0, output
    degenerate = {t["num_tasks"]: t["degenerate"] for t in table(tmp_path, "trials").to_pylist()}
    assert degenerate == {0: False, 1: True}
    status, report = (document(command, tmp_path) for command in ("status", "report"))
    reasons = {t["num_tasks"]: t["degenerate"] for t in status["trials"]}
    assert reasons[0] == "" and "trunk: the loss is not finite at step" in reasons[1]
    assert any("1 degenerate" in text or "1 collapsed (degenerate)" in text for text in report["warnings"])


def document(command: str, folder: Path) -> dict[str, Any]:
    """What a command prints of the small sweep with `--json`."""
    arguments = [sys.executable, "-m", "xlray", command, "small", "--storage", str(folder / "runs"), "--json"]
    return dict(json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout))


OUT_OF_MEMORY_ONCE = """
def plant(engine):
    import torch

    step, calls = engine.train_step, itertools.count(1)

    def train_step(running, micro_batches, learning_rate):
        if learning_rate > 0 and torch.distributed.get_rank() == 1 and next(calls) == 14:
            mark = Path(__file__).with_name("ran-out")
            if not mark.exists():
                mark.touch()
                raise torch.OutOfMemoryError("CUDA out of memory.")
        return step(running, micro_batches, learning_rate)

    engine.train_step = train_step
"""


@pytest.mark.slow
def test_memory_that_runs_out_in_one_of_two_workers_costs_half_the_budget_and_no_phase(
    undisturbed: Path, tmp_path: Path
) -> None:
    for folder in ("data", "phases"):  # all is stored but what hangs on a rung of another size
        shutil.copytree(undisturbed / "runs" / folder, tmp_path / "runs" / folder)
    environment = planted(tmp_path, OUT_OF_MEMORY_ONCE)
    process = start(tmp_path, "--set", "intermediate.rungs=[320]", tasks=TASKS[:1], env=environment)
    code, output = finish(process)
    assert code == 0, output
    assert (tmp_path / "planted" / "ran-out").exists()
    retried = [e for e in journal(tmp_path) if e["event"] == "retried"]
    assert [e["kind"] for e in retried] == ["memory"]
    (done,) = (tmp_path / "runs" / "phases").glob("trunk-1tasks-320-*/DONE")
    record = json.loads(done.read_text())["record"]
    assert (record["out_of_memory"], record["micro_batch_tokens"]) == ([1024], 512)
    assert record["execution"]["micro_batch_tokens"] == 1024  # what was asked for
    assert 0 < record["num_repeated_steps"] <= 8, (
        "it resumes from its last state, which is on disk before the next is taken"
    )
    assert record["num_executed_steps"] == record["num_steps"] + record["num_repeated_steps"]


def wait_for_steps(folder: Path, process: subprocess.Popen[str], phase: str, steps: int) -> int:
    """Wait until an unfinished phase has made so many steps."""
    until = time.monotonic() + 300
    while time.monotonic() < until and process.poll() is None:
        for log in (folder / "runs" / "phases").glob(f"{phase}/attempt/steps.log"):
            found = len(log.read_text().splitlines())
            if found >= steps:
                return found
        time.sleep(0.05)
    raise AssertionError(f"{phase} did not begin")


@pytest.mark.slow
def test_a_paused_trial_resumes_from_its_stored_trunk_when_it_rises(undisturbed: Path, tmp_path: Path) -> None:
    first_rung = {
        e["trial_id"]: e["score"] for e in journal(undisturbed) if e["event"] == "rung" and e["rung_index"] == 0
    }
    tasks = {t["trial_id"]: t["tasks"] for t in table(undisturbed, "trials").to_pylist() if t["tasks"]}
    best, other = sorted(tasks, key=lambda trial: -first_rung[trial])[:2]
    for kind in ("tokenizer", "pretrain"):
        (phase,) = (undisturbed / "runs" / "phases").glob(f"{kind}-*")
        shutil.copytree(phase, tmp_path / "runs" / "phases" / phase.name)
    promote = ("--set", "stopping.promote=true", "--set", "stopping.reduction_factor=2.0")
    one = ("--set", "execution.max_concurrent_trials=1")
    code, output = finish(start(tmp_path, *promote, *one, tasks=(*tasks[best], *tasks[other])))
    assert code == 0, output
    # Alone at its rung the first is below the cut; when the second is worse, it is the better half of two.
    told = [e["event"] for e in journal(tmp_path) if e.get("trial_id") == best and e["event"] not in ("phase", "rung")]
    assert told == ["created", "running", "paused", "promoted", "running", "finished"]
    first, second = (e["phases"] for e in journal(tmp_path) if e["event"] == "running" and e.get("trial_id") == best)
    assert first[0].startswith("trunk-1tasks-256-") and set(second) < set(first)
    assert not any("-256-" in name or "-304-" in name for name in second), "the first rung was not taken from the store"
    assert next(t["status"] for t in table(tmp_path, "trials").to_pylist() if t["trial_id"] == other) == "stopped"
    assert (
        sum(r["num_repeated_steps"] for r in table(tmp_path, "phases").to_pylist()) <= 5
    )  # it was killed in its trunk
    known = {key: value for key, value in scores(undisturbed).items() if key[0] == best}
    disturbed = {key: value for key, value in scores(tmp_path).items() if key[0] == best}
    assert {key[1] for key in disturbed} == {256, 512}
    assert known == {key: disturbed[key] for key in known}
