"""Who did what, and why."""

import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from rollwave.cli.session import Session, command
from rollwave.domain.errors import RollwaveError

_PAUSE_S: Final = 2.0


Subject = Annotated[
    str | None,
    typer.Option(
        metavar="SUBJECT", help="A group, or a subject, up to a slash: deployment/12, package/shop.", show_default=False
    ),
]
Actor = Annotated[str | None, typer.Option(metavar="NAME", help="By this one alone.", show_default=False)]


class _Itself(typer.Typer):
    """A group that does something by itself where no command of its is named: a command without a name."""

    def command(self, name: str | None = None, **settings: Any) -> Any:
        """Return the decorator that registers a command."""
        if name is None:
            return self.callback(invoke_without_command=True, **settings)
        return super().command(name, **settings)


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    group = _Itself(help="Who did what, and why: show, verify, export.")
    command(group)(audit)
    for function in (verify, export):
        command(group, function.__name__)(function)
    app.add_typer(group, name="audit", rich_help_panel="Look")


def verify(
    session: Session,
    *,
    head: Annotated[
        str | None,
        typer.Option(
            metavar="SEQ:CODE", help="That of an earlier look; it still has to be in the chain.", show_default=False
        ),
    ] = None,
) -> None:
    """
    Look whether an entry was changed, dropped or inserted; fails if one was.

    Keep the head that it prints somewhere else: with it, even a database that was put back as a whole is noticed.
    """
    verdict = session.client.get("audit", "verify", head=head)
    session.output.show(verdict)
    for flaw in verdict["flaws"]:
        session.output.say(f"entry {flaw['seq']}: {flaw['what']}")
    if verdict["flaws"]:
        raise AuditDamagedError(count=len(verdict["flaws"]))
    session.output.say(f"{verdict['count']} entries, none was changed, dropped or inserted; head {verdict['head']}")


def export(
    session: Session,
    *,
    file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to; stdout by default.", show_default=False),
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="FORMAT", help="jsonl or csv.")] = "jsonl",
    subject: Subject = None,
    actor: Actor = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="From this time on.", show_default=False)] = None,
) -> None:
    """Write the audit log, the oldest entry first, as JSON lines or CSV."""
    query = {"subject": subject, "actor": actor, "since": since}
    with session.client.stream("audit", "export", headers={}, form=form, **query) as answer:
        session.client.check(answer)
        with file.open("wb") if file else nullcontext(sys.stdout.buffer) as target:
            for chunk in answer.iter_bytes():
                target.write(chunk)
            target.flush()


class AuditDamagedError(RollwaveError):
    """The audit chain is not what it was."""

    code = "audit.damaged"

    def __init__(self, *, count: int) -> None:
        super().__init__(f"the audit log was tampered with, or its key is another one: {count} flaws", count=count)


def audit(
    session: Session,
    *,
    subject: Subject = None,
    actor: Actor = None,
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
