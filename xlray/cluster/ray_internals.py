"""What is private of Ray and needed on a cluster: its job client, its autoscaler's node providers, draining a node.

Ray is imported inside the functions: the spot watcher and the command line load it only where they need it.
tests/sweep/test_ray_doors.py names the version of Ray that this was read at, and what a later one has changed.
"""

from __future__ import annotations

import logging
from typing import Any

PACKAGING_LOG = "ray._private.runtime_env.packaging"  # says in two lines what it uploads, for every job
AUTOSCALER_LOG = "ray.autoscaler._private.util"  # warns every five seconds of a provider that is not Ray's own


def silence_provider_warning() -> None:
    """Drop what Ray's autoscaler says of every provider that is not its own, since no setting does."""
    logging.getLogger(AUTOSCALER_LOG).addFilter(lambda record: "empty legacy field" not in str(record.msg))


def server_version(client: Any) -> str:
    """The cluster's version of Ray: the client has asked for it and compares it, but has no way to say it."""
    return str(client._server_ray_version)


def aws_node_provider() -> type:
    """Ray's provider of EC2 machines, to build on: custom providers are a public setting, Ray's own are no public base."""
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider

    provider: type = AWSNodeProvider
    return provider


def kubernetes_client(namespace: str) -> Any:
    """Ray's client of the Kubernetes API, which knows the pod's credentials and certificates."""
    from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

    return KubernetesHttpApiClient(namespace)


def autoscaling_config(raycluster: dict[str, Any]) -> dict[str, Any]:
    """What KubeRay's autoscaler makes of a custom resource; nothing public says what it may start."""
    from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

    found: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(raycluster)
    return found


def gcs_client(address: str | None) -> Any:
    """A client of a cluster's control service (None: of the node that runs here): draining is a command, no function.

    Raises:
        ConnectionError: it cannot be reached.
    """
    import ray
    from ray._private.services import canonicalize_bootstrap_address_or_die
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        return GcsClient(address=canonicalize_bootstrap_address_or_die(address))
    except ray.exceptions.RaySystemError as error:
        raise ConnectionError(str(error)) from error


def living_nodes(gcs: Any) -> dict[str, str]:
    """Id -> address of the nodes that are up: `ray.nodes` needs a connected driver, which the watcher is not.

    Raises:
        ConnectionError: the cluster does not answer.
    """
    import ray
    from ray.core.generated import gcs_pb2

    alive = gcs_pb2.GcsNodeInfo.GcsNodeState.ALIVE
    try:
        nodes = gcs.get_all_node_info(timeout=10)
    except ray.exceptions.RaySystemError as error:
        raise ConnectionError(str(error)) from error
    return {key.hex(): str(node.node_manager_address) for key, node in nodes.items() if node.state == alive}


def drain_node(gcs: Any, node_id: str, text: str, deadline_ms: int) -> tuple[bool, str]:
    """Drain a node because its machine is taken away, as `ray drain-node` does; whether that was accepted, else why not.

    Raises:
        ConnectionError: the cluster does not answer.
    """
    import ray
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    try:
        accepted, why = gcs.drain_node(node_id, reason, text, deadline_ms)
    except ray.exceptions.RaySystemError as error:
        raise ConnectionError(str(error)) from error
    return bool(accepted), str(why)
