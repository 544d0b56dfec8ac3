"""`xlray init`, and the sweep of `xlray demo`: files to start from, which are installed with the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from xlray.cli.sweep_file import load_sweep
from xlray.errors import InputError

QUICKSTART = Path(__file__).parent / "quickstart.sweep"  # sweeps/quickstart.py
STARTER = Path(__file__).parent / "starter.sweep"


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the sweep; NAME.py is written.")],
) -> None:
    """Write a commented sweep file to start from; it runs as it stands, without a download."""
    sweep = load_sweep(STARTER)
    dataclasses.replace(sweep, name=name)  # refuses a name that a sweep may not have
    path = Path(f"{name}.py")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(STARTER.read_text(encoding="utf-8").replace(sweep.name, name))
    except OSError as error:
        raise InputError(f"init {name}: {path} must be a new file, but: {error}.") from error
    typer.echo(f"{path}: `xlray plan {path}` shows what it would compute, `xlray run {path}` runs it.")
