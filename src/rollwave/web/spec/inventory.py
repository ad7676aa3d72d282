"""The inventory as it stands: everything that a spec is compared with, read at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rollwave.store.models import FINAL_PHASES, App, Deployment, Group, Instance, Server, Subscription

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(NamedTuple):
    """An instance by what makes it unique."""

    group: str
    server: str
    port: int

    @property
    def name(self) -> str:
        """The instance's unique name."""
        return f"{self.group}/{self.server}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """
    Rows by name.

    Attributes:
        apps, servers, groups: By name.
        instances: Ids by place.
        active: The deployment that is not over, by group.
        used: Groups that have ever had a deployment.
        subscriptions: By name.
        executors, balancers: Names that are configured.
    """

    apps: Mapping[str, App]
    servers: Mapping[str, Server]
    groups: Mapping[str, Group]
    instances: Mapping[Place, int]
    active: Mapping[str, int]
    used: frozenset[str]
    subscriptions: Mapping[str, Subscription]
    executors: frozenset[str]
    balancers: frozenset[str]

    def of_group(self, group: str) -> list[Place]:
        """Return the instances of a group."""
        return [place for place in self.instances if place.group == group]


def read(*, executors: frozenset[str], balancers: frozenset[str]) -> Inventory:
    """Return the inventory; call it in a transaction, so that it is of one instant."""
    instances = Instance.objects.values_list("group__name", "server__name", "port", "id")
    active = Deployment.objects.exclude(phase__in=FINAL_PHASES).order_by().values_list("group__name", "id")
    used = Deployment.objects.order_by().values_list("group__name", flat=True).distinct()
    return Inventory(
        apps={row.name: row for row in App.objects.all()},
        servers={row.name: row for row in Server.objects.all()},
        groups={row.name: row for row in Group.objects.select_related("app")},
        instances={Place(group, server, port): one for group, server, port, one in instances},
        active=dict(active),
        used=frozenset(used),
        subscriptions={row.name: row for row in Subscription.objects.all()},
        executors=executors,
        balancers=balancers,
    )
