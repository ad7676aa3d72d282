"""Targets of a deployment: one row an instance, in rolling order; made for tens of thousands."""

from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from rollwave.domain import errors
from rollwave.domain.model import Standing
from rollwave.store.models import FINAL_PHASES, Deployment, Instance, Target
from rollwave.web.api.errors import answers
from rollwave.web.api.instances import active_targets, domain_target, traffic_of
from rollwave.web.api.output import Output, found
from rollwave.web.refusals import InvalidRequestError

router = Router(tags=["releases"])


class FailureOut(Output):
    """Why a stage failed."""

    code: str
    message: str
    stage: str


class TargetOut(Output):
    """One instance inside one deployment."""

    instance: str = Field(description="<group>/<server>:<port>")
    server: str
    site: str
    port: int
    batch: int
    status: str = Field(description="PENDING, SKIPPED, SUCCESS, or the stage and how it went: VERIFY_FAILURE.")
    standing: str
    stage: str | None
    progress: str | None
    attempt: int
    failure: FailureOut | None
    restored: bool = Field(description="It failed and was put back on the previous version, into traffic.")
    version: str | None = Field(description="Version of the process that was last proven to run.")
    in_traffic: bool


@router.get(
    "/{int:deployment_id}/targets", response=answers(errors.NotFoundError, InvalidRequestError, ok=list[TargetOut])
)
def list_targets(
    request: HttpRequest,
    deployment_id: int,
    batch: int | None = None,
    standing: Standing | None = None,
) -> list[TargetOut]:
    """List the targets of a deployment in rolling order."""
    del request
    deployment = found(
        Deployment.objects.select_related("group").filter(id=deployment_id).first(),
        kind="deployment",
        name=deployment_id,
    )
    rows = Target.objects.filter(deployment=deployment).select_related("instance__server").order_by("position")
    if batch is not None:
        rows = rows.filter(batch=batch)
    if standing is not None:
        rows = rows.filter(standing=standing.value)
    # Once it is over, another deployment may have an instance out of traffic.
    later = (
        active_targets(Instance.objects.filter(group=deployment.group)) if deployment.phase in FINAL_PHASES else None
    )
    return [_shown(row, deployment.group.name, later) for row in rows]


def _shown(row: Target, group: str, later: dict[int, tuple[int, Any]] | None) -> TargetOut:
    instance = row.instance
    target = domain_target(row.instance_id, row.batch, row.standing, row.stage, row.progress, row.entry)
    if later is None:
        in_traffic, _ = traffic_of(instance, target)
    else:
        in_traffic, _ = traffic_of(instance, later[row.instance_id][1] if row.instance_id in later else None)
    # The values come from the database: nothing is left to validate.
    return TargetOut.model_construct(
        instance=f"{group}/{instance.server.name}:{instance.port}",
        server=instance.server.name,
        site=instance.server.site,
        port=instance.port,
        batch=row.batch,
        status=target.status,
        standing=row.standing,
        stage=row.stage,
        progress=row.progress,
        attempt=row.attempt,
        failure=row.failure and FailureOut.model_construct(**row.failure),
        restored=row.restored,
        version=instance.version,
        in_traffic=in_traffic,
    )
