"""What an action would do, in figures, before it is done."""

from typing import Annotated

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from rollwave.domain import errors
from rollwave.domain.actions import check_percent, why_not
from rollwave.domain.commands import Action
from rollwave.web import commands
from rollwave.web.access import Permission, of_deployment
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.context import services
from rollwave.web.insight.choices import app_of, said
from rollwave.web.language import in_language, language_asked
from rollwave.web.refusals import InvalidRequestError
from rollwave.web.spoken import spoken

router = Router(tags=["releases"])


class ConsequencesOut(Output):
    """An action before it is done."""

    action: str = Field(description="For `promote`: what it would be.")
    closed: str | None = Field(description="Why it is not open now; null where it is.")
    dangerous: bool = Field(description="It cannot be taken back.")
    title: str
    sentences: list[str] = Field(description="What it would do, in figures.")


@router.get(
    "/{int:deployment_id}/consequences/{verb}",
    auth=needs(Permission.VIEW, of_deployment),
    response=answers(
        errors.NotFoundError,
        errors.InvalidValueError,
        errors.ActionNotAllowedError,
        errors.NeverReleasedError,
        InvalidRequestError,
        ok=ConsequencesOut,
    ),
)
def foresee(  # noqa: PLR0917  # query parameters, told apart by their names
    request: HttpRequest,
    deployment_id: int,
    verb: str,
    cause: str = "",
    version: str = "",
    target: Annotated[list[str], Query(default_factory=list)] = [],  # noqa: B006  # never changed
    max_unavailable_percent: int | None = None,
) -> ConsequencesOut:
    """
    Say what an action would do; nothing is done.

    Parameters are those of the action, *target* as often as needed; what the action refuses of them is refused alike.
    """
    state = services().releases.load(deployment_id).state
    action = commands.action_named(verb, state)
    if action is Action.RETRY:
        commands.retried(state, target or None, cause or None)
    if action is Action.RAISE_LIMIT and max_unavailable_percent is not None:
        check_percent(state, max_unavailable_percent)
    if action is Action.ROLLBACK and version:
        goal = commands.package_ref(app_of(state), version)
        services().releases.check_rollback(state.deployment.group, goal)
    names = commands.names_of(state, target)
    with in_language(language_asked(request)):
        told = said(state, action, version=version, names=names, cause=cause, percent=max_unavailable_percent)
        closed = spoken(why_not(state, action))
    return ConsequencesOut(
        action=action.value,
        closed=closed or None,
        dangerous=told.is_dangerous,
        title=told.title,
        sentences=list(told.sentences),
    )
