"""Starting a release: what exactly would happen, while it is being chosen; then the start."""

from __future__ import annotations

import secrets
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from rollwave.domain.errors import RollwaveError
from rollwave.domain.model import Kind
from rollwave.store.models import FINAL_PHASES, Deployment, Server
from rollwave.web import commands
from rollwave.web.access import Permission, check, of_group, principal_of, within
from rollwave.web.api import deployments
from rollwave.web.fields import as_json
from rollwave.web.language import language_shown
from rollwave.web.portal.page import page
from rollwave.web.portal.release_form import ReleaseForm
from rollwave.web.portal.words import KINDS

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from rollwave.ports.store import CommandKey
    from rollwave.web.access import Principal
    from rollwave.web.api.plans import PlanOut

_NAMED = 12
"""So many instances of a batch are named; the others are counted."""


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.OPERATE)
def show(request: HttpRequest) -> HttpResponse:
    """Show the form with the plan of what stands in it; POST starts exactly that."""
    principal = principal_of(request)
    form = ReleaseForm(request.POST if request.method == "POST" else request.GET, principal)
    if form.is_complete or request.method == "POST":
        form.look(request)
    if request.method == "POST" and form.plan is not None:
        check(principal, Permission.OPERATE, of_group(name=form.plan.group))
        try:
            return HttpResponseRedirect(f"/deployments/{_start(request, form)}")
        except RollwaveError as error:
            form.refuse(error)
    status = 422 if request.method == "POST" else 200
    plan = form.plan and _shown(form.plan, principal)
    shown = {"form": form, "kinds": KINDS.items(), "plan": plan, "key": _key(request)}
    return render(request, "portal/start.html", shown, status=status)


def _key(request: HttpRequest) -> str:
    """Return what makes this start happen once, however often the button is pressed."""
    return request.POST.get("key") or secrets.token_hex(16)


def _start(request: HttpRequest, form: ReleaseForm) -> int:
    body = form.wanted()
    assert body is not None
    found = commands.command_key(f"portal-{_key(request)[:100]}", request, body)
    done: int | None = commands.repeated(found)
    if done is not None:
        return done
    return _create(body, principal_of(request).name, found)


def _create(body: deployments.DeploymentIn, actor: str, key: CommandKey | None) -> int:
    planned = commands.plan(
        body.group,
        kind=body.kind,
        version=body.version,
        settings=as_json(body.config, body.config.model_fields_set),
        starts=body.start,
        actor=actor,
        reason=body.reason,
    )
    return commands.create(planned, command=key)


def _shown(plan: PlanOut, principal: Principal) -> dict[str, Any]:
    active = deployments.detail(plan.active_deployment, language_shown()) if plan.active_deployment else None
    total = sum(len(batch.instances) for batch in plan.batches)
    return {
        "plan": plan,
        "active": active,
        "total": total,
        "seconds": plan.eta_s,
        "waits_for_approval": bool(plan.config.get("requires_approval")) and plan.kind != Kind.ROLLBACK.value,
        "sites": Counter(plan.sites).most_common(),
        "excluded": Counter(reason for one in plan.excluded for reason in one.reasons).most_common(),
        "batches": [
            {
                "batch": batch,
                "count": len(batch.instances),
                "share": round(100 * len(batch.instances) / total, 2),
                "sites": sorted(batch.sites.items()),
                "named": [one.split("/", 1)[-1] for one in batch.instances[:_NAMED]],
                "more": max(0, len(batch.instances) - _NAMED),
            }
            for batch in plan.batches
        ],
        **_moving_elsewhere(plan, principal),
    }


def _moving_elsewhere(plan: PlanOut, principal: Principal) -> dict[str, Any]:
    """Return the releases of other groups that share servers with this one: those *principal* may see, and how many."""
    servers = Server.objects.filter(instances__group__name=plan.group)
    others = Deployment.objects.exclude(phase__in=FINAL_PHASES).exclude(group__name=plan.group)
    sharing = others.filter(group__instances__server__in=servers).distinct()
    seen = within(principal, Permission.VIEW, app="group__app__name", environment="group__environment")
    named = [dict(one) for one in sharing.filter(seen).values("id", "group__name", "goal__version")]
    return {"moving_elsewhere": named, "moving_unseen": sharing.count() - len(named)}
