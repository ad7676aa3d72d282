"""What the oracle sees: the world as it is, what was committed, and what it has to remember of both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rollwave.domain.model import Standing
from rollwave.testing.simulation.history import Violation

if TYPE_CHECKING:
    from rollwave.domain.model import Instance
    from rollwave.testing.simulation.chronicle import Chronicle
    from rollwave.testing.simulation.world import World

GRACE_S: Final = 8.0
"""For how long a call that was right when it was made may still arrive, in seconds."""


class Sight:
    """
    Everything that more than one law looks at.

    Args:
        world: What there is to see.

    Attributes:
        world: The same.
        names: Of instances, by id.
        ids: Of instances, by name.
        groups: Of instances, by id.
        servers: Of instances, by id.
        chronicles: What the logs say, by deployment.
        changed_at: When an operator last changed a flag, by instance.
        proven: Version that was last proven to run, by name; None after whatever may have changed that.
        excused: Names of those whose traffic a balancer that forgot has put wrong.
        forgot_at: When a balancer last forgot who is out, or that could at last be put right, by group.
        answers_since: When balancer and store could be reached again, and somebody was up to do so, by group.
        drains: Names of those that such a balancer had let in, and that still have requests in flight.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: dict[int, str] = {}
        self.ids: dict[str, int] = {}
        self.groups: dict[int, str] = {}
        self.servers: dict[int, str] = {}
        self.chronicles: dict[int, Chronicle] = {}
        self.changed_at: dict[int, float] = {}
        self.proven: dict[str, str | None] = {}
        self.excused: set[str] = set()
        self.forgot_at: dict[str, float] = {}
        self.answers_since: dict[str, float] = {}
        self.drains: set[str] = set()

    def know(self, instance_id: int, name: str, group: str, server: str) -> None:
        """Learn of an instance."""
        self.names[instance_id] = name
        self.ids[name] = instance_id
        self.groups[instance_id] = group
        self.servers[instance_id] = server

    def forget(self, instance_id: int) -> None:
        """Forget an instance that was removed; its name is kept, for what is still told of it."""
        del self.groups[instance_id], self.servers[instance_id]
        self.changed_at.pop(instance_id, None)
        self.excused.discard(self.names[instance_id])
        self.drains.discard(self.names[instance_id])

    def now(self) -> float:
        """Return the virtual time in seconds."""
        return self.world.loop.time()

    def instance(self, instance_id: int) -> Instance:
        """Return an instance with its flags, as stored."""
        return self.world.store.instance(instance_id)

    def fleet(self, group: str) -> list[Instance]:
        """Return the instances of a group."""
        return [self.instance(one) for one, its_group in self.groups.items() if its_group == group]

    def in_traffic(self, instance_id: int) -> bool:
        """Return whether the balancer was told to send it requests; whether it finds it healthy, nobody can help."""
        return self.world.balancers[self.groups[instance_id]].is_put_in(self.names[instance_id])

    def beside(self, instance_id: int) -> list[int]:
        """Return the others on the same server."""
        server = self.servers[instance_id]
        return [one for one, its in self.servers.items() if its == server and one != instance_id]

    def was_flagged_recently(self, instance_id: int) -> bool:
        """Return whether an operator changed a flag a moment ago, or before the balancer could be told."""
        if instance_id not in self.changed_at:
            return False
        group = self.groups[instance_id]
        told_at = max(self.changed_at[instance_id], self.answers_since.get(group, -GRACE_S))
        can_be_told = any(process.is_up for process in self.world.processes) and not (
            self.world.store_is_down or self.world.balancers[group].is_down
        )
        return not can_be_told or self.now() - told_at < GRACE_S

    def was_put_wrong_recently(self, instance_id: int) -> bool:
        """
        Return whether its balancer forgot a moment ago, or before that could be put right.

        Who is then taken out again may have been put in by its worker while that call was on its way: both were right
        when they were made, and the keeper looks again at once.
        """
        return self.now() - self.forgot_at.get(self.groups[instance_id], -GRACE_S) < GRACE_S

    def is_underway(self, instance_id: int) -> bool:
        """Return whether its group's deployment has it out, or is about to."""
        active = self.world.store.active_of(self.groups[instance_id])
        target = self.chronicles[active].state.targets.get(instance_id) if active is not None else None
        return target is not None and target.standing in (Standing.IN_FLIGHT, Standing.VERIFIED)

    def fail(self, law: str, message: str) -> None:
        """Say that a law is broken."""
        self.world.violated(Violation(law, message))
