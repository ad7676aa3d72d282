"""The server: API and engine in one process and one event loop over one data directory, or the API alone."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn
import uvloop

from rollwave.domain.errors import RollwaveError
from rollwave.system import tune_interpreter
from rollwave.web import logs
from rollwave.web.data_dir import DataDir, welcome_file
from rollwave.web.secret_file import secret_in
from rollwave.web.setup import migrate, require_distributed, require_embedded, require_schema, set_up_django

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rollwave.bootstrap import Rollwave

log = structlog.get_logger()

GRACE_S: Final = 5
"""How long requests may go on after the process was told to stop, in seconds. Releases need none: they go on later."""

BACKLOG: Final = 512


class AddressInUseError(RollwaveError):
    """The address cannot be listened on."""

    code = "serve.address_unusable"

    def __init__(self, *, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port}: {reason}; choose another with --host and --port (0: any free one)",
            host=host,
            port=port,
            reason=reason,
        )


def serve(
    data_dir: Path, *, host: str = "127.0.0.1", port: int = 8080, wire: Callable[[Path], Rollwave] | None = None
) -> None:
    """
    Run until SIGTERM or SIGINT; then end requests and return. Being killed instead costs nothing but those requests.

    Args:
        data_dir: Where everything is kept; made and migrated as needed.
        host: Address to listen on.
        port: Port; 0 for any free one, which is then in the file ``endpoint``.
        wire: Instead of `rollwave.bootstrap.build`, for tests.

    Raises:
        DataDirBusyError: If another process serves *data_dir*.
        AddressInUseError: If the address is taken, or none of this machine.
        SettingsInvalidError: If the settings file cannot be used.
    """
    place = DataDir(data_dir)
    logs.configure(require_embedded(place).log)
    with place.owned(), _listening(host, port) as listener:
        set_up_django(place)
        migrate()
        # Models can be imported only now.
        from rollwave.bootstrap import build  # noqa: PLC0415

        _serve((wire or build)(place.path), place, listener)


def serve_web(data_dir: Path, *, host: str = "127.0.0.1", port: int = 8080) -> None:
    """
    Serve the API of a distributed set-up until SIGTERM or SIGINT; any number may, workers make releases go on.

    Args:
        data_dir: Holds settings, keys and packages.
        host: Address to listen on.
        port: Port; 0 for any free one, which is then in the file ``endpoint``.

    Raises:
        SetUpInvalidError: If the settings name no database.
        SchemaNotCurrentError: If the database does not answer, or was not migrated.
        AddressInUseError: If the address is taken, or none of this machine.
        SettingsInvalidError: If the settings file cannot be used.
    """
    place = DataDir(data_dir)
    settings = require_distributed(place, broker=False)
    logs.configure(settings.log)
    with _listening(host, port) as listener:
        set_up_django(place)
        require_schema()
        # Models can be imported only now.
        from rollwave.bootstrap import build  # noqa: PLC0415
        from rollwave.queue.celery import make_app  # noqa: PLC0415

        celery = make_app(settings.broker.url) if settings.broker.url else None
        _serve(build(place.path, celery=celery, runs_engine=False), place, listener)


def _serve(rollwave: Rollwave, place: DataDir, listener: socket.socket) -> None:
    from django.contrib.auth import get_user_model  # noqa: PLC0415  # needs the settings

    from rollwave.web import tokens  # noqa: PLC0415
    from rollwave.web.context import install  # noqa: PLC0415

    install(rollwave)
    tokens.make_first(place.token_file, now=rollwave.clock.now())
    if get_user_model().objects.exists():
        welcome_file(place.path).unlink(missing_ok=True)
    else:
        secret_in(welcome_file(place.path))
    tune_interpreter()
    uvloop.run(_run(rollwave, place, listener))
    rollwave.offload.close()


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        raise AddressInUseError(host=host, port=port, reason=str(error)) from error
    with listener:
        yield listener


class _Server(uvicorn.Server):
    """Uvicorn, which leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


async def _run(rollwave: Rollwave, place: DataDir, listener: socket.socket) -> None:
    from rollwave.supervision import supervised  # noqa: PLC0415  # needs the settings

    server = _Server(_configuration(rollwave))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        rollwave.stopping.set()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    work = rollwave.run_engine() if rollwave.runs_engine else rollwave.stopping.wait()
    engine = loop.create_task(work, name="engine")
    # An engine that broke takes the server down with it: a supervisor restarts both, and nothing is lost.
    engine.add_done_callback(lambda _: stop())
    address = _address_of(listener)
    with place.endpoint(address), supervised(rollwave, loop=loop):
        announced = loop.create_task(_announce(server, address, place, known_as=rollwave.settings.web.url))
        await server.serve(sockets=[listener])
        announced.cancel()
    engine.cancel()
    with suppress(asyncio.CancelledError):
        await engine
    log.info("stopped")


def _configuration(rollwave: Rollwave) -> uvicorn.Config:
    from django.core.asgi import get_asgi_application  # noqa: PLC0415  # needs the settings

    from rollwave.web.api.errors import error_response  # noqa: PLC0415
    from rollwave.web.body_limit import BodyLimit  # noqa: PLC0415

    def refuse(error: RollwaveError) -> tuple[int, bytes]:
        response = error_response(error)
        return response.status_code, response.content

    guarded = BodyLimit(get_asgi_application(), package_limit=rollwave.settings.limits.package_bytes, refuse=refuse)
    return uvicorn.Config(
        guarded,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever is no proxy of ours cannot say that they are somebody else.
        proxy_headers=bool(rollwave.settings.web.trusted_proxies),
        forwarded_allow_ips=list(rollwave.settings.web.trusted_proxies),
        timeout_graceful_shutdown=GRACE_S,
    )


async def _announce(server: uvicorn.Server, address: str, place: DataDir, *, known_as: str | None) -> None:
    # Uvicorn tells nobody when it has started.
    while not server.started:  # noqa: ASYNC110  # for the same reason
        await asyncio.sleep(0.01)
    sys.stdout.write(f"Rollwave is ready at {address} (data in {place.path}, first token in {place.token_file})\n")
    welcome = welcome_file(place.path)
    if welcome.exists():
        url = f"{known_as or address}/welcome/{welcome.read_text().strip()}"
        sys.stdout.write(f"Nobody can sign in yet; make the first account at {url}\n")
    sys.stdout.flush()


def _address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
