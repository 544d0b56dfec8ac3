"""What is private of Ray and needed by a sweep: parts of Ray Train that are built on, and of `ray.init` that are changed.

Each stands here with the reason. tests/sweep/test_ray_doors.py names the version of Ray that they were read at, and what a
later one has changed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray._private import ray_constants, services
from ray.exceptions import GetTimeoutError
from ray.experimental.internal_kv import _internal_kv_exists, _internal_kv_put
from ray.train._internal.utils import get_address_and_port
from ray.train.backend import Backend, BackendConfig
from ray.train.v2._internal.callbacks import DatasetsCallback
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.execution.callback import WorkerGroupCallback
from ray.train.v2._internal.execution.context import get_train_context
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from xlray.signals import kept

KV_NAMESPACE = b"xlray"
LEAVE_WITHIN_S = 30.0  # as Ray's own backend waits for the process group's end


# --- starting Ray ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def signals_left_alone() -> Iterator[None]:
    """Keep Ray from taking this process's signals while it starts, and what it starts from dying with a terminal.

    Its handlers of SIGTERM exit, which inside Ray's native code aborts. Processes inherit which signals are blocked.
    """
    known, ray._private.utils.set_sigterm_handler = ray._private.utils.set_sigterm_handler, lambda _: None
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        with kept():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        ray._private.utils.set_sigterm_handler = known


def shut_down() -> None:
    """`ray.shutdown()` that leaves this process's signal handlers alone.

    The end of Ray's native code resets SIGTERM to its default, under which it kills without a word, while ending Ray's
    processes takes seconds.
    """
    node = ray._private.worker._global_node
    with kept() as put_back:
        if node is not None:
            end_processes = node.kill_all_processes

            def end_guarded(**how: Any) -> None:
                put_back()
                end_processes(**how)

            node.kill_all_processes = end_guarded
        ray.shutdown()


@contextlib.contextmanager
def patient_start(within_s: Callable[[], float]) -> Iterator[None]:
    """Give a new node and its dashboard as much time to start as this machine needs now.

    Ray gives the node 30 s, and no setting more; the dashboard 60 s, by a variable that is read when Ray is imported.

    Args:
        within_s: asked at the start, and whenever the node is not there yet.
    """
    get_node, dashboard_s = services.get_node, ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S

    def patient_get_node(*of: str) -> Any:
        began = time.monotonic()
        while True:
            try:
                return get_node(*of)
            except RuntimeError:  # it is not there yet
                if time.monotonic() - began > within_s():
                    raise
                time.sleep(0.5)

    services.get_node = patient_get_node
    ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S = max(dashboard_s, within_s())  # one that has died is not waited for
    try:
        yield
    finally:
        services.get_node = get_node
        ray_constants.RAY_DASHBOARD_STARTUP_TIMEOUT_S = dashboard_s


def num_gpus() -> int:
    """This machine's GPUs as Ray will count them, before it is started: it says so only once it runs."""
    from ray._private.accelerators import get_accelerator_manager_for_resource

    manager = get_accelerator_manager_for_resource("GPU")
    visible = manager.get_current_process_visible_accelerator_ids()
    return int(manager.get_current_node_num_accelerators()) if visible is None else len(visible)


# --- between the driver and its workers ------------------------------------------------------------------------------


def ask_to_stop(key: str) -> None:
    """Tell the workers that watch this key to save their state and end; an actor for it would cost a process."""
    _internal_kv_put(key, b"1", namespace=KV_NAMESPACE)


def is_asked_to_stop(key: str) -> bool:
    """Whether the driver has asked those that watch this key to stop."""
    return bool(_internal_kv_exists(key, namespace=KV_NAMESPACE))


def withdraw_request(run: str) -> None:
    """Withdraw what a killed Train run asked of the autoscaler, which would keep or boot nodes for it for 180 s."""
    from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
        get_or_create_autoscaling_coordinator,
    )

    get_or_create_autoscaling_coordinator().cancel_request.remote(requester_id=f"train-{run}")


def preemption_context() -> Any:
    """What Ray Train has told this worker of nodes that are taken away: its public question makes all ranks wait."""
    return get_train_context().preemption_context


# --- a Train run -----------------------------------------------------------------------------------------------------


