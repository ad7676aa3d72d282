"""Looking at things: lists, one thing, and a release as it goes."""

import difflib
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from rollwave.cli import candidates
from rollwave.cli.errors import UsageError, WatchInterruptedError
from rollwave.cli.exits import Exit, exit_of_status
from rollwave.cli.lookup import find_deployment
from rollwave.cli.session import Session, command


class Listing(StrEnum):
    """What there are lists of, by the word for many."""

    DEPLOYMENTS = "deployments"
    APPS = "apps"
    GROUPS = "groups"
    SERVERS = "servers"
    PACKAGES = "packages"


_TIMED_TARGETS: Final = 200
_EVENTS_LIMIT: Final = 10_000

_KINDS = {word: kind for kind in Listing for word in (kind.value, kind.value.removesuffix("s"))}


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    command(app, rich_help_panel="Look")(get)


def _kinds_and_deployments(context: typer.Context, incomplete: str) -> candidates.Candidates:
    kinds = [(kind.value, "all of them") for kind in Listing if kind.value.startswith(incomplete)]
    return [*kinds, *candidates.deployments(context, incomplete)]


def get(
    session: Session,
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="deployments, apps, groups, servers or packages; or the id or group of a deployment.",
            autocompletion=_kinds_and_deployments,
        ),
    ] = "deployments",
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them.", show_default=False)] = None,
    *,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show a deployment as it goes, until it is over.")
    ] = False,
) -> None:
    """
    Show what there is, or one thing of it.

    `rollwave get` lists deployments, `rollwave get groups` groups, `rollwave get group NAME` one of them.
    `rollwave get ID` and `rollwave get GROUP` show a deployment with its batches and targets.
    """
    listing = _KINDS.get(kind)
    if listing is None and name is not None:
        close = difflib.get_close_matches(kind, _KINDS, n=1)
        known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(Listing)}"
        raise UsageError(f"there are no {kind!r} to get", hint=known)
    wanted = kind if listing is None else name
    if wanted is not None and listing in (None, Listing.DEPLOYMENTS):
        deployment_id = find_deployment(session.client, wanted)
        if watch:
            watch_release(session, deployment_id)
        else:
            _show_release(session, deployment_id)
        return
    if watch:
        raise UsageError("only a deployment can be watched", hint="`rollwave get ID -w` or `rollwave get GROUP -w`")
    assert listing is not None
    if wanted is None:
        show_list(session, listing)
    else:
        _show_one(session, listing, wanted)


def watch_release(session: Session, deployment_id: int) -> None:
    """
    Show a deployment until it is over, and end with its exit code.

    Raises:
        typer.Exit: Always, unless something goes wrong.
        WatchInterruptedError: If the person has seen enough.
    """
    from rollwave.cli.feed import follow  # noqa: PLC0415  # httpx and Rich are slow to import
    from rollwave.cli.release import load_head, load_release  # noqa: PLC0415
    from rollwave.cli.screens import screen_for  # noqa: PLC0415
    from rollwave.cli.watch import watch  # noqa: PLC0415

    head, _ = load_head(session.client, deployment_id)
    try:
        with screen_for(session.output) as screen:
            release = watch(
                lambda: load_release(session.client, deployment_id)[0],
                follow(session.client, deployment_id),
                screen,
                is_done=lambda release: release.head.is_over,
            )
    except KeyboardInterrupt as error:
        raise WatchInterruptedError(deployment_id=deployment_id, group=head.group) from error
    code = exit_of_status(release.head.status)
    raise typer.Exit(Exit.FAILED if code is None else code)


def _show_release(session: Session, deployment_id: int) -> None:
    from rollwave.cli.release import load_release  # noqa: PLC0415  # Rich is slow to import

    release, document = load_release(session.client, deployment_id)
    if session.output.is_json:
        session.output.show(document)
        return
    from rollwave.cli.screens import frame_of  # noqa: PLC0415
    from rollwave.cli.stopwatch import Stopwatch  # noqa: PLC0415
    from rollwave.cli.tree import render_release  # noqa: PLC0415

    stopwatch = Stopwatch()
    # Times are in the log alone; that of a large release is too long to be read for a single look.
    if len(release.targets) <= _TIMED_TARGETS:
        for event in session.client.get("deployments", deployment_id, "events", limit=_EVENTS_LIMIT):
            stopwatch.note(event)
    session.output.show(document, render_release(release, frame_of(session.output.screen, laps=stopwatch)))
    session.output.say(_outlook(document))


def _outlook(document: dict[str, Any]) -> str:
    """Return what the health gate says, the pace and the time left, as far as they are known."""
    from rollwave.cli.times import format_duration  # noqa: PLC0415

    gate = document["gate"]
    said = [f"health gate: {gate['word'].lower()}" + (f", {gate['detail']}" if gate["detail"] else "")]
    if document["per_minute"] is not None:
        said.append(f"{document['per_minute']:g} targets a minute")
    if document["eta_s"] is not None:
        said.append(f"about {format_duration(document['eta_s'])} left")
    return "; ".join(said)


def show_list(session: Session, listing: Listing, **query: object) -> None:
    """Show everything of one kind."""
    rows = session.client.get(listing.value, **query)
    if session.output.is_json:
        session.output.show(rows)
        return
    from rollwave.cli.tables import render_list  # noqa: PLC0415  # Rich is slow to import

    session.output.show(rows, render_list(listing.value, rows, session.output.screen))


def show_package(session: Session, app: str, version: str) -> None:
    """Show one package."""
    _show_document(session, session.client.get("packages", app, version))


def _show_one(session: Session, listing: Listing, name: str) -> None:
    if listing is not Listing.PACKAGES:
        _show_document(session, session.client.get(listing.value, name))
        return
    app, slash, version = name.partition("/")
    if slash:
        show_package(session, app, version)
    else:
        show_list(session, listing, app=app)


def _show_document(session: Session, document: dict[str, Any]) -> None:
    if session.output.is_json:
        session.output.show(document)
        return
    from rollwave.cli.details import render_details  # noqa: PLC0415  # Rich is slow to import

    session.output.show(document, render_details(document, session.output.screen))
