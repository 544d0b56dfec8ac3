"""Ray for the time of a sweep: started here or connected to, what fits on it, and what killed runs leave on it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig

from xlray.cluster.local_ray import ray_environment, ray_folder, start_within_s
from xlray.cluster.node_types import NodeTypes, fit, node_types
from xlray.config.execution import Execution
from xlray.config.recipes import Architecture
from xlray.config.sweep import Sweep
from xlray.errors import InputError, SessionError, require
from xlray.plan.machine import free_host_bytes, load_per_core, num_cpus
from xlray.plan.memory import ModelShape, check_offload
from xlray.storage.object_store import ENVIRONMENT
from xlray.sweep import fork_client
from xlray.sweep.ray_patches import num_gpus, patient_start, shut_down, signals_left_alone
from xlray.sweep.ray_workers import workers_started_by
from xlray.sweep.train_run import TRAIN_ENVIRONMENT, worker_environment, worker_resources

JOIN_WITHIN_S = 120.0  # `ray up` installs nothing again on them; a machine that is off is not waited for any longer
ANSWERS_WITHIN_S = 20.0
RUN_BYTES = 600_000_000  # what one run costs on the head: its actor and the one that synchronises its workers


@contextlib.contextmanager
def ray_session(execution: Execution, address: str | None, sweep: str = "") -> Iterator[dict[str, Any]]:
    """Ray on this machine, or a connection to a cluster, with libraries' noise kept in their log files.

    Args:
        sweep: its name; Ray's dashboard shows it with the job.

    Yields:
        Where people find it: `dashboard` (URL of Ray's), `address`, `job_id`, `host` of this driver, `version`.

    Raises:
        InputError: nothing answers at the address, or this machine has no folder that Ray can use.
        SessionError: Ray does not start here.
    """
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.update(TRAIN_ENVIRONMENT)
    os.environ.update(
        {
            "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
            "RAY_AIR_NEW_OUTPUT": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }
    )
    common: dict[str, Any] = {
        "job_config": JobConfig(metadata={"job_name": sweep} if sweep else {}),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if address is not None:
        known = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        environment = {**TRAIN_ENVIRONMENT, **worker_environment(execution), **known}
        start: dict[str, Any] = {"address": address, "runtime_env": {"env_vars": environment}}
        _check_answers(address)
    else:
        # A process per trial would watch for notices that this machine is to be taken away: nothing gives them here. And
        # one per core would be started in advance, which trials cannot use, since theirs have an environment of their own.
        os.environ.update(worker_environment(execution))
        spared = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_prestart_worker_first_driver": "0"}
        os.environ.update({**spared, **ray_environment()})
        # Named for the questions about actors and groups, which a second Ray on the machine would otherwise be asked.
        port = _free_port()
        os.environ.update({"RAY_GCS_SERVER_PORT": str(port), "RAY_ADDRESS": f"{ray.util.get_node_ip_address()}:{port}"})
        # A trial that waits for another's CPUs has started all but its workers by then.
        start = {
            "address": "local",
            "num_cpus": max(num_cpus(), execution.min_workers * execution.cpus_per_worker),
            "resources": {"trial_driver": 64},
            "include_dashboard": True,
            "_temp_dir": str(ray_folder()),
        }
    try:
        with workers_started_by(Path(fork_client.__file__)):  # of a Ray that is started here
            context = _init({**start, **common})
        yield _where(context)
    finally:
        shut_down()
        if address is None:
            for name in ("RAY_GCS_SERVER_PORT", "RAY_ADDRESS"):
                os.environ.pop(name, None)


def _init(arguments: Mapping[str, Any]) -> Any:
    address = arguments["address"]
    try:
        with patient_start(start_within_s), signals_left_alone():
            return ray.init(**arguments)
    except Exception as error:  # whatever Ray says: it raises bare ones, too
        if address != "local":
            raise InputError(
                f"--address {address}: a Ray cluster must answer there, but: {_last_line(error)}"
            ) from error
        raise SessionError(
            f"Ray cannot be started on this machine ({load_per_core():.1f} processes per core): {_last_line(error)}; "
            "`xlray doctor` looks for the cause, and the same command resumes when it is gone."
        ) from error


def _last_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[-1]


def _check_answers(address: str) -> None:
    """Raise `InputError` where nothing listens at HOST:PORT, after which Ray would look for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not (host and port.isdigit()):
        return  # "auto", a cluster's name or a URL: Ray knows what is meant
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: a Ray cluster must answer there, but: {error}.") from error


def _where(context: Any) -> dict[str, Any]:
    url, job_id = context.dashboard_url, ray.get_runtime_context().get_job_id()
    place = {"dashboard": f"http://{url}" if url else None, "address": context.address_info["gcs_address"]}
    return {**place, "job_id": job_id, "host": socket.gethostname(), "version": ray.__version__}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def check_machine(sweep: Sweep, architecture: Architecture) -> None:
    """Raise `InputError` where this machine lacks what a sweep that runs on it alone, or Ray, asks for; before it is started.

    GPUs are counted as Ray will count them.
    """
    ray_folder()
    ray_environment()
    execution = sweep.execution
    if execution.gpus_per_worker:
        found = num_gpus()
        gpus = f"gpus_per_worker = {execution.gpus_per_worker:g}"
        law = f"num_workers <= {found}, the number of this machine's GPUs, with {gpus}"
        require(execution.min_workers <= found, law, execution.num_workers, "Execution")
    check_offload(ModelShape(architecture), sweep.precision, execution, execution.min_workers, free_host_bytes())


def await_machines(say: Callable[[], None]) -> None:
    """Wait until the machines of a cluster of own ones have joined, `JOIN_WITHIN_S` at most.

    A sweep that continues after the head was lost is there before them, and must neither take them for missing nor leave
    them out.

    Args:
        say: called once if there is something to wait for.
    """
    startable, until = node_types(ray.get_runtime_context().gcs_address), time.monotonic() + JOIN_WITHIN_S
    if startable is None or len(_nodes_up()) > startable.own:  # the head is none of them
        return
    say()
    while len(_nodes_up()) <= startable.own and time.monotonic() < until:
        time.sleep(1.0)


def _nodes_up() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def num_slots(execution: Execution) -> int:
    """Trials that can run at one time on the Ray that is connected; see `concurrent_trials`."""
    nodes = _nodes_up()
    head = next((n for n in nodes if "node:__internal_head__" in n["Resources"]), nodes[0])
    # What the autoscaler may start counts, not what is up now: that may be nothing.
    startable = node_types(ray.get_runtime_context().gcs_address)
    return concurrent_trials(execution, [n["Resources"] for n in nodes], startable, head["Resources"].get("memory"))


def concurrent_trials(
    execution: Execution,
    nodes: Sequence[Mapping[str, float]],
    startable: NodeTypes | None,
    head_memory_bytes: float | None,
) -> int:
    """How many trials run at one time: as many as there are devices for, capped by the head's memory.

    Args:
        nodes: resources of the nodes that are up.
        startable: what the autoscaler may start; None without one.
        head_memory_bytes: of the node where trials are driven from; None if it is not known.

    Raises:
        InputError: one trial's workers need more than there can be.
    """
    each = worker_resources(execution)
    workers = sum(fit(node, each) for node in nodes)
    if startable is not None:
        workers = max(workers, startable.workers(each))
    fits = workers // execution.max_workers
    if workers < execution.min_workers:
        raise InputError(
            f"execution: `{execution.min_workers} x {each} fits on the cluster` must hold, but it has room for "
            f"{workers} such worker{'' if workers == 1 else 's'}."
        )
    drivers = sum(int(node.get("trial_driver", 0.0)) for node in nodes)
    if drivers == 0:
        raise InputError(
            "the cluster's head must have the resource `trial_driver`, which says how many trials it may drive, but has "
            "none: `ray start --head --num-cpus=0 --resources='{\"trial_driver\": 16}'`."
        )
    most = [max(1, int(head_memory_bytes // RUN_BYTES))] if head_memory_bytes else []
    return max(1, min(execution.max_concurrent_trials or fits, drivers, *most))


def idle_groups() -> frozenset[str]:
    """Placement groups of this driver's trials that hold devices although no actor lives in them.

    A trial's actor that is killed leaves such a group behind until the driver ends.

    Raises:
        RayStateApiException: the dashboard does not answer.
    """
    from ray.util.state import list_actors, list_placement_groups

    mine, most = ray.get_runtime_context().get_job_id(), 10_000
    living = list_actors(filters=[("job_id", "=", mine), ("state", "!=", "DEAD")], detail=True, limit=most)
    made = list_placement_groups(
        filters=[("creator_job_id", "=", mine), ("state", "=", "CREATED")], detail=True, limit=most
    )
    workers = (
        g for g in made if not any("trial_driver" in b["unit_resources"] for b in g.bundles)
    )  # the rest is Tune's
    return frozenset(g.placement_group_id for g in workers) - {actor.placement_group_id for actor in living}


def free_group(group: str) -> None:
    """Remove a placement group, so that others get what it holds."""
    from ray import PlacementGroupID
    from ray.util.placement_group import PlacementGroup, remove_placement_group

    remove_placement_group(PlacementGroup(PlacementGroupID(bytes.fromhex(group))))
