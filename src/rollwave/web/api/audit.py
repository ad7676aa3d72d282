"""The audit log: one timeline of what people and policies did, to the fleet and to deployments."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from rollwave.domain import facts
from rollwave.store import codec
from rollwave.store.models import AuditEntry, Event, Instance
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, Time
from rollwave.web.json_text import encode
from rollwave.web.refusals import InvalidRequestError
from rollwave.web.story import Names, sentence

router = Router(tags=["audit"])

_COMMANDS = (facts.Planned, facts.CommandAccepted, facts.BakeApproved, facts.BakeCondemned, facts.Braked)
"""The facts of a deployment that name who brought them about."""


class AuditOut(Output):
    """Something that was done."""

    at: Time
    actor: str
    action: str = Field(description="deployment.planned, deployment.brake, instance.hold, spec.applied, ...")
    subject: str = Field(description="deployment/12, instance/shop/s1:8080, package/shop/1.2, ...")
    group: str | None = Field(description="Group of the deployment.")
    reason: str
    sentence: str
    data: dict[str, Any]


@router.get("", response=answers(InvalidRequestError, ok=list[AuditOut]))
def read_audit(
    request: HttpRequest,
    subject: str | None = None,
    actor: str | None = None,
    since: datetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[AuditOut]:
    """
    Read the timeline, the newest first.

    *subject* is the beginning of a subject, or the name of a group: then everything that was done to its deployments.
    """
    del request
    merged = [*_entries(subject, actor, since, limit), *_of_deployments(subject, actor, since, limit)]
    return sorted(merged, key=lambda one: one.at, reverse=True)[:limit]


def _entries(subject: str | None, actor: str | None, since: datetime | None, limit: int) -> list[AuditOut]:
    rows = AuditEntry.objects.order_by("-at", "-id")
    if subject is not None:
        rows = rows.filter(subject__startswith=subject)
    if actor is not None:
        rows = rows.filter(actor=actor)
    if since is not None:
        rows = rows.filter(at__gte=since)
    return [
        AuditOut(
            at=row.at,
            actor=row.actor,
            action=row.action,
            subject=row.subject,
            group=None,
            reason=row.reason,
            sentence=f"{row.actor}: {row.action} {row.subject}" + (f": {row.reason}" if row.reason else ""),
            data=row.data,
        )
        for row in rows[:limit]
    ]


def _of_deployments(subject: str | None, actor: str | None, since: datetime | None, limit: int) -> list[AuditOut]:
    kinds = [kind.__name__ for kind in _COMMANDS]
    rows = Event.objects.filter(kind__in=kinds).select_related("deployment__group").order_by("-at", "-id")
    if subject is not None:
        kind, _, name = subject.partition("/")
        if kind == "deployment" and name.isdecimal():
            rows = rows.filter(deployment_id=int(name))
        else:
            rows = rows.filter(deployment__group__name=name if kind == "group" else subject)
    if actor is not None:
        # Inside a JSON string every quote is escaped, so this can only be the field itself.
        rows = rows.filter(data__contains=f'"actor":{encode(actor).decode()}')
    if since is not None:
        rows = rows.filter(at__gte=since)
    found = [(row, codec.event(row.kind, row.data)) for row in rows[:limit]]
    named = {one for _, fact in found if isinstance(fact, facts.BakeApproved) for one, _ in fact.attempts}
    places = Instance.objects.filter(id__in=named).values_list("id", "server__name", "port")
    names = Names({instance_id: f"{server}:{port}" for instance_id, server, port in places})
    return [_shown(row, fact, names) for row, fact in found]


def _shown(row: Event, fact: Any, names: Names) -> AuditOut:
    return AuditOut(
        at=row.at,
        actor=fact.actor,
        action=f"deployment.{_action_of(fact)}",
        subject=f"deployment/{row.deployment_id}",
        group=row.deployment.group.name,
        reason=getattr(fact, "reason", ""),
        sentence=sentence(fact, names),
        data={"seq": row.seq, "kind": row.kind},
    )


def _action_of(fact: Any) -> str:
    if isinstance(fact, facts.CommandAccepted):
        return fact.action.value
    names: dict[type, str] = {
        facts.Planned: "planned",
        facts.BakeApproved: "bake_approved",
        facts.BakeCondemned: "bake_condemned",
        facts.Braked: "braked",
    }
    return names[type(fact)]
