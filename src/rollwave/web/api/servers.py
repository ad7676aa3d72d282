"""Servers: machines, each with the instances of all groups that it carries."""

from typing import Annotated, Any

from django.db.models import Count
from django.http import HttpRequest
from ninja import Body, Router
from pydantic import Field, SkipValidation

from rollwave.domain.errors import NotFoundError
from rollwave.ports.executor import Verdict
from rollwave.store.models import Group, Server
from rollwave.web import fleet, host_check
from rollwave.web.access import Permission, Principal, of_server, principal_of, within
from rollwave.web.api import instances
from rollwave.web.api.auth import actor_of, needs
from rollwave.web.api.errors import answers
from rollwave.web.api.instances import InstanceOut
from rollwave.web.api.output import Output, found
from rollwave.web.fields import Input
from rollwave.web.refusals import InvalidRequestError, MalformedRequestError, TooLargeError

router = Router(tags=["fleet"])


class ServerOut(Output):
    """A machine."""

    name: str
    address: str
    site: str
    offline: bool
    instance_count: int


class ServerDetail(ServerOut):
    """A machine with what runs on it."""

    instances: list[InstanceOut]


class FindingOut(Output):
    """One thing that a release needs."""

    name: str
    verdict: Verdict = Field(description="note: it need not be there yet, or nobody can tell.")
    message: SkipValidation[str]  # as it is said, for the page


class CheckOut(Output):
    """Whether one instance can be released to."""

    instance: str
    ready: bool = Field(description="Nothing is missing.")
    findings: list[FindingOut]


class Reason(Input):
    """Why something is done; kept in the audit log."""

    reason: str = ""


@router.get("", auth=needs(Permission.VIEW), response=answers(ok=list[ServerOut]))
def list_servers(request: HttpRequest) -> list[ServerOut]:
    """List all servers."""
    del request
    return [ServerOut.model_validate(row) for row in _counted()]


@router.get("/{name}", auth=needs(Permission.VIEW), response=answers(NotFoundError, ok=ServerDetail))
def read_server(request: HttpRequest, name: str) -> ServerDetail:
    """Read one server with its instances of the groups that whoever asks may see."""
    return _detail(name, principal_of(request))


@router.get(
    "/{name}/check", auth=needs(Permission.OPERATE, of_server), response=answers(NotFoundError, ok=list[CheckOut])
)
def check_server(request: HttpRequest, name: str, group: str | None = None) -> list[CheckOut]:
    """Look whether a server can be released to: each instance on it, as its group's executor and balancer see it."""
    del request
    return [
        CheckOut(
            instance=instance,
            ready=all(one.verdict is not Verdict.MISSING for one in findings),
            findings=[FindingOut(name=one.name, verdict=one.verdict, message=one.message) for one in findings],
        )
        for instance, findings in host_check.check_server(name, group=group)
    ]


_SWITCHED = answers(NotFoundError, MalformedRequestError, InvalidRequestError, TooLargeError, ok=ServerDetail)


@router.post("/{name}/offline", auth=needs(Permission.OPERATE, of_server), response=_SWITCHED)
def take_offline(
    request: HttpRequest, name: str, body: Annotated[Reason, Body(default_factory=Reason)]
) -> ServerDetail:
    """Say that a server is down: its instances leave every plan and count against no budget."""
    fleet.set_offline(name, offline=True, actor=actor_of(request), reason=body.reason)
    return _detail(name, principal_of(request))


@router.post("/{name}/online", auth=needs(Permission.OPERATE, of_server), response=_SWITCHED)
def take_online(request: HttpRequest, name: str, body: Annotated[Reason, Body(default_factory=Reason)]) -> ServerDetail:
    """Say that a server is back."""
    fleet.set_offline(name, offline=False, actor=actor_of(request), reason=body.reason)
    return _detail(name, principal_of(request))


def _counted() -> Any:
    return Server.objects.annotate(instance_count=Count("instances"))


def _detail(name: str, principal: Principal) -> ServerDetail:
    row = found(_counted().filter(name=name).first(), kind="server", name=name)
    seen = within(principal, Permission.VIEW, app="app__name", environment="environment")
    groups = set(Group.objects.filter(seen, instances__server=row).values_list("name", flat=True))
    return ServerDetail(
        name=row.name,
        address=row.address,
        site=row.site,
        offline=row.offline,
        instance_count=row.instance_count,
        instances=[one for one in instances.on_server(row.pk) if one.group in groups],
    )
