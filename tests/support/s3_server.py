"""A real S3 server, on the loopback or a test's own network: moto's, one request at a time, with faults on demand."""

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

BUCKET = "bucket"


@dataclass
class S3Server:
    """The server's address and what it does to requests.

    Attributes:
        fault: gets method and path of each request; the status it returns, if any, is answered at once.
        requests: (method, path) of every request, refused ones too.
    """

    endpoint: str = ""
    fault: Callable[[str, str], int | None] = lambda method, path: None
    requests: list[tuple[str, str]] = field(default_factory=list)


def start_server(host: str = "127.0.0.1", port: int = 0) -> tuple[S3Server, Callable[[], None]]:
    """Start it and make a bucket; returns it and how to stop it. It speaks for the rest of AWS, too."""
    import boto3
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    server, backend, lock = S3Server(), DomainDispatcherApplication(create_backend_app), threading.Lock()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        server.requests.append((method, path))
        status = server.fault(method, path)
        if status is not None:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} Fault", [("Content-Type", "application/xml"), ("Content-Length", "0")])
            return [b""]
        with lock:  # moto checks a condition and writes in two steps; a real store does it in one
            return list(backend(environ, start_response))

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *args: Any, **kwargs: Any) -> None:
            pass

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    http = make_server(host, port, application, threaded=True, request_handler=Quiet)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    server.endpoint = f"http://{host}:{http.server_port}"
    os.environ.update(
        AWS_ENDPOINT_URL=server.endpoint,
        AWS_ACCESS_KEY_ID="key",
        AWS_SECRET_ACCESS_KEY="secret",
        AWS_REGION="us-east-1",
        AWS_EC2_METADATA_DISABLED="true",
    )
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
    return server, http.shutdown
