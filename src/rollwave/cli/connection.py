"""Where the API is, and who we are to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from rollwave.cli.errors import NoEndpointError, UnreadableFileError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_DATA_DIR: Final = Path(".rollwave")

_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class Connection:
    """
    An endpoint and a token.

    Attributes:
        endpoint: Origin of the API without a trailing slash, such as ``http://127.0.0.1:8080``.
        token: Bearer token; None where there is none. Its ``repr`` is never printed.
    """

    endpoint: str
    token: str | None

    def __repr__(self) -> str:
        return f"Connection({self.endpoint!r})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """
    What the command line says about the connection; None where it says nothing.

    Attributes:
        endpoint: ``--endpoint``.
        token_file: ``--token-file``.
        data_dir: ``--data``.
    """

    endpoint: str | None = None
    token_file: Path | None = None
    data_dir: Path | None = None


def data_dir_of(wanted: Wanted, environment: Mapping[str, str]) -> Path:
    """Return the data directory: the option, else ``ROLLWAVE_DATA``, else ``.rollwave``."""
    return wanted.data_dir or Path(environment.get("ROLLWAVE_DATA") or DEFAULT_DATA_DIR)


def find_connection(wanted: Wanted, environment: Mapping[str, str]) -> Connection:
    """
    Return the connection: options first, then the environment, then what a server on this machine left in its data
    directory.

    Raises:
        NoEndpointError: If nothing says where the API is.
        UsageError: If the endpoint is not an http(s) URL.
        UnreadableFileError: If a token file was named and cannot be read.
    """
    data_dir = data_dir_of(wanted, environment)
    local_endpoint = _line_of(data_dir / "endpoint")
    endpoint = wanted.endpoint or environment.get("ROLLWAVE_ENDPOINT") or local_endpoint
    if not endpoint:
        raise NoEndpointError(data_dir=data_dir)
    origin = _origin(endpoint)
    if origin is None:
        raise UsageError(f"endpoint {endpoint!r} is not a URL", hint="write it like http://127.0.0.1:8080")
    token = _named_token(wanted, environment)
    # The local token is for the local server alone: an endpoint from elsewhere never gets to see it.
    if token is None and local_endpoint is not None and _origin(local_endpoint) == origin:
        token = _line_of(data_dir / "token")
    return Connection(endpoint=endpoint.rstrip("/"), token=token)


def _named_token(wanted: Wanted, environment: Mapping[str, str]) -> str | None:
    named = wanted.token_file
    if named is None:
        if environment.get("ROLLWAVE_TOKEN"):
            return environment["ROLLWAVE_TOKEN"].strip()
        if not environment.get("ROLLWAVE_TOKEN_FILE"):
            return None
        named = Path(environment["ROLLWAVE_TOKEN_FILE"])
    try:
        return named.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(path=str(named), reason=_reason(error)) from error


def _line_of(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFileError(path=str(path), reason=_reason(error)) from error


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _origin(endpoint: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname:
        return None
    # The server writes its address down as a number; people type the name.
    host = "127.0.0.1" if parts.hostname == "localhost" else parts.hostname
    return parts.scheme, host, port or _PORTS[parts.scheme]
