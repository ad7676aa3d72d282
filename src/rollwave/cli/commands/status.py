"""Waiting for a release: the exit code is the result."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rollwave.cli.arguments import DeploymentName
from rollwave.cli.errors import TimedOutError, WatchInterruptedError
from rollwave.cli.exits import Exit, exit_of_status
from rollwave.cli.lookup import find_deployment
from rollwave.cli.session import Session, command
from rollwave.domain.model import Phase

if TYPE_CHECKING:
    from rollwave.cli.feed import Event
    from rollwave.cli.release import Head

WAY = (
    Phase.PENDING,
    Phase.CANARY,
    Phase.VERIFY_SUCCESS,
    Phase.BAKING,
    Phase.BAKE_SUCCESS,
    Phase.ROLLING_OUT,
    Phase.SUCCESS,
)
"""The phases of a release that goes well, in order."""


def register(app: typer.Typer) -> None:
    """Add the commands to *app*."""
    command(app, rich_help_panel="Look")(status)


def status(
    session: Session,
    deployment: DeploymentName,
    *,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Wait no longer (exit code 124).", show_default=False)
    ] = None,
    until: Annotated[
        Phase | None,
        typer.Option("--for", metavar="PHASE", help="Wait until this phase is reached or passed.", show_default=False),
    ] = None,
) -> None:
    """
    Wait until a release ends or needs a person; the exit code is the result.

    0: it succeeded, or reached the phase. 1: it failed or was aborted. 3: it is braked, or waits for a person.
    124: the time ran out.
    """
    from rollwave.cli.feed import follow  # noqa: PLC0415  # httpx is slow to import
    from rollwave.cli.release import load_head  # noqa: PLC0415
    from rollwave.cli.watch import watch  # noqa: PLC0415

    client = session.client
    deployment_id = find_deployment(client, deployment)
    first, _ = load_head(client, deployment_id)
    try:
        head, document = watch(
            lambda: load_head(client, deployment_id),
            follow(client, deployment_id, since=first.seq),
            _Silence(),
            is_done=lambda answer: result_of(answer[0], until) is not None,
            timeout_s=timeout,
        )
    except KeyboardInterrupt as error:
        raise WatchInterruptedError(deployment_id=deployment_id, group=first.group) from error
    result = result_of(head, until)
    if result is None:
        assert timeout is not None
        raise TimedOutError(deployment_id=deployment_id, timeout_s=timeout, sentence=head.sentence)
    session.output.show(document)
    session.output.say(f"{head.group} (deployment {head.id}): {head.status}. {head.sentence}")
    raise typer.Exit(result)


def result_of(head: "Head", until: Phase | None) -> Exit | None:
    """Return the exit code for a deployment that need not be waited for any longer, None while it has to be."""
    if until is not None and has_reached(head.phase, until):
        return Exit.OK
    result = exit_of_status(head.status)
    # It succeeded, and never saw the phase that somebody waits for: a failure phase, or ABORTED.
    return Exit.FAILED if until is not None and result is Exit.OK else result


def has_reached(phase: Phase, until: Phase) -> bool:
    """Return whether *phase* is *until*, or comes after it on the way of a release that goes well."""
    if phase is until:
        return True
    return phase in WAY and until in WAY and WAY.index(phase) > WAY.index(until)


class _Silence:
    """Shows nothing: the exit code is the message."""

    def event(self, event: "Event") -> None:
        """Say nothing."""

    def picture(self, picture: Any) -> None:
        """Say nothing."""
