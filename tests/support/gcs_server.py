"""A server on the loopback that speaks what xlray needs of Google Cloud Storage's XML API: objects with generations."""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from time import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


@dataclass
class Stored:
    """One object; its generation is the number of the write that made it."""

    content: bytes
    generation: int
    time: float


@dataclass
class GcsServer:
    """The server's objects, by bucket/name, and the requests it has answered."""

    endpoint: str = ""
    objects: dict[str, Stored] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)

    @property
    def service_account(self) -> str:
        """The value of `GOOGLE_SERVICE_ACCOUNT_KEY` with which the client asks this server, without credentials."""
        keys = {"client_email": "", "private_key": "", "private_key_id": ""}
        return json.dumps({"gcs_base_url": self.endpoint, "disable_oauth": True, **keys})


def start_server() -> tuple[GcsServer, Callable[[], None]]:
    """Start it; returns it and how to stop it."""
    server, lock, generations, upload_ids = GcsServer(), threading.Lock(), count(1), count(1)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def handle_request(self) -> None:
            url = urlsplit(self.path)
            name, query = unquote(url.path).lstrip("/"), parse_qs(url.query, keep_blank_values=True)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                server.requests.append((self.command, self.path))
                if "/" not in name.rstrip("/"):
                    self.answer(200, listing(server, name.rstrip("/"), query), Content_Type="application/xml")
                elif self.command in ("GET", "HEAD"):
                    self.read_object(name)
                elif "uploads" in query or "uploadId" in query:
                    self.upload(name, query, body)
                elif self.command == "PUT":
                    self.write_object(name, body)
                elif self.command == "DELETE":
                    self.answer(204 if server.objects.pop(name, None) else 404)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request  # noqa: N815  names of the standard library

        def read_object(self, name: str) -> None:
            found = server.objects.get(name)
            if found is None:
                self.answer(404)
                return
            headers = {**tags(found), "Last_Modified": formatdate(found.time, usegmt=True)}
            wanted = self.headers.get("Range")
            if wanted and self.command == "GET":
                first, last = (int(part) for part in wanted.removeprefix("bytes=").split("-"))
                part = found.content[first : last + 1]
                place = f"bytes {first}-{first + len(part) - 1}/{len(found.content)}"
                self.answer(206, part, Content_Range=place, **headers)
            else:
                self.answer(200, found.content, Content_Length=str(len(found.content)), **headers)

        def write_object(self, name: str, body: bytes) -> None:
            there = server.objects.get(name)
            wanted = self.headers.get("x-goog-if-generation-match")
            if wanted is not None and int(wanted) != (0 if there is None else there.generation):
                self.answer(412)
                return
            made = server.objects[name] = Stored(body, next(generations), time())
            self.answer(200, **tags(made))

        def upload(self, name: str, query: dict[str, list[str]], body: bytes) -> None:
            if "uploads" in query:
                key = f"upload{next(upload_ids)}"
                server.uploads[key] = {}
                text = f"<InitiateMultipartUploadResult><UploadId>{key}</UploadId></InitiateMultipartUploadResult>"
                self.answer(200, text.encode())
            elif self.command == "PUT":
                number = int(query["partNumber"][0])
                server.uploads[query["uploadId"][0]][number] = body
                self.answer(200, ETag=f'"{number}"')
            elif self.command == "POST":
                parts = server.uploads.pop(query["uploadId"][0])
                made = server.objects[name] = Stored(
                    b"".join(parts[n] for n in sorted(parts)), next(generations), time()
                )
                text = f"<CompleteMultipartUploadResult><ETag>{made.generation}</ETag></CompleteMultipartUploadResult>"
                self.answer(200, text.encode(), **tags(made))
            else:
                server.uploads.pop(query["uploadId"][0], None)
                self.answer(204)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    return server, http.shutdown


def tags(found: Stored) -> dict[str, str]:
    return {"ETag": f'"{found.generation}"', "x_goog_generation": str(found.generation)}


def listing(server: GcsServer, bucket: str, query: dict[str, list[str]]) -> bytes:
    """What a bucket holds below a prefix, in order; with a delimiter, folders by themselves."""
    prefix, delimiter = (query.get(key, [""])[0] for key in ("prefix", "delimiter"))
    contents, folders = [], dict[str, None]()
    for key, found in sorted(server.objects.items()):
        name = key.removeprefix(f"{bucket}/")
        if name == key or not name.startswith(prefix):
            continue
        rest = name[len(prefix) :]
        if delimiter and delimiter in rest:
            folders[prefix + rest.split(delimiter)[0] + delimiter] = None
            continue
        contents.append(
            f"<Contents><Key>{escape(name)}</Key><Generation>{found.generation}</Generation>"
            f"<LastModified>{_iso(found.time)}</LastModified><ETag>&quot;{found.generation}&quot;</ETag>"
            f"<Size>{len(found.content)}</Size></Contents>"
        )
    common = "".join(f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders)
    return f"<ListBucketResult><Name>{bucket}</Name>{''.join(contents)}{common}</ListBucketResult>".encode()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
