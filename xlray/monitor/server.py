"""The live page's server: standard library, a page per sweep and one of all; they ask for their data, JSON, repeatedly."""

from __future__ import annotations

import contextlib
import json
import mimetypes
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from xlray.cluster.ray_dashboard import Looking, RayUnreachableError, log_page
from xlray.errors import InputError, RemoteError
from xlray.monitor.overview import Overview
from xlray.monitor.page import SweepPage
from xlray.storage.storage import Storage
from xlray.storage.sweep_folder import SweepFolder, is_sweep_folder
from xlray.templates import ECHARTS, render_template

# Pages hold their own scripts and styles, and load nothing from elsewhere.
POLICY = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; img-src 'self' data:"
LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Dashboard:
    """The sweeps of a storage, each followed from when its page, or the overview of all, is first opened.

    Args:
        first: one of the sweeps; those beside it are the others.
        ray_url: of Ray's dashboard; None takes what each sweep's driver recorded.
    """

    def __init__(self, first: SweepFolder, ray_url: str | None = None, price_per_hour: float | None = None) -> None:
        self.first, self.sweeps = first, first.path.parent
        self.ray_url = ray_url
        self.price_per_hour = price_per_hour
        self._pages: dict[str, SweepPage] = {}
        self._reading: threading.Thread | None = None
        self._lock = threading.Lock()
        self._looking = Looking()
        self._overview = Overview()

    def names(self) -> list[str]:
        """The sweeps that are known on this machine."""
        return sorted(folder.name for folder in self.sweeps.glob("*") if is_sweep_folder(folder))

    def document(self, name: str, since: int, replay: str = "") -> dict[str, Any]:
        """The data of a sweep's page; see `SweepPage.document`.

        Raises:
            InputError: there is no such sweep, or its journal cannot be read.
        """
        with self._lock:
            found = self._page(name).document(since, replay)
        known = found.pop("ray") or {}
        url = self.ray_url or known.get("dashboard")
        ray = self._looking.at(url)
        return {**found, "ray": {**ray, "job": known.get("job_id", "")}, "sweeps": self.names()}

    def overview(self) -> dict[str, Any]:
        """All sweeps of the storage in one line each, the one that changed last first; what was not read yet has no state."""
        names = self.names()
        with self._lock:
            lines = self._overview.lines({name: self._pages[name] for name in names if name in self._pages}, names)
            unread = [name for name in names if name not in self._pages]
        if unread and not (self._reading and self._reading.is_alive()):
            self._reading = threading.Thread(target=self._read_all, args=(unread,), daemon=True)
            self._reading.start()
        return {"sweeps": lines, "storage": self.first.storage.uri, "time": time.time()}

    def _read_all(self, names: list[str]) -> None:
        """Take in the journals of sweeps that no page was opened of, outside of the lock: a long one takes seconds."""
        for name in names:
            page = SweepPage(replace(self.first, path=self.sweeps / name), self.price_per_hour)
            with contextlib.suppress(InputError):  # the overview says so
                page.reader.refresh()
            with self._lock:
                self._pages.setdefault(name, page)

    def read(self, name: str) -> None:
        """Take in a sweep's journal, which takes long the first time, so that no page waits for it."""
        with self._lock:
            self._page(name).reader.refresh()

    def trial(self, name: str, trial_id: str) -> dict[str, Any]:
        """See `SweepPage.trial`."""
        with self._lock:
            return self._page(name).trial(trial_id)

    def curves(self, name: str, metric: str) -> dict[str, Any]:
        """See `SweepPage.curves`."""
        with self._lock:
            return self._page(name).curves(metric)

    def _page(self, name: str) -> SweepPage:
        if name not in self._pages:
            if name not in self.names():
                raise InputError(f"{name}: no such sweep.")
            self._pages[name] = SweepPage(replace(self.first, path=self.sweeps / name), self.price_per_hour)
        return self._pages[name]

    def report_file(self, name: str, inside: str) -> Path | None:
        """See `SweepPage.report_file`."""
        with self._lock:
            return self._page(name).report_file(inside)

    def log_url(self, name: str, query: dict[str, list[str]]) -> str:
        """Where Ray's dashboard shows the log of a process; see `log_page`."""
        known = self.document(name, 0)["ray"]
        if not known.get("url"):
            raise RayUnreachableError("no Ray is known for this sweep.")
        values = {key: query.get(key, [""])[0] for key in ("node", "job", "pid")}
        if not (values["node"].isalnum() and values["job"].isalnum() and values["pid"].isdigit()):
            raise InputError("node, job and pid must be given.")
        return log_page(known["url"], values["node"], values["job"], int(values["pid"]))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    dashboard: Dashboard
    hosts: tuple[str, ...] | None  # that a request may name; None for any

    def do_GET(self) -> None:
        """Answer one request."""
        # A page of another site could have its own name resolve to the loopback, and read what is served there.
        host = urllib.parse.urlsplit(f"//{self.headers.get('Host', '')}").hostname
        if self.hosts is not None and host not in self.hosts:
            return self._send(HTTPStatus.FORBIDDEN, "text/plain", f"no such host: {host}\n".encode())
        url = urllib.parse.urlsplit(self.path)
        parts = [urllib.parse.unquote(part) for part in url.path.split("/")[1:]]
        try:
            self._route(parts, urllib.parse.parse_qs(url.query, keep_blank_values=True))
        except InputError as error:
            self._send(HTTPStatus.NOT_FOUND, "text/plain; charset=utf-8", f"{error}\n".encode())
        except (RayUnreachableError, RemoteError) as error:
            self._send(HTTPStatus.BAD_GATEWAY, "text/plain; charset=utf-8", f"{error}\n".encode())

    def _route(self, parts: list[str], query: dict[str, list[str]]) -> None:
        name, rest = parts[0], parts[1:]
        if not name:
            if "data" in query:
                return self._send(HTTPStatus.OK, "application/json", json.dumps(self.dashboard.overview()).encode())
            return self._send(HTTPStatus.OK, "text/html; charset=utf-8", render_template("overview.html.j2").encode())
        if name not in self.dashboard.names():
            raise InputError(f"{name}: no such page.")
        if not rest:
            return self._redirect(f"/{urllib.parse.quote(name)}/")
        if rest == [""]:
            return self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.html(name))
        if rest == ["data"]:
            since, replay = (query.get(key, [""])[0] for key in ("since", "replay"))
            found = self.dashboard.document(name, int(since) if since.isdigit() else 0, replay)
            return self._send(HTTPStatus.OK, "application/json", json.dumps(found).encode())
        if rest == ["trial"]:
            found = self.dashboard.trial(name, query.get("id", [""])[0])
            return self._send(HTTPStatus.OK, "application/json", json.dumps(found).encode())
        if rest == ["curves"]:
            found = self.dashboard.curves(name, query.get("metric", ["loss"])[0])
            return self._send(HTTPStatus.OK, "application/json", json.dumps(found).encode())
        if rest == ["echarts.js"]:
            kept = {"Cache-Control": "max-age=86400"}
            return self._send(HTTPStatus.OK, "text/javascript; charset=utf-8", ECHARTS.read_bytes(), kept)
        if rest == ["log"]:
            return self._redirect(self.dashboard.log_url(name, query))
        path = self.dashboard.report_file(name, "/".join(rest[1:])) if rest[0] == "report" else None
        if path is None:
            raise InputError(f"{'/'.join(parts)}: no such page.")
        kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
        self._send(HTTPStatus.OK, f"{kind}; charset=utf-8" if kind.startswith("text/") else kind, path.read_bytes())

    def html(self, name: str) -> bytes:
        """The page without its data."""
        return render_template("live.html.j2", name=name).encode()

    def _redirect(self, where: str) -> None:
        self._send(HTTPStatus.FOUND, "text/plain", b"", {"Location": where})

    def _send(self, status: HTTPStatus, kind: str, content: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Content-Security-Policy": POLICY,
            **(more or {}),
        }
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # the page was closed
            self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Nothing: a page asks every other second."""


def make_server(dashboard: Dashboard, host: str, port: int) -> ThreadingHTTPServer:
    """The server, bound but not serving yet.

    Args:
        port: 0 takes a free one.

    Raises:
        InputError: the port is taken, or this machine has no such address.
    """
    names = (*LOOPBACK, host) if host in LOOPBACK else None
    handler = type("Handler", (_Handler,), {"dashboard": dashboard, "hosts": names})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"--host {host} --port {port}: must be free to listen on, but: {reason}.") from error
    server.daemon_threads = True
    return server


def newest(storage: Storage) -> str:
    """The sweep of a storage whose journal was written last; in an object store the only one.

    Raises:
        InputError: there is none, or an object store has several.
    """
    if storage.remote is not None:
        known = sorted(storage.remote.folders("sweeps/"))
        if len(known) != 1:
            raise InputError(f"NAME must be given: {storage.uri} holds {', '.join(known[:8]) or 'no sweep'}.")
        return known[0]

    def written(folder: Path) -> float:
        return max((file.stat().st_mtime for file in (folder / "journal").glob("*.jsonl")), default=0.0)

    found = sorted((f for f in (storage / "sweeps").glob("*") if is_sweep_folder(f)), key=written)
    if not found:
        raise InputError(f"{storage.root}: a sweep must have been run there, but it holds none.")
    return found[-1].name


def serve(
    first: SweepFolder,
    host: str,
    port: int,
    ray_url: str | None,
    price_per_hour: float | None,
    ready: Callable[[str], None],
) -> None:
    """Serve until interrupted.

    Args:
        ready: gets the URL once the page can be opened.
    """
    dashboard = Dashboard(first, ray_url, price_per_hour)
    server = make_server(dashboard, host, port)
    dashboard.read(first.name)
    shown = f"[{host}]" if ":" in host else host
    ready(f"http://{shown}:{server.server_address[1]}/{urllib.parse.quote(first.name)}/")
    with server:
        server.serve_forever()
