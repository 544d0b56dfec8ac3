"""Private names of libraries: which a module uses, and whether an installed library still has one as it was read."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

# Modules whose names say nothing, but which their library keeps to itself.
INTERNAL = ("ray.train.v2", "ray.experimental", "ray.core.generated")
ADDED_TO_ACTORS = "_ray_trace_ctx"  # by Ray to the methods of a class once it was made an actor in this process
NAMED_TUPLES = {"_replace", "_asdict", "_make", "_fields"}


def is_private(dotted: str) -> bool:
    parts = dotted.split(".")
    hidden = any(part.startswith("_") and not part.startswith("__") for part in parts)
    return hidden or any(dotted == name or dotted.startswith(f"{name}.") for name in INTERNAL)


def private_names(source: str, libraries: tuple[str, ...]) -> set[str]:
    """Private names of the libraries that a module imports, names in a string, or takes as attributes (as `.name`).

    In a module that imports one of the libraries, every private attribute counts but those of `self`, `cls` and `super()`.
    """
    if not re.search(rf"\b({'|'.join(libraries)})\b", source):
        return set()
    tree = ast.parse(source)
    imports = {name.split(".")[0] for name in _imported(tree)}
    found = {name for name in _imported(tree) if name.split(".")[0] in libraries and is_private(name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = rf"({'|'.join(libraries)})(\.\w+)+"
            found |= {node.value} if re.fullmatch(names, node.value) and is_private(node.value) else set()
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node)
            if dotted.split(".")[0] in libraries and is_private(dotted):
                found.add(dotted)
            elif imports & set(libraries) and is_private(node.attr) and node.attr not in NAMED_TUPLES:
                own = ast.unparse(node.value) in ("self", "cls", "super()")
                found |= set() if own else {f".{node.attr}"}
    return found


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def as_read(door: str) -> str:
    """What is at "module:name" or "module:Class.attribute" now: names and defaults of its parameters, else "".

    An attribute that only instances have counts where the class, or one that it is made of, annotates or assigns it.

    Raises:
        AttributeError, ImportError: nothing is there.
    """
    module, _, path = door.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        owner, found = found, getattr(found, name, None)
        if found is None and not hasattr(owner, name) and not _of_instances(owner, name):
            raise AttributeError(f"{door}: there is no {name}")
    if not inspect.isroutine(found):
        return ""
    try:
        signature = inspect.signature(found)
    except ValueError:  # compiled
        return ""
    own = [one for name, one in signature.parameters.items() if name != ADDED_TO_ACTORS]
    plain = [one.replace(annotation=inspect.Parameter.empty) for one in own]
    return str(inspect.Signature(plain))[1:-1]


def _of_instances(owner: object, name: str) -> bool:
    if not inspect.isclass(owner):
        return False
    if hasattr(owner, "DESCRIPTOR"):  # a protobuf message
        return name in owner.DESCRIPTOR.fields_by_name
    annotated = any(name in vars(one).get("__annotations__", {}) for one in owner.__mro__)
    return annotated or any(
        re.search(rf"\bself\.{name}\b[^=\n]*=[^=]", inspect.getsource(one)) for one in owner.__mro__[:-1]
    )
