"""What can be chosen in the dialog of an action: where a rollback goes, and which of the failed targets run again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _

from rollwave.domain.actions import HIGHEST_PERCENT, retryable
from rollwave.domain.commands import Action
from rollwave.store.models import Package
from rollwave.web.commands import cause_of
from rollwave.web.context import services
from rollwave.web.insight.consequences import Consequences, consequences, targets
from rollwave.web.typed import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import QueryDict

    from rollwave.domain.model import State

PERCENT: Final = "max_unavailable_percent"
"""What the field of a new limit is called."""

_NAMED: Final = 200
"""Most failed targets that are listed one by one; for more there are their causes."""


def chosen(sent: QueryDict) -> tuple[str, tuple[str, ...]]:
    """Return the version and the targets that a form names."""
    return sent.get("version", "").strip(), tuple(one for one in sent.getlist("target") if one)


def offered(state: State, action: Action, sent: QueryDict) -> dict[str, Any]:
    """Return the choices that an action leaves, with those that were made."""
    version, names = chosen(sent)
    if action is Action.ROLLBACK:
        return {"versions": _versions(state), "version": version}
    if action is Action.RETRY:
        cause = sent.get("cause", "")
        failed = [state.fleet[one.instance_id].name for one in retryable(state) if not cause or cause_of(one) == cause]
        listed = [*names, *(one for one in failed if one not in names)][:_NAMED]
        return {
            "failed": sorted(listed) if len(failed) > 1 else [],
            "chosen": names,
            "unlisted": len(failed) - len(listed),
        }
    if action is Action.RAISE_LIMIT:
        lowest = _lowest(state)
        return {"lowest": lowest, "highest": HIGHEST_PERCENT, "percent": sent.get(PERCENT, lowest)}
    return {}


def percent_of(sent: QueryDict) -> int | None:
    """Return the limit that a form names; None for none that is a number."""
    return number(sent.get(PERCENT, ""))


def limit_of(state: State, sent: QueryDict) -> int | None:
    """Return the limit that a form asks for, the next one where it names none; None for what is no raise."""
    lowest = _lowest(state)
    asked = percent_of(sent) if sent.get(PERCENT, "").strip() else lowest
    return asked if asked is not None and lowest <= asked <= HIGHEST_PERCENT else None


def _lowest(state: State) -> int:
    return state.deployment.config.max_unavailable_percent + 1


def said(
    state: State,
    action: Action,
    *,
    version: str = "",
    names: Sequence[str] = (),
    cause: str = "",
    percent: int | None = None,
) -> Consequences:
    """Return what an action would do with what was chosen; a version that was never good there counts as none."""
    if action is Action.ROLLBACK:
        wanted = version if version in _good(state) else next((one for one, _is_usual in _versions(state)), "")
        previous = state.deployment.previous
        if wanted and not (previous and previous.version == wanted):
            return _to(state, wanted)
    usual = consequences(state, action, cause=cause, only=names, percent=percent)
    return _some(state, usual, names) if action is Action.RETRY and names else usual


def _some(state: State, usual: Consequences, names: Sequence[str]) -> Consequences:
    """Return a retry of targets that were picked: the others failed for whatever reason."""
    others = sum(state.fleet[one.instance_id].name not in names for one in retryable(state))
    left = [_("Failed, and left as they are: %(targets)s.") % {"targets": targets(others)}] if others else []
    after = usual.sentences[-1:] if state.deployment.brake else ()
    return Consequences(
        action=usual.action, title=usual.title, button=usual.button, sentences=(usual.sentences[0], *left, *after)
    )


def _to(state: State, version: str) -> Consequences:
    usual = consequences(state, Action.ROLLBACK)
    first, *_rest = usual.sentences
    running = sum(one.version == version for one in state.fleet.values())
    return Consequences(
        action=Action.ROLLBACK,
        title=_("Roll back to %(version)s?") % {"version": version},
        button=usual.button,
        sentences=(
            first,
            _("Then the whole group, %(targets)s, goes to %(version)s; servers that do not keep it download it first.")
            % {"targets": targets(len(state.targets)), "version": version},
            _("Running it now: %(targets)s.") % {"targets": targets(running)},
        ),
    )


def _versions(state: State) -> Sequence[tuple[str, bool]]:
    """Return the versions to which a rollback may go, the usual one first; whether it is that."""
    goal, previous = state.deployment.goal.version, state.deployment.previous
    usual = previous.version if previous else ""
    found = [(one, one == usual) for one in _good(state) if one != goal]
    return sorted(found, key=lambda one: not one[1])


def _good(state: State) -> Sequence[str]:
    """Return the versions that were once released to the group with success, the latest first."""
    return [one.version for one in services().releases.store.fleet(state.deployment.group).good]


def app_of(state: State) -> str:
    """Return the app that is released."""
    name: str = Package.objects.values_list("app__name", flat=True).get(pk=state.deployment.goal.id)
    return name
