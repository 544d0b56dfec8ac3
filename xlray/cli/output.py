"""How commands speak: one JSON document or tables on stdout, one line of failure on stderr."""

from __future__ import annotations

import functools
import inspect
import io
import json
import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from xlray.cli.options import Json
from xlray.errors import XlrayError, fail

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_FILES = 160


@dataclass(frozen=True)
class Shown:
    """What a command has found.

    Attributes:
        document: for programs, what `--json` prints.
        show: prints it for people.
        error: said afterwards in either case, and gives the exit code.
    """

    document: Any
    show: Callable[[Console], None]
    error: XlrayError | None = None


def shows(command: Callable[..., Shown | None]) -> Callable[..., None]:
    """A command that prints what it returns, if anything: tables, or one document with `--json`.

    `--json` becomes an option of the command, which is given it only where it has a parameter `as_json` of its own.
    """
    signature = inspect.signature(command, eval_str=True)
    wants = "as_json" in signature.parameters

    @functools.wraps(command)
    def printing(*given: Any, as_json: bool = False, **options: Any) -> None:
        shown = command(*given, **options, **({"as_json": as_json} if wants else {}))
        if shown is None:
            return
        if as_json:
            print_json(shown.document)
        else:
            shown.show(open_console())
        if shown.error is not None:
            raise typer.Exit(fail(str(shown.error), shown.error.exit_code))

    if not wants:
        json_option = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Json)
        signature = signature.replace(parameters=[*signature.parameters.values(), json_option])
    printing.__signature__ = signature  # type: ignore[attr-defined]
    return printing


def speak_any_encoding() -> None:
    """Have stdout and stderr write letters that their encoding lacks as escapes, such as `\\xe4`, where they would raise."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(document: Any) -> None:
    """The one document of `--json`; what is not a number becomes null."""
    ascii_only = "utf" not in sys.stdout.encoding.lower()
    json.dump(_finite(document), sys.stdout, ensure_ascii=ascii_only, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def tensorboard_line(directory: Path) -> str:
    """The command that shows the curves of the sweep in a folder, for a shell."""
    return shlex.join(["tensorboard", "--logdir", str(directory / "tensorboard")])


def open_console(stderr: bool = False) -> Console:
    """A console for tables; those in files and pipes are not cut to eighty characters."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:  # rich would exit with 1
            raise BrokenPipeError

    console = Piped(stderr=stderr)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console


def say(console: Console, *lines: str, style: str | None = None) -> None:
    """Print lines as they are: nothing in them is markup, and they are not wrapped."""
    for line in lines:
        console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)
