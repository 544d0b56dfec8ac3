"""Ray for the time of a sweep: started on this machine or connected to, with the noise of libraries kept in their files."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Iterator
from typing import Any

import ray

from xlray.config import Execution
from xlray.trial import TRAIN_ENVIRONMENT, WORKER_ENVIRONMENT


@contextlib.contextmanager
def ray_session(execution: Execution, address: str | None) -> Iterator[None]:
    """Ray on this machine, or a connection to a cluster, with libraries' noise kept in their log files."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.update(TRAIN_ENVIRONMENT)
    os.environ.update(
        {
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
            "RAY_AIR_NEW_OUTPUT": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
    )
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    if address is not None:
        environment = {**TRAIN_ENVIRONMENT, **WORKER_ENVIRONMENT}
        ray.init(address=address, runtime_env={"env_vars": environment}, **common)
    else:
        os.environ.update(WORKER_ENVIRONMENT)
        # Every process of this instance must name it: with a second Ray on the machine, the actor that frees a stopped
        # trial's devices would otherwise ask that one, die, and leave them taken for ever.
        port = _free_port()
        os.environ.update({"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{ray.util.get_node_ip_address()}:{port}"})
        # A trial that waits for another's CPUs has started all but its workers by then.
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, execution.num_workers * execution.cpus_per_worker),
            resources={"trial_driver": 64},
            include_dashboard=True,
            **common,
        )
    try:
        yield
    finally:
        ray.shutdown()
        if address is None:
            for name in ("RAY_GCS_SERVER_PORT", "RAY_ADDRESS"):
                os.environ.pop(name, None)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])
