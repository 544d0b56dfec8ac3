"""`xlray plan` and `xlray simulate`: what a sweep would compute, what it costs, and how its schedule would go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from xlray.cli.options import BudgetHours, DataDir, OnBadExample, Settings, StorageName, SweepFile
from xlray.cli.output import Shown, say, shows
from xlray.cli.sweep_file import load_plan
from xlray.storage.storage import named_storage

if TYPE_CHECKING:
    from rich.console import Console

AssumeSizes = Annotated[
    bool,
    typer.Option(
        "--assume-sizes", help="Plan without the data, from the sizes in the registry; such a plan cannot be run."
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(help="Number of devices in the cluster; by default what `max_concurrent_trials` need, or one trial."),
]
GpuGib = Annotated[
    float | None,
    typer.Option(
        "--gpu-gib", help="Memory of a GPU of the cluster in GiB, where trials share it; else that of this machine."
    ),
]
Tflops = Annotated[
    float | None, typer.Option("--device-tflops", help="Sustained TFLOP/s of a device, where nothing was measured.")
]


@shows
def plan(
    sweep_file: SweepFile,
    storage: StorageName = "runs",
    data_dir: DataDir = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    assume_sizes: AssumeSizes = False,
    devices: Devices = None,
    price_per_hour: Annotated[
        float | None, typer.Option("--price-per-hour", help="Price of one device per hour.")
    ] = None,
    device_tflops: Tflops = None,
    budget_hours: BudgetHours = None,
    gpu_gib: GpuGib = None,
    trials: Annotated[bool, typer.Option("--trials", help="List every trial.")] = False,
) -> Shown:
    """Show what a sweep would compute, what is already stored and what the rest costs; computes nothing."""
    from xlray.phases.store import Store
    from xlray.plan.forecast import Terms, over_budget, summary

    terms = Terms(devices, price_per_hour, device_tflops, budget_hours, gpu_gib)
    opened = named_storage(storage)
    sweep, planned = load_plan(sweep_file, settings, data_dir, opened, on_bad_example == "skip", assume_sizes)
    document = summary(planned, Store(opened), terms)

    def show(console: Console) -> None:
        from xlray.cli import tables

        tables.print_plan(console, sweep.name, sweep.question, document)
        rows = tables.phase_rows(planned, None)
        console.print(
            tables.make_table(
                ("phase", "number", "steps", "examples"),
                [(r["phase"], r["number"], tables.spread(r["steps"]), tables.spread(r["examples"])) for r in rows],
                right=("number", "steps", "examples"),
            )
        )
        encoder = document.get("memory_encoder", "")
        console.print(tables.memory_table(document["memory"], sweep.execution.min_workers, encoder))
        if trials:
            console.print(tables.trial_table(document["trial_list"]))

    return Shown(document, show, over_budget(document))


@shows
def simulate(
    sweep_file: SweepFile,
    storage: StorageName = "runs",
    data_dir: DataDir = None,
    settings: Settings = None,
    on_bad_example: OnBadExample = "fail",
    assume_sizes: AssumeSizes = False,
    devices: Devices = None,
    device_tflops: Tflops = None,
    gpu_gib: GpuGib = None,
    out: Annotated[Path | None, typer.Option(help="SVG file of the timeline; by default NAME-timeline.svg.")] = None,
) -> Shown:
    """Simulate a sweep's schedule on a virtual clock, with the scores of its journal or invented ones."""
    from xlray.phases.store import Store
    from xlray.plan.forecast import Terms, simulation
    from xlray.storage.files import write_atomically

    opened = named_storage(storage)
    sweep, planned = load_plan(sweep_file, settings, data_dir, opened, on_bad_example == "skip", assume_sizes)
    document, figure = simulation(planned, Store(opened), Terms(devices, None, device_tflops, gpu_gib=gpu_gib))
    path = out if out is not None else Path(f"{sweep.name}-timeline.svg")
    write_atomically(path, figure)
    document["figure"] = str(path)
    rows = [
        ("devices", f"{document['devices']:,}"),
        ("wall time", f"{document['wall_hours']:,.2f} h"),
        ("device-hours", f"{document['device_hours']:,.2f}"),
        ("utilisation", f"{document['utilisation']:.0%}"),
        ("trials at each rung", ", ".join(f"{r:,}: {n:,}" for r, n in document["reached"].items())),
        ("steps", f"{document['steps']:,} of {document['naive_steps']:,} ({document['steps_ratio']:.0%})"),
        *((f"saved by {cause}", f"{steps:,}") for cause, steps in document["saved"].items() if steps),
        ("scores", document["scores"]),
        ("rates", document["device_hours_source"]),
    ]

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        console.print(make_table(("simulated", ""), rows))
        say(console, f"timeline  {path}")

    return Shown(document, show)
