"""What a shell may offer at the cursor: names that the API knows, asked for with little patience, told in silence."""

# No postponed annotations here: Typer reads the signatures to see what each function wants.
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import typer

from rollwave.cli.connection import Wanted, find_connection
from rollwave.domain.errors import RollwaveError

if TYPE_CHECKING:
    from rollwave.cli.client import Client

Candidates = list[tuple[str, str]]
"""Words, and what each one means."""

_PATIENCE_S: Final = 1.0
"""For every answer: somebody sits at the keyboard."""


def groups(context: typer.Context, incomplete: str) -> Candidates:
    """Return the groups whose names begin with *incomplete*."""
    return _ask(context, incomplete, _groups)


def servers(context: typer.Context, incomplete: str) -> Candidates:
    """Return the servers whose names begin with *incomplete*."""
    return _ask(context, incomplete, lambda client: ((one["name"], one["site"]) for one in client.get("servers")))


def deployments(context: typer.Context, incomplete: str) -> Candidates:
    """Return the groups, and the ids of the deployments that are not over, that begin with *incomplete*."""
    return _ask(context, incomplete, lambda client: [*_groups(client), *_active(client)])


def versions(context: typer.Context, incomplete: str) -> Candidates:
    """Return the versions that begin with *incomplete*, of the app of the group that was named before them."""

    def known(client: "Client") -> Iterable[tuple[str, str]]:
        app = client.get("groups", context.params["group"])["app"]
        return ((one["version"], app) for one in client.get("packages", app=app))

    return _ask(context, incomplete, known)


def _groups(client: "Client") -> Iterable[tuple[str, str]]:
    return ((one["name"], one["app"]) for one in client.get("groups"))


def _active(client: "Client") -> Iterable[tuple[str, str]]:
    found = client.get("deployments", active=True)
    return ((str(one["id"]), f"{one['group']}: {one['kind']} to {one['goal_version']}") for one in found)


def _ask(context: typer.Context, incomplete: str, known: Callable[["Client"], Iterable[tuple[str, str]]]) -> Candidates:
    """Return what is *known*; nothing where it cannot be asked for: a line of trouble would stand in the command."""
    from rollwave.cli.client import Client  # noqa: PLC0415  # httpx is slow to import, and most words need no API

    given = context.params
    wanted = Wanted(endpoint=given.get("endpoint"), token_file=given.get("token_file"), data_dir=given.get("data"))
    try:
        connection = find_connection(wanted, os.environ)
        with Client(connection, transport=context.obj.transport, patience_s=_PATIENCE_S) as client:
            return [(word, meaning) for word, meaning in known(client) if word.startswith(incomplete)]
    except (RollwaveError, LookupError, TypeError):
        return []
