"""Plans: the exact batches of a deployment before anything is recorded."""

from collections import Counter
from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from rollwave.domain import errors
from rollwave.domain.budget import budget_of
from rollwave.domain.evolve import planned as begin
from rollwave.domain.facts import Planned
from rollwave.domain.model import Instance, Kind
from rollwave.domain.progress import pause_before
from rollwave.web import commands
from rollwave.web.access import Permission
from rollwave.web.api.auth import actor_of, check_group, needs
from rollwave.web.api.deployments import BODY_ERRORS, DeploymentIn
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.context import services
from rollwave.web.fields import as_json
from rollwave.web.insight.estimate import release_seconds, target_seconds

router = Router(tags=["releases"])


class PlannedBatch(Output):
    """Instances that would roll together."""

    number: int
    canary: bool
    pause_s: int = Field(description="Wait before it.")
    instances: list[str]
    sites: dict[str, int] = Field(description="How many of them stand where.")


class Excluded(Output):
    """An instance that would not take part."""

    instance: str
    reasons: list[str] = Field(description="hold, offline, in_service (scale-out) or new (rollback).")


class PlanOut(Output):
    """What a deployment would do."""

    group: str
    app: str
    kind: str
    goal_version: str
    previous_version: str | None
    config: dict[str, Any]
    initial: bool
    eligible_count: int
    limit_count: int
    canaries: list[str]
    batches: list[PlannedBatch]
    excluded: list[Excluded]
    sites: dict[str, int] = Field(description="How many instances of it stand where.")
    eta_s: float | None = Field(
        description="Seconds, at the pace of the last good release, pauses included; null where there was none."
    )
    active_deployment: int | None = Field(description="This one has to end first.")


@router.post(
    "",
    auth=needs(Permission.VIEW),
    response=answers(
        errors.NotFoundError,
        errors.InvalidValueError,
        errors.EmptyGroupError,
        errors.NoStablePackageError,
        errors.NeverReleasedError,
        *BODY_ERRORS,
        ok=PlanOut,
    ),
)
def make_plan(request: HttpRequest, body: DeploymentIn) -> PlanOut:
    """Say what a deployment would do; the body is that of POST /deployments. Nothing is recorded."""
    check_group(request, Permission.VIEW, body.group)
    planned = commands.plan(
        body.group,
        kind=body.kind,
        version=body.version,
        settings=as_json(body.config, body.config.model_fields_set),
        starts=body.start,
        actor=actor_of(request),
        reason=body.reason,
    )
    return _shown(planned)


def _shown(planned: Planned) -> PlanOut:
    fleet = services().store.fleet(planned.group)
    instances = {instance.id: instance for instance in fleet.instances}
    state = begin(0, planned, fleet=instances)
    budget = budget_of(state)
    batches = [
        PlannedBatch(
            number=batch.number,
            canary=batch.canary,
            pause_s=int(pause_before(state, batch).total_seconds()),
            instances=[instances[one].name for one in instance_ids],
            sites=Counter(instances[one].site for one in instance_ids),
        )
        for batch, instance_ids in zip(state.deployment.batches, planned.batches, strict=True)
    ]
    each = target_seconds(planned.group)
    return PlanOut(
        group=planned.group,
        app=fleet.app,
        kind=planned.kind.value,
        goal_version=planned.goal.version,
        previous_version=planned.previous.version if planned.previous else None,
        config=as_json(planned.config),
        initial=planned.initial,
        eligible_count=budget.eligible_count,
        limit_count=budget.limit_count,
        canaries=batches[0].instances if planned.has_canary else [],
        batches=batches,
        excluded=[
            Excluded(instance=instance.name, reasons=_why_not(instance, planned.kind))
            for instance in fleet.instances
            if instance.id not in state.targets
        ],
        sites=sum((Counter(batch.sites) for batch in batches), Counter()),
        eta_s=None if each is None else release_seconds(batches, each=each, bake_min_s=planned.config.bake_min_s),
        active_deployment=fleet.active[0] if fleet.active else None,
    )


def _why_not(instance: Instance, kind: Kind) -> list[str]:
    reasons = {
        "hold": instance.hold,
        "offline": instance.offline,
        "in_service": kind is Kind.SCALE_OUT and not instance.new,
        "new": kind is Kind.ROLLBACK and instance.new,
    }
    return [name for name, holds in reasons.items() if holds]
