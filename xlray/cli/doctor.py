"""Whether this machine can run a sweep: checks that start nothing and change nothing but Ray's folder."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xlray.cli.options import StorageName
from xlray.cli.output import Shown, shows
from xlray.cluster.local_ray import ray_environment, ray_folder, start_within_s, token_file
from xlray.errors import InputError
from xlray.phases.store import check_writable
from xlray.plan.machine import load_per_core, num_cpus, total_memory_bytes
from xlray.storage.storage import Storage, named_storage

if TYPE_CHECKING:
    from rich.console import Console

GIB = 2**30
PROBE_TIMEOUT_S = 120
BUSY = 2.0  # processes per core
# Libraries are loaded in a process of their own: a broken one may hang, abort or print.
TORCH_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "devices":
    [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
    "bf16": torch.cuda.is_bf16_supported() if cuda else torch.backends.cpu.get_cpu_capability()}))
"""


@dataclass(frozen=True)
class Check:
    """One thing that was checked; `status` is ok, warning or problem."""

    name: str
    status: str
    detail: str


@shows
def doctor(storage: StorageName = "runs") -> Shown:
    """Check whether this machine can run a sweep."""
    checks = run_checks(named_storage(storage))

    def show(console: Console) -> None:
        from xlray.cli.tables import make_table

        console.print(make_table(("check", "status", "found"), [(c.name, c.status, c.detail) for c in checks]))

    problems = sum(check.status == "problem" for check in checks)
    error = InputError(f"doctor: {problems} problem(s) found.") if problems else None
    return Shown([dataclasses.asdict(check) for check in checks], show, error)


def run_checks(storage: Storage) -> list[Check]:
    """All checks.

    Args:
        storage: the one to look at.
    """
    made: list[Callable[[], list[Check]]] = [
        _python,
        _packages,
        _torch,
        lambda: _imports("ray"),
        lambda: _imports("deepspeed"),
        _compiler,
        _shared_gpu,
        _cores,
        _memory,
        _shared_memory,
        _place_of_ray,
        _load,
        lambda: _storage(storage),
    ]
    return [check for make in made for check in make()]


def _python() -> list[Check]:
    good = sys.version_info >= (3, 11)
    return [Check("python", "ok" if good else "problem", f"{platform.python_version()} (3.11 or later is needed)")]


def _packages() -> list[Check]:
    try:
        required = importlib.metadata.requires("xlray") or []
    except importlib.metadata.PackageNotFoundError:
        return [Check("xlray", "problem", "not installed; run `pip install -e .`")]
    found = []
    for line in required:
        if "extra ==" in line:
            continue
        name, wanted = re.split(r"[\[<>=~! ]", line, maxsplit=1)[0], re.findall(r">=\s*([\d.]+)", line)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found.append(Check(name, "problem", f"not installed; {line} is needed"))
            continue
        old = bool(wanted) and _numbers(version) < _numbers(wanted[0])
        found.append(Check(name, "problem" if old else "ok", f"{version}{f'; {line} is needed' if old else ''}"))
    return found


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3]]


