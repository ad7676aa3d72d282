"""A new release: what it would do, and the start of it."""

from typing import Annotated, Any

import typer

from rollwave.cli import candidates
from rollwave.cli.arguments import DeploymentKind, GroupName, Key, Reason, Settings
from rollwave.cli.errors import UsageError
from rollwave.cli.session import Session, command, new_key
from rollwave.cli.settings import parse_settings
from rollwave.domain.model import Kind

PANEL = "Release"

Version = Annotated[
    str | None,
    typer.Argument(
        metavar="VERSION",
        help="Version to release; needed for a rollout.",
        show_default=False,
        autocompletion=candidates.versions,
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    command(app, rich_help_panel=PANEL)(plan)
    command(app, rich_help_panel=PANEL)(deploy)


def plan(
    session: Session,
    group: GroupName,
    version: Version = None,
    *,
    kind: DeploymentKind = Kind.ROLLOUT,
    settings: Settings = None,
) -> None:
    """Show the exact batches of a release. Nothing starts, nothing is recorded."""
    show_plan(session, _body(group, version, kind, settings))


def show_plan(session: Session, body: dict[str, Any]) -> None:
    """Show what a release would do; *body* is that of its start."""
    document = _planned(session, body)
    session.output.show(document, None if session.output.is_json else _picture(document))


def deploy(
    session: Session,
    group: GroupName,
    version: Version = None,
    *,
    kind: DeploymentKind = Kind.ROLLOUT,
    settings: Settings = None,
    reason: Reason = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it until it is over.")] = False,
    start: Annotated[bool, typer.Option(help="Start at once, or wait for `rollwave start`.")] = True,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; scripts and pipes are never asked.")] = False,
    key: Key = None,
) -> None:
    """Release a version to a group."""
    body = {**_body(group, version, kind, settings), "reason": reason, "start": start}
    if not yes and not session.output.is_json and session.output.screen.is_terminal:
        _ask(session, body)
    document = session.client.send("POST", "deployments", key=key or new_key(), body=body)
    if watch:
        from rollwave.cli.commands.get import watch_release  # noqa: PLC0415  # only who watches waits for it

        watch_release(session, document["id"])
        return
    session.output.show(document)
    session.output.say(f"{group} (deployment {document['id']}): {document['goal_version']}. {document['sentence']}")
    session.output.note(f"watch it with `rollwave get {document['id']} -w`")


def _ask(session: Session, body: dict[str, Any]) -> None:
    session.output.screen.print(_picture(_planned(session, body)))
    if not typer.confirm("Release it?", default=True, err=True):
        session.output.note("nothing was started")
        raise typer.Exit


def _planned(session: Session, body: dict[str, Any]) -> Any:
    return session.client.send("POST", "plans", key=new_key(), body=body)


def _body(group: str, version: str | None, kind: Kind, settings: list[str] | None) -> dict[str, Any]:
    if version is None and kind is Kind.ROLLOUT:
        raise UsageError("a rollout needs a VERSION", hint=f"`rollwave get packages` lists what there is for {group}")
    return {"group": group, "version": version, "kind": kind.value, "config": parse_settings(settings or [])}


def _picture(document: dict[str, Any]) -> Any:
    from rollwave.cli.plan import render_plan  # noqa: PLC0415  # Rich is slow to import

    return render_plan(document)
