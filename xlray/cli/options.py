"""Options and arguments that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

StorageName = Annotated[
    str,
    typer.Option(
        "--storage",
        envvar="XLRAY_STORAGE",
        help="A folder that all workers share, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX.",
    ),
]


def complete_sweep(ctx: typer.Context, incomplete: str) -> list[str]:
    """For the shell: the sweeps of the storage whose names begin so; none where the storage is not on this machine."""
    storage = Path(ctx.params.get("storage") or os.environ.get("XLRAY_STORAGE") or "runs")
    found = sorted(path.name for path in (storage / "sweeps").glob("*") if path.is_dir())
    return [name for name in found if name.startswith(incomplete)]


SweepName = Annotated[
    str,
    typer.Argument(
        metavar="NAME|DIR", help="Name of a sweep in the storage, or its folder.", autocompletion=complete_sweep
    ),
]


DataDir = Annotated[
    Path | None, typer.Option("--data-dir", envvar="XLRAY_DATA_DIR", help="Folder of the tasks' original files.")
]


Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")]


SweepFile = Annotated[Path, typer.Argument(metavar="SWEEP.py", help="Python file that defines `sweep = Sweep(...)`.")]


Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Replace a field, e.g. execution.num_workers=2; repeatable."),
]


OnBadExample = Annotated[
    Literal["fail", "skip"],
    typer.Option(help="Refuse a file with a bad training example, or skip and count the example."),
]


BudgetHours = Annotated[
    float | None,
    typer.Option("--budget-hours", help="Budget in device-hours; a sweep that needs more is refused (exit code 5)."),
]


TrialName = Annotated[str, typer.Argument(metavar="TRIAL", help="A trial's id, a prefix of it, or its readable name.")]


class Whole(TyperGroup):
    """A group whose list of commands has their first sentence in full."""

    def sections(self) -> dict[str, list[str]]:
        """Heading to the names of the commands below it."""
        return {"Commands": list(self.commands)}

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        for title, names in self.sections().items():
            with formatter.section(title):
                formatter.write_dl([(name, self.commands[name].get_short_help_str(limit=200)) for name in names])
