"""Ray's provider of EC2 machines, which takes an on-demand one where EC2 has no spot one to give.

`cluster.yaml` names it. Two node types with a `priority`, Ray's own way, wait for spot for ever: Ray 2.60 lowers the rank of a
type whose machines do not come in time (ALLOCATION_TIMEOUT), but EC2 refuses at once (ALLOCATION_FAILED).
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler.node_launch_exception import NodeLaunchException

from xlray.cluster.ray_internals import aws_node_provider, silence_provider_warning

MARKET = "InstanceMarketOptions"
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
NO_SPOT = (
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
)

silence_provider_warning()


class SpotOrOnDemand(aws_node_provider()):  # type: ignore[misc]
    """As `type: aws`, but for the market."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Start `count` machines: those that EC2 has no spot ones for, on demand.

        Returns:
            Their ids, each with what EC2 says of it.

        Raises:
            NodeLaunchException: EC2 refuses the spot ones for another reason than its capacity, or the on-demand ones.
        """
        created: dict[str, Any] = {}
        if node_config.get(MARKET, {}).get("MarketType") == "spot":
            try:
                created = super().create_node(node_config, tags, count) or {}
            except NodeLaunchException as error:
                if error.category not in NO_SPOT:
                    raise
            node_config = {key: value for key, value in node_config.items() if key != MARKET}
        if len(created) < count:
            created = {**created, **(super().create_node(node_config, tags, count - len(created)) or {})}
        return created
