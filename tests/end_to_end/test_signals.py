"""SIGINT, SIGTERM and SIGHUP at any moment: one line, exit code 4, and the same command resumes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import helpers
import psutil
import pytest
from running_sweeps import SWEEP as SMALL
from running_sweeps import TASKS, table

from xlray import signals
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import open_sweep, sweep_folder

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
TINY = """
import sys
from xlray import Encoder, Execution, Intermediate, Subset, Sweep, Target

print("loaded", flush=True)
sweep = Sweep(
    "tiny", Encoder({encoder!r}), measure=(Subset(("indonlu_smsa",)),),
    intermediate=Intermediate(rungs=(64,), batch_size=32, warmup_examples=32, max_length=30, stride=10),
    targets=(Target("tatoeba", max_length=30, stride=10),), execution=Execution(micro_batch_tokens=64),
)
"""


class Command:
    """A command of xlray that runs, and what it has printed so far."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, "-m", "xlray", *map(str, arguments)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines.extend(iter(self.process.stdout.readline, ""))

    def wait_until(self, has_come: Callable[[], bool]) -> None:
        until = time.monotonic() + 600  # a bound on hanging, not a measurement
        while not has_come():
            assert self.process.poll() is None and time.monotonic() < until, f"the moment never came: {self.lines}"
            time.sleep(0.01)

    def said(self, text: str) -> Callable[[], bool]:
        return lambda: any(text in line for line in list(self.lines))

    def catches(self) -> bool:
        """Whether the signals are taken yet; Python itself, which starts first, does not."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) & 1 << signal.SIGHUP - 1)

    def end(self) -> tuple[int, list[str]]:
        """Exit code and the lines of failure."""
        code = self.process.wait(timeout=600)
        self._reader.join(timeout=10)
        assert not any("Traceback" in line for line in self.lines), self.lines
        return code, [line for line in self.lines if line.startswith("xlray: ")]


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[Command]:
    command = Command(*arguments)
    try:
        yield command
    finally:
        command.process.kill()


def test_the_first_signal_asks_and_only_another_interrupts_but_a_terminal_hangs_up_more_than_once() -> None:
    for name in SIGNALS:
        asked: list[bool] = []
        number = signal.Signals[name]
        before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        try:
            with contextlib.suppress(KeyboardInterrupt), signals.gently(lambda: asked.append(True)):  # noqa: B023
                os.kill(os.getpid(), number)
                os.kill(os.getpid(), signal.SIGHUP)
                assert asked == [True]
                os.kill(os.getpid(), signal.SIGTERM)
                raise AssertionError("the second SIGTERM must interrupt")
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        finally:
            signal.signal(signal.SIGHUP, before)


PLANTED = {
    "native code": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 2**31 - 1)",
    "a destructor": """
class Slow:
    def __del__(self):
        time.sleep(1)
x = Slow(); del x; time.sleep(30)""",
    "an error of another kind": """
try:
    time.sleep(30)
except KeyboardInterrupt:
    raise RuntimeError('a library does that')""",
    "a string that is executed": "exec('time.sleep(30)')",
    "a thread that continues": "threading.Thread(target=time.sleep, args=(30,)).start(); time.sleep(30)",
}


# Each place hears one signal, each signal is heard at a place; the others are taken by the same handler.
HEARD = [
    pytest.param(place, name, marks=() if SIGNALS[number % len(SIGNALS)] == name else pytest.mark.slow)
    for number, place in enumerate(PLANTED)
    for name in SIGNALS
]


@pytest.mark.parametrize(("place", "name"), HEARD)
def test_a_signal_ends_a_command_from_wherever_it_is(place: str, name: str) -> None:
    code = f"""
import sys, threading, time
from xlray import __main__, signals
from xlray.cli.main import app
signals.STUCK_S = 1.5
def report():
    print('there', flush=True)
    {PLANTED[place].strip().replace(chr(10), chr(10) + "    ")}
app.registered_commands.clear()
app.command('one')(report)
app.command('two')(report)
sys.argv = ['xlray', 'one']
sys.exit(__main__.main())
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "there\n"
        time.sleep(0.2)
        process.send_signal(signal.Signals[name])
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 4, err
    assert err == f"xlray: interrupted by {name}; run the same command again to resume.\n"


def test_a_sweep_under_nohup_does_not_hear_its_terminal_close() -> None:
    code = "import os, signal; from xlray import signals; signals.catch(); os.kill(os.getpid(), signal.SIGHUP); print('on')"
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "on\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Arguments for a sweep that takes a moment to plan and to tokenise."""
    folder = tmp_path_factory.mktemp("tiny")
    encoder = helpers.encoder_folder(folder / "encoder", ["sky", "blue", *(f"w{n}" for n in range(20))])[0]
    data = folder / "data"
    (data / "indonlu_smsa").mkdir(parents=True)
    rows = (f"sky w{n % 20} {n} blue{' w1' * 20}\t{('positive', 'negative')[n % 2]}\n" for n in range(8_000))
    (data / "indonlu_smsa" / "train_preprocess.tsv").write_text("".join(rows))
    (data / "tatoeba").mkdir()
    for end, word in (("eng", "sea"), ("fin", "blue")):
        (data / "tatoeba" / f"tatoeba.fin-eng.{end}").write_text("".join(f"{word} w{n}\n" for n in range(10)))
    (folder / "tiny.py").write_text(TINY.replace("{encoder!r}", repr(str(encoder))))
    return [folder / "tiny.py", "--data-dir", data]


