"""The entry point: parse, run, and turn what went wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Final

from rollwave.cli.exits import MEANINGS, Exit, exit_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx
    import typer

    from rollwave.cli.output import Output
    from rollwave.domain.errors import RollwaveError

COMPLETE_VARIABLE: Final = "_ROLLWAVE_COMPLETE"
"""Set by the script of a shell: what is asked for are words, not work."""

_NOUNS: Final = (
    "deploy",
    "package",
    "get",
    "look",
    "status",
    "audit",
    "actions",
    "apply",
    "fleet",
    "host",
    "serve",
    "token",
    "settings",
    "subscription",
    "user",
    "completion",
    "version",
)
"""Modules of commands, in the order of the help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line *arguments*, those of the process by default, and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        # Scripts ask for it often; they need not wait for anything to be imported.
        from rollwave.cli.installed import installed_version  # noqa: PLC0415

        sys.stdout.write(f"{installed_version()}\n")
        raise SystemExit(Exit.OK)
    raise SystemExit(run(given))


def run(arguments: list[str], *, transport: httpx.BaseTransport | None = None) -> int:
    """
    Run one command line and return its exit code. What is not an expected error is a bug, and crashes loudly.

    Args:
        arguments: Without the name of the program.
        transport: Carries requests instead of the network; for tests.
    """
    import typer  # noqa: PLC0415  # Typer is slow to import, and `--version` does without

    from rollwave.cli.errors import UsageError  # noqa: PLC0415
    from rollwave.cli.output import Output  # noqa: PLC0415
    from rollwave.cli.session import Invocation  # noqa: PLC0415
    from rollwave.domain.errors import RollwaveError  # noqa: PLC0415

    # httpx imports its own command line with Click and Pygments, which costs more than the rest of it; None is the
    # documented way to say that a module is not there, and httpx goes on without.
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    output = Output(is_json="--json" in arguments)
    if COMPLETE_VARIABLE in os.environ:
        # `completion` takes the place of Typer's own options, and those are what makes Typer know the shells.
        from typer._completion_classes import completion_init  # noqa: PLC0415  # Typer exports it nowhere else

        completion_init()
    elif not arguments or {"-h", "--help"} & set(arguments):
        _use_ink()
    try:
        result = build_app()(
            args=arguments, prog_name="rollwave", standalone_mode=False, obj=Invocation(output, transport)
        )
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        if not message:
            # A group without a command: its help was printed.
            return Exit.USAGE
        return _fail(output, UsageError(_lower_first(message), hint=_help_for(error)))
    except typer.Abort:
        output.note("interrupted")
        return Exit.INTERRUPTED
    except RollwaveError as error:
        return _fail(output, error)
    return int(result or Exit.OK)


def _fail(output: Output, error: RollwaveError) -> Exit:
    code = exit_of(error.code)
    output.fail(error, label="note" if code is Exit.INTERRUPTED else "error")
    return code


def _help_for(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"`{context.command_path} --help` shows how" if context is not None else ""


def _lower_first(message: str) -> str:
    return message[:1].lower() + message[1:]


def build_app() -> typer.Typer:
    """Return the whole command line."""
    import typer  # noqa: PLC0415

    app = typer.Typer(
        help="Releases to a fleet, batch by batch, without users noticing.",
        epilog=_epilog(),
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for noun in _NOUNS:
        import_module(f"rollwave.cli.commands.{noun}").register(app)
    return app


def _epilog() -> str:
    lines = [f"{code.value:>3}  {meaning}" for code, meaning in MEANINGS.items()]
    return "\n".join(["[bold]Exit codes[/bold]", *lines])


def _use_ink() -> None:
    """Let the help keep its colors to itself: in this program a color is a state."""
    from typer import rich_utils  # noqa: PLC0415  # Rich is slow to import, and only the help needs it here

    for name in ("OPTION", "SWITCH", "NEGATIVE_OPTION", "NEGATIVE_SWITCH", "COMMANDS_TABLE_FIRST_COLUMN", "USAGE"):
        setattr(rich_utils, f"STYLE_{name}", "bold")
    for name in ("METAVAR", "METAVAR_SEPARATOR", "TYPES", "OPTION_ENVVAR", "REQUIRED_SHORT", "REQUIRED_LONG"):
        setattr(rich_utils, f"STYLE_{name}", "dim")
