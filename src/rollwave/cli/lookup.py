"""Which deployment is meant: by its id, or by its group."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from rollwave.domain.errors import NotFoundError, RollwaveError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rollwave.cli.client import Client
    from rollwave.cli.errors import ApiError

_LISTS = {"app": "apps", "group": "groups", "server": "servers", "token": "tokens"}


class NoDeploymentError(RollwaveError):
    """The group is there, and nothing was ever released to it."""

    code = "input.not_found"

    def __init__(self, *, group: str) -> None:
        super().__init__(f"group {group!r} has no deployment yet", group=group)
        self.hint = f"`rollwave deploy {group} VERSION` starts the first"


def is_id(name: str) -> bool:
    """Return whether *name* is the id of a deployment; anything else names a group."""
    return name.isascii() and name.isdigit()


def find_deployment(client: Client, name: str) -> int:
    """
    Return the id of the deployment that *name* means: itself, or the group's active one, else its latest.

    Raises:
        NotFoundError: If there is no such group.
        NoDeploymentError: If nothing was ever released to the group.
    """
    if is_id(name):
        return int(name)
    documents = client.get("deployments", group=name, active=True) or client.get("deployments", group=name)
    if documents:
        return max(int(document["id"]) for document in documents)
    client.get("groups", name)
    raise NoDeploymentError(group=name)


def hint_for(client: Client, error: ApiError) -> str:
    """Return what to do about *error*, as far as the API's message does not say it; empty where nothing helps."""
    if error.code.startswith("auth."):
        if client.has_token:
            return "the token is not that of this server; --token-file or ROLLWAVE_TOKEN names another"
        return "no token was sent: give one with --token-file or ROLLWAVE_TOKEN, or name the server's --data directory"
    kind, name = str(error.facts.get("kind", "")), str(error.facts.get("name", ""))
    if error.code != NotFoundError.code or kind not in _LISTS or error.facts.get("hint"):
        return ""
    try:
        names = [str(document["name"]) for document in client.get(_LISTS[kind])]
    except RollwaveError:
        # The error at hand is the one to tell; that there is no hint for it is not worth another.
        return ""
    return suggest(name, names) or (f"known: {', '.join(names[:10])}" if names else f"there is no {kind} yet")


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known name that *name* begins or is close to, empty where there is none."""
    names = list(known)
    begun = [one for one in names if name and one.startswith(name)]
    close = begun if len(begun) == 1 else difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]!r}?" if close else ""
