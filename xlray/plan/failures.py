"""Why a trial failed, and what follows: pure functions of the error's text. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

# The first kind whose pattern occurs decides: when one process dies, the others report broken connections, and a node
# that goes away takes processes with it.
KINDS = (
    ("damage", r"DamagedError|StoreError: .*quarantine"),
    (
        "memory",
        r"OutOfMemoryError|CUDA out of memory|MemoryError|can't allocate memory|running low on memory"
        # Beside torch's allocator, where other processes have left nothing of the GPU.
        r"|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED",
    ),
    ("storage", r"No space left on device|Read-only file system|Disk quota exceeded|RemoteError"),
    ("node", r"[Nn]ode has died|node was (?:terminated|preempted|lost)|NodeDiedError|PreemptionError|preempted"),
    (
        "process",
        r"[Aa]ctor (?:died|is dead)|worker process has died|health check failed"
        r"|ActorDiedError|RayActorError|WorkerCrashedError|WorkerHealthCheck|StartupTimeoutError|StartupFailedError"
        r"|[Cc]onnection (?:closed|reset|refused)|Broken pipe|NCCL(?:Hang)?Error|NCCL error|the trial's process died"
        # The port for a process group is found free before it is bound: another Ray on the host may be faster.
        r"|DistNetworkError|EADDRINUSE|[Aa]ddress already in use",
    ),
)
MAX_RETRIES = {"memory": 8, "node": 100, "damage": 8}  # not charged to `max_failures`, yet bounded
SAME_ERROR_TRIALS = 3  # as many trials failing alike, with no rung reported between them: it is not the trials


def classify(error: str) -> str:
    """The kind of a failure: one of `KINDS`, or bug (an exception in the code that ran)."""
    return next((kind for kind, pattern in KINDS if re.search(pattern, error)), "bug")


def may_retry(kind: str, tried: Mapping[str, int], max_failures: int) -> bool:
    """Whether a trial that failed is restarted at once.

    Args:
        tried: kind to how often it was retried for it.
    """
    limit = max_failures if kind == "process" else MAX_RETRIES.get(kind, 0)
    return tried.get(kind, 0) < limit


def signature(error: str) -> str:
    """The last line of an error without what differs from trial to trial: paths, hashes, numbers."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    text = lines[-1] if lines else ""
    text = re.sub(r"(/[^\s'\":,]*)+", "<path>", text)
    return re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b|\d+(\.\d+)?", "<number>", text)


def common_error(errors: Sequence[str]) -> str | None:
    """The signature shared by the last `SAME_ERROR_TRIALS` errors, or None.

    Args:
        errors: of different trials that failed, since a rung was last reported.
    """
    last = {signature(error) for error in errors[-SAME_ERROR_TRIALS:]}
    return last.pop() if len(errors) >= SAME_ERROR_TRIALS and len(last) == 1 else None
