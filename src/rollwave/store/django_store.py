"""The store on Django's default database: each method is one transaction; what happens inside is told elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollwave.store import committing, creation, deployments, fleets, jobs, keys, leases, loading, traffic
from rollwave.store.dialect import in_transaction, snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rollwave.domain.decide import Decision
    from rollwave.domain.facts import Planned
    from rollwave.domain.model import PackageRef
    from rollwave.ports.store import Claim, CommandKey, Fleet, Job, Loaded, SliceKey, SliceRecord, Wish, Wishes


class DjangoStore:
    """
    Implements `rollwave.ports.store.Store`; see there for the contract of every method.

    Stateless. Safe to use from many threads: connections are Django's own, one for each thread.
    """

    # --- deciding ---

    def fleet(self, group: str) -> Fleet:
        with snapshot():
            return fleets.read(group)

    def create(self, planned: Planned, *, at: datetime, command: CommandKey | None = None) -> int:
        return in_transaction(creation.create, planned, at=at, command=command)

    def load(self, deployment_id: int, *, cached: Loaded | None = None) -> Loaded:
        with snapshot():
            return loading.load(deployment_id, cached=cached)

    def commit(
        self,
        decisions: Sequence[tuple[Loaded, Decision]],
        records: Sequence[SliceRecord] = (),
        *,
        at: datetime,
        command: CommandKey | None = None,
    ) -> tuple[Loaded, ...]:
        return in_transaction(committing.commit, decisions, records, at=at, command=command)

    def accepted(self, command: CommandKey) -> int | None:
        return keys.accepted(command)

    # --- working ---

    def claim(self, key: SliceKey, *, owner: str, now: datetime, lease_until: datetime) -> Claim | None:
        return in_transaction(leases.claim, key, owner=owner, now=now, lease_until=lease_until)

    def jobs(self, claim: Claim, *, now: datetime) -> tuple[Job, ...]:
        with snapshot():
            return jobs.jobs_of(claim, now=now)

    def held(self, key: SliceKey) -> tuple[int, frozenset[int]]:
        with snapshot():
            return leases.held(key)

    def undispatched(self, *, now: datetime, stale_before: datetime) -> Sequence[SliceKey]:
        return leases.undispatched(now=now, stale_before=stale_before)

    def release(self, *, owner: str | None = None) -> int:
        return leases.release(owner=owner)

    def due(self, now: datetime) -> Sequence[int]:
        return deployments.due(now)

    def next_due(self) -> datetime | None:
        return deployments.next_due()

    def resting(self) -> Mapping[int, int]:
        return deployments.resting()

    def neighbors_in_motion(self, group: str) -> Sequence[int]:
        with snapshot():
            return deployments.active_of([one.id for one in fleets.sharing_with(group)])

    def unfollowed_rollbacks(self) -> Sequence[tuple[int, str, PackageRef]]:
        return deployments.unfollowed_rollbacks()

    # --- traffic ---

    def set_hold(self, instance_id: int, *, hold: bool, actor: str, reason: str, at: datetime) -> int | None:
        return in_transaction(traffic.set_hold, instance_id, hold=hold, actor=actor, reason=reason, at=at)

    def set_offline(self, server: str, *, offline: bool, actor: str, reason: str, at: datetime) -> Sequence[int]:
        """
        Say that a server is offline or back; recall its instances where workers drive them.

        Returns:
            The active deployments that have to look again.

        Raises:
            NotFoundError: If there is no such server.
        """
        return in_transaction(traffic.set_offline, server, offline=offline, actor=actor, reason=reason, at=at)

    def wishes(self, *, cached: Wishes | None = None) -> Wishes:
        with snapshot():
            return traffic.wishes(cached=cached)

    def wish(self, instance_id: int) -> Wish | None:
        with snapshot():
            return traffic.wish(instance_id)

    def reserve_traffic(self, wish: Wish, *, now: datetime, until: datetime) -> bool:
        return in_transaction(traffic.reserve, wish, now=now, until=until)
