"""Releases that were, and what differs between two of them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from django.shortcuts import render
from django.utils.translation import gettext as _

from rollwave.domain.errors import NotFoundError
from rollwave.store.models import Group, Target
from rollwave.web.access import Permission, check, may_somewhere, of_deployment, principal_of, within
from rollwave.web.api import deployments, packages
from rollwave.web.language import language_shown
from rollwave.web.portal.page import MOST_ROWS, number_asked, page
from rollwave.web.portal.tally import tallies
from rollwave.web.portal.words import SETTING_LABELS

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from rollwave.web.api.deployments import DeploymentOut

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
    for one in chosen:
        check(principal_of(request), Permission.VIEW, of_deployment(deployment_id=one))
    if len(chosen) < 2:
        listed = deployments.list_deployments(request, limit=MOST_ROWS)
        return render(request, "portal/compare.html", {"releases": listed, "chosen": chosen, "sides": []})
    sides = [_side(request, one) for one in chosen]
    return render(request, "portal/compare.html", {"sides": sides, "rows": _rows(*sides), "chosen": chosen})


def _groups(request: HttpRequest) -> list[str]:
    seen = within(principal_of(request), Permission.VIEW, app="app__name", environment="environment")
    return list(Group.objects.filter(seen).values_list("name", flat=True))


def _side(request: HttpRequest, deployment_id: int) -> dict[str, Any]:
    release = deployments.detail(deployment_id, language_shown())
    try:
        package = packages.read_package(request, release.app, release.goal_version)
        provenance = package.provenance
    except NotFoundError:
        provenance = {}
    rows = Target.objects.filter(deployment_id=deployment_id)
    failures = Counter(one["code"] for one in rows.values_list("failure", flat=True) if one)
    return {
        "release": release,
        "provenance": provenance,
        "retried": rows.filter(attempt__gt=1).count(),
        "failures": failures.most_common(),
        "seconds": _seconds(release),
    }


def _seconds(release: DeploymentOut) -> float | None:
    return (release.ended_at - release.created_at).total_seconds() if release.ended_at else None


def _rows(one: dict[str, Any], other: dict[str, Any]) -> list[dict[str, Any]]:
    """Return label and both values of everything that can be compared; what differs is marked."""

    def row(label: str, name: str, *, form: str = "text") -> dict[str, Any]:
        values = [_value(side, name) for side in (one, other)]
        setting = name.removeprefix("release.config.")
        return {"label": label, "values": values, "form": form, "setting": setting, "differs": values[0] != values[1]}

    rows = [
        row(_("Group"), "release.group"),
        row(_("Kind"), "release.kind", form="kind"),
        row(_("From"), "release.previous_version", form="version"),
        row(_("To"), "release.goal_version", form="version"),
        row(_("Commit"), "provenance.commit", form="version"),
        row(_("Branch"), "provenance.branch"),
        row(_("Build"), "provenance.build"),
        row(_("Outcome"), "release.status", form="status"),
        row(_("Started"), "release.created_at", form="time"),
        row(_("Took"), "seconds", form="span"),
        row(_("By"), "release.actor"),
        row(_("Reason"), "release.reason"),
        row(_("Targets"), "release.counts.total"),
        row(_("On the new version"), "release.counts.success"),
        row(_("Failed"), "release.counts.failed"),
        row(_("Retried"), "retried"),
        row(_("Left the plan"), "release.counts.left"),
        row(_("Batches"), "batches"),
        row(_("Causes of failures"), "failures", form="counted"),
    ]
    return rows + [row(str(label), f"release.config.{name}", form="setting") for name, label in SETTING_LABELS.items()]


def _value(side: dict[str, Any], name: str) -> Any:
    if name == "batches":
        return len(side["release"].batches)
    value: Any = side
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else getattr(value, part)
    return value
