"""Which version this is."""

import typer

from rollwave.cli.installed import installed_version
from rollwave.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    command(app, rich_help_panel="Administration")(version)


def version(session: Session) -> None:
    """Show the version of this command line."""
    session.output.show({"version": installed_version()})
    if not session.output.is_json:
        session.output.say(installed_version())
