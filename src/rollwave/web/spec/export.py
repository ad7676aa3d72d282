"""The inventory as a spec: what, applied again, changes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import PydanticUndefined

from rollwave.domain.errors import NotFoundError
from rollwave.store.dialect import snapshot
from rollwave.store.models import App, Group, Instance, Server
from rollwave.web import subscriptions
from rollwave.web.access import Permission, within
from rollwave.web.problems import did_you_mean
from rollwave.web.spec.format import AppSpec, GroupSpec, ServerSpec, SubscriptionSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from rollwave.web.access import Principal

_OF_GROUP: Final = (
    "name",
    "environment",
    "deploy_path",
    "health_path",
    "version_path",
    "start",
    "stop",
    "command_timeout_s",
    "drain_timeout_s",
    "keep_versions",
    "executor",
    "balancer",
    "canaries",
    "config",
)
"""Columns of a group that its spec says by the same name."""


def export(principal: Principal, *, app: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """
    Return the spec of what *principal* may see: of all apps, or of one with the servers that carry it.

    What operators switch (a server's being offline, whether a subscription is on) and what is secret (how a
    subscription reaches its channel) is left out: a spec that does not name it leaves it as it is.

    Raises:
        NotFoundError: If there is no such app.
    """
    with snapshot():
        seen = within(principal, Permission.VIEW, app="app__name", environment="environment")
        groups = Group.objects.filter(seen).select_related("app")
        apps = App.objects.filter(within(principal, Permission.VIEW, app="name"))
        servers = Server.objects.all()
        told = [row for row in subscriptions.visible(principal) if not row.person]
        if app is not None:
            if not apps.filter(name=app).exists():
                hint = did_you_mean(app, apps.values_list("name", flat=True)).removeprefix("; ")
                raise NotFoundError(kind="app", name=app, hint=hint)
            apps, groups = apps.filter(name=app), groups.filter(app__name=app)
            servers = servers.filter(instances__group__in=groups).distinct()
            names = set(groups.values_list("name", flat=True))
            told = [row for row in told if app in row.apps or names & set(row.groups)]
        places = _places(groups)
        document = {
            "apps": [_without_defaults({"name": row.name, "description": row.description}, AppSpec) for row in apps],
            "servers": [
                {"name": row.name, "address": row.address, **_without_defaults({"site": row.site}, ServerSpec)}
                for row in servers
            ],
            "groups": [_group(row, places[row.pk]) for row in groups],
            "subscriptions": [_subscription(row) for row in told],
        }
    return {section: items for section, items in document.items() if items or section != "subscriptions"}


def _places(groups: Any) -> Mapping[int, list[tuple[str, int]]]:
    rows = Instance.objects.filter(group__in=groups).order_by("id").values_list("group_id", "server__name", "port")
    found: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    for group, server, port in rows:
        found[group].append((server, port))
    return found


def _group(row: Group, places: Sequence[tuple[str, int]]) -> dict[str, Any]:
    usual = Counter(port for _, port in places).most_common(1)
    port = usual[0][0] if usual else None
    values = {name: getattr(row, name) for name in _OF_GROUP}
    values["version_path"] = row.version_path or None
    values["balancer"] = row.balancer or None
    shown = {
        "name": row.name,
        "app": row.app.name,
        "environment": row.environment,
        "deploy_path": row.deploy_path,
        "port": port,
        **values,
        "pool": row.pool if row.balancer and row.pool != row.name else None,
        "instances": [
            server if its_port == port else {"server": server, "port": its_port} for server, its_port in places
        ],
    }
    return _without_defaults(shown, GroupSpec)


def _subscription(row: Any) -> dict[str, Any]:
    shown = subscriptions.shown(row)
    values = {name: shown[name] for name in ("name", "channel", "topics", "groups", "apps", "environments", "language")}
    return _without_defaults(values, SubscriptionSpec)


def _without_defaults(values: Mapping[str, Any], kind: type[BaseModel]) -> dict[str, Any]:
    """Return *values* without what a spec that does not say it means anyway."""
    return {name: value for name, value in values.items() if value != _usual(kind, name)}


def _usual(kind: type[BaseModel], name: str) -> Any:
    found = kind.model_fields[name]
    usual = found.default
    if found.default_factory is not None:
        # An empty list; of settings, none that is set.
        return {} if name == "config" else []
    return None if usual is PydanticUndefined else getattr(usual, "value", usual)
