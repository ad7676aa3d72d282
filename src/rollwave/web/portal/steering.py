"""Steering a release from its page: which buttons there are, the dialog of each, and doing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from msgspec import Struct

from rollwave.domain.actions import FAILED_PHASES, open_actions, retryable, why_not
from rollwave.domain.commands import Action
from rollwave.domain.errors import RollwaveError
from rollwave.web import commands
from rollwave.web.access import Permission, needs, of_deployment, principal_of
from rollwave.web.context import services
from rollwave.web.insight import choices
from rollwave.web.insight.consequences import consequences
from rollwave.web.language import language_shown
from rollwave.web.spoken import spoken
from rollwave.web.told import told
from rollwave.words.catalog import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

    from rollwave.domain.commands import Command
    from rollwave.domain.model import State

_ICONS: Final[Mapping[Action, str]] = {
    Action.APPROVE: "stamp",
    Action.START: "play",
    Action.BAKE: "flame",
    Action.ROLLOUT: "chevrons-right",
    Action.NEXT: "chevron-right",
    Action.RESUME: "play",
    Action.BRAKE: "octagon-pause",
    Action.RETRY: "rotate-ccw",
    Action.RAISE_LIMIT: "gauge",
    Action.ROLLBACK: "undo-2",
    Action.ABORT: "",
}
"""In the order in which their buttons stand: what leads on comes first."""

_LEADING: Final = frozenset(
    {Action.APPROVE, Action.START, Action.BAKE, Action.ROLLOUT, Action.NEXT, Action.RESUME, Action.BRAKE}
)


class Button(Struct, frozen=True, kw_only=True):
    """
    An action that is open.

    Attributes:
        verb: Its name in the address.
        label: What it says.
        icon: Name of its icon.
        look: Classes of the button.
        key: The key that presses it; empty for none.
        count: How many targets it is about; None where the button need not say.
    """

    verb: str
    label: str
    icon: str
    look: str
    key: str
    count: int | None


def buttons(state: State) -> list[Button]:
    """Return the buttons of what is open now: the first that leads on is the primary one."""
    available = set(open_actions(state))
    if state.deployment.brake is None:
        # A person reaches for a higher limit when failures have used it up; before that it stands at the guard rails.
        available.discard(Action.RAISE_LIMIT)
    shown = [action for action in _ICONS if action in available]
    leading = _LEADING if state.deployment.phase not in FAILED_PHASES else {Action.RETRY}
    primary = next((action for action in shown if action in leading), Action.RETRY)
    return [_button(action, state, is_primary=action is primary) for action in shown]


def _button(action: Action, state: State, *, is_primary: bool) -> Button:
    label = {Action.RETRY: _("Retry failed"), Action.ROLLBACK: _("Roll back")}.get(action)
    label = label or name_of(action, language_shown())
    return Button(
        verb=action.value,
        label=label[:1].upper() + label[1:],
        icon=_ICONS[action],
        look="primary" if is_primary else "alarm" if action is Action.ABORT else "",
        key="b" if action is Action.BRAKE else "",
        count=len(retryable(state)) if action is Action.RETRY else None,
    )


@require_safe
@needs(Permission.APPROVE, of_deployment)
def ask_approval(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Return the dialog that says what an approval lets begin."""
    return _dialog(request, services().releases.load(deployment_id).state, Action.APPROVE.value)


@require_POST
@needs(Permission.APPROVE, of_deployment)
def approve(request: HttpRequest, deployment_id: int) -> HttpResponse:
    """Approve, and have the page take it over; or return the dialog again, with what was wrong."""
    return _act(request, deployment_id, Action.APPROVE.value)


@require_safe
@needs(Permission.OPERATE, of_deployment)
def ask(request: HttpRequest, deployment_id: int, verb: str) -> HttpResponse:
    """Return the dialog that says in figures what an action will do."""
    return _dialog(request, services().releases.load(deployment_id).state, verb)


@require_POST
@needs(Permission.OPERATE, of_deployment)
def act(request: HttpRequest, deployment_id: int, verb: str) -> HttpResponse:
    """Do an action and have the page take it over; or return its dialog again, with what was wrong."""
    if verb == Action.APPROVE.value:
        raise Http404
    return _act(request, deployment_id, verb)


def _act(request: HttpRequest, deployment_id: int, verb: str) -> HttpResponse:
    state = services().releases.load(deployment_id).state
    said = consequences(state, _action(verb))
    if said.is_dangerous and request.POST.get("confirm", "").strip() != state.deployment.group:
        return _dialog(request, state, verb, wrong=_("Type %(group)s to confirm.") % {"group": state.deployment.group})
    try:
        commands.act(deployment_id, _command(request, state, verb), key=None)
    except RollwaveError as error:
        return _dialog(request, services().releases.load(deployment_id).state, verb, wrong=told(error))
    response = HttpResponse()
    response["HX-Trigger"] = "release-acted"
    return response


def _command(request: HttpRequest, state: State, verb: str) -> Command:
    cause = request.POST.get("cause", "")
    version, names = choices.chosen(request.POST)
    return commands.build(
        verb,
        state,
        actor=principal_of(request).name,
        reason=request.POST.get("reason", "").strip(),
        targets=names or None,
        cause=cause or None,
        max_unavailable_percent=choices.percent_of(request.POST),
        version=version or None,
    )


def _dialog(request: HttpRequest, state: State, verb: str, *, wrong: str = "") -> HttpResponse:
    action = _action(verb)
    sent = request.POST or request.GET
    cause = sent.get("cause", "")
    version, names = choices.chosen(sent)
    percent = choices.limit_of(state, sent) if action is Action.RAISE_LIMIT else None
    context: dict[str, Any] = {
        "id": state.deployment.id,
        "verb": verb,
        "said": choices.said(state, action, version=version, names=names, cause=cause, percent=percent),
        "group": state.deployment.group,
        "cause": cause,
        "reason": sent.get("reason", ""),
        "closed": spoken(why_not(state, action)),
        "wrong": wrong,
        **choices.offered(state, action, sent),
    }
    return render(request, "portal/release/dialog.html", context)


def _action(verb: str) -> Action:
    try:
        return Action(verb)
    except ValueError:
        raise Http404 from None
