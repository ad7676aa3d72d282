"""Apps: what is released."""

from django.http import HttpRequest
from ninja import Router

from rollwave.domain.errors import NotFoundError
from rollwave.store.models import App
from rollwave.web.access import Permission, of_app, principal_of, within
from rollwave.web.api.auth import needs
from rollwave.web.api.errors import answers
from rollwave.web.api.output import Output, found

router = Router(tags=["fleet"])


class AppOut(Output):
    """An app and the groups that run it."""

    name: str
    description: str
    groups: list[str]


@router.get("", auth=needs(Permission.VIEW), response=answers(ok=list[AppOut]))
def list_apps(request: HttpRequest) -> list[AppOut]:
    """List all apps."""
    seen = within(principal_of(request), Permission.VIEW, app="name")
    return [_shown(row) for row in App.objects.filter(seen).prefetch_related("groups")]


@router.get("/{name}", auth=needs(Permission.VIEW, of_app), response=answers(NotFoundError, ok=AppOut))
def read_app(request: HttpRequest, name: str) -> AppOut:
    """Read one app."""
    del request
    return _shown(found(App.objects.filter(name=name).first(), kind="app", name=name))


def _shown(row: App) -> AppOut:
    return AppOut(name=row.name, description=row.description, groups=[group.name for group in row.groups.all()])
