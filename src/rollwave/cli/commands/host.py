"""Servers before they carry anything: read them from another tool's list, and prove that they can be released to."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from rollwave.cli.arguments import ServerName
from rollwave.cli.errors import UnreadableFileError, UsageError
from rollwave.cli.exits import Exit
from rollwave.cli.session import Session, command

PANEL = "Fleet"
_STDIN = "-"


class ListKind(Enum):
    """Whose list it is."""

    ANSIBLE = "ansible"
    SSH = "ssh"
    SALT = "salt"
    CSV = "csv"


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    host = typer.Typer(help="Bring servers in.", no_args_is_help=True)
    command(host)(check)
    command(host, name="import")(import_hosts)
    app.add_typer(host, name="host", rich_help_panel=PANEL)


def check(
    session: Session,
    server: ServerName,
    *,
    group: Annotated[
        str | None, typer.Option(metavar="GROUP", help="Only as an instance of this group.", show_default=False)
    ] = None,
) -> None:
    """
    Prove that a server can be released to, and say what is missing. It is left as it was.

    Looked at, through the group's own executor and for each instance: the way there, clock, Python, openssl, zstd,
    directory and disk, the commands that start and stop the app, its health page, its place in the balancer.
    """
    query = {} if group is None else {"group": group}
    checks = session.client.get("servers", server, "check", **query)
    session.output.show(checks)
    for one in checks:
        session.output.say(f"{one['instance']}: {'ready' if one['ready'] else 'not ready'}")
        for finding in one["findings"]:
            session.output.say(f"  {finding['verdict']:8} {finding['name']:10} {finding['message']}")
    raise typer.Exit(Exit.OK if all(one["ready"] for one in checks) else Exit.FAILED)


def import_hosts(
    session: Session,
    *,
    kind: Annotated[ListKind, typer.Option("--from", help="Whose list it is.", show_default=False)],
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="The list; - reads stdin.", show_default=False)
    ] = _STDIN,
    group: Annotated[
        str | None,
        typer.Option(metavar="GROUP", help="Ansible: only hosts of this group and its children.", show_default=False),
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="SITE", help="Site of servers for which the list names none.", show_default=False),
    ] = None,
) -> None:
    """
    Print the spec (YAML) of the servers in a list that another tool keeps. Nothing is applied.

    ansible: an inventory, INI or YAML, or what `ansible-inventory --list` prints. ssh: an SSH configuration. salt: what
    `salt-key --out json` prints; only accepted minions count. csv: a first line with name, address and site.
    """
    from rollwave.cli.inventory import InventoryError, read_inventory, to_spec, to_yaml  # noqa: PLC0415  # YAML is slow to import

    try:
        text = sys.stdin.read() if file == _STDIN else Path(file).read_text("utf-8")
    except OSError as error:
        raise UnreadableFileError(path=file, reason=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableFileError(path=file, reason="it is not UTF-8 text") from error
    try:
        inventory = read_inventory(text, kind=kind.value, group=group)
    except InventoryError as error:
        name = "stdin" if file == _STDIN else file
        raise UsageError(f"{name} is no list of kind {kind.value}: {error}") from error
    for note in inventory.notes:
        session.output.note(note)
    session.output.note(f"{len(inventory.servers)} servers; look at them, then: rollwave apply -f FILE")
    spec = to_spec(inventory.servers, site=site)
    session.output.show(spec)
    if not session.output.is_json:
        sys.stdout.write(to_yaml(spec))
