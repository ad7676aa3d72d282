"""Search: deployments, groups, servers and packages by a part of their name."""

from typing import Annotated, Any, Final

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import Field

from rollwave.store.models import Deployment, Group, Package, Server
from rollwave.web.access import Permission, Principal, principal_of, within
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output
from rollwave.web.refusals import InvalidRequestError

router = Router(tags=["fleet"])

_MOST: Final = 12


class FoundDeployment(Output):
    """A deployment, by its number."""

    id: int
    group: str
    goal_version: str


class FoundGroup(Output):
    """A group."""

    name: str
    app: str
    environment: str


class FoundServer(Output):
    """A server."""

    name: str
    address: str
    site: str


class FoundPackage(Output):
    """A package."""

    app: str
    version: str


class FoundOut(Output):
    """What a text is a part of: at most 12 of each kind."""

    deployments: list[FoundDeployment] = Field(description="By their number alone.")
    groups: list[FoundGroup]
    servers: list[FoundServer]
    packages: list[FoundPackage] = Field(description="By their version.")


@router.get("", auth=needs(Permission.VIEW), response=answers(InvalidRequestError, ok=FoundOut))
def search(request: HttpRequest, q: Annotated[str, Query(min_length=1, max_length=100)]) -> FoundOut:
    """Find what *q* is a part of, of what whoever asks may see."""
    rows = looked_up(principal_of(request), q)
    return FoundOut(
        deployments=[
            FoundDeployment(id=row.pk, group=row.group.name, goal_version=row.goal.version) for row in rows["releases"]
        ],
        groups=[FoundGroup(name=row.name, app=row.app.name, environment=row.environment) for row in rows["groups"]],
        servers=[FoundServer.model_validate(row) for row in rows["servers"]],
        packages=[FoundPackage(app=row.app.name, version=row.version) for row in rows["packages"]],
    )


def looked_up(principal: Principal, text: str) -> dict[str, list[Any]]:
    """Return the rows that *text* is a part of, and that *principal* may see."""
    q = text.strip().lstrip("#")
    of_group = within(principal, Permission.VIEW, app="app__name", environment="environment")
    of_release = within(principal, Permission.VIEW, app="group__app__name", environment="group__environment")
    of_package = within(principal, Permission.VIEW, app="app__name")
    releases = Deployment.objects.filter(of_release).select_related("group", "goal")
    by_number = releases.filter(id=int(q)) if q.isdecimal() and len(q) < 19 else releases.none()
    return {
        "releases": list(by_number),
        "groups": list(Group.objects.filter(of_group, name__icontains=q).select_related("app")[:_MOST]),
        "servers": list(Server.objects.filter(name__icontains=q)[:_MOST]),
        "packages": list(Package.objects.filter(of_package, version__icontains=q).select_related("app")[:_MOST]),
    }
