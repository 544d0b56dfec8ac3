"""What is private of Ray and needed to fork its workers; imports neither Ray Train nor Ray Tune, which would draw ids.

Each stands here with the reason. tests/sweep/test_ray_doors.py names the version of Ray that they were read at, and what a
later one has changed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants
from ray._private.workers import setup_worker
from ray._raylet import WorkerID

# What a raylet tells its workers by their environment, which native code reads only once, when Ray is imported.
TOLD = ("RAY_JOB_ID", "RAY_RAYLET_PID")


@contextlib.contextmanager
def workers_started_by(script: Path) -> Iterator[None]:
    """Have a node that starts meanwhile run a script for each Python worker; its arguments begin with Ray's own script.

    Ray's way is a runtime environment, for which every worker first starts a process that imports Ray.
    """
    known, ray_constants.SETUP_WORKER_FILENAME = ray_constants.SETUP_WORKER_FILENAME, str(script)
    try:
        yield
    finally:
        ray_constants.SETUP_WORKER_FILENAME = known


def told_workers() -> tuple[Path, dict[str, str]]:
    """Path of the socket of the raylet that this process has started, and what that tells the workers of this job."""
    node = ray._private.worker._global_node
    pid = node.all_processes[ray_constants.PROCESS_TYPE_RAYLET][0].process.pid
    values = (ray.get_runtime_context().get_job_id(), str(pid))
    return Path(node.raylet_socket_name), dict(zip(TOLD, values, strict=True))


def set_up_worker(arguments: list[str]) -> list[str]:
    """Set this process up for a worker as Ray's script does, without becoming another program where that is not needed.

    Returns:
        Path and arguments of the program that is to be run in this process.
    """
    known, program = setup_worker.parser.parse_known_args(arguments)
    if known.serialized_runtime_env_context is not None:
        context = setup_worker.RuntimeEnvContext.deserialize(known.serialized_runtime_env_context)
        if vars(context) != vars(setup_worker.RuntimeEnvContext(env_vars=context.env_vars)):
            context.exec_worker(program, setup_worker.Language.Value(known.language))
        ray._private.utils.update_envs(context.env_vars)
    return list(program)


@contextlib.contextmanager
def random_class_ids() -> Iterator[None]:
    """Give actor classes that are defined meanwhile ids that Ray's generator has not drawn.

    It is seeded when it draws the first one: processes forked later would go on from there and draw the same ids.
    """

    class FromTheSystem:
        @staticmethod
        def from_random() -> Any:
            return known(os.urandom(known.size()))

    known, ray.actor.ActorClassID = ray.actor.ActorClassID, FromTheSystem
    try:
        yield
    finally:
        ray.actor.ActorClassID = known


def random_id() -> bytes:
    """An id drawn by Ray's generator in native code."""
    return bytes(WorkerID.from_random().binary())
