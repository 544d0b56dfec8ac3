"""`xlray bench`: measurements beside other libraries on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xlray.cli.options import Whole
from xlray.cli.output import Shown, shows

if TYPE_CHECKING:
    from rich.console import Console

bench_app = typer.Typer(
    cls=Whole,
    help="Measure xlray beside other libraries on this machine.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Repetitions = Annotated[int, typer.Option(min=1, help="Rounds that are counted; the two sides alternate.")]
Threads = Annotated[int, typer.Option(min=1, help="torch threads on both sides.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="XLM-R Large in bf16 on a CUDA device instead of a small model.")]

SPEEDS = ("", "tokens/s", "tokens/cpu s", "step s", "padding", "peak memory", "of matrix product")


@bench_app.callback()
def bench() -> None:
    """Measure xlray beside other libraries on this machine."""


@bench_app.command("data")
@shows
def bench_data(
    records: Annotated[int, typer.Option(min=1, help="Number of synthetic records.")] = 20_000,
    repetitions: Repetitions = 5,
) -> Shown:
    """Tokens per second from records in memory to an Arrow file, beside `datasets.map` with two processes."""
    from xlray.bench.data import bench_data as measure

    document = measure(records, repetitions)
    rows = [
        (r["name"], f"{r['records']:,}", f"{r['tokens']:,}", f"{r['seconds']:.2f}", f"{r['tokens_per_second']:,.0f}")
        for r in document["rows"]
    ]
    return _shown(document, ("", "records", "tokens", "median s", "tokens/s"), rows)


@bench_app.command("train")
@shows
def bench_train(
    gpu: Gpu = False,
    examples: Annotated[int, typer.Option(min=1, help="Examples of an epoch.")] = 4_096,
    stride: Annotated[int, typer.Option(min=1, help="A round runs every stride-th step of the epoch.")] = 9,
    repetitions: Repetitions = 5,
    threads: Threads = 2,
) -> Shown:
    """Useful tokens per second of training, beside `transformers.Trainer` with each of its sampling strategies."""
    from xlray.bench.training import bench_training

    document = bench_training(gpu, examples, stride, repetitions, threads)
    return _shown(document, SPEEDS, [_speeds(row) for row in document["rows"]])


@bench_app.command("eval")
@shows
def bench_eval(
    gpu: Gpu = False,
    examples: Annotated[int, typer.Option(min=1, help="Examples of the split.")] = 1_024,
    repetitions: Repetitions = 5,
    threads: Threads = 2,
) -> Shown:
    """Useful tokens per second of predicting, beside `Trainer.predict` in the order given and grouped by length."""
    from xlray.bench.training import bench_evaluation

    document = bench_evaluation(gpu, examples, repetitions, threads)
    return _shown(document, SPEEDS, [_speeds(row) for row in document["rows"]])


@bench_app.command("overhead")
@shows
def bench_overhead(repetitions: Repetitions = 5) -> Shown:
    """Seconds from the start of a trial to its first step and from its result to its end, beside `torchrun`."""
    from xlray.bench.overhead import bench_overhead as measure

    document = measure(repetitions)
    keys = ("first_step_seconds", "end_seconds", "seconds")
    rows = [(row["name"], *(f"{row[key]:.2f}" for key in keys)) for row in document["rows"]]
    return _shown(document, ("", "to first step s", "result to end s", "in all s"), rows, "below")


def _speeds(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["name"],
        f"{row['tokens_per_second']:,.0f}",
        f"{row['tokens_per_cpu_second']:,.0f}",
        f"{row['step_seconds']:.3f}",
        f"{row['padding_ratio']:.1%}",
        f"{row['peak_memory_bytes'] / 2**20:,.0f} MiB",
        f"{row['ceiling_ratio']:.0%}",
    )


def _shown(
    document: dict[str, Any], columns: Sequence[str], rows: Sequence[Sequence[str]], better: str = "above"
) -> Shown:
    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        console.print(make_table(columns, rows, right=columns[1:]))
        for name, ratio in document["ratios"].items():
            console.print(f"{name}: {ratio:.2f} ({better} 1 is better for xlray)", highlight=False)
        machine = document["machine"]
        console.print(
            f"{machine['processor']}, {machine['cores']} cores, {machine['system']}", style="dim", highlight=False
        )

    return Shown(document, show)


@bench_app.command("scheduler")
@shows
def bench_scheduler(
    trials: Annotated[int, typer.Option(min=0, help="No-op trials on each side; 0 skips Ray.")] = 64,
    finished: Annotated[int, typer.Option(min=0, help="Trials of the large sweep; 0 skips it.")] = 10_000,
    concurrency: Annotated[int, typer.Option(min=1, help="Concurrent no-op trials.")] = 2,
) -> Shown:
    """Orchestration: no-op trials beside bare Ray Train runs; planning, opening and deciding in a large sweep."""
    from xlray.bench.scheduler import bench_scheduler as measure

    document = measure(trials, finished, concurrency)

    def shown(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.3f} ms"

    rows = [(r["name"], shown(r["seconds"]), shown(r["cpu_seconds"])) for r in document["rows"]]

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        console.print(make_table(("", "time", "of the processor"), rows, right=("time", "of the processor")))
        for name, ratio in document["ratios"].items():
            console.print(f"{name}: {ratio:.2f} (below 1 is better for xlray)", highlight=False)

    return Shown(document, show)
