"""How commands speak: one JSON document or tables on stdout, one line of failure on stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_FILES = 160
SNAPSHOT_VARIABLE = "XLRAY_SNAPSHOT"  # names the file in which a driver shows how far it is to clients that follow it


def fail(message: str, code: int) -> int:
    """Print one line on stderr; returns the exit code."""
    print(f"xlray: {' '.join(message.split())}", file=sys.stderr)
    return code


def print_json(document: Any) -> None:
    """The one document of `--json`; what is not a number becomes null."""
    json.dump(_finite(document), sys.stdout, ensure_ascii=False, indent=1, allow_nan=False)
    sys.stdout.write("\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def open_console(stderr: bool = False) -> Console:
    """A console for tables; those in files and pipes are not cut to eighty characters."""
    from rich.console import Console

    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = WIDTH_OF_FILES
    return console
