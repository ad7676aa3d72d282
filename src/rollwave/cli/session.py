"""One invocation of the command line: its output, its connection, and the options that every command shares."""

# No postponed annotations here: Typer reads the signature that `command` builds.
import functools
import inspect
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rollwave.cli.connection import Wanted, data_dir_of, find_connection
from rollwave.cli.errors import ApiError
from rollwave.cli.lookup import hint_for
from rollwave.cli.output import Output

if TYPE_CHECKING:
    import httpx

    from rollwave.cli.client import Client

_PANEL: Final = "Everywhere"

_SHARED: Final = {
    "as_json": Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=_PANEL)],
    "endpoint": Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="Where the API is (or ROLLWAVE_ENDPOINT).", show_default=False, rich_help_panel=_PANEL
        ),
    ],
    "token_file": Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the token (or ROLLWAVE_TOKEN_FILE, ROLLWAVE_TOKEN).",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ],
    "data": Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Data directory of a server on this machine (or ROLLWAVE_DATA; .rollwave).",
            show_default=False,
            rich_help_panel=_PANEL,
        ),
    ],
}
_DEFAULTS: Final = {"as_json": False, "endpoint": None, "token_file": None, "data": None}


@dataclass(frozen=True, slots=True)
class Invocation:
    """
    What is there before a command is chosen.

    Attributes:
        output: Where words go.
        transport: Carries requests instead of the network; None for the network.
    """

    output: Output
    transport: "httpx.BaseTransport | None" = None


class Session:
    """What a command works with."""

    def __init__(self, invocation: Invocation, wanted: Wanted) -> None:
        self.output = invocation.output
        self._transport = invocation.transport
        self._wanted = wanted

    @property
    def data_dir(self) -> Path:
        """The data directory of a server on this machine, there or not."""
        return data_dir_of(self._wanted, os.environ)

    @cached_property
    def client(self) -> "Client":
        """The API; looked for when it is first needed."""
        from rollwave.cli.client import Client  # noqa: PLC0415  # httpx is slow to import, and `--help` is not

        return Client(find_connection(self._wanted, os.environ), transport=self._transport)

    def close(self) -> None:
        """Give the connection back, if there was one."""
        if "client" in self.__dict__:
            self.client.close()


def new_key() -> str:
    """Return a fresh idempotency key."""
    return str(uuid.uuid4())  # noqa: TID251  # this is the edge: identities come from here


def command(app: typer.Typer, name: str | None = None, **settings: Any) -> Callable[[Callable[..., None]], None]:
    """
    Register a function whose first parameter is a `Session` as a command of *app*; without a name, of its own name.

    The options that every command shares are added here; the function sees the session alone.
    """

    def register(function: Callable[..., None]) -> None:
        own = list(inspect.signature(function).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        context = inspect.Parameter("context", keyword, annotation=typer.Context)
        shared = [inspect.Parameter(key, keyword, default=_DEFAULTS[key], annotation=_SHARED[key]) for key in _SHARED]

        @functools.wraps(function)
        def run(
            *,
            context: typer.Context,
            as_json: bool,
            endpoint: str | None,
            token_file: Path | None,
            data: Path | None,
            **arguments: object,
        ) -> None:
            if context.invoked_subcommand is not None:
                # A group that does something by itself: its command does what was asked for.
                return
            invocation: Invocation = context.obj
            invocation.output.is_json = as_json
            session = Session(invocation, Wanted(endpoint=endpoint, token_file=token_file, data_dir=data))
            try:
                function(session, **arguments)
            except ApiError as error:
                error.hint = error.hint or hint_for(session.client, error)
                raise
            finally:
                session.close()

        described = [*(one.replace(kind=keyword) for one in own), *shared, context]
        # Typer reads both; `wraps` has copied the function's own.
        run.__signature__ = inspect.Signature(described)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in described}
        del run.__wrapped__
        app.command(name, **settings)(run)

    return register
