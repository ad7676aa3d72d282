"""What operators do to instances and servers outside of any deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.domain.commands import FleetChanged
from rollwave.domain.errors import InvalidValueError, NotFoundError
from rollwave.domain.said import said
from rollwave.store.models import Group, Instance, Server
from rollwave.web.context import services
from rollwave.web.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable


def set_hold(group: str, server: str, *, port: int | None, hold: bool, actor: str, reason: str) -> int:
    """
    Raise or clear an operator's hold; return the instance's id.

    Raises:
        NotFoundError: If the group has no such instance.
        InvalidValueError: If it has several on that server and *port* does not say which.
    """
    instance_id = _instance_id(group, server, port)
    rollwave = services()
    rollwave.releases.set_hold(instance_id, hold=hold, actor=actor, reason=reason, now=rollwave.clock.now())
    rollwave.engine.nudge()
    return instance_id


def set_offline(server: str, *, offline: bool, actor: str, reason: str) -> None:
    """
    Say that a server is down, or back; whatever runs on it leaves every plan, or may take part again.

    Raises:
        NotFoundError: If there is no such server.
    """
    if not Server.objects.filter(name=server).exists():
        names = Server.objects.values_list("name", flat=True)
        raise NotFoundError(kind="server", name=server, hint=did_you_mean(server, names).removeprefix("; "))
    rollwave = services()
    now = rollwave.clock.now()
    look_again(rollwave.store.set_offline(server, offline=offline, actor=actor, reason=reason, at=now))


def look_again(deployment_ids: Iterable[int]) -> None:
    """Let deployments decide again, because instances or servers of theirs have changed."""
    rollwave = services()
    for deployment_id in deployment_ids:
        rollwave.releases.act(deployment_id, FleetChanged(), now=rollwave.clock.now())
    rollwave.engine.nudge()


def _instance_id(group: str, server: str, port: int | None) -> int:
    if not Group.objects.filter(name=group).exists():
        groups = Group.objects.values_list("name", flat=True)
        raise NotFoundError(kind="group", name=group, hint=did_you_mean(group, groups).removeprefix("; "))
    of_group = Instance.objects.filter(group__name=group)
    there = dict(of_group.filter(server__name=server).values_list("port", "id"))
    if not there:
        names = of_group.values_list("server__name", flat=True)[:1_000]
        hint = did_you_mean(server, names).removeprefix("; ")
        raise NotFoundError(kind="instance", name=f"{group}/{server}", hint=hint)
    if port is None and len(there) == 1:
        return next(iter(there.values()))
    if port not in there:
        ports = ", ".join(map(str, sorted(there)))
        raise InvalidValueError(
            field="port", value=port, expected=said("one of %(ports)s on %(server)s", ports=ports, server=server)
        )
    return there[port]
