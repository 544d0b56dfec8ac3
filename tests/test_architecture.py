"""The packages and their imports, the frameworks that each may load, and the sizes of modules and functions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import packages
import pytest
from packages import EXCEPTIONS, FRAMEWORKS, PACKAGE, PACKAGES

# What people read results, plans and pages with loads in a moment.
WITHOUT_FRAMEWORKS = (
    "config",
    "plan.trials",
    "plan.asha",
    "sweep.driver",
    "analysis",
    "report.report",
    "monitor.server",
)
# Sweep files, their tasks and their searchers, trackers' clients and `ray.init` may raise anything.
MAY_CATCH_ALL = {
    "sweep.ray_patches",
    "cli.sweep_file",
    "cli.run",
    "tasks.own_code",
    "plan.searchers",
    "sweep.tracking",
    "cli.main",
    "sweep.ray_session",
}
FORBIDDEN_NAMES = {"utils", "core", "common", "manager", "helpers", "misc"}
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


def sources() -> list[tuple[str, Path]]:
    """(dotted name below xlray, path) of every module; a package's __init__ goes by the package's name."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found.append((".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts), path))
    return found


def imported(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Dotted names that a module imports anywhere, in functions too; relative ones resolved below `xlray`."""
    own = ["xlray", *([] if module == "__init__" else module.split("."))]
    package = own if is_package or module == "__init__" else own[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            # `from xlray import data` names a package, `from ray import tune` the framework in any case.
            yield from (f"{start}.{alias.name}" if start == "xlray" else start for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def import_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    own = module.split(".", maxsplit=1)[0]
    if own not in PACKAGES:
        return [f"{module} is in no package of tests/support/packages.py"]
    allowed = {own, *PACKAGES[own].imports.split()}
    faults = []
    for name in imported(source, module, is_package):
        top, *parts = name.split(".")
        package = parts[0] if parts and parts[0] in PACKAGES else "__init__"
        if top == "xlray" and package not in allowed:
            faults.append(f"{module} imports {name}")
    return faults


def framework_faults(source: str, module: str) -> list[str]:
    own = module.split(".", maxsplit=1)[0]
    allowed = {*PACKAGES[own].frameworks.split(), *EXCEPTIONS.get(module, "").split()}
    found = {name.split(".", maxsplit=1)[0] for name in imported(source, module)}
    return [f"{module} imports {name}" for name in sorted((found & FRAMEWORKS) - allowed)]


def size_faults(source: str, module: str) -> list[str]:
    num_lines = len(source.splitlines())
    faults = [f"{module} has {num_lines} lines"] if num_lines > MAX_MODULE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            if (length := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES:
                faults.append(f"{module}.{node.name} has {length} lines")
    return faults


def catch_all_faults(source: str, module: str) -> list[str]:
    if module in MAY_CATCH_ALL:
        return []
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {"" if kind is None else ast.unparse(kind).rsplit(".", maxsplit=1)[-1] for kind in caught}
            if names & {"", "Exception", "BaseException"}:
                faults.append(f"{module}:{node.lineno} catches everything")
    return faults


def name_faults(module: str) -> list[str]:
    return [f"{module} has a name that says nothing"] if FORBIDDEN_NAMES & set(module.split(".")) else []


def test_packages_import_only_earlier_ones_of_the_table():
    order = list(PACKAGES)
    for name, package in PACKAGES.items():
        assert all(order.index(other) < order.index(name) for other in package.imports.split()), name


def test_modules_import_what_the_table_allows():
    assert not [f for m, p in sources() for f in import_faults(p.read_text(), m, p.name == "__init__.py")]


def test_every_import_that_the_table_allows_is_used():
    used: dict[str, set[str]] = {name: set() for name in PACKAGES}
    for module, path in sources():
        for name in imported(path.read_text(), module, path.name == "__init__.py"):
            parts = name.split(".")
            if parts[0] == "xlray" and len(parts) > 1 and parts[1] in PACKAGES:
                used[module.split(".", maxsplit=1)[0]].add(parts[1])
    assert not [f"{n}: {o}" for n, p in PACKAGES.items() for o in p.imports.split() if o not in used[n]]


def test_packages_load_only_the_frameworks_of_the_table():
    assert not [fault for module, path in sources() for fault in framework_faults(path.read_text(), module)]


def test_packages_are_at_most_two_deep_and_say_what_they_are_for():
    for module, path in sources():
        assert module.count(".") <= 1, module
        assert ast.get_docstring(ast.parse(path.read_text())), module


def test_the_page_shows_the_table():
    assert packages.page() == packages.PAGE.read_text(), "run `python tests/support/packages.py`"


def test_modules_and_functions_are_short():
    assert not [fault for module, path in sources() for fault in size_faults(path.read_text(), module)]


def test_everything_is_caught_only_at_the_borders():
    assert not [fault for module, path in sources() for fault in catch_all_faults(path.read_text(), module)]


def test_module_names_say_what_they_hold():
    assert not [fault for module, _ in sources() for fault in name_faults(module)]


@pytest.mark.parametrize("module", WITHOUT_FRAMEWORKS)
def test_reading_results_loads_neither_torch_nor_ray(module):
    code = f"import sys, xlray.{module}; print(sorted({{'torch', 'ray'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("config.sweep", "import xlray.plan.trials"),
        ("config.sweep", "from xlray.plan.trials import plan_sweep"),
        ("config.sweep", "from xlray import plan"),
        ("config.sweep", "from ..plan import trials"),
        ("tasks.task", "from ..data.examples import Examples"),
        ("config.sweep", "def later():\n    from xlray.cli import main"),
        ("config.sweep", "import importlib\nimportlib.import_module('xlray.cli.main')"),
        ("report.report", "from xlray import Sweep"),  # through the package's own door, which opens on anything
        ("report.report", "from xlray.sweep.run import run"),
        ("monitor.live", "from xlray.training.train import run_phases"),
        ("training.train", "from xlray.sweep.run import run"),
        ("unheard_of", ""),
        ("unheard_of.part", ""),
    ],
)
def test_a_planted_import_is_found(module, source):
    assert import_faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("plan.trials", "from xlray.config.recipes import Subset"),
        ("tasks.english", "from xlray.tasks.task import Task\nfrom .task import Task\nfrom . import task"),
        ("__init__", "from xlray.config.sweep import Sweep\nfrom . import config"),
        ("cli.main", "from xlray import bench, report"),
        ("config.sweep", "import json, ray"),
    ],
)
def test_an_allowed_import_is_no_fault(module, source):
    assert not import_faults(source, module)


@pytest.mark.parametrize("framework", sorted(FRAMEWORKS))
def test_a_planted_framework_is_found(framework):
    allowed = next(name for name, package in PACKAGES.items() if framework in package.frameworks.split())
    for line in (f"import {framework}", f"import {framework}.x as y", f"def f():\n    from {framework}.x import y"):
        assert framework_faults(line, "config.sweep")
        assert not framework_faults(line, f"{allowed}.part")


def test_planted_lengths_and_catches_and_names_are_found():
    assert size_faults("\n" * 401, "m") and not size_faults("\n" * 400, "m")
    assert size_faults("def f():\n" + "    pass\n" * 60, "m") and not size_faults("def f():\n" + "    pass\n" * 59, "m")
    for caught in ("", " Exception", " (ValueError, Exception)", " builtins.BaseException"):
        assert catch_all_faults(f"try:\n    pass\nexcept{caught}:\n    pass", "training.metrics")
        assert not catch_all_faults(f"try:\n    pass\nexcept{caught}:\n    pass", "sweep.ray_patches")
    assert not catch_all_faults("try:\n    pass\nexcept ValueError:\n    pass", "training.metrics")
    assert name_faults("utils") and name_faults("tasks.common") and not name_faults("tasks.task")
