"""The spot watcher: one small process per node of a cluster on EC2, which drains the node when it is to be taken away.

    python -m xlray.cluster.spot

Ray does not ask for these notices. A drained node gets no new work, the autoscaler replaces it at once, and Ray Train tells
the workers on it, which save their state (see `trial.Notice`) and continue elsewhere without a failure being counted.
Standard library alone until there is a notice: it runs beside the training on every node.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xlray.cluster.ray_internals import drain_node, gcs_client, living_nodes
from xlray.errors import InputError

METADATA_URL = "http://169.254.169.254"
ENDPOINT_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"  # as the AWS SDKs name it
ACTION_PATH = "/latest/meta-data/spot/instance-action"
TOKEN_TTL_S = 21_600
TIMEOUT_S = 2.0
POLL_S = 5.0  # as AWS recommends
SPARE_S = 5.0  # before the node is due: what is drained ends by then


@dataclass(frozen=True)
class SpotNotice:
    """That a node is to be taken away.

    Attributes:
        action: terminate, stop or hibernate.
        at: when, in seconds UTC.
    """

    action: str
    at: float


class Metadata:
    """The instance metadata service, version 2: every answer wants a token, which is asked for first."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.token = ""

    def renew(self) -> None:
        """Ask for a token.

        Raises:
            OSError: the service does not answer.
        """
        headers = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_TTL_S)}
        self.token = self._ask("/latest/api/token", "PUT", headers)

    def read(self, path: str) -> str | None:
        """The text at a path; None where there is nothing.

        Raises:
            OSError: the service does not answer, or refuses.
        """
        for attempt in (1, 2):
            try:
                return self._ask(path, "GET", {"X-aws-ec2-metadata-token": self.token})
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                if error.code != 401 or attempt == 2:
                    raise
                self.renew()  # the token has run out
        raise AssertionError("unreachable")

    def _ask(self, path: str, method: str, headers: dict[str, str]) -> str:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return str(answer.read().decode())

    def notice(self) -> SpotNotice | None:
        """The notice that there is for this node, if any.

        Raises:
            OSError: the service does not answer.
        """
        if (text := self.read(ACTION_PATH)) is None:
            return None
        found = json.loads(text)
        return SpotNotice(str(found["action"]), _seconds(str(found["time"])))


def _seconds(text: str) -> float:
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def remaining_s(notice: SpotNotice, now: float) -> int:
    """Whole seconds that a drained node is given; at least 1."""
    return max(1, math.floor(notice.at - now - SPARE_S))


def drain(address: str | None, node_id: str | None, notice: SpotNotice) -> str:
    """Tell Ray that the node goes away, as `ray drain-node` does; returns the node's id.

    Args:
        address: of the cluster; None takes that of the node that runs here.
        node_id: None takes the one of this machine.

    Raises:
        InputError: the cluster does not know one such node.
        ConnectionError: it cannot be reached, or did not accept.
    """
    gcs = gcs_client(address)
    if node_id is None:
        node_id = _own_node(living_nodes(gcs))
    deadline_ms = int(1000 * (time.time() + remaining_s(notice, time.time())))
    accepted, why = drain_node(gcs, node_id, f"spot: {notice.action}", deadline_ms)
    if not accepted:
        raise ConnectionError(f"the drain of node {node_id} was not accepted: {why}")
    return node_id


def _own_node(alive: Mapping[str, str]) -> str:
    """The id of the one living node that has an address of this machine."""
    from ray.util import get_node_ip_address

    here = {get_node_ip_address(), *_addresses()}
    mine = [node_id for node_id, address in alive.items() if address in here]
    if len(mine) != 1:
        raise InputError(f"--node-id must be given: the cluster has {len(mine)} nodes with an address of this machine.")
    return mine[0]


def _addresses() -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo(socket.gethostname(), None)}


def watch(
    metadata: Metadata,
    act: Callable[[SpotNotice], str],
    poll_s: float = POLL_S,
    say: Callable[[str], None] = print,
) -> None:
    """Wait for a notice, and act on it until that succeeded.

    Args:
        act: drains the node; see `drain`.
    """
    while True:
        try:
            notice = metadata.notice()
            if notice is not None:
                node = act(notice)
                say(f"spot: {notice.action} in {notice.at - time.time():.0f} s; node {node} is being drained")
                return
        except (OSError, ValueError, KeyError, InputError) as error:
            say(f"spot: {type(error).__name__}: {error}; tried again in {poll_s:g} s")
        time.sleep(poll_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the process."""
    parser = argparse.ArgumentParser(
        prog="python -m xlray.cluster.spot", description="Drains this node on a spot notice."
    )
    parser.add_argument("--address", help="of the Ray cluster; by default that of the node that runs here")
    parser.add_argument("--node-id", help="of this node; by default the one with this machine's address")
    parser.add_argument("--poll-s", type=float, default=POLL_S, help="seconds between two polls")
    given = parser.parse_args(arguments)
    url = os.environ.get(ENDPOINT_VARIABLE) or METADATA_URL
    metadata = Metadata(url)
    try:
        metadata.renew()
    except OSError as error:
        print(f"xlray: {url} must be an instance metadata service, but: {error}.", file=sys.stderr)
        return 2
    print(f"spot: watching {url}", flush=True)
    watch(
        metadata,
        lambda notice: drain(given.address, given.node_id, notice),
        given.poll_s,
        lambda line: print(line, flush=True),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
