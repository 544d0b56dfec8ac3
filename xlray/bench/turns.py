"""Side-by-side measurements: each side in a process of its own, one turn after the other on one machine."""

from __future__ import annotations

import multiprocessing
import os
import platform
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from xlray.plan.machine import num_cpus, total_memory_bytes


@dataclass(frozen=True)
class Turn:
    """What one side did in one turn.

    Attributes:
        num_tokens: tokens of the examples, without padding.
        num_squares: sum of the squares of their lengths, which attention costs.
        num_slots: tokens computed, padding included.
        cpu_seconds: processor time of the side's process, which other work on the machine disturbs less than `seconds`.
        ceiling_flops: rate of a matrix product measured just before the turn, per second; 0 where it was not measured.
    """

    seconds: float
    num_steps: int
    num_tokens: int
    num_squares: int
    num_slots: int
    peak_memory_bytes: int
    cpu_seconds: float
    ceiling_flops: float = 0.0


Side = Callable[[Any, Connection], None]


def take_turns(sides: Mapping[str, Side], setting: Any, repetitions: int) -> dict[str, list[Turn]]:
    """Turns of each side, in alternation; a first round that is not counted warms up.

    A side is a function that picklable names lead to. In its process it gets the setting and a connection, sends
    "ready", and then for each of `repetitions + 1` numbers it receives does one turn and sends what it did. So a side
    has its own memory peak, and libraries that hold global state do not meet.

    Raises:
        RuntimeError: a side failed; its traceback is on stderr.
    """
    context = multiprocessing.get_context("spawn")
    links: dict[str, Connection] = {}
    processes = []
    try:
        for name, side in sides.items():
            links[name], other = context.Pipe()
            processes.append(context.Process(target=_serve, args=(side, setting, other), daemon=True))
            processes[-1].start()
            other.close()  # so that the end of the process is the end of the connection
        for name, link in links.items():
            _receive(name, link)
        turns: dict[str, list[Turn]] = {name: [] for name in sides}
        for number in range(repetitions + 1):
            for name, link in links.items():
                link.send(number)
                turn = _receive(name, link)
                if number:
                    turns[name].append(turn)
        for process in processes:
            process.join(30)
        return turns
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join()  # its memory is free for what follows


def take_turns_in_pairs(sides: Mapping[str, Side], setting: Any, repetitions: int) -> dict[str, list[Turn]]:
    """As `take_turns`, of the first side with each of the others by itself: not all of them fit one GPU's memory.

    Returns:
        Turns of each side; the first has those of all pairs.
    """
    (first, own), *others = sides.items()
    turns: dict[str, list[Turn]] = {name: [] for name in sides}
    for name, side in others:
        for key, found in take_turns({first: own, name: side}, setting, repetitions).items():
            turns[key] += found
    return turns


def _serve(side: Side, setting: Any, link: Connection) -> None:
    os.dup2(2, 1)  # what a library prints must not stand in the document
    side(setting, link)


def _receive(name: str, link: Connection) -> Any:
    try:
        return link.recv()
    except EOFError:
        raise RuntimeError(f"the side {name!r} ended before its turns were over; its error stands above.") from None


def summarize(name: str, turns: Sequence[Turn], model_flops: Callable[[Turn], float], ceiling: float) -> dict[str, Any]:
    """One row: medians over the turns, and the share of the ceiling that the useful arithmetic takes.

    Args:
        model_flops: floating-point operations that the examples of a turn need.
        ceiling: operations per second of a matrix product on this machine.
    """
    return {
        "name": name,
        "tokens_per_second": statistics.median(turn.num_tokens / turn.seconds for turn in turns),
        "tokens_per_cpu_second": statistics.median(turn.num_tokens / turn.cpu_seconds for turn in turns),
        "step_seconds": statistics.median(turn.seconds / turn.num_steps for turn in turns),
        "times": [turn.seconds for turn in turns],
        "tokens": [turn.num_tokens for turn in turns],
        "padding_ratio": 1 - sum(t.num_tokens for t in turns) / sum(t.num_slots for t in turns),
        "peak_memory_bytes": max(turn.peak_memory_bytes for turn in turns),
        "ceiling_ratio": statistics.median(model_flops(turn) / turn.seconds for turn in turns) / ceiling,
    }


def ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """`{"<first>/<other>": ratio of tokens per second}` of the first row to each of the others."""
    first, *others = rows
    return {f"{first['name']}/{row['name']}": first["tokens_per_second"] / row["tokens_per_second"] for row in others}


def document(
    bench: str, packages: Sequence[str], rows: Sequence[dict[str, Any]], found: Mapping[str, float], **more: Any
) -> dict[str, Any]:
    """What every bench returns: `{bench, machine, versions, rows, ratios}` and what is its own."""
    versions = {name: version(name) for name in packages}
    return {
        "bench": bench,
        "machine": machine(),
        "versions": versions,
        "rows": list(rows),
        "ratios": dict(found),
        **more,
    }


def machine() -> dict[str, Any]:
    """Processor, cores this process may use, memory and system."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": num_cpus(),
        "memory_bytes": total_memory_bytes(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