class ProcessGroup(BackendConfig):  # type: ignore[misc]
    """Ray's `TorchConfig`, for a controller without torch: its import would delay the start of each trial by seconds.

    Args:
        backend: "nccl" or "gloo".
    """

    def __init__(self, backend: str) -> None:
        self.backend = backend

    @property
    def backend_cls(self) -> type[Backend]:
        """What sets the workers up."""
        return _ProcessGroupBackend

    @property
    def train_func_context(self) -> Any:
        """What the worker's loop runs in."""
        return _on_own_device


class _ProcessGroupBackend(Backend):  # type: ignore[misc]
    share_cuda_visible_devices = True

    def on_start(self, worker_group: Any, backend_config: ProcessGroup) -> None:
        host, port = worker_group.execute_single(0, get_address_and_port)
        place = {"MASTER_ADDR": host, "MASTER_PORT": str(port)}
        size = len(worker_group)
        joining = (
            worker_group.execute_single_async(rank, _join, place, backend_config.backend, rank, size)
            for rank in range(size)
        )
        ray.get(list(joining))

    def on_shutdown(self, worker_group: Any, backend_config: ProcessGroup) -> None:
        with contextlib.suppress(GetTimeoutError):  # a peer that died left the others waiting; all are killed next
            ray.get(worker_group.execute_async(_leave, len(worker_group) > 1), timeout=LEAVE_WITHIN_S)


def _join(place: dict[str, str], backend: str, rank: int, size: int) -> None:
    from ray.train.torch import config

    os.environ.update(place)
    config._set_torch_distributed_env_vars()
    config._setup_torch_process_group(backend, rank, size, "env://")


def _leave(destroy: bool) -> None:
    from ray.train.torch import config

    config._shutdown_torch(destroy_process_group=destroy)


@contextlib.contextmanager
def _on_own_device() -> Iterator[None]:
    from ray.train.torch.config import TorchConfigContextManager

    with TorchConfigContextManager():
        yield


class EndedWorkerGroup(WorkerGroup):  # type: ignore[misc]
    """Ray's, but that a group which fails while its workers join each other is ended.

    Ray 2.60 takes it for started by then, and forgets it: its placement group and those of its workers that live hold
    their devices beside the next group, for which further machines are started.
    """

    def _start(self) -> None:
        try:
            super()._start()
        except Exception:
            if self.has_started():
                self.abort()
            raise


class Controller(TrainController):  # type: ignore[misc]
    """Ray's, with such a worker group; there is no parameter for it."""

    worker_group_cls = EndedWorkerGroup


class Trainer(DataParallelTrainer):  # type: ignore[misc]
    """Ray's TorchTrainer, but that it starts no process but its workers: each costs seconds, for every trial.

    The controller runs in this process, which is there for the run alone. Nothing hands out Ray Data sets, and the
    driver frees the placement group of a run that was killed.
    """

    def _create_default_callbacks(self) -> list[Any]:
        unwanted = (DatasetsCallback, PlacementGroupCleanerCallback)
        return [one for one in super()._create_default_callbacks() if not isinstance(one, unwanted)]

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        controller = Controller(**parts)
        asyncio.run(controller.run())
        return controller.get_result()

    def set_run_id(self, run_id: str) -> None:
        """Name the run to the autoscaler: who withdraws a killed run's request must know its id, which is drawn at random."""
        object.__setattr__(self.train_run_context, "run_id", run_id)


class StartedWorkers(WorkerGroupCallback):  # type: ignore[misc]
    """Calls a function with the workers of a run, in this process, when all are there and before they train.

    Public callbacks hear nothing of workers. A worker is `rank`, `actor_id`, `node_id`, `host`, `pid` and `gpus`.
    """

    def __init__(self, tell: Callable[[list[dict[str, Any]]], None]) -> None:
        self.tell = tell

    def after_worker_group_start(self, worker_group: Any) -> None:
        """Ray Train's hook."""
        workers = [
            {
                "rank": one.distributed_context.world_rank,
                "actor_id": one.actor._actor_id.hex(),
                "node_id": one.metadata.node_id,
                "host": one.metadata.hostname,
                "pid": one.metadata.pid,
                "gpus": one.metadata.gpu_ids,
            }
            for one in worker_group.get_workers()
        ]
        self.tell(workers)
