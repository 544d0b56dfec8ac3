"""Which test files load neither torch nor Ray, read from their imports: those of `make check`."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[2]
FOLDERS = (TOP, TOP / "tests/support", TOP / "tests/studies")
HEAVY = {"torch", "ray", "deepspeed", "transformers"}


def is_light(path: Path) -> bool:
    """Whether a test file names no heavy library anywhere, and what it imports loads none."""
    waiting, seen = set(_imported(path, anywhere=True)), set[Path]()
    while waiting:
        module = waiting.pop()
        if module.partition(".")[0] in HEAVY:
            return False
        for file in _files(module) - seen:
            seen.add(file)
            waiting |= _at_load_of(file)
    return True


@functools.cache
def _at_load_of(file: Path) -> frozenset[str]:
    return frozenset(_imported(file, anywhere=False))


@functools.cache
def _files(module: str) -> frozenset[Path]:
    """Files of this project that are run when a module is imported: its own and those of its packages."""
    parts = module.split(".")
    stems = [folder.joinpath(*parts[:end]) for folder in FOLDERS for end in range(1, len(parts) + 1)]
    return frozenset(
        path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()
    )


def _imported(path: Path, anywhere: bool) -> Iterator[str]:
    """Dotted names that a file imports when it is loaded, or anywhere in it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree) if anywhere else _at_load(tree.body):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_load(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _at_load(node.body) if isinstance(node, (ast.If, ast.Try, ast.With)) else ()
