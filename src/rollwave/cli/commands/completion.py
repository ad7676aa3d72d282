"""Completion for bash, zsh and fish: Typer's own, under a name that people find."""

from enum import StrEnum
from typing import Annotated

import typer

from rollwave.cli.errors import UsageError
from rollwave.cli.main import COMPLETE_VARIABLE
from rollwave.cli.session import Session, command

_PROGRAM = "rollwave"


class Shell(StrEnum):
    """A shell that we can complete for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


ShellName = Annotated[
    Shell | None, typer.Argument(metavar="SHELL", help="bash, zsh or fish; yours by default.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    completion = typer.Typer(help="Completion for your shell.", no_args_is_help=True)
    command(completion)(install)
    command(completion)(show)
    app.add_typer(completion, name="completion", rich_help_panel="Administration")


def install(session: Session, shell: ShellName = None) -> None:
    """Install completion for your shell."""
    from typer._completion_shared import install as install_script  # noqa: PLC0415  # Typer exports it nowhere else

    name, path = install_script(shell=_shell(shell), prog_name=_PROGRAM, complete_var=COMPLETE_VARIABLE)
    session.output.show({"shell": name, "path": str(path)})
    session.output.say(f"{name} completes rollwave from the next start on ({path})")


def show(session: Session, shell: ShellName = None) -> None:
    """Print the completion script."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415  # Typer exports it nowhere else

    script = get_completion_script(prog_name=_PROGRAM, complete_var=COMPLETE_VARIABLE, shell=_shell(shell))
    session.output.show({"script": script})
    if not session.output.is_json:
        session.output.say(script)


def _shell(shell: Shell | None) -> str:
    import os  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    found = shell or Path(os.environ.get("SHELL", "")).name
    if found not in list(Shell):
        raise UsageError("cannot tell which shell this is", hint=f"name it: {', '.join(Shell)}")
    return str(found)
