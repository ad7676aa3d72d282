"""Instances and servers: hold, unhold, offline, online."""

from typing import Annotated, Any

import typer

from rollwave.cli.arguments import GroupName, Key, Reason, ServerName
from rollwave.cli.session import Session, command, new_key

PANEL = "Fleet"

Port = Annotated[
    int | None,
    typer.Option(metavar="PORT", help="Which one, where the server carries several.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    command(app, rich_help_panel=PANEL)(hold)
    command(app, rich_help_panel=PANEL)(unhold)
    server = typer.Typer(help="Say that a server is down, or back.", no_args_is_help=True)
    command(server)(offline)
    command(server)(online)
    app.add_typer(server, name="server", rich_help_panel=PANEL)


def hold(
    session: Session, group: GroupName, server: ServerName, *, port: Port = None, reason: Reason = "", key: Key = None
) -> None:
    """Take an instance out of traffic and out of every plan."""
    _set_hold(session, group, server, "hold", port=port, reason=reason, key=key)


def unhold(
    session: Session, group: GroupName, server: ServerName, *, port: Port = None, reason: Reason = "", key: Key = None
) -> None:
    """Clear a hold; the instance goes back into traffic unless something else keeps it out."""
    _set_hold(session, group, server, "unhold", port=port, reason=reason, key=key)


def offline(session: Session, server: ServerName, *, reason: Reason = "", key: Key = None) -> None:
    """Say that a server is down: its instances leave every plan."""
    _switch(session, server, "offline", reason=reason, key=key)


def online(session: Session, server: ServerName, *, reason: Reason = "", key: Key = None) -> None:
    """Say that a server is back."""
    _switch(session, server, "online", reason=reason, key=key)


def _set_hold(
    session: Session, group: str, server: str, verb: str, *, port: int | None, reason: str, key: str | None
) -> None:
    document = session.client.send(
        "POST", "groups", group, "instances", server, verb, key=key or new_key(), body={"reason": reason, "port": port}
    )
    session.output.show(document)
    session.output.say(f"{document['name']}: {_where(document)}")


def _where(document: dict[str, Any]) -> str:
    if document["hold"]:
        return "held, out of traffic and out of every plan"
    if document["in_traffic"]:
        return "not held; it takes traffic"
    return f"not held; out of traffic ({', '.join(document['out_reasons']) or 'on its way'})"


def _switch(session: Session, server: str, verb: str, *, reason: str, key: str | None) -> None:
    document = session.client.send("POST", "servers", server, verb, key=key or new_key(), body={"reason": reason})
    session.output.show(document)
    names = [instance["name"] for instance in document["instances"]]
    carried = f"; it carries {', '.join(names)}" if names else "; it carries no instance"
    session.output.say(f"server {document['name']} is {'offline' if document['offline'] else 'online'}{carried}")
