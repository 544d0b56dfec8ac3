"""What Ray's own dashboard says of a cluster, asked over HTTP: devices in use, and the pages of jobs, actors and logs."""

from __future__ import annotations

import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any

from xlray.cluster.local_ray import token_file
from xlray.errors import InputError

TIMEOUT_S = 4.0
ASK_EVERY_S = 3.0
SNAPSHOT_SUFFIX = ".live.json"  # of the file beside a job's log in which its driver shows how far it is
SNAPSHOT_VARIABLE = "XLRAY_SNAPSHOT"  # names the file in which a driver shows how far it is to clients that follow it
MOST_NODES = 256  # that are sent to the page; the sums are over all


class RayUnreachableError(Exception):
    """Ray's dashboard does not answer, or refuses; says which."""


def dashboard_url(address: str) -> str:
    """The URL of a dashboard from what a user gives: `http://HOST:PORT`, `HOST:PORT`.

    Raises:
        InputError: it is neither.
    """
    url = address if "://" in address else f"http://{address}"
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"--address must be http://HOST:PORT of Ray's dashboard, but got {address!r}.")
    return f"{parts.scheme}://{parts.netloc}"


def token() -> str | None:
    """The token that clusters of this user ask for, from where Ray looks for it."""
    if text := os.environ.get("RAY_AUTH_TOKEN"):
        return text.strip()
    try:
        return token_file().read_text().strip() or None
    except OSError:
        return None


def ask(url: str, path: str) -> Any:
    """A JSON document of Ray's dashboard.

    Raises:
        RayUnreachableError: no answer, no JSON, or the token is missing or wrong.
    """
    known = token()
    headers = {} if known is None else {"Authorization": f"Bearer {known}"}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # clusters are reached directly
    try:
        with opener.open(urllib.request.Request(url + path, headers=headers), timeout=TIMEOUT_S) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        why = "it asks for a token that is missing or wrong (RAY_AUTH_TOKEN_PATH)"
        with error:  # the answer is read here, and its socket is closed
            raise RayUnreachableError(f"{url}: {why if error.code in (401, 403) else _reason(error)}.") from error
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise RayUnreachableError(f"{url}: {reason}.") from error


def _reason(error: urllib.error.HTTPError) -> str:
    """The code, and what Ray says about it."""
    try:
        return f"HTTP {error.code}: {str(json.loads(error.read())['msg'])[:300]}"
    except (OSError, ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


def look(url: str) -> dict[str, Any]:
    """The cluster as it is now: resources in use by name, and the machines with their devices.

    Raises:
        RayUnreachableError: see `ask`.
    """
    nodes = ask(url, "/nodes?view=summary")["data"]["summary"]
    status = ask(url, "/api/cluster_status")["data"].get("clusterStatus") or {}
    report = status.get("loadMetricsReport") or {}
    usage = {name: pair for name, pair in (report.get("usage") or {}).items() if is_shown(name)}
    alive = [machine(node) for node in nodes if (node.get("raylet") or {}).get("state") == "ALIVE"]
    groups = [bundle for group, number in report.get("pgDemand") or () for bundle in number * group.get("bundles", [])]
    waiting = [[wanted, number] for wanted, number in [*(report.get("resourceDemand") or ()), *groups]]
    return {"usage": usage, "nodes": alive[:MOST_NODES], "num_nodes": len(alive), "waiting": waiting[:8]}


def is_shown(resource: str) -> bool:
    """Whether a resource is one that people plan with; Ray's dashboard writes names in camel case."""
    return resource in ("CPU", "GPU", "TPU", "trialDriver")


def machine(node: Mapping[str, Any]) -> dict[str, Any]:
    """A machine in a few numbers: percent of CPU and memory, and of each GPU."""
    memory, raylet = node.get("mem") or (0, 0, 0.0, 0), node.get("raylet") or {}
    gpus = [
        {
            "name": gpu.get("name", ""),
            "percent": gpu.get("utilizationGpu"),
            "used_mib": gpu.get("memoryUsed"),
            "mib": gpu.get("memoryTotal"),
        }
        for gpu in node.get("gpus") or ()
    ]
    return {
        "id": raylet.get("nodeId", ""),
        "host": node.get("hostname", ""),
        "ip": node.get("ip", ""),
        "head": bool(raylet.get("isHeadNode")),
        "cpu_percent": node.get("cpu"),
        "cpus": (node.get("cpus") or (None,))[0],
        "memory_bytes": memory[0],
        "memory_percent": memory[2],
        "gpus": gpus,
    }


def log_page(url: str, node: str, job: str, pid: int) -> str:
    """The page of Ray's dashboard that shows what a process printed.

    Raises:
        RayUnreachableError: see `ask`; or the file is gone.
    """
    wanted = urllib.parse.urlencode({"node_id": node, "glob": f"worker-*-{job}-{pid}.out"})
    try:
        found = ask(url, f"/api/v0/logs?{wanted}")["data"]["result"]
    except RayUnreachableError as error:
        why = "Ray's agent on that machine hands out no logs; of several Rays on one machine only the first one's does."
        raise RayUnreachableError(f"{error} {why}") from error
    names = [name for names in found.values() for name in names]
    if not names:
        raise RayUnreachableError(f"{url}: the log of process {pid} on node {node[:8]} no longer exists.")
    return f"{url}/#/logs/viewer?{urllib.parse.urlencode({'nodeId': node, 'fileName': names[0]})}"


class Looking:
    """Asks Ray's dashboard every few seconds in the background, so that no page waits for it."""

    def __init__(self) -> None:
        self.url: str | None = None
        self._found: dict[str, Any] = {"reachable": False, "reason": "it has been asked, and has not answered yet"}
        self._wake = threading.Event()
        self._wanted = 0.0
        threading.Thread(target=self._run, name="xlray-ray-state", daemon=True).start()

    def at(self, url: str | None) -> dict[str, Any]:
        """What is known of the cluster behind a URL; the first answer comes with the next poll."""
        if url != self.url:
            self.url, self._found = url, {"reachable": False, "reason": "it has been asked, and has not answered yet"}
        self._wanted = time.monotonic()
        self._wake.set()
        if url is None:
            return {"reachable": False, "reason": "the sweep has not been on a Ray yet"}
        return {"url": url, **self._found}

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if time.monotonic() - self._wanted > 10 * ASK_EVERY_S:  # nobody looks at a page
                self._wake.clear()
                continue
            if (url := self.url) is not None:
                try:
                    found = {"reachable": True, **look(url)}
                except RayUnreachableError as error:
                    found = {"reachable": False, "reason": str(error)}
                except (KeyError, TypeError, IndexError, AttributeError) as error:
                    found = {"reachable": False, "reason": f"{url}: no answer of Ray's dashboard ({error!r})"}
                if url == self.url:
                    self._found = found
            time.sleep(ASK_EVERY_S)
