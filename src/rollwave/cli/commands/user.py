"""Users: who may sign in, and what they may do where."""

from typing import Annotated, Any

import typer

from rollwave.cli.arguments import Key, Roles
from rollwave.cli.session import Session, command, new_key

UserName = Annotated[str, typer.Argument(metavar="NAME", help="With which they sign in.", show_default=False)]
FullName = Annotated[str | None, typer.Option(metavar="NAME", help="As people call them.", show_default=False)]
Email = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Their e-mail address.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    user = typer.Typer(help="Users: list, add, change, invite, remove.", no_args_is_help=True)
    command(user, "list")(list_users)
    for function in (add, change, invite, remove, whoami):
        command(user, function.__name__)(function)
    app.add_typer(user, name="user", rich_help_panel="Administration")


def list_users(session: Session) -> None:
    """List the users and what they may."""
    rows = session.client.get("users")
    if session.output.is_json:
        session.output.show(rows)
        return
    from rollwave.cli.tables import render_list  # noqa: PLC0415  # Rich is slow to import

    session.output.show(rows, render_list("users", rows, session.output.screen))


def add(
    session: Session,
    name: UserName,
    *,
    role: Roles = None,
    full_name: FullName = None,
    email: Email = None,
    key: Key = None,
) -> None:
    """Add a user, and print the link at which they choose a password: good for a day, and for once."""
    body = {"name": name, "roles": role or [], "full_name": full_name or "", "email": email or ""}
    again = f"`rollwave user list` shows whether {name} is there; `rollwave user invite {name}` prints another link"
    document = session.client.send("POST", "users", key=key or new_key(), body=body, once=again)
    session.output.show(document)
    _invite(session, name, document["invitation"])


def change(
    session: Session,
    name: UserName,
    *,
    role: Roles = None,
    full_name: FullName = None,
    email: Email = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether they may sign in.", show_default=False)
    ] = None,
    key: Key = None,
) -> None:
    """Change a user: all roles at once, the name, the address, or whether they may sign in."""
    wanted = {"roles": role or None, "full_name": full_name, "email": email, "active": active}
    body = {field: value for field, value in wanted.items() if value is not None}
    document = session.client.send("PATCH", "users", name, key=key or new_key(), body=body)
    session.output.show(document)
    session.output.say(f"{name}: {_standing(document)}")


def invite(session: Session, name: UserName, *, key: Key = None) -> None:
    """Print a new link at which a user chooses a password, such as one who has forgotten theirs."""
    document = session.client.send("POST", "users", name, "invitation", key=key or new_key())
    session.output.show(document)
    _invite(session, name, document["path"])


def remove(session: Session, name: UserName, *, key: Key = None) -> None:
    """Remove a user and their tokens; what they did stays in the audit log."""
    session.output.show(session.client.send("DELETE", "users", name, key=key or new_key()) or {"name": name})
    session.output.say(f"{name} was removed, with all tokens")


def whoami(session: Session) -> None:
    """Say who you are to the API, and what you may."""
    document = session.client.get("me")
    session.output.show(document)
    roles = " and at most ".join(", ".join(one) or "nothing" for one in document["limits"])
    session.output.say(f"{document['name']}: {roles}")


def _invite(session: Session, name: str, path: str) -> None:
    if not session.output.is_json:
        session.output.say(f"{session.client.endpoint}{path}")
        session.output.note(
            f"pass it on to {name}: whoever opens it chooses the password; good for a day, and for once"
        )


def _standing(document: dict[str, Any]) -> str:
    roles = ", ".join([*document["roles"], *document["group_roles"]]) or "no role"
    return roles if document["active"] else f"{roles}, may not sign in"
