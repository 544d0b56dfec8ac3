"""Looks at every node of a cluster before the first trial: can it write the storage, does it run the same versions."""

from __future__ import annotations

import secrets
import shutil
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from xlray.errors import InputError
from xlray.phases.versions import differences, must_agree
from xlray.plan.sharing import gpu_bytes
from xlray.storage.storage import Storage, open_storage

WITHIN_S = 120.0  # a node that is up answers within a second; one that just came starts a process first


def check_nodes(storage: Storage) -> None:
    """Write into the storage from every node that is up, and compare versions.

    Raises:
        InputError: a node cannot, or runs other versions; names the node and why.
    """
    probe = f".probe-{secrets.token_hex(4)}"
    if storage.remote is None:
        (storage / probe).mkdir()
    try:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        look = ray.remote(num_cpus=0, max_retries=0)(look_around)
        asked = [
            look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                storage.uri, probe, node["NodeID"]
            )
            for node in nodes
        ]
        for node, answer in zip(nodes, asked, strict=True):
            _judge(storage, f"node {node['NodeManagerHostname']} ({node['NodeManagerAddress']})", answer)
    finally:
        if storage.remote is None:
            shutil.rmtree(storage / probe, ignore_errors=True)


def smallest_gpu_bytes() -> int:
    """Memory of the smallest GPU of the nodes that are up, as their drivers say.

    Raises:
        InputError: no node with a GPU is up, or one does not know.
    """
    law = "Execution: `trials_per_gpu = a number` must hold"
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("GPU", 0) >= 1]
    if not nodes:
        raise InputError(f'{law} where no node with a GPU is up yet, but got "auto".')
    look = ray.remote(num_cpus=0, max_retries=0)(gpu_bytes)
    asked = [
        look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote()
        for node in nodes
    ]
    found = ray.get(asked, timeout=WITHIN_S)
    for node, size in zip(nodes, found, strict=True):
        if size is None:
            raise InputError(
                f'{law} where nvidia-smi does not tell, as on {node["NodeManagerHostname"]}, but got "auto".'
            )
    return int(min(found))


def _judge(storage: Storage, where: str, answer: Any) -> None:
    try:
        trouble, found = ray.get(answer, timeout=WITHIN_S)
    except (ray.exceptions.RayError, ModuleNotFoundError) as error:
        line = next(line for line in reversed(str(error).splitlines()) if line.strip())
        raise InputError(f"{where} must be able to run xlray, but: {line.strip()}") from error
    if trouble:
        raise InputError(f"--storage {storage.uri}: must be writable from every node, but {where} cannot: {trouble}")
    if unlike := differences(must_agree(), found, "on the head", f"on {where}"):
        raise InputError(f"all nodes must run the same versions, but {unlike}.")


def look_around(uri: str, probe: str, node: str) -> tuple[str, dict[str, str]]:
    """On a node: what keeps it from writing the storage, or "", and its versions.

    Args:
        probe: name of a folder that the driver has made in a local storage: what is not there is another storage.
        node: its id.
    """
    try:
        storage = open_storage(uri)
        if storage.remote is not None:
            storage.remote.check(write=True)
        else:
            (storage / probe / node).write_bytes(b"")
    except FileNotFoundError:
        return "it does not see what the head wrote there; is the folder shared?", must_agree()
    except OSError as error:
        return str(error), must_agree()
    return "", must_agree()
