"""The packages of xlray: what each is for, what it may import, and which frameworks it may load.

The one table that `test_architecture.py` holds the code to, and that docs/architecture.md shows. After a change of it:
`python tests/support/packages.py` writes it into the page.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "xlray"
PAGE = TOP / "docs" / "architecture.md"
BEGIN, END = "<!-- packages: begin (written by tests/support/packages.py) -->", "<!-- packages: end -->"


@dataclass(frozen=True)
class Package:
    """A package or a top-level module.

    Attributes:
        imports: packages that it may import, all of them earlier in the table.
        frameworks: heavy libraries that it may import.
        door: what others mostly take from it.
    """

    imports: str = ""
    frameworks: str = ""
    door: str = ""


# Lowest first: a package imports only what stands before it, and of that only what its line lists.
PACKAGES = {
    "errors": Package(door="InputError"),
    "canonical": Package("errors", door="fingerprint"),
    "signals": Package("errors", door="catch, kept"),
    "config": Package("canonical errors", door="Sweep, Execution, Intermediate, Target, subsets"),
    "storage": Package("errors", "obstore", "Storage, SweepFolder, Journal, leases, Parquet"),
    "tasks": Package("canonical config errors", "datasets", "Task, TASKS, pools"),
    "mini": Package("config tasks", door="MINI_TASKS, ENCODER"),
    "phases": Package("canonical errors storage", door="TrainSpec, Store"),
    "data": Package("canonical config errors mini phases storage tasks", "tokenizers", "Sources, Examples"),
    "analysis": Package("errors storage", "scipy", "load_results, estimates"),
    "plan": Package("analysis canonical config data errors phases storage tasks", door="plan_sweep, decide, forecast"),
    "training": Package(
        "canonical config data errors phases plan storage tasks",
        "deepspeed seqeval torch transformers triton",
        "run_phases",
    ),
    "cluster": Package("errors phases plan storage", "ray", "submit"),
    "sweep": Package("analysis cluster config data errors phases plan signals storage training", "ray", "run"),
    "templates": Package(frameworks="jinja2", door="render_template"),
    "monitor": Package("cluster errors phases plan storage tasks templates", "rich", "LiveView, serve"),
    "report": Package(
        "analysis data errors phases plan storage tasks templates", "matplotlib", "write_report, compare_sweeps"
    ),
    "bench": Package(
        "canonical config data errors mini phases plan storage sweep tasks training",
        "datasets ray torch transformers",
        "`xlray bench`",
    ),
    "cli": Package(
        "analysis bench cluster config data errors monitor phases plan report signals storage sweep tasks training",
        "rich typer",
        "main",
    ),
    "api": Package(
        "analysis cli config phases plan report storage sweep", door="run, forecast, load_results, list_sweeps"
    ),
    "__main__": Package("cli errors signals"),
    "__init__": Package("api config errors tasks", door="everything that users import"),
}

# Single modules that may load a framework which the rest of their package may not.
EXCEPTIONS = {"plan.searchers": "ray"}

BASE = {"errors", "canonical", "signals"}  # which nearly everything imports
FRAMEWORKS = frozenset(name for package in PACKAGES.values() for name in package.frameworks.split())


def purpose(package: str) -> str:
    """The first line of a package's or module's docstring."""
    path = PACKAGE / package / "__init__.py"
    text = (path if path.exists() else PACKAGE / f"{package}.py").read_text()
    return (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]


def table() -> str:
    """The packages as a Markdown table, lowest first."""
    rows = ["| package | what it is for | mostly used | imports | frameworks |", "|---|---|---|---|---|"]
    for name, package in PACKAGES.items():
        if not name.startswith("__"):
            cells = (f"`{name}`", purpose(name), package.door, package.imports.replace(" ", ", "), package.frameworks)
            rows.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |".replace("|  |", "| |"))
    return "\n".join(rows)


def picture() -> str:
    """The packages as a Mermaid graph: an arrow to what a package imports, without those that follow from others."""
    lines = ["```mermaid", "graph BT"]
    for name, package in PACKAGES.items():
        if name.startswith("__") or name in BASE:
            continue
        direct = set(package.imports.split()) - BASE
        implied = {deep for other in direct for deep in _below(other)}
        lines += [f"  {name} --> {other}" for other in PACKAGES if other in direct - implied]
    return "\n".join([*lines, "```"])


def _below(package: str) -> set[str]:
    direct = set(PACKAGES[package].imports.split())
    return direct | {deep for other in direct for deep in _below(other)}


def page() -> str:
    """docs/architecture.md with the table and the picture as they are now."""
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{picture()}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page())
