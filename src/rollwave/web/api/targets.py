"""Targets of a deployment: one row an instance, in rolling order; made for tens of thousands."""
# the statement is put together from constants; values are always parameters

from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from msgspec import Struct
from ninja import Router
from pydantic import Field

from rollwave.domain import errors
from rollwave.domain.model import Instance, Standing, Target
from rollwave.store import rows
from rollwave.store.dialect import fetch_packed, packed
from rollwave.store.models import FINAL_PHASES, Deployment
from rollwave.web.access import Permission, of_deployment
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.instances import is_in_traffic, moving_targets
from rollwave.web.api.output import Output, found, value_of
from rollwave.web.json_text import encode
from rollwave.web.refusals import InvalidRequestError

router = Router(tags=["releases"])


class FailureOut(Output):
    """Why a stage failed."""

    code: str
    message: str
    stage: str
    log: str = Field(description="The end of what its commands printed on the host; empty where nobody knows.")


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


class _Row(Struct, frozen=True, array_like=True):
    target: Target
    instance: Instance


_ROW: Final = packed(_Row, target=rows.TARGET, instance=rows.INSTANCE)

_TARGETS: Final = f"""
FROM store_target t
JOIN ({rows.INSTANCES}) ON i.id = t.instance_id
WHERE t.deployment_id = %s ORDER BY t.position
"""


@router.get(
    "/{int:deployment_id}/targets",
    auth=needs(Permission.VIEW, of_deployment),
    response=answers(errors.NotFoundError, InvalidRequestError, ok=list[TargetOut]),
)
def list_targets(
    request: HttpRequest, deployment_id: int, batch: int | None = None, standing: Standing | None = None
) -> HttpResponse:
    """List the targets of a deployment in rolling order."""
    del request
    deployment = found(Deployment.objects.filter(id=deployment_id).first(), kind="deployment", name=deployment_id)
    # Once it is over, another deployment may have an instance out of traffic.
    later = moving_targets(deployment.group_id) if deployment.phase in FINAL_PHASES else None
    shown = [
        _shown(row.instance, row.target, row.target if later is None else later.get(row.target.instance_id))
        for row in fetch_packed(_Row, _ROW, _TARGETS, deployment_id)
        if (batch is None or row.target.batch == batch) and (standing is None or row.target.standing is standing)
    ]
    # The values come from the database: to have them validated once more would take longer than all the rest.
    return HttpResponse(encode(shown), content_type="application/json")


def _shown(instance: Instance, target: Target, moving: Target | None) -> dict[str, Any]:
    """Return the fields of `TargetOut`; *moving* is the target that may have the instance out of traffic now."""
    failure = target.failure
    return {
        "instance": instance.name,
        "server": instance.server,
        "site": instance.site,
        "port": int(instance.name.rpartition(":")[2]),
        "batch": target.batch,
        "status": target.status,
        "standing": target.standing.value,
        "stage": value_of(target.stage),
        "progress": value_of(target.progress),
        "attempt": target.attempt,
        "failure": failure
        and {"code": failure.code, "message": failure.message, "stage": failure.stage.value, "log": failure.log},
        "restored": target.restored,
        "version": instance.version,
        "in_traffic": is_in_traffic(instance, moving),
    }
