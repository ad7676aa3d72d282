"""Who did what, and why."""

import time
from typing import Annotated, Any, Final

import typer

from rollwave.cli.session import Session, command

_PAUSE_S: Final = 2.0


def register(app: typer.Typer) -> None:
    """Add the command to *app*."""
    command(app, rich_help_panel="Look")(audit)


def audit(
    session: Session,
    *,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="SUBJECT", help="A group, or the beginning of a subject such as package/shop.", show_default=False
        ),
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="NAME", help="By this one alone.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="From this time on, such as 2026-01-31T08:00Z.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="COUNT", min=1, max=1_000, help="At most so many.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new entries until Ctrl-C.")] = False,
) -> None:
    """Show the audit log, the newest entry last."""
    query = {"subject": subject, "actor": actor, "since": since, "limit": limit}
    rows = list(reversed(session.client.get("audit", **query)))
    if follow:
        _follow(session, rows, query)
    elif session.output.is_json:
        session.output.show(rows)
    else:
        for row in rows:
            _print(session, row)
        if not rows:
            session.output.note("nothing yet")


def _follow(session: Session, rows: list[dict[str, Any]], query: dict[str, Any]) -> None:
    seen = set[str]()
    try:
        while True:
            for row in rows:
                seen.add(_identity(row))
                _print(session, row)
            time.sleep(_PAUSE_S)
            latest = reversed(session.client.get("audit", **query))
            rows = [row for row in latest if _identity(row) not in seen]
    except KeyboardInterrupt:
        raise typer.Exit from None


def _identity(row: dict[str, Any]) -> str:
    return repr(sorted(row.items(), key=lambda item: item[0]))


def _print(session: Session, row: dict[str, Any]) -> None:
    if session.output.is_json:
        session.output.line(row)
        return
    from rich.text import Text  # noqa: PLC0415  # Rich is slow to import

    from rollwave.cli.times import parse_time  # noqa: PLC0415

    at = parse_time(row["at"]).astimezone()
    line = Text.assemble((f"{at:%Y-%m-%d %H:%M:%S}", "dim"), f"  {row['sentence']}")
    if row["group"] is not None:
        line.append(f"  {row['group']}, {row['subject'].replace('/', ' ')}", style="dim")
    session.output.screen.print(line, soft_wrap=True)
