"""From what a user typed to values: a sweep file, settings, the storage, a sweep's folder."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xlray.config.overrides import with_fields
from xlray.config.sweep import Sweep
from xlray.errors import InputError, nearest

if TYPE_CHECKING:
    from xlray.plan.trials import SweepPlan
    from xlray.storage.storage import Storage

MODULE_NAME = "_xlray_sweep_file"


def load_sweep(path: Path) -> Sweep:
    """The value of the variable `sweep` of a Python file. What the file prints goes to stderr.

    Raises:
        InputError: no such file, it is no Python, it raises, or it defines no sweep; with file and line.
    """
    if not path.is_file():
        beside = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise InputError(f"{path}: no such sweep file.{nearest(str(path), beside)}")
    namespace = _execute(path)
    if "sweep" not in namespace:
        made = [name for name, value in namespace.items() if isinstance(value, Sweep)]
        hint = f" It defines {made[0]!r} instead." if made else ""
        raise InputError(f"{path}: the file must define `sweep = Sweep(...)`, but defines no `sweep`.{hint}")
    sweep = namespace["sweep"]
    if not isinstance(sweep, Sweep):
        raise InputError(f"{path}: the file must define `sweep = Sweep(...)`, but `sweep` is a {type(sweep).__name__}.")
    return sweep


def _execute(path: Path) -> dict[str, object]:
    """Run the file as a module of a private name, without leaving a compiled copy beside it."""
    module = types.ModuleType(MODULE_NAME)
    module.__file__ = str(path)
    try:
        code = compile(path.read_bytes(), str(path), "exec")
    except SyntaxError as error:
        raise InputError(f"{path}:{error.lineno}: not valid Python: {error.msg}.") from error
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a readable Python file: {error}.") from error
    sys.modules[MODULE_NAME] = module  # dataclasses look their module up by name
    beside = str(path.parent.absolute())
    sys.path.insert(0, beside)  # as for a script: what lies beside it can be imported
    try:
        with contextlib.redirect_stdout(sys.stderr):
            exec(code, module.__dict__)
    except InputError as error:
        raise InputError(f"{path}:{_line(error, path)}: {error}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{path}:{_line(error, path)}: {_explained(error, module)}") from error
    finally:
        sys.path.remove(beside)
        sys.modules.pop(MODULE_NAME, None)  # gone already if the file loaded another sweep file
    return dict(vars(module))


def _explained(error: BaseException, module: types.ModuleType) -> str:
    """What was raised; for a field that a recipe does not have, with the nearest one that it has."""
    if isinstance(error, ModuleNotFoundError):
        return f"what it imports must be installed here or lie beside it, but {error.name!r} does not."
    found = re.fullmatch(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'.*", str(error))
    kind = vars(module).get(found[1]) if found else None
    if found is None or not dataclasses.is_dataclass(kind):
        return f"{type(error).__name__}: {error}"
    names = [field.name for field in dataclasses.fields(kind)]
    return f"unknown field {found[2]!r} of {found[1]}.{nearest(found[2], names)}"


def _line(error: BaseException, path: Path) -> int:
    """The last line of the file that was being executed."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno or 0 for f in reversed(frames) if f.filename == str(path)), 0)


def apply_settings(sweep: Sweep, settings: Sequence[str]) -> Sweep:
    """The sweep with `FIELD=VALUE` settings applied in order.

    Raises:
        InputError: no `=`, an unknown field, or a value that the field refuses; names the setting.
    """
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise InputError(f"--set {setting}: must be FIELD=VALUE, such as `--set intermediate.batch_size=64`.")
        try:
            sweep = with_fields(sweep, {name: value})
        except InputError as error:
            text = str(error)
            raise InputError(text if text.startswith("--set") else f"--set {setting}: {text}") from error
    return sweep


def load_plan(
    path: Path,
    settings: Sequence[str] | None,
    data_dir: Path | None,
    storage: Storage,
    skip_bad_examples: bool,
    assume_sizes: bool = False,
) -> tuple[Sweep, SweepPlan]:
    """A sweep file with its settings, and its plan.

    Raises:
        InputError: what is wrong with it, after the file's name.
    """
    from xlray.plan.trials import plan_sweep

    sweep = load_sweep(path)
    try:
        sweep = apply_settings(sweep, settings or [])
        return sweep, plan_sweep(sweep, data_folder(data_dir), storage, skip_bad_examples, assume_sizes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def data_folder(path: Path | None) -> Path | None:
    """The folder of original data files, absolute, or None.

    Raises:
        InputError: there is no such folder.
    """
    if path is None:
        return None
    folder = path.expanduser().absolute()
    if not folder.is_dir():
        raise InputError(f"--data-dir {path}: must be a folder, but there is none.")
    return folder
