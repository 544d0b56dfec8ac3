"""What this process may use of its machine: cores and memory, as affinity and control groups leave them. Standard library."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def num_cpus(proc: Path = PROC, cgroup: Path = CGROUP) -> int:
    """The cores that this process may use at one time, at least 1.

    The smallest of what the machine has, what its affinity leaves (`taskset`, `--cpuset-cpus`) and what the quotas of its
    control groups come to (`docker --cpus`, Kubernetes' limits, systemd's CPUQuota), parts of a core left out.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min([affinity, *_cpu_quotas(proc, cgroup)])))


def _cpu_quotas(proc: Path, cgroup: Path) -> Iterator[float]:
    for folder in _folders("cpu", proc, cgroup):
        whole = _text(folder / "cpu.max").split()  # version 2: "150000 100000" or "max 100000"
        parts = [_text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")]  # version 1; -1 is no quota
        for quota, period in (pair for pair in (whole, parts) if len(pair) == 2):
            if quota.isdigit() and period.isdigit():
                yield int(quota) / int(period)


def memory_limits(proc: Path = PROC, cgroup: Path = CGROUP) -> Iterator[tuple[int, int]]:
    """(limit, used) in bytes of each control group above this process that limits its memory.

    File pages that nobody has read for a while are not counted as used: the kernel drops them first.
    """
    for folder in _folders("memory", proc, cgroup):
        cached = re.search(r"^(?:total_)?inactive_file (\d+)$", _text(folder / "memory.stat"), re.MULTILINE)
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            most, now = _text(folder / limit), _text(folder / used)
            if most.isdigit() and now.isdigit():  # "max" is no limit
                yield int(most), max(0, int(now) - int(cached[1] if cached else 0))


def total_memory_bytes() -> int:
    """The memory of this machine, or of its container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([machine, *(limit for limit, _ in memory_limits())])


def free_host_bytes() -> int:
    """Memory of this machine, or of its container, that is free or can be freed."""
    lines = (PROC / "meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    return min([free, *(max(0, limit - used) for limit, used in memory_limits())])


def load_per_core() -> float:
    """Processes that ran or waited to run over the last minute, per core that this process may use."""
    return os.getloadavg()[0] / num_cpus()


def _folders(controller: str, proc: Path, cgroup: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, its own and those above, under both versions of control groups.

    In a container the path may be the host's, and lead nowhere here: the mount's top is the container's own group then.
    """
    for line in _text(proc / "self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = cgroup / controller if controllers else cgroup  # version 1 has a mount for each controller
        own = mount / path.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(mount))


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
