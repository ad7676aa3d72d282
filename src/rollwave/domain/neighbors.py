"""Servers that several groups share: what one group's work costs the budget of another. Source: domain.md, rule 3."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rollwave.domain.budget import limit_for, limit_of
from rollwave.domain.model import Neighbor, Standing
from rollwave.domain.tally import is_counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rollwave.domain.model import Deployment, Instance, State, Target


def is_working(instance: Instance, target: Target | None) -> bool:
    """Return whether a group has the server of *instance* out of traffic, as other groups on that server see it."""
    if instance.hold:
        return False
    return instance.failed or (target is not None and target.standing in (Standing.IN_FLIGHT, Standing.VERIFIED))


def neighbor(
    group: str,
    *,
    fleet: Iterable[Instance],
    targets: Mapping[int, Target],
    deployment: Deployment | None,
    max_unavailable_percent: int,
) -> Neighbor:
    """
    Return a group as another one that shares servers with it sees it.

    Args:
        group: Its name.
        fleet: Its instances, ``busy_elsewhere`` set where any other group has the server out of traffic.
        targets: The targets of its active deployment by instance id; empty where it has none.
        deployment: Its active deployment; None where it has none.
        max_unavailable_percent: From its settings; counts while it has no active deployment.
    """
    fleet = tuple(fleet)
    initial = deployment.initial if deployment else all(instance.new for instance in fleet)
    counted = [instance for instance in fleet if is_counted(instance, initial=initial)]
    still_in = [
        instance
        for instance in counted
        if not (instance.busy_elsewhere or is_working(instance, targets.get(instance.id)))
    ]
    if deployment:
        limit_count = limit_for(deployment, len(counted))
    else:
        limit_count = limit_of(len(counted), max_unavailable_percent=max_unavailable_percent)
    out_count = len(counted) - len(still_in)
    return Neighbor(
        group=group,
        room_count=max(0, limit_count - out_count),
        in_by_server=dict(Counter(instance.server for instance in still_in)),
    )


class Elsewhere:
    """
    The room that the neighbors have left, taken server by server.

    A server is taken once, however many targets are on it; those that are being worked on are taken from the start, so
    that it makes no difference whether the neighbors were read before that work began or after.
    """

    def __init__(self, state: State) -> None:
        self._neighbors = state.neighbors
        self._room_count = {neighbor.group: neighbor.room_count for neighbor in state.neighbors}
        self._taken: set[str] = set()
        for instance in state.fleet.values() if state.neighbors else ():
            if is_working(instance, state.targets.get(instance.id)):
                self.take(instance.server)

    def has_room(self, server: str) -> bool:
        """Return whether every neighbor can do without its instances on *server*."""
        return server in self._taken or all(
            neighbor.in_by_server.get(server, 0) <= max(0, self._room_count[neighbor.group])
            for neighbor in self._neighbors
        )

    def take(self, server: str) -> None:
        """Take *server* out of traffic."""
        if server not in self._taken:
            self._taken.add(server)
            for neighbor in self._neighbors:
                self._room_count[neighbor.group] -= neighbor.in_by_server.get(server, 0)
