"""Refusals as a person reads them: the errors that somebody at a page can meet, in the language of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later

from rollwave.web.spoken import shown, spoken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rollwave.domain.errors import RollwaveError

_NOTHING: Final[Mapping[str, Any]] = {
    "app": later("There is no app “%(name)s”."),
    "group": later("There is no group “%(name)s”."),
    "server": later("There is no server “%(name)s”."),
    "instance": later("There is no instance “%(name)s”."),
    "package": later("There is no package “%(name)s”."),
    "deployment": later("There is no release #%(name)s."),
    "user": later("There is no user “%(name)s”."),
    "token": later("There is no token “%(name)s”."),
}
"""For ``input.not_found``, by what was looked for."""

_BY_CODE: Final[Mapping[str, Any]] = {
    "group.empty": later("No instance of %(group)s can take part: all are held, offline or taken up already."),
    "group.no_stable_package": later("%(group)s has no version that is known to be good; choose a package."),
    "group.never_released": later(
        "%(version)s was never released to %(group)s with success; a rollback leads to one that was: %(possible)s."
    ),
    "deployment.active": later("%(group)s already has release #%(deployment_id)s; it has to end first."),
    "state.conflict": later("Somebody else changed this at the same moment; look again, and try again."),
    "spec.moved": later("The fleet or the text has changed since this was checked; look at what would change now."),
    "command.key_conflict": later("This form was sent before with other values; open it anew."),
    "deployment.own_approval": later("%(actor)s asked for it; somebody else has to approve it."),
    "auth.forbidden": later("%(actor)s may not do this: it takes the permission “%(permission)s”."),
    "user.exists": later("There is a user “%(name)s” already; choose another name."),
    "user.last_manager": later("“%(name)s” is the last who may manage everything; make somebody else an admin first."),
    "token.exists": later("There is a token “%(name)s” already; choose another name, or delete that one first."),
    "token.last": later("“%(name)s” is the last that may manage everything; make another one first."),
}

_TAKEN: Final[Mapping[str, Any]] = {
    "user": later("“%(name)s” is the name of a user; choose another one."),
    "token": later("“%(name)s” is the name of a token; choose another one."),
}
"""For ``name.taken``, by what is called so."""


def told(error: RollwaveError) -> str:
    """Return what *error* says, in the language of the page."""
    text = {"input.not_found": _NOTHING, "name.taken": _TAKEN}.get(error.code, _BY_CODE).get(_key(error))
    if text is not None:
        return str(text) % {name: shown(value) for name, value in error.facts.items()}
    if error.code == "deployment.action_not_allowed":
        return _("This is not open now: %(reason)s.") % {"reason": shown(error.facts["reason"])}
    return spoken(error.message)


def _key(error: RollwaveError) -> str:
    return str(error.facts.get("kind")) if error.code in ("input.not_found", "name.taken") else error.code
