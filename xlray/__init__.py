"""xlray: which intermediate tasks make XLM-R better at Finnish? Names are loaded when they are first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xlray import subsets
    from xlray.api import SweepResults, load_results, run
    from xlray.canonical import InputError
    from xlray.config import (
        XLM_R_BASE,
        XLM_R_LARGE,
        Architecture,
        Encoder,
        Execution,
        Intermediate,
        Pretraining,
        Stopping,
        Subset,
        Sweep,
        Target,
        Trial,
        TrialConfig,
    )
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
    "Stopping",
    "Subset",
    "Sweep",
    "SweepResults",
    "Target",
    "Task",
    "Trial",
    "TrialConfig",
    "load_results",
    "pools",
    "run",
    "subsets",
]

_MODULES = {"pools": "xlray.tasks.pools", "subsets": "xlray.subsets"}
_ELSEWHERE = {"SweepResults": "api", "load_results": "api", "run": "api", "InputError": "canonical", "Task": "tasks"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'xlray' has no attribute {name!r}")
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    return getattr(importlib.import_module(f"xlray.{_ELSEWHERE.get(name, 'config')}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
