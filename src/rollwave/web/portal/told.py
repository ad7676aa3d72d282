"""Refusals as a person reads them: the errors that somebody at a page can meet, in the language of the page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as later

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
}


def told(error: RollwaveError) -> str:
    """Return what *error* says; in English where it is one that a page hardly ever meets."""
    text = _NOTHING.get(str(error.facts.get("kind"))) if error.code == "input.not_found" else _BY_CODE.get(error.code)
    if text is not None:
        return str(text) % {name: _shown(value) for name, value in error.facts.items()}
    if error.code == "input.invalid_value":
        return _("%(field)s is “%(value)s”; expected %(expected)s") % error.facts
    return error.message


def _shown(value: object) -> object:
    return (", ".join(map(str, value)) or "—") if isinstance(value, list) else value
