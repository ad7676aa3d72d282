"""The server: the one command that is no client."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path,
    typer.Option(metavar="DIR", envvar="ROLLWAVE_DATA", help="Where everything is kept: database, packages, keys."),
]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    app.command(rich_help_panel="Administration")(serve)


def serve(
    *,
    data: DataDir = Path(".rollwave"),
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="Port; 0 for any free one.")] = 8080,
) -> None:
    """
    Run Rollwave here: API, portal and engine in one process, until Ctrl-C.

    Clients on this machine find it, and its first token, in the data directory.
    """
    from rollwave.web.server import serve as run  # noqa: PLC0415  # Django is slow to import, and clients do without

    run(data_dir=data, host=host, port=port)
