"""Releases that were, and what differs between two of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.shortcuts import render
from django.utils.translation import gettext_lazy as later

from rollwave.store.models import Group
from rollwave.web.access import Permission, check, may_somewhere, of_deployment, principal_of, within
from rollwave.web.api import deployments
from rollwave.web.api.comparison import compared
from rollwave.web.language import language_shown
from rollwave.web.portal.page import MOST_ROWS, number_asked, page
from rollwave.web.portal.tally import tallies
from rollwave.web.portal.words import SETTING_LABELS

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from rollwave.web.api.comparison import ComparisonOut

_PAGE: Final = 50


@page(Permission.VIEW)
def show(request: HttpRequest) -> HttpResponse:
    """Show the releases of all groups, or of one, the newest first."""
    group = request.GET.get("group") or None
    state = request.GET.get("state", "")
    before = number_asked(request, "before", default=0) or None
    active = {"active": True, "over": False}.get(state)
    found = deployments.list_deployments(request, group=group, active=active, before=before, limit=_PAGE + 1)
    listed = found[:_PAGE]
    counts = tallies([one.id for one in listed])
    return render(
        request,
        "portal/deployments.html",
        {
            "releases": [{"release": one, "counts": counts[one.id]} for one in listed],
            "groups": _groups(request),
            "group": group or "",
            "state": state,
            "older": listed[-1].id if len(found) > _PAGE else None,
            "may_release": may_somewhere(principal_of(request), Permission.OPERATE),
        },
    )


@page(Permission.VIEW)
def compare(request: HttpRequest) -> HttpResponse:
    """Show two releases side by side: ``id`` twice in the address."""
    asked = [int(one) for one in request.GET.getlist("id") if one.isdecimal() and len(one) < 19]
    chosen = sorted(dict.fromkeys(asked))[:2]
    if len(chosen) < 2:
        for one in chosen:
            check(principal_of(request), Permission.VIEW, of_deployment(deployment_id=one))
        listed = deployments.list_deployments(request, limit=MOST_ROWS)
        return render(request, "portal/compare.html", {"releases": listed, "chosen": chosen, "sides": []})
    found = compared(request, chosen[0], chosen[1], language_shown())
    groups = next((one.a, one.b) for one in found.fields if one.field == "group")
    sides = [{"id": one, "group": group} for one, group in zip(chosen, groups, strict=True)]
    return render(request, "portal/compare.html", {"sides": sides, "rows": _rows(found), "chosen": chosen})


def _groups(request: HttpRequest) -> list[str]:
    seen = within(principal_of(request), Permission.VIEW, app="app__name", environment="environment")
    return list(Group.objects.filter(seen).values_list("name", flat=True))


_LABELS: Final = {
    "group": (later("Group"), "text"),
    "kind": (later("Kind"), "kind"),
    "previous_version": (later("From"), "version"),
    "goal_version": (later("To"), "version"),
    "commit": (later("Commit"), "version"),
    "branch": (later("Branch"), "text"),
    "build": (later("Build"), "text"),
    "status": (later("Outcome"), "status"),
    "created_at": (later("Started"), "time"),
    "seconds": (later("Took"), "span"),
    "actor": (later("By"), "text"),
    "reason": (later("Reason"), "text"),
    "counts.total": (later("Targets"), "text"),
    "counts.success": (later("On the new version"), "text"),
    "counts.failed": (later("Failed"), "text"),
    "retried": (later("Retried"), "text"),
    "counts.left": (later("Left the plan"), "text"),
    "batches": (later("Batches"), "text"),
    "failures": (later("Causes of failures"), "counted"),
    **{f"config.{name}": (label, "setting") for name, label in SETTING_LABELS.items()},
}
"""What is compared: its label, and how its values are shown."""


def _rows(found: ComparisonOut) -> list[dict[str, Any]]:
    """Return label and both values of everything that is compared; what differs is marked."""
    return [
        {
            "label": _LABELS[one.field][0],
            "form": _LABELS[one.field][1],
            "values": [list(value.items()) if isinstance(value, dict) else value for value in (one.a, one.b)],
            "setting": one.field.removeprefix("config."),
            "differs": one.differs,
        }
        for one in found.fields
    ]
