"""The spec over HTTP: bring apps, servers, groups and instances to what a file says."""

from typing import Any

from django.http import HttpRequest
from ninja import Router
from pydantic import Field

from rollwave.web.access import Permission, principal_of
from rollwave.web.api.auth import needs
from rollwave.web.api.deployments import BODY_ERRORS
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.fields import Flag, Input
from rollwave.web.refusals import InvalidSpecError
from rollwave.web.spec.apply import apply_spec

router = Router(tags=["fleet"])


class SpecIn(Input):
    """What there shall be."""

    spec: Any = Field(description="apps, servers and groups; the format is in docs/spec.md.")
    dry_run: Flag = Field(default=False, description="Only say what would be done.")
    prune: Flag = Field(default=False, description="Remove instances that a group does not list any more.")


class ChangeOut(Output):
    """What becomes of one thing."""

    action: str = Field(description="create, update, delete or unchanged.")
    kind: str = Field(description="app, server, group, instance or subscription.")
    name: str
    changes: dict[str, Any] = Field(description="Each changed field, with `from` and `to`; or a `note`.")


@router.post("", auth=needs(Permission.MANAGE), response=answers(InvalidSpecError, *BODY_ERRORS, ok=list[ChangeOut]))
def apply(request: HttpRequest, body: SpecIn) -> list[dict[str, Any]]:
    """
    Apply a spec: one transaction, all or nothing.

    What the spec does not name is left alone. Everything that is wrong is in ``facts.problems`` at once, each with the
    path of the value, for example ``groups[1].config.max_unavailable_percent``.
    """
    done = apply_spec(body.spec, prune=body.prune, dry_run=body.dry_run, principal=principal_of(request))
    return [change.to_json() for change in done]
