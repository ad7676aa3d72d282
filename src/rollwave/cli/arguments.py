"""Arguments and options that several commands share."""

# No postponed annotations in this module and in the commands: Typer reads them as they are.
from typing import Annotated

import typer

from rollwave.cli import candidates
from rollwave.domain.model import Kind

DeploymentName = Annotated[
    str,
    typer.Argument(
        metavar="ID|GROUP",
        help="A deployment: its id, or its group.",
        show_default=False,
        autocompletion=candidates.deployments,
    ),
]
GroupName = Annotated[
    str,
    typer.Argument(metavar="GROUP", help="Name of the group.", show_default=False, autocompletion=candidates.groups),
]
ServerName = Annotated[
    str,
    typer.Argument(metavar="SERVER", help="Name of the server.", show_default=False, autocompletion=candidates.servers),
]
Reason = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the audit log.", show_default=False)]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="KEY", help="Idempotency key; a new one for every call by default.", show_default=False
    ),
]
Roles = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ROLE[:APP[/ENV]]",
        help="viewer, operator, approver or admin, for all or for an app in an environment; may be given again.",
        show_default=False,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of this deployment, over those of the group; may be given again.",
        show_default=False,
    ),
]
DeploymentKind = Annotated[Kind, typer.Option("--kind", help="What the deployment is for.")]
