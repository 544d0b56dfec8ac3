"""xlray: which intermediate tasks make XLM-R better at Finnish? Names are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlray.api import SweepResults, forecast, list_sweeps, load_results, run
    from xlray.config import subsets
    from xlray.config.execution import Execution
    from xlray.config.recipes import (
        XLM_R_BASE,
        XLM_R_LARGE,
        Architecture,
        Encoder,
        Intermediate,
        Pretraining,
        Subset,
        Target,
    )
    from xlray.config.search import Search
    from xlray.config.sweep import Stopping, Sweep, Trial, TrialConfig
    from xlray.errors import InputError
    from xlray.tasks import Task, pools

__version__ = "0.1.0"

__all__ = [
    "XLM_R_BASE",
    "XLM_R_LARGE",
    "Architecture",
    "Encoder",
    "Execution",
    "InputError",
    "Intermediate",
    "Pretraining",
    "Search",
    "Stopping",
    "Subset",
    "Sweep",
    "SweepResults",
    "Target",
    "Task",
    "Trial",
    "TrialConfig",
    "forecast",
    "list_sweeps",
    "load_results",
    "pools",
    "run",
    "subsets",
]

_MODULES = {"pools": "xlray.tasks.pools", "subsets": "xlray.config.subsets"}
_HOMES = {
    "api": ("SweepResults", "forecast", "list_sweeps", "load_results", "run"),
    "config.execution": ("Execution",),
    "config.search": ("Search",),
    "config.sweep": ("Stopping", "Sweep", "Trial", "TrialConfig"),
    "errors": ("InputError",),
    "tasks": ("Task",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'xlray' has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    return getattr(importlib.import_module(f"xlray.{_HOME.get(name, 'config.recipes')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
