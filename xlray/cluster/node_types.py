"""The kinds of machines that a cluster's autoscaler may start: what it was told, since it tells nobody.

Ray's own question for this (`get_cluster_config`) is answered nowhere but in Anyscale's clusters (Ray 2.60).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from xlray.cluster.ray_internals import autoscaling_config, kubernetes_client
from xlray.errors import InputError

MONITOR = "ray/autoscaler/"  # in the command line of the autoscaler's process
OPTION = "--autoscaling-config="
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


@dataclass(frozen=True)
class NodeTypes:
    """What an autoscaler may start.

    Attributes:
        types: resources of a machine, and how many of that type there may be.
        most: machines of all types together.
        own: machines that are there already, of which nothing is known until they have joined.
    """

    types: tuple[tuple[Mapping[str, float], int], ...]
    most: int
    own: int = 0

    def workers(self, each: Mapping[str, float]) -> int:
        """How many workers fit at one time that need `each`."""
        left, found = self.most, 0
        for fits, number in sorted(((fit(node, each), number) for node, number in self.types), reverse=True):
            taken = min(number, left)
            left, found = left - taken, found + taken * fits
        return found


def fit(node: Mapping[str, float], each: Mapping[str, float]) -> int:
    """How many workers that need `each` fit on a machine. Ray gives a part of a GPU from one GPU alone."""

    def times(there: float, need: float) -> int:
        return int(there / need + 1e-6)  # 1 // 0.1 is 9

    parts = {key: times(1, need) for key, need in each.items() if key == "GPU" and need < 1}
    return min(
        int(node.get(key, 0)) * parts[key] if key in parts else times(node.get(key, 0), need)
        for key, need in each.items()
    )


def node_types(gcs_address: str) -> NodeTypes | None:
    """What the autoscaler of the Ray at an address may start, asked on its head; None where none is known of."""
    config = _of_launcher(gcs_address) or _of_kubernetes()
    if config is None:
        return None
    head = config.get("head_node_type")
    types = {name: kind for name, kind in config["available_node_types"].items() if name != head}
    each = tuple(
        (kind.get("resources") or {}, int(kind.get("max_workers", config["max_workers"]))) for kind in types.values()
    )
    most = int(config["max_workers"])
    return NodeTypes(each, most, own=most if config["provider"]["type"] == "local" else 0)


def _of_launcher(gcs_address: str) -> dict[str, Any] | None:
    """Of `ray up`: the file that the autoscaler's process on this machine was given."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes().decode(errors="replace").split("\0")
            if any(MONITOR in word for word in words) and f"--gcs-address={gcs_address}" in words:
                path = next(word.removeprefix(OPTION) for word in words if word.startswith(OPTION))
                found = yaml.safe_load(Path(path).expanduser().read_text())
                return found if isinstance(found, dict) else None
        except (OSError, StopIteration):
            continue
    return None


def _of_kubernetes() -> dict[str, Any] | None:
    """Of KubeRay: from the custom resource, as Ray's autoscaler derives it, with the head pod's own rights.

    Raises:
        InputError: the API does not answer.
    """
    name = os.environ.get("RAY_CLUSTER_NAME")
    if not name or not NAMESPACE_FILE.is_file():
        return None
    import requests

    try:
        resource = kubernetes_client(NAMESPACE_FILE.read_text().strip()).get(f"rayclusters/{name}")
    except (OSError, requests.RequestException) as error:
        answer = getattr(error, "response", None)
        if answer is not None and answer.status_code in (401, 403):  # without an autoscaler the pod has no right to ask
            return None
        raise InputError(f"raycluster {name}: Kubernetes must say what may be started, but: {error}.") from error
    if not resource["spec"].get("enableInTreeAutoscaling"):
        return None
    return autoscaling_config(resource)
