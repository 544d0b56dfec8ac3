"""`xlray bench`: measurements beside other libraries on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from xlray.output import open_console, print_json
from xlray.task_commands import Json

bench_app = typer.Typer(
    help="Measure xlray beside other libraries on this machine.", no_args_is_help=True, rich_markup_mode=None
)


@bench_app.callback()
def bench() -> None:
    """Measure xlray beside other libraries on this machine."""


@bench_app.command("data")
def bench_data(
    records: Annotated[int, typer.Option(help="Number of records, made up.")] = 20_000,
    repetitions: Annotated[int, typer.Option(help="Rounds that count; the two sides take turns.")] = 5,
    as_json: Json = False,
) -> None:
    """Tokens per second from records in memory to an Arrow file, beside `datasets.map` with two processes."""
    from xlray.bench import bench_data as measure

    document = measure(records, repetitions)
    if as_json:
        print_json(document)
        return
    from xlray.screens import make_table

    rows = [
        (r["name"], f"{r['records']:,}", f"{r['tokens']:,}", f"{r['seconds']:.2f}", f"{r['tokens_per_second']:,.0f}")
        for r in document["rows"]
    ]
    columns = ("", "records", "tokens", "median s", "tokens/s")
    console = open_console()
    console.print(make_table(columns, rows, right=columns[1:]))
    for name, ratio in document["ratios"].items():
        console.print(f"{name}: {ratio:.2f} (above 1 is better for xlray)", highlight=False)
    machine = document["machine"]
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, {machine['system']}", style="dim", highlight=False
    )


@bench_app.command("scheduler")
def bench_scheduler(
    finished: Annotated[int, typer.Option(help="Trials of the sweep that is planned, opened and decided in.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Orchestration: planning, opening and deciding in a large sweep."""
    from xlray.bench_scheduler import bench_scheduler as measure

    document = measure(finished)
    if as_json:
        print_json(document)
        return
    from xlray.screens import make_table

    def shown(seconds: float | None) -> str:
        return "" if seconds is None else f"{seconds:.2f} s" if seconds >= 0.1 else f"{1000 * seconds:.3f} ms"

    rows = [(r["name"], shown(r["seconds"]), shown(r["cpu_seconds"])) for r in document["rows"]]
    console = open_console()
    console.print(make_table(("", "time", "of the processor"), rows, right=("time", "of the processor")))
    for name, ratio in document["ratios"].items():
        console.print(f"{name}: {ratio:.2f} (below 1 is better for xlray)", highlight=False)
