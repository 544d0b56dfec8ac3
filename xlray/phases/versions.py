"""Which code makes a number: versions of packages, and the commit of a source checkout. Standard library only."""

from __future__ import annotations

import functools
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xlray.canonical import fingerprint
from xlray.phases.spec import METHOD_VERSIONS

PACKAGES = ("xlray", "torch", "transformers", "tokenizers", "datasets", "deepspeed", "ray", "numpy")


@functools.cache
def versions() -> dict[str, str]:
    """Package to version, `python` and, where xlray runs from a git checkout, its `commit` (`-dirty` if changed)."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    here = commit()
    return found if here is None else {**found, "commit": here}


def must_agree() -> dict[str, str]:
    """What must be the same on all machines of a sweep: xlray, the versions of its methods as one hash, and Ray."""
    return {"xlray": version("xlray"), "xlray's methods": fingerprint(METHOD_VERSIONS)[:8], "ray": version("ray")}


def differences(ours: Mapping[str, str], theirs: Mapping[str, str], here: str, there: str) -> str:
    """Every version that differs, with both; "" if none does."""
    pairs = ((name, ours.get(name), theirs.get(name)) for name in sorted(ours.keys() | theirs.keys()))
    return "; ".join(f"{name} is {a} {here} and {b} {there}" for name, a, b in pairs if a != b)


def commit(folder: Path = Path(__file__).parents[2]) -> str | None:
    """The commit that is checked out in `folder`; None where that is not the top of a git checkout."""
    if not (folder / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):  # no git here, or a checkout of another user
        return None
    return f"{head}-dirty" if changed else head


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()