@pytest.mark.parametrize(
    ("command", "name", "text"),
    [("plan", "SIGINT", ""), ("prepare", "SIGTERM", "loaded"), ("prepare", "SIGHUP", "tokenising indonlu")],
)
def test_a_signal_at_start_while_planning_and_while_tokenising(
    command: str, name: str, text: str, tiny: list[object], tmp_path: Path
) -> None:
    arguments = (command, *tiny, "--storage", tmp_path / "runs")
    with started(*arguments) as running:
        running.wait_until(running.said(text) if text else running.catches)
        running.process.send_signal(signal.Signals[name])
        code, failures = running.end()
    assert (code, failures) == (4, [f"xlray: interrupted by {name}; run the same command again to resume.\n"])
    with started(*arguments) as again:
        assert again.end() == (0, [])


class Sweeping(Command):
    """The small sweep under way."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "runs"
        self.file = folder / "small.py"
        self.file.write_text(SMALL.replace("{tasks!r}", repr(TASKS[:1])))
        journal = sweep_folder(Storage(self.root), "small") / "journal"
        self._journal = journal
        self._before = len(open_sweep(journal.parent).journal.read()) if journal.exists() else 0
        self._began = time.time()
        super().__init__("run", self.file, "--storage", self.root)

    def wrote(self, event: str) -> Callable[[], bool]:
        """Whether this run has journalled such an event."""
        return lambda: any(e["event"] == event for e in open_sweep(self._journal.parent).journal.read()[self._before :])

    def trains(self, phase: str) -> Callable[[], bool]:
        """Whether a phase is trained by this run; the one before may have left several open."""
        logs = f"phases/{phase}/attempt/steps.log"
        return lambda: any(log.stat().st_mtime > self._began for log in self.root.glob(logs))


def ray_is_up(command: Command) -> Callable[[], bool]:
    return lambda: any("raylet" in p.name() for p in psutil.Process(command.process.pid).children(recursive=True))


# In the order in which they come; each run resumes the one before. Waits (in s) follow on the moment.
MOMENTS: tuple[tuple[str, Callable[[Sweeping], Callable[[], bool]], float], ...] = (
    ("start-up", lambda c: c.catches, 0.0),
    ("imports", lambda c: c.catches, 0.3),
    ("planning", lambda c: c.catches, 2.0),
    ("Ray's import", lambda c: c.said("steps "), 1.0),
    ("the tokenizer", lambda c: c.said("training the tokenizer"), 0.0),
    ("the tokenizer, later", lambda c: c.said("training the tokenizer"), 0.7),
    ("Ray's start", lambda c: c.said("training the tokenizer"), 6.0),
    ("Ray's start, later", ray_is_up, 0.0),
    ("Ray's connection", ray_is_up, 1.0),
    ("tokenising", lambda c: c.said("tokenising"), 0.0),
    ("tokenising, later", lambda c: c.said("tokenising mini_udpos"), 0.0),
    ("starting workers", lambda c: c.said("pre-training the encoder"), 0.0),
    ("starting workers, later", lambda c: c.said("pre-training the encoder"), 4.0),
    ("pre-training", lambda c: c.trains("pretrain-*"), 0.0),
    ("starting a trial", lambda c: c.said("running trials"), 1.0),
    ("a trunk", lambda c: c.trains("trunk-*"), 0.1),
    ("a cooldown", lambda c: c.trains("cooldown-*"), 0.0),
    ("a target", lambda c: c.trains("target-*"), 0.0),
    ("an evaluation", lambda c: c.wrote("rung"), 0.0),
    ("the report", lambda c: c.wrote("closed"), 0.0),
)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(7_200)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_at_any_moment_of_a_sweep_costs_nothing_that_was_finished(name: str, tmp_path: Path) -> None:
    for stage, moment, wait_s in MOMENTS:
        command = Sweeping(tmp_path)
        try:
            command.wait_until(moment(command))
            time.sleep(wait_s)
            assert command.process.poll() is None, f"{stage}: the sweep was over before: {command.lines}"
            command.process.send_signal(signal.Signals[name])
            code, failures = command.end()
        finally:
            command.process.kill()
        assert code == 4 and len(failures) == 1, (stage, code, command.lines)
        assert "again to resume" in failures[0] and (name in failures[0] or "asked to stop" in failures[0]), stage
    last = Sweeping(tmp_path)
    try:
        assert last.end() == (0, [])
    finally:
        last.process.kill()
    rows = [row for row in table(tmp_path, "phases").to_pylist() if row["status"] == "computed"]
    assert len({row["phase"] for row in rows}) == len(rows) and {
        t["status"] for t in table(tmp_path, "trials").to_pylist()
    } <= {"finished", "stopped"}
    assert sum(row["num_repeated_steps"] for row in rows) == 0, "a state is saved at once"
