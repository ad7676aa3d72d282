"""Subscriptions: who is told what happens in releases, and by which channel."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from rollwave.cli.arguments import Key
from rollwave.cli.errors import UnreadableFileError, UsageError
from rollwave.cli.session import Session, command, new_key

SubscriptionName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the subscription.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    subscription = typer.Typer(help="Notifications: list, show, put, remove, test, deliveries.", no_args_is_help=True)
    command(subscription, "list")(list_subscriptions)
    command(subscription, "test")(send_test)
    for function in (show, put, remove, deliveries):
        command(subscription)(function)
    app.add_typer(subscription, name="subscription", rich_help_panel="Administration")


def list_subscriptions(session: Session) -> None:
    """List the subscriptions, and how each of them goes."""
    _show_list(session, "subscriptions", session.client.get("subscriptions"))


def show(session: Session, name: SubscriptionName) -> None:
    """Show one subscription; what is secret of it cannot be shown."""
    row = session.client.get("subscriptions", name)
    session.output.show(row)
    if not session.output.is_json:
        for key, value in row.items():
            said = ", ".join(value) or "all" if isinstance(value, list) else "" if value is None else value
            session.output.say(f"{key.replace('_', ' '):16} {said}")


def put(
    session: Session,
    name: SubscriptionName,
    *,
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="YAML: channel, settings, topics, ...; - reads stdin. See docs/notifications.md.",
            show_default=False,
        ),
    ],
    key: Key = None,
) -> None:
    """Make a subscription, or bring it to what a file says; without `settings` it is reached as before."""
    again = f"`rollwave subscription show {name}` shows it; a secret that you name yourself in the file cannot get lost"
    row = session.client.send("PUT", "subscriptions", name, key=key or new_key(), body=_read(file), once=again)
    session.output.show(row)
    if not session.output.is_json:
        if row["secret"]:
            session.output.say(row["secret"])
            session.output.note("keep it: it signs this webhook, and is not shown again")
        session.output.say(f"subscription {name} tells {row['address']} of {', '.join(row['topics'])}")


def remove(session: Session, name: SubscriptionName, *, key: Key = None) -> None:
    """Remove a subscription; nothing more is sent."""
    session.output.show(session.client.send("DELETE", "subscriptions", name, key=key or new_key()) or {"name": name})
    session.output.say(f"subscription {name} is gone")


def send_test(session: Session, name: SubscriptionName, *, key: Key = None) -> None:
    """Send a test, and say whether it has arrived; exits with 1 where it has not."""
    row = session.client.send("POST", "subscriptions", name, "test", key=key or new_key())
    session.output.show(row)
    session.output.say(f"{'arrived' if row['arrived'] else 'did not arrive'}: {row['said']} ({row['took_ms']} ms)")
    if not row["arrived"]:
        raise typer.Exit(1)


def deliveries(
    session: Session,
    name: SubscriptionName,
    *,
    limit: Annotated[int, typer.Option(metavar="COUNT", min=1, max=500, help="How many, the newest first.")] = 50,
) -> None:
    """List the attempts to send something, and what came of each."""
    _show_list(session, "deliveries", session.client.get("subscriptions", name, "deliveries", limit=limit))


def _show_list(session: Session, kind: str, rows: Any) -> None:
    if session.output.is_json:
        session.output.show(rows)
        return
    from rollwave.cli.tables import render_list  # noqa: PLC0415  # Rich is slow to import

    session.output.show(rows, render_list(kind, rows, session.output.screen))


def _read(file: str) -> Any:
    from rollwave.spec_file import read_spec  # noqa: PLC0415  # the YAML reader is slow to import

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
    except OSError as error:
        raise UnreadableFileError(path=file, reason=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableFileError(path=file, reason="it is not UTF-8 text") from error
    found = read_spec(text)
    for problem in found.problems:
        raise UsageError(f"{file}:{problem.place.line}: {problem.message}", hint="docs/notifications.md has an example")
    return found.document
