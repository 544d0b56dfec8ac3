"""`xlray dashboard`: one live page of a sweep, on this machine."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from xlray.cli.options import StorageName
from xlray.errors import require
from xlray.storage.storage import named_storage
from xlray.storage.sweep_folder import find_sweep_folder

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME|DIR", help="Name of a sweep in the storage, or its folder; by default the one that ran last."
    ),
]
RayDashboard = Annotated[
    str | None,
    typer.Option(help="http://HOST:PORT of Ray's dashboard; by default the one that the sweep's driver recorded."),
]


def dashboard(
    name: Name = None,
    storage: StorageName = "runs",
    address: RayDashboard = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Anyone who can reach it can read everything.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 chooses a free one.")] = 8300,
    price_per_hour: Annotated[
        float | None, typer.Option("--price-per-hour", help="Price of one device per hour.")
    ] = None,
) -> None:
    """Serve live pages: of a sweep (accuracy, training curves, trials, machines, cost), and of all in the storage."""
    from xlray.cluster.ray_dashboard import dashboard_url
    from xlray.monitor.server import newest, serve
    from xlray.plan.forecast import require_positive

    require(0 <= port < 65536, "0 <= port < 65536", port, "--port")
    require_positive(price_per_hour, "--price-per-hour")
    url = None if address is None else dashboard_url(address)
    opened = named_storage(storage)
    folder = find_sweep_folder(newest(opened) if name is None else name, opened)
    with contextlib.suppress(KeyboardInterrupt):  # the way to end it
        serve(folder, host, port, url, price_per_hour, _say)


def _say(url: str) -> None:
    typer.echo(f"{url}  (Ctrl-C ends it)")
