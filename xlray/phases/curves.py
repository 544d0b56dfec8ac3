"""The training curve of a phase: the points that are logged while it runs, and the table that they become."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from xlray.errors import InputError
from xlray.phases.spec import Spec, TrainSpec
from xlray.phases.store import Store
from xlray.storage.files import atomic_file
from xlray.storage.parquet import read_table, to_table, write_table

STEPS_FILE = "steps.parquet"  # of a finished phase
POINTS_FILE = "curve.log"  # of one under way, in its attempt
MOST_ROWS = 500

# One row for all steps since the row before. Steps and examples count from the beginning of the order of examples, so that
# the segments of a trunk and the cooldown behind it follow one another.
CURVE = pa.schema(
    [
        ("step", pa.int64()),
        ("examples", pa.int64()),
        ("loss", pa.float32()),
        ("learning_rate", pa.float32()),
        ("grad_norm", pa.float32()),
        ("tokens_per_second", pa.float32()),
        ("padding_ratio", pa.float32()),
    ]
)


@dataclass(frozen=True)
class LogPoint:
    """What happened since the point before, logged where the loss of all ranks is read.

    Attributes:
        step: steps done, counted from the beginning of the order of examples.
        num_steps: of them since the point before.
        loss: sum over these steps.
        grad_norm: sum over these steps of the global norm of the gradients, before clipping.
        learning_rate: of the last step.
        num_tokens: of all ranks.
        num_slots: tokens that the ranks had time for; the rest was padding, or waiting for the fullest rank.
        seconds: that passed, saving of states included.
    """

    step: int
    num_steps: int
    loss: float
    grad_norm: float
    learning_rate: float
    num_tokens: int
    num_slots: int
    seconds: float


def add_point(file: BinaryIO, point: LogPoint) -> None:
    """Append a point to an open file in one write, which survives SIGKILL of the process."""
    file.write((" ".join(map(repr, astuple(point))) + "\n").encode())


def read_points(path: Path) -> list[LogPoint]:
    """The points of a phase under way, in order; [] if there is no file. A line that was cut off is left out."""
    if not path.exists():
        return []
    points = []
    for line in path.read_text().splitlines(keepends=True):
        with contextlib.suppress(ValueError):
            step, num_steps, loss, grad_norm, rate, tokens, slots, seconds = line.split()
            if line.endswith("\n"):
                counts = (int(step), int(num_steps), float(loss), float(grad_norm), float(rate))
                points.append(LogPoint(*counts, int(tokens), int(slots), float(seconds)))
    return points


def keep_points(path: Path, step: int) -> None:
    """Drop what was seen after a step: a phase that resumes from its state there executes those steps again."""
    if path.exists():
        points = [point for point in read_points(path) if point.step <= step]
        with atomic_file(path) as file:
            for point in points:
                add_point(file, point)


def curve_table(points: Sequence[LogPoint], spec: TrainSpec) -> pa.Table:
    """The points as a table of at most `MOST_ROWS` rows.

    Where there are more, as many neighbours become one row as the smallest power of two that suffices.

    Returns:
        `step` and `examples` done, counted from the beginning of the order of examples: a cooldown starts where its trunk ends.
        `loss`: mean over the steps since the row before, as it is trained on: scaled where the phase scales losses.
        `learning_rate` of the row's last step. `grad_norm`: mean global L2 norm before clipping, infinite where it overflowed.
        `tokens_per_second` over all ranks, from the clock: no two runs agree. `padding_ratio`: share of idle and padding
        tokens, 0 to 1.
    """
    size = 1
    while len(points) > MOST_ROWS * size:
        size *= 2
    groups = [points[i : i + size] for i in range(0, len(points), size)]
    return to_table([_row(group, spec) for group in groups], CURVE)


def _row(points: Sequence[LogPoint], spec: TrainSpec) -> dict[str, Any]:
    def total(name: str) -> Any:
        return sum(getattr(point, name) for point in points)

    num_steps, num_tokens = total("num_steps"), total("num_tokens")
    return {
        "step": points[-1].step,
        "examples": points[-1].step * spec.batch_size,
        "loss": total("loss") / num_steps,
        "learning_rate": points[-1].learning_rate,
        "grad_norm": total("grad_norm") / num_steps,
        "tokens_per_second": num_tokens / max(1e-9, total("seconds")),
        "padding_ratio": 1 - num_tokens / max(1, total("num_slots")),
    }


def write_curve(folder: Path, attempt: Path, spec: TrainSpec) -> None:
    """Write `steps.parquet` from what an attempt has seen."""
    write_table(folder / STEPS_FILE, curve_table(read_points(attempt / POINTS_FILE), spec))


def read_curve(store: Store, spec: Spec) -> pa.Table:
    """The training curve of a phase whose tables are on this machine; see `Store.bring_tables`.

    Returns:
        The columns `CURVE`; no row if nothing is trained, or the phase is not finished or was stored by an earlier version.

    Raises:
        InputError: the file is damaged.
    """
    folder = store.folder(spec)
    if not ((folder / "DONE").exists() and (folder / STEPS_FILE).exists()):
        return CURVE.empty_table()
    try:
        return read_table(folder / STEPS_FILE, CURVE)
    except InputError as error:
        raise InputError(f"{error} It holds nothing but a training curve: delete it to do without.") from error


def thinned(curve: pa.Table, num_rows: int) -> pa.Table:
    """Every so many-th row of a curve, at most `num_rows` (1 or more); the last row is always among them."""
    size = -(-len(curve) // num_rows)
    return curve if size <= 1 else curve.take(list(range(len(curve) - 1, -1, -size))[::-1])
