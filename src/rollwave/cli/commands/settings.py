"""What the installation is set to."""

from typing import Any

import typer

from rollwave.cli.session import Session, command


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    command(app, rich_help_panel="Look")(settings)


def settings(session: Session) -> None:
    """Show what `rollwave.toml` and the environment say of the server, defaults included; secrets are left out."""
    document = session.client.get("settings")
    session.output.show(document)
    session.output.say(f"rollwave {document['version']}, data in {document['data_dir']}")
    for name, table in document["tables"].items():
        session.output.say(f"\n[{name}]")
        for key, value in table.items():
            session.output.say(f"{key} = {_text(value)}")


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
