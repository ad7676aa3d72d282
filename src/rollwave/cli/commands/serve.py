"""What runs on servers: the commands that are no clients."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path,
    typer.Option(metavar="DIR", envvar="ROLLWAVE_DATA", help="Where everything is kept: database, packages, keys."),
]


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    for command in (serve, migrate, web, worker):
        app.command(rich_help_panel="Administration")(command)


Host = Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")]
Port = Annotated[int, typer.Option(metavar="PORT", min=0, max=65_535, help="Port; 0 for any free one.")]


def serve(*, data: DataDir = Path(".rollwave"), host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """
    Run Rollwave here: API, portal and engine in one process, until Ctrl-C.

    Clients on this machine find it, and its first token, in the data directory.
    """
    from rollwave.web.server import serve as run  # noqa: PLC0415  # Django is slow to import, and clients do without

    run(data_dir=data, host=host, port=port)


def migrate(*, data: DataDir = Path(".rollwave")) -> None:
    """
    Bring the database of a distributed set-up to what this version wants.

    Releases in flight go on meanwhile; older workers and web processes go on with the newer schema.
    """
    from rollwave.web.data_dir import DataDir  # noqa: PLC0415  # Django is slow to import, and clients do without
    from rollwave.web.setup import migrate as run  # noqa: PLC0415
    from rollwave.web.setup import require_distributed, set_up_django  # noqa: PLC0415

    place = DataDir(data)
    require_distributed(place, broker=False)
    set_up_django(place)
    done = run()
    typer.echo(f"migrated: {', '.join(done)}" if done else "the schema is current")


def web(*, data: DataDir = Path(".rollwave"), host: Host = "127.0.0.1", port: Port = 8080) -> None:
    """Serve the API of a distributed set-up, until Ctrl-C. Any number may run; workers make releases go on."""
    from rollwave.web.server import serve_web  # noqa: PLC0415  # Django is slow to import, and clients do without

    serve_web(data_dir=data, host=host, port=port)


def worker(
    *,
    data: DataDir = Path(".rollwave"),
    concurrency: Annotated[
        int, typer.Option(metavar="SLICES", min=1, max=1000, help="How many slices it takes at a time.")
    ] = 32,
) -> int:
    """
    Carry out the releases of a distributed set-up, until Ctrl-C. Any number may run, on any number of machines.

    A worker that is stopped leaves what it has in hand to the others at once; one that is killed, after its lease.
    """
    from rollwave.worker import work  # noqa: PLC0415  # Django is slow to import, and clients do without

    return work(data_dir=data, concurrency=concurrency)
