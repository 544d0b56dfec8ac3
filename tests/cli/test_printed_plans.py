"""The plans that pages print are those of its sweeps, made by the code as it is."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from xlray.cli import sweep_file
from xlray.cli.main import main
from xlray.config.sweep import Sweep

ROOT = Path(__file__).parents[2]
PAGE, REAL = ((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("sweeps.md", "start/real-data.md"))
FENCE = re.compile(r"^```(python)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [block.group(1, 2) for page in (PAGE, REAL) for block in FENCE.finditer(page)]


def printed_plans() -> dict[str, tuple[Sweep | None, str]]:
    """Command to the sweep that the page develops up to there, None where the command names a file, and what it prints.

    In the page's code `Sweep(..., field=value)` is the sweep before it with other fields.
    """
    current: Sweep | None = None
    found: dict[str, tuple[Sweep | None, str]] = {}

    def changed(*before: Any, **fields: Any) -> Sweep:
        if not before:
            return Sweep(**fields)
        assert before == (...,) and current is not None
        return dataclasses.replace(current, **fields)

    for language, text in BLOCKS:
        if language == "python":
            names: dict[str, Any] = {}
            exec("from xlray import *", names)
            names["Sweep"] = changed
            exec(re.sub("^from xlray import .*$", "", text, flags=re.MULTILINE), names)
            current = names["sweep"]
        elif text.startswith("$ xlray plan "):
            command, _, output = text.removeprefix("$ xlray plan ").partition("\n")
            found[command] = (None if command.startswith("sweeps/") else current, output)
    return found


PLANS = printed_plans()


@pytest.mark.parametrize("command", PLANS)
def test_a_printed_plan_is_the_plan_of_its_sweep(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep, printed = PLANS[command]
    monkeypatch.chdir(ROOT)
    if sweep is not None:
        monkeypatch.setattr(sweep_file, "load_sweep", lambda path: sweep)
    assert main(["plan", *shlex.split(command), "--storage", str(tmp_path / "runs")]) == 0
    found = words(capsys.readouterr().out)
    assert found.startswith(words(printed))
    if command.startswith("sweeps/finnish_9_vs_20.py"):
        (memory,) = re.findall(r"^    ```\n(    Memory of .*?)^    ```$", PAGE, re.MULTILINE | re.DOTALL)
        assert words(memory) in found


def words(text: str) -> str:
    """A text without what lays it out: the page folds long lines, and no terminal's table has rules as wide."""
    return " ".join(text.replace("─", "").split())
