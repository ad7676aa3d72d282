"""Looking for things, and at two of them at once: search, compare."""

from typing import Annotated, Any

import typer

from rollwave.cli.arguments import DeploymentName
from rollwave.cli.lookup import find_deployment
from rollwave.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    command(app, rich_help_panel="Look")(search)
    command(app, rich_help_panel="Look")(compare)


def search(
    session: Session,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A part of a name, or a number.", show_default=False)],
) -> None:
    """Find groups, servers, packages and deployments by a part of their name."""
    found = session.client.get("search", q=text)
    session.output.show(found)
    lines = [
        *(f"deployment {one['id']}  {one['group']} {one['goal_version']}" for one in found["deployments"]),
        *(f"group {one['name']}  {one['app']} {one['environment']}" for one in found["groups"]),
        *(f"server {one['name']}  {one['address']} {one['site']}" for one in found["servers"]),
        *(f"package {one['app']} {one['version']}" for one in found["packages"]),
    ]
    for line in lines or ["nothing is called like that"]:
        session.output.say(line)


def compare(
    session: Session,
    one: DeploymentName,
    other: DeploymentName,
    *,
    everything: Annotated[bool, typer.Option("--all", help="Show what is the same, too.")] = False,
) -> None:
    """Show what differs between two deployments."""
    first, second = (find_deployment(session.client, name) for name in (one, other))
    document = session.client.get("deployments", "compare", a=first, b=second)
    if session.output.is_json:
        session.output.show(document)
        return
    from rollwave.cli.tables import Column, render_table  # noqa: PLC0415  # Rich is slow to import

    rows = [row for row in document["fields"] if everything or row["differs"]]
    columns = (
        Column(title="FIELD", cell=lambda row: row["field"]),
        Column(title=str(first), cell=lambda row: _said(row["a"]), is_long=True),
        Column(title=str(second), cell=lambda row: _said(row["b"]), is_long=True),
    )
    session.output.show(document, render_table(columns, rows))


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
