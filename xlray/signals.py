"""Signals that ask a command to end: SIGINT (Ctrl-C), SIGTERM, SIGHUP (its terminal was closed). Standard library only.

Each becomes a `KeyboardInterrupt` in the main thread, wherever that is: nothing else passes through Ray's native code unharmed.
What is half-done is dropped, and found again by the next run. While trials train, `gently` asks for their states instead.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from xlray.errors import INTERRUPTED

STUCK_S = 5.0  # after which a main thread that no signal reaches, being in native code, is not waited for any longer


class _State:
    """What became of the signals of this process. No dataclass: their module takes long to import.

    Attributes:
        taken: those that interrupted, in order.
        handled_at: when a handler ran last.
        stderr: where the last line goes, whatever became of the descriptors since.
        asking: a signal asks now and does not interrupt.
    """

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.handled_at = -math.inf
        self.stderr = 2
        self.asking = False


_state = _State()


def numbers() -> tuple[signal.Signals, ...]:
    """The signals that are taken; SIGHUP is not where it was switched off, as `nohup` does."""
    always = (signal.SIGINT, signal.SIGTERM)
    return always if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*always, signal.SIGHUP)


def catch() -> None:
    """Take the signals from now on, for the rest of this process. Called once, before anything that takes long."""
    _state.stderr = os.dup(2)
    for number in numbers():
        signal.signal(number, _interrupt)
    sys.unraisablehook = _again
    told, tells = os.pipe()
    os.set_blocking(tells, False)
    signal.set_wakeup_fd(tells, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
    threading.Thread(target=_look, args=(told,), name="xlray-signals", daemon=True).start()


def taken() -> str | None:
    """Name of the signal that interrupted this process, or None."""
    return signal.Signals(_state.taken[0]).name if _state.taken else None


def message() -> str:
    """What an interrupted command says, in one line."""
    return f"interrupted by {taken() or 'SIGINT'}; run the same command again to resume."


def finish(code: int) -> None:
    """The command is over: from now on a signal ends the process at once, with this exit code.

    A process that was interrupted ends here: threads in the middle of something are not waited for, and Python itself
    might end by SIGINT for an interrupt that was long handled.
    """
    for number in numbers():
        signal.signal(number, lambda *_: os._exit(code))
    if _state.taken:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def _interrupt(number: int, frame: Any) -> None:
    _state.handled_at = time.monotonic()
    _state.taken.append(number)
    if len(_state.taken) == 1:
        raise KeyboardInterrupt(signal.Signals(number).name)
    if number != signal.SIGHUP:
        _leave()


def _leave() -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(_state.stderr, f"xlray: {message()}\n".encode())
    os._exit(INTERRUPTED)


def _again(lost: Any) -> None:
    """An interrupt that was raised where nothing can be raised, as in a destructor, is raised again a moment later."""
    if not issubclass(lost.exc_type, KeyboardInterrupt) or not _state.taken:
        sys.__unraisablehook__(lost)
        return
    number = _state.taken.pop()
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()


def _look(told: int) -> None:
    """End the process where the main thread does not get to its handler: it may be in native code for minutes."""
    while number := os.read(told, 1):
        since = time.monotonic() - 1.0  # the handler may have been faster than this thread
        while number[0] in numbers() and not _state.asking and _state.handled_at < since:
            if time.monotonic() - since > STUCK_S:
                _state.taken.append(number[0])
                _leave()
            time.sleep(0.1)


@contextlib.contextmanager
def gently(ask: Callable[[], None]) -> Iterator[None]:
    """The first signal in a block calls `ask`; another SIGINT or SIGTERM interrupts.

    In threads other than the main one nothing is taken.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def handler(number: int, frame: Any) -> None:
        asked.append(number)
        if len(asked) == 1:
            ask()
        elif number != signal.SIGHUP:  # of which a closed terminal sends more than one
            interrupt = before[number] if callable(before[number]) else signal.default_int_handler
            interrupt(number, frame)

    with kept():
        before: dict[int, Any] = {number: signal.signal(number, handler) for number in numbers()}
        _state.asking = True
        try:
            yield
        finally:
            _state.asking = False


@contextlib.contextmanager
def kept() -> Iterator[Callable[[], None]]:
    """Signal handlers are after a block what they were before it, also where native code has set others.

    Yields a function that puts them back already.
    """
    before = {number: signal.getsignal(number) for number in numbers()}

    def put_back() -> None:
        if threading.current_thread() is threading.main_thread():
            for number, known in before.items():
                if known is not None:
                    signal.signal(number, known)

    try:
        yield put_back
    finally:
        put_back()
