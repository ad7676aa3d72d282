"""The spec over HTTP: apps, servers, groups and instances as a file says, there and back."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router
from pydantic import Field

from rollwave.domain.errors import NotFoundError
from rollwave.spec_text import write_spec
from rollwave.web.access import Permission, principal_of
from rollwave.web.api.auth import needs
from rollwave.web.api.deployments import BODY_ERRORS
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.fields import Flag, Input
from rollwave.web.refusals import InvalidRequestError, InvalidSpecError, SpecMovedError
from rollwave.web.spec.apply import apply_spec
from rollwave.web.spec.changes import digest_of
from rollwave.web.spec.export import export

router = Router(tags=["fleet"])


class SpecIn(Input):
    """What there shall be."""

    spec: Any = Field(description="apps, servers and groups; the format is in docs/spec.md.")
    dry_run: Flag = Field(default=False, description="Only say what would be done.")
    prune: Flag = Field(default=False, description="Remove instances that a group does not list any more.")
    agreed: str | None = Field(
        default=None,
        description="Header Rollwave-Changes of a dry run: do exactly what that one told, or answer 409.",
    )


class SpecOut(Output):
    """What there is, as a spec."""

    spec: dict[str, list[dict[str, Any]]] = Field(description="Applied again, it changes nothing.")
    text: str = Field(description="The same as YAML, as people like to read it.")


class ChangeOut(Output):
    """What becomes of one thing."""

    action: str = Field(description="create, update, delete or unchanged.")
    kind: str = Field(description="app, server, group, instance or subscription.")
    name: str
    changes: dict[str, Any] = Field(description="Each changed field, with `from` and `to`; or a `note`.")


@router.get("", auth=needs(Permission.VIEW), response=answers(NotFoundError, InvalidRequestError, ok=SpecOut))
def read_spec(request: HttpRequest, app: str | None = None) -> SpecOut:
    """
    Export the fleet as a spec: all that whoever asks may see, or one app with the servers that carry it.

    What operators switch and how subscriptions reach their channels is left out: applying it leaves those as they are.
    """
    spec = export(principal_of(request), app=app)
    return SpecOut(spec=spec, text=write_spec(spec))


@router.post(
    "",
    auth=needs(Permission.MANAGE),
    response=answers(InvalidSpecError, SpecMovedError, *BODY_ERRORS, ok=list[ChangeOut]),
)
def apply(request: HttpRequest, response: HttpResponse, body: SpecIn) -> list[dict[str, Any]]:
    """
    Apply a spec: one transaction, all or nothing.

    What the spec does not name is left alone. Everything that is wrong is in ``facts.problems`` at once, each with the
    path of the value, for example ``groups[1].config.max_unavailable_percent``.
    """
    done = apply_spec(
        body.spec, prune=body.prune, dry_run=body.dry_run, principal=principal_of(request), agreed=body.agreed
    )
    response["Rollwave-Changes"] = digest_of(done)
    return [change.to_json() for change in done]
