"""API tokens."""

from datetime import timedelta
from typing import Annotated

import typer

from rollwave.cli.arguments import Key, Roles
from rollwave.cli.session import Session, command, new_key

TokenName = Annotated[
    str, typer.Argument(metavar="NAME", help="Who uses it; the actor of all it does.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    token = typer.Typer(help="API tokens: list, create, revoke.", no_args_is_help=True)
    command(token, "list")(list_tokens)
    command(token)(create)
    command(token)(revoke)
    app.add_typer(token, name="token", rich_help_panel="Administration")


def list_tokens(session: Session) -> None:
    """List the tokens; their values cannot be shown again."""
    rows = session.client.get("tokens")
    if session.output.is_json:
        session.output.show(rows)
        return
    from rollwave.cli.tables import render_list  # noqa: PLC0415  # Rich is slow to import

    session.output.show(rows, render_list("tokens", rows, session.output.screen))


def create(
    session: Session,
    name: TokenName,
    *,
    days: Annotated[
        int | None,
        typer.Option(metavar="DAYS", min=1, help="Valid for so long; for ever by default.", show_default=False),
    ] = None,
    role: Roles = None,
    owner: Annotated[
        str | None,
        typer.Option(metavar="USER", help="Whose it is; by default yours. It never may more.", show_default=False),
    ] = None,
    key: Key = None,
) -> None:
    """Create a token and print its value on stdout, this one time."""
    from rollwave.cli.times import now  # noqa: PLC0415  # only here

    expires_at = None if days is None else now() + timedelta(days=days)
    body = {"name": name, "expires_at": expires_at and expires_at.isoformat(), "roles": role or None, "owner": owner}
    body = {field: value for field, value in body.items() if value is not None}
    again = f"`rollwave token list` shows whether {name} is there; `rollwave token revoke {name}`, and create it anew"
    document = session.client.send("POST", "tokens", key=key or new_key(), body=body, once=again)
    session.output.show(document)
    if not session.output.is_json:
        session.output.say(document["token"])
        session.output.note("keep it: it is not shown again (ROLLWAVE_TOKEN or --token-file gives it to the client)")


def revoke(session: Session, name: TokenName, *, key: Key = None) -> None:
    """Make a token invalid from now on."""
    session.output.show(session.client.send("DELETE", "tokens", name, key=key or new_key()) or {"name": name})
    session.output.say(f"token {name} is not valid any more")
