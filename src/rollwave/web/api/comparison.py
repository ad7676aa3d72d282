"""Two deployments side by side."""

from collections import Counter
from typing import Annotated, Any, Final

from django.http import HttpRequest
from msgspec.structs import fields
from ninja import Query, Router
from pydantic import Field

from rollwave.domain.config import DeploymentConfig
from rollwave.domain.errors import NotFoundError
from rollwave.store.models import Target
from rollwave.web.access import Permission, check, of_deployment, principal_of
from rollwave.web.api import packages
from rollwave.web.api.auth import needs
from rollwave.web.api.deployments import detail
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.language import language_asked
from rollwave.web.refusals import InvalidRequestError
from rollwave.words.language import Language

router = Router(tags=["releases"])

DeploymentId = Annotated[int, Query(ge=1, le=2**63 - 1)]

FIELDS: Final = (
    "group",
    "kind",
    "previous_version",
    "goal_version",
    "commit",
    "branch",
    "build",
    "status",
    "created_at",
    "seconds",
    "actor",
    "reason",
    "counts.total",
    "counts.success",
    "counts.failed",
    "retried",
    "counts.left",
    "batches",
    "failures",
    *(f"config.{one.name}" for one in fields(DeploymentConfig)),
)
"""What is compared."""


class ComparedOut(Output):
    """One thing about both."""

    field: str
    a: Any
    b: Any
    differs: bool


class ComparisonOut(Output):
    """Two deployments."""

    a: int
    b: int
    fields: list[ComparedOut] = Field(
        description="`seconds` it took, how many targets were `retried`, `failures` by cause; else as in a deployment."
    )


@router.get(
    "/compare", auth=needs(Permission.VIEW), response=answers(NotFoundError, InvalidRequestError, ok=ComparisonOut)
)
def compare(request: HttpRequest, a: DeploymentId, b: DeploymentId) -> ComparisonOut:
    """Compare two deployments, of one group or of two."""
    return compared(request, a, b, language_asked(request))


def compared(request: HttpRequest, a: int, b: int, language: Language) -> ComparisonOut:
    """Return two deployments that whoever asks may see, side by side; raises NotFoundError and ForbiddenError."""
    for one in (a, b):
        check(principal_of(request), Permission.VIEW, of_deployment(deployment_id=one))
    first, second = (_side(request, one, language) for one in (a, b))
    rows = [
        ComparedOut(field=name, a=first[name], b=second[name], differs=first[name] != second[name]) for name in FIELDS
    ]
    return ComparisonOut(a=a, b=b, fields=rows)


def _side(request: HttpRequest, deployment_id: int, language: Language) -> dict[str, Any]:
    release = detail(deployment_id, language)
    try:
        provenance = packages.read_package(request, release.app, release.goal_version).provenance
    except NotFoundError:
        provenance = {}
    rows = Target.objects.filter(deployment_id=deployment_id)
    failures = Counter(one["code"] for one in rows.values_list("failure", flat=True) if one)
    took = (release.ended_at - release.created_at).total_seconds() if release.ended_at else None
    return {
        **{name: getattr(release, name, None) for name in FIELDS},
        **{name: provenance.get(name) for name in ("commit", "branch", "build")},
        **{f"counts.{name}": count for name, count in release.counts.items()},
        **{f"config.{name}": value for name, value in release.config.items()},
        "batches": len(release.batches),
        "seconds": took,
        "retried": rows.filter(attempt__gt=1).count(),
        "failures": dict(failures.most_common()),
    }
