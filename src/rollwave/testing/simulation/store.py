"""The shared store of a simulated world: the in-memory one, with the oracle looking at every commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rollwave.domain.errors import RollwaveError
from rollwave.store.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from rollwave.domain import facts
    from rollwave.domain.decide import Decision
    from rollwave.domain.model import State
    from rollwave.ports.store import Claim, CommandKey, Loaded, SliceKey, SliceRecord
    from rollwave.testing.simulation.oracle import Oracle


class StoreDownError(RollwaveError):
    """The store did not answer: whether a commit happened is unknown."""

    code: ClassVar[str] = "store.unavailable"


class WatchedStore(MemoryStore):
    """
    Tells the oracle what was committed, at once and in order.

    Attributes:
        oracle: Who looks.
        after_commit: Called after every commit of a use case; what it raises breaks off whoever committed.
    """

    oracle: Oracle
    after_commit: Callable[[], None] = staticmethod(lambda: None)

    def create(self, planned: facts.Planned, *, at: datetime, command: CommandKey | None = None) -> int:
        """Create, and show it."""
        known = len(self._deployments)
        deployment_id = super().create(planned, at=at, command=command)
        if len(self._deployments) > known:
            self.oracle.created(deployment_id, planned, self.state_of(deployment_id))
            self.after_commit()
        return deployment_id

    def commit(
        self,
        decisions: Sequence[tuple[Loaded, Decision]],
        records: Sequence[SliceRecord] = (),
        *,
        at: datetime,
        command: CommandKey | None = None,
    ) -> tuple[Loaded, ...]:
        """Commit, and show it."""
        ids = {loaded.state.deployment.id for loaded, _ in decisions} | {record.key[0] for record in records}
        known = {one: len(self._deployments[one].log) for one in ids}
        after = super().commit(decisions, records, at=at, command=command)
        for one in sorted(ids):
            self.oracle.committed(one, self._deployments[one].log[known[one] :], at)
        self.after_commit()
        return after

    def claim(self, key: SliceKey, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        """Claim, and show it."""
        claim = super().claim(key, owner=owner, now=now, lease_until=lease_until)
        if claim is not None:
            self.oracle.claimed(claim, owner)
        return claim

    def set_hold(self, instance_id: int, *, hold: bool, actor: str, reason: str, at: datetime) -> int | None:
        """Hold or let go, and show it."""
        active = super().set_hold(instance_id, hold=hold, actor=actor, reason=reason, at=at)
        self.oracle.flagged(instance_id)
        self.after_commit()
        return active

    def set_offline(self, server: str, *, offline: bool) -> list[int]:
        """Mark a server, and show it."""
        affected = super().set_offline(server, offline=offline)
        for row in self._instances.values():
            if row.instance.server == server:
                self.oracle.flagged(row.instance.id)
        self.after_commit()
        return affected

    # What the oracle reads: records, not beliefs of a process.

    def state_of(self, deployment_id: int) -> State:
        """Return a deployment as it is stored."""
        return self._deployments[deployment_id].state

    def active_of(self, group: str) -> int | None:
        """Return the group's deployment that is not final."""
        return self._active.get(group)

    def knows(self, key: str) -> bool:
        """Return whether a command with this key was accepted; the doorway of the API asks the same."""
        return key in self._commands