def _probe(code: str) -> tuple[bool, str]:
    """Run Python code in a process of its own: whether it ended well, and its last line."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {PROBE_TIMEOUT_S} s"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    return done.returncode == 0, lines[-1] if lines else f"exit code {done.returncode}"


@functools.cache
def _torch_probe() -> tuple[bool, str]:
    return _probe(TORCH_PROBE)


def _torch() -> list[Check]:
    good, line = _torch_probe()
    if not good:
        return [Check("torch import", "problem", line)]
    found = json.loads(line)
    if not found["devices"]:
        wide = "avx512" in str(found["bf16"]).lower() or "amx" in str(found["bf16"]).lower()
        bf16 = "bf16 may be faster than fp32" if wide else "fp32 is faster than bf16"
        return [
            Check("device", "warning", "no CUDA device: everything runs on the CPU, which is for small encoders"),
            Check("bf16", "ok", f"CPU capability {found['bf16']}: {bf16}"),
        ]
    precision = (
        Check("bf16", "ok", "supported") if found["bf16"] else Check("bf16", "warning", "not supported: use fp32")
    )
    return [Check("device", "ok", f"CUDA {found['cuda']}: {', '.join(found['devices'])}"), precision]


def _imports(name: str) -> list[Check]:
    good, line = _probe(f"import {name}; print({name}.__version__)")
    return [Check(f"{name} import", "ok" if good else "problem", line)]


def _compiler() -> list[Check]:
    """A C compiler and Python's headers, with which Triton builds the launcher of a kernel at its first use on a GPU."""
    compiler = next((name for name in (os.environ.get("CC", ""), "gcc", "clang") if shutil.which(name)), None)
    header = Path(sysconfig.get_paths()["include"], "Python.h")
    good, line = _torch_probe()
    if not (good and json.loads(line)["devices"]):
        return [Check("C compiler", "ok", f"{compiler or 'none'} (not needed without a GPU)")]
    missing = [] if compiler else ["gcc or clang on the PATH, or CC"]
    missing += [] if header.exists() else [f"{header} (package python3-dev or python3-devel)"]
    if missing:
        return [Check("C compiler", "problem", f"missing for training on a GPU: {', '.join(missing)}")]
    return [Check("C compiler", "ok", f"{compiler}, {header}")]


def _shared_gpu() -> list[Check]:
    """Whether kernels of trials that share a GPU run side by side: CUDA finds MPS by itself where its daemon runs."""
    good, line = _torch_probe()
    if not (good and json.loads(line)["devices"]):
        return []
    pipes = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY") or "/tmp/nvidia-mps")
    try:
        running = Path("/proc", (pipes / "nvidia-cuda-mps-control.pid").read_text().strip()).is_dir()
    except OSError:
        running = False
    found = (
        f"on, in {pipes}" if running else "off: trials that share a GPU take turns on it (nvidia-cuda-mps-control -d)"
    )
    return [Check("MPS", "ok", found)]


def _cores() -> list[Check]:
    cores = num_cpus()
    note = "" if cores >= 2 else "; two or more are advised"
    return [Check("cores", "warning" if note else "ok", f"{cores}{note}")]


def _memory() -> list[Check]:
    total = total_memory_bytes()
    note = "" if total >= 4 * GIB else "; Ray wants 4 or more"
    return [Check("memory", "warning" if note else "ok", f"{total / GIB:.1f} GiB{note}")]


def _shared_memory() -> list[Check]:
    path = Path("/dev/shm")
    if not path.is_dir():
        return [Check("/dev/shm", "ok", "not there; Ray uses a temporary folder")]
    free = shutil.disk_usage(path).free
    note = "" if free >= GIB // 2 else "; Ray's object store is slow with less than 0.5 (docker: --shm-size)"
    return [Check("/dev/shm", "warning" if note else "ok", f"{free / GIB:.1f} GiB free{note}")]


def _place_of_ray() -> list[Check]:
    try:
        folder, chosen = ray_folder(), ray_environment()
    except InputError as error:
        return [Check("folder of Ray", "problem", str(error))]
    token = Path(chosen.get("RAY_AUTH_TOKEN_PATH", token_file()))
    return [Check("folder of Ray", "ok", f"{folder}; token in {token}")]


def _load() -> list[Check]:
    load = load_per_core()
    note = f"; Ray gets {start_within_s():.0f} s to start" if load > BUSY else ""
    return [Check("load", "warning" if note else "ok", f"{load:.1f} processes per core{note}")]


def _storage(storage: Storage) -> list[Check]:
    root = storage.root
    there = next(p for p in (root, *root.parents) if p.exists())
    free = shutil.disk_usage(there).free
    note = "" if free >= 10 * GIB else "; a trial of XLM-R Large needs more than 10"
    checks = [Check("storage disk", "warning" if note else "ok", f"{free / GIB:.1f} GiB free below {root}{note}")]
    try:
        if root.is_dir():
            check_writable(storage)
        writable = os.access(there, os.W_OK)
    except InputError:
        writable = False
    if not writable:
        return [*checks, Check("storage", "problem", f"{there} cannot be written")]
    return [*checks, Check("storage", "ok", "can be written" if root.is_dir() else "can be created")]
