"""How commands speak: one JSON document or tables on stdout, one line of failure on stderr."""

from __future__ import annotations

import io
import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_FILES = 160


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

    class Shown(Console):
        def on_broken_pipe(self) -> None:  # rich would exit with 1
            raise BrokenPipeError

    console = Shown(stderr=stderr)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console
