"""A small HTTP server of its own, for who scrapes and who supervises: it answers while the event loop is busy."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from rollwave.domain.errors import RollwaveError
from rollwave.telemetry.prometheus import CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIEnvironment

Answer = tuple[bool, object]
"""Whether it is so, and what to say, as JSON."""

_JSON: Final = "application/json"


class MetricsAddressError(RollwaveError):
    """The address of the metrics cannot be listened on."""

    code = "metrics.address_unusable"

    def __init__(self, *, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port} for metrics: {reason}; "
            f"each process of a machine needs its own: ROLLWAVE_METRICS_PORT",
            host=host,
            port=port,
            reason=reason,
        )


@contextmanager
def serving(
    *, host: str, port: int, page: Callable[[], bytes], live: Callable[[], Answer], ready: Callable[[], Answer]
) -> Iterator[int]:
    """
    Serve ``/metrics``, ``/livez`` and ``/readyz`` as long as the block lasts; give the port that is listened on.

    Nobody is asked for a token: whoever reaches the port may know how it goes.

    Args:
        host: Address to listen on.
        port: Port; 0 for any free one.
        page: Makes ``/metrics``, in a thread.
        live: Asked for ``/livez``, in a thread.
        ready: Asked for ``/readyz``, in a thread.

    Raises:
        MetricsAddressError: If the address is taken, or none of this machine.
    """

    def application(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        status, kind, content = _answer(environ.get("PATH_INFO", ""), page, {"/livez": live, "/readyz": ready})
        headers = [("Content-Type", kind), ("Content-Length", str(len(content))), ("Cache-Control", "no-store")]
        start(f"{status.value} {status.phrase}", headers)
        return [content]

    try:
        server = make_server(host, port, application, server_class=_Server, handler_class=_Silent)
    except (OSError, OverflowError) as error:
        raise MetricsAddressError(host=host, port=port, reason=str(error)) from error
    thread = threading.Thread(target=server.serve_forever, name="rollwave-metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(
    path: str, page: Callable[[], bytes], probes: Mapping[str, Callable[[], Answer]]
) -> tuple[HTTPStatus, str, bytes]:
    if path == "/metrics":
        return HTTPStatus.OK, CONTENT_TYPE, page()
    if path not in probes:
        return HTTPStatus.NOT_FOUND, _JSON, b'{"paths": ["/metrics", "/livez", "/readyz"]}'
    is_so, content = probes[path]()
    return HTTPStatus.OK if is_so else HTTPStatus.SERVICE_UNAVAILABLE, _JSON, json.dumps(content).encode()


class _Server(ThreadingMixIn, WSGIServer):
    """One request that waits for the store keeps no other from its answer."""

    daemon_threads = True
    block_on_close = False


class _Silent(WSGIRequestHandler):
    """Logs nothing: a scrape is no event."""

    timeout = 10
    """Whoever connects and says nothing goes, in seconds."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Log nothing."""
