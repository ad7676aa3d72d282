"""The fleet as a file: apps, groups, servers and settings in one YAML document."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollwave.cli.arguments import Key
from rollwave.cli.errors import ApiError, InvalidSpecFileError, UnreadableFileError
from rollwave.cli.session import Session, command, new_key

if TYPE_CHECKING:
    from rollwave.spec_file import Spec, SpecProblem

_STDIN = "-"


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    command(app, rich_help_panel="Fleet")(apply)
    command(app, rich_help_panel="Fleet")(export)


def apply(
    session: Session,
    *,
    file: Annotated[
        str, typer.Option("--file", "-f", metavar="FILE", help="YAML file; - reads stdin.", show_default=False)
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Also delete what the file does not name.")] = False,
    key: Key = None,
) -> None:
    """
    Make apps, groups, servers and settings what a file says.

    Every mistake in the file is shown at once, with its line; then nothing is changed.
    """
    from rollwave.cli.changes import render_changes  # noqa: PLC0415  # Rich and the YAML reader are slow to import
    from rollwave.spec_file import read_spec  # noqa: PLC0415

    text = _text_of(file)
    name = "stdin" if file == _STDIN else file
    spec = read_spec(text)
    if spec.problems:
        raise _refusal(session, spec.problems, name=name, text=text)
    body = {"spec": spec.document, "dry_run": dry_run, "prune": prune}
    try:
        changes = session.client.send("POST", "spec", key=key or new_key(), body=body)
    except ApiError as error:
        problems = _placed(error, spec)
        if not problems:
            raise
        raise _refusal(session, problems, name=name, text=text) from error
    session.output.show(changes, render_changes(changes, is_dry_run=dry_run))


def export(
    session: Session,
    *,
    app: Annotated[
        str | None, typer.Option(metavar="APP", help="This one alone, with its servers.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; stdout by default.", show_default=False),
    ] = None,
) -> None:
    """Write the fleet as a file: `rollwave apply` with it changes nothing, until it is edited."""
    document = session.client.get("spec", app=app)
    if file is not None:
        file.write_text(document["text"], "utf-8")
        session.output.show(document["spec"])
    elif session.output.is_json:
        session.output.show(document["spec"])
    else:
        sys.stdout.write(document["text"])


def _text_of(file: str) -> str:
    try:
        return sys.stdin.read() if file == _STDIN else Path(file).read_text("utf-8")
    except OSError as error:
        raise UnreadableFileError(path=file, reason=error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise UnreadableFileError(path=file, reason="it is not UTF-8 text") from error


def _placed(error: ApiError, spec: "Spec") -> "list[SpecProblem]":
    """Return the problems that the API found, each at its place in the file; none where it names no place."""
    raw: Any = error.facts.get("problems")
    found = raw if isinstance(raw, list) else []
    return spec.placed((str(one["path"]).removeprefix("spec").removeprefix("."), str(one["message"])) for one in found)


def _refusal(
    session: Session, problems: "list[SpecProblem] | tuple[SpecProblem, ...]", *, name: str, text: str
) -> Exception:
    """Show every problem on stderr, and return the error that says so."""
    from rollwave.cli.snippet import render_problem  # noqa: PLC0415  # Rich is slow to import

    lines = text.splitlines()
    for problem in problems:
        session.output.notes.print(render_problem(problem, name=name, lines=lines), soft_wrap=True)
    return InvalidSpecFileError(
        file=name,
        problems=[
            {"path": one.path, "line": one.place.line, "column": one.place.column, "message": one.message}
            for one in problems
        ],
    )
