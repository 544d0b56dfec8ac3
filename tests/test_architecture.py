"""The layers of xlray, the doors of its frameworks, and the sizes of its modules and functions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "xlray"

# A module or package may import itself and what stands before it. A new module takes its place here.
# fmt: off
LAYERS = [
    "canonical", "signals", "spot", "aws", "files", "remote", "storage", "leases", "provenance",
    "recipes", "config", "machine", "local_ray", "memory", "failures", "scheduler", "settings", "draws", "subsets", "mixture", "tag_sets", "metrics", "journal", "results", "phases", "store", "lineage", "outcomes", "tasks", "mini", "registry", "online",
    "overlap", "packing", "graphemes", "examples", "data", "tokenizer", "search", "encoder_files", "sources", "shortfalls", "encoders", "own_tasks", "zero_shot", "matching", "plan", "proposals", "rungs", "costs", "definition", "jobs", "garbage", "batches", "feeding", "dropout_kernel", "dropout", "model", "engine", "states", "checkpoints", "evaluate", "collapse", "tuning", "interrupt",
    "reopening", "train", "rerun", "model_card", "model_export", "telemetry", "trial", "collect", "export", "preparation", "probe", "ray_state", "submission", "node_types", "session", "driver", "tracking", "sweep_telemetry", "queue", "sweep",
    "analysis", "sensitivity", "simulate", "forecast", "tables", "evidence", "sibling", "findings", "cautions", "answer", "ledger", "anchors", "unseal", "summaries", "task_summaries", "scaling", "reliability",
    "templates", "drawing", "figures", "task_figures", "curve_figures", "reliability_figures", "page", "report", "compare", "bench", "bench_data", "bench_workload", "bench_trainer", "bench_training", "bench_overhead", "bench_queue", "bench_scheduler",
    "loading", "progress", "watching", "dashboard", "output", "snapshot", "live", "following", "screens", "doctor", "previews", "catalogue", "task_screens", "api", "task_commands",
    "plan_commands", "report_commands", "export_commands", "phase_commands", "trial_commands", "storage_commands", "start_commands", "dashboard_commands", "resume", "cluster_job", "cluster_commands", "bench_commands", "cli", "__main__", "__init__",
]
# fmt: on

DOORS = {
    "ray": "search spot aws node_types telemetry sweep_telemetry trial preparation probe submission session queue sweep bench_overhead bench_queue",
    "datasets": "tasks online bench_data",
    "torch": "batches dropout dropout_kernel model engine states checkpoints evaluate tuning interrupt train rerun bench_workload bench_trainer bench_training bench_overhead",
    "deepspeed": "engine",
    "triton": "dropout_kernel",
    "transformers": "model bench_trainer",
    "typer": "cli cluster_commands storage_commands start_commands dashboard_commands plan_commands report_commands task_commands export_commands phase_commands trial_commands bench_commands",
    "rich": "snapshot live following screens task_screens output cli",
    "matplotlib": "drawing figures task_figures curve_figures reliability_figures compare",
    "jinja2": "templates",
    "tokenizers": "data tokenizer",
    "obstore": "remote",
}
WITHOUT_FRAMEWORKS = (
    "canonical",
    "config",
    "scheduler",
    "driver",
    "results",
    "analysis",
    "plan",
    "figures",
    "page",
    "report",
    "compare",
    "dashboard",
)
# Sweep files and their tasks, trackers' clients and `ray.init` may raise anything.
MAY_CATCH_ALL = {"trial", "loading", "tasks", "tracking", "cli", "session"}
FORBIDDEN_NAMES = {"utils", "core", "common", "manager"}
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
            # `from xlray import data` names a module, `from ray import tune` the framework in any case.
            yield from (f"{start}.{alias.name}" if start == "xlray" else start for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def layer_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    own = module.split(".", maxsplit=1)[0]
    if own not in LAYERS:
        return [f"{module} is not in LAYERS"]
    faults = []
    for name in imported(source, module, is_package):
        parts = name.split(".")
        if parts[0] != "xlray":
            continue
        layer = parts[1] if len(parts) > 1 and parts[1] in LAYERS else "__init__"
        if LAYERS.index(layer) > LAYERS.index(own):
            faults.append(f"{module} imports {name}")
    return faults


def door_faults(source: str, module: str) -> list[str]:
    own = module.split(".", maxsplit=1)[0]
    frameworks = {name.split(".", maxsplit=1)[0] for name in imported(source, module)}
    return [f"{module} imports {name}" for name in sorted(frameworks & DOORS.keys()) if own not in DOORS[name].split()]


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
    if module.split(".", maxsplit=1)[0] in MAY_CATCH_ALL:
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


def test_modules_import_only_earlier_layers():
    faults = [f for m, p in sources() for f in layer_faults(p.read_text(), m, p.name == "__init__.py")]
    assert not faults


def test_each_framework_has_its_doors():
    assert not [fault for module, path in sources() for fault in door_faults(path.read_text(), module)]


def test_modules_and_functions_are_short():
    assert not [fault for module, path in sources() for fault in size_faults(path.read_text(), module)]


def test_everything_is_caught_only_at_the_borders():
    assert not [fault for module, path in sources() for fault in catch_all_faults(path.read_text(), module)]


def test_module_names_say_what_they_hold():
    assert not [fault for module, _ in sources() for fault in name_faults(module)]


@pytest.mark.parametrize("module", WITHOUT_FRAMEWORKS)
def test_reading_results_loads_neither_torch_nor_ray(module):
    if not (PACKAGE / f"{module}.py").exists() and not (PACKAGE / module).exists():
        pytest.skip(f"xlray.{module} does not exist")
    code = f"import sys, xlray.{module}; print(sorted({{'torch', 'ray'}} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=PACKAGE.parent)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_all_modules_of_the_package_are_looked_at():
    names = {module for module, _ in sources()}
    assert {"config", "metrics", "__init__", "tasks", "tasks.task"} <= names


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("config", "import xlray.config.subsets"),
        ("config", "from xlray.config.subsets import chains"),
        ("config", "from xlray import subsets"),
        ("config", "from . import subsets"),
        ("config", "from .subsets import chains"),
        ("tasks.task", "from ..data import Examples"),
        ("config", "def later():\n    from xlray import cli"),
        ("config", "import importlib\nimportlib.import_module('xlray.cli.main')"),
        ("report", "from xlray import Sweep"),  # through the package's own door, which opens on anything
        ("unheard_of", ""),
        ("unheard_of.part", ""),
    ],
)
def test_a_planted_layer_fault_is_found(module, source):
    assert layer_faults(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("subsets", "from xlray.config.sweep import Subset"),
        ("tasks.english", "from xlray.tasks.task import Task\nfrom .task import Task\nfrom . import task"),
        ("__init__", "from xlray import cli\nfrom . import config"),
        ("cli", "from xlray import bench, report"),
        ("config", "import json, ray"),
    ],
)
def test_an_allowed_import_is_no_layer_fault(module, source):
    assert not layer_faults(source, module)


@pytest.mark.parametrize("framework", DOORS)
def test_a_planted_framework_is_found(framework):
    for line in (f"import {framework}", f"import {framework}.x as y", f"def f():\n    from {framework}.x import y"):
        assert door_faults(line, "metrics")
        assert not door_faults(line, DOORS[framework].split()[0])


def test_planted_lengths_and_catches_and_names_are_found():
    assert size_faults("\n" * 401, "m") and not size_faults("\n" * 400, "m")
    assert size_faults("def f():\n" + "    pass\n" * 60, "m") and not size_faults("def f():\n" + "    pass\n" * 59, "m")
    for caught in ("", " Exception", " (ValueError, Exception)", " builtins.BaseException"):
        assert catch_all_faults(f"try:\n    pass\nexcept{caught}:\n    pass", "metrics")
        assert not catch_all_faults(f"try:\n    pass\nexcept{caught}:\n    pass", "trial")
    assert not catch_all_faults("try:\n    pass\nexcept ValueError:\n    pass", "metrics")
    assert name_faults("utils") and name_faults("tasks.common") and not name_faults("tasks.task")
