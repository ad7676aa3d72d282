"""The audit log: who did what, from where, and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from django.shortcuts import render
from django.utils.translation import gettext as _
from pydantic import ValidationError

from rollwave.web.access import Permission, may, principal_of
from rollwave.web.api import audit
from rollwave.web.language import language_shown
from rollwave.web.portal.differences import Difference, differences
from rollwave.web.portal.page import page
from rollwave.web.portal.words import wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest, HttpResponse

_PAGE: Final = 50


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the timeline, the newest first, by what, who and since when."""
    given = {name: request.GET.get(name, "").strip() for name in ("subject", "actor", "since", "before")}
    errors: dict[str, str] = {}
    wanted = _wanted(given, errors)
    rows = list(audit.selected(principal_of(request), wanted)[: _PAGE + 1]) if wanted else []
    found = audit.shown(rows, language_shown())
    filters = {name: value for name, value in given.items() if value and name != "before"}
    return render(
        request,
        "portal/audit.html",
        {
            "entries": [{"entry": one, "facts": _facts(one.data)} for one in found[:_PAGE]],
            "given": given,
            "errors": errors,
            "older": urlencode({**filters, "before": found[_PAGE - 1].seq}) if len(found) > _PAGE else "",
            "export": urlencode(filters),
            "may_export": may(principal_of(request), Permission.MANAGE),
        },
    )


def _facts(data: Mapping[str, Any]) -> list[Difference]:
    """Return what an entry knows beside its sentence: what was before and after, else whatever was noted."""
    if "fact" in data:
        return []  # its sentence tells it
    if "before" not in data and "after" not in data:
        return differences({}, data, is_new=True)
    before, after = data.get("before") or {}, data.get("after") or {}
    return differences(before, after, is_new=not before)


def _wanted(given: dict[str, str], errors: dict[str, str]) -> audit.Wanted | None:
    values: dict[str, Any] = {name: value for name, value in given.items() if value}
    if since := given["since"]:
        try:
            moment = datetime.fromisoformat(since)
        except ValueError:
            errors["since"] = wrong(_("Since (UTC)"), since, _("a date and time such as 2026-01-31T14:00"))
            return None
        values["since"] = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return audit.Wanted(**values)
    except ValidationError:
        errors["before"] = wrong("before", given["before"], _("the number of an entry"))
        return None
